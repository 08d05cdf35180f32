//! Kinds of connections, each by a process with a uid of its own: all are seen, with the right owner, protocol, direction,
//! outcome and exact bytes. One table, so that it can be read; one tracer, so that they cannot hide behind each other.

use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::actor::Actor;
use tracer_tests::record::{action, number, text};
use tracer_tests::{DEADLINE, live};

use crate::scene::Scene;

/// What must be said of the watched side when it is over.
struct Seen {
    transport: &'static str,
    direction: &'static str,
    end: &'static str,
    /// Payload bytes by the watched side; `None` where the network itself leaves it open.
    sent: Option<u64>,
    received: Option<u64>,
}

/// One kind. In the steps, `A` is an address and port of its own, over IPv4, `B` the same port over IPv6, `M` over v4-mapped
/// IPv6, and `P` the port.
struct Kind {
    name: &'static str,
    /// Steps of the other side, which is up before the client begins; empty: nobody is there.
    server: &'static str,
    client: &'static str,
    /// The server is watched, not the client.
    is_inbound: bool,
    seen: Seen,
}

const LISTEN4: &str = "socket=4 bind=A listen=16 wait accept eof close";
const LISTEN6: &str = "socket=6 bind=B listen=16 wait accept eof close";

/// Holds the port, so that no ICMP answer comes; reads nothing.
const SINK4: &str = "udp=4 bind=A wait";
const SINK6: &str = "udp=6 bind=B wait";

const fn closed(transport: &'static str, sent: u64, received: u64) -> Seen {
    Seen { transport, direction: "egress", end: "closed", sent: Some(sent), received: Some(received) }
}

const fn tcp(name: &'static str, client: &'static str) -> Kind {
    Kind { name, server: LISTEN4, client, is_inbound: false, seen: closed("tcp", 10, 0) }
}

const fn failed(name: &'static str, end: &'static str, server: &'static str, client: &'static str) -> Kind {
    let seen = Seen { transport: "tcp", direction: "egress", end, sent: Some(0), received: Some(0) };
    Kind { name, server, client, is_inbound: false, seen }
}

const fn udp(name: &'static str, client: &'static str, sent: u64) -> Kind {
    Kind { name, server: SINK4, client, is_inbound: false, seen: closed("udp", sent, 0) }
}

const fn inbound(
    name: &'static str,
    transport: &'static str,
    server: &'static str,
    client: &'static str,
    received: u64,
) -> Kind {
    let seen =
        Seen { transport, direction: "ingress", end: "closed", sent: Some(0), received: Some(received) };
    Kind { name, server, client, is_inbound: true, seen }
}

impl Kind {
    /// With another server, and another result.
    const fn against(self, server: &'static str, seen: Seen) -> Self {
        Self { server, seen, ..self }
    }
}

const KINDS: &[Kind] = &[
    tcp("TCP over IPv4", "socket=4 connect=A send=10 close"),
    tcp("TCP over IPv6", "socket=6 connect=B send=10 close").against(LISTEN6, closed("tcp", 10, 0)),
    tcp("TCP to a v4-mapped address", "socket=6 connect=M send=10 close"),
    tcp("TCP from a port of its choice", "socket=4 bind=198.51.100.9:P connect=A send=10 close"),
    tcp("TCP, non-blocking", "socket=4 nonblock connect=A outcome block send=10 close"),
    tcp("TCP of a thread", "thread socket=4 connect=A send=10 close"),
    tcp("TCP, used by a child", "socket=4 connect=A fork send=10 close"),
    tcp("TCP, passed over a Unix socket", "socket=4 connect=A pass=10"),
    tcp("TCP, inherited over exec", "socket=4 connect=A inherit exec adopt send=10 close"),
    tcp("TCP with io_uring", "socket=4 uring=A,10 close"),
    tcp("TCP with sendfile", "socket=4 connect=A sendfile=10 close"),
    tcp("TCP with splice", "socket=4 connect=A splice=10 close"),
    tcp("TCP Fast Open, data in the SYN", "socket=4 fastopen=A,10 close"),
    tcp("TCP, closed by the end of the process", "socket=4 connect=A send=10 exit"),
    tcp("TCP, half-closed", "socket=4 connect=A send=10 shut eof close")
        .against("socket=4 bind=A listen=16 wait accept eof send=20 close", closed("tcp", 10, 20)),
    tcp("TCP, closed by the server first", "socket=4 connect=A eof close")
        .against("socket=4 bind=A listen=16 wait accept send=20 close", closed("tcp", 0, 20)),
    tcp("TCP, simultaneous open", "socket=4 bind=A connect=A send=5 recv=5 close").against(
        "",
        Seen { transport: "tcp", direction: "egress", end: "closed", sent: Some(5), received: Some(5) },
    ),
    tcp("TCP, reset", "socket=4 connect=A send=10 linger0 close").against(
        LISTEN4,
        Seen { transport: "tcp", direction: "egress", end: "reset", sent: None, received: Some(0) },
    ),
    failed("TCP, refused", "refused", "", "socket=4 connect=A"),
    failed("TCP, refused, non-blocking", "refused", "", "socket=4 nonblock connect=A outcome"),
    failed(
        "TCP to a full backlog",
        "timed_out",
        "socket=4 bind=A listen=0 socket=4 connect=A keep wait",
        "socket=4 syncnt=1 connect=A",
    ),
    inbound("TCP, accepted", "tcp", LISTEN4, "socket=4 connect=A send=10 close", 10),
    inbound("TCP, accepted over IPv6", "tcp", LISTEN6, "socket=6 connect=B send=10 close", 10),
    inbound(
        "TCP, v4-mapped and accepted",
        "tcp",
        "socket=6 dual bind=[::]:P listen=16 wait accept eof close",
        "socket=4 connect=A send=10 close",
        10,
    ),
    udp("UDP over IPv4", "udp=4 sendto=A,10,1 close", 10),
    udp("UDP over IPv6", "udp=6 sendto=B,10,1 close", 0).against(SINK6, closed("udp", 10, 0)),
    udp("UDP to a v4-mapped address", "udp=6 sendto=M,10,1 close", 10),
    udp("UDP, connected", "udp=4 connect=A send=10 close", 10),
    udp("UDP, connected over IPv6", "udp=6 connect=B send=10 close", 0).against(SINK6, closed("udp", 10, 0)),
    udp("UDP, an empty datagram", "udp=4 sendto=A,0,1 close", 0),
    udp("UDP with sendmmsg", "udp=4 sendmmsg=A,10,8 close", 80),
    udp("UDP, cut by the kernel", "udp=4 connect=A segment=100 send=950 close", 950),
    udp("UDP, put together with MSG_MORE", "udp=4 connect=A more=10 send=5 close", 15),
    udp("UDP, larger than the MTU", "udp=4 sendto=A,60000,1 close", 60_000),
    udp("UDP multicast", "udp=4 join=239.1.2.3 sendto=239.1.2.3:P,10,1 close", 10),
    udp("UDP broadcast", "udp=4 broadcast sendto=127.255.255.255:P,10,1 close", 10),
    udp("UDP with io_uring", "udp=4 uring=A,10 close", 10),
    udp("UDP, passed over a Unix socket", "udp=4 connect=A pass=10", 10),
    udp("UDP, inherited over exec", "udp=4 connect=A inherit exec adopt send=10 close", 10),
    udp("QUIC", "udp=4 quic=A close", 1200),
    udp("UDP, answered", "udp=4 sendto=A,33,1 recv=33 close", 0)
        .against("udp=4 bind=A wait answer close", closed("udp", 33, 33)),
    inbound("UDP, received first", "udp", "udp=4 bind=A wait recv=10 close", "udp=4 sendto=A,10,1 close", 10),
    inbound(
        "UDP, received over IPv6",
        "udp",
        "udp=6 bind=B wait recv=10 close",
        "udp=6 sendto=B,10,1 close",
        10,
    ),
];

/// Of the first kind; the others follow.
const FIRST_UID: u32 = 10_500;
const FIRST_PORT: u16 = 20_000;
/// The side that is not watched.
const OTHER_UID: u32 = 10_499;

/// The steps with the addresses in place.
fn steps(text: &str, port: u16, uid: u32) -> Vec<String> {
    let actor = tracer_tests::programs::actor();
    let opening = [format!("open={}", actor.display()), format!("uid={uid}")];
    let place = |step: &str| {
        let (name, value) = step.split_once('=').unwrap_or((step, ""));
        let (address, rest) = value.split_once(',').map_or((value, None), |(at, rest)| (at, Some(rest)));
        let address = match address {
            "A" => format!("203.0.113.7:{port}"),
            "B" => format!("[2001:db8::7]:{port}"),
            "M" => format!("[::ffff:203.0.113.7]:{port}"),
            other => other.replace(":P", &format!(":{port}")),
        };
        match (address.as_str(), rest) {
            ("", None) => name.to_owned(),
            (_, None) => format!("{name}={address}"),
            (_, Some(rest)) => format!("{name}={address},{rest}"),
        }
    };
    opening.into_iter().chain(text.split_whitespace().map(place)).collect()
}

/// Lets one kind happen; the record of its end comes later.
fn happen(scene: &Scene, kind: &Kind, port: u16, uid: u32) {
    let (server_uid, client_uid) = if kind.is_inbound { (uid, OTHER_UID) } else { (OTHER_UID, uid) };
    let mut server = (!kind.server.is_empty()).then(|| {
        let mut server = Actor::start_ordinary(&scene.netns, steps(kind.server, port, server_uid));
        server.report();
        if !kind.server.ends_with("wait") {
            server.go();
        }
        server
    });
    let mut client = Actor::start_ordinary(&scene.netns, steps(kind.client, port, client_uid));
    client.done();
    if let Some(server) = &mut server {
        if kind.server.ends_with("wait") {
            server.go();
        }
        server.done();
    }
}

/// What is wrong with the record of the end.
fn mistakes(record: &Value, kind: &Kind) -> Vec<String> {
    let Seen { transport, direction, end, sent, received } = &kind.seen;
    let (local, remote) =
        if *direction == "ingress" { ("destination", "source") } else { ("source", "destination") };
    let mut wrong = Vec::new();
    let mut compare = |what: &str, found: String, wanted: String| {
        if found != wanted {
            wrong.push(format!("{what} {found} instead of {wanted}"));
        }
    };
    compare("protocol", text(record, "network.transport").to_owned(), (*transport).to_owned());
    compare("direction", text(record, "network.direction").to_owned(), (*direction).to_owned());
    compare("end", text(record, "flow.end").to_owned(), (*end).to_owned());
    for (what, side, bytes) in [("sent", local, sent), ("received", remote, received)] {
        if let Some(bytes) = bytes {
            let found = number(record, &format!("{side}.bytes"));
            compare(what, format!("{found:?}"), format!("{:?}", Some(*bytes)));
        }
    }
    wrong
}

fn is_end_of(record: &Value, uid: u32) -> bool {
    matches!(action(record), "close" | "failed") && text(record, "user.id") == uid.to_string()
}

#[test]
fn every_kind_of_connection_is_seen_with_owner_direction_end_and_exact_bytes() {
    let _turn = live!(alone);
    let scene = Scene::with(&["--include-loopback"]);
    // TCP Fast Open for clients and servers, without cookies, for every listener.
    scene.netns.enter(|| std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", "1543")).unwrap();
    let places: Vec<_> =
        (0u16..).zip(FIRST_UID..).map(|(n, uid)| (FIRST_PORT + n, uid)).take(KINDS.len()).collect();
    for (kind, (port, uid)) in KINDS.iter().zip(&places) {
        happen(&scene, kind, *port, *uid);
    }
    let ended = |uid: u32| scene.tracer.last(|record| is_end_of(record, uid));
    // What does not come in time is said of each kind below.
    let until = Instant::now() + DEADLINE / 4;
    while Instant::now() < until && places.iter().any(|(_, uid)| ended(*uid).is_none()) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut failures = Vec::new();
    for (kind, (_, uid)) in KINDS.iter().zip(&places) {
        let record = ended(*uid);
        let wrong =
            record.as_ref().map_or_else(|| vec!["not seen".to_owned()], |record| mistakes(record, kind));
        let verdict = if wrong.is_empty() { "right".to_owned() } else { wrong.join(", ") };
        println!("kind: {}: {verdict}", kind.name);
        if !wrong.is_empty() {
            failures.push(format!("{}: {verdict}; {}", kind.name, record.unwrap_or_default()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let stream = scene.stop();
    // And none of them twice.
    for (kind, (_, uid)) in KINDS.iter().zip(&places) {
        let ends = stream.records.iter().filter(|record| is_end_of(record, *uid));
        assert_eq!(ends.count(), 1, "{}", kind.name);
    }
}
