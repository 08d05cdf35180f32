//! `cargo xtask cadence`: how well beats are told from ordinary traffic, beside two other tests.
//!
//! The tables go to stdout, and with `--write-docs` into `docs/cadence.md`. Nothing here fails because a figure is bad: that is for
//! `tests/scenarios/tests/rhythms.rs`.

use anyhow::{Context, Result, ensure};

use crate::{docs, workspace};

#[derive(clap::Args)]
pub struct CadenceArgs {
    /// Streams of each kind, and of each way to hear of it
    #[arg(long, value_name = "N", default_value_t = 500)]
    streams: u32,
    /// Streams that constants may be chosen with, instead of those for the figures
    #[arg(long)]
    tuning: bool,
    /// Put the tables into docs/cadence.md
    #[arg(long, conflicts_with_all = ["streams", "tuning"])]
    write_docs: bool,
}

/// Counts, prints, writes.
///
/// # Errors
/// When the program that counts cannot be built.
pub fn run(args: &CadenceArgs) -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--profile", "dist", "--package", "tracer-tests-scenarios", "--bin", "rhythms", "--"]);
    cargo.args(args.tuning.then_some("tuning")).arg(args.streams.to_string());
    let output = cargo.stderr(std::process::Stdio::inherit()).output().context("could not start cargo")?;
    ensure!(output.status.success(), "cargo run failed: {}", output.status);
    let markdown = String::from_utf8(output.stdout)?;
    println!("{markdown}");
    if args.write_docs {
        docs::replace_marked(&workspace::root().join("docs/cadence.md"), "cadence", &markdown)?;
    }
    Ok(())
}
