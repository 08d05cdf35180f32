//! `deploy`: tracer on an Android device, its lines in this terminal.
//!
//! adb pushes the binary for the device's ABI to `/data/local/tmp`, root starts it there, and its stdout is this
//! process's stdout. However this ends, no tracer is left running on the device.

mod device;

use std::{
    path::PathBuf,
    process::{Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    build::{self, Profile},
    shell,
};
use device::{Device, Root};

/// How long the tracer may take to write its last records after it was asked to stop.
const STOP: Duration = Duration::from_secs(10);
/// How often adb's end is looked for; an interruption is noticed at once.
const POLL: Duration = Duration::from_millis(100);

#[derive(Args)]
pub struct DeployArgs {
    /// Serial number of the device, where there are several (`adb devices` lists them)
    #[arg(short, long)]
    serial: Option<String>,
    /// Push this file instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Arguments of tracer, after `--`
    #[arg(last = true)]
    args: Vec<String>,
}

pub fn run(args: &DeployArgs) -> Result<ExitCode> {
    let device = Device::find(args.serial.as_deref())?;
    let arch = device.arch()?;
    let root = device.root()?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            build::ensure_toolchain(arch)?;
            build::tracer(arch, Profile::Dist)?
        }
    };
    device.push(&binary)?;
    shell::say(format!("tracer runs on {} as root ({root}); Ctrl-C ends it there, too", device.serial()));
    let interrupted = interruptions()?;
    let status = stream(&device, root, &args.args, &interrupted)?;
    Ok(exit_code(status))
}

/// Signals that mean "stop", as messages. From here on they do not end this process: it has to clean up first.
fn interruptions() -> Result<Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    // After the end nobody listens, and nothing is left to stop.
    let tell = move || {
        let _ = sender.send(());
    };
    ctrlc::set_handler(tell).context("could not catch Ctrl-C")?;
    Ok(receiver)
}

/// Runs the tracer on the device until it ends or is interrupted. A second interruption does not wait for its last
/// records.
fn stream(device: &Device, root: Root, args: &[String], interrupted: &Receiver<()>) -> Result<ExitStatus> {
    let mut command = device.start(root, args);
    detach_from_terminal(&mut command);
    let shown = shell::show(&command);
    let mut adb = command.spawn().with_context(|| format!("could not start {shown}"))?;
    let mut deadline: Option<Instant> = None;
    let ended = loop {
        if let Some(status) = adb.try_wait().with_context(|| format!("could not wait for {shown}"))? {
            break Some(status);
        }
        let signalled = interrupted.recv_timeout(POLL).is_ok();
        match deadline {
            None if signalled => {
                device.interrupt(root);
                deadline = Some(Instant::now() + STOP);
            }
            Some(deadline) if signalled || Instant::now() >= deadline => break None,
            _ => {}
        }
    };
    // Also after a normal end: adb ends, too, when the cable is pulled or when nobody reads our stdout any more.
    device.stop(root);
    match ended {
        Some(status) => Ok(status),
        None => {
            adb.kill().with_context(|| format!("could not end {shown}"))?;
            adb.wait().with_context(|| format!("could not wait for {shown}"))
        }
    }
}

/// Ctrl-C goes to every process of the terminal's foreground group. adb must live on to deliver the last records.
fn detach_from_terminal(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command.stdin(Stdio::null()), 0);
}

/// adb passes the device's exit code on.
fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
