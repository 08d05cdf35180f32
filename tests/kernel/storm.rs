//! Many connections at once: nothing is lost without being counted, and memory stays flat.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tracer_tests::record::{action, number, text};
use tracer_tests::tracer::Tracer;
use tracer_tests::{DEADLINE, live};

use crate::scene::{Listener, Scene, snapshot};

/// Connections of the storm: `TRACER_STORM`, else 20,000.
fn size() -> u64 {
    std::env::var("TRACER_STORM").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

fn storm(scene: &Scene, connections: u64) {
    let mut actor = scene.actor(&format!("storm=203.0.113.7:6000,{connections},2"));
    let report = actor.report_within(Duration::from_secs(600));
    actor.done();
    assert_eq!((report.get("connected"), report.get("failed")), (connections, 0));
}

/// Waits until the tracer has worked off what there is: for a while it uses no CPU time and writes nothing. However long
/// that takes an emulated processor, records must come in.
fn settle(tracer: &Tracer) {
    let mut last = (tracer.cpu_ticks(), tracer.record_count());
    let (mut busy, mut progress) = (Instant::now(), Instant::now());
    while busy.elapsed() < Duration::from_millis(300) {
        let now = (tracer.cpu_ticks(), tracer.record_count());
        if now != last {
            busy = Instant::now();
        }
        if now.1 != last.1 {
            progress = busy;
        }
        last = now;
        assert!(progress.elapsed() < DEADLINE, "the tracer is busy, but writes nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn every_connection_of_a_storm_is_in_the_stream_or_counted_as_lost() {
    let _turn = live!(alone);
    let scene = Scene::new();
    // The first connections warm every table and buffer.
    storm(&scene, 2000);
    settle(&scene.tracer);
    let before = scene.tracer.resident_kib();
    storm(&scene, size());
    settle(&scene.tracer);
    let after = scene.tracer.resident_kib();
    let stream = scene.stop();

    let kernel = stream.counts("totals.kernel_events");
    let total = size() + 2000;
    // A hook that is reached while its program runs on the same processor runs nothing; the kernel counts that.
    let missed: u64 = stream.counts("lost.missed").into_values().sum();
    for (kind, wanted) in
        [("connect", total), ("established", total), ("accept", total), ("close", 2 * total)]
    {
        assert!(kernel[kind] + missed >= wanted, "{kind}: {kernel:?}, {missed} missed");
    }
    let lost: u64 = ["lost.kernel", "lost.output", "lost.missed"]
        .iter()
        .flat_map(|path| stream.counts(path).into_values())
        .sum();
    let told = stream.records.iter().any(|record| action(record) == "loss");
    assert_eq!(told, lost > 0, "a loss is told, and only a loss");
    println!("storm of {total}: {lost} events lost, {before} KiB before, {after} KiB after");
    assert!(after < before + 12 * 1024, "memory grew from {before} to {after} KiB");
}

#[test]
fn a_blocked_reader_costs_counted_records_but_neither_memory_nor_connections() {
    let _turn = live!(alone);
    let scene = Scene::new();
    let before = scene.tracer.resident_kib();
    scene.tracer.pause_reading();
    // It ends although nobody reads: the kernel is not held up.
    storm(&scene, size());
    settle(&scene.tracer);
    let after = scene.tracer.resident_kib();
    assert!(after < before + 32 * 1024, "memory grew from {before} to {after} KiB");
    scene.tracer.resume_reading();
    scene.tracer.expect("a loss record", |record| action(record) == "loss");
    settle(&scene.tracer);
    let next = scene.act("socket=4 connect=203.0.113.7:5000 tell");
    scene.expect(&next, "failed");
    let stream = scene.stop();
    let lost: u64 = stream.counts("lost.output").values().sum();
    assert!(lost > 1000, "only what fits into the queue is kept: {}", stream.stop());
}

/// A connection: ports and direction. Not the flow's id, because not every way to see TCP knows the sockets' cookies.
type Connection = (Option<u64>, Option<u64>, String);

fn connection(record: &Value) -> Connection {
    let ports = ["source.port", "destination.port"].map(|path| number(record, path));
    (ports[0], ports[1], text(record, "network.direction").to_owned())
}

/// Connections that the stream says are open.
fn open_in(records: &[Value]) -> Vec<Connection> {
    let mut open = BTreeMap::new();
    for record in records {
        let id = text(record, "flow.id");
        match action(record) {
            "connect" | "accept" | "existing" | "established" => drop(open.insert(id, connection(record))),
            "close" | "failed" => drop(open.remove(id)),
            _ => {}
        }
    }
    open.into_values().collect()
}

/// In the storm, connections begin that stay. Nothing of the tracer's own queue may be full, so that the records tell what
/// its table holds.
#[test]
fn after_a_storm_with_a_ring_too_small_the_table_is_the_kernels_list() {
    const KEPT: usize = 50;
    let _turn = live!(alone);
    let scene = Scene::with(&["--ring-size", "16"]);
    let _server = Listener::start(&scene.netns, "", "203.0.113.7:5000", 200, "wait");
    let each = "socket=4 connect=203.0.113.7:5000 keep ";
    let keep = format!("{}socket=4 wait", each.repeat(KEPT));
    // Some begin and end while the tracer takes nothing off the ring, others while it is busy with that.
    scene.tracer.freeze();
    storm(&scene, size());
    let mut first = scene.actor(&keep);
    first.report_within(Duration::from_secs(600));
    scene.tracer.thaw();
    let mut storming = scene.actor("storm=203.0.113.7:6000,1000,2");
    let mut second = scene.actor(&keep);
    second.report_within(Duration::from_secs(600));
    storming.report_within(Duration::from_secs(600));
    storming.done();
    settle(&scene.tracer);

    let inode = Some(scene.netns.inode());
    let sockets = snapshot(&["--json"]);
    let listed: BTreeSet<_> = sockets
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| action(record) == "existing" && number(record, "flow.netns") == inode)
        .map(|record| connection(&record))
        .collect();
    assert_eq!(listed.len(), 4 * KEPT);
    let until = Instant::now() + DEADLINE;
    loop {
        let mut untold = listed.clone();
        let mut gone = open_in(&scene.records_here());
        gone.retain(|open| !untold.remove(open));
        // Where the port is not known at the connect, and the record that has it was lost, any port will do.
        gone.retain(|open| {
            let same = |listed: &&Connection| open.0.is_none() && (open.1, &open.2) == (listed.1, &listed.2);
            let found = untold.iter().find(same).cloned();
            !found.is_some_and(|found| untold.remove(&found))
        });
        if gone.is_empty() && untold.is_empty() {
            break;
        }
        assert!(
            Instant::now() < until,
            "in the table, not in the list: {gone:?}; the other way round: {untold:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    drop((first, second));
    let stream = scene.stop();
    let lost = stream.counts("lost.kernel");
    println!("storm of {} with a small ring: {lost:?} lost", size());
    assert!(lost["close"] > 0 && lost["connect"] > 0, "the ring was too small on purpose: {lost:?}");
    assert_eq!(stream.counts("lost.output").values().sum::<u64>(), 0, "every record was written");
}
