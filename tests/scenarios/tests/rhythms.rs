//! Beats are told from ordinary traffic, in streams that nothing was tuned with. `cargo xtask cadence` has more of them.

use std::thread;

use tracer_tests_scenarios::rhythms::{HELD_OUT, Path, figures, kinds};

/// Of each kind, and each way to hear of it.
const STREAMS: u32 = 40;

/// Share of the streams that are noticed.
fn noticed(is_beacon: bool) -> f64 {
    let of =
        |path: Path| kinds().filter(move |kind| kind.is_beacon == is_beacon && kind.paths.contains(&path));
    let count = |path| {
        let streams = of(path).flat_map(|kind| (0..STREAMS).map(move |at| kind.stream(path, HELD_OUT, at)));
        streams.fold((0u32, 0u32), |(noticed, all), heard| {
            (noticed + u32::from(figures::noticed_after(&heard).is_some()), all + 1)
        })
    };
    let [connects, growth] = thread::scope(|scope| {
        [Path::Connects, Path::Growth]
            .map(|path| scope.spawn(move || count(path)))
            .map(|it| it.join().unwrap())
    });
    f64::from(connects.0 + growth.0) / f64::from(connects.1 + growth.1)
}

#[test]
fn of_streams_by_a_clock_98_in_100_are_found() {
    let found = noticed(true);
    assert!(found >= 0.98, "{found}");
}

#[test]
fn of_ordinary_streams_1_in_100_is_found_at_most() {
    let found = noticed(false);
    assert!(found <= 0.01, "{found}");
}
