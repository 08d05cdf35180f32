//! UDP: every datagram is counted to its socket and its peer, with owner, process, direction and exact bytes.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracer_tests::live;
use tracer_tests::netns::Netns;
use tracer_tests::record::{action, at, community_id, number, text};
use tracer_tests::temp::TempDir;
use tracer_tests::tracer::Tracer;

use crate::scene::{Scene, is_udp_of, wait_until};

/// Payload bytes and datagrams of a flow: (sent, datagrams sent, received, datagrams received) by its socket.
fn moved(record: &Value) -> (u64, u64, u64, u64) {
    let (local, remote) = match text(record, "network.direction") {
        "ingress" => ("destination", "source"),
        _ => ("source", "destination"),
    };
    let of = |end: &str, what: &str| number(record, &format!("{end}.{what}")).expect("figures");
    (of(local, "bytes"), of(local, "packets"), of(remote, "bytes"), of(remote, "packets"))
}

#[test]
fn a_question_and_its_answer_are_two_flows_with_exact_bytes() {
    let _turn = live!();
    let scene = Scene::android();
    let mut server = scene.actor("uid=10140 udp=4 bind=203.0.113.7:5300 wait answer close");
    server.report();
    server.go();
    let client = scene.act("uid=10123 udp=4 sendto=203.0.113.7:5300,33,1 recv=33 tell close");
    server.done();

    let connect = scene.expect_udp(client.port(), "connect");
    let close = scene.expect_udp(client.port(), "close");
    for record in [&connect, &close] {
        assert_eq!(at(record, "app.package"), &json!(["com.example.messenger"]));
        assert_eq!(number(record, "process.pid"), Some(client.get("pid")));
        assert_eq!(text(record, "network.direction"), "egress");
        assert_eq!(
            (text(record, "destination.ip"), number(record, "destination.port")),
            ("203.0.113.7", Some(5300))
        );
        assert_eq!(text(record, "flow.id"), text(&connect, "flow.id"));
        assert_eq!(text(record, "attribution.confidence"), "certain");
        let ip: IpAddr = "203.0.113.7".parse().unwrap();
        let id = community_id(17, (ip, client.port()), (ip, 5300));
        assert_eq!(text(record, "network.community_id"), id);
    }
    assert_eq!(text(&connect, "event.outcome"), "unknown");
    assert_eq!(moved(&close), (33, 1, 33, 1));
    assert_eq!((text(&close, "flow.end"), text(&close, "event.outcome")), ("closed", "success"));

    let accept = scene.expect_udp(5300, "accept");
    assert_eq!(at(&accept, "app.package"), &json!(["com.example.suite.calendar", "com.example.suite.mail"]));
    assert_eq!(number(&accept, "process.pid"), Some(u64::from(server.pid())));
    assert_eq!(number(&accept, "source.port"), Some(u64::from(client.port())));
    assert_eq!(moved(&scene.expect_udp(5300, "close")), (33, 1, 33, 1));
    scene.stop();
}

#[test]
fn connected_sockets_of_every_family_are_seen() {
    let _turn = live!();
    let scene = Scene::new();
    let mut server = scene.actor("udp=6 dual bind=[::]:5300 wait echo");
    server.report();
    server.go();
    for (family, to, ip, kind) in [
        ("4", "203.0.113.7:5300", "203.0.113.7", "ipv4"),
        ("6", "[2001:db8::7]:5300", "2001:db8::7", "ipv6"),
        ("6", "[::ffff:203.0.113.7]:5300", "203.0.113.7", "ipv4"),
    ] {
        let steps = format!("udp={family} connect={to} send=100 recv=100 send=20 recv=20 tell close");
        let client = scene.act(&steps);
        let close = scene.expect_udp(client.port(), "close");
        assert_eq!((text(&close, "destination.ip"), text(&close, "network.type")), (ip, kind));
        assert_eq!(moved(&close), (120, 2, 120, 2), "{to}");
    }
    scene.stop();
}

#[test]
fn a_connect_without_a_datagram_is_no_traffic() {
    let _turn = live!();
    let scene = Scene::new();
    // As Android's resolver asks which address it would send from.
    let probe = scene.act("udp=4 connect=203.0.113.7:443 tell close");
    let other = scene.act("udp=4 sendto=203.0.113.7:5301,9,1 tell close");
    scene.expect_udp(other.port(), "close");
    let about = |record: &&Value| is_udp_of(record, probe.port());
    assert_eq!(scene.records_here().iter().find(about), None);
    scene.stop();
}

#[test]
fn every_peer_of_a_socket_is_a_flow_of_its_own() {
    let _turn = live!();
    let scene = Scene::new();
    let steps = "udp=4 sendto=203.0.113.7:5301,10,1 sendto=203.0.113.7:5302,20,2 sendto=198.51.100.9:5301,30,3 \
                 tell close";
    let client = scene.act(steps);
    let mut ends: Vec<_> = ["203.0.113.7 5301", "203.0.113.7 5302", "198.51.100.9 5301"]
        .into_iter()
        .map(|peer| {
            let record = scene.tracer.expect(&format!("close of the flow to {peer}"), |record| {
                let to = format!(
                    "{} {}",
                    text(record, "destination.ip"),
                    number(record, "destination.port").unwrap_or_default()
                );
                action(record) == "close" && is_udp_of(record, client.port()) && to == peer
            });
            assert_eq!(text(&record, "flow.end"), "closed");
            let (sent, datagrams, ..) = moved(&record);
            assert_eq!(sent, datagrams * datagrams * 10);
            text(&record, "flow.id").to_owned()
        })
        .collect();
    ends.sort();
    ends.dedup();
    assert_eq!(ends.len(), 3, "each has its own id: {ends:?}");
    scene.stop();
}

#[test]
fn datagrams_of_one_call_are_counted_one_by_one() {
    let _turn = live!();
    let scene = Scene::new();
    let mut server = scene.actor("udp=4 bind=203.0.113.7:5300 wait recv=6600 wait close");
    server.report();
    server.go();
    let client = scene.act("udp=4 sendmmsg=203.0.113.7:5300,100,16 segment=1000 send=5000 tell close");
    assert_eq!(moved(&scene.expect_udp(client.port(), "close")), (6600, 21, 0, 0));
    // The datagrams are read one after the other, whatever way they came.
    assert_eq!(server.report().get("received"), 6600);
    server.go();
    assert_eq!(moved(&scene.expect_udp(5300, "close")), (0, 0, 6600, 21));
    scene.stop();
}

#[test]
fn a_datagram_that_is_only_looked_at_is_counted_once() {
    let _turn = live!();
    let scene = Scene::new();
    let mut server = scene.actor("udp=4 bind=203.0.113.7:5300 wait peek peek recv=50 close");
    server.report();
    scene.act("udp=4 sendto=203.0.113.7:5300,50,1 tell");
    server.go().done();
    assert_eq!(moved(&scene.expect_udp(5300, "close")), (0, 0, 50, 1));
    scene.stop();
}

#[test]
fn multicast_and_broadcast_are_flows_to_these_addresses() {
    let _turn = live!();
    let scene = Scene::with(&["--include-loopback"]);
    let mut member = scene.actor("udp=4 bind=0.0.0.0:5353 join=239.1.2.3 wait recv=12 close");
    member.report();
    member.go();
    let sender =
        scene.act("udp=4 join=239.1.2.3 sendto=239.1.2.3:5353,12,1 broadcast sendto=127.255.255.255:5354,8,1 tell close");
    let to = |ip: &str| {
        scene.tracer.expect(&format!("close of the flow to {ip}"), |record| {
            action(record) == "close"
                && is_udp_of(record, sender.port())
                && text(record, "destination.ip") == ip
        })
    };
    assert_eq!(moved(&to("239.1.2.3")), (12, 1, 0, 0));
    assert_eq!(moved(&to("127.255.255.255")), (8, 1, 0, 0));
    let received = scene.expect_udp(5353, "close");
    assert_eq!(moved(&received), (0, 0, 12, 1));
    assert_eq!(text(&received, "destination.ip"), "239.1.2.3");
    scene.stop();
}

#[test]
fn quic_is_recognised_by_its_first_packet() {
    let _turn = live!();
    let scene = Scene::new();
    let client = scene.act("udp=4 quic=203.0.113.7:8443 tell close");
    let record = scene.expect_udp(client.port(), "connect");
    assert_eq!(text(&record, "network.protocol"), "quic");
    let client = scene.act("udp=4 sendto=203.0.113.7:8443,1200,1 tell close");
    let record = scene.expect_udp(client.port(), "connect");
    assert_eq!(at(&record, "network.protocol"), &Value::Null);
    scene.stop();
}

#[test]
fn a_silent_flow_ends_and_begins_again_with_the_next_datagram() {
    let _turn = live!();
    let scene = Scene::with(&["--udp-idle", "1s"]);
    let steps = "udp=4 sendto=203.0.113.7:5301,10,1 wait sendto=203.0.113.7:5301,20,1 tell close";
    let mut client = scene.actor(steps);
    let port = client.report().port();
    let idle = scene.expect_udp(port, "close");
    assert_eq!((text(&idle, "flow.end"), text(&idle, "event.outcome")), ("idle", "unknown"));
    assert_eq!(moved(&idle), (10, 1, 0, 0));
    client.go().done();
    // With the socket, or, on a very slow machine, of silence again.
    let is_next = |record: &Value| {
        action(record) == "close" && is_udp_of(record, port) && at(record, "seq") != at(&idle, "seq")
    };
    let next = scene.tracer.expect("the end of the next flow", is_next);
    assert_eq!(moved(&next), (20, 1, 0, 0));
    scene.stop();
}

#[test]
fn what_a_flow_moves_is_sampled_while_it_is_open() {
    let _turn = live!();
    let scene = Scene::with(&["--sample", "1s"]);
    let mut client = scene.actor("udp=4 sendto=203.0.113.7:5301,10,3 wait close");
    let port = client.report().port();
    assert_eq!(moved(&scene.expect_udp(port, "sample")), (30, 3, 0, 0));
    client.go().done();
    scene.expect_udp(port, "close");
    scene.stop();
}

#[test]
fn a_server_from_before_the_start_is_named() {
    let _turn = live!();
    let netns = Netns::new().unwrap();
    let steps = ["uid=10123", "udp=4", "bind=203.0.113.7:5300", "wait", "recv=7", "tell", "wait"];
    let mut server = tracer_tests::actor::Actor::start(&netns, steps);
    server.report();
    let scene = Scene { netns, tracer: Tracer::start(&[] as &[&str]), files: TempDir::new() };
    server.go();
    scene.act("udp=4 sendto=203.0.113.7:5300,7,1 tell");
    let accept = scene.expect_udp(5300, "accept");
    assert_eq!(number(&accept, "process.pid"), Some(u64::from(server.pid())));
    assert_eq!(text(&accept, "user.id"), "10123");
    scene.stop();
}

#[test]
fn without_any_way_to_see_datagrams_the_list_of_sockets_tells_what_it_can() {
    let _turn = live!();
    let scene = Scene::with(&["--hooks", "no-cgroup,no-kprobe", "--sample", "1s"]);
    // A network namespace without a process is not found.
    let mut inhabitant = scene.actor("wait");
    inhabitant.report();
    let mut client = scene.actor("uid=10123 udp=4 connect=203.0.113.7:5301 send=10 wait close");
    let port = client.report().port();
    let existing = scene.expect_here("existing");
    assert_eq!(number(&existing, "source.port"), Some(u64::from(port)));
    assert_eq!((text(&existing, "user.id"), number(&existing, "destination.port")), ("10123", Some(5301)));
    assert_eq!(number(&existing, "process.pid"), Some(u64::from(client.pid())));
    assert_eq!(at(&existing, "source.bytes"), &Value::Null, "the list does not tell");
    client.go().done();
    assert_eq!(text(&scene.expect_here("close"), "flow.end"), "unseen");
    let stream = scene.stop();
    let capabilities = at(&stream.records[0], "tracer.capabilities").as_array().unwrap();
    let udp = capabilities.iter().find(|of| text(of, "capability") == "udp_flows").unwrap();
    assert_eq!(at(udp, "tier"), "sock_diag");
    assert_eq!(text(&udp["refused"][0], "reason"), "forbidden with --hooks");
}

#[test]
fn when_too_many_flows_are_open_the_silent_ones_make_room_and_every_datagram_is_accounted_for() {
    let _turn = live!(alone);
    let scene = Scene::new();
    // The map holds 16,384 flows.
    let mut client =
        scene.actor("udp=4 spray=203.0.113.7:20000,10,17000 wait sendto=203.0.113.7:9,7,1 close");
    let port = client.report_within(Duration::from_secs(120)).port();
    scene
        .tracer
        .expect("a loss of datagrams", |record| number(record, "tracer.lost.kernel.datagram").is_some());
    scene.tracer.expect("a flow that made room", |record| {
        is_udp_of(record, port) && text(record, "flow.end") == "evicted"
    });
    client.go().done();
    let last = scene.tracer.expect("the flow that came later", |record| {
        is_udp_of(record, port) && action(record) == "close" && number(record, "destination.port") == Some(9)
    });
    assert_eq!(moved(&last), (7, 1, 0, 0));
    let stream = scene.stop();
    let lost = stream.counts("lost.kernel");
    // Somebody else on the machine may ask for a name meanwhile.
    let is_others = |record: &&Value| {
        matches!(action(record), "connect" | "accept")
            && text(record, "network.transport") == "udp"
            && !is_udp_of(record, port)
    };
    let others = stream.records.iter().filter(is_others).count() as u64;
    let counted = stream.counts("totals.kernel_events")["udp_open"] - others + lost["datagram"];
    // Theirs may be among the lost ones as well, which have no record.
    assert!((17_001..=17_010).contains(&counted), "{counted}");
}

/// Flows of the storm: `TRACER_STORM`, else 20,000.
fn size() -> u64 {
    std::env::var("TRACER_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

#[test]
fn a_storm_of_flows_with_a_ring_too_small_adds_up_and_leaves_nothing_open() {
    let _turn = live!(alone);
    let scene = Scene::with(&["--ring-size", "16"]);
    let storm = |flows| {
        let mut actor = scene.actor(&format!("udpstorm=203.0.113.7:5301,{flows},2"));
        let report = actor.report_within(Duration::from_secs(600));
        assert_eq!(report.get("connected"), flows);
        actor.done();
    };
    // First nothing is taken off the ring, then the tracer is busy with that.
    scene.tracer.freeze();
    storm(size() / 2);
    scene.tracer.thaw();
    storm(size() - size() / 2);
    let is_stats = |record: &Value| action(record) == "stats";
    let mut next = Instant::now();
    wait_until("no flow is open", || {
        // Asks again and again: while the output is full, the answer is lost, too.
        if Instant::now() >= next {
            next = Instant::now() + Duration::from_secs(1);
            scene.tracer.signal(rustix::process::Signal::USR1);
        }
        scene.tracer.last(is_stats).and_then(|stats| number(&stats, "tracer.flows.open")) == Some(0)
    });
    let stream = scene.stop();
    let kernel = stream.counts("totals.kernel_events");
    let lost = stream.counts("lost.kernel");
    // Flows whose end found no room in the ring wait in the map until they are found there; a flow that then finds no
    // room in the map is a datagram lost.
    let without_room = lost.get("datagram").copied().unwrap_or_default();
    assert_eq!(kernel["udp_open"] + without_room, size(), "{kernel:?}");
    assert_eq!(kernel["udp_close"], kernel["udp_open"], "{kernel:?}");
    let ends = stream
        .records
        .iter()
        .filter(|record| text(record, "network.transport") == "udp" && action(record) == "close");
    let unwritten = stream.counts("lost.output");
    let unwritten = ["udp_close", "udp_ended"].map(|kind| unwritten.get(kind).copied().unwrap_or_default());
    let ends = ends.count() as u64 + unwritten.iter().sum::<u64>();
    assert_eq!(ends, kernel["udp_open"], "flows whose end was lost are found in the map");
    println!("storm of {} flows: {lost:?} lost in the kernel", size());
    assert!(lost["udp_open"] > 0 && lost["udp_close"] > 0, "the ring was too small on purpose: {lost:?}");
}
