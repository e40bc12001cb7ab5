//! A measured child: spawned without anything around it, killed at the end.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// A running function.
pub(crate) struct Measured {
    child: Child,
    pub(crate) started: Instant,
}

impl Measured {
    /// Spawns `command`; the clock starts before.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, started }
    }

    /// CPU milliseconds of all its threads since it was spawned, from the scheduler's own account (nanoseconds; the
    /// clock ticks of `/proc/PID/stat` are ten milliseconds wide).
    pub(crate) fn cpu_ms(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the function runs");
        let nanoseconds = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<f64>().ok()
        });
        nanoseconds.sum::<f64>() / 1e6
    }

    /// The most memory that was ever resident, in MB.
    pub(crate) fn peak_rss_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the function runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says VmHWM");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().expect("a number of kB") / 1024.0
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
