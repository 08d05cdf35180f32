//! Names in the first datagrams of QUIC.

use tracer_tests::live;
use tracer_tests::record::{at, text};

use crate::apps::browser;
use crate::servers::{Dns, serve_quic};
use crate::stage::Stage;

const UID: u32 = 10_123;
const WWW: &str = "--host-record=www.example.test,203.0.113.80";
const SERVER: &str = "203.0.113.80:443";

/// First messages in one datagram, in two, and in three.
fn is_read(how: &str) {
    let stage = Stage::new();
    let servers = serve_quic(&stage, SERVER);
    for length in [0, 1500, 2800] {
        let name = format!("quic-{length}.example.test");
        let port = stage.app(UID).quic(SERVER, &name, length, how);
        servers.expect(&format!("asked {name}"));
        let flow = stage.udp(port);
        flow.is_named(&name, "sni");
        flow.greeted(&name, "h3");
        assert_eq!(flow.protocol(), "quic");
    }
    stage.stop();
}

#[test]
fn a_name_is_read_from_the_first_datagrams_however_many_they_are() {
    let _turn = live!(alone);
    is_read("apart");
}

#[test]
fn a_name_is_read_from_datagrams_that_go_to_the_kernel_in_one_call() {
    let _turn = live!(alone);
    is_read("together");
}

#[test]
fn a_browser_says_its_host_by_http3() {
    let _turn = live!(alone);
    let Some(browser) = browser() else {
        return tracer_tests::live::skip("a_browser_says_its_host_by_http3", "no Chromium");
    };
    let stage = Stage::new();
    let dns = Dns::start(&stage, &[WWW]);
    let servers = serve_quic(&stage, SERVER);
    let quic = ["--enable-quic", "--origin-to-force-quic-on=www.example.test:443"];
    stage.app(UID).chromium(browser, &quic, "https://www.example.test/");
    servers.expect("asked www.example.test");
    dns.expect_question("A", "www.example.test");
    for flow in stage.flows_to(UID, "udp", 443) {
        flow.began_as("www.example.test", "dns");
        flow.is_named("www.example.test", "sni");
        assert_eq!(flow.protocol(), "quic");
        assert_eq!(text(flow.last(), "tls.client.server_name"), "www.example.test", "{}", flow.last());
        assert_eq!(at(flow.last(), "tls.client.alpn"), &serde_json::json!(["h3"]), "{}", flow.last());
    }
    stage.stop();
}
