//! How the program starts, ends and gets along with others.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::netns::Netns;
use tracer_tests::record::{action, at, is_flow, number, text};
use tracer_tests::temp::TempDir;
use tracer_tests::tracer::Tracer;
use tracer_tests::{bpf, live, programs, scenario};

use crate::scene::{Listener, Scene, wait_until};

const SERVER: &str = "203.0.113.7:5000";
const CONNECT: &str = "socket=4 connect=203.0.113.7:5000 tell";

#[test]
fn duration_ends_the_stream_by_itself() {
    let _turn = live!();
    let stream = Tracer::start(["--duration", "300ms"]).end();
    stream.check();
    assert!(text(stream.stop(), "tracer.message").contains("--duration"), "{}", stream.stop());
}

#[test]
fn interrupt_and_terminate_flush_and_end_in_order() {
    let _turn = live!();
    for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
        let scene = Scene::new();
        // No wait for the record: what happened before the signal is in the stream all the same.
        let report = scene.act(CONNECT);
        scene.tracer.signal(signal);
        let stream = scene.tracer.end();
        stream.check();
        assert!(text(stream.stop(), "tracer.message").contains(name), "{}", stream.stop());
        assert_eq!(stream.actions(report.cookie()), ["connect", "failed"]);
    }
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_program_quietly_even_when_nothing_happens() {
    let _turn = live!();
    let mut child = Command::new(programs::tracer())
        .args(["--uid", "4000000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    // The reader is dropped with its pipe at the end of the statement, as `head -1` ends after its line.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"start\""), "{first}");
    let mut status = None;
    wait_until("the tracer ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}");
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.lines().all(|line| line.contains("warning:")), "{errors}");
}

#[test]
fn loopback_is_left_out_and_counted() {
    let _turn = live!();
    let scene = Scene::new();
    // It marks the sockets, so that the kernel calls the programs of both at their end.
    let other = Tracer::start(["--include-loopback"]);
    let _v4 = scene.server("127.0.0.1:5000");
    let _v6 = scene.server("[::1]:5000");
    let _global = scene.server(SERVER);
    let v4 = scene.act("socket=4 connect=127.0.0.1:5000 tell");
    let v6 = scene.act("socket=6 connect=[::1]:5000 tell");
    let mapped = scene.act("socket=6 connect=[::ffff:127.0.0.1]:5000 tell");
    scene.expect(&scene.act(CONNECT), "close");
    let stream = scene.stop();
    other.stop();
    for report in [v4, v6, mapped] {
        assert_eq!(stream.actions(report.cookie()), [] as [&str; 0]);
    }
    let loopback = stream.counts("totals.loopback");
    assert!(loopback["connect"] >= 3 && loopback["accept"] >= 3, "{loopback:?}");
}

#[test]
fn loopback_is_shown_when_it_is_asked_for() {
    let _turn = live!();
    let scene = Scene::with(&["--include-loopback"]);
    let _v4 = scene.server("127.0.0.1:5000");
    let _v6 = scene.server("[::1]:5000");
    for steps in ["socket=4 connect=127.0.0.1:5000 tell", "socket=6 connect=[::1]:5000 tell"] {
        let report = scene.act(steps);
        let record = scene.expect(&report, "close");
        assert_eq!(text(&record, "destination.scope"), "loopback");
    }
    let stream = scene.stop();
    assert_eq!(stream.counts("totals.loopback").len(), 0);
}

#[test]
fn two_tracers_see_the_same_connection() {
    let _turn = live!();
    let scene = Scene::new();
    let other = Tracer::start([] as [&str; 0]);
    let _server = scene.server(SERVER);
    let mut actor = scene.actor("socket=4 connect=203.0.113.7:5000 wait close");
    let report = actor.report();
    // Both have looked at the process before it ends.
    scene.expect(&report, "established");
    other.expect_flow(report.cookie(), "established");
    actor.go().done();
    for action in ["connect", "established", "close"] {
        let ours = scene.expect(&report, action);
        let theirs = other.expect_flow(report.cookie(), action);
        for field in
            ["flow.id", "source", "destination", "network", "process.pid", "process.executable", "user"]
        {
            assert_eq!(at(&ours, field), at(&theirs, field), "{field}");
        }
    }
    // The end of one leaves the other at work.
    other.stop();
    let report = scene.act(CONNECT);
    scene.expect(&report, "close");
    scene.stop();
}

#[test]
fn a_program_of_somebody_else_stays_attached() {
    let _turn = live!();
    let foreign = bpf::Foreign::attach().unwrap();
    let scene = Scene::new();
    assert!(bpf::attached(bpf::CGROUP_SOCK_OPS).unwrap().contains(&foreign.id), "attached beside ours");
    let _server = scene.server(SERVER);
    scene.expect(&scene.act(CONNECT), "close");
    scene.stop();
    assert!(
        bpf::attached(bpf::CGROUP_SOCK_OPS).unwrap().contains(&foreign.id),
        "and still there after our end"
    );
}

/// Ids of the programs that this process holds or has linked to a hook.
fn programs_of(pid: u32) -> Vec<u32> {
    let infos = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let text = infos.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default());
    let ids = text.flat_map(|info| {
        let ids = info.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
        ids.collect::<Vec<u32>>()
    });
    let mut ids: Vec<u32> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[test]
fn no_end_leaves_a_program_attached() {
    let _turn = live!();
    for signal in [Signal::KILL, Signal::TERM, Signal::ABORT] {
        let tracer = Tracer::start([] as [&str; 0]);
        let ours = programs_of(tracer.pid());
        let names: Vec<_> = ours.iter().filter_map(|id| bpf::name(*id)).collect();
        let has_sock_ops = scenario::tcp_method() == "sock_ops";
        let wanted = if has_sock_ops { "tracer_sock_ops" } else { "tracer_states" };
        assert!(names.iter().any(|name| name == wanted), "{names:?}");
        assert!(names.iter().all(|name| name.starts_with("tracer_")), "{names:?}");
        let attached = bpf::attached(bpf::CGROUP_SOCK_OPS).unwrap();
        let count = ours.iter().filter(|id| attached.contains(id)).count();
        assert_eq!(count, usize::from(has_sock_ops), "{names:?}");
        tracer.signal(signal);
        tracer.end();
        // A program that is attached anywhere is still there.
        wait_until("every program is gone", || ours.iter().all(|id| bpf::name(*id).is_none()));
    }
}

#[test]
fn pretty_output_is_one_printable_line_a_connection() {
    let _turn = live!();
    let files = TempDir::new();
    let path = files.path().join("out");
    let tracer =
        Tracer::spawn(["--format".as_ref(), "pretty".as_ref(), "--output".as_ref(), path.as_os_str()]);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until("the stream has begun", || read().contains("watching TCP connections"));
    let netns = Netns::new().unwrap();
    let _server = Listener::start(&netns, "", SERVER, 8, "serve");
    let steps = ["name=\\e[31m\\nX", "socket=4", "connect=203.0.113.7:5000", "tell"];
    let mut actor = tracer_tests::actor::Actor::start(&netns, steps);
    let pid = actor.report().get("pid");
    let mark = format!(r"\x1b[31m\x0aX/{pid} ");
    wait_until("the connection is there", || read().contains(&mark));
    tracer.signal(Signal::TERM);
    assert!(tracer.end().status.success());
    let text = read();
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    assert_eq!(text.lines().filter(|line| line.contains(&mark)).count(), 1, "{text}");
    assert!(text.lines().last().unwrap().contains(" stop "), "{text}");
}

#[test]
fn a_file_takes_the_records_when_one_is_given() {
    let _turn = live!();
    let files = TempDir::new();
    let path = files.path().join("out.jsonl");
    let stream =
        Tracer::spawn(["--duration".as_ref(), "200ms".as_ref(), "-o".as_ref(), path.as_os_str()]).end();
    assert!(stream.status.success(), "{}", stream.stderr);
    assert_eq!(stream.records.len(), 0, "nothing on standard output");
    let text = std::fs::read_to_string(path).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.first().map(action), Some("start"));
    assert_eq!(records.last().map(action), Some("stop"));
}

#[test]
fn a_connect_without_a_route_never_reaches_the_hook() {
    let _turn = live!();
    let scene = Scene::new();
    let report = scene.act("socket=4 connect=192.0.2.55:443 tell");
    assert_eq!(report.errno(), libc::ENETUNREACH);
    scene.expect(&scene.act(CONNECT), "failed");
    let stream = scene.stop();
    assert!(
        !stream.records.iter().any(|record| is_flow(record, report.cookie())),
        "docs/limits.md is out of date"
    );
}

#[test]
fn figures_come_when_they_are_asked_for_and_while_something_happens() {
    let _turn = live!();
    let scene = Scene::with(&["--stats", "300ms", "--max-flows", "77"]);
    scene.tracer.signal(Signal::USR1);
    let asked = scene.tracer.expect("stats", |record| action(record) == "stats");
    assert_eq!(number(&asked, "tracer.flows.most"), Some(77), "{asked}");
    assert!(number(&asked, "tracer.memory_kib") > Some(1000), "{asked}");
    assert!(number(&asked, "tracer.totals.cpu_ms").is_some(), "{asked}");

    let _listener = scene.listen(SERVER, "accept wait");
    let mut actor = scene.actor("socket=4 connect=203.0.113.7:5000 wait");
    actor.report();
    let told = scene.tracer.expect("stats of the connection", |record| {
        action(record) == "stats" && number(record, "tracer.totals.kernel_events.accept") >= Some(1)
    });
    assert!(number(&told, "tracer.flows.open") >= Some(2), "{told}");
    scene.stop();
}
