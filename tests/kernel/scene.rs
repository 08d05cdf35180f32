//! A tracer, and a network of its own for each test.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::DEADLINE;
use tracer_tests::actor::{Actor, Report};
use tracer_tests::netns::Netns;
use tracer_tests::programs;
use tracer_tests::record::{action, number, text};
use tracer_tests::stream::Stream;
use tracer_tests::temp::{TempDir, fixture};
use tracer_tests::tracer::Tracer;

pub struct Scene {
    pub tracer: Tracer,
    pub netns: Netns,
    /// Files that the tracer was given.
    pub files: TempDir,
}

impl Scene {
    /// A tracer without arguments, and a network namespace.
    pub fn new() -> Self {
        Self::with(&[] as &[&str])
    }

    pub fn with<S: AsRef<OsStr>>(arguments: &[S]) -> Self {
        Self::with_files(TempDir::new(), arguments)
    }

    pub fn with_files<S: AsRef<OsStr>>(files: TempDir, arguments: &[S]) -> Self {
        Self { netns: Netns::new().unwrap(), tracer: Tracer::start(arguments), files }
    }

    /// With the package files of an Android 15 device.
    pub fn android() -> Self {
        let files = TempDir::new();
        fixture::android_15(&files);
        let root = files.path().as_os_str().to_owned();
        Self::with_files(files, &["--android-root".as_ref(), root.as_os_str()])
    }

    /// An actor in this network; steps are separated by blanks.
    pub fn actor(&self, steps: &str) -> Actor {
        Actor::start(&self.netns, steps.split_whitespace())
    }

    /// An actor that does all its steps, with one report among them, and ends.
    pub fn act(&self, steps: &str) -> Report {
        let mut actor = self.actor(steps);
        let report = actor.report();
        actor.done();
        report
    }

    /// An actor that listens, and then does `steps`.
    pub fn listen(&self, at: &str, steps: &str) -> Listener {
        Listener::start(&self.netns, "", at, 64, steps)
    }

    /// A server that takes one connection after the other, reads each to its end, and closes it.
    pub fn server(&self, at: &str) -> Listener {
        self.listen(at, "serve")
    }

    pub fn expect(&self, report: &Report, action: &str) -> Value {
        self.tracer.expect_flow(report.cookie(), action)
    }

    /// Waits for the first record of this action in this network.
    pub fn expect_here(&self, wanted: &str) -> Value {
        let inode = self.netns.inode();
        self.tracer.expect(&format!("{wanted} in the network namespace {inode}"), |record| {
            action(record) == wanted && number(record, "flow.netns") == Some(inode)
        })
    }

    /// Waits for the record of this action about a UDP flow in this network whose socket has this local port.
    pub fn expect_udp(&self, port: u16, wanted: &str) -> Value {
        let inode = self.netns.inode();
        self.tracer.expect(&format!("{wanted} of the UDP socket on port {port}"), |record| {
            action(record) == wanted && number(record, "flow.netns") == Some(inode) && is_udp_of(record, port)
        })
    }

    /// Records about connections in this network so far.
    pub fn records_here(&self) -> Vec<Value> {
        let mut records = self.tracer.so_far();
        records.retain(|record| number(record, "flow.netns") == Some(self.netns.inode()));
        records
    }

    pub fn stop(self) -> Stream {
        self.tracer.stop()
    }
}

/// Whether the record is about a UDP flow whose socket has this local port.
pub fn is_udp_of(record: &Value, port: u16) -> bool {
    let local = if text(record, "network.direction") == "ingress" { "destination" } else { "source" };
    text(record, "network.transport") == "udp"
        && number(record, &format!("{local}.port")) == Some(u64::from(port))
}

/// An actor that listens.
pub struct Listener {
    pub actor: Actor,
    pub listening: Report,
}

impl Listener {
    /// Starts an actor that does `before`, listens, and goes on with `after`; the port is open when this returns.
    pub fn start(netns: &Netns, before: &str, at: &str, backlog: u32, after: &str) -> Self {
        let family = if at.starts_with('[') { 6 } else { 4 };
        let steps = format!("{before} socket={family} bind={at} listen={backlog} wait {after}");
        let mut actor = Actor::start(netns, steps.split_whitespace());
        let listening = actor.report();
        actor.go();
        Self { actor, listening }
    }
}

/// Waits until something holds that no record tells of.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `tracer snapshot` to its end.
pub fn snapshot(arguments: &[&str]) -> String {
    let mut command = Command::new(programs::tracer());
    let output = command.arg("snapshot").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
