//! Names in the first message of TLS.

use tracer_tests::live;
use tracer_tests::record::{action, at, text};

use crate::servers::{Dns, serve};
use crate::stage::Stage;

const UID: u32 = 10_123;
const WWW: &str = "--host-record=www.example.test,203.0.113.80";
const SERVER: &[&str] = &["tls=203.0.113.80:443"];

#[test]
fn a_name_that_nobody_asked_for_is_read_from_the_first_message() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let dns = Dns::start(&stage, &[WWW]);
    let servers = serve(&stage, SERVER);
    let to = ["--http1.1", "--resolve", "www.example.test:443:203.0.113.80", "https://www.example.test/"];
    let port = stage.app(UID).curl(&to);
    servers.expect("hello www.example.test");
    assert!(!dns.was_asked("www.example.test"));
    let flow = stage.tcp(port);
    flow.is_named("www.example.test", "sni");
    flow.greeted("www.example.test", "http/1.1");
    assert_eq!(flow.protocol(), "tls");
    assert_eq!(at(flow.first(), "destination.domain"), &serde_json::Value::Null, "{}", flow.first());
    stage.stop();
}

#[test]
fn a_connection_begins_with_the_name_from_dns_and_ends_with_the_one_it_said() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+named"]);
    let dns = Dns::start(&stage, &[WWW]);
    let servers = serve(&stage, SERVER);
    let port = stage.app(UID).curl(&["https://www.example.test/"]);
    servers.expect("asked www.example.test");
    dns.expect_question("A", "www.example.test");
    let flow = stage.tcp(port);
    flow.began_as("www.example.test", "dns");
    flow.is_named("www.example.test", "sni");
    flow.greeted("www.example.test", "h2");
    assert!(flow.records.iter().any(|record| action(record) == "named"), "{:?}", flow.records);
    stage.stop();
}

#[test]
fn what_the_first_message_says_counts_more_than_what_was_asked() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &["--host-record=front.example.test,203.0.113.80"]);
    let servers = serve(&stage, SERVER);
    let to =
        ["--connect-to", "behind.example.test:443:front.example.test:443", "https://behind.example.test/"];
    let port = stage.app(UID).curl(&to);
    servers.expect("hello behind.example.test");
    let flow = stage.tcp(port);
    flow.began_as("front.example.test", "dns");
    assert_eq!(text(flow.last(), "destination.domain"), "behind.example.test", "{}", flow.last());
    assert_eq!(text(flow.last(), "destination.name.source"), "sni", "{}", flow.last());
    stage.stop();
}

#[test]
fn a_first_message_is_read_in_however_many_pieces_it_comes() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let servers = serve(&stage, SERVER);
    let mut python = stage.app(UID).python();
    // Over 2 KiB, in one call and in several, and a short one in many.
    for (number, (length, piece)) in [(2500, 65536), (2500, 1200), (2500, 300), (0, 20)].iter().enumerate() {
        let name = format!("long-{number}.example.test");
        let answer = python.step(&format!("tls 203.0.113.80 443 {name} {length} {piece}"));
        servers.expect(&format!("hello {name}"));
        assert!(answer["hello"].as_u64() > Some(*length), "{answer}");
        let flow = stage.tcp(answer["port"].as_u64().unwrap().try_into().unwrap());
        flow.is_named(&name, "sni");
        flow.greeted(&name, "http/1.1");
    }
    stage.stop();
}

#[test]
fn a_greeting_on_an_unusual_port_is_read_too() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _servers = serve(&stage, &["tls=203.0.113.80:8843"]);
    let to = ["--resolve", "www.example.test:8843:203.0.113.80", "https://www.example.test:8843/"];
    let flow = stage.tcp(stage.app(UID).curl(&to));
    flow.is_named("www.example.test", "sni");
    stage.stop();
}
