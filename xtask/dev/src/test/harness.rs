//! The workspace's test programs: built once, in the profile `dev` and static, so that the same files run in a guest.

use std::{
    env,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    build,
    counts::{Counter, Counts},
    shell,
    workspace::{self, Executable},
};

/// Tests of one program that run at the same time; small machines set the bound.
const TEST_THREADS: &str = "--test-threads=2";

/// What a test program is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One module, or one package from inside.
    Unit,
    /// The built tracer, without a kernel.
    BlackBox,
    /// The running kernel.
    Live,
    /// Real servers and browsers, most of them with the running kernel.
    Names,
    /// What is shipped: packages, and how it is built on other hosts.
    Packages,
}

impl Kind {
    fn of(test: &Executable) -> Self {
        match (test.package().as_str(), test.name.as_str()) {
            ("tests", "kernel") => Self::Live,
            ("tests", "names") | ("tests/scenarios", "browser") => Self::Names,
            ("tests", "packages") | ("xtask", "zig") => Self::Packages,
            ("tests", "cli") | ("tests/scenarios", "scenarios") => Self::BlackBox,
            _ => Self::Unit,
        }
    }

    fn needs_root(self) -> bool {
        matches!(self, Self::Live | Self::Names | Self::Packages)
    }
}

/// Test programs and the programs that they start.
pub struct Harnesses {
    tests: Vec<Executable>,
    programs: Vec<Executable>,
}

impl Harnesses {
    /// Builds the whole workspace for `arch`.
    ///
    /// # Errors
    /// When something does not build.
    pub fn build(arch: Arch) -> Result<Self> {
        // Programs and tests in one go: apart, features of dependencies would differ, and much would be compiled twice.
        let mut cargo = build::cargo_static(arch, "build")?;
        cargo.args(["--workspace", "--bins", "--tests"]);
        let (tests, programs) = workspace::build_executables(cargo)?.into_iter().partition(|e| e.test);
        Ok(Self { tests, programs })
    }

    /// What a guest of this architecture needs of it.
    pub fn executables(&self) -> impl Iterator<Item = &Executable> {
        self.tests.iter().chain(&self.programs)
    }

    /// The programs that were built, by name.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.programs.iter().map(|program| (program.name.as_str(), program.path.as_path()))
    }

    /// Runs the tests of a kind, those whose name contains `filter`.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn run(&self, kind: Kind, filter: Option<&str>) -> Result<Counts> {
        self.run_with(kind, filter, &[])
    }

    /// As [`Self::run`], with more variables of the environment, which come before what was built.
    ///
    /// # Errors
    /// When a program cannot be started.
    pub fn run_with(&self, kind: Kind, filter: Option<&str>, more: &[(&str, PathBuf)]) -> Result<Counts> {
        let mut environment: Vec<(String, PathBuf)> = Vec::new();
        for (name, path) in self.programs() {
            environment.push((variable(name), path.to_owned()));
        }
        if in_ci() {
            environment.push(("TRACER_REQUIRE_KERNEL".to_owned(), "1".into()));
        }
        environment.extend(more.iter().map(|(name, path)| ((*name).to_owned(), path.clone())));
        let mut counts = Counts::default();
        for test in self.tests.iter().filter(|test| Kind::of(test) == kind) {
            shell::say(format!("tests of {} {}", test.package(), test.name));
            counts += run_one(test, kind, filter, &environment)?;
        }
        Ok(counts)
    }
}

/// The variable in which tests look for a program (tests/src/programs.rs).
pub fn variable(program: &str) -> String {
    match program {
        "tracer" => "TRACER_BIN".to_owned(),
        _ => format!("TRACER_{}", program.to_uppercase().replace('-', "_")),
    }
}

fn run_one(
    test: &Executable,
    kind: Kind,
    filter: Option<&str>,
    environment: &[(String, PathBuf)],
) -> Result<Counts> {
    let mut command = if !kind.needs_root() || shell::is_root() {
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
        shell::say("these tests need root, and sudo asks for a password");
        return Ok(Counts::FAILED);
    } else {
        shell::say("skipped: these tests need root; run `sudo -v` first, or the whole command as root");
        return Ok(Counts::SKIPPED);
    };
    // Live tests watch one kernel: what one of them does, the other would see.
    command.arg(if kind.needs_root() { "--test-threads=1" } else { TEST_THREADS });
    if kind != Kind::Unit {
        command.arg("--show-output");
    }
    // As `cargo test` does.
    command.args(filter).current_dir(&test.directory).env("CARGO_MANIFEST_DIR", &test.directory);
    tests_of(command)
}

/// In CI a test that cannot run is a failure.
pub fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

/// sudo works without a question.
fn may_become_root() -> bool {
    shell::find_program("sudo")
        .is_some_and(|sudo| shell::capture(Command::new(sudo).args(["--non-interactive", "true"])).is_ok())
}

/// Runs tests, passes their output on and counts their results. Tests that skip themselves say so on stderr.
fn tests_of(mut command: Command) -> Result<Counts> {
    let shown = shell::show(&command);
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {shown}"))?;
    // It holds the writing ends, without which reading ends.
    drop(command);
    let mut counter = Counter::default();
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.with_context(|| format!("cannot read the output of {shown}"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        counter.line(&line);
    }
    let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
    if !status.success() {
        shell::say(format!("{shown} failed ({status})"));
    }
    Ok(counter.finish(status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_skips_are_counted_from_both_streams() {
        let script = "echo 'skipped: no root' >&2; \
            echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s'";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        assert_eq!(tests_of(command).unwrap(), Counts { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn a_program_that_dies_is_a_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -9 $$"]);
        assert_eq!(tests_of(command).unwrap(), Counts::FAILED);
    }

    #[test]
    fn programs_have_the_variables_that_tests_read() {
        assert_eq!(variable("tracer"), "TRACER_BIN");
        assert_eq!(variable("actor"), "TRACER_ACTOR");
    }
}
