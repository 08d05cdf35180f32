//! Results as JSON, as tables, and in the documentation.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

mod bulk;

use super::compare::{Comparison, Delivered, Row};
use super::datagrams::DatagramsResult;
use super::machine::Machine;
use super::process::Memory;
use super::replay::ReplayResult;
use super::single::{IdleResult, MemoryResult, RecordsResult};
use super::storm::Load;
use super::summary::Summary;
use super::tools::Tool;
use crate::docs;

/// All that one run measured; what was not asked for is absent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub quick: bool,
    /// Whether nobody else used the machine at the beginning.
    pub quiet: bool,
    pub storms: Vec<Comparison>,
    #[serde(default)]
    pub bulk: Option<Comparison>,
    #[serde(default)]
    pub datagrams: Vec<DatagramsResult>,
    pub records: Option<RecordsResult>,
    pub memory: Option<MemoryResult>,
    pub replay: Option<ReplayResult>,
    pub idle: Option<IdleResult>,
    pub first_record_ms: Option<Summary>,
    /// Bytes of the binary.
    pub size: Option<u64>,
}

const MIB: f64 = 1024.0 * 1024.0;

impl Results {
    pub fn new(machine: Machine, quick: bool) -> Self {
        Self {
            machine,
            quick,
            quiet: false,
            storms: Vec::new(),
            bulk: None,
            datagrams: Vec::new(),
            records: None,
            memory: None,
            replay: None,
            idle: None,
            first_record_ms: None,
            size: None,
        }
    }

    pub fn markdown(&self) -> String {
        let mut text = self.about();
        text += &self.goals();
        for comparison in &self.storms {
            text += &storm(comparison);
        }
        if let Some(comparison) = &self.bulk {
            text += &bulk::table(comparison);
        }
        if !self.datagrams.is_empty() {
            text += &datagrams_table(&self.datagrams);
        }
        if let Some(records) = &self.records {
            text += &stages(records);
        }
        if let Some(replay) = &self.replay {
            text += &replay_table(replay);
        }
        if let Some(memory) = &self.memory {
            text += &memory_table(memory);
        }
        text
    }

    fn about(&self) -> String {
        let machine = &self.machine;
        let tools: Vec<_> =
            machine.tools.iter().map(|(package, version)| format!("{package} {version}")).collect();
        let mut text = format!(
            "Measured {} on {} × {} ({}), {} MiB, Linux {}. Peers: {}.\n",
            machine.date,
            machine.processors,
            machine.processor,
            machine.architecture,
            machine.memory_mib,
            machine.kernel,
            tools.join(", ")
        );
        if self.quick {
            text += "A quick run: too few rounds for figures to quote.\n";
        }
        if !self.quiet {
            text += "Others were using the machine.\n";
        }
        text
    }

    /// What DESIGN asks for, beside what was measured.
    fn goals(&self) -> String {
        let mut rows = Vec::new();
        for comparison in &self.storms {
            storm_goals(comparison, &mut rows);
        }
        if let Some(comparison) = &self.bulk {
            bulk::goals(comparison, &mut rows);
        }
        if let Some(records) = &self.records {
            let ns = records.ns_per_event;
            let measured = format!("{:.2} µs (best {:.2})", ns / 1e3, records.best_ns_per_event / 1e3);
            rows.push(goal("user space per record", "≤ 2 µs", measured, ns <= 2e3));
            if let Some(all) = &records.everything_on {
                let measured = format!("{:.2} µs (best {:.2})", all.ns / 1e3, all.best_ns / 1e3);
                let what = "the same with a home, names and a ledger";
                rows.push(goal(what, "≤ 3 µs", measured, all.ns <= 3e3));
            }
        }
        if let Some(replay) = &self.replay {
            let rate = replay.rate();
            let measured = format!("{:.0} records/s", rate);
            rows.push(goal(
                "replay, judged and booked on one core",
                "≥ 200,000 records/s",
                measured,
                rate >= 2e5,
            ));
        }
        if let Some(memory) = &self.memory {
            let mib = memory.after_connections.rss_kib as f64 / 1024.0;
            let what = format!("resident after {} connections", memory.connections);
            rows.push(goal(&what, "≤ 15 MiB", format!("{mib:.1} MiB"), mib <= 15.0));
            if let Some((flows, memory)) = &memory.open_flows {
                let mib = memory.rss_kib as f64 / 1024.0;
                let what = format!("resident with everything on and {flows} open flows");
                rows.push(goal(&what, "≤ 25 MB", format!("{mib:.1} MiB"), mib * 1.048_576 <= 25.0));
            }
        }
        if let Some(idle) = &self.idle {
            rows.push(idle_goal(idle));
        }
        if let Some(ms) = &self.first_record_ms {
            rows.push(goal("first record", "≤ 250 ms", format!("{} ms", ms.show(0)), ms.median <= 250.0));
        }
        if let Some(bytes) = self.size {
            let mib = bytes as f64 / MIB;
            rows.push(goal("binary", "≤ 25 MiB", format!("{mib:.1} MiB"), mib <= 25.0));
        }
        format!("\n| what | goal | measured | met |\n|---|---|---|---|\n{}", rows.concat())
    }
}

fn goal(what: &str, goal: &str, measured: impl AsRef<str>, met: bool) -> String {
    format!("| {what} | {goal} | {} | {} |\n", measured.as_ref(), if met { "yes" } else { "**no**" })
}

fn idle_goal(idle: &IdleResult) -> String {
    let wakeups = idle.switches.voluntary + idle.switches.involuntary;
    let mut measured = format!("{wakeups} in {} s", idle.seconds);
    if idle.bytes_written > 0 {
        let _ = write!(measured, " (it was not idle: {} bytes of records)", idle.bytes_written);
    }
    goal("wake-ups while nothing happens", "none", measured, wakeups == 0)
}

/// The goals that compare with the peers.
fn storm_goals(comparison: &Comparison, rows: &mut Vec<String>) {
    let Some(tracer) = comparison.row(Tool::Tracer) else { return };
    let place = place(comparison);
    let Delivered { lost, lines, lost_in_kernel, lost_in_output, .. } = tracer.delivered;
    let mut measured = format!("{lost} of {}", lost + lines);
    if lost > 0 {
        let _ = write!(measured, " ({lost_in_kernel} in the kernel, {lost_in_output} in the output)");
    }
    rows.push(goal(&format!("records lost, {place}"), "none", measured, lost == 0));
    let versus = |tool: Tool, share: f64, value: fn(&Row) -> Option<Summary>| {
        let (ours, theirs) = (value(&tracer)?.median, value(&comparison.row(tool)?)?.median);
        Some((ours, theirs, ours < theirs * share))
    };
    if let Some((ours, theirs, met)) = versus(Tool::Tcplife, 1.0, |row| row.slowdown) {
        let measured = format!("{ours:.0} % against {theirs:.0} %");
        rows.push(goal(&format!("storm slowed, {place}"), "less than by tcplife", measured, met));
    }
    if let Some((ours, theirs, met)) = versus(Tool::Bpftrace, 1.0 / 3.0, |row| row.slowdown) {
        let measured = format!("{ours:.0} % against {theirs:.0} %");
        rows.push(goal(&format!("storm slowed, {place}"), "less than a third of bpftrace", measured, met));
    }
    if let Some((ours, theirs, met)) = versus(Tool::Tcplife, 1.0, |row| row.program_ns) {
        let measured = format!("{ours:.0} ns against {theirs:.0} ns");
        rows.push(goal(&format!("kernel time a connection, {place}"), "less than tcplife's", measured, met));
    }
}

fn place(comparison: &Comparison) -> String {
    match comparison.workers {
        1 => "1 storm thread".to_owned(),
        workers => format!("{workers} storm threads"),
    }
}

fn storm(comparison: &Comparison) -> String {
    let text = format!(
        "\n### Connection storm, {} ({} connections a turn)\n\n\
         | | connections/s | slowdown, % | in the tool's programs, ns | runs | added to the storm, µs | \
         the tool's own time, µs | lines | bytes | lost | others |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        place(comparison),
        comparison.connections
    );
    text + &rows(comparison, storm_row)
}

/// One line for each tool, also for those that did not run.
fn rows(comparison: &Comparison, show: impl Fn(Tool, &Row) -> String) -> String {
    let mut text = String::new();
    for series in &comparison.series {
        let (tool, skipped) = (series.tool, series.skipped.as_deref());
        match (comparison.row(tool), skipped) {
            (Some(row), None) => text += &show(tool, &row),
            (_, reason) => {
                let reason = reason.unwrap_or("not measured").lines().next().unwrap_or_default();
                let _ = writeln!(text, "| {tool} | skipped: {reason} |");
            }
        }
    }
    text
}

fn show(summary: Option<Summary>, digits: usize) -> String {
    summary.map_or(String::new(), |summary| summary.show(digits))
}

fn storm_row(tool: Tool, row: &Row) -> String {
    let number = |value: Option<f64>, digits: usize| value.map_or(String::new(), |v| format!("{v:.digits$}"));
    let Delivered { lost, lines, .. } = row.delivered;
    let lost = if tool == Tool::Bare { String::new() } else { format!("{lost} of {}", lost + lines) };
    format!(
        "| {tool} | {} | {} | {} | {} | {} | {} | {} | {} | {lost} | {} |\n",
        row.rate.show(0),
        show(row.slowdown, 1),
        show(row.program_ns, 0),
        number(row.runs.map(|runs| runs.median), 1),
        show(row.added_us, 1),
        show(row.tool_us, 1),
        number(row.lines_per_connection, 1),
        number(row.bytes_per_connection, 0),
        row.others.show(2),
    )
}

fn datagrams_table(results: &[DatagramsResult]) -> String {
    let mut text = "\n### Datagram storm, 1 storm thread\n\n\
         | load | datagrams a turn | without, ns | with tracer, ns | slowdown, % | in its programs, ns |\n\
         |---|---|---|---|---|---|\n"
        .to_owned();
    for result in results {
        let load = match result.load {
            Load::Flows => "a socket for each datagram",
            _ => "one flow",
        };
        let _ = writeln!(
            text,
            "| {load} | {} | {} | {} | {} | {:.0} |",
            result.datagrams,
            result.bare_ns.show(0),
            result.traced_ns.show(0),
            result.slowdown.show(1),
            result.program_ns
        );
    }
    text
}

fn stages(records: &RecordsResult) -> String {
    let mut text = format!(
        "\n### From event to record\n\n{:.0} records per second, {:.0} bytes each.\n\n| stage | ns, median | ns, best |\n|---|---|---|\n",
        records.records_per_second, records.bytes_per_record
    );
    for stage in &records.stages {
        let _ = writeln!(text, "| {} | {:.0} | {:.0} |", stage.stage, stage.ns, stage.best_ns);
    }
    let _ = writeln!(text, "| all | {:.0} | {:.0} |", records.ns_per_event, records.best_ns_per_event);
    if let Some(all) = &records.everything_on {
        let _ = writeln!(text, "| {} | {:.0} | {:.0} |", all.stage, all.ns, all.best_ns);
    }
    text
}

fn replay_table(replay: &ReplayResult) -> String {
    let row = |name: &str, seconds: f64| {
        let rate = replay.records as f64 / seconds;
        let beside = replay.jq.map_or(String::new(), |jq| format!("{:.1}", jq / seconds));
        format!("| {name} | {seconds:.2} | {rate:.0} | {beside} |\n")
    };
    let jq = replay.jq.map(|seconds| row("`jq -c .`: the same lines, not judged", seconds));
    format!(
        "\n### Replay of {} records on one core (best of three)\n\n| | seconds | records/s | times as fast as jq |\n\
         |---|---|---|---|\n{}{}{}\nThe ledger has {:.1} MB then.\n",
        replay.records,
        row("judged", replay.judged),
        row("judged and booked in a ledger", replay.judged_and_booked),
        jq.unwrap_or_default(),
        replay.ledger as f64 / 1e6
    )
}

fn memory_table(memory: &MemoryResult) -> String {
    let row = |name: &str, memory: &Memory| {
        let mib = |kib: u64| kib as f64 / 1024.0;
        format!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |\n",
            mib(memory.rss_kib),
            mib(memory.anon_kib),
            mib(memory.file_kib),
            mib(memory.shmem_kib),
            mib(memory.peak_kib)
        )
    };
    let open_flows = memory.open_flows.as_ref().map(|(flows, memory)| {
        row(&format!("with services, rules, a ledger and {flows} open flows"), memory)
    });
    format!(
        "\n### Resident memory, MiB\n\n| | all | heap and stacks | pages of the binary | shared | peak |\n\
         |---|---|---|---|---|---|\n{}{}{}",
        row("after start", &memory.after_start),
        row(&format!("after {} connections", memory.connections), &memory.after_connections),
        open_flows.unwrap_or_default()
    )
}

/// Of the marks around the tables.
const MARK: &str = "bench";

/// What stands above the table in a new `docs/performance.md`.
const METHOD: &str = "# Performance

What `tracer` costs, beside `tcplife` of libbpf-tools (C; one line for each end of a connection at its close; no app) and
a bpftrace script that prints a line for every event that `tracer` has a record for (`xtask/dev/src/bench/tcp.bt`).
`cargo xtask bench --write-docs` measures all of it anew and replaces the tables below.

## Method

- **Storm**: threads that each hold both ends of their connections: connect, accept, one byte there, one back, close,
  close. They run in a network namespace where every address is local, so that connections go to 1,024 addresses all over
  the world over the loopback device, and without TIME_WAIT, so that ports never run out. Each connection makes five
  records: connect, established, accept, and a close at each end.
- Storm, tool and the reader of its output share the machine's processors. One storm thread leaves a processor for the
  tool; as many threads as processors leave none.
- Every tool takes its turn in every round, in rotating order, with a storm without any tool before and after. A
  slowdown is how much longer a connection takes than in those two. Figures are medians, with the middle half of the
  turns in parentheses.
- **In the tool's programs**: the kernel's own statistics (`bpf_stats_enabled`), in a storm of its own, because they cost
  time in every run. **Added to the storm**: processor time of the storm's threads beyond that without a tool; what the
  kernel does for the tool happens there. **The tool's own time**: its processor time, user and system.
- **Datagram storm**: one thread sends datagrams of one byte and receives each before it sends the next, in the same
  namespace; with the tracer and without it in turns. No peer does this with apps and flows.
- **1 GiB over TLS**: one connection in the same namespace, to port 443, TLS 1.3 with AES-128-GCM, one thread at each end, the
  client sends in writes of 16 KiB. That takes two processors: what a tool does beside it takes from them where there are no
  more. **no names**: with `--no-names`; **against it**: slowdown against slowdown of the same round. tshark prints the name in each
  hello and keeps what it captures in memory; its capture filter is in no statistics of the kernel. The bpftrace script
  (`xtask/dev/src/bench/bulk.bt`) counts what is sent to the port, at a tracepoint that shows it no payload and so no name.
  One transfer differs from the next by ten percent and more without any tool, so there are three times as many rounds; and what is
  counted, time in programs and of the tool, is compared beside what is timed.
  **Names**: connections whose server's name the tool said, of all that it saw. **Lost** of tshark: packets.
- **Others**: processors that anything else on the machine used during the storms.
- Output goes through a pipe to a reader that counts lines. **Lost**: what the tool itself counted, or lines that are
  missing against the connections made, whichever is more. A tool that loses events saves the time for them: its other
  figures are then too good.
- **From event to record**: `tracer/benches/records.rs`, recorded ring-buffer bytes to JSON in memory.
- **First record**: from the start of the process to its `start` record, which is written once the programs are attached.
- **Wake-ups**: context switches of all its threads.

## Results
";

/// Replaces the tables between the marks, and leaves what people wrote around them.
pub fn write_docs(path: &Path, markdown: &str) -> Result<()> {
    if !path.exists() {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory).with_context(|| format!("could not create {}", directory.display()))?;
        fs::write(path, format!("{METHOD}\n{}", docs::marks(MARK)))
            .with_context(|| format!("could not write {}", path.display()))?;
    }
    docs::replace_marked(path, MARK, markdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_that_is_missed_stands_out() {
        assert!(goal("a", "b", "c", false).contains("**no**"));
        assert!(!goal("a", "b", "c", true).contains("**"));
    }
}
