//! `cargo xtask COMMAND`: builds, runs and ships tracer, one file per command.
//!
//! Commands for work on tracer itself are in the package `xtask-dev`. This program builds and starts it when needed, so
//! that users do not compile the test harness.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    process::ExitCode,
};

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use xtask::{
    build::{self, Profile},
    deploy, dist, ebpf, run, setup, shell, workspace,
};

/// Sets up, builds, tests and ships tracer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build tracer and start it with the privileges it needs
    Run(run::RunArgs),
    /// Build the static binary into target/packages/ARCH/tracer
    Build(build::BuildArgs),
    /// Push tracer to an Android device over adb and stream its lines to this terminal
    Deploy(deploy::DeployArgs),
    /// Pack a tar.gz, a .deb and an .rpm per architecture into target/packages/
    Dist(dist::DistArgs),
    /// Install what this machine lacks (or only list it, with --check)
    Setup(setup::SetupArgs),
    /// Rebuild the eBPF objects in tracer-ebpf/prebuilt from their sources
    Ebpf(ebpf::EbpfArgs),
    /// Run format, lints, unit, black-box and live tests; --all adds guests, fuzzing, servers, packages
    #[command(disable_help_flag = true)]
    Test(DevArgs),
    /// Fuzz all parsers of untrusted input with libFuzzer
    #[command(disable_help_flag = true)]
    Fuzz(DevArgs),
    /// Run the live tests on other kernels in QEMU
    #[command(disable_help_flag = true)]
    Vm(DevArgs),
    /// Measure speed and memory beside other tools
    #[command(disable_help_flag = true)]
    Bench(DevArgs),
    /// Measure beaconing detection against ordinary traffic
    #[command(disable_help_flag = true)]
    Cadence(DevArgs),
    /// Rebuild the geo database in data/ from its sources
    #[command(disable_help_flag = true)]
    Geodata(DevArgs),
    /// Rebuild the world map in data/ from its sources
    #[command(disable_help_flag = true)]
    Worldmap(DevArgs),
    /// Take the screenshots in docs/images
    #[command(disable_help_flag = true)]
    Screenshots(DevArgs),
}

/// Arguments that `xtask-dev` parses, `--help` included.
#[derive(Args)]
struct DevArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Deploy(args) => deploy::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Ebpf(args) => ebpf::run(&args),
        Command::Test(args) => dev("test", &args),
        Command::Fuzz(args) => dev("fuzz", &args),
        Command::Vm(args) => dev("vm", &args),
        Command::Bench(args) => dev("bench", &args),
        Command::Cadence(args) => dev("cadence", &args),
        Command::Geodata(args) => dev("geodata", &args),
        Command::Worldmap(args) => dev("worldmap", &args),
        Command::Screenshots(args) => dev("screenshots", &args),
    };
    match result {
        Ok(code) => code,
        Err(why) => {
            eprintln!("xtask: {why:#}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes a command of `xtask-dev`: signals, exit code and streams are its own.
fn dev(command: &str, args: &DevArgs) -> Result<ExitCode> {
    let mut cargo = workspace::cargo_here();
    cargo
        .args(["run", "--package", "xtask-dev", "--manifest-path"])
        .arg(workspace::root().join("Cargo.toml"));
    // The bench generates load and reads the tools' output: it must not be the slow part.
    let asks_for_help = args.args.iter().any(|word| word == "--help" || word == "-h");
    let profile = if command == "bench" && !asks_for_help { Profile::Dist } else { Profile::Dev };
    cargo.args(["--profile", profile.name()]);
    cargo.args([OsStr::new("--"), OsStr::new(command)]).args(&args.args);
    let why = cargo.exec();
    bail!("cannot start {}: {why}", shell::show(&cargo));
}
