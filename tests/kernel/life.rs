//! How a connection begins and ends.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tracer_tests::actor::Report;
use tracer_tests::capture::Capture;
use tracer_tests::netns::Netns;
use tracer_tests::record::{at, number, text};
use tracer_tests::{live, netlink, raw};

use crate::scene::{Listener, Scene};

const SERVER: &str = "203.0.113.7:5000";

/// A connection that never came to be: `connect`, then `failed`, and nothing else.
fn check_failed(scene: Scene, report: &Report, end: &str, code: Option<&str>) -> Value {
    let failed = scene.expect(report, "failed");
    assert_eq!(text(&failed, "flow.end"), end);
    assert_eq!(text(&failed, "event.outcome"), "failure");
    assert_eq!(at(&failed, "error.code").as_str(), code);
    assert!(at(&failed, "event.duration").is_u64(), "{failed}");
    let stream = scene.stop();
    assert_eq!(stream.actions(report.cookie()), ["connect", "failed"]);
    failed
}

/// A listener whose queue is full, so that it answers no further SYN.
fn deaf_listener(scene: &Scene) -> (Listener, tracer_tests::actor::Actor) {
    let listener = Listener::start(&scene.netns, "", SERVER, 0, "wait");
    let mut filler = scene.actor("socket=4 connect=203.0.113.7:5000 wait");
    assert_eq!(filler.report().errno(), 0);
    (listener, filler)
}

#[test]
fn a_refused_connect_is_refused() {
    let _turn = live!();
    let scene = Scene::new();
    let report = scene.act("socket=4 connect=203.0.113.7:5000 tell");
    assert_eq!(report.errno(), libc::ECONNREFUSED);
    let record = scene.expect(&report, "connect");
    assert_eq!(text(&record, "event.outcome"), "unknown");
    let failed = check_failed(scene, &report, "refused", Some("ECONNREFUSED"));
    assert_eq!(text(&failed, "flow.end_by"), "remote");
}

#[test]
fn a_refused_ipv6_connect_is_refused() {
    let _turn = live!();
    let scene = Scene::new();
    let report = scene.act("socket=6 connect=[2001:db8::7]:5000 tell");
    assert_eq!(report.errno(), libc::ECONNREFUSED);
    check_failed(scene, &report, "refused", Some("ECONNREFUSED"));
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    let _turn = live!();
    let scene = Scene::new();
    let _deaf = deaf_listener(&scene);
    let capture = Capture::start(&scene.netns).unwrap();
    let report = scene.act("socket=4 syncnt=1 connect=203.0.113.7:5000 tell");
    assert_eq!(report.errno(), libc::ETIMEDOUT);
    let failed = check_failed(scene, &report, "timed_out", Some("ETIMEDOUT"));
    let frames = capture.frames().unwrap();
    let sent = frames.iter().filter(|frame| frame.source.1 == report.port()).count() as u64;
    assert!(sent > 1, "the SYN was sent again: {frames:?}");
    assert_eq!(number(&failed, "source.packets"), Some(sent));
    assert_eq!(number(&failed, "network.retransmits"), Some(sent - 1));
}

#[test]
fn a_connect_that_a_router_turns_down_is_unreachable() {
    let _turn = live!();
    let scene = Scene::new();
    let (here, router) = (Netns::empty().unwrap(), Netns::empty().unwrap());
    here.wire_to(&router).unwrap();
    here.enter(|| netlink::add_default_route("10.9.0.2".parse().unwrap())).unwrap();
    // A router without a way onward: it answers "net unreachable".
    router.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).unwrap();
    let mut actor = tracer_tests::actor::Actor::start(&here, ["socket=4", "connect=192.0.2.55:443", "tell"]);
    let report = actor.report();
    assert_eq!(report.errno(), libc::ENETUNREACH);
    check_failed(scene, &report, "unreachable", Some("ENETUNREACH"));
}

#[test]
fn a_connect_to_a_host_that_does_not_answer_arp_is_unreachable() {
    let _turn = live!();
    let scene = Scene::new();
    let (here, router) = (Netns::empty().unwrap(), Netns::empty().unwrap());
    here.wire_to(&router).unwrap();
    // 10.9.0.0/29 on the wire, and nobody has 10.9.0.5.
    here.enter(|| netlink::add_address("wire", "10.9.0.6".parse().unwrap(), 29)).unwrap();
    let mut actor = tracer_tests::actor::Actor::start(&here, ["socket=4", "connect=10.9.0.5:443", "tell"]);
    let report = actor.report();
    assert_eq!(report.errno(), libc::EHOSTUNREACH);
    check_failed(scene, &report, "unreachable", Some("EHOSTUNREACH"));
}

#[test]
fn a_connect_that_is_reset_halfway_was_never_established() {
    let _turn = live!();
    let scene = Scene::new();
    let _deaf = deaf_listener(&scene);
    let mut actor = scene.actor("socket=4 nonblock connect=203.0.113.7:5000 wait outcome tell");
    let report = actor.report();
    // A SYN from the other end makes it a simultaneous open; the listener answers our SYN-ACK with a reset.
    let (client, server) = (("203.0.113.7", report.port()), ("203.0.113.7", 5000));
    scene.netns.enter(|| raw::send_syn(server, client)).unwrap();
    actor.go();
    assert_eq!(actor.report().errno(), libc::ECONNRESET);
    let failed = check_failed(scene, &report, "reset", Some("ECONNRESET"));
    assert_eq!(text(&failed, "flow.end_by"), "remote");
}

#[test]
fn a_connect_that_the_process_gives_up_is_aborted() {
    let _turn = live!();
    let scene = Scene::new();
    let _deaf = deaf_listener(&scene);
    let report = scene.act("socket=4 nonblock connect=203.0.113.7:5000 tell close");
    assert_eq!(report.errno(), libc::EINPROGRESS);
    let failed = check_failed(scene, &report, "aborted", None);
    assert_eq!(text(&failed, "flow.end_by"), "local");
}

#[test]
fn a_connect_whose_process_is_killed_is_aborted() {
    let _turn = live!();
    let scene = Scene::new();
    let _deaf = deaf_listener(&scene);
    let mut actor = scene.actor("socket=4 nonblock connect=203.0.113.7:5000 wait");
    let report = actor.report();
    scene.expect(&report, "connect");
    kill_process(Pid::from_raw(actor.pid().try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    actor.wait();
    check_failed(scene, &report, "aborted", None);
}

#[test]
fn a_non_blocking_connect_is_established_when_it_is_and_not_before() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server(SERVER);
    let report = scene.act("socket=4 nonblock connect=203.0.113.7:5000 outcome tell close");
    assert_eq!(report.errno(), 0);
    assert_eq!(text(&scene.expect(&report, "connect"), "event.outcome"), "unknown");
    assert_eq!(text(&scene.expect(&report, "established"), "event.outcome"), "success");
    scene.expect(&report, "close");
    assert_eq!(scene.stop().actions(report.cookie()), ["connect", "established", "close"]);
}

#[test]
fn a_non_blocking_connect_that_is_refused_is_never_called_a_success() {
    let _turn = live!();
    let scene = Scene::new();
    let report = scene.act("socket=4 nonblock connect=203.0.113.7:5000 outcome tell");
    assert_eq!(report.errno(), libc::ECONNREFUSED);
    check_failed(scene, &report, "refused", Some("ECONNREFUSED"));
}

/// Runs both ends of one connection; `(end, end_by)` of the client's and of the server's record, and error codes.
fn ends(client: &str, server: &str) -> [(String, String, String); 2] {
    let scene = Scene::new();
    let mut listener = scene.listen(SERVER, &format!("accept tell {server}"));
    let client = scene.act(&format!("socket=4 connect=203.0.113.7:5000 tell {client}"));
    let server = listener.actor.report();
    listener.actor.done();
    let result = [&client, &server].map(|report| {
        let record = scene.expect(report, "close");
        let field = |path| text(&record, path).to_owned();
        (field("flow.end"), field("flow.end_by"), field("error.code"))
    });
    let stream = scene.stop();
    assert_eq!(stream.actions(client.cookie()), ["connect", "established", "close"]);
    assert_eq!(stream.actions(server.cookie()), ["accept", "close"]);
    result
}

fn triple(end: &str, by: &str, code: &str) -> (String, String, String) {
    (end.to_owned(), by.to_owned(), code.to_owned())
}

#[test]
fn the_side_that_closes_first_is_named() {
    let _turn = live!();
    assert_eq!(ends("close", "eof close"), [triple("closed", "local", ""), triple("closed", "remote", "")]);
    assert_eq!(ends("eof close", "close"), [triple("closed", "remote", ""), triple("closed", "local", "")]);
}

#[test]
fn a_process_that_exits_closes_its_connections() {
    let _turn = live!();
    assert_eq!(ends("exit", "eof close"), [triple("closed", "local", ""), triple("closed", "remote", "")]);
}

#[test]
fn a_reset_is_a_reset_on_both_sides() {
    let _turn = live!();
    let reset = [triple("reset", "local", ""), triple("reset", "remote", "ECONNRESET")];
    assert_eq!(ends("linger0 close", "eof close"), reset, "by the client, with SO_LINGER 0");
    assert_eq!(ends("readable close", "send=5 eof close"), reset, "by the client, with data unread");
    let [client, server] = reset;
    assert_eq!(ends("eof close", "linger0 close"), [server.clone(), client.clone()], "by the server");
    assert_eq!(
        ends("send=5 eof close", "readable close"),
        [server, client],
        "by the server, with data unread"
    );
}

#[test]
fn a_peer_that_falls_silent_ends_a_connection_as_timed_out() {
    let _turn = live!();
    let scene = Scene::new();
    let (here, there) = (Netns::empty().unwrap(), Netns::empty().unwrap());
    here.wire_to(&there).unwrap();
    let _listener = Listener::start(&there, "", "10.9.0.2:5000", 8, "accept wait");
    let steps = ["socket=4", "user-timeout=300", "connect=10.9.0.2:5000", "wait", "send=5", "eof", "tell"];
    let mut actor = tracer_tests::actor::Actor::start(&here, steps);
    let report = actor.report();
    assert_eq!(report.errno(), 0);
    there.enter(|| netlink::delete_address("wire", "10.9.0.2".parse().unwrap(), 30)).unwrap();
    actor.go();
    assert_eq!(actor.report().errno(), libc::ETIMEDOUT);
    let close = scene.expect(&report, "close");
    assert_eq!((text(&close, "flow.end"), text(&close, "error.code")), ("timed_out", "ETIMEDOUT"));
    assert_eq!(text(&close, "event.outcome"), "failure");
    assert_eq!(number(&close, "source.bytes"), Some(0), "nothing was acknowledged");
    scene.stop();
}

#[test]
fn a_full_table_gives_up_the_longest_silent_flow_and_says_so() {
    let _turn = live!(alone);
    let scene = Scene::with(&["--max-flows", "1"]);
    let _server = scene.listen(SERVER, "wait");
    let mut first = scene.actor("socket=4 connect=203.0.113.7:5000 wait close");
    let flow = first.report();
    let mut second = scene.actor("socket=4 connect=203.0.113.7:5000 wait close");
    second.report();
    let evicted = scene.expect(&flow, "close");
    assert_eq!(text(&evicted, "flow.end"), "evicted");
    assert_eq!(text(&evicted, "event.outcome"), "unknown");
    scene.stop();
}
