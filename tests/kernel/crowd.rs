//! Many network namespaces, and many processes that live for milliseconds: everything is credited to the right one.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;
use tracer_tests::netns::Netns;
use tracer_tests::record::{action, number, text};
use tracer_tests::tracer::Tracer;
use tracer_tests::{live, programs};

use crate::scene::wait_until;

const NAMESPACES: usize = 50;
const FIRST_UID: u32 = 20_000;

/// Processes for each namespace: 2,000 in all, or a tenth where every process takes an emulated processor long.
fn processes_each() -> usize {
    if std::env::var_os("TRACER_STORM").is_some() { 4 } else { 40 }
}

/// Pid and namespace of the process that had a uid.
type Who = BTreeMap<u32, (u64, u64)>;

/// Lets the processes of one namespace do their work, one after the other: a datagram, and a connect that is refused.
fn crowd(netns: &Netns, first_uid: u32) -> Who {
    let work = || {
        let steps = ["udp=4", "sendto=203.0.113.7:5301,8,1", "close", "socket=4", "connect=203.0.113.7:9"];
        (first_uid..)
            .take(processes_each())
            .map(|uid| {
                let mut actor = Command::new(programs::actor());
                actor.arg(format!("uid={uid}")).args(steps).stdin(Stdio::null()).stdout(Stdio::null());
                let mut child = actor.spawn().expect("the actor can be started");
                let pid = u64::from(child.id());
                assert!(child.wait().expect("a child can be waited for").success());
                (uid, (pid, netns.inode()))
            })
            .collect()
    };
    netns.enter(work)
}

#[test]
fn two_thousand_short_processes_in_fifty_namespaces_are_told_apart() {
    let _turn = live!(alone);
    let tracer = Tracer::start(&[] as &[&str]);
    let namespaces: Vec<_> = (0..NAMESPACES).map(|_| Netns::new().unwrap()).collect();
    let each = u32::try_from(processes_each()).unwrap();
    let mut who = Who::new();
    for (netns, first_uid) in namespaces.iter().zip((FIRST_UID..).step_by(processes_each())) {
        who.extend(crowd(netns, first_uid));
    }
    let wanted = who.len();
    assert_eq!(wanted, NAMESPACES * each as usize);
    let is_ours = |record: &Value, wanted: &str, transport: &str| {
        action(record) == wanted
            && text(record, "network.transport") == transport
            && text(record, "user.id").parse().is_ok_and(|uid: u32| who.contains_key(&uid))
    };
    let count = |wanted: &str, transport: &str| tracer.count(|record| is_ours(record, wanted, transport));
    wait_until("every end is there", || count("close", "udp") >= wanted && count("failed", "tcp") >= wanted);
    let stream = tracer.stop();
    for (kind, transport) in [("connect", "udp"), ("close", "udp"), ("connect", "tcp"), ("failed", "tcp")] {
        let mut seen = 0;
        for record in stream.records.iter().filter(|record| is_ours(record, kind, transport)) {
            let (pid, netns) = who[&text(record, "user.id").parse().unwrap()];
            assert_eq!(number(record, "process.pid"), Some(pid), "{record}");
            assert_eq!(number(record, "flow.netns"), Some(netns), "{record}");
            seen += 1;
        }
        assert_eq!(seen, wanted, "{transport} {kind}: each once");
    }
}
