//! What is measured of the tracer alone: memory, wake-ups, the first record, its size, and the way from event to
//! record.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::machine;
use super::process::{Memory, Switches};
use super::storm::{Load, Storm, Targets};
use super::summary::Summary;
use super::tools::{Running, Tool};
use crate::{shell, workspace};

/// Resident memory before and after many connections.
#[derive(Debug, Serialize, Deserialize)]
pub struct MemoryResult {
    pub connections: u64,
    pub after_start: Memory,
    pub after_connections: Memory,
    /// With everything on and flows open: how many, and the memory then.
    #[serde(default)]
    pub open_flows: Option<(u64, Memory)>,
}

/// Connections to addresses all over the world, so that the pages of the geo database are touched, too.
pub fn memory(tracer: &Path, connections: u64) -> Result<MemoryResult> {
    /// Connections in one storm.
    const GUST: u64 = 100_000;
    let mut storm = Storm::start(Targets::Global)?;
    let running = Running::start(Tool::Tracer, tracer, &mut storm)?;
    let after_start = running.process.memory()?;
    let mut left = connections;
    while left > 0 {
        let gust = storm.run(left.min(GUST), machine::processors())?;
        ensure!(gust.connections > 0, "the storm made no connections");
        left -= gust.connections.min(left);
    }
    running.wait_until_it_rests()?;
    let after_connections = running.process.memory()?;
    running.stop()?;
    let open_flows = Some((OPEN_FLOWS, memory_of_open_flows(tracer)?));
    Ok(MemoryResult { connections, after_start, after_connections, open_flows })
}

/// Flows that are open in the last measurement: each connection is two, one of each end.
const OPEN_FLOWS: u64 = 10_000;

/// Built-in services and rules, a home, a ledger, and many flows that have all been looked at while they grew.
fn memory_of_open_flows(tracer: &Path) -> Result<Memory> {
    /// How often they are looked at.
    const LOOK: Duration = Duration::from_secs(4);
    let mut storm = Storm::start(Targets::Global)?;
    let running = Running::start(Tool::TracerAll, tracer, &mut storm)?;
    storm.run_load(Load::Hold, OPEN_FLOWS / 2, 1)?;
    for _ in 0..4 {
        storm.run_load(Load::Beat, 0, 1)?;
        std::thread::sleep(LOOK + Duration::from_secs(1));
    }
    let memory = running.process.memory()?;
    running.stop()?;
    Ok(memory)
}

/// What the tracer did while nothing happened.
#[derive(Debug, Serialize, Deserialize)]
pub struct IdleResult {
    pub seconds: u64,
    pub switches: Switches,
    pub cpu_us: u64,
    /// Bytes of records that were written meanwhile: not zero on a machine with traffic of its own.
    pub bytes_written: u64,
}

pub fn idle(tracer: &Path, seconds: u64) -> Result<IdleResult> {
    let running = Running::spawn(Tool::Tracer, Command::new(tracer))?;
    running.wait_for_output()?;
    running.wait_until_it_rests()?;
    // What follows a start (threads that end, the first look at counters) is over after two seconds.
    std::thread::sleep(Duration::from_secs(2));
    let before = (running.process.switches()?, running.process.cpu_ns()?, running.bytes_so_far());
    std::thread::sleep(Duration::from_secs(seconds));
    let after = (running.process.switches()?, running.process.cpu_ns()?, running.bytes_so_far());
    running.stop()?;
    Ok(IdleResult {
        seconds,
        switches: Switches {
            voluntary: after.0.voluntary - before.0.voluntary,
            involuntary: after.0.involuntary - before.0.involuntary,
        },
        cpu_us: (after.1 - before.1) / 1000,
        bytes_written: after.2 - before.2,
    })
}

/// Milliseconds from the start of the process to its first record. It is written once the programs are attached:
/// connections after it are seen.
pub fn first_record(tracer: &Path, times: usize) -> Result<Summary> {
    let mut all = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        let mut child = Command::new(tracer)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("could not start tracer")?;
        let mut line = String::new();
        let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
        let took = start.elapsed();
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::INT);
        }
        child.wait()?;
        read.context("tracer has no stdout")??;
        ensure!(
            line.contains("\"action\":\"start\""),
            "the first line of tracer is no start record: {line:?}"
        );
        all.push(took.as_secs_f64() * 1e3);
    }
    Summary::of(all).context("nothing was measured")
}

/// Size of the binary that is shipped, bytes.
pub fn size(tracer: &Path) -> Result<u64> {
    Ok(std::fs::metadata(tracer).with_context(|| format!("no file {}", tracer.display()))?.len())
}

/// From ring-buffer bytes to JSON in memory, as `tracer/benches/records.rs` measures it.
#[derive(Debug, Serialize, Deserialize)]
pub struct RecordsResult {
    pub events: u64,
    /// Median of all passes.
    pub ns_per_event: f64,
    /// The fastest pass: what it costs when nobody shares the processor's core and caches.
    pub best_ns_per_event: f64,
    pub records_per_second: f64,
    pub bytes_per_record: f64,
    pub stages: Vec<Stage>,
    /// All of it, and what can be switched on.
    #[serde(default)]
    pub everything_on: Option<Stage>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Stage {
    pub stage: String,
    pub ns: f64,
    pub best_ns: f64,
}

/// With the profile that is shipped.
const RECORDS: [&str; 6] = ["--package", "tracer", "--bench", "records", "--profile", "dist"];

/// Builds it.
///
/// # Errors
/// When it does not build.
pub fn build_records() -> Result<()> {
    shell::run(workspace::cargo().args(["bench", "--no-run"]).args(RECORDS))
}

/// # Errors
/// When it does not run.
pub fn records() -> Result<RecordsResult> {
    let mut command = workspace::cargo();
    command.args(["bench", "--quiet"]).args(RECORDS);
    let text = shell::capture(&mut command)?;
    let line = text.lines().find(|line| line.starts_with('{')).context("cargo bench printed no result")?;
    serde_json::from_str(line)
        .with_context(|| format!("the result of cargo bench is not as expected: {line}"))
}
