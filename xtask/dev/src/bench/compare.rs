//! The comparison: a load with tracer, with one peer, with another, and again, and without any tool between each.
//!
//! Every tool takes part in every round, in an order that rotates, and is compared with the storms right before and
//! right after it, so that what changes on the machine meanwhile changes for all. Each turn has two: one with
//! the kernel's eBPF statistics off, for rates and processor time, and a short one with them on, for the time that the
//! kernel spends in the tool's programs.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::{self, processors};
use super::names;
use super::process::{BpfStatistics, Process};
use super::storm::{Gust, Load, Storm, Targets};
use super::summary::Summary;
use super::tools::{Ended, Running, Tool};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub load: Load,
    pub rounds: usize,
    /// Connections, or MiB, of the load that is timed; the one with statistics has a quarter of them.
    pub connections: u64,
    pub workers: usize,
    pub targets: Targets,
}

/// One tool's turn in one round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Turn {
    pub storm: Gust,
    /// Processor time of the tool for the timed storm, until it had worked off everything.
    pub tool_cpu_ns: u64,
    /// Processors that others used during the timed storm.
    pub others: f64,
    /// The storms without a tool right before and right after; absent in those themselves.
    pub beside: Option<Beside>,
    pub kernel: Option<KernelTime>,
    pub delivered: Option<Delivered>,
}

/// Two storms without a tool, on average.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Beside {
    /// Connections per second.
    pub rate: f64,
    /// Processor time of the storm per connection, microseconds.
    pub storm_us: f64,
}

/// Time in the tool's eBPF programs, as the kernel measured it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct KernelTime {
    pub connections: u64,
    pub runs: u64,
    pub ns: u64,
}

/// What a tool wrote in one turn, and what it did not. MiB go over one connection for each load.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Delivered {
    pub connections: u64,
    pub lines: u64,
    pub bytes: u64,
    /// Lines that are missing.
    pub lost: u64,
    /// Of the tracer: how many of them its programs could not hand over, because user space was too slow.
    pub lost_in_kernel: u64,
    /// Of the tracer: how many of them found its output queue full, because the reader was too slow.
    pub lost_in_output: u64,
    /// Connections whose server it told the name of, while MiB were the load.
    #[serde(default)]
    pub names: u64,
}

/// All turns of a tool, or why there are none.
#[derive(Debug, Serialize, Deserialize)]
pub struct Series {
    pub tool: Tool,
    pub skipped: Option<String>,
    pub turns: Vec<Turn>,
}

/// One comparison.
#[derive(Debug, Serialize, Deserialize)]
pub struct Comparison {
    pub load: Load,
    pub workers: usize,
    pub targets: Targets,
    pub connections: u64,
    pub series: Vec<Series>,
    /// Of MiB: how much longer a transfer took with names than without right before or after it, percent.
    #[serde(default)]
    pub pairs: Vec<f64>,
}

/// Runs all rounds.
///
/// # Errors
/// When the storm or the tracer fails. A peer that fails is skipped with what it said.
pub fn run(plan: Plan, tracer: &Path) -> Result<Comparison> {
    let mut storm = Storm::start(plan.targets)?;
    let watching = Tool::watching(plan.load);
    let series = |tool: Tool| Series { tool, skipped: tool.missing().map(str::to_owned), turns: Vec::new() };
    let mut series: Vec<Series> = std::iter::once(Tool::Bare).chain(watching).map(series).collect();
    // Caches, the kernel's slabs and this program's own pages.
    plan.short(&mut storm)?;
    let mut before = bare_turn(plan, &mut storm)?;
    for round in 0..plan.rounds {
        for place in 0..watching.len() {
            let tool = watching[(place + round) % watching.len()];
            let Some(next) = series.iter_mut().find(|series| series.tool == tool && series.skipped.is_none())
            else {
                continue;
            };
            match turn(plan, tool, tracer, &mut storm) {
                Ok(mut turn) => {
                    let after = bare_turn(plan, &mut storm)?;
                    turn.beside = Some(Beside {
                        rate: f64::midpoint(before.rate(), after.rate()),
                        storm_us: f64::midpoint(before.storm_us(), after.storm_us()),
                    });
                    eprintln!("  round {}/{}: {tool:8} {}", round + 1, plan.rounds, brief(plan, &turn));
                    next.turns.push(turn);
                    if let Some(bare) = series.iter_mut().find(|series| series.tool == Tool::Bare) {
                        bare.turns.push(before);
                    }
                    before = after;
                }
                Err(why) if tool == Tool::Tracer => return Err(why),
                Err(why) => {
                    eprintln!("  {tool} is skipped: {why:#}");
                    next.skipped = Some(format!("{why:#}"));
                }
            }
        }
    }
    let pairs = if plan.load == Load::Bulk { pairs(plan, tracer, &mut storm)? } else { Vec::new() };
    let Plan { load, workers, targets, connections, .. } = plan;
    Ok(Comparison { load, workers, targets, connections, series, pairs })
}

/// Pairs for each round: one transfer takes ten percent more or less than the next, and what is looked for is less than that.
const PAIRS: usize = 12;

/// The tracer with names and without, right after each other, many times.
fn pairs(plan: Plan, tracer: &Path, storm: &mut Storm) -> Result<Vec<f64>> {
    let mut rate = |tool| -> Result<f64> {
        let running = Running::start(tool, tracer, storm)?;
        let gust = plan.whole(storm)?;
        running.stop()?;
        Ok(gust.connections as f64 / gust.wall_ns.max(1) as f64)
    };
    let count = plan.rounds * PAIRS;
    let mut pairs = Vec::with_capacity(count);
    for pair in 0..count {
        // What changes from one to the next in favour of the second one does so for either.
        let (with, without) = if pair % 2 == 0 {
            let with = rate(Tool::Tracer)?;
            (with, rate(Tool::TracerNoNames)?)
        } else {
            let without = rate(Tool::TracerNoNames)?;
            (rate(Tool::Tracer)?, without)
        };
        pairs.push((without / with - 1.0) * 100.0);
    }
    eprintln!("  {count} pairs with and without names");
    Ok(pairs)
}

impl Plan {
    /// The load that is timed.
    fn whole(self, storm: &mut Storm) -> Result<Gust> {
        storm.run_load(self.load, self.connections, self.workers)
    }

    fn short(self, storm: &mut Storm) -> Result<Gust> {
        storm.run_load(self.load, self.connections / 4, self.workers)
    }
}

fn brief(plan: Plan, turn: &Turn) -> String {
    let kernel = turn.kernel.map_or(String::new(), |kernel| {
        format!(", {:.0} ns in programs", kernel.ns as f64 / kernel.connections as f64)
    });
    let lost = turn.delivered.map_or(String::new(), |delivered| {
        format!(
            ", {} lost ({} in kernel, {} in output)",
            delivered.lost, delivered.lost_in_kernel, delivered.lost_in_output
        )
    });
    let unit = if plan.load == Load::Bulk { "MiB" } else { "connections" };
    format!("{:.0} {unit}/s{kernel}{lost} (others used {:.2} processors)", turn.rate(), turn.others)
}

fn bare_turn(plan: Plan, storm: &mut Storm) -> Result<Turn> {
    let before = machine::Load::now()?;
    let gust = plan.whole(storm)?;
    let others = others_since(before, gust.cpu_ns, &gust)?;
    Ok(Turn { storm: gust, tool_cpu_ns: 0, others, beside: None, kernel: None, delivered: None })
}

fn turn(plan: Plan, tool: Tool, tracer: &Path, storm: &mut Storm) -> Result<Turn> {
    let running = Running::start(tool, tracer, storm)?;
    let me = Process::new(std::process::id());
    let (load, cpu, own) = (machine::Load::now()?, running.cpu_ns()?, me.cpu_ns()?);
    let gust = plan.whole(storm)?;
    let during = gust.cpu_ns + (running.cpu_ns()? - cpu) + (me.cpu_ns()? - own);
    let others = others_since(load, during, &gust)?;
    running.wait_until_it_rests()?;
    let tool_cpu_ns = running.cpu_ns()? - cpu;

    let kernel = kernel_time(plan, &running, storm)?;
    let ended = running.stop()?;
    let connections = match plan.load {
        Load::Bulk => 1 + u64::from(kernel.is_some()),
        _ => gust.connections + kernel.map_or(0, |kernel| kernel.connections),
    };
    let delivered = Some(delivered(tool, &ended, connections)?);
    Ok(Turn { storm: gust, tool_cpu_ns, others, beside: None, kernel, delivered })
}

/// Processors that neither the storm nor the tool nor this program used.
fn others_since(before: machine::Load, ours_ns: u64, gust: &Gust) -> Result<f64> {
    let busy = machine::Load::now()?.busy_since(before);
    Ok((busy - ours_ns as f64 / gust.wall_ns.max(1) as f64).max(0.0).min(processors() as f64))
}

/// `None` for a tool without programs.
fn kernel_time(plan: Plan, running: &Running, storm: &mut Storm) -> Result<Option<KernelTime>> {
    let _statistics = BpfStatistics::on()?;
    let before = running.process.bpf()?;
    if before.programs == 0 {
        return Ok(None);
    }
    let gust = plan.short(storm)?;
    let after = running.process.bpf()?;
    running.wait_until_it_rests()?;
    let (runs, ns) = (after.runs - before.runs, after.ns - before.ns);
    Ok(Some(KernelTime { connections: gust.connections, runs, ns }))
}

fn delivered(tool: Tool, ended: &Ended, connections: u64) -> Result<Delivered> {
    let seen = Delivered {
        connections,
        lines: ended.lines,
        bytes: ended.bytes,
        names: names::told(tool, &ended.tail),
        ..Delivered::default()
    };
    Ok(match tool.lines_per_connection() {
        Some(lines) => Delivered { lost: (lines * connections).saturating_sub(ended.lines), ..seen },
        None if tool == Tool::Tshark => Delivered { lost: names::dropped(&ended.stderr), ..seen },
        None => by_tracer(seen, ended)?,
    })
}

/// What the tracer itself counted as lost, or what is missing from its counts against the connections made, whichever
/// is more. Other traffic on the machine adds records, so fewer than the storm's own are certainly too few.
fn by_tracer(seen: Delivered, ended: &Ended) -> Result<Delivered> {
    let last = ended.tail.lines().last().unwrap_or_default();
    let stop: serde_json::Value = serde_json::from_str(last).with_context(|| {
        format!("tracer ended ({}) without a stop record: {}", ended.status, ended.stderr.trim())
    })?;
    let sum = |pointer: &str| {
        let counts = stop.pointer(pointer).and_then(serde_json::Value::as_object);
        counts.map_or(0, |counts| counts.values().filter_map(serde_json::Value::as_u64).sum::<u64>())
    };
    let (lost_in_kernel, lost_in_output) = (sum("/tracer/lost/kernel"), sum("/tracer/lost/output"));
    let counted = lost_in_kernel + lost_in_output + sum("/tracer/lost/decode");
    // connect, established, accept, and a close at each end.
    let missing = (5 * seen.connections).saturating_sub(sum("/tracer/totals/records"));
    Ok(Delivered { lost: counted.max(missing), lost_in_kernel, lost_in_output, ..seen })
}

impl Turn {
    /// Connections per second.
    pub fn rate(&self) -> f64 {
        self.storm.connections as f64 / self.storm.wall_ns.max(1) as f64 * 1e9
    }

    /// How much longer a connection takes than beside it, percent.
    fn slowdown(&self, beside: Beside) -> f64 {
        (beside.rate / self.rate() - 1.0) * 100.0
    }

    /// Processor time of the storm per connection, microseconds.
    pub fn storm_us(&self) -> f64 {
        self.storm.cpu_ns as f64 / self.storm.connections.max(1) as f64 / 1e3
    }

    /// Processor time of the tool per connection, microseconds.
    pub fn tool_us(&self) -> f64 {
        self.tool_cpu_ns as f64 / self.storm.connections.max(1) as f64 / 1e3
    }
}

/// One row of the table; all but the sums are medians over the turns.
pub struct Row {
    pub rate: Summary,
    /// How much longer a connection takes than without a tool right before and after, percent.
    pub slowdown: Option<Summary>,
    /// Processor time of the storm per connection, microseconds.
    pub storm_us: Summary,
    /// Processor time of the storm per connection beyond that without a tool, microseconds: what the kernel does for
    /// the tool.
    pub added_us: Option<Summary>,
    pub tool_us: Option<Summary>,
    pub program_ns: Option<Summary>,
    pub runs: Option<Summary>,
    pub delivered: Delivered,
    pub lines_per_connection: Option<f64>,
    pub bytes_per_connection: Option<f64>,
    /// Processors that others used meanwhile.
    pub others: Summary,
}

impl Comparison {
    pub fn series(&self, tool: Tool) -> Option<&Series> {
        self.series.iter().find(|series| series.tool == tool)
    }

    /// `None` for a tool that was skipped.
    pub fn row(&self, tool: Tool) -> Option<Row> {
        let turns = &self.series(tool)?.turns;
        let watched = tool != Tool::Bare;
        let beside = || turns.iter().filter_map(|turn| Some((turn, turn.beside?)));
        let kernel = || turns.iter().filter_map(|turn| turn.kernel);
        let per = |value: u64, count: u64| value as f64 / count.max(1) as f64;
        let sum = turns.iter().filter_map(|turn| turn.delivered).fold(Delivered::default(), Delivered::plus);
        Some(Row {
            rate: Summary::of(turns.iter().map(Turn::rate))?,
            slowdown: Summary::of(beside().map(|(turn, beside)| turn.slowdown(beside))),
            storm_us: Summary::of(turns.iter().map(Turn::storm_us))?,
            added_us: Summary::of(beside().map(|(turn, beside)| turn.storm_us() - beside.storm_us)),
            tool_us: watched.then(|| Summary::of(turns.iter().map(Turn::tool_us))).flatten(),
            program_ns: Summary::of(kernel().map(|kernel| per(kernel.ns, kernel.connections))),
            runs: Summary::of(kernel().map(|kernel| per(kernel.runs, kernel.connections))),
            delivered: sum,
            lines_per_connection: watched.then(|| per(sum.lines + sum.lost, sum.connections)),
            bytes_per_connection: watched.then(|| per(sum.bytes, sum.connections)),
            others: Summary::of(turns.iter().map(|turn| turn.others))?,
        })
    }

    /// How much longer a connection takes with one tool than with another in the same round, each against the storms
    /// without a tool beside it, percent.
    pub fn against(&self, tool: Tool, other: Tool) -> Option<Summary> {
        let slowdowns = |tool: Tool| {
            let turns = &self.series(tool)?.turns;
            Some(turns.iter().filter_map(|turn| Some(turn.slowdown(turn.beside?))).collect::<Vec<_>>())
        };
        let (ours, theirs) = (slowdowns(tool)?, slowdowns(other)?);
        Summary::of(
            ours.iter().zip(theirs).map(|(ours, theirs)| ((100.0 + ours) / (100.0 + theirs) - 1.0) * 100.0),
        )
    }
}

impl Delivered {
    fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            lines: self.lines + other.lines,
            bytes: self.bytes + other.bytes,
            lost: self.lost + other.lost,
            lost_in_kernel: self.lost_in_kernel + other.lost_in_kernel,
            lost_in_output: self.lost_in_output + other.lost_in_output,
            names: self.names + other.names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_that_takes_half_as_long_again_is_slowed_by_half() {
        let storm = Gust { connections: 100, failed: 0, wall_ns: 150_000_000, cpu_ns: 0 };
        let turn = Turn { storm, tool_cpu_ns: 0, others: 0.0, beside: None, kernel: None, delivered: None };
        let beside = Beside { rate: 1_000.0, storm_us: 0.0 };
        assert!((turn.slowdown(beside) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn records_that_are_missing_against_the_connections_made_are_lost() {
        let stop =
            r#"{"tracer":{"lost":{"kernel":{"close":2}},"totals":{"records":{"connect":10,"close":13}}}}"#;
        let ended = Ended {
            status: std::process::ExitStatus::default(),
            lines: 23,
            bytes: 0,
            tail: format!("{{}}\n{stop}\n"),
            stderr: String::new(),
        };
        let lost = |connections| {
            by_tracer(Delivered { connections, ..Delivered::default() }, &ended)
                .map(|delivered| delivered.lost)
        };
        assert_eq!(lost(4).unwrap(), 2);
        assert_eq!(lost(10).unwrap(), 27);
        let cut = Ended { tail: "half a li".to_owned(), ..ended };
        assert!(by_tracer(Delivered::default(), &cut).is_err());
    }
}
