//! Which way each capability is got, on which kernel and in which scenario: as `expected.toml` says, and never by
//! harming somebody else's programs.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};
use tracer_tests::live;
use tracer_tests::netd::Netd;
use tracer_tests::programs;
use tracer_tests::record::{at, text};
use tracer_tests::scenario::{self, Scenario};

use crate::scene::Scene;

/// Capability → tier, or `none`.
type Tiers = BTreeMap<String, String>;

fn capabilities(start: &Value) -> &[Value] {
    at(start, "tracer.capabilities").as_array().map(Vec::as_slice).unwrap_or_default()
}

fn tiers(start: &Value) -> Tiers {
    let of = |capability: &Value| {
        let tier = capability.get("tier").and_then(Value::as_str).unwrap_or("none");
        (text(capability, "capability").to_owned(), tier.to_owned())
    };
    capabilities(start).iter().map(of).collect()
}

/// Major and minor number of the running kernel.
fn series() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// What `expected.toml` says about a kernel and a scenario; `None` for kernels that it does not know.
fn expected(series: &str, scenario: &str) -> Option<Tiers> {
    let text = include_str!("expected.toml");
    let mut tiers: Option<Tiers> = None;
    let wanted = format!("[\"{series}\".{scenario}]");
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            inside = line == wanted;
        } else if inside {
            let (name, tier) = line.split_once(" = ").expect("NAME = \"TIER\"");
            tiers.get_or_insert_default().insert(name.to_owned(), tier.trim_matches('"').to_owned());
        }
    }
    tiers
}

#[test]
fn every_capability_is_got_the_way_that_is_expected_on_this_kernel() {
    let _turn = live!();
    let scene = Scene::new();
    let stream = scene.stop();
    let start = &stream.records[0];
    let name = match scenario::current() {
        Scenario::Plain => "plain",
        Scenario::AndroidLike => "android-like",
        Scenario::NoKprobes => "no-kprobes",
        Scenario::NoBtf => "no-btf",
        Scenario::NoSockOps => "no-sock-ops",
    };
    for capability in capabilities(start) {
        // For docs/compatibility.md.
        println!("compatibility: {capability}");
        let explained = capability.get("tier").is_some()
            || !at(capability, "refused").as_array().is_none_or(Vec::is_empty)
            || !at(capability, "limits").as_array().is_none_or(Vec::is_empty);
        assert!(explained, "neither a way nor a reason: {capability}");
    }
    match expected(&series(), name) {
        Some(expected) => assert_eq!(tiers(start), expected),
        None => println!(
            "kernel {} is not in expected.toml: only that each has a way or a reason is checked",
            series()
        ),
    }
}

#[test]
fn this_kernels_verifier_takes_every_program() {
    let _turn = live!();
    // Each forbids what is preferred to the next.
    for hooks in
        ["no-btf", "no-kprobe", "no-kprobe,no-btf", "no-cgroup", "no-sock_ops", "no-sock_ops,no-kprobe"]
    {
        let arguments = ["doctor", "--json", "--hooks", hooks];
        let output = Command::new(programs::tracer()).args(arguments).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = at(&said, "capabilities").as_array().unwrap();
        assert!(all.len() > 8, "{hooks}: {said}");
        let refused: Vec<_> = all.iter().filter(|one| one.to_string().contains("verifier")).collect();
        assert!(refused.is_empty(), "{hooks}: {refused:?}");
    }
}

#[test]
fn hooks_that_somebody_holds_are_left_alone_and_named() {
    let _turn = live!(alone);
    // In the scenario they are held all the time, by the guest's first process.
    let netd = (scenario::current() != Scenario::AndroidLike).then(|| Netd::hold().unwrap());
    let scene = Scene::with(&["--hooks", "no-kprobe"]);
    let _server = scene.server("203.0.113.7:5000");
    let report = scene.act("uid=10123 socket=4 connect=203.0.113.7:5000 tell");
    let close = scene.expect(&report, "close");
    assert_eq!(text(&close, "user.id"), "10123", "TCP is seen with its owner all the same");
    if let Some(netd) = &netd {
        assert!(netd.holds_everything().unwrap(), "while the tracer runs");
    }
    let stream = scene.stop();
    if let Some(netd) = &netd {
        assert!(netd.holds_everything().unwrap(), "after its end");
    }
    let udp =
        capabilities(&stream.records[0]).iter().find(|of| text(of, "capability") == "udp_flows").unwrap();
    assert_eq!(at(udp, "tier"), "sock_diag");
    let reasons: Vec<_> =
        at(udp, "refused").as_array().unwrap().iter().map(|of| text(of, "reason")).collect();
    assert!(reasons.iter().any(|reason| reason.contains("held exclusively by program")), "{reasons:?}");
}

#[test]
fn who_takes_the_hooks_later_finds_them_free_where_kprobes_do_the_work() {
    let _turn = live!(alone);
    if scenario::current() == Scenario::AndroidLike {
        return; // They are taken all the time.
    }
    let scene = Scene::new();
    let probes = tiers(&scene.tracer.expect("start", |record| text(record, "event.action") == "start"));
    let netd = Netd::hold();
    assert_eq!(netd.is_ok(), probes["udp_flows"] == "kprobe", "{:?}", netd.err());
    let client = scene.act("udp=4 sendto=203.0.113.7:5301,10,1 tell close");
    let close = scene.expect_udp(client.port(), "close");
    assert_eq!(at(&close, "source.bytes"), &json!(10));
    drop(netd);
    scene.stop();
}
