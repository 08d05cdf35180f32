//! `fuzz`: libFuzzer on every parser of foreign bytes, as many at a time as there are processors.
//!
//! The programs come from `tests/fuzz`, whose `cargo.toml` says how they are instrumented: without cargo-fuzz, and with
//! the compiler that everything else is built with. They begin with the seeds in `tests/fuzz/corpus`; what they find stays
//! in `target/fuzz`, and the next run goes on from there.

use std::{
    fs::{self, File},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{
    arch::Arch,
    counts::Counts,
    setup::{self, Group},
    shell,
    workspace::{self, Executable},
};

/// Bytes of one input at most: what the tracer keeps of a stream.
const LONGEST: u32 = 4096;
/// Seconds that one input may take; on a busy machine it is stopped now and then.
const HANG: u32 = 20;
/// Resident memory of a program, most of it libFuzzer's own: what is found, and its tables.
const MOST_MEMORY: u32 = 1024;

#[derive(Args)]
pub struct FuzzArgs {
    /// Parsers to try, as in tests/fuzz/targets; all without
    targets: Vec<String>,
    /// Inputs to each parser at most
    #[arg(long)]
    runs: Option<u64>,
    /// Seconds for each parser at most [default: 60, or no limit with --runs]
    #[arg(long)]
    seconds: Option<u64>,
}

/// When a program is to end.
#[derive(Clone, Copy, Debug, Default)]
struct Limits {
    runs: Option<u64>,
    seconds: Option<u64>,
}

pub fn run(args: &FuzzArgs) -> Result<ExitCode> {
    let seconds = args.seconds.or_else(|| args.runs.is_none().then_some(60));
    let counts = fuzz(&args.targets, Limits { runs: args.runs, seconds })?;
    println!("{counts}");
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All parsers, each for a few seconds.
///
/// # Errors
/// When the programs cannot be built.
pub fn shortly() -> Result<Counts> {
    fuzz(&[], Limits { seconds: Some(4), ..Limits::default() })
}

fn fuzz(targets: &[String], limits: Limits) -> Result<Counts> {
    setup::ensure(Group::Fuzz)?;
    let begin = Instant::now();
    let programs = build(targets)?;
    shell::say(format!("{} programs in {}", programs.len(), shell::took(begin.elapsed())));
    let begin = Instant::now();
    let waiting = Mutex::new(programs.into_iter());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let total = Mutex::new((Counts::default(), 0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(|| {
                while let Some(program) = next() {
                    let (counts, inputs) = try_one(&program, limits);
                    if let Ok(mut total) = total.lock() {
                        total.0 += counts;
                        total.1 += inputs;
                    }
                }
            });
        }
    });
    let (counts, inputs) = total.into_inner().unwrap_or((Counts::FAILED, 0));
    shell::say(format!("{inputs} inputs in {}", shell::took(begin.elapsed())));
    Ok(counts)
}

fn build(targets: &[String]) -> Result<Vec<Executable>> {
    let mut cargo = workspace::cargo();
    // Flags of the caller's shell would replace the instrumentation.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    // With a target, what only runs at build time is not instrumented.
    cargo.args(["build", "--config", "tests/fuzz/cargo.toml", "--target", Arch::native().gnu_triple()]);
    cargo.args(["--package", "tracer-fuzz", "--features", "targets"]);
    if targets.is_empty() {
        cargo.arg("--bins");
    }
    cargo.args(targets.iter().flat_map(|target| ["--bin", target]));
    workspace::build_executables(cargo)
}

/// Runs one program and says how it went. Inputs that it tried are told also of one that failed.
fn try_one(program: &Executable, limits: Limits) -> (Counts, u64) {
    let begin = Instant::now();
    match run_one(program, limits) {
        Ok(found) => {
            shell::say(found.line(&program.name, begin.elapsed()));
            (Counts::PASSED, found.inputs)
        }
        Err(why) => {
            shell::say(format!("{}: {why:#}", program.name));
            (Counts::FAILED, 0)
        }
    }
}

fn run_one(program: &Executable, limits: Limits) -> Result<Found> {
    let kept = workspace::target().join("fuzz").join(&program.name);
    let (corpus, log) = (kept.join("corpus"), kept.join("log"));
    workspace::create_dir(&corpus)?;
    let said = File::create(&log).with_context(|| format!("could not write {}", log.display()))?;
    let mut command = Command::new(&program.path);
    command.args(options(limits)).arg(format!("-artifact_prefix={}/", kept.display()));
    // New inputs go into the first directory.
    command.arg(&corpus).arg(seeds(&program.name));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).status();
    let status = status.with_context(|| format!("could not start {}", shell::show(&command)))?;
    let said = fs::read(&log).with_context(|| format!("could not read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        bail!("failed ({status}); {}", why(&said, &program.path, &log));
    }
    Ok(Found::read(&said))
}

fn options(limits: Limits) -> Vec<String> {
    let mut options = vec![
        format!("-max_len={LONGEST}"),
        format!("-timeout={HANG}"),
        format!("-rss_limit_mb={MOST_MEMORY}"),
        "-print_final_stats=1".to_owned(),
    ];
    options.extend(limits.runs.map(|runs| format!("-runs={runs}")));
    options.extend(limits.seconds.map(|seconds| format!("-max_total_time={seconds}")));
    options
}

fn seeds(target: &str) -> PathBuf {
    workspace::root().join("tests/fuzz/corpus").join(target)
}

/// What a program said about its failure, and how to see it again.
fn why(said: &str, program: &Path, log: &Path) -> String {
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:"));
    let reason = [lines.next(), lines.next()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let input = said.lines().find_map(|line| Some(line.split_once("Test unit written to ")?.1));
    let again =
        input.map_or_else(String::new, |input| format!("; again with: {} {input}", program.display()));
    format!("{reason}; all that it said is in {}{again}", log.display())
}

/// What libFuzzer tells at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    inputs: u64,
    /// Resident, MiB.
    memory: u64,
    /// Places in the code that were reached.
    places: u64,
}

impl Found {
    fn read(said: &str) -> Self {
        let number = |text: &str| text.trim().parse().unwrap_or(0);
        let stat = |name: &str| {
            said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)).map_or(0, number)
        };
        let reached = said.lines().rev().find_map(|line| line.split_once("cov: ")?.1.split(' ').next());
        Self {
            inputs: stat("number_of_executed_units:"),
            memory: stat("peak_rss_mb:"),
            places: reached.map_or(0, number),
        }
    }

    fn line(&self, name: &str, took: Duration) -> String {
        let rate = u128::from(self.inputs) * 1000 / took.as_millis().max(1);
        let Self { inputs, memory, places } = self;
        let took = shell::took(took);
        format!("{name}: {inputs} inputs in {took}, {rate}/s, {memory} MiB, {places} places reached")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_at_the_end_are_read() {
        let said = "#2\tINITED cov: 42 ft: 70 corp: 1/1b exec/s: 0 rss: 27Mb\n\
            #20000\tDONE   cov: 213 ft: 692 corp: 97/2344b lim: 53 exec/s: 0 rss: 27Mb\n\
            stat::number_of_executed_units: 20000\nstat::average_exec_per_sec:     0\nstat::peak_rss_mb:              27\n";
        let found = Found::read(said);
        assert_eq!(found, Found { inputs: 20_000, memory: 27, places: 213 });
        assert_eq!(
            found.line("dns", Duration::from_secs(2)),
            "dns: 20000 inputs in 2.0 s, 10000/s, 27 MiB, 213 places reached"
        );
    }

    #[test]
    fn a_failure_names_its_reason_and_the_input() {
        let said = "#7\tNEW cov: 1\nthread '<unnamed>' panicked at tracer/src/names/dns.rs:9:1:\nno such thing\nnote\n\
            artifact_prefix='x/'; Test unit written to x/crash-0123\n";
        let why = why(said, Path::new("bin/dns"), Path::new("x/log"));
        assert!(why.contains("dns.rs:9:1: no such thing;"), "{why}");
        assert!(why.ends_with("; again with: bin/dns x/crash-0123"), "{why}");
    }

    #[test]
    fn every_program_has_seeds() {
        let programs = fs::read_dir(workspace::root().join("tests/fuzz/targets")).unwrap();
        for program in programs {
            let program = program.unwrap().path();
            let name = program.file_stem().unwrap().to_str().unwrap();
            assert!(fs::read_dir(seeds(name)).unwrap().count() > 0, "{name}");
        }
    }
}
