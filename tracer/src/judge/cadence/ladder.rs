//! Ladders: intervals that stay the same for some beats and then step up, as push services lengthen theirs.

use super::stored::{Reader, Writer};

/// Levels that are kept.
const LEVELS: usize = 12;
/// Intervals this near, as a share, are on the same level.
const SAME: f64 = 0.06;
/// Beats that a level has at least, and levels that a ladder has at least.
const LEAST_BEATS: u16 = 2;
const LEAST_LEVELS: usize = 3;
/// From the first to the last of them: what climbs less is jitter, or drifts.
const LEAST_CLIMB: f64 = 1.4;

/// The latest levels, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ladder {
    levels: [Level; LEVELS],
    used: u8,
}

/// Packed, because there is a ladder for each channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(Rust, packed(2))]
struct Level {
    interval_ms: u32,
    beats: u16,
}

impl Ladder {
    /// An interval, milliseconds.
    pub fn add(&mut self, interval_ms: u32) {
        let used = usize::from(self.used);
        if let Some(last) = self.levels[..used].last_mut()
            && is_same(last.interval_ms, interval_ms)
        {
            last.beats = last.beats.saturating_add(1);
            return;
        }
        if used == LEVELS {
            self.levels.rotate_left(1);
            self.levels[LEVELS - 1] = Level { interval_ms, beats: 1 };
        } else {
            self.levels[used] = Level { interval_ms, beats: 1 };
            self.used += 1;
        }
    }

    /// Shortest and longest step of the longest climb; `None`: there is no ladder.
    #[must_use]
    pub fn ends_ms(&self) -> Option<(u64, u64)> {
        let mut best: &[Level] = &[];
        let mut start = 0;
        let levels = &self.levels[..usize::from(self.used)];
        for at in 0..levels.len() {
            let climbs = at > start && levels[at].interval_ms > levels[at - 1].interval_ms;
            let is_step = levels[at].beats >= LEAST_BEATS || at + 1 == levels.len();
            if !climbs {
                start = at;
            }
            if !is_step {
                start = at + 1;
            }
            let climb = levels.get(start..=at).unwrap_or_default();
            if climb.len() > best.len() {
                best = climb;
            }
        }
        let (first, last) = (best.first()?, best.last()?);
        let (first, last) = (first.interval_ms, last.interval_ms);
        let climbs = f64::from(last) >= LEAST_CLIMB * f64::from(first);
        (best.len() >= LEAST_LEVELS && climbs).then_some((first.into(), last.into()))
    }
}

impl Ladder {
    pub fn store(&self, to: &mut Writer<'_>) {
        to.bytes([self.used]);
        for level in &self.levels[..usize::from(self.used)] {
            to.bytes(u64::from(level.interval_ms).to_le_bytes());
            to.bytes(level.beats.to_le_bytes());
        }
    }

    pub fn load(from: &mut Reader<'_>) -> Option<Self> {
        let used = from.u8()?;
        let mut levels = [Level::default(); LEVELS];
        for level in levels.get_mut(..usize::from(used))? {
            *level = Level { interval_ms: from.milliseconds()?, beats: from.u16()? };
        }
        Some(Self { levels, used })
    }
}

fn is_same(one: u32, other: u32) -> bool {
    f64::from(one.abs_diff(other)) <= SAME * f64::from(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(intervals: &[u32]) -> Option<(u64, u64)> {
        let mut ladder = Ladder::default();
        intervals.iter().for_each(|interval| ladder.add(interval * 1000));
        ladder.ends_ms().map(|(first, last)| (first / 1000, last / 1000))
    }

    #[test]
    fn three_rising_levels_make_a_ladder() {
        assert_eq!(ends(&[180, 180, 181, 300, 300, 299, 360, 360, 360]), Some((180, 360)));
        assert_eq!(ends(&[180, 180, 180, 300, 300, 300]), None);
        assert_eq!(ends(&[180, 300, 360, 420, 540]), None);
        assert_eq!(ends(&[60; 100]), None);
        assert_eq!(ends(&[300, 300, 320, 320, 345, 345]), None, "jitter, or drift");
        assert_eq!(ends(&[900, 900, 600, 600, 300, 300]), None, "down is no climb");
    }
}
