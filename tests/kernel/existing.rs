//! Connections that were open before the tracer started: found, sampled while they grow, and seen to end.

use std::collections::HashSet;

use serde_json::Value;
use tracer_tests::actor::{Actor, Report};
use tracer_tests::netns::Netns;
use tracer_tests::record::{action, at, is_flow, number, text};
use tracer_tests::tracer::Tracer;
use tracer_tests::{live, netlink, scenario, schema};

use crate::scene::{Listener, Scene, snapshot, wait_until};

/// A connection in a network of its own, and a tracer that started later.
struct Late {
    tracer: Tracer,
    listener: Listener,
    actor: Actor,
    /// Both ends.
    client: Report,
    server: Report,
    netns: Netns,
}

impl Late {
    /// The client sends 1000 bytes before the start; then both do their steps. Each `wait` is one [`Self::go`].
    fn new(client: &str, server: &str) -> Self {
        let netns = Netns::new().unwrap();
        // As on a real wire.
        netns.enter(|| netlink::set_mtu("lo", 1500)).unwrap();
        let server = format!("accept recv=1000 tell wait {server}");
        let mut listener = Listener::start(&netns, "uid=10123", "203.0.113.7:5000", 8, &server);
        let steps = format!("uid=1010140 socket=4 connect=203.0.113.7:5000 send=1000 tell wait {client}");
        let mut actor = Actor::start(&netns, steps.split_whitespace());
        let (client, server) = (actor.report(), listener.actor.report());
        actor.report();
        listener.actor.report();
        let tracer = Tracer::start(["--sample", "200ms"]);
        Self { tracer, listener, actor, client, server, netns }
    }

    fn existing(&self, end: &Report) -> Value {
        self.tracer.expect_flow(end.cookie(), "existing")
    }
}

fn bytes(record: &Value) -> (Option<u64>, Option<u64>) {
    (number(record, "source.bytes"), number(record, "destination.bytes"))
}

#[test]
fn a_connection_from_before_the_start_has_owner_process_direction_and_bytes() {
    let _turn = live!();
    let late = Late::new("close", "eof close");
    for (end, direction, uid) in [(&late.client, "egress", "1010140"), (&late.server, "ingress", "10123")] {
        let record = late.existing(end);
        assert_eq!(text(&record, "network.direction"), direction, "{record}");
        assert_eq!(text(&record, "user.id"), uid, "{record}");
        assert_eq!(number(&record, "process.pid"), Some(end.get("pid")), "{record}");
        assert!(text(&record, "process.executable").ends_with("actor"), "{record}");
        assert_eq!(number(&record, "source.port"), Some(u64::from(late.client.port())), "{record}");
        assert_eq!(number(&record, "destination.port"), Some(5000), "{record}");
        assert_eq!(number(&record, "flow.netns"), Some(late.netns.inode()), "{record}");
        assert_eq!(bytes(&record), (Some(1000), Some(0)), "{record}");
        assert!(at(&record, "flow.age_ms").is_null(), "nobody saw when it was opened: {record}");
        assert_eq!(text(&record, "attribution.method"), "sock_diag", "{record}");
        assert_eq!(text(&record, "attribution.process"), "holder", "{record}");
    }
    late.tracer.stop();
}

#[test]
fn what_it_moves_is_sampled_and_its_end_is_seen_with_exact_bytes() {
    let _turn = live!();
    let mut late = Late::new("send=500 wait shut eof close", "recv=500 send=20 wait eof close");
    late.existing(&late.client);
    late.existing(&late.server);
    late.listener.actor.go();
    late.actor.go();
    for end in [&late.client, &late.server] {
        late.tracer.expect("a sample with all that was moved", |record| {
            is_flow(record, end.cookie())
                && action(record) == "sample"
                && bytes(record) == (Some(1500), Some(20))
        });
    }
    late.actor.report();
    late.listener.actor.report();
    late.listener.actor.go();
    late.actor.go();
    for (end, by) in [(&late.client, "local"), (&late.server, "remote")] {
        let record = late.tracer.expect_flow(end.cookie(), "close");
        assert_eq!((text(&record, "flow.end"), text(&record, "flow.end_by")), ("closed", by), "{record}");
        assert_eq!(bytes(&record), (Some(1500), Some(20)), "{record}");
    }
    let stream = late.tracer.stop();
    // One sample for each step of growth, not one for each look.
    let samples = |end: &Report| {
        let is_sample = |record: &&Value| is_flow(record, end.cookie()) && action(record) == "sample";
        stream.records.iter().filter(is_sample).count()
    };
    for end in [&late.client, &late.server] {
        assert!((1..=3).contains(&samples(end)), "{} samples", samples(end));
    }
}

#[test]
fn a_listener_from_before_the_start_gives_its_connections_a_process() {
    let _turn = live!();
    let netns = Netns::new().unwrap();
    // It lives until the tracer has looked for it.
    let steps = "accept tell wait eof close";
    let mut listener = Listener::start(&netns, "uid=10123", "203.0.113.7:5000", 8, steps);
    let tracer = Tracer::start([] as [&str; 0]);
    let steps = "socket=4 connect=203.0.113.7:5000 tell close";
    let mut actor = Actor::start(&netns, steps.split_whitespace());
    actor.report();
    let server = listener.actor.report();
    let record = tracer.expect_flow(server.cookie(), "accept");
    assert_eq!(number(&record, "process.pid"), Some(server.get("pid")), "{record}");
    assert_eq!(text(&record, "attribution.process"), "holder", "{record}");
    assert_eq!(text(&record, "attribution.method"), scenario::tcp_method(), "{record}");
    actor.done();
    listener.actor.report();
    listener.actor.go();
    listener.actor.done();
    tracer.stop();
}

#[test]
fn a_connection_that_several_processes_hold_lists_them_and_picks_none() {
    let _turn = live!();
    let netns = Netns::new().unwrap();
    let mut listener = Listener::start(&netns, "", "203.0.113.7:5000", 8, "accept tell eof close");
    let steps = "socket=4 connect=203.0.113.7:5000 tell share wait close";
    let mut actor = Actor::start(&netns, steps.split_whitespace());
    let client = actor.report();
    listener.actor.report();
    actor.report();
    let tracer = Tracer::start([] as [&str; 0]);
    let record = tracer.expect_flow(client.cookie(), "existing");
    assert!(at(&record, "process").is_null(), "{record}");
    assert_eq!(text(&record, "user.id"), "0", "{record}");
    assert_eq!(text(&record, "attribution.confidence"), "candidates", "{record}");
    let candidates = at(&record, "attribution.candidates").as_array().unwrap();
    let pids: Vec<_> = candidates.iter().map(|one| at(one, "pid").as_u64().unwrap()).collect();
    assert_eq!(pids.len(), 2, "{record}");
    assert!(pids.contains(&u64::from(actor.pid())), "{record}");
    assert!(candidates.iter().all(|one| text(one, "name") == "actor"), "{record}");
    tracer.stop();
}

#[test]
fn loopback_connections_from_before_the_start_are_counted() {
    let _turn = live!();
    let netns = Netns::new().unwrap();
    let mut listener = Listener::start(&netns, "", "127.0.0.1:5000", 8, "accept tell eof close");
    let steps = "socket=4 connect=127.0.0.1:5000 tell wait close";
    let mut actor = Actor::start(&netns, steps.split_whitespace());
    let client = actor.report();
    listener.actor.report();
    actor.report();
    let tracer = Tracer::start([] as [&str; 0]);
    let shown = Tracer::start(["--include-loopback"]);
    shown.expect_flow(client.cookie(), "existing");
    shown.stop();
    actor.go();
    actor.done();
    listener.actor.done();
    let stream = tracer.stop();
    assert!(stream.records.iter().all(|record| !is_flow(record, client.cookie())));
    assert!(stream.counts("totals.loopback")["existing"] >= 2);
}

/// The ring holds some thirty events: most beginnings are lost, and the kernel's list brings the connections back.
#[test]
fn connections_whose_beginning_was_lost_are_found_again() {
    const CONNECTIONS: usize = 100;
    let _turn = live!();
    let scene = Scene::with(&["--ring-size", "4"]);
    let listener = Listener::start(&scene.netns, "", "203.0.113.7:5000", 200, "wait");
    let each = "socket=4 connect=203.0.113.7:5000 keep";
    let steps = format!("{}socket=4 wait", format!("{each} ").repeat(CONNECTIONS));
    scene.tracer.freeze();
    let mut actor = scene.actor(&steps);
    actor.report();
    scene.tracer.thaw();

    let told = || {
        let records = scene.records_here();
        let begins = |record: &&Value| matches!(action(record), "connect" | "accept" | "existing");
        let ids: HashSet<String> =
            records.iter().filter(begins).map(|record| text(record, "flow.id").to_owned()).collect();
        ids.len()
    };
    wait_until("both ends of every connection are in the stream", || told() == 2 * CONNECTIONS);
    let lost = scene.tracer.expect("a loss", |record| action(record) == "loss");
    assert!(!at(&lost, "tracer.lost.kernel").is_null(), "{lost}");
    drop(listener);
    drop(actor);
    scene.stop();
}

#[test]
fn a_snapshot_lists_connections_and_listeners_of_every_network_namespace() {
    let _turn = live!();
    let netns = Netns::new().unwrap();
    let mut listener = Listener::start(&netns, "uid=10123", "203.0.113.7:5000", 8, "accept tell wait");
    let steps = "uid=1010140 socket=4 connect=203.0.113.7:5000 tell send=700 wait";
    let mut actor = Actor::start(&netns, steps.split_whitespace());
    let (client, server) = (actor.report(), listener.actor.report());
    actor.report();
    listener.actor.report();

    let records: Vec<Value> =
        snapshot(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |end: &Report, wanted: &str| {
        let fits = |record: &&Value| is_flow(record, end.cookie()) && action(record) == wanted;
        let found = records.iter().find(fits).unwrap_or_else(|| panic!("no {wanted} of {:x}", end.cookie()));
        schema::check(found);
        found
    };
    let (sent, received) = (find(&client, "existing"), find(&server, "existing"));
    for (record, uid, pid) in [(sent, "1010140", client.get("pid")), (received, "10123", server.get("pid"))] {
        assert_eq!((text(record, "user.id"), number(record, "process.pid")), (uid, Some(pid)), "{record}");
        assert_eq!(bytes(record), (Some(700), Some(0)), "{record}");
    }
    let waiting = find(&listener.listening, "listening");
    assert_eq!((text(waiting, "user.id"), number(waiting, "destination.port")), ("10123", Some(5000)));
    assert!(at(waiting, "source").is_null() && at(waiting, "network.community_id").is_null(), "{waiting}");

    let table = snapshot(&[]);
    let heading = table.lines().next().unwrap();
    assert!(heading.contains("APP OR PROCESS") && heading.contains("REMOTE"), "{heading}");
    let row = table.lines().find(|row| row.contains(&format!("203.0.113.7:{}", client.port()))).unwrap();
    assert!(row.starts_with("tcp open") && row.contains("203.0.113.7:5000"), "{row}");
}
