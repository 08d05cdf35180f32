//! TCP where the kernel refuses `sock_ops` programs: changes of state at a tracepoint, and else the list of sockets.

use std::collections::BTreeSet;

use serde_json::Value;
use tracer_tests::actor::Actor;
use tracer_tests::live;
use tracer_tests::record::{action, at, number, text};

use crate::scene::{Scene, wait_until};

const WITHOUT: [&str; 4] = ["--hooks", "no-sock_ops", "--sample", "1s"];

fn tier<'a>(start: &'a Value, capability: &str) -> &'a Value {
    let capabilities = at(start, "tracer.capabilities").as_array().unwrap();
    capabilities.iter().find(|of| text(of, "capability") == capability).unwrap()
}

/// Records of this network about the side with this uid.
fn of_uid(scene: &Scene, uid: &str) -> Vec<Value> {
    let mut records = scene.records_here();
    records.retain(|record| text(record, "user.id") == uid);
    records
}

/// Waits for a record of this action about the side with this uid in this network.
fn expect_of_uid(scene: &Scene, uid: &str, wanted: &str) -> Value {
    let inode = Some(scene.netns.inode());
    scene.tracer.expect(&format!("{wanted} of uid {uid}"), |record| {
        action(record) == wanted && text(record, "user.id") == uid && number(record, "flow.netns") == inode
    })
}

fn actions(records: &[Value]) -> Vec<&str> {
    records.iter().map(action).collect()
}

#[test]
fn the_tracepoint_tells_of_a_connection_from_its_connect_to_its_end() {
    let _turn = live!();
    let scene = Scene::with(&WITHOUT);
    let _server = scene.server("203.0.113.7:5000");
    let steps = "uid=10123 socket=4 connect=203.0.113.7:5000 send=1000 tell close";
    let mut client = Actor::start_ordinary(&scene.netns, steps.split_whitespace());
    let port = client.report().port();
    client.done();
    wait_until("both ends are told of", || {
        let records = scene.records_here();
        records.iter().filter(|record| action(record) == "close").count() == 2
    });
    let records = of_uid(&scene, "10123");
    assert_eq!(actions(&records), ["connect", "established", "close"]);
    let ids: BTreeSet<_> = records.iter().map(|record| text(record, "flow.id")).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    for record in &records {
        assert_eq!(number(record, "process.pid"), Some(u64::from(client.pid())), "{record}");
        assert_eq!(text(record, "attribution.method"), "inet_sock_set_state");
        assert_eq!(text(record, "attribution.confidence"), "certain");
        assert_eq!(number(record, "destination.port"), Some(5000));
    }
    // The kernel decides it after the moment that is watched.
    assert_eq!(at(&records[0], "source.port"), &Value::Null);
    assert_eq!(at(&records[0], "network.community_id"), &Value::Null);
    for record in &records[1..] {
        assert_eq!(number(record, "source.port"), Some(u64::from(port)));
        assert!(!at(record, "network.community_id").is_null());
        assert!(number(record, "network.rtt_us").is_some(), "{record}");
    }
    assert_eq!(number(&records[2], "source.bytes"), Some(1000));

    let stream = scene.stop();
    let accept = stream.records.iter().find(|record| action(record) == "accept").unwrap();
    assert_eq!(text(accept, "network.direction"), "ingress");
    assert_eq!(text(accept, "attribution.process"), "listen");
    let tcp = tier(&stream.records[0], "tcp_connections");
    assert_eq!(text(tcp, "tier"), "inet_sock_set_state");
    assert_eq!(text(&tcp["refused"][0], "tier"), "sock_ops");
}

#[test]
fn a_refused_connect_at_the_tracepoint_has_its_port_and_its_error() {
    let _turn = live!();
    let scene = Scene::with(&WITHOUT);
    let steps = "uid=10123 socket=4 connect=203.0.113.7:5000 tell close";
    let mut client = Actor::start_ordinary(&scene.netns, steps.split_whitespace());
    client.report();
    client.done();
    let failed = scene.expect_here("failed");
    assert_eq!(
        (text(&failed, "flow.end"), text(&failed, "error.code")),
        ("refused", "ECONNREFUSED"),
        "{failed}"
    );
    assert!(number(&failed, "source.port").is_some(), "{failed}");
    assert_eq!(actions(&of_uid(&scene, "10123")), ["connect", "failed"]);
    scene.stop();
}

/// The list of sockets knows them by their cookies, the programs by numbers of their own.
#[test]
fn open_connections_are_found_again_in_the_list_of_sockets_and_told_once() {
    let _turn = live!();
    let scene = Scene::with(&WITHOUT);
    let _server = scene.listen("203.0.113.7:5000", "accept wait");
    let steps = "uid=10123 socket=4 connect=203.0.113.7:5000 wait send=1000 wait close";
    let mut client = Actor::start_ordinary(&scene.netns, steps.split_whitespace());
    client.report();
    scene.expect_here("accept");
    client.go();
    client.report();
    // Only a look at the list tells of what it moved.
    let sample = expect_of_uid(&scene, "10123", "sample");
    assert_eq!(number(&sample, "source.bytes"), Some(1000), "{sample}");
    client.go().done();
    expect_of_uid(&scene, "10123", "close");
    assert_eq!(actions(&of_uid(&scene, "10123")), ["connect", "established", "sample", "close"]);
    let records = scene.records_here();
    assert!(records.iter().all(|record| action(record) != "existing"), "{:?}", actions(&records));
    scene.stop();
}

#[test]
fn without_any_hook_for_tcp_the_list_of_sockets_tells_what_it_can() {
    let _turn = live!();
    let scene = Scene::with(&["--hooks", "no-sock_ops,no-tracepoint", "--sample", "1s"]);
    let _server = scene.server("203.0.113.7:5000");
    let steps = "uid=10123 socket=4 connect=203.0.113.7:5000 wait close";
    let mut client = Actor::start_ordinary(&scene.netns, steps.split_whitespace());
    let port = client.report().port();
    let existing = expect_of_uid(&scene, "10123", "existing");
    assert_eq!(number(&existing, "source.port"), Some(u64::from(port)));
    assert_eq!(number(&existing, "destination.port"), Some(5000));
    assert_eq!(number(&existing, "process.pid"), Some(u64::from(client.pid())));
    assert_eq!(text(&existing, "attribution.method"), "sock_diag");
    client.go().done();
    let close = expect_of_uid(&scene, "10123", "close");
    assert_eq!(text(&close, "flow.end"), "unseen");
    let stream = scene.stop();
    let tcp = tier(&stream.records[0], "tcp_connections");
    assert_eq!(text(tcp, "tier"), "sock_diag");
    let refused: Vec<_> = tcp["refused"].as_array().unwrap().iter().map(|of| text(of, "tier")).collect();
    assert_eq!(refused, ["sock_ops", "inet_sock_set_state"]);
    assert!(!tcp["limits"].as_array().unwrap().is_empty());
}
