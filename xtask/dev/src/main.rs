//! Commands for work on tracer itself, one file per command. `cargo xtask COMMAND` builds and starts this program.
//!
//! Progress goes to stderr; stdout carries only what the command is asked for.

mod bench;
mod cadence;
mod counts;
mod docs;
mod fuzz;
mod geodata;
mod screenshots;
mod test;
mod vm;
mod worldmap;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
// Modules here name them as their own.
use xtask::{arch, build, dist, setup, shell, workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run format, lints, unit, black-box and live tests; --all adds guests, fuzzing, servers, packages
    Test(test::TestArgs),
    /// Fuzz all parsers of untrusted input with libFuzzer
    Fuzz(fuzz::FuzzArgs),
    /// Run the live tests on other kernels in QEMU
    Vm(vm::VmArgs),
    /// Measure speed and memory beside other tools
    Bench(bench::BenchArgs),
    /// Measure beaconing detection against ordinary traffic
    Cadence(cadence::CadenceArgs),
    /// Rebuild the geo database in data/ from its sources
    Geodata(geodata::GeodataArgs),
    /// Rebuild the world map in data/ from its sources
    Worldmap(worldmap::WorldmapArgs),
    /// Take the screenshots in docs/images
    Screenshots,
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let result = match Cli::parse().command {
        Command::Test(args) => test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Bench(args) => bench::run(&args).map(done),
        Command::Cadence(args) => cadence::run(&args).map(done),
        Command::Geodata(args) => geodata::run(&args).map(done),
        Command::Worldmap(args) => worldmap::run(&args).map(done),
        Command::Screenshots => screenshots::run().map(done),
    };
    match result {
        Ok(code) => code,
        Err(why) => {
            eprintln!("xtask: {why:#}");
            ExitCode::FAILURE
        }
    }
}
