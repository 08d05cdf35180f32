//! Names in cleartext requests, and the browser.

use tracer_tests::live;
use tracer_tests::record::{at, text};

use crate::apps::browser;
use crate::servers::{Dns, serve, serve_quic};
use crate::stage::Stage;

const UID: u32 = 10_123;
const WWW: &str = "--host-record=www.example.test,203.0.113.80";
const SERVER: &[&str] = &["http=203.0.113.80:80"];

#[test]
fn a_cleartext_request_says_its_host_and_is_marked_as_cleartext() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let servers = serve(&stage, SERVER);
    let to = ["--resolve", "www.example.test:80:203.0.113.80", "http://www.example.test/secret"];
    let port = stage.app(UID).curl(&to);
    servers.expect("asked www.example.test");
    let flow = stage.tcp(port);
    flow.is_named("www.example.test", "http_host");
    assert_eq!(flow.protocol(), "http");
    assert_eq!(at(flow.last(), "network.cleartext"), true, "{}", flow.last());
    // What else is in the request is nobody's business.
    assert!(!stage.tracer.so_far().iter().any(|record| record["destination"].to_string().contains("secret")));
    stage.stop();
}

#[test]
fn a_host_with_a_port_is_named_without_it() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let servers = serve(&stage, &["http=203.0.113.80:8080"]);
    let to = ["--resolve", "WWW.Example.test:8080:203.0.113.80", "http://WWW.Example.test:8080/"];
    let port = stage.app(UID).curl(&to);
    servers.expect(":8080");
    stage.tcp(port).is_named("www.example.test", "http_host");
    stage.stop();
}

#[test]
fn an_address_in_a_request_is_no_name() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let servers = serve(&stage, SERVER);
    let port = stage.app(UID).curl(&["http://203.0.113.80/"]);
    servers.expect("asked 203.0.113.80");
    let flow = stage.tcp(port);
    flow.is_nameless();
    assert_eq!(flow.protocol(), "http");
    stage.stop();
}

#[test]
fn requests_of_one_connection_do_not_rename_it_by_chance() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &[WWW]);
    let _servers = serve(&stage, SERVER);
    let page = "http://www.example.test/";
    let flow = stage.tcp(stage.app(UID).curl(&[page, "--output", "/dev/null", page]));
    flow.began_as("www.example.test", "dns");
    flow.is_named("www.example.test", "http_host");
    stage.stop();
}

#[test]
fn a_browser_says_its_host_in_a_long_first_message_of_tls() {
    let _turn = live!(alone);
    let Some(browser) = browser() else {
        return tracer_tests::live::skip(
            "a_browser_says_its_host_in_a_long_first_message_of_tls",
            "no Chromium",
        );
    };
    let stage = Stage::new();
    let dns = Dns::start(&stage, &[WWW]);
    let servers = serve(&stage, &["tls=203.0.113.80:443"]);
    stage.app(UID).chromium(browser, &["--disable-quic"], "https://www.example.test/");
    servers.expect("asked www.example.test");
    let greeting = servers.expect("greeting of");
    let length = greeting.split(' ').nth(2).and_then(|bytes| bytes.parse().ok());
    assert!(length > Some(1500), "with a post-quantum key share: {greeting}");
    dns.expect_question("A", "www.example.test");
    for flow in stage.flows_to(UID, "tcp", 443) {
        flow.began_as("www.example.test", "dns");
        flow.is_named("www.example.test", "sni");
        assert_eq!(text(flow.last(), "tls.client.server_name"), "www.example.test", "{}", flow.last());
        assert_eq!(at(flow.last(), "tls.client.ech"), true, "Chromium always offers it: {}", flow.last());
    }
    stage.stop();
}

#[test]
fn a_browser_that_learns_of_http3_by_dns_has_its_name_whichever_way_it_takes() {
    let _turn = live!(alone);
    let Some(browser) = browser() else {
        return tracer_tests::live::skip(
            "a_browser_that_learns_of_http3_by_dns_has_its_name_whichever_way_it_takes",
            "no Chromium",
        );
    };
    let stage = Stage::with(&["--events", "+dns"]);
    // Priority 1, the name itself, alpn=h3 (RFC 9460, section 2.2).
    let dns = Dns::start(&stage, &[WWW, "--dns-rr=www.example.test,65,00010000010003026833"]);
    let _web = serve(&stage, &["tls=203.0.113.80:443"]);
    let quic = serve_quic(&stage, "203.0.113.80:443");
    stage.app(UID).chromium(browser, &["--enable-quic"], "https://www.example.test/");
    dns.expect_question("HTTPS", "www.example.test");
    assert_eq!(text(&stage.answer(UID, "www.example.test", "HTTPS"), "dns.response_code"), "NOERROR");
    let asked_quic = quic.lines().iter().any(|line| line.contains("asked www.example.test"));
    for flow in stage.flows_to(UID, if asked_quic { "udp" } else { "tcp" }, 443) {
        flow.is_named("www.example.test", "sni");
    }
    stage.stop();
}
