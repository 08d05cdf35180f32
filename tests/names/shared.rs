//! One address with several names: whose question was it?

use tracer_tests::live;
use tracer_tests::record::text;

use crate::servers::{Dns, serve};
use crate::stage::{Resolver, Stage};

const FIRST: u32 = 10_123;
const SECOND: u32 = 10_124;
const THIRD: u32 = 10_125;
const ONE_ADDRESS: [&str; 2] =
    ["--host-record=one.example.test,203.0.113.80", "--host-record=two.example.test,203.0.113.80"];
const SERVER: &[&str] = &["echo=203.0.113.80:7000"];
const CONNECT: &str = "connect 203.0.113.80 7000";

/// Lets two apps ask, and then both connect: each has its own name.
fn each_has_its_own(stage: &Stage, uids: [u32; 2], resolver: Resolver) {
    let mut apps = uids.map(|uid| stage.app(uid).asking(resolver).python());
    let names = ["one.example.test", "two.example.test"];
    for (app, name) in apps.iter_mut().zip(names) {
        let answer = app.step(&format!("ask {name}"));
        assert!(answer.to_string().contains("203.0.113.80"), "{answer}");
    }
    for (app, name) in apps.iter_mut().zip(names) {
        let flow = stage.tcp(app.port(CONNECT));
        flow.began_as(name, "dns");
        flow.is_named(name, "dns");
    }
}

#[test]
fn two_apps_that_ask_for_different_names_of_an_address_have_their_own() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &ONE_ADDRESS);
    let _servers = serve(&stage, SERVER);
    each_has_its_own(&stage, [FIRST, SECOND], Resolver::Direct);
    stage.stop();
}

#[test]
fn two_names_with_the_same_alias_are_each_the_one_that_was_asked_for() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let options = [
        "--host-record=edge.cdn.test,203.0.113.80",
        "--cname=one.example.test,edge.cdn.test",
        "--cname=two.example.test,edge.cdn.test",
    ];
    let _dns = Dns::start(&stage, &options);
    let _servers = serve(&stage, SERVER);
    each_has_its_own(&stage, [FIRST, SECOND], Resolver::Direct);
    stage.stop();
}

#[test]
fn many_apps_at_the_same_time_have_their_own_names() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let names: Vec<String> = (0..24).map(|number| format!("app-{number}.example.test")).collect();
    let hosts =
        stage.write("zone", names.iter().map(|name| format!("203.0.113.80 {name}\n")).collect::<String>());
    let _dns = Dns::start(&stage, &[&format!("--addn-hosts={}", hosts.display())]);
    let _servers = serve(&stage, &["http=203.0.113.80:80"]);
    // Each ends as soon as it has its page.
    let ports: Vec<u16> = std::thread::scope(|scope| {
        let get = |(uid, name): (u32, &String)| {
            let (app, page) = (stage.app(uid), format!("http://{name}/"));
            scope.spawn(move || app.curl(&[&page]))
        };
        let threads: Vec<_> = (FIRST..).zip(&names).map(get).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (port, name) in ports.into_iter().zip(&names) {
        let flow = stage.tcp(port);
        flow.began_as(name, "dns");
        flow.is_named(name, "http_host");
    }
    stage.stop();
}

#[test]
fn an_address_in_another_network_is_another_host() {
    let _turn = live!(alone);
    let here = Stage::new();
    let there = here.beside();
    let dns = (
        Dns::start(&here, &["--host-record=here.example.test,203.0.113.80"]),
        Dns::start(&there, &["--host-record=there.example.test,203.0.113.80"]),
    );
    let servers = (serve(&here, SERVER), serve(&there, SERVER));
    // The same app, which asks in one network first and in the other last.
    let mut apps = [here.app(FIRST).python(), there.app(FIRST).python()];
    apps[0].step("ask here.example.test");
    apps[1].step("ask there.example.test");
    for (stage, app, name) in [(&here, 0, "here.example.test"), (&there, 1, "there.example.test")] {
        let flow = stage.tcp(apps[app].port(CONNECT));
        flow.is_named(name, "dns");
        assert!(!flow.is_ambiguous(), "{}", flow.last());
    }
    drop((dns, servers, apps, there));
    here.stop();
}

#[test]
fn two_processes_of_an_app_have_their_own_names() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &ONE_ADDRESS);
    let _servers = serve(&stage, SERVER);
    each_has_its_own(&stage, [FIRST, FIRST], Resolver::Direct);
    stage.stop();
}

#[test]
fn a_stub_that_passes_questions_on_does_not_take_the_names_of_the_apps() {
    let _turn = live!(alone);
    let stage = Stage::with(&["--events", "+dns"]);
    let dns = Dns::start(&stage, &ONE_ADDRESS);
    let stub = Dns::stub(&stage);
    let _servers = serve(&stage, SERVER);
    each_has_its_own(&stage, [FIRST, SECOND], Resolver::Stub);
    for (uid, name) in [(FIRST, "one.example.test"), (SECOND, "two.example.test")] {
        stub.expect_question("A", name);
        dns.expect_question("A", name);
        assert_eq!(text(&stage.answer(uid, name, "A"), "destination.ip"), "127.0.0.1");
        assert_eq!(text(&stage.answer(0, name, "A"), "destination.ip"), "203.0.113.53");
    }
    // Loopback is looked at, but not shown.
    let to_stub = |record: &serde_json::Value| {
        text(record, "event.action") != "dns" && text(record, "destination.ip") == "127.0.0.1"
    };
    assert_eq!(stage.tracer.last(to_stub), None);
    stage.stop();
}

#[test]
fn an_app_that_asked_nobody_is_told_what_others_asked_and_that_it_was_others() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &ONE_ADDRESS);
    let _servers = serve(&stage, SERVER);
    stage.app(FIRST).python().step("ask one.example.test");
    let flow = stage.tcp(stage.app(THIRD).python().port(CONNECT));
    flow.is_named("one.example.test", "other_dns");
    stage.stop();
}

#[test]
fn another_process_of_an_app_that_asked_has_the_name_from_the_app() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &ONE_ADDRESS);
    let _servers = serve(&stage, SERVER);
    stage.app(SECOND).python().step("ask two.example.test");
    stage.app(FIRST).python().step("ask one.example.test");
    stage.app(THIRD).python().step("ask two.example.test");
    let flow = stage.tcp(stage.app(FIRST).python().port(CONNECT));
    flow.is_named("one.example.test", "dns");
    stage.stop();
}

#[test]
fn two_names_of_an_address_that_one_process_asked_for_are_ambiguous() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &ONE_ADDRESS);
    let _servers = serve(&stage, SERVER);
    let mut python = stage.app(FIRST).python();
    python.step("ask one.example.test");
    python.step("ask two.example.test");
    let flow = stage.tcp(python.port(CONNECT));
    flow.is_named("two.example.test", "dns");
    assert!(flow.is_ambiguous(), "{}", flow.last());
    assert_eq!(flow.candidates(), ["one.example.test"], "{}", flow.last());
    stage.stop();
}

#[test]
fn the_first_message_settles_which_of_two_names_was_meant() {
    let _turn = live!(alone);
    let stage = Stage::new();
    let _dns = Dns::start(&stage, &ONE_ADDRESS);
    let _servers = serve(&stage, &["tls=203.0.113.80:443"]);
    let mut python = stage.app(FIRST).python();
    python.step("ask one.example.test");
    python.step("ask two.example.test");
    let flow = stage.tcp(python.port("tls 203.0.113.80 443 one.example.test 0 10000"));
    flow.has_no_other_name(&["one.example.test", "two.example.test"]);
    assert_eq!(text(flow.last(), "destination.name.source"), "sni");
    assert_eq!(text(flow.last(), "destination.domain"), "one.example.test", "{}", flow.last());
    assert!(!flow.is_ambiguous(), "{}", flow.last());
    stage.stop();
}
