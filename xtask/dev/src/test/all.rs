//! What `test --all` adds: guests, fuzzing, real servers and browsers, packages, licenses.
//!
//! [`prepare`] installs and builds beside the tests of this machine, at the lowest priority; [`run`] runs what that gave.

use std::{path::PathBuf, process::Command, sync::Mutex, thread};

use anyhow::{Context as _, Result, anyhow};

use super::{
    harness::{Harnesses, Kind},
    report::Report,
};
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
    (Series::Bookworm, Arch::X86_64, Scenario::Plain, &[]),
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
    (Series::Bookworm, Arch::Aarch64, Scenario::Plain, &[]),
];

/// What was built for the second part.
pub struct Products {
    tracer: Result<PathBuf>,
    foreign: Result<Programs>,
    packages: Result<Vec<PathBuf>>,
}

impl Products {
    /// After a panic.
    pub fn none() -> Self {
        let missing = || anyhow!("the thread that builds it panicked");
        Self { tracer: Err(missing()), foreign: Err(missing()), packages: Err(missing()) }
    }
}

/// Installs and builds what [`run`] needs, and checks what takes nothing else.
pub fn prepare(report: &Report) -> Products {
    yield_to_others();
    let prepare = |name: &str, work: &mut dyn FnMut() -> Result<()>| {
        report.beside(name, || work().map(|()| Counts::default()));
    };
    prepare("setup of everything else", &mut || setup::ensure(Group::TestAll));
    prepare("kernels of the guests", &mut || {
        GUESTS.iter().try_for_each(|(series, arch, ..)| vm::fetch(*series, *arch))
    });
    let mut products = Products::none();
    prepare("binary that is shipped", &mut || {
        products.tracer = build::tracer(Arch::native(), Profile::Dist);
        products.tracer.as_ref().map(drop).map_err(|why| anyhow!("{why:#}"))
    });
    prepare("programs of the other architecture", &mut || {
        products.foreign = Programs::build(Arch::foreign());
        products.foreign.as_ref().map(drop).map_err(|why| anyhow!("{why:#}"))
    });
    prepare("packages", &mut || {
        products.packages = dist::pack(&Arch::ALL);
        products.packages.as_ref().map(drop).map_err(|why| anyhow!("{why:#}"))
    });
    report.beside("eBPF objects are those of their sources", || {
        xtask::ebpf::check(&workspace::root())
            .map(|is_same| if is_same { Counts::PASSED } else { Counts::FAILED })
    });
    report.beside("licenses, sources and advisories of dependencies", deny);
    products
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
                yield_to_others();
                report.beside("a short run of the fuzz targets", fuzz::shortly);
            });
        }
        report.beside("names, with real servers and browsers", || harnesses.run(Kind::Names, filter));
        report.beside("packages on a clean system", || {
            let packages =
                products.packages.as_ref().map_err(|why| anyhow!("they were not built: {why:#}"))?;
            let directory =
                packages.first().and_then(|file| file.parent()).context("there are no packages")?;
            harnesses.run_with(Kind::Packages, filter, &[("TRACER_PACKAGES", directory.to_owned())])
        });
    });
}

/// Gives this thread, and the processes that it starts, what others leave of the processors.
fn yield_to_others() {
    let _ = rustix::process::nice(19);
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
    report.beside(&format!("live tests on {kernel}, {arch}, {scenario}"), || {
        let unbuilt = |why: &anyhow::Error| anyhow!("its programs were not built: {why:#}");
        if arch == Arch::foreign() {
            return vm::test_in(kernel, scenario, filter, products.foreign.as_ref().map_err(unbuilt)?);
        }
        let tracer = products.tracer.as_ref().map_err(unbuilt)?.clone();
        vm::test_in(kernel, scenario, filter, &Programs::new(arch, tracer, harnesses.executables())?)
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
