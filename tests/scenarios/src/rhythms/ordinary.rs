//! Streams that do not go by a clock.

use super::random::Random;
use super::timeline::{DAY, HOUR, MINUTE, Timeline};
use super::{BOTH, CONNECTS, GROWTH, Kind, Path};

const fn kind(
    name: &'static str,
    lasts: &'static str,
    paths: &'static [Path],
    make: fn(&mut Random, &mut Timeline, Path),
) -> Kind {
    Kind { name, is_beacon: false, lasts, paths, make }
}

const DAYS: &str = "3–10 days";
const EVENTS: &str = "100–500 events";

pub const KINDS: &[Kind] = &[
    kind("browsing in sessions", DAYS, BOTH, |random, to, _| browsing(random, to, 40.0, 1.2)),
    kind("page after page", DAYS, BOTH, |random, to, _| browsing(random, to, 10.0, 0.8)),
    kind("scrolling through a feed", DAYS, BOTH, |random, to, _| feed(random, to)),
    kind("a book read page by page", DAYS, BOTH, |random, to, _| reading(random, to)),
    kind("chat", DAYS, BOTH, |random, to, _| chat(random, to)),
    kind("long download", "15 min–3 h", GROWTH, |random, to, _| download(random, to)),
    kind("slow upload of photos", "15 min–3 h", GROWTH, |random, to, _| upload(random, to)),
    kind("video in chunks", DAYS, GROWTH, |random, to, _| video(random, to)),
    kind("voice calls", DAYS, GROWTH, |random, to, _| calls(random, to)),
    kind("DNS lookups", DAYS, CONNECTS, |random, to, _| lookups(random, to)),
    kind("mail read by hand", DAYS, BOTH, |random, to, _| mail(random, to)),
    kind("by chance, 30 s apart", EVENTS, BOTH, |random, to, _| by_chance(random, to, 30.0)),
    kind("by chance, 3 min apart", EVENTS, BOTH, |random, to, _| by_chance(random, to, 180.0)),
    kind("by chance, an hour apart", EVENTS, BOTH, |random, to, _| by_chance(random, to, HOUR)),
    kind("log-normal gaps", EVENTS, BOTH, |random, to, _| log_normal(random, to)),
    kind("gaps with a heavy tail", EVENTS, BOTH, |random, to, _| heavy_tailed(random, to)),
    kind("self-similar, on and off", "6–48 h", BOTH, |random, to, _| on_off(random, to)),
    kind("map tiles while driving", DAYS, BOTH, |random, to, _| tiles(random, to)),
    kind("office hours", "2–3 weeks", BOTH, |random, to, _| office(random, to)),
    kind("games, match after match", DAYS, BOTH, games),
    kind("music, track after track", DAYS, BOTH, |random, to, _| music(random, to)),
    kind("builds after commits", "2–3 weeks", CONNECTS, |random, to, _| builds(random, to)),
    kind("looked at once a day by a person", "4–8 weeks", CONNECTS, |random, to, _| once_a_day(random, to)),
    kind("opened on waking", "4–8 weeks", CONNECTS, |random, to, _| waking(random, to)),
];

/// Some times of a person's day, for some days.
fn sessions(random: &mut Random, a_day: (u32, u32), mut session: impl FnMut(&mut Random, f64)) {
    for day in 0..random.count(3, 10) {
        for _ in 0..random.count(a_day.0, a_day.1) {
            let at = f64::from(day) * DAY + random.between(7.0, 23.5) * HOUR;
            session(random, at);
        }
    }
}

fn browsing(random: &mut Random, to: &mut Timeline, dwell: f64, deviation: f64) {
    sessions(random, (1, 6), |random, mut at| {
        for _ in 0..random.count(3, 40) {
            for _ in 0..random.count(1, 6) {
                let later = random.exponential(0.6);
                to.exchange(at + later, random, 20_000.0);
            }
            at += random.log_normal(dwell, deviation);
        }
    });
}

fn feed(random: &mut Random, to: &mut Timeline) {
    sessions(random, (2, 10), |random, mut at| {
        let end = at + random.between(3.0, 20.0) * MINUTE;
        while at < end {
            to.exchange(at, random, 60_000.0);
            at += random.log_normal(25.0, 0.7);
        }
    });
}

/// Pages take about the same time; some are leafed through, or put aside for a while.
fn reading(random: &mut Random, to: &mut Timeline) {
    let pace = random.log_normal(75.0, 0.4);
    let deviation = random.between(0.35, 0.6);
    sessions(random, (1, 4), |random, mut at| {
        for _ in 0..random.count(5, 50) {
            to.exchange(at, random, 3_000.0);
            at += if random.happens(0.07) {
                random.log_normal(pace * 0.2, 1.0)
            } else {
                random.log_normal(pace, deviation)
            };
            if random.happens(0.04) {
                at += random.log_normal(180.0, 1.0);
            }
        }
    });
}

fn chat(random: &mut Random, to: &mut Timeline) {
    sessions(random, (2, 8), |random, mut at| {
        let end = at + random.log_normal(10.0, 0.8) * MINUTE;
        let pace = random.log_normal(18.0, 0.5);
        while at < end {
            to.exchange(at, random, 250.0);
            at += random.log_normal(pace, 1.0);
        }
    });
}

fn download(random: &mut Random, to: &mut Timeline) {
    let mut at = random.between(0.0, DAY);
    let end = at + random.between(0.25, 3.0) * HOUR;
    let rate = random.log_normal(300_000.0, 1.2);
    while at < end {
        to.exchange(at, random, rate);
        at += random.exponential(0.8);
        if random.happens(0.0005) {
            at += random.exponential(60.0);
        }
    }
}

/// One after the other, each for some time.
fn upload(random: &mut Random, to: &mut Timeline) {
    let mut at = random.between(0.0, DAY);
    let end = at + random.between(0.25, 3.0) * HOUR;
    let median = random.between(10.0, 90.0);
    while at < end {
        let until = at + random.log_normal(median, 0.5);
        while at < until {
            to.exchange(at, random, 50_000.0);
            at += random.exponential(1.0);
        }
        at += random.exponential(4.0);
    }
}

/// Chunks of some seconds, a buffer that fills at the beginning, pauses, and an end.
fn video(random: &mut Random, to: &mut Timeline) {
    let chunk = random.one_of(&[2.0, 4.0, 6.0, 10.0]);
    sessions(random, (1, 3), |random, mut at| {
        for _ in 0..random.count(1, 4) {
            let end = at + random.log_normal(12.0, 0.8) * MINUTE;
            for _ in 0..8 {
                to.exchange(at, random, 1_500_000.0);
                at += random.between(0.3, 1.5);
            }
            while at < end {
                to.exchange(at, random, 1_500_000.0);
                at += chunk * random.between(0.8, 1.2);
            }
            at += random.exponential(3.0 * MINUTE);
        }
    });
}

fn calls(random: &mut Random, to: &mut Timeline) {
    sessions(random, (0, 4), |random, mut at| {
        let end = at + random.log_normal(4.0, 1.0) * MINUTE;
        while at < end {
            to.exchange(at, random, 12_000.0);
            at += random.between(0.8, 1.2);
        }
    });
}

/// What pages and apps ask for, and the apps in between.
fn lookups(random: &mut Random, to: &mut Timeline) {
    sessions(random, (4, 12), |random, mut at| {
        for _ in 0..random.count(2, 25) {
            for _ in 0..random.count(1, 8) {
                let later = random.exponential(1.0);
                to.exchange(at + later, random, 180.0);
            }
            at += random.log_normal(30.0, 1.3);
        }
    });
    let mut at = 7.0 * HOUR;
    while at < 3.0 * DAY {
        to.exchange(at, random, 180.0);
        at += random.exponential(8.0 * MINUTE);
    }
}

fn mail(random: &mut Random, to: &mut Timeline) {
    sessions(random, (4, 14), |random, mut at| {
        for _ in 0..random.count(1, 10) {
            to.exchange(at, random, 4_000.0);
            at += random.log_normal(50.0, 0.9);
        }
    });
}

fn by_chance(random: &mut Random, to: &mut Timeline, mean: f64) {
    let mut at = random.between(0.0, DAY);
    for _ in 0..random.count(100, 500) {
        to.exchange(at, random, 300.0);
        at += random.exponential(mean);
    }
}

fn log_normal(random: &mut Random, to: &mut Timeline) {
    let median = random.one_of(&[10.0, 60.0, 300.0, 1800.0]);
    let deviation = random.between(0.7, 1.5);
    let mut at = random.between(0.0, DAY);
    for _ in 0..random.count(100, 500) {
        to.exchange(at, random, 2_000.0);
        at += random.log_normal(median, deviation);
    }
}

fn heavy_tailed(random: &mut Random, to: &mut Timeline) {
    let least = random.one_of(&[4.0, 20.0, 90.0]);
    let steepness = random.between(1.1, 1.6);
    let mut at = random.between(0.0, DAY);
    for _ in 0..random.count(100, 500) {
        to.exchange(at, random, 2_000.0);
        at += random.pareto(least, steepness).min(7.0 * DAY);
    }
}

/// Willinger, Taqqu, Sherman, Wilson 1997: times on and times off, both with heavy tails.
fn on_off(random: &mut Random, to: &mut Timeline) {
    let mut at = random.between(0.0, DAY);
    let end = at + random.between(6.0, 48.0) * HOUR;
    let pace = random.between(1.0, 20.0);
    while at < end {
        let until = at + random.pareto(10.0, 1.4).min(HOUR);
        while at < until {
            to.exchange(at, random, 1_500.0);
            at += random.exponential(pace);
        }
        at += random.pareto(30.0, 1.2).min(8.0 * HOUR);
    }
}

/// As the road goes: two to three tiles' edges between loads.
fn tiles(random: &mut Random, to: &mut Timeline) {
    sessions(random, (0, 4), |random, mut at| {
        let end = at + random.log_normal(25.0, 0.6) * MINUTE;
        let pace = random.between(8.0, 40.0);
        while at < end {
            to.exchange(at, random, 30_000.0);
            at += random.exponential(pace) + random.exponential(pace);
            if random.happens(0.05) {
                at += random.between(20.0, 180.0);
            }
        }
    });
}

fn office(random: &mut Random, to: &mut Timeline) {
    let pace = random.log_normal(8.0, 0.6) * MINUTE;
    for day in (0..random.count(14, 21)).filter(|day| day % 7 < 5) {
        let mut at = f64::from(day) * DAY + random.normal(8.5, 0.4) * HOUR;
        let end = f64::from(day) * DAY + random.normal(17.2, 0.6) * HOUR;
        let lunch = f64::from(day) * DAY + random.normal(12.2, 0.2) * HOUR;
        while at < end {
            if at < lunch || at > lunch + 0.75 * HOUR {
                to.exchange(at, random, 10_000.0);
            }
            at += random.exponential(pace);
        }
    }
}

/// A connection for each match; or, on one, whatever happens in it.
fn games(random: &mut Random, to: &mut Timeline, path: Path) {
    let length = random.between(3.0, 20.0);
    sessions(random, (0, 3), |random, mut at| {
        for _ in 0..random.count(1, 8) {
            let end = at + random.log_normal(length, 0.4) * MINUTE;
            while path == Path::Growth && at < end {
                to.exchange(at, random, 8_000.0);
                at += random.between(0.8, 1.2);
            }
            to.exchange(at, random, 8_000.0);
            at = end + random.log_normal(50.0, 0.8);
        }
    });
}

/// The next track is fetched when one begins. Some are skipped.
fn music(random: &mut Random, to: &mut Timeline) {
    let skipped = random.between(0.1, 0.4);
    sessions(random, (1, 4), |random, mut at| {
        let end = at + random.log_normal(40.0, 0.6) * MINUTE;
        while at < end {
            to.exchange(at, random, 4_000_000.0);
            let track = random.log_normal(210.0, 0.3);
            at += if random.happens(skipped) { track * random.between(0.02, 0.7) } else { track };
            if random.happens(0.03) {
                at += random.log_normal(180.0, 1.0);
            }
        }
    });
}

/// Commits in working hours, each with some jobs.
fn builds(random: &mut Random, to: &mut Timeline) {
    for day in (0..random.count(14, 21)).filter(|day| day % 7 < 5) {
        let mut at = f64::from(day) * DAY + random.normal(9.0, 0.7) * HOUR;
        let end = f64::from(day) * DAY + random.normal(18.0, 1.0) * HOUR;
        while at < end {
            let mut job = at;
            for _ in 0..random.count(1, 6) {
                to.exchange(job, random, 100_000.0);
                job += random.log_normal(90.0, 0.9);
            }
            at += random.exponential(50.0 * MINUTE);
        }
    }
}

/// At the time of day that is theirs, give or take an hour.
fn once_a_day(random: &mut Random, to: &mut Timeline) {
    let hour = random.between(7.0, 22.0);
    let deviation = random.between(0.4, 1.5);
    for day in 0..random.count(28, 56) {
        if random.happens(0.1) {
            continue;
        }
        let at = f64::from(day) * DAY + random.normal(hour, deviation) * HOUR;
        to.exchange(at, random, 5_000.0);
        if random.happens(0.1) {
            let later = random.between(0.5, 5.0) * HOUR;
            to.exchange(at + later, random, 5_000.0);
        }
    }
}

/// By the alarm on working days, and some minutes more or less in bed; later at weekends; again in the evening, or not.
fn waking(random: &mut Random, to: &mut Timeline) {
    let alarm = random.between(5.5, 8.0);
    let in_bed = random.between(5.0, 20.0);
    let evening = random.between(0.0, 0.7);
    for day in 0..random.count(28, 56) {
        let up = match day % 7 {
            0..5 => alarm + random.exponential(in_bed) / 60.0,
            _ => alarm + random.normal(1.8, 0.9).max(0.0),
        };
        if !random.happens(0.06) {
            to.exchange(f64::from(day) * DAY + up * HOUR, random, 5_000.0);
        }
        if random.happens(evening) {
            let at = random.normal(21.5, 1.0);
            to.exchange(f64::from(day) * DAY + at * HOUR, random, 5_000.0);
        }
    }
}
