//! This machine: what it is, what is installed, and whether somebody else is using it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What figures depend on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    pub date: String,
    pub kernel: String,
    pub architecture: String,
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    /// Versions of the tools, by package.
    pub tools: Vec<(String, String)>,
}

impl Machine {
    /// # Errors
    /// Without `/proc`.
    pub fn look() -> Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("could not read {path}"));
        let processor = |text: &str| {
            let line =
                text.lines().find(|line| line.starts_with("model name") || line.starts_with("CPU part"))?;
            line.split_once(':').map(|(_, name)| name.trim().to_owned())
        };
        let memory = |text: &str| text.split_whitespace().nth(1)?.parse::<u64>().ok();
        let tools = ["libbpf-tools", "bpftrace", "tshark"]
            .map(|package| (package.to_owned(), package_version(package)));
        Ok(Self {
            date: first_line("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            processor: processor(&read("/proc/cpuinfo")?).unwrap_or_else(|| "unknown".to_owned()),
            processors: processors(),
            memory_mib: memory(&read("/proc/meminfo")?).unwrap_or_default() / 1024,
            tools: tools.into(),
        })
    }
}

pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn package_version(package: &str) -> String {
    let version = first_line("dpkg-query", &["-W", "-f", "${Version}", package]);
    version.filter(|version| !version.is_empty()).unwrap_or_else(|| "not installed".to_owned())
}

fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

/// Processor time that this machine has used for anything, and had in all: clock ticks of all processors.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    busy: u64,
    all: u64,
}

impl Load {
    /// # Errors
    /// Without `/proc`.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("could not read /proc/stat")?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let first = text.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal, proc_stat(5).
        let ticks: Vec<u64> =
            first.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
        let all = ticks.iter().sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        Self { busy: all - idle, all }
    }

    /// Processors that were busy on average since then.
    pub fn busy_since(self, earlier: Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        self.busy.saturating_sub(earlier.busy) as f64 / all as f64 * processors() as f64
    }
}

/// Waits until others use less than a tenth of a processor for a second, at most that long. Returns whether they do.
///
/// # Errors
/// Without `/proc`.
pub fn wait_until_quiet(longest: Duration) -> Result<bool> {
    let deadline = Instant::now() + longest;
    loop {
        let before = Load::now()?;
        std::thread::sleep(Duration::from_secs(1));
        if Load::now()?.busy_since(before) < 0.1 {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_processors_are_not_busy() {
        let before = Load::parse("cpu  100 0 100 1000 50 0 10 0 0 0\ncpu0 1 1 1 1\n");
        let after = Load::parse("cpu  150 0 150 1080 70 0 10 0 0 0\n");
        // 100 busy ticks of 200.
        let expected = processors() as f64 / 2.0;
        assert!((after.busy_since(before) - expected).abs() < 1e-9);
    }
}
