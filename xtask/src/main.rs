//! `cargo xtask COMMAND`: everything that is done to this repository by machine, one file per command.
//!
//! Progress goes to stderr; stdout carries only what the command is asked for (the tracer's lines, test results).

mod arch;
mod bench;
mod build;
mod cadence;
mod counts;
mod deploy;
mod dist;
mod docs;
mod elf;
mod fuzz;
mod geodata;
mod run;
mod screenshots;
mod setup;
mod shell;
mod test;
#[path = "../../tracer/build/toolchain.rs"]
mod toolchain;
mod vm;
mod workspace;
mod worldmap;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, builds, tests and ships tracer.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what this machine lacks (or only say so, with --check)
    Setup(setup::SetupArgs),
    /// Build the static binary into target/dist/ARCH/tracer
    Build(build::BuildArgs),
    /// Set up if needed, build, and start tracer with the privileges it needs
    Run(run::RunArgs),
    /// Set up if needed and run every test: format, lints, units, fuzzing, black box, live kernel, virtual machines
    Test(test::TestArgs),
    /// Look for bytes that a parser of foreign bytes does not stand, with libFuzzer
    Fuzz(fuzz::FuzzArgs),
    /// Run the live kernel tests on Debian kernels in QEMU
    Vm(vm::VmArgs),
    /// Pack a tar.gz per architecture into target/dist/
    Dist(dist::DistArgs),
    /// Push tracer to an Android device over adb and stream its lines to this terminal
    Deploy(deploy::DeployArgs),
    /// Measure what tracer costs, beside tools that do a part of the same
    Bench(bench::BenchArgs),
    /// Count how well beats are told from ordinary traffic, beside two other tests
    Cadence(cadence::CadenceArgs),
    /// Rebuild the geo database in data/ from its sources
    Geodata(geodata::GeodataArgs),
    /// Rebuild the map of the world in data/ from its sources
    Worldmap(worldmap::WorldmapArgs),
    /// Photograph the report of the recorded story for docs/images/
    Screenshots,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Dist(args) => dist::run(&args),
        Command::Deploy(args) => deploy::run(&args),
        Command::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Cadence(args) => cadence::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Geodata(args) => geodata::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Worldmap(args) => worldmap::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Screenshots => screenshots::run().map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        Err(why) => {
            eprintln!("xtask: {why:#}");
            ExitCode::FAILURE
        }
    }
}
