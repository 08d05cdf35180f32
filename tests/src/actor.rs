//! Runs the actor (`src/bin/actor.rs`) inside a network namespace.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

use crate::DEADLINE;
use crate::netns::Netns;
use crate::record;
use crate::scenario::{self, Scenario};

/// One actor. It is killed when the value is dropped.
pub struct Actor {
    child: Child,
    stdin: Option<ChildStdin>,
    reports: Receiver<Value>,
}

impl Actor {
    /// Starts an actor with these steps. Where the tracer cannot ask for the cookies of sockets, the actor asks early for
    /// those that it connects with, so that a test can tell by them which record is about which socket.
    pub fn start<S: AsRef<OsStr>>(netns: &Netns, steps: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(crate::programs::actor());
        if scenario::current() == Scenario::NoSockOps {
            command.env("TRACER_EARLY_COOKIES", "1");
        }
        Self::spawn(netns, command, steps)
    }

    /// As [`Self::start`]; nobody asks for a cookie, as with ordinary programs.
    pub fn start_ordinary<S: AsRef<OsStr>>(netns: &Netns, steps: impl IntoIterator<Item = S>) -> Self {
        Self::spawn(netns, Command::new(crate::programs::actor()), steps)
    }

    fn spawn<S: AsRef<OsStr>>(
        netns: &Netns,
        mut command: Command,
        steps: impl IntoIterator<Item = S>,
    ) -> Self {
        command.args(steps).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = netns.enter(|| command.spawn()).expect("the actor can be started");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (send, reports) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let report = serde_json::from_str(&line).unwrap_or_else(|_| panic!("actor said {line:?}"));
                remember_ports(&report);
                if send.send(report).is_err() {
                    break;
                }
            }
        });
        Self { child, stdin, reports }
    }

    /// The next report.
    pub fn report(&mut self) -> Report {
        self.report_within(DEADLINE)
    }

    /// The next report, which may take that long.
    pub fn report_within(&mut self, limit: Duration) -> Report {
        match self.reports.recv_timeout(limit) {
            Ok(value) => Report(value),
            Err(RecvTimeoutError::Timeout) => panic!("the actor reported nothing within {limit:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let mut reason = String::new();
                if let Some(stderr) = &mut self.child.stderr {
                    let _ = stderr.read_to_string(&mut reason);
                }
                panic!("the actor ended without a report: {reason}")
            }
        }
    }

    /// Lets an actor that waits go on.
    pub fn go(&mut self) -> &mut Self {
        let stdin = self.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(b"\n").expect("the actor reads its standard input");
        self
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child can be waited for")
    }

    /// Waits for the end, which must be a good one. Every step has been done then.
    pub fn done(&mut self) {
        let status = self.wait();
        let mut reason = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut reason);
        }
        assert!(status.success(), "actor: {status}: {reason}");
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the tracer cannot ask for cookies, a socket that was accepted is known by its ports.
fn remember_ports(report: &Value) {
    let number = |name| report.get(name).and_then(Value::as_u64);
    let (Some(cookie), Some(port), Some(peer)) = (number("cookie"), number("port"), number("peer_port"))
    else {
        return;
    };
    if scenario::current() == Scenario::NoSockOps && peer != 0 {
        record::know_by_ports(cookie, port, peer);
    }
}

/// What an actor said about itself and its socket.
#[derive(Clone, Debug)]
pub struct Report(pub Value);

impl Report {
    /// A number; panics when the actor did not give it.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.get("cookie")
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        u16::try_from(self.get("port")).expect("a port fits 16 bits")
    }

    /// What the network said last, a positive errno or 0.
    #[must_use]
    pub fn errno(&self) -> i32 {
        i32::try_from(self.get("errno")).expect("an errno fits")
    }
}
