//! `test`: everything that can be checked on this machine, and one closing line that counts it.
//!
//! Steps come in the order in which they find mistakes soonest. A step that fails does not stop the others; what
//! depends on its product is then counted as failed, too. stdout ends with `N passed, N failed, N skipped`.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::{
    arch::Arch,
    build::{self, Profile},
    counts::{Counter, Counts},
    fuzz,
    setup::{self, Group},
    shell,
    vm::{self, Programs, Scenario, Series},
    workspace::{self, Executable},
};

/// Tests of one binary that run at the same time; the emulated guests and small machines set the bound.
const TEST_THREADS: &str = "--test-threads=2";

#[derive(Args)]
pub struct TestArgs {
    /// Leave the virtual machines out
    #[arg(long)]
    no_vm: bool,
    /// Run only the tests whose name contains this
    filter: Option<String>,
}

pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let begin = Instant::now();
    let mut report = Report::default();
    let purpose = if args.no_vm { Group::Host } else { Group::Test };
    report.prepare("setup", || setup::ensure(purpose));
    let filtered = args.filter.is_some();
    if !filtered {
        report.check("format", || cargo(&["fmt", "--all", "--check"]));
        let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        report.check("lints", || cargo(&lints));
    }
    report.step("unit tests", || unit_tests(args));
    if !filtered {
        report.step("a short run of the fuzz targets", fuzz::shortly);
    }
    let mut binary = None;
    report.prepare("static binary", || {
        binary = Some(build::tracer(Arch::native(), Profile::Release)?);
        Ok(())
    });
    report.step("black-box and live kernel tests", || {
        let binary = binary.clone().context("there is no binary to test")?;
        integration_tests(args, &binary)
    });
    if args.no_vm {
        report.prepare("static binary of the other architecture", || {
            build::tracer(Arch::foreign(), Profile::Release).map(drop)
        });
    } else {
        in_guests(args, &mut report);
    }
    report.close(begin)
}

/// The programs of the other architecture are built in what the guests of this one leave of the processors.
fn in_guests(args: &TestArgs, report: &mut Report) {
    let programs = Programs::build(Arch::native());
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            // Of this thread, and of the processes that it starts.
            let _ = rustix::process::nice(19);
            Programs::build(Arch::foreign())
        });
        in_guests_of(Arch::native(), &programs, args, report);
        let others = others.join().unwrap_or_else(|_| Err(anyhow!("the thread that builds them panicked")));
        in_guests_of(Arch::foreign(), &others, args, report);
    });
}

fn in_guests_of(arch: Arch, programs: &Result<Programs>, args: &TestArgs, report: &mut Report) {
    for (kernel, _, scenario, part) in GUESTS.into_iter().filter(|guest| guest.1 == arch) {
        let filter = args
            .filter
            .clone()
            .map_or_else(|| part.iter().map(|name| (*name).to_owned()).collect(), |name| vec![name]);
        report.step(&format!("live kernel tests on {kernel}, {arch}, {scenario}"), || {
            let programs =
                programs.as_ref().map_err(|why| anyhow!("its programs were not built: {why:#}"))?;
            vm::test_in(kernel, scenario, filter, programs)
        });
    }
}

/// Every kernel, architecture and scenario once, and the part of the tests that depends on these (nothing: all of them), so
/// that a fresh clone is tested within half an hour. `cargo xtask vm --all` runs everything in every combination.
const GUESTS: [(Series, Arch, Scenario, &[&str]); 6] = [
    (Series::Bookworm, Arch::X86_64, Scenario::Plain, &[]),
    (Series::Bookworm, Arch::Aarch64, Scenario::Plain, &[]),
    (
        Series::Bullseye,
        Arch::X86_64,
        Scenario::AndroidLike,
        &["tiers", "kinds", "udp", "existing", "names", "rights"],
    ),
    (
        Series::Trixie,
        Arch::X86_64,
        Scenario::NoKprobes,
        &["tiers", "kinds", "udp", "existing", "names", "rights"],
    ),
    (
        Series::Bullseye,
        Arch::X86_64,
        Scenario::NoBtf,
        &["calibration", "tiers", "kinds", "udp", "existing", "names"],
    ),
    (Series::Trixie, Arch::X86_64, Scenario::NoSockOps, &["tiers", "kinds", "existing", "names", "life"]),
];

/// What ran so far.
#[derive(Default)]
struct Report {
    counts: Counts,
    lines: Vec<String>,
}

impl Report {
    /// A step that counts tests; an error counts as one failure.
    fn step(&mut self, name: &str, work: impl FnOnce() -> Result<Counts>) {
        shell::say(format!("── {name}"));
        let begin = Instant::now();
        let counts = work().unwrap_or_else(|why| {
            shell::say(format!("{name}: {why:#}"));
            Counts::FAILED
        });
        self.counts += counts;
        let took = shell::took(begin.elapsed());
        let line = if counts == Counts::default() {
            format!("{name}: {took}")
        } else {
            format!("{name}: {counts}, {took}")
        };
        shell::say(&line);
        self.lines.push(line);
    }

    /// A step that is one check.
    fn check(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        self.step(name, || work().map(|()| Counts::PASSED));
    }

    /// A step that checks nothing itself: counts only when it fails.
    fn prepare(&mut self, name: &str, work: impl FnOnce() -> Result<()>) {
        self.step(name, || work().map(|()| Counts::default()));
    }

    fn close(&self, begin: Instant) -> Result<ExitCode> {
        shell::say(format!("── all steps, {}", shell::took(begin.elapsed())));
        for line in &self.lines {
            shell::say(line);
        }
        println!("{}", self.counts);
        Ok(if self.counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// In CI a test that cannot run is a failure.
fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn cargo(args: &[&str]) -> Result<()> {
    shell::run(workspace::cargo().args(args))
}

fn unit_tests(args: &TestArgs) -> Result<Counts> {
    // The stories are told to the program as well.
    cargo(&["build", "--quiet", "--package", "tracer", "--bin", "tracer"])?;
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--quiet", "--no-fail-fast", "--workspace", "--exclude", "tracer-tests", "--"]);
    cargo.arg(TEST_THREADS).args(&args.filter);
    tests_of(cargo)
}

/// The tests of the package `tests`, built as they are for a guest, with the binary that is shipped. Those of names run
/// only here: no guest has their servers and clients.
fn integration_tests(args: &TestArgs, tracer: &std::path::Path) -> Result<Counts> {
    let mut cargo = build::cargo_static(Arch::native(), "test")?;
    cargo.args(["--no-run", "--package", "tracer-tests", "--lib", "--bins", "--tests"]);
    let mut built = workspace::build_executables(cargo)?;
    let mut cargo = build::cargo_static(Arch::native(), "build")?;
    cargo.args(["--package", "tracer-tests-quic", "--package", "tracer-tests-scenarios", "--bins"]);
    built.extend(workspace::build_executables(cargo)?);
    let (tests, programs): (Vec<_>, Vec<_>) = built.into_iter().partition(|e| e.test);
    let mut environment = vec![("TRACER_BIN".to_owned(), tracer.to_path_buf())];
    for program in programs {
        let name = format!("TRACER_{}", program.name.to_uppercase().replace('-', "_"));
        environment.push((name, program.path));
    }
    let mut counts = Counts::default();
    for test in &tests {
        shell::say(format!("tests of {}", test.name));
        counts += integration_test(test, args, &environment)?;
    }
    Ok(counts)
}

fn integration_test(test: &Executable, args: &TestArgs, environment: &[(String, PathBuf)]) -> Result<Counts> {
    let live = matches!(test.name.as_str(), "kernel" | "names");
    let mut command = if !live || shell::is_root() {
        let mut command = Command::new(&test.path);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    } else if may_become_root() {
        // sudo keeps no environment.
        let mut command = shell::as_root("env")?;
        command.args(environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
        command.arg(&test.path);
        command
    } else if in_ci() {
        shell::say("the live kernel tests need root, and sudo asks for a password");
        return Ok(Counts::FAILED);
    } else {
        shell::say(
            "skipped: the live kernel tests need root; run `sudo -v` first, or the whole command as root",
        );
        return Ok(Counts::SKIPPED);
    };
    if in_ci() {
        command.env("TRACER_REQUIRE_KERNEL", "1");
    }
    // Live tests watch one kernel: what one of them does, the other would see.
    command.arg(if live { "--test-threads=1" } else { TEST_THREADS }).arg("--show-output").args(&args.filter);
    command.current_dir(workspace::root().join("tests")).stdin(Stdio::null());
    tests_of(command)
}

/// sudo works without a question.
fn may_become_root() -> bool {
    shell::find_program("sudo")
        .is_some_and(|sudo| shell::capture(Command::new(sudo).args(["--non-interactive", "true"])).is_ok())
}

/// Runs tests, passes their output on and counts their results.
fn tests_of(mut command: Command) -> Result<Counts> {
    let shown = shell::show(&command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not start {shown}"))?;
    let stdout = child.stdout.take().context("the tests have no stdout")?;
    let mut counter = Counter::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("could not read the output of {shown}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counter.line(&line);
    }
    let status = child.wait().with_context(|| format!("could not wait for {shown}"))?;
    if !status.success() {
        shell::say(format!("{shown} failed ({status})"));
    }
    Ok(counter.finish(status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_step_is_one_failure_and_the_next_step_still_runs() {
        let mut report = Report::default();
        report.step("first", || anyhow::bail!("broken"));
        report.prepare("second", || Ok(()));
        report.check("third", || Ok(()));
        assert_eq!(report.counts, Counts { passed: 1, failed: 1, skipped: 0 });
        assert_eq!(report.lines.len(), 3);
    }

    #[test]
    fn output_of_a_test_binary_is_counted() {
        let script = "echo 'skipped: no root'; \
            echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s'";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        assert_eq!(tests_of(command).unwrap(), Counts { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_binary_that_dies_is_a_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -9 $$"]);
        assert_eq!(tests_of(command).unwrap(), Counts::FAILED);
    }
}
