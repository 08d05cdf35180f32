#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, far below 2^53")]

use super::*;

/// 2026-11-22.
const BEGIN: u64 = 1_795_305_600_000;

/// Beats with these intervals in between, in seconds.
fn times(intervals: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let later = intervals.into_iter().scan(BEGIN, |at, interval| {
        *at += interval * 1000;
        Some(*at)
    });
    std::iter::once(BEGIN).chain(later).collect()
}

fn heard(times: &[u64]) -> Beats {
    let mut beats = Beats::default();
    times.iter().for_each(|at| beats.connected(*at));
    beats
}

/// Numbers that are all over, from -1 to 1; the same each time.
fn scattered(count: u32) -> impl Iterator<Item = f64> {
    let numbers = std::iter::successors(Some(12_345u64), |last| {
        Some(last.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    });
    numbers.skip(1).map(|number| (number >> 33) as f64 / f64::from(1 << 30) - 1.0).take(count as usize)
}

/// Intervals that differ by up to a share from one, in seconds.
fn jittered(interval: f64, share: f64, count: u32) -> Vec<u64> {
    times(scattered(count).map(|number| (interval * (1.0 + share * number)) as u64))
}

fn is_clock(beats: &Beats) -> bool {
    beats.cadence().is_some_and(|cadence| cadence.score >= 0.8)
}

/// Whether it ever looks like a clock.
fn is_ever_clock(times: &[u64]) -> bool {
    let mut beats = Beats::default();
    times.iter().any(|at| {
        beats.connected(*at);
        is_clock(&beats)
    })
}

fn ladder() -> Vec<u64> {
    let steps = [180, 300, 360, 420, 540, 720].into_iter().flat_map(|step| [step; 3]);
    times(steps.chain([900; 20]))
}

#[test]
fn what_was_stored_goes_on_as_if_nothing_had_been() {
    let scattered = times((0..40u64).map(|at| 20 + at * 7919 % 4000));
    for times in [ladder(), times([60; 40]), scattered] {
        let whole = heard(&times);
        for cut in 0..times.len() {
            let mut beats = Beats::from_bytes(&heard(&times[..cut]).to_bytes()).unwrap();
            times[cut..].iter().for_each(|at| beats.connected(*at));
            assert_eq!(beats.cadence(), whole.cadence(), "{cut}");
            assert_eq!(beats.to_bytes(), whole.to_bytes(), "{cut}");
        }
    }
}

#[test]
fn a_clock_is_found_and_told_as_it_is() {
    let cadence = heard(&times([900; 20])).cadence().unwrap();
    assert!(cadence.score > 0.9, "{cadence:?}");
    assert_eq!((cadence.interval_ms, cadence.beats, cadence.duration_ms), (900_000, 21, 18_000_000));
    assert_eq!((cadence.kind(), cadence.rhythm().as_str()), (Kind::Interval, "every 15 min"));
    assert!((cadence.regularity - 1.0).abs() < 1e-6, "{cadence:?}");
    assert_eq!(Beats::default().cadence(), None);
    assert_eq!(heard(&times([900; 3])).cadence(), None, "too few");
}

#[test]
fn a_ladder_is_found_and_told_as_one() {
    let cadence = heard(&ladder()).cadence().unwrap();
    assert!(cadence.score > 0.9, "{cadence:?}");
    assert_eq!(cadence.ladder_ms, Some((180_000, 900_000)));
    assert_eq!(cadence.rhythm(), "on a ladder from 3 min to 15 min");
}

#[test]
fn a_clock_is_found_that_is_late_misses_turns_drifts_or_is_slow() {
    assert!(is_clock(&heard(&jittered(300.0, 0.1, 25))));
    assert!(is_clock(&heard(&jittered(300.0, 0.2, 35))));
    assert!(is_ever_clock(&jittered(300.0, 0.4, 120)));
    let missing = scattered(40).map(|number| if number > 0.6 { 600 } else { 300 });
    assert!(is_clock(&heard(&times(missing))));
    assert!(is_clock(&heard(&times((0..40).map(|beat| 300 + 3 * beat)))));
    assert!(is_clock(&heard(&jittered(86_400.0, 0.003, 20))), "24 h");
    assert!(is_clock(&heard(&jittered(3.0 * 86_400.0, 0.003, 18))), "72 h");
}

#[test]
fn people_and_chance_are_not_found() {
    let chance = times(scattered(500).map(|number| (-300.0 * f64::midpoint(1.0, number).ln()) as u64));
    assert!(!is_ever_clock(&chance));
    let browsing = times(scattered(500).map(|number| 2 + (20.0 * (number * 2.0).exp()) as u64));
    assert!(!is_ever_clock(&browsing));
    let by_day = jittered(86_400.0, 0.06, 60);
    assert!(!is_ever_clock(&by_day), "a person, each day");
}

/// Looks at a socket each minute: how long it was silent, and what it had moved.
fn looked(looks: impl IntoIterator<Item = (u64, u64)>) -> bool {
    let mut beats = Beats::default();
    (1..).zip(looks).filter(|(_, (_, packets))| *packets > 0).any(|(look, (silent_ms, packets))| {
        let at_ms = BEGIN + look * 60_000;
        beats.grew(&Growth { at_ms, silent_ms, bytes: packets * 100, packets }, 60_000);
        is_clock(&beats)
    })
}

#[test]
fn our_own_looks_are_no_clock() {
    let chat = scattered(400).map(|number| ((number + 1.0).powi(3) as u64 * 5_000, 8));
    assert!(!looked(chat));
    let every_5_minutes = (0..200).map(|look| (17_000, if look % 5 == 0 { 4 } else { 0 }));
    assert!(looked(every_5_minutes));
    let each_minute = (0..60).map(|look| (40_000 + look * 7 % 300, 4));
    assert!(looked(each_minute));
}

#[test]
fn a_long_download_is_no_clock_and_hides_none_afterwards() {
    let download = (0..600).map(|look| (look * 7 % 40, 5_000));
    let beats = (0..60).map(|look| (17_000, if look % 5 == 0 { 4 } else { 0 }));
    assert!(!looked(download.clone()));
    assert!(looked(download.chain(beats)));
}

#[test]
fn a_clock_that_is_set_undoes_nothing() {
    const YEAR: u64 = 365 * 86_400_000;
    for (before, after) in [(YEAR, 0), (0, YEAR), (3_600_000, 0), (0, 20_000)] {
        let [early, late] =
            [before, after].map(|shift| times([900; 20]).into_iter().map(move |at| at + shift));
        let later = late.map(|at| at + 20 * 900_000 + 5_000);
        let mut beats = heard(&early.collect::<Vec<_>>());
        for (number, at) in later.enumerate() {
            beats.connected(at);
            assert!(is_clock(&beats), "{before} {after}: beat {number} after it");
        }
        let cadence = beats.cadence().unwrap();
        assert_eq!((cadence.interval_ms, cadence.beats), (900_000, 42));
        assert!(cadence.duration_ms < 2 * 20 * 900_000 + 100_000, "{cadence:?}");
    }
}

#[test]
fn a_night_without_the_tracer_costs_no_more_than_some_missed_turns() {
    let before = jittered(900.0, 0.05, 30);
    let mut beats = Beats::from_bytes(&heard(&before).to_bytes()).unwrap();
    let after = before.iter().map(|at| at - BEGIN + before[before.len() - 1] + 8 * 3_600_000 + 321_000);
    for at in after {
        beats.connected(at);
        assert!(is_clock(&beats));
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = heard(&ladder()).to_bytes();
    assert!(bytes.len() <= 1024, "{}", bytes.len());
    for end in 0..bytes.len() {
        assert!(Beats::from_bytes(&bytes[..end]).is_none(), "{end}");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(Beats::from_bytes(&damaged).is_none(), "{at}");
        }
    }
    assert!(Beats::from_bytes(&[bytes.as_slice(), &[0]].concat()).is_none());
}
