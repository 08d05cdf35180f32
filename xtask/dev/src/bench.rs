//! `cargo xtask bench`: what the tracer costs, measured beside tools that do a part of the same.
//!
//! Results: a table on stdout, everything as JSON in `target/bench/results.json`, and with `--write-docs` the table in
//! `docs/performance.md`. Nothing here fails because a figure is bad: figures are for people, tests are elsewhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

mod compare;
mod datagrams;
mod machine;
mod names;
mod process;
mod replay;
mod report;
mod single;
mod storm;
mod summary;
mod tls;
mod tools;

use report::Results;

use crate::arch::Arch;
use crate::build::{self, Profile};
use crate::setup::{self, Group};
use crate::{shell, workspace};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    /// Fewer rounds and connections, for a first look
    #[arg(long)]
    quick: bool,
    /// Measure only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,
    /// Rounds of the comparison
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Where the connections of the comparison go
    #[arg(long, value_enum, default_value = "global")]
    targets: storm::Targets,
    /// Wait up to so many seconds for a machine that nobody else uses
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Put the tables into docs/performance.md
    // Never a part of them, nor a first look: they replace what stands there.
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    write_docs: bool,
    #[command(subcommand)]
    helper: Option<Helper>,
}

#[derive(clap::Subcommand)]
enum Helper {
    /// Makes connections on demand (started by bench itself)
    #[command(hide = true)]
    Storm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Connection storms without a tool, with tracer, tcplife and bpftrace
    Storm,
    /// 1 GiB over one TLS connection without a tool, with tracer, with it without names, with tshark and bpftrace
    Bulk,
    /// Datagram storms without and with tracer
    Datagrams,
    /// From event to record in user space
    Records,
    /// A recorded stream judged and booked again, beside jq
    Replay,
    /// Resident memory
    Memory,
    /// Wake-ups while nothing happens
    Idle,
    /// Time to the first record
    Start,
    /// Size of the binary
    Size,
}

/// Measures, prints, writes.
///
/// # Errors
/// Without root, or when tracer cannot be built or does not run here. A peer that does not run is skipped.
pub fn run(args: &BenchArgs) -> Result<()> {
    if let Some(Helper::Storm) = args.helper {
        return storm::serve();
    }
    ensure!(shell::is_root(), "bench loads eBPF programs: run it as root");
    let tracer = args.binary.clone().map_or_else(build_tracer, Ok)?;
    let results = measure(args, &tracer)?;
    let markdown = results.markdown();
    println!("{markdown}");
    let directory = workspace::target().join("bench");
    workspace::create_dir(&directory)?;
    let file = directory.join("results.json");
    std::fs::write(&file, serde_json::to_string_pretty(&results)?)
        .with_context(|| format!("could not write {}", file.display()))?;
    if args.write_docs {
        report::write_docs(&workspace::root().join("docs/performance.md"), &markdown)?;
    }
    Ok(())
}

fn measure(args: &BenchArgs, tracer: &Path) -> Result<Results> {
    let wants = |part| args.only.is_empty() || args.only.contains(&part);
    let rounds = args.rounds.unwrap_or(if args.quick { 3 } else { 15 });
    let mut results = Results::new(machine::Machine::look()?, args.quick);
    if wants(Part::Records) {
        single::build_records()?;
    }
    results.quiet = machine::wait_until_quiet(Duration::from_secs(args.wait))?;
    if wants(Part::Records) {
        eprintln!("records: from event to JSON");
        results.records = Some(single::records()?);
    }
    if wants(Part::Replay) {
        let connections = if args.quick { 70_000 } else { 340_000 };
        eprintln!("replay: {connections} connections judged and booked again");
        results.replay = Some(replay::replay(tracer, connections)?);
    }
    if wants(Part::Size) {
        results.size = Some(single::size(tracer)?);
    }
    if wants(Part::Start) {
        eprintln!("start: time to the first record");
        results.first_record_ms = Some(single::first_record(tracer, if args.quick { 5 } else { 20 })?);
    }
    if wants(Part::Idle) {
        let seconds = if args.quick { 5 } else { 30 };
        eprintln!("idle: {seconds} s of nothing");
        results.idle = Some(single::idle(tracer, seconds)?);
    }
    if wants(Part::Storm) {
        let plan = compare::Plan {
            load: storm::Load::Connections,
            rounds,
            connections: if args.quick { 20_000 } else { 40_000 },
            workers: 1,
            targets: args.targets,
        };
        // With a processor left for the tool, and without.
        for workers in [1, machine::processors()] {
            eprintln!("storm: {workers} of {} processors make connections", machine::processors());
            results.storms.push(compare::run(compare::Plan { workers, ..plan }, tracer)?);
        }
    }
    if wants(Part::Bulk) {
        eprintln!("bulk: 1 GiB over one TLS connection");
        let (load, targets) = (storm::Load::Bulk, args.targets);
        // Without any tool a transfer takes ten percent more or less from one turn to the next, where a machine shares its
        // processors: far more than what is looked for.
        let rounds = if args.quick { rounds } else { 3 * rounds };
        let plan = compare::Plan { load, rounds, connections: 1024, workers: 1, targets };
        results.bulk = Some(compare::run(plan, tracer)?);
    }
    if wants(Part::Datagrams) {
        for load in [storm::Load::Datagrams, storm::Load::Flows] {
            eprintln!("datagrams: {load:?}");
            results.datagrams.push(datagrams::run(tracer, load, 200_000, rounds)?);
        }
    }
    if wants(Part::Memory) {
        let connections = if args.quick { 100_000 } else { 1_000_000 };
        eprintln!("memory: after {connections} connections");
        results.memory = Some(single::memory(tracer, connections)?);
    }
    Ok(results)
}

fn build_tracer() -> Result<PathBuf> {
    setup::ensure(Group::Build)?;
    build::tracer(Arch::native(), Profile::Dist)
}
