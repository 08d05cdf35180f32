//! Streams that go by a clock.

use super::random::Random;
use super::timeline::{DAY, HOUR, MINUTE, Timeline};
use super::{BOTH, CONNECTS, Kind, Path};

const fn kind(
    name: &'static str,
    lasts: &'static str,
    paths: &'static [Path],
    make: fn(&mut Random, &mut Timeline, Path),
) -> Kind {
    Kind { name, is_beacon: true, lasts, paths, make }
}

const SOME: &str = "20–60 beats";

pub const KINDS: &[Kind] = &[
    kind("every minute", SOME, BOTH, |random, to, _| steady(random, to, MINUTE)),
    kind("every 5 minutes", SOME, BOTH, |random, to, _| steady(random, to, 5.0 * MINUTE)),
    kind("every 15 minutes", SOME, BOTH, |random, to, _| steady(random, to, 15.0 * MINUTE)),
    kind("every hour", SOME, BOTH, |random, to, _| steady(random, to, HOUR)),
    kind("jitter ±10 %", SOME, BOTH, |random, to, _| jittered(random, to, 0.1, 0.0, 20)),
    kind("jitter ±20 %", SOME, BOTH, |random, to, _| jittered(random, to, 0.2, 0.0, 20)),
    kind("jitter ±40 %", "40–60 beats", BOTH, |random, to, _| jittered(random, to, 0.4, 0.0, 40)),
    kind("normal jitter, deviation 10 %", SOME, BOTH, |random, to, _| normal(random, to)),
    kind("1 in 20 missed", SOME, BOTH, |random, to, _| jittered(random, to, 0.02, 0.05, 20)),
    kind("1 in 10 missed", SOME, BOTH, |random, to, _| jittered(random, to, 0.02, 0.1, 20)),
    kind("1 in 5 missed", SOME, BOTH, |random, to, _| jittered(random, to, 0.02, 0.2, 20)),
    kind("jitter ±20 %, 1 in 10 missed", "30–60 beats", BOTH, |random, to, _| {
        jittered(random, to, 0.2, 0.1, 30);
    }),
    kind("drift of up to 1 % a beat", SOME, BOTH, |random, to, _| drifting(random, to)),
    kind("at a minute of the clock, up to 2 min late", "30–60 beats", BOTH, |random, to, _| {
        anchored(random, to);
    }),
    kind("Baidu's ladder", "30–60 beats", BOTH, baidu),
    kind("back-off that doubles, then steady", "25–40 beats", BOTH, |random, to, _| doubling(random, to)),
    kind("adaptive heartbeat, a minute more at a time", "30–60 beats", BOTH, |random, to, _| {
        adaptive(random, to);
    }),
    kind("begun anew after reboots", "30–60 beats", CONNECTS, |random, to, _| rebooted(random, to)),
    kind("every day", "4–8 weeks", CONNECTS, |random, to, _| daily(random, to, 1.0, (28, 56))),
    kind("every 3 days", "60–66 days", CONNECTS, |random, to, _| daily(random, to, 3.0, (20, 22))),
];

fn begin(random: &mut Random) -> f64 {
    random.between(0.0, 7.0 * DAY)
}

/// What networks and alarms add to any time.
fn late(random: &mut Random) -> f64 {
    random.exponential(0.15)
}

/// An interval as programs have them, from a minute and a half on.
fn usual(random: &mut Random) -> f64 {
    random.one_of(&[90.0, 120.0, 180.0, 240.0, 300.0, 600.0, 900.0, 1800.0, HOUR, 2.0 * HOUR])
}

fn steady(random: &mut Random, to: &mut Timeline, interval: f64) {
    let begin = begin(random);
    for beat in 0..random.count(20, 60) {
        let late = late(random);
        to.beat(begin + interval * f64::from(beat) + late, random);
    }
}

/// Each wait differs by up to `jitter` to either side; some turns are missed.
fn jittered(random: &mut Random, to: &mut Timeline, jitter: f64, missed: f64, least: u32) {
    let interval = usual(random);
    let mut at = begin(random);
    for _ in 0..random.count(least, 60) {
        let late = late(random);
        to.beat(at + late, random);
        at += interval * random.between(1.0 - jitter, 1.0 + jitter);
        while random.happens(missed) {
            at += interval * random.between(1.0 - jitter, 1.0 + jitter);
        }
    }
}

fn normal(random: &mut Random, to: &mut Timeline) {
    let interval = usual(random);
    let mut at = begin(random);
    for _ in 0..random.count(20, 60) {
        to.beat(at, random);
        at += interval * random.normal(1.0, 0.1).max(0.2);
    }
}

fn drifting(random: &mut Random, to: &mut Timeline) {
    let mut interval = usual(random);
    let drift = 1.0 + random.between(0.001, 0.01) * random.one_of(&[1.0, -1.0]);
    let mut at = begin(random);
    for _ in 0..random.count(20, 60) {
        let late = late(random);
        to.beat(at + late, random);
        at += interval;
        interval *= drift;
    }
}

fn anchored(random: &mut Random, to: &mut Timeline) {
    let interval = random.one_of(&[10.0, 15.0, 20.0, 30.0, 60.0]) * MINUTE;
    let begin = (begin(random) / interval).floor() * interval;
    for beat in 0..random.count(30, 60) {
        let late = random.between(0.0, 2.0 * MINUTE);
        to.beat(begin + interval * f64::from(beat) + late, random);
    }
}

/// 180 s to 900 s, three good beats a step, one step down after a failure. A drop is followed by a try after 3 s, one after
/// 30 s, and the ladder from its beginning.
fn baidu(random: &mut Random, to: &mut Timeline, path: Path) {
    const STEPS: [f64; 7] = [180.0, 300.0, 360.0, 420.0, 540.0, 720.0, 900.0];
    // A drop ends a connection: what is seen of one that grows is the time in between.
    let dropped = if path == Path::Growth { 0.0 } else { 0.015 };
    let mut at = begin(random);
    let (mut step, mut good) = (0, 0);
    for _ in 0..random.count(30, 60) {
        let late = late(random);
        to.beat(at + late, random);
        if random.happens(dropped) {
            to.beat(at + 3.0, random);
            to.beat(at + 33.0, random);
            at += 33.0;
            (step, good) = (0, 0);
        } else if random.happens(0.01) {
            (step, good) = (usize::saturating_sub(step, 1), 0);
        }
        at += STEPS[step];
        good += 1;
        if good == 3 {
            (step, good) = ((step + 1).min(STEPS.len() - 1), 0);
        }
    }
}

fn doubling(random: &mut Random, to: &mut Timeline) {
    let most = random.one_of(&[0.5, 1.0, 2.0]) * HOUR;
    let mut interval = random.one_of(&[30.0, 60.0, 120.0]);
    let beats_a_step = random.count(1, 3);
    let mut at = begin(random);
    for beat in 0..random.count(25, 40) {
        let late = late(random);
        to.beat(at + late, random);
        at += interval;
        if (beat + 1) % beats_a_step == 0 {
            interval = f64::min(interval * 2.0, most);
        }
    }
}

/// Finds out how long a network lets a connection be silent, as messengers do.
fn adaptive(random: &mut Random, to: &mut Timeline) {
    let most = random.one_of(&[15.0, 20.0, 28.0]) * MINUTE;
    let mut interval = random.one_of(&[2.0, 4.0, 5.0]) * MINUTE;
    let beats_a_step = random.count(1, 3);
    let mut at = begin(random);
    for beat in 0..random.count(30, 60) {
        let late = late(random);
        to.beat(at + late, random);
        at += interval;
        if (beat + 1) % beats_a_step == 0 {
            interval = f64::min(interval + MINUTE, most);
        }
    }
}

fn rebooted(random: &mut Random, to: &mut Timeline) {
    let interval = random.one_of(&[180.0, 300.0, 600.0, 900.0, 1800.0]);
    let mut at = begin(random);
    for _ in 0..random.count(30, 60) {
        let late = late(random);
        to.beat(at + late, random);
        at += interval * random.between(0.97, 1.03);
        if random.happens(0.05) {
            // Off at once, or at night.
            at += if random.happens(0.5) {
                random.between(60.0, 1800.0)
            } else {
                random.between(1.0, 10.0) * HOUR
            };
        }
    }
}

/// Alarms that wait for the device to be awake.
fn daily(random: &mut Random, to: &mut Timeline, days: f64, turns: (u32, u32)) {
    let mut at = begin(random);
    let is_anchored = random.happens(0.5);
    for turn in 0..random.count(turns.0, turns.1) {
        if turn > 0 && random.happens(0.04) {
            at += days * DAY;
            continue;
        }
        let late = random.exponential(4.0 * MINUTE);
        to.beat(at + late, random);
        at += days * DAY + if is_anchored { 0.0 } else { late };
    }
}
