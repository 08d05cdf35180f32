//! Whose connection it is: owner, process, thread, ports and addresses.

use std::net::IpAddr;

use std::path::PathBuf;

use serde_json::{Value, json};
use tracer_tests::actor::{Actor, Report};
use tracer_tests::bpf;
use tracer_tests::record::{action, at, community_id, number, text};
use tracer_tests::{live, scenario};

use crate::scene::{Listener, Scene};

const SERVER: &str = "203.0.113.7:5000";

#[test]
fn a_connection_of_an_app_names_its_package_and_user() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let report = scene.act("uid=10123 socket=4 connect=203.0.113.7:5000 tell");
    for action in ["connect", "established", "close"] {
        let record = scene.expect(&report, action);
        assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]), "{action}");
        assert_eq!(at(&record, "app.uid"), &json!(10123));
        assert_eq!(at(&record, "app.android_user"), &json!(0));
        assert_eq!(at(&record, "app.kind"), &json!("app"));
        assert_eq!(text(&record, "user.id"), "10123");
        assert_eq!(text(&record, "process.user.id"), "10123");
        let method = scenario::tcp_method();
        let attribution =
            json!({"method": method, "owner": "sk_uid", "process": "connect", "confidence": "certain"});
        assert_eq!(at(&record, "attribution"), &attribution);
    }
    scene.stop();
}

#[test]
fn the_same_app_of_another_android_user_is_told_apart() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let report = scene.act("uid=1010123 socket=4 connect=203.0.113.7:5000 tell");
    let record = scene.expect(&report, "connect");
    assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]));
    assert_eq!(at(&record, "app.uid"), &json!(1_010_123));
    assert_eq!(at(&record, "app.app_id"), &json!(10123));
    assert_eq!(at(&record, "app.android_user"), &json!(10));
    assert_eq!(text(&record, "user.id"), "1010123");
    scene.stop();
}

#[test]
fn all_packages_that_share_a_uid_are_listed() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let report = scene.act("uid=10140 socket=4 connect=203.0.113.7:5000 tell");
    let record = scene.expect(&report, "connect");
    assert_eq!(at(&record, "app.package"), &json!(["com.example.suite.calendar", "com.example.suite.mail"]));
    scene.stop();
}

#[test]
fn a_socket_that_root_gave_to_an_app_belongs_to_the_app_while_the_task_is_root() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let report = scene.act("socket=4 fchown=10123 connect=203.0.113.7:5000 tell");
    for action in ["connect", "established", "close"] {
        let record = scene.expect(&report, action);
        assert_eq!(text(&record, "user.id"), "10123", "{action}");
        assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]));
        assert_eq!(text(&record, "process.user.id"), "0");
        assert_eq!(text(&record, "attribution.owner"), "sk_uid");
    }
    scene.stop();
}

#[test]
fn a_socket_keeps_its_owner_when_the_process_becomes_somebody_else() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let report = scene.act("socket=4 uid=10123 connect=203.0.113.7:5000 tell");
    let record = scene.expect(&report, "connect");
    assert_eq!(text(&record, "user.id"), "0");
    assert_eq!(text(&record, "process.user.id"), "10123");
    scene.stop();
}

#[test]
fn on_plain_linux_a_record_has_user_and_executable_and_no_app() {
    let _turn = live!();
    let root = tracer_tests::temp::TempDir::new();
    root.write("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nmaria:x:4321:4321::/home/maria:/bin/sh\n");
    let path = root.path().as_os_str().to_owned();
    let scene = Scene::with_files(root, &["--android-root".as_ref(), path.as_os_str()]);
    let _server = scene.server(SERVER);
    let mut actor = scene.actor("uid=4321 socket=4 connect=203.0.113.7:5000 wait");
    let record = scene.expect(&actor.report(), "connect");
    assert_eq!(at(&record, "user"), &json!({"id": "4321", "name": "maria"}));
    assert_eq!(at(&record, "app"), &Value::Null);
    assert_eq!(text(&record, "process.executable"), actor_path());
    scene.stop();
}

fn actor_path() -> String {
    let path = std::fs::canonicalize(tracer_tests::programs::actor()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Checks everything that a record says about who connected and where to, against what the actor said of itself.
fn check_identity(record: &Value, report: &Report, remote: (&str, u16), kind: &str) {
    let ip: IpAddr = remote.0.parse().unwrap();
    assert_eq!(text(record, "network.type"), kind);
    assert_eq!(text(record, "network.transport"), "tcp");
    assert_eq!(text(record, "network.direction"), "egress");
    assert_eq!(text(record, "source.ip"), remote.0, "on lo both ends have the same address");
    // The kernel decides the port after that moment.
    let is_undecided = action(record) == "connect" && scenario::current() == scenario::Scenario::NoSockOps;
    assert_eq!(number(record, "source.port"), (!is_undecided).then(|| report.port().into()));
    assert_eq!(text(record, "destination.ip"), remote.0);
    assert_eq!(number(record, "destination.port"), Some(remote.1.into()));
    let id = community_id(6, (ip, report.port()), (ip, remote.1));
    assert_eq!(text(record, "network.community_id"), if is_undecided { "" } else { &id });
    assert_eq!(number(record, "process.pid"), Some(report.get("pid")));
    assert_eq!(number(record, "process.thread.id"), Some(report.get("tid")));
    assert_eq!(number(record, "process.parent.pid"), Some(report.get("ppid")));
}

#[test]
fn ipv4_ipv6_and_v4_mapped_connections_carry_exact_ports_and_ids() {
    let _turn = live!();
    let scene = Scene::new();
    let _v4 = scene.server(SERVER);
    let _v6 = scene.server("[2001:db8::7]:5000");
    let cases = [
        ("socket=4 connect=203.0.113.7:5000 wait", "203.0.113.7", "ipv4"),
        ("socket=6 connect=[2001:db8::7]:5000 wait", "2001:db8::7", "ipv6"),
        ("socket=6 connect=[::ffff:203.0.113.7]:5000 wait", "203.0.113.7", "ipv4"),
    ];
    for (steps, remote, kind) in cases {
        let mut actor = scene.actor(steps);
        let report = actor.report();
        assert_eq!(report.errno(), 0, "{steps}");
        scene.expect(&report, "established");
        actor.go().done();
        for action in ["connect", "established", "close"] {
            let record = scene.expect(&report, action);
            check_identity(&record, &report, (remote, 5000), kind);
            assert_eq!(number(&record, "flow.netns"), Some(scene.netns.inode()));
        }
    }
    scene.stop();
}

#[test]
fn a_v4_mapped_listener_accepts_as_ipv4() {
    let _turn = live!();
    let scene = Scene::new();
    let mut server = Actor::start(
        &scene.netns,
        ["socket=6", "dual", "bind=[::]:5000", "listen=8", "wait", "accept", "tell", "eof"],
    );
    server.report();
    server.go();
    let client = scene.act("socket=4 connect=203.0.113.7:5000 tell");
    let accepted = server.report();
    let record = scene.expect(&accepted, "accept");
    assert_eq!(text(&record, "network.type"), "ipv4");
    assert_eq!(text(&record, "source.ip"), "203.0.113.7");
    assert_eq!(number(&record, "source.port"), Some(client.port().into()));
    assert_eq!(number(&record, "process.pid"), Some(accepted.get("pid")), "the listener was found");
    server.done();
    scene.stop();
}

#[test]
fn a_connection_of_a_thread_names_the_thread_and_its_process() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server(SERVER);
    let mut actor = scene.actor("thread name=worker-7 socket=4 connect=203.0.113.7:5000 wait");
    let report = actor.report();
    assert_ne!(report.get("pid"), report.get("tid"), "it is another thread");
    let record = scene.expect(&report, "connect");
    check_identity(&record, &report, ("203.0.113.7", 5000), "ipv4");
    assert_eq!(text(&record, "process.name"), "worker-7");
    scene.stop();
}

#[test]
fn a_record_describes_the_process() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server(SERVER);
    let steps = "socket=4 connect=203.0.113.7:5000 wait close ignore --with some arguments";
    let mut actor = scene.actor(steps);
    let report = actor.report();
    let record = scene.expect(&report, "connect");
    actor.go().done();
    assert_eq!(text(&record, "process.name"), "actor");
    assert_eq!(text(&record, "process.executable"), actor_path());
    let command_line = format!("{} {steps}", tracer_tests::programs::actor().display());
    assert_eq!(text(&record, "process.command_line"), command_line);
    assert_eq!(number(&record, "process.parent.pid"), Some(u64::from(std::process::id())));
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
    assert_eq!(text(&record, "process.parent.name"), comm.trim());
    let start = text(&record, "process.start").to_owned();
    assert!(!start.is_empty() && start.as_str() <= text(&record, "@timestamp"), "{start}");
    assert_eq!(text(&scene.expect(&report, "close"), "process.start"), start, "one process, one start time");
    scene.stop();
}

#[test]
fn an_accepted_connection_belongs_to_the_listener() {
    let _turn = live!();
    let scene = Scene::android();
    let steps = "accept tell eof close";
    let mut server = Listener::start(&scene.netns, "uid=10123", SERVER, 8, steps);
    let client = scene.act("uid=10140 socket=4 connect=203.0.113.7:5000 tell");
    let accepted = server.actor.report();
    server.actor.done();
    for action in ["accept", "close"] {
        let record = scene.expect(&accepted, action);
        assert_eq!(text(&record, "network.direction"), "ingress", "{action}");
        assert_eq!(number(&record, "source.port"), Some(client.port().into()));
        assert_eq!(number(&record, "destination.port"), Some(5000));
        assert_eq!(text(&record, "user.id"), "10123");
        assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]));
        assert_eq!(number(&record, "process.pid"), Some(server.listening.get("pid")));
        assert_eq!(text(&record, "attribution.process"), "listen");
        let ip: IpAddr = "203.0.113.7".parse().unwrap();
        assert_eq!(text(&record, "network.community_id"), community_id(6, (ip, client.port()), (ip, 5000)));
    }
    scene.stop();
}

/// A control group as a container runtime makes it; removed when it is dropped, after its processes.
struct ContainerGroup(PathBuf);

impl ContainerGroup {
    fn new(id: &str) -> Self {
        let path = bpf::cgroup_mount().unwrap().join(format!("docker-{id}.scope"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for ContainerGroup {
    fn drop(&mut self) {
        // Its last process may need a moment to be gone.
        let _ = (0..100).find(|_| {
            std::fs::remove_dir(&self.0).is_ok() || {
                std::thread::sleep(std::time::Duration::from_millis(20));
                false
            }
        });
    }
}

#[test]
fn a_process_in_a_container_is_told_with_its_control_group_and_host_pid() {
    let _turn = live!();
    let id = "4d9c3b2a1f0e4d9c3b2a1f0e4d9c3b2a1f0e4d9c3b2a1f0e4d9c3b2a1f0e4d9c";
    let group = ContainerGroup::new(id);
    let scene = Scene::new();
    let _server = scene.server(SERVER);
    let mut actor = scene.actor("wait socket=4 connect=203.0.113.7:5000 tell close");
    actor.report();
    std::fs::write(group.0.join("cgroup.procs"), actor.pid().to_string()).unwrap();
    let report = actor.go().report();
    let record = scene.expect(&report, "connect");
    assert_eq!(at(&record, "container"), &json!({"id": id, "runtime": "docker"}));
    assert!(text(&record, "process.cgroup").ends_with(&format!("/docker-{id}.scope")));
    assert_eq!(number(&record, "process.pid"), Some(u64::from(actor.pid())));
    actor.done();
    scene.stop();
    drop(group);
}

#[test]
fn a_process_that_ends_right_after_connect_is_still_named() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let mut actor = scene.actor("uid=10123 name=mayfly socket=4 connect=203.0.113.7:5000 exit");
    assert!(actor.wait().success());
    let record = scene.expect_here("connect");
    assert_eq!(number(&record, "process.pid"), Some(actor.pid().into()));
    assert_eq!(text(&record, "process.name"), "mayfly");
    assert_eq!(text(&record, "user.id"), "10123");
    assert_eq!(text(&record, "process.user.id"), "10123");
    assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]));
    let close = scene.expect_here("close");
    assert_eq!(text(&close, "process.name"), "mayfly");
    scene.stop();
}

#[test]
fn a_connection_stays_with_the_process_that_made_it_after_a_fork() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server(SERVER);
    let mut actor = scene.actor("uid=10123 socket=4 connect=203.0.113.7:5000 tell fork wait close");
    let parent = actor.report();
    let child = actor.report();
    assert!(actor.wait().success(), "the parent has ended");
    assert_ne!(parent.get("pid"), child.get("pid"));
    assert_eq!(parent.cookie(), child.cookie(), "one socket");
    assert!(!scene.records_here().iter().any(|record| text(record, "event.action") == "close"));
    actor.go();
    let close = scene.expect(&parent, "close");
    assert_eq!(number(&close, "process.pid"), Some(parent.get("pid")));
    assert_eq!(text(&close, "user.id"), "10123");
    assert_eq!(text(&close, "flow.end"), "closed");
    scene.stop();
}

#[test]
fn control_characters_in_names_and_arguments_are_escaped() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server(SERVER);
    let hostile = "\x1b]0;owned\x07\r\n\u{202e}{\"seq\":1}";
    let steps = ["name=\\e[31m\\nX", "socket=4", "connect=203.0.113.7:5000", "wait", "ignore", hostile];
    let mut actor = Actor::start(&scene.netns, steps);
    let report = actor.report();
    // The harness refuses any line with a control character in it.
    let record = scene.expect(&report, "connect");
    assert_eq!(text(&record, "process.name"), r"\x1b[31m\x0aX");
    let command_line = text(&record, "process.command_line");
    assert!(command_line.ends_with(r#"ignore \x1b]0;owned\x07\x0d\x0a\u{202e}{"seq":1}"#), "{command_line}");
    scene.stop();
}

#[test]
fn two_connections_of_one_process_tell_the_same_of_it() {
    let _turn = live!();
    let scene = Scene::new();
    let _server = scene.server(SERVER);
    let mut actor =
        scene.actor("socket=4 connect=203.0.113.7:5000 wait keep socket=4 connect=203.0.113.7:5000 wait");
    let first = scene.expect(&actor.report(), "established");
    actor.go();
    let second = scene.expect(&actor.report(), "established");
    assert_eq!(at(&first, "process"), at(&second, "process"));
    scene.stop();
}
