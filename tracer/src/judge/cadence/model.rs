//! How well a clock and how well chance would have foretold the intervals. All in logarithms of milliseconds.

use super::stored::{Reader, Writer};

/// How far from the expected time a clock's beat may be: the first ones normally distributed (a share), the others evenly spread
/// (a share to either side), as programs that add random waits do.
const NORMAL: [f64; 5] = [0.0015, 0.004, 0.01, 0.025, 0.06];
const EVEN: [f64; 3] = [0.15, 0.27, 0.44];
const CLOCKS: usize = NORMAL.len() + EVEN.len();
/// How often a clock's interval is one, two, three, four turns long.
const TURNS: [f64; 4] = [0.84, 0.12, 0.03, 0.01];
/// How often an interval has nothing to do with the clock.
const OUTLIER: f64 = 0.04;
/// Spread of chance, in logarithms: normal, and with long tails (Laplace, and steep on one side).
const WIDE: [f64; 4] = [0.6, 0.8, 1.2, 1.8];
const TAILED: [f64; 3] = [0.75, 1.0, 1.3];
/// People are regular, too, by the day: only what is much more even than they are goes by a clock.
const DAILY: [f64; 5] = [0.04, 0.08, 0.2, 0.5, 1.2];
const SEVERAL_DAYS: [f64; 4] = [0.08, 0.2, 0.5, 1.2];
const DAILY_FROM_MS: f64 = 8.0 * 3.6e6;
const SEVERAL_DAYS_FROM_MS: f64 = 30.0 * 3.6e6;
/// Evidence fades by this with each interval.
const FADING: f64 = 0.985;
/// Intervals that the middle one is taken of.
const RECENT: usize = 7;
/// Intervals that the long mean goes over.
const LONG: u32 = 20;
/// Ways to foretell an interval: the last one, the middle one of the recent ones, the long mean.
const WAYS: usize = 3;
/// Sum of a kind of chance that there is not for intervals like these.
const IMPOSSIBLE: f64 = -1e6;
const KINDS: usize = DAILY.len() + 2 * TAILED.len();

/// Sums of the logarithms of what each clock and each kind of chance foretold.
#[derive(Clone, Debug)]
pub struct Model {
    recent: [f64; RECENT],
    intervals: u32,
    /// Mean of the long run: of the intervals, and of the turns in them.
    mean: f64,
    turn: f64,
    clocks: [f64; CLOCKS],
    chance: [[f64; KINDS]; WAYS],
    /// Faded count of intervals, and of those that were where a clock would have them.
    judged: f64,
    on_time: f64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            recent: [0.0; RECENT],
            intervals: 0,
            mean: 0.0,
            turn: 0.0,
            clocks: [0.0; CLOCKS],
            chance: [[0.0; KINDS]; WAYS],
            judged: 0.0,
            on_time: 0.0,
        }
    }
}

impl Model {
    /// An interval, milliseconds.
    #[allow(clippy::cast_precision_loss)]
    pub fn add(&mut self, interval_ms: u64) {
        let x = (interval_ms.max(1) as f64).ln();
        if self.intervals >= 2 {
            let ways = [self.latest(), self.middle(), self.turn];
            let outlier = normal(x - ways[1], 1.5);
            for (sum, clock) in self.clocks.iter_mut().zip(0..) {
                let foretold = by_clock(x, &ways, clock);
                *sum = FADING * *sum + ((1.0 - OUTLIER) * foretold + OUTLIER * outlier).ln();
            }
            let centres = [ways[0], ways[1], self.mean];
            for (sums, centre) in self.chance.iter_mut().zip(centres) {
                for (sum, kind) in sums.iter_mut().zip(0..) {
                    *sum = match by_chance(x, centre, ways[1].exp(), kind) {
                        Some(foretold) => {
                            FADING * *sum + ((1.0 - OUTLIER) * foretold + OUTLIER * outlier).ln()
                        }
                        None => IMPOSSIBLE,
                    };
                }
            }
            self.judge(x);
        }
        self.learn(x);
    }

    /// Something happened that no interval tells of: one that is not on time.
    pub fn disturb(&mut self) {
        self.judged = FADING * self.judged + 1.0;
        self.on_time *= FADING;
        self.clocks.iter_mut().for_each(|sum| *sum = FADING * *sum - 0.7);
        self.chance.iter_mut().flatten().for_each(|sum| *sum *= FADING);
    }

    /// How much better a clock foretold it all than chance, as a logarithm. `None`: nothing was foretold yet.
    #[must_use]
    pub fn evidence(&self) -> Option<f64> {
        if self.intervals < 3 {
            return None;
        }
        let best = self.clocks.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.clocks.iter().map(|clock| (clock - best).exp()).sum();
        let clock = best + (sum / f64::from(u8::try_from(CLOCKS).unwrap_or(u8::MAX))).ln();
        let chance = self.chance.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(clock - chance)
    }

    /// Share of the intervals that were where a clock would have them.
    #[must_use]
    pub fn regularity(&self) -> f64 {
        if self.judged > 0.0 { self.on_time / self.judged } else { 0.0 }
    }

    /// Between two beats, as a rule, milliseconds.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn interval_ms(&self) -> u64 {
        self.middle().exp().round() as u64
    }

    pub fn store(&self, to: &mut Writer) {
        to.bytes(self.intervals.to_le_bytes());
        to.floats(&self.recent);
        to.floats(&[self.mean, self.turn, self.judged, self.on_time]);
        to.floats(&self.clocks);
        self.chance.iter().for_each(|sums| to.floats(sums));
    }

    pub fn load(from: &mut Reader<'_>) -> Option<Self> {
        let intervals = from.u32()?;
        let recent = from.floats()?;
        let [mean, turn, judged, on_time] = from.floats()?;
        let clocks = from.floats()?;
        let chance = [from.floats()?, from.floats()?, from.floats()?];
        Some(Self { recent, intervals, mean, turn, clocks, chance, judged, on_time })
    }

    fn judge(&mut self, x: f64) {
        let near = |centre: f64| {
            let ratio = (x - centre).exp();
            let turns = ratio.round().clamp(1.0, 4.0);
            (ratio / turns - 1.0).abs() <= EVEN[2]
        };
        self.judged = FADING * self.judged + 1.0;
        self.on_time = FADING * self.on_time + f64::from(near(self.middle()) || near(self.latest()));
    }

    fn learn(&mut self, x: f64) {
        self.intervals = self.intervals.saturating_add(1);
        let share = 1.0 / f64::from(self.intervals.min(LONG));
        self.mean += (x - self.mean) * share;
        if self.intervals <= 3 {
            self.turn = self.mean;
        } else {
            let turns = (x - self.turn).exp().round().clamp(1.0, 4.0);
            self.turn += (x - turns.ln() - self.turn).clamp(-0.5, 0.5) * share;
        }
        self.recent.rotate_left(1);
        self.recent[RECENT - 1] = x;
    }

    fn latest(&self) -> f64 {
        self.recent[RECENT - 1]
    }

    fn middle(&self) -> f64 {
        let known = usize::try_from(self.intervals).unwrap_or(RECENT).min(RECENT);
        let mut recent = self.recent;
        let recent = &mut recent[RECENT - known..];
        recent.sort_by(f64::total_cmp);
        match known {
            0 => 0.0,
            known if known % 2 == 1 => recent[known / 2],
            known => f64::midpoint(recent[known / 2 - 1], recent[known / 2]),
        }
    }
}

/// Density of the interval `x`, by a clock that all three ways know alike.
fn by_clock(x: f64, ways: &[f64; WAYS], clock: usize) -> f64 {
    let mut density = 0.0;
    for (turns, often) in (1..).zip(TURNS) {
        for way in ways {
            let off = x - way - f64::from(turns).ln();
            density += often / 3.0
                * match NORMAL.get(clock) {
                    Some(spread) => normal(off, *spread),
                    None => even(off, EVEN[clock - NORMAL.len()]),
                };
        }
    }
    density
}

/// Density of the interval `x`, by chance around `centre`; `None`: there is no such kind of chance for intervals like these.
fn by_chance(x: f64, centre: f64, usual_ms: f64, kind: usize) -> Option<f64> {
    let off = x - centre;
    if usual_ms >= DAILY_FROM_MS {
        let spreads: &[f64] = if usual_ms >= SEVERAL_DAYS_FROM_MS { &SEVERAL_DAYS } else { &DAILY };
        let spread = *spreads.get(kind)?;
        let turns =
            (1..).zip(TURNS).map(|(turns, often)| often * normal(off - f64::from(turns).ln(), spread));
        return Some(turns.sum());
    }
    let tails = WIDE.len();
    match kind {
        _ if kind < tails => Some(normal(off, WIDE[kind])),
        _ if kind < tails + TAILED.len() => {
            let spread = TAILED[kind - tails];
            Some((-off.abs() / spread).exp() / (2.0 * spread))
        }
        _ => {
            let spread = *TAILED.get(kind - tails - TAILED.len())?;
            let behind = off + 0.5;
            let slope = if behind >= 0.0 { -behind / spread } else { behind / 0.1 };
            Some(slope.exp() / (spread + 0.1))
        }
    }
}

fn normal(off: f64, spread: f64) -> f64 {
    let z = off / spread;
    (-0.5 * z * z).exp() / (spread * std::f64::consts::TAU.sqrt())
}

/// Evenly spread by `share` to either side, with soft edges; `off` is a logarithm, the spread is not.
fn even(off: f64, share: f64) -> f64 {
    let ratio = off.exp();
    let edge = 1.0 / (1.0 + (((ratio - 1.0).abs() - share) / (0.06 * share)).exp());
    ratio * edge / (2.02 * share)
}
