//! Metrics for Prometheus.

mod process;
mod text;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::counter::Counter as RawCounter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram as RawHistogram;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

/// What is measured, and the text in which Prometheus reads it. Clones are handles of the same registry.
///
/// Labels cannot carry an identity: their values are `&'static str`, words of this program and never of a caller. Each
/// metric is registered once, at start; two with one name are an error of the program that its first scrape shows.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    before: Arc<Mutex<Vec<Fill>>>,
}

type Fill = Box<dyn Fn() + Send>;

/// Latencies in seconds, from a lookup in memory to a deadline.
pub const LATENCY_BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    /// A registry with the metrics of the process itself, which started at `started`.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::ProcessCollector::new(started)));
        Self { registry: Arc::new(Mutex::new(registry)), before: Arc::default() }
    }

    /// A counter without labels. `name` ends in `_total`, as it is shown.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        Counter(self.counters(name, help, []).0.get_or_create_owned(&Labels::of([], [])))
    }

    /// A counter per combination of values of these labels. `name` ends in `_total`, as it is shown.
    #[must_use]
    pub fn counters<const N: usize>(&self, name: &str, help: &str, labels: [&'static str; N]) -> Counters<N> {
        let family = Family::<Labels<N>, RawCounter>::default();
        // The encoder adds the suffix itself.
        self.register(name.strip_suffix("_total").unwrap_or(name), help, family.clone());
        Counters(family, labels)
    }

    /// A gauge.
    ///
    /// Names of existing systems that end in `_total` although they are no counters are shown as *untyped*: Prometheus
    /// reads an untyped sample as it reads a gauge, and its lint has nothing against the name then.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge { bits: Arc::default(), untyped: name.ends_with("_total") };
        if gauge.untyped {
            self.register(name, help, Untyped(gauge.clone()));
        } else {
            self.register(name, help, Typed(gauge.clone()));
        }
        gauge
    }

    /// A gauge per value of one label, all from a closed list.
    #[must_use]
    pub fn gauges<const N: usize>(&self, name: &str, help: &str, labels: [&'static str; N]) -> Gauges<N> {
        let family = Family::<Labels<N>, Typed>::default();
        self.register(name, help, family.clone());
        Gauges(family, labels)
    }

    /// A histogram with these upper bounds, per combination of values of these labels (none: `[]`).
    #[must_use]
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&'static str; N],
        buckets: &'static [f64],
    ) -> Histograms<N> {
        let family = Family::new_with_constructor(Buckets(buckets));
        self.register(name, help, family.clone());
        Histograms(family, labels)
    }

    /// Calls `fill` before each scrape, to set gauges from what is known then. It must not block.
    pub fn before_scrape(&self, fill: impl Fn() + Send + 'static) {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(fill));
    }

    /// Everything, in the Prometheus text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        for fill in self.before.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            fill();
        }
        let mut open_metrics = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut open_metrics, &registry);
        text::to_prometheus(&open_metrics)
    }

    /// The answer to `GET /metrics`.
    #[must_use]
    pub fn response(&self) -> Response {
        ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], self.text()).into_response()
    }

    fn register(&self, name: &str, help: &str, metric: impl prometheus_client::registry::Metric) {
        // The encoder ends every help text with a full stop of its own.
        let help = help.trim_end_matches('.').replace('\n', " ");
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, metric);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A number that only grows.
#[derive(Clone, Debug)]
pub struct Counter(RawCounter);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// `by` more.
    pub fn inc_by(&self, by: u64) {
        self.0.inc_by(by);
    }

    /// What it shows.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// Counters by label.
#[derive(Clone, Debug)]
pub struct Counters<const N: usize>(Family<Labels<N>, RawCounter>, [&'static str; N]);

impl<const N: usize> Counters<N> {
    /// One more of these values, in the order of the labels.
    pub fn inc(&self, values: [&'static str; N]) {
        self.0.get_or_create(&Labels::of(self.1, values)).inc();
    }

    /// Shows these values from the start, as 0: an alarm on a rate needs the series before its first event.
    #[must_use]
    pub fn starting_with(self, all: impl IntoIterator<Item = [&'static str; N]>) -> Self {
        for values in all {
            drop(self.0.get_or_create(&Labels::of(self.1, values)));
        }
        self
    }

    /// What it shows for these values.
    #[must_use]
    pub fn get(&self, values: [&'static str; N]) -> u64 {
        self.0.get_or_create(&Labels::of(self.1, values)).get()
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    bits: Arc<AtomicU64>,
    untyped: bool,
}

impl Gauge {
    /// Shows `value` from now on.
    pub fn set(&self, value: f64) {
        self.bits.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `by`, which may be negative.
    pub fn add(&self, by: f64) {
        let _ = self
            .bits
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some((f64::from_bits(bits) + by).to_bits()));
    }

    /// What it shows.
    #[must_use]
    pub fn get(&self) -> f64 {
        f64::from_bits(self.bits.load(Ordering::Relaxed))
    }
}

/// Gauges by label.
#[derive(Clone, Debug)]
pub struct Gauges<const N: usize>(Family<Labels<N>, Typed>, [&'static str; N]);

impl<const N: usize> Gauges<N> {
    /// Shows `value` for these values of the labels from now on.
    pub fn set(&self, values: [&'static str; N], value: f64) {
        self.0.get_or_create(&Labels::of(self.1, values)).0.set(value);
    }
}

/// Histograms by label.
#[derive(Clone, Debug)]
pub struct Histograms<const N: usize>(Family<Labels<N>, RawHistogram, Buckets>, [&'static str; N]);

impl<const N: usize> Histograms<N> {
    /// Notes one value, in the unit that the name says.
    pub fn observe(&self, values: [&'static str; N], value: f64) {
        self.0.get_or_create(&Labels::of(self.1, values)).observe(value);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels<const N: usize>([(&'static str, &'static str); N]);

impl<const N: usize> Labels<N> {
    fn of(names: [&'static str; N], values: [&'static str; N]) -> Self {
        let mut values = values.into_iter();
        Self(names.map(|name| (name, values.next().unwrap_or_default())))
    }
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for label in &self.0 {
            prometheus_client::encoding::EncodeLabel::encode(label, encoder.encode_label())?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Buckets(&'static [f64]);

impl MetricConstructor<RawHistogram> for Buckets {
    fn new_metric(&self) -> RawHistogram {
        RawHistogram::new(self.0.iter().copied())
    }
}

#[derive(Clone, Debug, Default)]
struct Typed(Gauge);

impl TypedMetric for Typed {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Typed {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[derive(Clone, Debug)]
struct Untyped(Gauge);

impl EncodeMetric for Untyped {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.0.get())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}
