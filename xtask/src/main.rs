//! Build, test and release commands.

use clap::{Parser, Subcommand};

mod bench;
mod geodata;

#[derive(Parser)]
#[command(name = "xtask", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure what the tracer costs, beside tools that do a part of the same
    Bench(bench::BenchArgs),
    /// Rebuild the geo database in data/ from its sources
    Geodata(geodata::GeodataArgs),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Bench(args) => bench::run(args),
        Command::Geodata(args) => geodata::run(&args),
    }
}
