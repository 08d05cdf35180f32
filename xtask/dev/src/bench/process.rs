//! What `/proc` says about a process that is measured: processor time, memory, wake-ups, eBPF programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// `/proc/PID` of one process.
#[derive(Clone, Debug)]
pub struct Process(PathBuf);

/// Resident memory, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    pub rss_kib: u64,
    /// Heap and stacks.
    pub anon_kib: u64,
    /// Pages of the executable that were touched; the kernel can drop them.
    pub file_kib: u64,
    /// The ring buffer, shared with the kernel, among others.
    pub shmem_kib: u64,
    /// Highest `rss_kib` ever.
    pub peak_kib: u64,
}

/// How often the threads of a process were put off a processor, and so woken or resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    pub voluntary: u64,
    pub involuntary: u64,
}

/// What the kernel measured of eBPF programs (`bpf_stats_enabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfTime {
    pub programs: usize,
    pub runs: u64,
    pub ns: u64,
}

impl Process {
    pub fn new(pid: u32) -> Self {
        Self(Path::new("/proc").join(pid.to_string()))
    }

    /// User and system time of all threads that live, nanoseconds. The tracer's short-lived ones read the list of sockets once
    /// a minute.
    pub fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for task in self.tasks()? {
            // The first number of schedstat is the time on a processor; a thread may end meanwhile.
            let Ok(text) = fs::read_to_string(task.join("schedstat")) else { continue };
            sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(sum)
    }

    /// The processes that this one has started and that live. Not from `children` in `/proc`, which few kernels have.
    pub fn children(&self) -> Result<Vec<Self>> {
        let mut children = Vec::new();
        for entry in fs::read_dir("/proc").context("could not read /proc")? {
            let path = entry?.path();
            let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
            if parent(&stat).is_some_and(|parent| self.0.ends_with(parent)) {
                children.push(Self(path));
            }
        }
        Ok(children)
    }

    pub fn memory(&self) -> Result<Memory> {
        let status = self.status(&self.0.join("status"))?;
        let kib = |name: &str| status.get(name).copied().unwrap_or_default();
        Ok(Memory {
            rss_kib: kib("VmRSS"),
            anon_kib: kib("RssAnon"),
            file_kib: kib("RssFile"),
            shmem_kib: kib("RssShmem"),
            peak_kib: kib("VmHWM"),
        })
    }

    pub fn switches(&self) -> Result<Switches> {
        let mut sum = Switches::default();
        for task in self.tasks()? {
            let status = self.status(&task.join("status"))?;
            sum.voluntary += status.get("voluntary_ctxt_switches").copied().unwrap_or_default();
            sum.involuntary += status.get("nonvoluntary_ctxt_switches").copied().unwrap_or_default();
        }
        Ok(sum)
    }

    /// Sums the statistics of the programs that this process holds open.
    pub fn bpf(&self) -> Result<BpfTime> {
        let mut programs = BTreeMap::new();
        for entry in fs::read_dir(self.0.join("fdinfo")).with_context(|| self.gone())? {
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let info = numbers(&text);
            if let (Some(id), Some(runs), Some(ns)) =
                (info.get("prog_id"), info.get("run_cnt"), info.get("run_time_ns"))
            {
                // Two descriptors may be of one program.
                programs.insert(*id, (*runs, *ns));
            }
        }
        let mut sum = BpfTime { programs: programs.len(), ..BpfTime::default() };
        for (runs, ns) in programs.into_values() {
            sum.runs += runs;
            sum.ns += ns;
        }
        Ok(sum)
    }

    fn tasks(&self) -> Result<Vec<PathBuf>> {
        let tasks = fs::read_dir(self.0.join("task")).with_context(|| self.gone())?;
        tasks.map(|task| Ok(task?.path())).collect()
    }

    fn status(&self, path: &Path) -> Result<BTreeMap<String, u64>> {
        let text = fs::read_to_string(path).with_context(|| self.gone())?;
        Ok(numbers(&text))
    }

    fn gone(&self) -> String {
        format!("the process of {} has ended while it was measured", self.0.display())
    }
}

/// The parent's number in a line of `/proc/PID/stat`; the name before it may have blanks and parentheses.
fn parent(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)
}

/// Lines `name: number …`, as status and fdinfo have them; others are left out.
fn numbers(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Switches the kernel's eBPF statistics on, and back to what they were when dropped. They cost two clock reads in
/// every run of a program, so they are off while rates are measured.
pub struct BpfStatistics {
    before: String,
}

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfStatistics {
    pub fn on() -> Result<Self> {
        let before =
            fs::read_to_string(STATISTICS).with_context(|| format!("could not read {STATISTICS}"))?;
        fs::write(STATISTICS, "1")
            .with_context(|| format!("could not write {STATISTICS}; that takes root"))?;
        Ok(Self { before })
    }
}

impl Drop for BpfStatistics {
    fn drop(&mut self) {
        let _ = fs::write(STATISTICS, self.before.trim());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_and_without_unit_and_text_is_left_out() {
        let read = numbers("Name:\tsleep\nVmRSS:\t   1234 kB\nrun_time_ns:\t99\nbroken\n");
        assert_eq!(read.get("VmRSS"), Some(&1234));
        assert_eq!(read.get("run_time_ns"), Some(&99));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("42 (a) S 1 (b)) S 17 42 0\n"), Some("17"));
        assert_eq!(parent("42"), None);
    }

    #[test]
    fn a_child_is_found_while_it_lives() {
        let me = Process::new(std::process::id());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let path = Process::new(child.id()).0;
        assert!(me.children().unwrap().iter().any(|found| found.0 == path));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!me.children().unwrap().iter().any(|found| found.0 == path));
    }

    #[test]
    fn this_process_has_memory_and_used_a_processor() {
        let me = Process::new(std::process::id());
        let memory = me.memory().unwrap();
        assert!(memory.rss_kib >= memory.anon_kib && memory.anon_kib > 0, "{memory:?}");
        assert!(me.cpu_ns().unwrap() > 0);
    }
}
