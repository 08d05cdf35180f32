//! Build, test and release commands.

use clap::{Parser, Subcommand};

mod geodata;

#[derive(Parser)]
#[command(name = "xtask", about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Rebuild the geo database in data/ from its sources
    Geodata(geodata::GeodataArgs),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Geodata(args) => geodata::run(&args),
    }
}
