//! `setup`: finds what this machine lacks and installs it.
//!
//! In: what is installed. Out: a [`plan::Action`] list that is shown, then done, then checked again. What is there already
//! is left alone, whatever brought it. Two ways lead to a compiler for the eBPF side and for the other architecture:
//! rustup where it may download, else Debian's own Rust packages.

mod apt;
mod need;
mod plan;

use std::{env, process::ExitCode, time::Instant};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

pub use need::{Group, Need, tool};
use plan::{Action, Way};

use crate::{shell, toolchain};

#[derive(Args)]
pub struct SetupArgs {
    /// Only report; exit code 1 if something is missing
    #[arg(long)]
    check: bool,
    /// What this machine is meant to do
    #[arg(long = "for", value_enum, default_value_t = Group::All, value_name = "PURPOSE")]
    purpose: Group,
    /// Where compilers come from; `auto` takes rustup where it may download, else Debian's packages
    #[arg(long, value_enum, default_value_t = Source::Auto)]
    from: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    Auto,
    Rustup,
    Debian,
}

pub fn run(args: &SetupArgs) -> Result<ExitCode> {
    let missing = report(args.purpose);
    if args.check {
        return Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    install(&missing, args.from)?;
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing for a purpose; silent and quick if nothing is.
///
/// # Errors
/// When something is missing and could not be installed.
pub fn ensure(purpose: Group) -> Result<()> {
    install(&need::missing(purpose), Source::Auto)
}

/// Installs one thing, if it is missing.
///
/// # Errors
/// When it could not be installed.
pub fn ensure_need(need: Need) -> Result<()> {
    if need.found().is_some() { Ok(()) } else { install(&[need], Source::Auto) }
}

/// Says of every need whether it is met; returns those that are not.
fn report(purpose: Group) -> Vec<Need> {
    let mut missing = Vec::new();
    for need in need::of(purpose) {
        match need.found() {
            Some(what) => shell::say(format!("ok       {}: {what}", need.title())),
            None => {
                shell::say(format!("MISSING  {}", need.title()));
                missing.push(need);
            }
        }
    }
    missing
}

fn install(missing: &[Need], source: Source) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let begin = Instant::now();
    let names: Vec<_> = missing.iter().map(|need| need.title()).collect();
    shell::say(format!("installing what is missing: {}", names.join(", ")));
    // pip needs neither of the ways, only itself.
    let (from_pip, missing): (Vec<Need>, Vec<Need>) = missing.iter().partition(|need| need.is_from_pip());
    install_in_ways(&missing, source)?;
    for need in from_pip {
        plan::pip_package(need).into_iter().try_for_each(|action| action.perform())?;
        ensure!(need.found().is_some(), "pip installed {}, but it does not start", need.title());
    }
    shell::say(format!("everything is there now, after {}", shell::took(begin.elapsed())));
    Ok(())
}

fn install_in_ways(missing: &[Need], source: Source) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|need| need.title()).collect();
    let ways = ways(source, missing);
    if ways.is_empty() {
        bail!("neither rustup nor apt-get can be used here; install by hand: {}", names.join(", "));
    }
    let mut failures = Vec::new();
    for way in ways {
        // A way that failed half-way may have done a part of it.
        let left: Vec<Need> = missing.iter().copied().filter(|need| need.found().is_none()).collect();
        let done = plan::plan(&left, way).and_then(|actions| actions.iter().try_for_each(Action::perform));
        let left: Vec<_> =
            left.iter().filter(|need| need.found().is_none()).map(|need| need.title()).collect();
        match done {
            Ok(()) if left.is_empty() => return Ok(()),
            Ok(()) => failures.push(format!("{way}: still missing: {}", left.join(", "))),
            Err(why) => failures.push(format!("{way}: {why:#}")),
        }
    }
    bail!("could not install everything\n  {}", failures.join("\n  "))
}

/// The ways to try, best first. Rustup is probed only if it is needed at all.
fn ways(source: Source, missing: &[Need]) -> Vec<Way> {
    let debian = apt::available().then_some(Way::Debian);
    let needs_rust = missing.iter().any(|need| need.needs_rust());
    let rustup = match source {
        Source::Debian => false,
        _ if shell::find_program("rustup").is_none() => false,
        Source::Rustup => true,
        // The machine's owner said that rustup is not to install on its own.
        Source::Auto => {
            needs_rust && env::var("RUSTUP_AUTO_INSTALL").as_deref() != Ok("0") && rustup_downloads()
        }
    };
    match source {
        Source::Rustup => rustup.then_some(Way::Rustup).into_iter().collect(),
        _ => rustup.then_some(Way::Rustup).into_iter().chain(debian).collect(),
    }
}

/// Rustup's server answers. Without curl rustup itself has to find out.
fn rustup_downloads() -> bool {
    let Some(curl) = shell::find_program("curl") else { return true };
    let server = env::var("RUSTUP_DIST_SERVER").unwrap_or_else(|_| "https://static.rust-lang.org".into());
    let date = toolchain::NIGHTLIES[0].trim_start_matches("nightly-");
    let manifest = format!("{server}/dist/{date}/channel-rust-nightly.toml.sha256");
    let mut probe = std::process::Command::new(curl);
    probe.args(["--silent", "--fail", "--location", "--head", "--max-time", "10", &manifest]);
    shell::capture(&mut probe).is_ok()
}
