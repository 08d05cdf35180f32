//! The ledger of a live tracer: what it kept survives `kill -9`, and a connection over that is one connection.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::actor::Actor;
use tracer_tests::live;
use tracer_tests::netns::Netns;
use tracer_tests::programs;
use tracer_tests::record::{action, is_flow, number};
use tracer_tests::temp::TempDir;
use tracer_tests::tracer::Tracer;

use crate::scene::{Listener, wait_until};

/// Asks a ledger for its destinations on the port of this test; empty while there is none.
fn booked(ledger: &Path) -> Vec<Value> {
    let mut command = Command::new(programs::tracer());
    command.args(["ledger", "destination", "--json", "--ledger"]).arg(ledger);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["port"] == 5010 && line["direction"] == "egress").collect()
}

fn start(ledger: &str) -> Tracer {
    Tracer::start(["--sample", "200ms", "--ledger", ledger, "--ledger-every", "50ms"])
}

#[test]
fn a_connection_over_a_killed_tracer_is_booked_once_with_all_its_bytes() {
    let _turn = live!();
    let directory = TempDir::new();
    let ledger = directory.path().join("tracer.db");
    let path = ledger.to_str().unwrap();
    let netns = Netns::new().unwrap();
    let tracer = start(path);
    let mut listener = Listener::start(
        &netns,
        "uid=10123",
        "203.0.113.7:5010",
        8,
        "accept recv=1000 tell recv=500 tell eof close",
    );
    let steps = "uid=10124 socket=4 connect=203.0.113.7:5010 send=1000 tell wait send=500 wait close";
    let mut actor = Actor::start(&netns, steps.split_whitespace());
    let client = actor.report();
    listener.actor.report();
    actor.report();
    tracer.expect("a sample with all that was sent", |record| {
        is_flow(record, client.cookie())
            && action(record) == "sample"
            && number(record, "source.bytes") == Some(1000)
    });
    wait_until("the ledger has it", || booked(&ledger).iter().any(|line| line["sent"] == 1000));
    tracer.signal(Signal::KILL);
    drop(tracer);
    // Nobody watches.
    actor.go();
    listener.actor.report();
    let tracer = start(path);
    tracer.expect_flow(client.cookie(), "existing");
    wait_until("the ledger has what was sent meanwhile", || booked(&ledger)[0]["sent"] == 1500);
    actor.report();
    actor.go();
    tracer.expect_flow(client.cookie(), "close");
    let stream = tracer.stop();
    let stop = stream.records.last().unwrap();
    assert_eq!(stop["tracer"]["ledger"]["path"], path, "{stop}");
    let last = stop["seq"].as_u64().unwrap();
    let reached = stop["tracer"]["ledger"]["booked_seq"].as_u64().unwrap();
    assert!(reached > 1 && reached < last, "{stop}");
    let lines = booked(&ledger);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!((&lines[0]["connections"], &lines[0]["sent"]), (&1.into(), &1500.into()), "{lines:?}");
}
