//! Names that were asked for by DNS.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tracer_tests::live;
use tracer_tests::record::{at, number, text};

use crate::servers::{Dns, serve};
use crate::stage::{DNS, Resolver, Stage};

const UID: u32 = 10_123;
const WWW: &str = "--host-record=www.example.test,203.0.113.80";

#[test]
fn a_name_asked_by_dns_stands_at_the_connection_from_its_beginning() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let dns = Dns::start(&stage, &[WWW]);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000"]);
    let port = stage.app(UID).python().port("meet www.example.test 7000");
    dns.expect_question("A", "www.example.test");
    let flow = stage.tcp(port);
    flow.began_as("www.example.test", "dns");
    flow.is_named("www.example.test", "dns");
    assert!(!flow.is_ambiguous() && flow.candidates().is_empty(), "{}", flow.last());
    stage.stop();
}

#[test]
fn the_registered_domain_is_what_somebody_can_register() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &["--host-record=a.b.example.co.uk,203.0.113.80"]);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000"]);
    let flow = stage.tcp(stage.app(UID).python().port("meet a.b.example.co.uk 7000"));
    flow.is_named("a.b.example.co.uk", "dns");
    assert_eq!(text(flow.last(), "destination.registered_domain"), "example.co.uk");
    stage.stop();
}

#[test]
fn a_chain_of_aliases_has_the_name_that_was_asked_for() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    let options = [
        "--host-record=edge-7.cdn.test,203.0.113.80",
        "--cname=shop.cdn.test,edge-7.cdn.test",
        "--cname=shop.example.test,shop.cdn.test",
    ];
    let _dns = Dns::start(&stage, &options);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000"]);
    let flow = stage.tcp(stage.app(UID).python().port("meet shop.example.test 7000"));
    flow.began_as("shop.example.test", "dns");
    flow.is_named("shop.example.test", "dns");
    let answer = stage.answer(UID, "shop.example.test", "A");
    assert_eq!(at(&answer, "dns.resolved_ip"), &json!(["203.0.113.80"]), "{answer}");
    stage.stop();
}

#[test]
fn an_address_of_ipv6_has_its_name_too() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let dns = Dns::start(&stage, &["--host-record=six.example.test,2001:db8::80"]);
    let _servers = serve(&stage, &["echo=2001:db8::80:7000"]);
    let port = stage.app(UID).python().port("meet six.example.test 7000");
    dns.expect_question("AAAA", "six.example.test");
    let flow = stage.tcp(port);
    assert_eq!(text(flow.last(), "destination.ip"), "2001:db8::80");
    flow.began_as("six.example.test", "dns");
    flow.is_named("six.example.test", "dns");
    stage.stop();
}

#[test]
fn a_question_over_tcp_names_as_one_over_udp_does() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    let _dns = Dns::start(&stage, &[WWW]);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000"]);
    let port = stage.app(UID).asking(Resolver::OverTcp).python().port("meet www.example.test 7000");
    // The question really went over TCP.
    let asked = stage.flows_to(UID, "tcp", 53);
    asked.iter().for_each(|flow| flow.is_nameless());
    stage.tcp(port).is_named("www.example.test", "dns");
    let answer = stage.answer(UID, "www.example.test", "A");
    assert_eq!(text(&answer, "dns.response_code"), "NOERROR", "{answer}");
    stage.stop();
}

#[test]
fn an_answer_too_long_for_a_datagram_names_every_address() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    let addresses = (0..120).map(|last| format!("203.0.113.{} big.example.test\n", last + 80));
    let hosts = stage.write("zone", addresses.collect::<String>());
    let dns = Dns::start(&stage, &[&format!("--addn-hosts={}", hosts.display())]);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000", "echo=203.0.113.81:7000"]);
    let mut python = stage.app(UID).python();
    let answer = python.step("ask big.example.test");
    assert_eq!(answer["addresses"].as_array().map(Vec::len), Some(120), "{answer}");
    // The datagram said that there is more, and the resolver asked again by TCP.
    stage.flows_to(UID, "tcp", 53);
    dns.expect_question("A", "big.example.test");
    for ip in ["203.0.113.80", "203.0.113.81"] {
        stage.tcp(python.port(&format!("connect {ip} 7000"))).is_named("big.example.test", "dns");
    }
    stage.stop();
}

#[test]
fn a_datagram_has_the_name_of_the_host_it_goes_to() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &[WWW]);
    let flow = stage.udp(stage.app(UID).python().port("throw www.example.test 7001"));
    flow.began_as("www.example.test", "dns");
    flow.is_named("www.example.test", "dns");
    stage.stop();
}

#[test]
fn a_question_is_told_with_its_answer_and_who_asked() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    let addresses = ["203.0.113.80", "203.0.113.81", "2001:db8::80"];
    let hosts = stage.write("zone", addresses.map(|ip| format!("{ip} two.example.test\n")).concat());
    let _dns = Dns::start(&stage, &[&format!("--addn-hosts={}", hosts.display())]);
    let mut python = stage.app(UID).python();
    python.step("ask two.example.test");
    for (kind, wanted) in [("A", json!(["203.0.113.80", "203.0.113.81"])), ("AAAA", json!(["2001:db8::80"]))]
    {
        let answer = stage.answer(UID, "two.example.test", kind);
        assert_eq!(text(&answer, "dns.response_code"), "NOERROR", "{answer}");
        let mut addresses = at(&answer, "dns.resolved_ip").clone();
        addresses.as_array_mut().unwrap().sort_by_key(Value::to_string);
        assert_eq!(addresses, wanted, "{answer}");
        let server = (text(&answer, "destination.ip"), number(&answer, "destination.port"));
        assert_eq!(server, (DNS, Some(53)), "{answer}");
        assert_eq!(number(&answer, "process.pid"), Some(python.pid().into()), "{answer}");
        let took = number(&answer, "event.duration").unwrap();
        assert!((1..30_000_000_000).contains(&took), "{answer}");
    }
    stage.stop();
}

#[test]
fn a_name_that_does_not_exist_is_told_as_such() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    let dns = Dns::start(&stage, &[WWW]);
    let answer = stage.app(UID).python().step("ask nothing.example.test");
    assert!(answer.get("error").is_some(), "{answer}");
    dns.expect_question("A", "nothing.example.test");
    let answer = stage.answer(UID, "nothing.example.test", "A");
    assert_eq!(text(&answer, "dns.response_code"), "NXDOMAIN", "{answer}");
    assert_eq!(at(&answer, "dns.resolved_ip"), &Value::Null, "{answer}");
    stage.stop();
}

#[test]
fn an_address_in_the_hint_of_an_https_record_has_its_name() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    // Priority 1, the name itself, alpn=h2, ipv4hint=203.0.113.80 (RFC 9460, section 2.2).
    let record = "--dns-rr=svc.example.test,65,000100000100030268320004 0004cb007150".replace(' ', "");
    let _dns = Dns::start(&stage, &[&record]);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000"]);
    let mut python = stage.app(UID).python();
    let answer = python.step("dns 203.0.113.53 65 svc.example.test");
    assert!(answer.to_string().contains("cb007150"), "{answer}");
    let flow = stage.tcp(python.port("connect 203.0.113.80 7000"));
    flow.is_named("svc.example.test", "dns");
    assert_eq!(text(&stage.answer(UID, "svc.example.test", "HTTPS"), "dns.response_code"), "NOERROR");
    stage.stop();
}

#[test]
fn an_address_that_went_to_another_host_has_the_new_name() {
    let _turn = live!(alone);
    let ttl = Duration::from_secs(1);
    let stage = Stage::new();
    let hosts = stage.write("zone", "203.0.113.80 old.example.test\n203.0.113.81 new.example.test\n");
    let file = format!("--addn-hosts={}", hosts.display());
    let dns = Dns::with_ttl(&stage, 1, &[&file]);
    let _servers = serve(&stage, &["echo=203.0.113.80:7000", "echo=203.0.113.81:7000"]);
    let mut python = stage.app(UID).python();
    stage.tcp(python.port("meet old.example.test 7000")).is_named("old.example.test", "dns");
    let asked = Instant::now();

    stage.write("zone", "203.0.113.81 old.example.test\n203.0.113.80 new.example.test\n");
    let before = dns.program.lines().len();
    dns.program.signal(Signal::HUP);
    dns.program.expect_after(before, "new list of hosts", |line| line.contains("/zone"));
    // The one thing that a deadline cannot tell: that the first answer is too old.
    std::thread::sleep((asked + 2 * ttl).saturating_duration_since(Instant::now()));
    for name in ["new.example.test", "old.example.test"] {
        let flow = stage.tcp(python.port(&format!("meet {name} 7000")));
        flow.is_named(name, "dns");
        assert!(!flow.is_ambiguous(), "the other answer is too old to count: {}", flow.last());
    }
    stage.stop();
}
