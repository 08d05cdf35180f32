//! `vm`: the live kernel tests on Debian's kernels in QEMU, without KVM and without touching this machine.
//!
//! kernel package ([`kernel`]) + static programs ([`crate::build`]) → initramfs ([`initramfs`]) → guest ([`qemu`]) →
//! counts of its result lines. The tracer in the guest is the file that `dist` ships.

mod apt;
mod compatibility;
mod initramfs;
mod kernel;
mod module;
mod qemu;

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use compatibility::Cell;

use crate::{
    arch::Arch,
    build::{self, Profile},
    counts::Counts,
    dist,
    setup::{self, Group},
    shell,
    test::Harnesses,
    workspace::{self, Executable},
};

/// A kernel series of a Debian release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Series {
    #[value(name = "5.10")]
    Bullseye,
    #[value(name = "6.1")]
    Bookworm,
    #[value(name = "6.12")]
    Trixie,
}

impl Series {
    pub fn version(self) -> &'static str {
        match self {
            Self::Bullseye => "5.10",
            Self::Bookworm => "6.1",
            Self::Trixie => "6.12",
        }
    }

    pub fn suite(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// What is special about a guest (tests/src/scenario.rs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    Plain,
    /// Every cgroup hook that netd of Android 15 takes is held exclusively
    AndroidLike,
    /// Kprobes are forbidden to the tracer
    NoKprobes,
    /// The kernel's type information is hidden
    NoBtf,
    /// `sock_ops` programs are forbidden to the tracer
    NoSockOps,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::AndroidLike => "android-like",
            Self::NoKprobes => "no-kprobes",
            Self::NoBtf => "no-btf",
            Self::NoSockOps => "no-sock-ops",
        }
    }
}

#[derive(Args)]
pub struct VmArgs {
    /// Kernel series, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Series::Bookworm])]
    kernel: Vec<Series>,
    /// Architectures, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Arch::ALL)]
    arch: Vec<Arch>,
    /// Scenarios, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Scenario::Plain])]
    scenario: Vec<Scenario>,
    /// Every kernel, architecture and scenario
    #[arg(long)]
    all: bool,
    /// Write docs/compatibility.md from the guests' results
    #[arg(long, requires = "all")]
    write_docs: bool,
    #[command(flatten)]
    guest: GuestArgs,
}

/// What happens in each guest.
#[derive(Args)]
pub struct GuestArgs {
    /// Run this command in the guest instead of the tests (words split at spaces; `tracer` is in /bin)
    #[arg(long, value_name = "COMMAND")]
    cmd: Option<String>,
    /// Keep the initramfs and print the command that boots it
    #[arg(long)]
    keep: bool,
    /// Look for newer kernel packages instead of using those under target/vm/
    #[arg(long)]
    refresh: bool,
    /// Longest time a guest may run, in seconds
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    timeout: u64,
    /// Run only the tests whose name contains one of these
    filter: Vec<String>,
}

impl GuestArgs {
    /// As `test` runs them.
    fn for_tests(filter: Vec<String>) -> Self {
        Self {
            cmd: None,
            keep: false,
            refresh: false,
            // Three times what the slowest guest takes on a quiet machine with two cores.
            timeout: 1800,
            filter,
        }
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.version())
    }
}

impl std::fmt::Display for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub fn run(args: &VmArgs) -> Result<ExitCode> {
    setup::ensure(Group::Vm)?;
    let counts = boot_all(args)?;
    println!("{counts}");
    Ok(if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots every combination that was asked for, one after the other: each guest uses all cores under TCG.
///
/// # Errors
/// When a guest cannot be prepared; what goes wrong inside one is counted.
pub fn boot_all(args: &VmArgs) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut cells = Vec::new();
    let (kernels, archs, scenarios) = if args.all {
        (Series::value_variants(), &Arch::ALL[..], Scenario::value_variants())
    } else {
        (&args.kernel[..], &args.arch[..], &args.scenario[..])
    };
    for &arch in archs {
        let programs = Programs::build(arch)?;
        for (&series, &scenario) in
            kernels.iter().flat_map(|series| scenarios.iter().map(move |scenario| (series, scenario)))
        {
            let (outcome, cell) = boot(&args.guest, series, scenario, &programs)?;
            counts += outcome;
            cells.push(cell);
        }
    }
    if let Some(table) = compatibility::kinds_table(&cells) {
        println!("\n{table}");
    }
    if args.write_docs && counts.failed == 0 {
        compatibility::write(&cells)?;
    }
    Ok(counts)
}

/// Fetches a kernel, unless it is there.
///
/// # Errors
/// When it cannot be fetched.
pub fn fetch(series: Series, arch: Arch) -> Result<()> {
    kernel::obtain(series, arch, false).map(drop)
}

/// One guest for `test`, with programs that are there already.
///
/// # Errors
/// When the guest cannot be prepared; what goes wrong inside it is counted.
pub fn test_in(
    series: Series,
    scenario: Scenario,
    filter: Vec<String>,
    programs: &Programs,
) -> Result<Counts> {
    let (counts, cell) = boot(&GuestArgs::for_tests(filter), series, scenario, programs)?;
    if let Some(table) = compatibility::kinds_table(&[cell]) {
        println!("\n{table}");
    }
    Ok(counts)
}

/// The programs that go into a guest.
pub struct Programs {
    arch: Arch,
    pub tracer: PathBuf,
    pub init: PathBuf,
    /// `(name, file)` of the other programs of the tests, for example the actor that makes connections.
    pub helpers: Vec<(String, PathBuf)>,
    /// The libtest executable of `tests/kernel`.
    pub tests: PathBuf,
}

impl Programs {
    /// Builds them: the tracer as it is shipped.
    ///
    /// # Errors
    /// When something to build with is missing, or the build fails.
    pub fn build(arch: Arch) -> Result<Self> {
        let tracer = build::tracer(arch, Profile::Dist)?;
        if arch == Arch::native() {
            return Self::new(arch, tracer, Harnesses::build(arch)?.executables());
        }
        let mut cargo = build::cargo_static(arch, "test")?;
        // `cargo test --test` builds the package's programs, too, because tests may start them.
        cargo.args(["--no-run", "--package", "tracer-tests", "--test", "kernel"]);
        Self::new(arch, tracer, workspace::build_executables(cargo)?.iter())
    }

    /// Picks what a guest needs from what was built.
    ///
    /// # Errors
    /// When something was not built.
    pub fn new<'a>(arch: Arch, tracer: PathBuf, built: impl Iterator<Item = &'a Executable>) -> Result<Self> {
        shell::say(format!("sha256 {}  {}", dist::sha256_of(&tracer)?, tracer.display()));
        let (mut init, mut tests, mut helpers) = (None, None, Vec::new());
        for program in built.filter(|program| program.package() == "tests") {
            match (program.name.as_str(), program.test) {
                ("init", false) => init = Some(program.path.clone()),
                ("kernel", true) => tests = Some(program.path.clone()),
                (name, false) => helpers.push((name.to_owned(), program.path.clone())),
                (_, true) => {}
            }
        }
        helpers.sort();
        Ok(Self {
            arch,
            tracer,
            init: init.context("the package tracer-tests has no program `init`")?,
            helpers,
            tests: tests.context("the package tracer-tests has no test `kernel`")?,
        })
    }
}

/// What it ran, and what that says about this kernel.
fn boot(args: &GuestArgs, series: Series, scenario: Scenario, programs: &Programs) -> Result<(Counts, Cell)> {
    let arch = programs.arch;
    let name = format!("{series}-{} {scenario}", arch.debian());
    let begin = Instant::now();
    let (counts, console) =
        run_guest(args, series, scenario, programs).with_context(|| format!("guest {name}"))?;
    shell::say(format!("guest {name}: {counts} in {}", shell::took(begin.elapsed())));
    Ok((counts, Cell::new(series.version(), arch.debian(), scenario.name(), &console)))
}

/// What it ran, and what it printed.
fn run_guest(
    args: &GuestArgs,
    series: Series,
    scenario: Scenario,
    programs: &Programs,
) -> Result<(Counts, Vec<String>)> {
    let arch = programs.arch;
    let kernel = kernel::obtain(series, arch, args.refresh)?;
    let manifest = manifest(args, scenario, programs)?;
    let image = initramfs::pack(&kernel, programs, &manifest)?;
    let name = format!("{series} {arch} {scenario}");
    let path = workspace::target().join("vm").join(format!("initramfs-{}.cpio", name.replace(' ', "-")));
    fs::write(&path, &image).with_context(|| format!("could not write {}", path.display()))?;
    let guest = qemu::Guest {
        name,
        arch,
        kernel: kernel.image,
        initramfs: path.clone(),
        overall: Duration::from_secs(args.timeout),
    };
    if args.keep {
        shell::say(format!("boots with: {}", guest.command_line()));
    }
    shell::say(format!("booting {} on {arch} ({} KiB of initramfs)", kernel.package, image.len() / 1024));
    let mut console = Vec::new();
    let counts = guest.run(args.cmd.is_none(), &mut console)?;
    if !args.keep {
        fs::remove_file(&path).with_context(|| format!("could not remove {}", path.display()))?;
    }
    Ok((counts, console))
}

/// What init runs: one command a line, words separated by tabs; lines `NAME=VALUE` before them are its environment.
fn manifest(args: &GuestArgs, scenario: Scenario, programs: &Programs) -> Result<String> {
    let mut lines = vec!["TRACER_BIN=/bin/tracer".to_owned(), "TRACER_REQUIRE_KERNEL=1".to_owned()];
    lines.push("RUST_BACKTRACE=1".to_owned());
    lines.push(format!("TRACER_SCENARIO={scenario}"));
    // An emulated processor makes some hundred connections a second.
    lines.push("TRACER_STORM=3000".to_owned());
    for (name, _) in &programs.helpers {
        lines.push(format!("TRACER_{}=/bin/{name}", name.to_uppercase().replace('-', "_")));
    }
    let words: Vec<&str> = match &args.cmd {
        Some(command) => command.split_whitespace().collect(),
        None => {
            let all = ["/tests/kernel", "--test-threads=1", "--show-output"];
            all.into_iter().chain(args.filter.iter().map(String::as_str)).collect()
        }
    };
    if words.is_empty() || words.iter().any(|word| word.contains(['\t', '\n'])) {
        bail!("the guest's command is empty or contains a tab or line end");
    }
    lines.push(words.join("\t"));
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs {
        Programs {
            arch: Arch::X86_64,
            tracer: "t".into(),
            init: "i".into(),
            helpers: vec![("actor".into(), "a".into())],
            tests: "k".into(),
        }
    }

    fn args(filter: Option<&str>) -> GuestArgs {
        GuestArgs::for_tests(filter.map(str::to_owned).into_iter().collect())
    }

    #[test]
    fn the_manifest_names_the_programs_and_the_tests() {
        let text = manifest(&args(Some("ipv6")), Scenario::NoKprobes, &programs()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.contains(&"TRACER_ACTOR=/bin/actor"), "{lines:?}");
        assert!(lines.contains(&"TRACER_SCENARIO=no-kprobes"), "{lines:?}");
        assert_eq!(lines.last(), Some(&"/tests/kernel\t--test-threads=1\t--show-output\tipv6"));
    }

    #[test]
    fn an_empty_command_is_refused() {
        let mut args = args(None);
        args.cmd = Some("  ".into());
        assert!(manifest(&args, Scenario::Plain, &programs()).is_err());
    }
}
