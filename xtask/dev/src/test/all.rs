//! What `test --all` adds: guests, fuzzing, real servers and browsers, packages, licenses.
//!
//! [`prepare`] installs and builds beside the tests of this machine, at the lowest priority; [`run`] runs what that gave.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Mutex, OnceLock},
    thread,
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    harness::{Harnesses, Kind},
    report::Report,
};
use xtask::ebpf::{self, Check};

use crate::{
    arch::Arch,
    build::{self, Profile},
    counts::Counts,
    dist, fuzz,
    setup::{self, Group, Need},
    shell,
    vm::{self, Programs, Scenario, Series},
    workspace,
};

/// Kernel, architecture, scenario, and a part of the tests.
type Guest = (Series, Arch, Scenario, &'static [&'static str]);

/// Kernel, architecture and scenario of each guest, and the part of the tests that depends on these (nothing: all of them).
/// Every kernel, architecture and scenario is there once; `cargo xtask vm --all` runs everything in every combination.
const GUESTS: [Guest; 6] = [
    (
        Series::Bookworm,
        Arch::X86_64,
        Scenario::Plain,
        // Tests that do not depend on the kernel run on the host and on arm64.
        &[
            "behaviour",
            "bytes",
            "existing",
            "identity",
            "kinds",
            "life",
            "names",
            "rights",
            "storm",
            "tiers",
            "udp",
        ],
    ),
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
    // Its programs are built last, and it takes as long as three other guests: next to last.
    (Series::Bookworm, Arch::Aarch64, Scenario::Plain, &[]),
    (Series::Trixie, Arch::X86_64, Scenario::NoSockOps, &["tiers", "kinds", "existing", "names", "life"]),
];

/// What the second part needs. Each is there once [`prepare`] has made it; waiting for it blocks.
#[derive(Default)]
pub struct Products {
    /// Everything is installed.
    setup: OnceLock<Made<()>>,
    kernels: OnceLock<Made<()>>,
    tracer: OnceLock<Made<PathBuf>>,
    foreign: OnceLock<Made<Programs>>,
    packages: OnceLock<Made<Vec<PathBuf>>>,
}

/// A product, or why there is none.
type Made<T> = Result<T, String>;

/// Waits for a product.
fn wait<T>(product: &OnceLock<Made<T>>) -> Result<&T> {
    product.wait().as_ref().map_err(|why| anyhow!("not run: {why}"))
}

/// Installs and builds what [`run`] needs, and checks what takes nothing else.
///
/// `is_whole`: no filter was given, so packages and other checks are included.
pub fn prepare(is_whole: bool, report: &Report, products: &Products) {
    let _gaps = FillGaps(products);
    // Live tests have priority, but only a little: the longest guest waits for these builds.
    yield_to_others(5);
    // The first guests need only this, the kernels and the setup.
    let native = Arch::native();
    make(report, "binary that is shipped", &products.tracer, || build::tracer(native, Profile::Dist));
    make(report, "setup of everything else", &products.setup, || setup::ensure(Group::TestAll));
    make(report, "kernels of the guests", &products.kernels, || {
        GUESTS.iter().try_for_each(|(series, arch, ..)| vm::fetch(*series, *arch))
    });
    make(
        report,
        "programs of the other architecture",
        &products.foreign,
        || Programs::build(Arch::foreign()),
    );
    if is_whole {
        make(report, "packages", &products.packages, || dist::pack(&Arch::ALL));
        report.parallel("eBPF objects match their sources", objects);
        report.parallel("licenses, sources and advisories of dependencies", deny);
    }
}

/// A step that makes a product.
fn make<T>(report: &Report, name: &str, product: &OnceLock<Made<T>>, work: impl FnOnce() -> Result<T>) {
    report.parallel(name, || {
        let made = work().map_err(|why| format!("{name}: {why:#}"));
        let result = made.as_ref().map(|_| Counts::default()).map_err(|why| anyhow!("{why}"));
        // Each is made once.
        let _ = product.set(made);
        result
    });
}

/// Puts a reason where a panic left nothing: others wait for it.
struct FillGaps<'a>(&'a Products);

impl Drop for FillGaps<'_> {
    fn drop(&mut self) {
        let reason = || "it was not made".to_owned();
        let Products { setup, kernels, tracer, foreign, packages } = self.0;
        let _ = setup.set(Err(reason()));
        let _ = kernels.set(Err(reason()));
        let _ = tracer.set(Err(reason()));
        let _ = foreign.set(Err(reason()));
        let _ = packages.set(Err(reason()));
    }
}

fn objects() -> Result<Counts> {
    Ok(match ebpf::check(&workspace::root())? {
        Check::Same => Counts::PASSED,
        Check::HashesOnly => Counts::SKIPPED,
        Check::Different => Counts::FAILED,
    })
}

/// Guests that run at the same time. One waits, or is bound to one of its processors, for much of its time.
const LANES: usize = 2;

/// Runs the second part: guests, and beside them what needs this machine.
pub fn run(filter: Option<&str>, report: &Report, harnesses: &Harnesses, products: &Products) {
    let waiting = Mutex::new(GUESTS.iter());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(guest) = next() {
                    in_guest(guest, filter, report, harnesses, products);
                }
            });
        }
        if filter.is_none() {
            scope.spawn(|| {
                yield_to_others(19);
                // Its build would only slow the others down.
                let _ = wait(&products.packages);
                report.parallel("a short run of the fuzz targets", fuzz::shortly);
            });
        }
        report.parallel("real servers and browsers", || {
            wait(&products.setup)?;
            harnesses.run(Kind::Names, filter)
        });
        if filter.is_none() {
            report.parallel("packages, and builds on other hosts", || {
                let packages = wait(&products.packages)?;
                let directory =
                    packages.first().and_then(|file| file.parent()).context("there are no packages")?;
                harnesses.run_with(Kind::Packages, filter, &[("TRACER_PACKAGES", directory.to_owned())])
            });
        }
    });
}

/// Lowers the priority of this thread and its children.
fn yield_to_others(nice: i32) {
    let _ = rustix::process::nice(nice);
}

fn in_guest(
    guest: &Guest,
    filter: Option<&str>,
    report: &Report,
    harnesses: &Harnesses,
    products: &Products,
) {
    let (kernel, arch, scenario, part) = *guest;
    let filter = filter
        .map_or_else(|| part.iter().map(|name| (*name).to_owned()).collect(), |name| vec![name.to_owned()]);
    let kernels = wait(&products.kernels);
    let name = format!("live tests on {kernel}, {arch}, {scenario}");
    if arch == Arch::foreign() {
        let programs = wait(&products.foreign);
        report.parallel(&name, || {
            kernels?;
            vm::test_in(kernel, scenario, filter, programs?)
        });
        return;
    }
    let tracer = wait(&products.tracer);
    report.parallel(&name, || {
        kernels?;
        let programs = Programs::new(arch, tracer?.clone(), harnesses.executables())?;
        vm::test_in(kernel, scenario, filter, &programs)
    });
}

/// `cargo deny check`, where it can be installed. Advisories come from a repository of their own, which may be out of reach.
fn deny() -> Result<Counts> {
    if let Err(why) = setup::ensure_need(Need::CargoDeny) {
        shell::say(format!("skipped: cargo-deny cannot be installed here: {why:#}"));
        return Ok(Counts::SKIPPED);
    }
    let program = setup::tool("cargo-deny").context("cargo-deny is not installed")?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(workspace::root()).args(["--all-features", "check"]).args(what);
        shell::capture(&mut command).map(drop)
    };
    let mut counts = Counts::default();
    for what in [&["bans", "licenses", "sources"][..], &["advisories"]] {
        counts += match check(what) {
            Ok(()) => Counts::PASSED,
            Err(why) if format!("{why:#}").contains("failed to fetch advisory database") => {
                shell::say("skipped: the database of advisories cannot be fetched here");
                Counts::SKIPPED
            }
            Err(why) => {
                shell::say(format!("{why:#}"));
                Counts::FAILED
            }
        };
    }
    Ok(counts)
}
