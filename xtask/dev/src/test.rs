//! `test`: everything that can be checked on this machine, in two sizes, and one closing line that counts it.
//!
//! Without `--all`: format, lints, units, black box and live tests on this kernel, with builds of one profile. With `--all`
//! also what takes other kernels, programs and packages; most of that is built beside the first part. A step that fails
//! does not stop the others; what depends on its product is then counted as failed, too. stdout ends with
//! `N passed, N failed, N skipped`.

mod all;
mod harness;
mod report;

use std::{process::ExitCode, thread, time::Instant};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    arch::Arch,
    setup::{self, Group},
    shell, workspace,
};
use all::Products;
pub use harness::Harnesses;
use harness::Kind;
use report::Report;

#[derive(Args)]
pub struct TestArgs {
    /// Run every test: also guests with other kernels, fuzzing, real servers and browsers, packages
    #[arg(long)]
    all: bool,
    /// Run only tests whose name contains this; without format and lints
    name: Option<String>,
}

pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let begin = Instant::now();
    let report = Report::default();
    report.prepare("setup", || setup::ensure(Group::Test));
    let products = Products::default();
    thread::scope(|scope| {
        if args.all {
            scope.spawn(|| all::prepare(args.name.is_none(), &report, &products));
        }
        let harnesses = on_this_machine(args, &report);
        if let (true, Some(harnesses)) = (args.all, &harnesses) {
            all::run(args.name.as_deref(), &report, harnesses, &products);
        }
    });
    report.close(begin, args.name.as_deref())
}

/// Tests that need only this machine, its kernel and a Rust compiler.
fn on_this_machine(args: &TestArgs, report: &Report) -> Option<Harnesses> {
    let filter = args.name.as_deref();
    if filter.is_none() {
        report.check("format", || cargo(&["fmt", "--all", "--check"]));
    }
    let mut harnesses = None;
    report.prepare("build of the tests", || {
        harnesses = Some(Harnesses::build(Arch::native())?);
        Ok(())
    });
    if filter.is_none() {
        let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
        report.check("lints", || cargo(&lints));
    }
    for (name, kind) in [
        ("unit tests", Kind::Unit),
        ("black-box tests", Kind::BlackBox),
        ("live tests on this kernel", Kind::Live),
    ] {
        report.step(name, || harnesses.as_ref().context("the tests were not built")?.run(kind, filter));
    }
    harnesses
}

fn cargo(args: &[&str]) -> Result<()> {
    shell::run(workspace::cargo().args(args))
}
