//! The tools that are compared, each started and stopped the same way: its output goes through a pipe to a thread of
//! this program that counts lines and forgets them.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::process::{BpfStatistics, Process};
use super::storm::{Load, PROBE_PORT, Storm};
use super::tls;
use crate::shell;

/// How long a tool may take until it sees connections. bpftrace compiles its script first.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a tool may take to write out what it has gathered, and to end.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// Output that is kept from the beginning and the end, for the few lines that are looked at.
const KEPT: usize = 256 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// Nothing watches.
    Bare,
    Tracer,
    /// With its hooks for datagrams forbidden: what these cost TCP, and how it stands beside tools for TCP alone.
    TracerTcp,
    /// Without looking for names: what names cost.
    TracerNoNames,
    /// With a home and a ledger.
    TracerAll,
    Tcplife,
    Bpftrace,
    /// A script for what is sent to a port.
    BpftraceSends,
    Tshark,
}

impl Tool {
    /// Those that take turns while a load runs.
    pub fn watching(load: Load) -> [Self; 4] {
        match load {
            Load::Bulk => [Self::Tracer, Self::TracerNoNames, Self::Tshark, Self::BpftraceSends],
            _ => [Self::Tracer, Self::TracerTcp, Self::Tcplife, Self::Bpftrace],
        }
    }

    /// Lines it writes about one connection of the storm, of which both ends are on this machine. The tracer says how
    /// many it wrote itself.
    pub fn lines_per_connection(self) -> Option<u64> {
        match self {
            Self::Bare | Self::Tracer | Self::TracerTcp | Self::TracerNoNames | Self::TracerAll => None,
            // Its lines are names, which are counted for themselves.
            Self::Tshark => None,
            // One at the close of each end.
            Self::Tcplife => Some(2),
            // connect, established, accept, and a close at each end.
            Self::Bpftrace => Some(5),
            // The first send and the close of the end that sends.
            Self::BpftraceSends => Some(2),
        }
    }

    /// Why it cannot run here, if so.
    pub fn missing(self) -> Option<&'static str> {
        let (program, hint) = match self {
            Self::Tcplife => ("tcplife", "tcplife is not installed (Debian package libbpf-tools)"),
            Self::Bpftrace | Self::BpftraceSends => {
                ("bpftrace", "bpftrace is not installed (Debian package bpftrace)")
            }
            Self::Tshark => ("tshark", "tshark is not installed (Debian package tshark)"),
            Self::Bare | Self::Tracer | Self::TracerTcp | Self::TracerNoNames | Self::TracerAll => {
                return None;
            }
        };
        shell::find_program(program).is_none().then_some(hint)
    }

    fn command(self, tracer: &Path, storm: &Storm) -> Result<Command> {
        let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench").join(name);
        let mut command = match self {
            Self::Bare => bail!("there is no tool to start"),
            Self::Tracer | Self::TracerTcp | Self::TracerNoNames | Self::TracerAll => Command::new(tracer),
            Self::Tcplife => with_tracefs("tcplife"),
            Self::Bpftrace | Self::BpftraceSends => with_tracefs("bpftrace"),
            Self::Tshark => tshark(storm),
        };
        match self {
            Self::Tracer => command.args(["--include-loopback", "--no-ledger"]),
            Self::TracerTcp => {
                command.args(["--include-loopback", "--no-ledger", "--hooks", "no-cgroup,no-kprobe"])
            }
            Self::TracerNoNames => command.args(["--include-loopback", "--no-ledger", "--no-names"]),
            Self::TracerAll => {
                let ledger = std::env::temp_dir().join(format!("tracer-bench-{}.db", std::process::id()));
                command.args(["--include-loopback", "--home", "SE", "--sample", "4s", "--ledger"]).arg(ledger)
            }
            Self::Bpftrace => command.arg(script("tcp.bt")),
            Self::BpftraceSends => command.arg(script("bulk.bt")),
            Self::Bare | Self::Tcplife | Self::Tshark => &mut command,
        };
        Ok(command)
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Bare => "no tool",
            Self::Tracer => "tracer",
            Self::TracerTcp => "tracer, TCP only",
            Self::TracerNoNames => "tracer, no names",
            Self::TracerAll => "tracer, everything on",
            Self::Tcplife => "tcplife",
            Self::Bpftrace | Self::BpftraceSends => "bpftrace",
            Self::Tshark => "tshark",
        })
    }
}

/// The peers find tracepoints in tracefs, which not every machine has mounted: in a mount namespace of their own they
/// get it without changing the machine.
fn with_tracefs(program: &str) -> Command {
    let prepare = "test -e /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; \
         test -e /sys/kernel/debug/tracing || mount -t debugfs debugfs /sys/kernel/debug; exec \"$@\"";
    prepared(Command::new("unshare"), prepare, program)
}

/// tshark where the load is, telling the names in TLS hellos. What it captures goes through a file of its own: in memory,
/// so that no disk is still busy with it in the turn after, and gone with its mount namespace however it ends.
fn tshark(storm: &Storm) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", storm.network())).args(["--", "unshare"]);
    let mut command = prepared(command, "mount -t tmpfs tmpfs /tmp && exec \"$@\"", "tshark");
    command.args(["-i", "lo", "-f", &format!("tcp port {}", tls::PORT), "-l"]);
    command.args(["-Y", "tls.handshake.type == 1"]);
    command.args(["-T", "fields", "-e", "tls.handshake.extensions_server_name"]);
    command
}

/// A program behind a preparation in a mount namespace of its own, under the process id of `unshare`.
fn prepared(mut unshare: Command, preparation: &str, program: &str) -> Command {
    unshare.args(["--mount", "--", "sh", "-c", preparation, "sh"]);
    unshare.arg(shell::find_program(program).unwrap_or_else(|| PathBuf::from(program)));
    unshare
}

/// A tool that watches.
pub struct Running {
    pub tool: Tool,
    pub process: Process,
    /// Other processes that work for it: tshark captures in one.
    helpers: Vec<Process>,
    child: Child,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
}

/// What a tool left behind.
pub struct Ended {
    pub status: ExitStatus,
    /// Lines on stdout without those about probes.
    pub lines: u64,
    pub bytes: u64,
    /// The last part of stdout.
    pub tail: String,
    pub stderr: String,
}

impl Running {
    /// Starts a tool and waits until its programs see connections.
    ///
    /// # Errors
    /// When it does not start, ends early or never sees anything; with what it said.
    pub fn start(tool: Tool, tracer: &Path, storm: &mut Storm) -> Result<Self> {
        let mut running = Self::spawn(tool, tool.command(tracer, storm)?)?;
        match running.wait_until_it_sees(storm) {
            Ok(()) => Ok(running),
            Err(why) => match running.stop() {
                Ok(ended) => Err(why.context(format!("{tool} said: {}", ended.stderr.trim()))),
                Err(_) => Err(why),
            },
        }
    }

    /// Starts any command as a tool.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(tool: Tool, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not start {tool}"))?;
        let stdout = child.stdout.take().map(Sink::start);
        let stderr = child.stderr.take().map(Sink::start);
        let process = Process::new(child.id());
        Ok(Self { tool, process, helpers: Vec::new(), child, stdout, stderr })
    }

    fn wait_until_it_sees(&mut self, storm: &mut Storm) -> Result<()> {
        let _statistics = BpfStatistics::on()?;
        let deadline = Instant::now() + START_DEADLINE;
        while !self.sees() {
            if self.child.try_wait()?.is_some() {
                bail!("{} has ended before it watched anything", self.tool);
            }
            if Instant::now() > deadline {
                bail!("{} sees no connections after {} s", self.tool, START_DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
            if self.tool == Tool::Tshark { storm.hello()? } else { storm.probe()? }
        }
        self.helpers = self.process.children()?;
        // Attached is not yet ready: its own side may still be opening buffers.
        self.wait_until_it_rests()
    }

    /// It has seen a probe. tshark's filter is none of the programs that the kernel has statistics of.
    fn sees(&self) -> bool {
        match self.tool {
            Tool::Tshark => self.bytes_so_far() > 0,
            _ => self.process.bpf().is_ok_and(|bpf| bpf.runs > 0),
        }
    }

    /// Processor time of the tool and of those who work for it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_ns(&self) -> Result<u64> {
        self.helpers.iter().try_fold(self.process.cpu_ns()?, |sum, helper| Ok(sum + helper.cpu_ns()?))
    }

    /// Waits until the tool has worked off what it has: no processor time worth mentioning for a while, no output.
    ///
    /// # Errors
    /// When it has ended.
    pub fn wait_until_it_rests(&self) -> Result<()> {
        /// tcplife wakes up ten times a second for nothing.
        const NOTHING_NS: u64 = 1_000_000;
        let deadline = Instant::now() + END_DEADLINE;
        let mut still = 0;
        let mut before = (self.cpu_ns()?, self.bytes_so_far());
        while still < 3 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            let now = (self.cpu_ns()?, self.bytes_so_far());
            // The time of a thread that has ended is gone.
            let used = now.0.saturating_sub(before.0);
            still = if used < NOTHING_NS && now.1 == before.1 { still + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    pub fn bytes_so_far(&self) -> u64 {
        self.stdout.as_ref().map_or(0, |sink| sink.counts.bytes.load(Ordering::Relaxed))
    }

    /// Waits for the first line.
    ///
    /// # Errors
    /// When it takes longer than any tool should.
    pub fn wait_for_output(&self) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while self.bytes_so_far() == 0 {
            if Instant::now() > deadline {
                bail!("{} has written nothing after {} s", self.tool, START_DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Interrupts it as Ctrl-C does, and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> Result<Ended> {
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a pid out of range")?;
        // It may have ended already.
        let _ = kill_process(pid, Signal::INT);
        let deadline = Instant::now() + END_DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {} s after SIGINT", self.tool, END_DEADLINE.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let stdout = self.stdout.take().map(Sink::finish).unwrap_or_default();
        let stderr = self.stderr.take().map(Sink::finish).unwrap_or_default();
        let probe = format!("{PROBE_PORT}");
        let about_probe =
            |line: &&str| line.split(|c: char| c.is_whitespace() || c == ':').any(|word| word == probe);
        let probes = stdout.head.lines().filter(about_probe).count();
        Ok(Ended {
            status,
            lines: stdout.lines.saturating_sub(u64::try_from(probes)?),
            bytes: stdout.bytes,
            tail: stdout.tail,
            stderr: stderr.head,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A thread that reads a pipe to its end.
struct Sink {
    counts: Arc<Counts>,
    thread: JoinHandle<Output>,
}

#[derive(Default)]
struct Counts {
    lines: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Output {
    lines: u64,
    bytes: u64,
    head: String,
    tail: String,
}

impl Sink {
    fn start(pipe: impl Read + Send + 'static) -> Self {
        let counts = Arc::new(Counts::default());
        let for_thread = Arc::clone(&counts);
        Self { counts, thread: std::thread::spawn(move || read_all(pipe, &for_thread)) }
    }

    fn finish(self) -> Output {
        self.thread.join().unwrap_or_default()
    }
}

fn read_all(mut pipe: impl Read, counts: &Counts) -> Output {
    let mut buffer = vec![0; 256 << 10];
    let (mut head, mut tail) = (Vec::new(), Vec::new());
    while let Ok(length @ 1..) = pipe.read(&mut buffer) {
        let part = buffer.get(..length).unwrap_or_default();
        let lines = part.iter().filter(|&&byte| byte == b'\n').count();
        counts.lines.fetch_add(lines as u64, Ordering::Relaxed);
        counts.bytes.fetch_add(length as u64, Ordering::Relaxed);
        if head.len() < KEPT {
            head.extend_from_slice(part);
        }
        tail.extend_from_slice(part);
        if tail.len() > 2 * KEPT {
            tail.drain(..tail.len() - KEPT);
        }
    }
    Output {
        lines: counts.lines.load(Ordering::Relaxed),
        bytes: counts.bytes.load(Ordering::Relaxed),
        head: String::from_utf8_lossy(&head).into_owned(),
        tail: String::from_utf8_lossy(&tail).into_owned(),
    }
}
