//! A tracer, and a network of its own for each test.

use serde_json::Value;
use tracer_tests::actor::{Actor, Report};
use tracer_tests::netns::Netns;
use tracer_tests::stream::Stream;
use tracer_tests::tracer::Tracer;

pub struct Scene {
    pub tracer: Tracer,
    pub netns: Netns,
}

impl Scene {
    /// A tracer with these arguments (separated by blanks) and a network namespace.
    pub fn new(arguments: &str) -> Self {
        Self::with(arguments.split_whitespace())
    }

    pub fn with<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self { netns: Netns::new().unwrap(), tracer: Tracer::start(arguments) }
    }

    /// An actor in this network; steps are separated by blanks.
    pub fn actor(&self, steps: &str) -> Actor {
        Actor::start(&self.netns, steps.split_whitespace())
    }

    /// An actor that does all its steps and ends; its last report.
    pub fn act(&self, steps: &str) -> Report {
        let mut actor = self.actor(steps);
        let report = actor.report();
        actor.done();
        report
    }

    /// A server that takes one connection after the other, reads each to its end, and closes it.
    pub fn server(&self, at: &str) -> Server {
        let family = if at.starts_with('[') { 6 } else { 4 };
        Server::start(&self.netns, &format!("socket={family} bind={at} listen=64 wait serve"))
    }

    pub fn expect(&self, report: &Report, action: &str) -> Value {
        self.tracer.expect_flow(report.cookie(), action)
    }

    pub fn stop(self) -> Stream {
        self.tracer.stop()
    }
}

/// A listening actor.
pub struct Server {
    pub actor: Actor,
    pub listening: Report,
}

impl Server {
    /// Starts an actor whose steps hold exactly one `wait`, right after `listen`; it goes on at once.
    pub fn start(netns: &Netns, steps: &str) -> Self {
        let mut actor = Actor::start(netns, steps.split_whitespace());
        let listening = actor.report();
        actor.go();
        Self { actor, listening }
    }
}
