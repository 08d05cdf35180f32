//! Without names.

use tracer_tests::live;

use crate::expect::has_nothing_of_names;
use crate::servers::{Dns, serve, serve_quic};
use crate::stage::Stage;

const UID: u32 = 10_123;

#[test]
fn no_names_means_that_nothing_is_said_of_names() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--no-names"]);
    let dns = Dns::start(&stage, &["--host-record=www.example.test,203.0.113.80"]);
    let servers = serve(&stage, &["tls=203.0.113.80:443", "http=203.0.113.80:80", "echo=203.0.113.80:7000"]);
    let quic = serve_quic(&stage, "203.0.113.80:443");
    let app = stage.app(UID);
    let tcp = [
        app.curl(&["https://www.example.test/"]),
        app.curl(&["http://www.example.test/"]),
        app.python().port("meet www.example.test 7000"),
    ];
    let udp = app.quic("203.0.113.80:443", "www.example.test", 0, "together");
    servers.expect("hello www.example.test");
    quic.expect("asked www.example.test");
    dns.expect_question("A", "www.example.test");
    tcp.into_iter().for_each(|port| drop(stage.tcp(port)));
    stage.udp(udp);
    stage.tracer.so_far().iter().for_each(has_nothing_of_names);
    stage.stop();
}
