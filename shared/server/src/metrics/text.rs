//! OpenMetrics 1.0 text rewritten as the Prometheus text format 0.0.4, which every Prometheus and its lint read.
//!
//! The two differ here in what a counter's metadata is called (`x`, its sample `x_total`), in `unknown` for `untyped`, and
//! in the end mark.

/// `open_metrics` as it comes from `prometheus_client`: HELP and TYPE lines directly before their samples.
pub(crate) fn to_prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 256);
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = rest.split_once(' ') else { continue };
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            let about = help.take().filter(|(helped, _)| *helped == name).map_or("", |(_, about)| about);
            text.push_str(&format!("# HELP {name}{suffix} {about}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            // A family without labels is written with an empty pair of braces.
            match line.split_once('{') {
                Some((name, rest)) if rest.starts_with('}') => text.extend([name, rest.get(1..).unwrap_or_default()]),
                _ => text.push_str(line),
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_and_unknowns_get_their_old_names() {
        let open_metrics = "# HELP a Help a.\n# TYPE a counter\na_total{x=\"# y\"} 1\n# HELP b_total Help b.\n# TYPE b_total unknown\nb_total 2.0\n# HELP c Help c.\n# TYPE c histogram\nc_sum 0.0\nc_bucket{le=\"+Inf\"} 0\n# HELP d Help d.\n# TYPE d gauge\nd{} 1\n# EOF\n";
        let expected = "# HELP a_total Help a.\n# TYPE a_total counter\na_total{x=\"# y\"} 1\n# HELP b_total Help b.\n# TYPE b_total untyped\nb_total 2.0\n# HELP c Help c.\n# TYPE c histogram\nc_sum 0.0\nc_bucket{le=\"+Inf\"} 0\n# HELP d Help d.\n# TYPE d gauge\nd 1\n";
        assert_eq!(super::to_prometheus(open_metrics), expected);
    }
}
