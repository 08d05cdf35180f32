//! Many connections at once: nothing is lost without being counted, and memory stays flat.

use std::time::{Duration, Instant};

use tracer_tests::record::action;
use tracer_tests::tracer::Tracer;
use tracer_tests::{DEADLINE, live};

use crate::scene::Scene;

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
    for kind in ["connect", "established", "accept"] {
        assert!(kernel[kind] >= total, "{kind}: {kernel:?}");
    }
    assert!(kernel["close"] >= 2 * total, "{kernel:?}");
    let lost: u64 =
        ["lost.kernel", "lost.output"].iter().flat_map(|path| stream.counts(path).into_values()).sum();
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
