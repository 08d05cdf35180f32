//! What is said of a capture in replay is what was said live: every line, byte by byte, twice.

use std::collections::BTreeSet;
use std::ffi::OsString;

use serde_json::Value;
use tracer_tests::actor::Actor;
use tracer_tests::hello::{self, to_hex};
use tracer_tests::netns::Netns;
use tracer_tests::record::{action, number, text};
use tracer_tests::stream::Stream;
use tracer_tests::temp::{TempDir, fixture};
use tracer_tests::tracer::Tracer;
use tracer_tests::{live, replay};

use crate::scene::{Listener, Scene};

/// About members that judging takes out of the record itself.
const RULES: &str = r#"
[[rule]]
id = "started-by"
about = "Who started the process."
severity = "info"
key = ["process.parent.name", "network.community_id"]
changes = ["event.outcome"]
reason = "{who} was started by {process.parent.name} [and speaks {tls.client.alpn} ]in {flow.netns}[, to {source.service.id}]"
[rule.when]
"process.parent.name" = { known = true }

[[rule]]
id = "refused"
about = "A connection was refused."
severity = "low"
key = ["destination.ip"]
reason = "{destination.ip} refuses port {destination.port} (error {error.code})"
[rule.when]
"flow.end" = "refused"
"#;

const LIST: &[u8] = b"listed.example\n";

/// A tracer with everything that judging can be given.
struct Given {
    scene: Scene,
    /// An app that was connected before the tracer started, and its server.
    early: Actor,
    _server: Listener,
    /// Arguments with which the capture is replayed.
    judged: Vec<OsString>,
}

fn begin(more: &[&str]) -> Given {
    let files = TempDir::new();
    fixture::android_15(&files);
    let mut judged: Vec<OsString> = Vec::new();
    for (option, path) in [
        ("--geo", files.write("geo.mmdb", fixture::GEO)),
        ("--rules", files.write("rules.toml", RULES.as_bytes())),
    ] {
        judged.extend([option.into(), path.into()]);
    }
    let list = files.write("list.txt", LIST);
    judged.extend(["--list".into(), format!("mine={}", list.display()).into()]);
    // Open before the start.
    let netns = Netns::new().unwrap();
    let server =
        Listener::start(&netns, "uid=10140", "203.0.113.7:5000", 8, "accept recv=90 pulse=9,7 close");
    let steps = "uid=10123 socket=4 connect=203.0.113.7:5000 send=90 wait beat=0,9,7 beat=20,9,7 beat=20,9,7 wait close";
    let mut early = Actor::start(&netns, steps.split_whitespace());
    early.report();
    let mut arguments: Vec<OsString> =
        ["--sample", "100ms", "--udp-idle", "1s", "--quiet", "700ms", "--home", "SE", "--android-root"]
            .iter()
            .map(Into::into)
            .collect();
    arguments.push(files.path().into());
    arguments.extend(more.iter().map(Into::into));
    arguments.extend(judged.iter().cloned());
    let tracer = Tracer::recording(arguments);
    Given { scene: Scene { tracer, netns, files }, early, _server: server, judged }
}

/// Traffic of many kinds.
fn act(scene: &Scene, early: &mut Actor) {
    let _web = scene.server("203.0.113.7:443");
    let _home = scene.server("198.51.100.9:80");
    let _six = scene.server("[2001:db8::7]:443");
    early.go();
    // A name by DNS; then the connection that it is for.
    let mut resolver = scene.actor("udp=4 bind=198.51.100.9:53 wait dns-answer=203.0.113.7 close");
    resolver.report();
    resolver.go();
    let question = hello::dns("www.listed.example");
    let asked = question.len() + hello::ADDRESS_RECORD;
    let steps = format!(
        "uid=10123 udp=4 connect=198.51.100.9:53 bytes={} recv={asked} close \
         socket=4 connect=203.0.113.7:443 bytes={} tell close",
        to_hex(&question),
        to_hex(&hello::tls("front.listed.example", 0)),
    );
    let tls = scene.act(&steps);
    resolver.done();
    let http = to_hex(b"GET / HTTP/1.1\r\nHost: plain.example\r\n\r\n");
    let http = scene.act(&format!("uid=10140 socket=4 connect=198.51.100.9:80 bytes={http} tell close"));
    let six = scene.act("uid=1010140 socket=6 connect=[2001:db8::7]:443 send=70000 tell close");
    let refused = scene.act("uid=10123 socket=4 connect=203.0.113.7:9 tell close");
    let reset = scene.act("uid=10123 socket=4 connect=203.0.113.7:443 send=5 tell linger0 close");
    let mut udp = scene.actor("uid=10140 udp=4 bind=203.0.113.7:5300 wait answer answer wait close");
    udp.report();
    udp.go();
    let mut silent =
        scene.actor("uid=10123 udp=4 sendto=203.0.113.7:5300,33,1 recv=33 sendto=203.0.113.7:5300,4,1 wait");
    let silent_port = silent.report().port();
    let quic = to_hex(&hello::quic());
    let quic = scene.act(&format!("uid=10123 udp=4 connect=203.0.113.7:4433 bytes={quic} tell close"));
    for (flow, wanted) in
        [(&tls, "close"), (&http, "close"), (&six, "close"), (&refused, "failed"), (&reset, "close")]
    {
        scene.expect(flow, wanted);
    }
    scene.expect_udp(quic.port(), "close");
    let idle = scene.expect_udp(silent_port, "close");
    assert_eq!(text(&idle, "flow.end"), "idle");
    // Its last beats.
    let cookie = early.report().cookie();
    scene.tracer.expect("a sample with all beats", |record| {
        tracer_tests::record::is_flow(record, cookie)
            && action(record) == "sample"
            && number(record, "source.bytes") == Some(90 + 3 * 9)
    });
    early.go().done();
    scene.tracer.expect_flow(cookie, "close");
}

fn flags(stream: &Stream) -> BTreeSet<&str> {
    let flags = stream.records.iter().filter_map(|record| record.get("flags")?.as_array()).flatten();
    flags.map(|flag| text(flag, "id")).collect()
}

fn actions(stream: &Stream) -> BTreeSet<&str> {
    stream.records.iter().map(action).collect()
}

#[test]
fn a_capture_of_all_kinds_of_traffic_is_judged_in_replay_as_it_was_live() {
    let _turn = live!();
    let Given { scene, mut early, _server, judged } = begin(&["--events", "+dns,+named"]);
    act(&scene, &mut early);
    let files = scene.files;
    let stream = scene.tracer.stop();
    let actions = actions(&stream);
    for wanted in
        ["existing", "connect", "established", "accept", "failed", "sample", "close", "dns", "alert"]
    {
        assert!(actions.contains(wanted), "no {wanted} among {actions:?}");
    }
    let flags = flags(&stream);
    for wanted in ["outside-home", "started-by", "refused"] {
        assert!(flags.contains(wanted), "no {wanted} among {flags:?}");
    }
    let news: BTreeSet<_> = stream.records.iter().map(|record| text(record, "alert.news")).collect();
    assert!(news.contains("changed"), "{news:?}");
    replay::twice(&stream, &judged);
    drop(files);
}

#[test]
fn a_capture_with_hashes_in_the_place_of_names_and_addresses_is_judged_in_replay_as_it_was_live() {
    let _turn = live!();
    let Given { scene, mut early, _server, judged } = begin(&["--redact"]);
    act(&scene, &mut early);
    let files = scene.files;
    let stream = scene.tracer.stop();
    assert!(flags(&stream).contains("outside-home"), "{:?}", flags(&stream));
    replay::twice(&stream, &judged);
    drop(files);
}

#[test]
fn a_capture_of_a_table_that_is_too_small_is_judged_in_replay_as_it_was_live() {
    let _turn = live!();
    let Given { scene, early, _server, judged } = begin(&["--max-flows", "3", "--events", "+named"]);
    let _web = scene.server("203.0.113.7:443");
    let each = "socket=4 connect=203.0.113.7:443 send=20 keep";
    let mut many = scene.actor(&format!("uid=10123 {} socket=4 wait", format!("{each} ").repeat(6)));
    many.report();
    scene.tracer.expect("one that had to go", |record| text(record, "flow.end") == "evicted");
    drop(many);
    drop(early);
    let files = scene.files;
    let stream = scene.tracer.stop();
    replay::twice(&stream, &judged);
    drop(files);
}

#[test]
fn a_capture_of_one_app_only_is_judged_in_replay_as_it_was_live() {
    let _turn = live!();
    let Given { scene, early, _server, judged } = begin(&["--uid", "10123"]);
    let _web = scene.server("203.0.113.7:443");
    let is_of = |uid: &'static str| move |record: &Value| text(record, "user.id") == uid;
    let one = scene.act("uid=10123 socket=4 connect=203.0.113.7:443 send=20 tell close");
    scene.act("uid=10140 socket=4 connect=203.0.113.7:443 send=20 tell close");
    scene.expect(&one, "close");
    drop(early);
    let files = scene.files;
    let stream = scene.tracer.stop();
    assert!(stream.records.iter().any(is_of("10123")));
    assert!(!stream.records.iter().any(is_of("10140")));
    replay::twice(&stream, &judged);
    drop(files);
}
