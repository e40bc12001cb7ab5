//! The table of results.

use std::fmt;

/// What a row promises.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// The ratio (how many times better than the peer) is at least this.
    Ratio(f64),
    /// Our own figure is at most this.
    AtMost(f64),
}

#[derive(Debug)]
struct Row {
    what: String,
    unit: &'static str,
    ours: f64,
    peer: Option<(&'static str, f64)>,
    ratio: Option<f64>,
    target: Option<Target>,
}

/// Markdown: what, ours, peer, ratio, target, met.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    /// Ours beside a peer's; `ratio` is how many times less we need.
    pub(crate) fn versus(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        ours: f64,
        peer: (&'static str, f64),
        ratio: f64,
        target: Option<f64>,
    ) {
        let target = target.map(Target::Ratio);
        self.0.push(Row { what: what.into(), unit, ours, peer: Some(peer), ratio: Some(ratio), target });
    }

    /// Ours against a limit.
    pub(crate) fn alone(&mut self, what: impl Into<String>, unit: &'static str, ours: f64, limit: Option<f64>) {
        let target = limit.map(Target::AtMost);
        self.0.push(Row { what: what.into(), unit, ours, peer: None, ratio: None, target });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | unit | ours | peer | ratio | target | met |\n|---|---|---|---|---|---|---|")?;
        for row in &self.0 {
            let peer = row.peer.map_or("–".to_owned(), |(name, value)| format!("{name} {}", digits(value)));
            let ratio = row.ratio.map_or("–".to_owned(), digits);
            let (target, met) = match (row.target, row.ratio) {
                (Some(Target::Ratio(least)), Some(ratio)) => (format!("≥ {least}"), yes(ratio >= least)),
                (Some(Target::AtMost(most)), _) => (format!("≤ {most} {}", row.unit), yes(row.ours <= most)),
                _ => ("–".to_owned(), "–"),
            };
            writeln!(
                f,
                "| {} | {} | {} | {peer} | {ratio} | {target} | {met} |",
                row.what,
                row.unit,
                digits(row.ours)
            )?;
        }
        Ok(())
    }
}

fn yes(met: bool) -> &'static str {
    if met { "yes" } else { "**no**" }
}

/// Three significant digits.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The middle of `values`.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
