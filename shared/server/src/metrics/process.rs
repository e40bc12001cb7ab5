//! The process itself, under the names that every Prometheus client library uses.

use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

#[derive(Debug)]
pub(crate) struct ProcessCollector {
    started: f64,
}

impl ProcessCollector {
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { started: started.as_duration().as_secs_f64() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "seconds of CPU time stay far below 2^52")]
        let spent = ConstCounter::new(spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9);
        let about = "Total user and system CPU time spent in seconds";
        spent.encode(encoder.encode_descriptor("process_cpu_seconds", about, None, spent.metric_type())?)?;

        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |name| number(&status, name).map(|kibibytes| kibibytes * 1024.0);
        #[expect(clippy::cast_precision_loss, reason = "a number of file descriptors")]
        let gauges = [
            ("process_start_time_seconds", "Start time of the process since unix epoch in seconds", Some(self.started)),
            ("process_resident_memory_bytes", "Resident memory size in bytes", kibibytes("VmRSS:")),
            ("process_virtual_memory_bytes", "Virtual memory size in bytes", kibibytes("VmSize:")),
            ("process_threads", "Number of operating system threads", number(&status, "Threads:")),
            (
                "process_open_fds",
                "Number of open file descriptors",
                std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64),
            ),
            (
                "process_max_fds",
                "Maximum number of open file descriptors",
                getrlimit(Resource::Nofile).current.map(|most| most as f64),
            ),
        ];
        for (name, about, value) in gauges {
            // Where there is no /proc, what it would have said is left out.
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, about, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn number(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
