//! CloudWatch metrics in the embedded metric format: a JSON line that CloudWatch Logs turns into metrics, so that a
//! Lambda needs no client, no permission and no extra request for them.

use std::io::Write;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// CloudWatch's name for what a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Events.
    Count,
    /// Milliseconds.
    Milliseconds,
    /// A number without a unit, such as days.
    None,
    /// Seconds.
    Seconds,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::None => "None",
            Self::Seconds => "Seconds",
        }
    }
}

/// One line of metrics that share their dimensions.
///
/// A dimension's values must come from a closed set (a refusal code, a function's name), never from a caller: each new
/// value is a new metric that somebody pays for.
#[derive(Clone, Debug)]
pub struct MetricRecord {
    namespace: &'static str,
    dimensions: Vec<(&'static str, String)>,
    metrics: Vec<(&'static str, Unit, f64)>,
}

impl MetricRecord {
    /// An empty record in `namespace`.
    #[must_use]
    pub fn new(namespace: &'static str) -> Self {
        Self { namespace, dimensions: Vec::new(), metrics: Vec::new() }
    }

    /// Adds a dimension.
    #[must_use]
    pub fn dimension(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.dimensions.push((name, value.into()));
        self
    }

    /// Adds a metric.
    #[must_use]
    pub fn metric(mut self, name: &'static str, unit: Unit, value: f64) -> Self {
        self.metrics.push((name, unit, value));
        self
    }

    /// The record as CloudWatch reads it.
    #[must_use]
    pub fn to_json(&self, now: Timestamp) -> Value {
        let names: Vec<&str> = self.dimensions.iter().map(|(name, _)| *name).collect();
        let metrics: Vec<Value> =
            self.metrics.iter().map(|(name, unit, _)| json!({"Name": name, "Unit": unit.name()})).collect();
        let mut record = Map::new();
        record.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [{"Namespace": self.namespace, "Dimensions": [names], "Metrics": metrics}],
            }),
        );
        record.extend(self.dimensions.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
        record.extend(self.metrics.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))));
        Value::Object(record)
    }

    /// Writes the record as one line. A failure to write is not the request's failure and is dropped: standard output is
    /// where it would have been reported.
    pub fn emit(&self, now: Timestamp, out: &mut dyn Write) {
        let _ = writeln!(out, "{}", self.to_json(now));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::{MetricRecord, Unit};

    #[test]
    fn a_record_has_the_shape_cloudwatch_reads() {
        let record = MetricRecord::new("JwtIssuer")
            .dimension("reason", "no_rule")
            .metric("Refused", Unit::Count, 1.0)
            .metric("SignLatency", Unit::Milliseconds, 0.25);
        let mut line = Vec::new();
        record.emit(Timestamp::from_second(1_700_000_000).unwrap(), &mut line);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&line).unwrap(),
            json!({
                "_aws": {
                    "Timestamp": 1_700_000_000_000_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "JwtIssuer",
                        "Dimensions": [["reason"]],
                        "Metrics": [
                            {"Name": "Refused", "Unit": "Count"},
                            {"Name": "SignLatency", "Unit": "Milliseconds"},
                        ],
                    }],
                },
                "reason": "no_rule",
                "Refused": 1.0,
                "SignLatency": 0.25,
            })
        );
    }
}
