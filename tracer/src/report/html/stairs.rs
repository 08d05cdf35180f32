//! The time between beats, drawn as stairs: a ladder climbs, a clock stays level. Pure.

use super::timeline::{Scale, short};
use crate::clock::Timestamp;
use crate::report::material::{Destination, Lane, Period, Tick, TickKind};
use crate::report::words;

/// Time between one beat and the next.
#[derive(Clone, Debug)]
pub struct Stairs {
    pub steps: Vec<Step>,
    pub levels: Vec<Level>,
    pub words: String,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub x1: String,
    pub x2: String,
    pub y: String,
    pub title: String,
}

#[derive(Clone, Debug)]
pub struct Level {
    pub y: String,
    pub text_y: String,
    pub text: String,
}

impl Scale {
    /// How the time between beats goes; `None`: there is nothing to see.
    #[must_use]
    pub fn stairs(&self, destination: &Destination) -> Option<Stairs> {
        const HEIGHT: f64 = 56.0;
        const TOP: f64 = 20.0;
        let Lane::Each { ticks, .. } = &destination.lane else { return None };
        let intervals = intervals(ticks);
        destination.cadence?;
        if intervals.len() < 4 {
            return None;
        }
        let longest = intervals.iter().map(|interval| interval.milliseconds()).max()?.max(1);
        let shortest = intervals.iter().map(|interval| interval.milliseconds()).min()?;
        #[allow(clippy::cast_precision_loss, reason = "a place on paper")]
        let y = |milliseconds: u64| TOP + HEIGHT * (1.0 - milliseconds as f64 / longest as f64);
        let step = |interval: &Period| Step {
            x1: self.x(interval.from),
            x2: self.x(interval.to),
            y: short(y(interval.milliseconds())),
            title: format!(
                "{} until {}",
                words::time(interval.milliseconds()),
                words::clock_with_seconds(interval.to)
            ),
        };
        let level = |milliseconds: u64, below: bool| Level {
            y: short(y(milliseconds)),
            text_y: short(y(milliseconds) + if below { 13.0 } else { -5.0 }),
            text: words::time(milliseconds),
        };
        let mut levels = vec![level(longest, false)];
        if y(shortest) - y(longest) > 12.0 {
            levels.push(level(shortest, true));
        }
        Some(Stairs {
            steps: intervals.iter().map(step).collect(),
            levels,
            words: format!(
                "Time between beats: from {} to {}, {} in all",
                words::time(shortest),
                words::time(longest),
                words::count(u64::try_from(intervals.len()).unwrap_or_default(), "interval", "intervals")
            ),
        })
    }
}

/// From each beat to the next one; across connections only where these are the beats.
fn intervals(ticks: &[Tick]) -> Vec<Period> {
    const BURST_MS: u64 = 3_000;
    const MOST: usize = 600;
    let beats = ticks.iter().filter(|tick| tick.kind == TickKind::Beat).count();
    let connects_are_beats = beats < 4;
    let mut intervals = Vec::new();
    let mut last: Option<Timestamp> = None;
    for tick in ticks {
        let goes_on = match tick.kind {
            TickKind::Beat => true,
            TickKind::Connect => connects_are_beats,
            TickKind::Failed | TickKind::Reset => {
                last = None;
                continue;
            }
        };
        if let Some(from) = last.filter(|_| goes_on) {
            let interval = Period { from, to: tick.at };
            if interval.milliseconds() <= BURST_MS {
                continue;
            }
            intervals.push(interval);
        }
        last = Some(tick.at);
    }
    intervals.truncate(MOST);
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn steps_are_the_time_between_beats_and_begin_anew_after_a_reset() {
        let tick = |second: u64, kind| Tick { at: Timestamp(second * SECOND), kind };
        let ticks = [
            tick(0, TickKind::Connect),
            tick(1, TickKind::Beat),
            tick(180, TickKind::Beat),
            tick(360, TickKind::Beat),
            tick(660, TickKind::Beat),
            tick(700, TickKind::Reset),
            tick(703, TickKind::Failed),
            tick(733, TickKind::Connect),
            tick(913, TickKind::Beat),
        ];
        let seconds: Vec<u64> =
            intervals(&ticks).iter().map(|interval| interval.milliseconds() / 1000).collect();
        assert_eq!(seconds, [180, 180, 300, 180]);
    }
}
