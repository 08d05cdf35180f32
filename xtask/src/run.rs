//! `run`: build tracer and become it, with the privileges that loading eBPF programs takes.
//!
//! This process is replaced (`exec`), so that signals, the exit code and the three standard streams are the tracer's
//! own. Nothing else may ever be printed on stdout.

use std::{
    env,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, Group},
    shell,
};

#[derive(Args)]
pub struct RunArgs {
    /// Arguments of tracer, after `--`
    #[arg(last = true)]
    args: Vec<std::ffi::OsString>,
}

pub fn run(args: &RunArgs) -> Result<ExitCode> {
    setup::ensure(Group::Build)?;
    shell::say(
        "building without optimization for a fast start; `cargo xtask build` makes the release binary",
    );
    let binary = build::host_tracer(Profile::Dev)?;
    let mut command = shell::as_root(&binary)?;
    command.args(&args.args);
    restore_environment(&mut command);
    let why = command.exec();
    bail!("could not start {}: {why}", shell::show(&command));
}

/// Takes away what cargo added for this program: the tracer reports its environment's effects, not cargo's.
fn restore_environment(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let cargos = name.to_str().is_some_and(|name| name.starts_with("CARGO_") && name != "CARGO_HOME");
        if cargos || name == "CARGO" || name == "LD_LIBRARY_PATH" || name == "RUSTUP_TOOLCHAIN" {
            command.env_remove(name);
        }
    }
}
