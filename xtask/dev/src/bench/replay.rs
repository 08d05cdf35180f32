//! A recorded stream put through today's data, services, rules and a ledger, on one core; beside jq, which reads and writes the same
//! lines and does nothing else.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{shell, workspace};

/// Seconds for the same lines.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplayResult {
    pub records: u64,
    pub judged: f64,
    pub judged_and_booked: f64,
    /// `None`: jq is not installed.
    pub jq: Option<f64>,
    /// Of the ledger, bytes.
    pub ledger: u64,
}

impl ReplayResult {
    /// Records per second, judged and booked.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.judged_and_booked
    }
}

/// Makes a capture of so many connections, and replays it.
///
/// # Errors
/// When something does not build or run.
pub fn replay(tracer: &Path, connections: u64) -> Result<ReplayResult> {
    let directory = workspace::target().join("bench");
    workspace::create_dir(&directory)?;
    let (capture, ledger) = (directory.join("crowd.jsonl"), directory.join("crowd.db"));
    let file =
        std::fs::File::create(&capture).with_context(|| format!("could not create {}", capture.display()))?;
    let mut crowd = workspace::cargo();
    crowd.args([
        "run",
        "--quiet",
        "--profile",
        "dist",
        "--package",
        "tracer-tests-scenarios",
        "--bin",
        "crowd",
        "--",
    ]);
    let made = crowd.arg(connections.to_string()).stdout(file).status().context("could not run cargo")?;
    ensure!(made.success(), "the capture could not be made");
    let records = lines(&capture)?;
    let judge = |more: &[&str]| {
        // On one core, whatever threads there are.
        let mut command = on_one_core(tracer);
        command.arg("replay").arg(&capture).args(["--home", "SE", "--output", "/dev/null"]).args(more);
        seconds(command)
    };
    let mut result =
        ReplayResult { records, judged: f64::MAX, judged_and_booked: f64::MAX, jq: None, ledger: 0 };
    for _ in 0..3 {
        result.judged = result.judged.min(judge(&[])?);
        remove(&ledger);
        let path = ledger.to_string_lossy();
        result.judged_and_booked = result.judged_and_booked.min(judge(&["--ledger", &path])?);
    }
    result.ledger = std::fs::metadata(&ledger)?.len();
    if shell::find_program("jq").is_some() {
        let mut jq = on_one_core(Path::new("jq"));
        jq.arg("-c").arg(".").arg(&capture);
        result.jq = Some(seconds(jq)?);
    }
    remove(&ledger);
    let _ = std::fs::remove_file(&capture);
    Ok(result)
}

fn lines(capture: &Path) -> Result<u64> {
    use std::io::BufRead;
    let file = std::io::BufReader::new(std::fs::File::open(capture)?);
    let mut count = 0;
    for line in file.split(b'\n') {
        line?;
        count += 1;
    }
    Ok(count)
}

fn on_one_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

fn seconds(mut command: Command) -> Result<f64> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let status = status.with_context(|| format!("could not run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(start.elapsed().as_secs_f64())
}

fn remove(ledger: &Path) {
    for end in ["", "-wal", "-shm", "-lock"] {
        let _ = std::fs::remove_file(format!("{}{end}", ledger.display()));
    }
}
