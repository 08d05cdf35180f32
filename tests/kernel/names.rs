//! Names, on every kernel and in every way that payload is seen: a connection has the name that its app asked for, or none,
//! and never another one.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tracer_tests::hello::{self, to_hex};
use tracer_tests::live;
use tracer_tests::record::{action, at, number, text};
use tracer_tests::scenario;
use tracer_tests::stream::Stream;

use crate::scene::Scene;

/// The path of Android's resolver; nobody else has it on a test machine.
const DNSPROXYD: &str = "/dev/socket/dnsproxyd";

/// The path of systemd's.
const SYSTEMD_RESOLVED: &str = "/run/systemd/resolve/io.systemd.Resolve";

/// Where a resolver's socket is to be: with its directories, of which those that were missing are taken away with it.
struct Place {
    /// One test at a time has a resolver.
    _turn: MutexGuard<'static, ()>,
    socket: &'static Path,
    made: Vec<&'static Path>,
}

impl Place {
    fn of(socket: &'static str) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = Path::new(socket);
        let made = socket.ancestors().skip(1).take_while(|directory| !directory.exists()).collect();
        std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
        Self { _turn: turn, socket, made }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.socket);
        for directory in &self.made {
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// The way in which a capability is got in this run.
fn tier(scene: &Scene, name: &str) -> Option<String> {
    capability(scene, name).get("tier").and_then(Value::as_str).map(str::to_owned)
}

/// What the `start` record says of a capability.
fn capability(scene: &Scene, name: &str) -> Value {
    let start = scene.tracer.expect("start", |record| action(record) == "start");
    let all = at(&start, "tracer.capabilities").as_array().cloned().unwrap_or_default();
    all.into_iter().find(|found| text(found, "capability") == name).unwrap_or_default()
}

fn domain_and_source(record: &Value) -> (Value, Value) {
    (at(record, "destination.domain").clone(), at(record, "destination.name.source").clone())
}

/// A client in this network that connects to port 443 and sends these parts of its first bytes, each in a call of its own.
fn sends(scene: &Scene, parts: &[&[u8]]) -> Value {
    let mut steps = String::from("socket=4 nodelay connect=203.0.113.7:443");
    for part in parts {
        steps += &format!(" bytes={}", to_hex(part));
    }
    let client = scene.act(&(steps + " tell close"));
    scene.expect(&client, "close")
}

#[test]
fn a_clienthello_names_its_connection_however_it_is_cut() {
    let _turn = live!();
    let scene = Scene::with(&["--events", "+named"]);
    let _server = scene.server("203.0.113.7:443");
    let small = hello::tls("small.example", 0);
    let large = hello::tls("large.example", 2300);
    let (head, rest) = small.split_at(5);
    let mut expected = vec![("small.example", sends(&scene, &[&small]))];
    expected.push(("large.example", sends(&scene, &[&large])));
    expected.push(("large.example", sends(&scene, &[&large[..1400], &large[1400..]])));
    expected.push(("large.example", sends(&scene, &[&large[..700], &large[700..2100], &large[2100..]])));
    // Header and message as parts of one call.
    let both = format!("{}+{}", to_hex(head), to_hex(rest));
    let client = scene.act(&format!("socket=4 connect=203.0.113.7:443 bytes={both} tell close"));
    expected.push(("small.example", scene.expect(&client, "close")));
    let can_see = tier(&scene, "first_client_bytes").is_some();
    for (domain, close) in &expected {
        if !can_see {
            assert_eq!(domain_and_source(close), (Value::Null, Value::Null));
            continue;
        }
        assert_eq!(domain_and_source(close), (json!(domain), json!("sni")), "{close}");
        assert_eq!(text(close, "network.protocol"), "tls");
        assert_eq!(text(close, "tls.client.server_name"), *domain);
        assert_eq!(at(close, "tls.client.alpn"), &json!(["h2"]));
        let named = scene.tracer.expect("named", |record| {
            action(record) == "named" && text(record, "flow.id") == text(close, "flow.id")
        });
        assert_eq!(domain_and_source(&named), domain_and_source(close));
    }
    scene.stop();
}

#[test]
fn the_host_of_an_http_request_names_its_connection_and_is_marked_as_cleartext() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server("203.0.113.7:443");
    let whole = b"GET / HTTP/1.1\r\nHost: plain.example:8080\r\n\r\n";
    let late = [&b"POST /a HTTP/1.1\r\nUser-Agent: test\r\n"[..], b"Host: late.example\r\n\r\n"];
    let closes = [("plain.example", sends(&scene, &[whole])), ("late.example", sends(&scene, &late))];
    if tier(&scene, "first_client_bytes").is_some() {
        for (domain, close) in &closes {
            assert_eq!(domain_and_source(close), (json!(domain), json!("http_host")), "{close}");
            assert_eq!(at(close, "network.cleartext"), &json!(true));
        }
    }
    scene.stop();
}

#[test]
fn quic_is_named_by_its_first_datagram() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.actor("udp=4 bind=203.0.113.7:443 recv=1200 close");
    let datagram = to_hex(&hello::quic());
    let client = scene.act(&format!("udp=4 connect=203.0.113.7:443 bytes={datagram} tell close"));
    let close = scene.expect_udp(client.port(), "close");
    assert_eq!(domain_and_source(&close), (json!("quic.example"), json!("sni")), "{close}");
    assert_eq!(text(&close, "network.protocol"), "quic");
    scene.stop();
}

/// Asks this name as this uid and connects to what it is told, in one process.
fn asks_and_connects(scene: &Scene, uid: u32, host: &str) -> Value {
    asks_and_connects_when(scene, (uid, host), "203.0.113.7")
}

/// The server answers as the actor's step `dns-answer` says.
fn asks_and_connects_when(scene: &Scene, (uid, host): (u32, &str), answers: &str) -> Value {
    let mut server = scene.actor(&format!("udp=4 bind=203.0.113.7:53 wait dns-answer={answers} close"));
    server.report();
    server.go();
    let question = hello::dns(host);
    let client = scene.act(&format!(
        "uid={uid} udp=4 connect=203.0.113.7:53 bytes={} recv={} close socket=4 connect=203.0.113.7:443 tell close",
        to_hex(&question),
        question.len() + hello::ADDRESS_RECORD,
    ));
    server.done();
    scene.expect(&client, "connect")
}

#[test]
fn of_two_apps_that_ask_for_two_names_of_one_address_each_has_its_own() {
    let _turn = live!();
    let scene = Scene::with(&["--events", "+dns"]);
    let _server = scene.server("203.0.113.7:443");
    let records = [(10123, "one.example"), (10140, "two.example")].map(|(uid, host)| {
        let connect = asks_and_connects(&scene, uid, host);
        assert_eq!(text(&connect, "user.id"), uid.to_string());
        (host, connect)
    });
    for (host, connect) in &records {
        assert_eq!(domain_and_source(connect), (json!(host), json!("dns")), "{connect}");
        assert_eq!(at(connect, "destination.name.ambiguous"), &Value::Null);
        let dns = scene
            .tracer
            .expect("dns", |record| action(record) == "dns" && text(record, "dns.question.name") == *host);
        assert_eq!(at(&dns, "dns.resolved_ip"), &json!(["203.0.113.7"]));
        assert_eq!((text(&dns, "dns.response_code"), text(&dns, "dns.question.type")), ("NOERROR", "A"));
        assert_eq!(text(&dns, "user.id"), text(connect, "user.id"));
        assert_eq!(number(&dns, "process.pid"), number(connect, "process.pid"));
        let way = if tier(&scene, "dns").as_deref() == Some("kprobe") { "kprobe" } else { "cgroup" };
        assert_eq!(text(&dns, "attribution.method"), way);
        assert!(number(&dns, "event.duration").is_some_and(|time| time > 0), "{dns}");
    }
    scene.stop();
}

#[test]
fn an_answer_that_lies_in_several_pieces_in_the_kernel_is_read() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server("203.0.113.7:443");
    let connect = asks_and_connects_when(&scene, (10123, "pieces.example"), "203.0.113.7,parts");
    assert_eq!(domain_and_source(&connect), (json!("pieces.example"), json!("dns")), "{connect}");
    scene.stop();
}

#[test]
fn an_answer_that_nobody_asked_for_names_nothing() {
    let _turn = live!();
    let scene = Scene::with(&["--events", "+dns"]);
    let _server = scene.server("203.0.113.7:443");
    // "other.example" is as long as "asked.example".
    let connect = asks_and_connects_when(&scene, (10123, "asked.example"), "203.0.113.7,other");
    assert_eq!(domain_and_source(&connect), (Value::Null, Value::Null), "{connect}");
    scene.tracer.expect("dns", |record| text(record, "dns.question.name") == "other.example");
    scene.stop();
}

#[test]
fn an_answer_over_tcp_names_the_next_connection() {
    let _turn = live!();
    let scene = Scene::with(&["--events", "+dns"]);
    let _server = scene.server("203.0.113.7:443");
    let _dns = scene.listen("203.0.113.7:53", "accept dns-answer=203.0.113.7,stream eof close");
    let question = hello::dns("stream.example");
    let length = question.len();
    // As C libraries do: the length first, then so much.
    let client = scene.act(&format!(
        "uid=10123 socket=4 connect=203.0.113.7:53 bytes=00{length:02x}{} recv=2 recv={} close \
         socket=4 connect=203.0.113.7:443 tell close",
        to_hex(&question),
        length + hello::ADDRESS_RECORD,
    ));
    let connect = scene.expect(&client, "connect");
    if tier(&scene, "first_client_bytes").is_some() {
        assert_eq!(domain_and_source(&connect), (json!("stream.example"), json!("dns")), "{connect}");
        let dns = scene.tracer.expect("dns", |record| action(record) == "dns");
        assert_eq!((text(&dns, "dns.type"), text(&dns, "network.transport")), ("answer", "tcp"), "{dns}");
    }
    scene.stop();
}

#[test]
fn a_question_without_an_answer_is_told_at_the_end() {
    let _turn = live!();
    let scene = Scene::with(&["--events", "dns"]);
    let _silent = scene.actor("udp=4 bind=203.0.113.7:53 recv=512 close");
    let question = to_hex(&hello::dns("nobody.example"));
    scene.act(&format!("uid=10123 udp=4 connect=203.0.113.7:53 bytes={question} tell close"));
    let stream = scene.stop();
    let dns: Vec<_> = stream
        .records
        .iter()
        .filter(|record| text(record, "dns.question.name") == "nobody.example")
        .collect();
    assert_eq!(dns.len(), 1);
    assert_eq!((text(dns[0], "dns.type"), text(dns[0], "event.outcome")), ("query", "unknown"));
}

#[test]
fn what_an_app_asks_androids_resolver_names_its_next_connection_without_dns_on_the_wire() {
    let _turn = live!();
    let place = Place::of(DNSPROXYD);
    let scene = Scene::with(&["--events", "+dns"]);
    let _server = scene.server("203.0.113.7:443");
    let mut resolver = scene.actor(&format!("resolver={DNSPROXYD},203.0.113.7"));
    resolver.report();
    let request = "getaddrinfo_push.example_443_0_2_1_6_100";
    let client = scene
        .act(&format!("uid=10123 resolve={DNSPROXYD},{request} socket=4 connect=203.0.113.7:443 tell close"));
    resolver.done();
    drop(place);
    let connect = scene.expect(&client, "connect");
    let sees_requests = tier(&scene, "resolver_requests").is_some();
    if sees_requests {
        assert_eq!(domain_and_source(&connect), (json!("push.example"), json!("resolver")), "{connect}");
        let dns = scene.tracer.expect("dns", |record| action(record) == "dns");
        assert_eq!(at(&dns, "dns.resolved_ip"), &json!(["203.0.113.7"]));
        assert_eq!((text(&dns, "dns.resolver"), text(&dns, "user.id")), ("dnsproxyd", "10123"));
        assert_eq!(at(&dns, "flow"), &Value::Null, "no connection");
    } else {
        assert_eq!(domain_and_source(&connect), (Value::Null, Value::Null));
    }
    assert_eq!(sees_requests, scenario::uses_kprobes(), "{:#}", capability(&scene, "resolver_requests"));
    scene.stop();
}

#[test]
fn a_request_without_an_answer_names_the_next_connection_as_a_guess() {
    let _turn = live!();
    let place = Place::of(DNSPROXYD);
    let scene = Scene::new();
    let _server = scene.server("203.0.113.7:443");
    let mut resolver = scene.actor(&format!("resolver={DNSPROXYD},none"));
    resolver.report();
    let request = "getaddrinfo_guess.example_443_0_2_1_6_100";
    let client = scene
        .act(&format!("uid=10177 resolve={DNSPROXYD},{request} socket=4 connect=203.0.113.7:443 tell close"));
    let other = scene.act("uid=10140 socket=4 connect=203.0.113.7:443 tell close");
    resolver.done();
    drop(place);
    let connect = scene.expect(&client, "connect");
    if scenario::uses_kprobes() {
        let expected = (json!("guess.example"), json!("resolver_next"));
        assert_eq!(domain_and_source(&connect), expected, "{connect}");
        assert_eq!(at(&connect, "destination.name.ambiguous"), &json!(true));
    }
    assert_eq!(
        domain_and_source(&scene.expect(&other, "connect")),
        (Value::Null, Value::Null),
        "another app"
    );
    scene.stop();
}

#[test]
fn what_a_machine_nearby_announces_is_a_name_of_last_resort_and_marked() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server("203.0.113.7:443");
    let announcement = hello::mdns("printer.local", [203, 0, 113, 7]);
    let mut listener =
        scene.actor(&format!("udp=4 bind=203.0.113.7:5353 wait recv={} tell close", announcement.len()));
    listener.report();
    listener.go();
    scene.act(&format!("udp=4 connect=203.0.113.7:5353 bytes={} tell close", to_hex(&announcement)));
    listener.report();
    let client = scene.act("uid=10123 socket=4 connect=203.0.113.7:443 tell close");
    let connect = scene.expect(&client, "connect");
    assert_eq!(domain_and_source(&connect), (json!("printer.local"), json!("mdns")), "{connect}");
    listener.done();
    scene.stop();
}

#[test]
fn what_an_app_asks_systemd_resolved_names_its_next_connection() {
    let _turn = live!();
    if Path::new(SYSTEMD_RESOLVED).exists() {
        println!("this machine's own resolver has the socket: the guests test it");
        return;
    }
    let place = Place::of(SYSTEMD_RESOLVED);
    let scene = Scene::with(&["--events", "+dns"]);
    let _server = scene.server("203.0.113.7:443");
    let mut resolver = scene.actor(&format!("resolver={SYSTEMD_RESOLVED},203.0.113.7"));
    resolver.report();
    let request = r#"{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"stub.example"}}"#;
    let client = scene.act(&format!(
        "uid=10123 resolve={SYSTEMD_RESOLVED},{request} socket=4 connect=203.0.113.7:443 tell close"
    ));
    resolver.done();
    drop(place);
    let connect = scene.expect(&client, "connect");
    if scenario::uses_kprobes() {
        assert_eq!(domain_and_source(&connect), (json!("stub.example"), json!("resolver")), "{connect}");
        let dns = scene.tracer.expect("dns", |record| action(record) == "dns");
        assert_eq!((text(&dns, "dns.resolver"), text(&dns, "user.id")), ("systemd_resolved", "10123"));
    } else {
        assert_eq!(domain_and_source(&connect), (Value::Null, Value::Null));
    }
    scene.stop();
}

#[test]
fn of_what_is_no_request_nothing_is_copied() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server("203.0.113.7:443");
    sends(&scene, &[b"SSH-2.0-OpenSSH_9.2\r\n", b"secret", b"GET / HTTP/1.1\r\nHost: inner.example\r\n\r\n"]);
    let close = sends(&scene, &[&[0x17, 3, 3, 0, 16], b"already encrypted"]);
    assert_eq!(domain_and_source(&close), (Value::Null, Value::Null));
    let here = copies(&scene.stop());
    // Other tests beside this one send hellos of their own on the same machine, but this one may be alone.
    assert!(here.1 <= here.0, "{here:?}");
}

/// Connections with a ClientHello or a request in this stream, and copies that the kernel made of first bytes.
fn copies(stream: &Stream) -> (u64, u64) {
    let protocol = |record: &&Value| {
        matches!(text(record, "network.protocol"), "tls" | "http" | "quic") && action(record) == "close"
    };
    let named = stream.records.iter().filter(protocol).count();
    let made = stream.counts("totals.kernel_events").get("first_bytes").copied().unwrap_or_default();
    // At most three pieces of each.
    (3 * u64::try_from(named).unwrap(), made)
}

#[test]
fn without_names_nothing_is_looked_at_in_the_kernel_neither() {
    let _turn = live!();
    let scene = Scene::with(&["--no-names", "--events", "+dns,+named"]);
    let _server = scene.server("203.0.113.7:443");
    let close = sends(&scene, &[&hello::tls("hidden.example", 0)]);
    assert_eq!((domain_and_source(&close), at(&close, "tls")), ((Value::Null, Value::Null), &Value::Null));
    assert_eq!(tier(&scene, "first_client_bytes"), None);
    let stream = scene.stop();
    assert!(stream.records.iter().all(|record| !matches!(action(record), "dns" | "named")));
    let events = stream.counts("totals.kernel_events");
    for kind in ["dns_message", "first_bytes", "resolver_message"] {
        assert_eq!(events.get(kind), None, "{events:?}");
    }
}

#[test]
fn a_redacted_stream_shows_no_name_and_no_address_but_tells_them_apart() {
    let _turn = live!();
    let scene = Scene::with(&["--redact", "--events", "+dns"]);
    let _server = scene.server("203.0.113.7:443");
    let first = asks_and_connects(&scene, 10123, "secret.example");
    let second = asks_and_connects(&scene, 10140, "other.example");
    assert_eq!(at(&first, "destination.ip"), at(&second, "destination.ip"));
    assert_ne!(at(&first, "destination.domain"), at(&second, "destination.domain"));
    assert!(text(&first, "destination.domain").ends_with(".invalid"), "{first}");
    assert!(text(&first, "destination.ip").starts_with("2001:db8:"), "{first}");
    assert_eq!(text(&first, "network.type"), "ipv4");
    let netns = scene.netns.inode();
    let stream = scene.stop();
    for record in stream.records.iter().filter(|record| number(record, "flow.netns") == Some(netns)) {
        let line = record.to_string();
        for secret in ["secret", "other.example", "203.0.113", "community_id", "command_line"] {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
}
