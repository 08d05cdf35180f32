//! `cargo xtask bench`: what the tracer costs, side by side with tools that do a part of the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

mod compare;
mod machine;
mod process;
mod storm;
mod summary;
mod tools;

#[derive(clap::Args)]
pub struct BenchArgs {
    /// Fewer rounds and connections, for a first look
    #[arg(long)]
    quick: bool,
    /// Rounds of the comparison
    #[arg(long)]
    rounds: Option<usize>,
    #[command(subcommand)]
    helper: Option<Helper>,
}

#[derive(clap::Subcommand)]
enum Helper {
    /// Makes connections on demand (started by bench itself)
    #[command(hide = true)]
    Storm,
}

pub fn run(args: BenchArgs) -> Result<()> {
    if let Some(Helper::Storm) = args.helper {
        return storm::serve();
    }
    let tracer = build()?;
    let plan = compare::Plan {
        rounds: args.rounds.unwrap_or(if args.quick { 3 } else { 9 }),
        connections: if args.quick { 20_000 } else { 60_000 },
        workers: machine::processors(),
        targets: storm::Targets::Global,
    };
    for workers in [1, machine::processors()] {
        let comparison = compare::run(compare::Plan { workers, ..plan }, &tracer)?;
        for tool in tools::Tool::ALL {
            if let Some(row) = comparison.row(tool) {
                println!(
                    "{tool} w{workers} rate {} slowdown {} storm_us {} tool_us {} prog_ns {} runs {} lost {} lines {} bytes/conn {:?} others {}",
                    row.rate.show(0),
                    row.slowdown.map_or(String::new(), |s| s.show(1)),
                    row.storm_us.show(2),
                    row.tool_us.map_or(String::new(), |s| s.show(2)),
                    row.program_ns.map_or(String::new(), |s| s.show(0)),
                    row.runs.map_or(String::new(), |s| s.show(1)),
                    row.lost,
                    row.lines,
                    row.bytes_per_connection,
                    row.others.show(2)
                );
            }
        }
    }
    Ok(())
}

fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the repository has no top")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--release", "--package", "tracer"])
        .status()
        .context("could not start cargo")?;
    ensure!(status.success(), "cargo build failed ({status})");
    Ok(root.join("target/release/tracer"))
}
