//! What the figures were measured on.

use std::process::Command;

/// Processor, number of cores, compiler, load.
pub(crate) fn describe() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let version = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    format!(
        "{} x{cores}; {}; profile release (thin LTO, not the fat-LTO `lambda` profile); load at the start {}",
        model.trim_start_matches([' ', '\t', ':']),
        version.split(" (").next().unwrap_or_default().trim(),
        load()
    )
}

/// The one-minute load average.
pub(crate) fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}
