//! How well a clock and how well chance would have foretold the intervals. All in logarithms: of milliseconds, and of densities, so
//! that an interval costs some additions and multiplications, and gives the same on every machine.

use super::numbers::{ln, logarithm};
use super::shapes::{Even, Normal, Silence, Steep, Tailed};
use super::stored::{Reader, Writer};

/// Ways to foretell an interval: the last one, the middle one of the recent ones, the mean of the long run.
const WAYS: usize = 3;
/// How far from the expected time a clock's beat is: normally distributed, by this share.
const NORMAL: [Normal; 5] =
    [Normal::new(0.0015), Normal::new(0.004), Normal::new(0.01), Normal::new(0.025), Normal::new(0.06)];
/// Or evenly spread, by this share to either side, as programs that add random waits do.
const EVEN: [Even; 3] = [Even::new(0.15), Even::new(0.27), Even::new(0.44)];
/// How often an interval is one, two, three, four turns long; where turns are missed, and where hardly any is.
const MISSING: [f32; 4] = logarithms([0.80, 0.15, 0.04, 0.01]);
const PUNCTUAL: [f32; 4] = logarithms([0.975, 0.02, 0.004, 0.001]);
/// So many turns, and up to where they are the nearest.
const TURNS: [f32; 4] = logarithms([1.0, 2.0, 3.0, 4.0]);
const NEAREST: [f32; 3] = logarithms([1.5, 2.5, 3.5]);
/// Of an interval that has nothing to do with the clock: what a clock, and what chance make of it at least. A gap, however long, costs
/// no more than the difference, so that a device that was off and a time that was set do not undo what is known.
const CLOCK_LEAST: f32 = -5.0;
const CHANCE_LEAST: f32 = -3.0;
/// What something costs a clock that no interval tells of, down to this evidence.
const DISTURBED: f32 = 0.7;
const DISTURBED_LEAST: f32 = -5.0;
/// Spread of chance: normal, with long tails to both sides (Laplace), and steep on the near side.
const WIDE: [Normal; 4] = [Normal::new(0.6), Normal::new(0.8), Normal::new(1.2), Normal::new(1.8)];
const TAILED: [Tailed; 3] = [Tailed::new(0.75), Tailed::new(1.0), Tailed::new(1.3)];
const STEEP: [Steep; 4] = [Steep::new(0.6), Steep::new(0.75), Steep::new(1.0), Steep::new(1.3)];
/// How long a socket that is looked at was silent, as a share of the time between looks, if it is never silent for long: what is
/// seen then goes by our clock, not by theirs.
const SILENT: [Silence; 3] = [Silence::new(0.33), Silence::new(0.1), Silence::new(0.03)];

/// Of these all but the last interval are of use where intervals differ much from one to the next.
const STEADY_WAYS: usize = WAYS - 1;
const CLOCKS: usize = WAYS * NORMAL.len() + STEADY_WAYS * 2 * EVEN.len();
const CHANCES: usize = WAYS * (WIDE.len() + TAILED.len()) + 2 * STEEP.len() + SILENT.len() + 1;

/// From intervals like these on people are clocks, too, by the day: only what is more even than they are goes by one.
const DAILY_FROM: f32 = ln(10 * 3_600_000);
const EVENER_THAN_PEOPLE: usize = 3;

/// Evidence fades by this with each interval, and is all about so many intervals then.
const FADING: f32 = 0.985;
const MEMORY: u32 = 67;
const ONE_TRY: f32 = ln(MEMORY as u64);
/// Intervals that the middle one is taken of, and that the long mean goes over.
const RECENT: usize = 7;
const LONG: u32 = 40;
/// One interval says no more about the means than this.
const MOST_NEWS: f32 = 1.5;
/// Intervals from which on there is anything to foretell with.
const KNOWN_FROM: u32 = 3;
/// And from which on anything is said: two that are alike by chance are not rare enough.
pub const SAID_FROM: u32 = 5;

#[allow(clippy::cast_possible_truncation, reason = "digits that nobody needs")]
const fn logarithms<const N: usize>(of: [f64; N]) -> [f32; N] {
    let mut logarithms = [0.0; N];
    let mut at = 0;
    while at < N {
        logarithms[at] = logarithm(of[at]) as f32;
        at += 1;
    }
    logarithms
}

/// Sums of the logarithms of what each clock and each kind of chance foretold.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    recent_ms: [u32; RECENT],
    intervals: u32,
    /// Mean of the long run: of the intervals, and of the turns in them.
    mean: f32,
    turn: f32,
    clocks: [f32; CLOCKS],
    chance: [f32; CHANCES],
    /// Faded count of intervals, and of those that were where a clock would have them.
    judged: f32,
    on_time: f32,
    /// Follow from the others: logarithms of the last one and of the middle one, and that one.
    latest: f32,
    middle: f32,
    middle_ms: u32,
    evidence: f32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            recent_ms: [0; RECENT],
            intervals: 0,
            mean: 0.0,
            turn: 0.0,
            clocks: [0.0; CLOCKS],
            chance: [0.0; CHANCES],
            judged: 0.0,
            on_time: 0.0,
            latest: 0.0,
            middle: 0.0,
            middle_ms: 0,
            evidence: 0.0,
        }
    }
}

/// An interval.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub ms: u32,
    /// Of one that ends with a look at a socket that had grown at the look before, too: for how long it was silent, and how often it
    /// is looked at. More may have happened in between.
    pub looked: Option<(u64, u64)>,
}

impl Model {
    pub fn add(&mut self, interval: Interval) {
        let x = ln(interval.ms.into());
        if self.intervals >= KNOWN_FROM {
            let ways = [self.latest, self.middle, self.turn];
            let turns = ways.map(|way| Turns::of(x - way));
            self.clocks(&turns);
            self.chance(x, interval);
            self.judged = FADING * self.judged + 1.0;
            let is_near = turns[..2].iter().any(|turns| EVEN[EVEN.len() - 1].has(turns.off));
            self.on_time = FADING * self.on_time + f32::from(u8::from(is_near));
        }
        self.learn(interval.ms, x);
        self.weigh();
    }

    /// Something happened that no interval tells of: one that is not on time.
    pub fn disturb(&mut self) {
        self.judged = FADING * self.judged + 1.0;
        self.on_time *= FADING;
        // A long download says no more against a clock than a short one.
        let cost = if self.evidence > DISTURBED_LEAST { DISTURBED } else { 0.0 };
        self.clocks.iter_mut().for_each(|sum| *sum = FADING * *sum - cost);
        self.chance.iter_mut().for_each(|sum| *sum *= FADING);
        self.weigh();
    }

    /// How much better a clock foretold it all than chance, as a logarithm. `None`: too little was foretold yet.
    #[must_use]
    pub fn evidence(&self) -> Option<f32> {
        (self.intervals >= SAID_FROM).then_some(self.evidence)
    }

    /// Share of the intervals that were where a clock would have them.
    #[must_use]
    pub fn regularity(&self) -> f32 {
        if self.judged > 0.0 { self.on_time / self.judged } else { 0.0 }
    }

    /// Between two beats, as a rule, milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.middle_ms.into()
    }

    fn clocks(&mut self, turns: &[Turns; WAYS]) {
        let mut densities = [0.0; CLOCKS];
        let (normal, even) = densities.split_at_mut(WAYS * NORMAL.len());
        for (densities, shape) in normal.chunks_exact_mut(WAYS).zip(&NORMAL) {
            for (density, turns) in densities.iter_mut().zip(turns) {
                *density = shape.of(turns.off) + turns.missing;
            }
        }
        for (densities, shape) in even.chunks_exact_mut(2 * STEADY_WAYS).zip(&EVEN) {
            let (missing, punctual) = densities.split_at_mut(STEADY_WAYS);
            for ((missing, punctual), turns) in missing.iter_mut().zip(punctual).zip(&turns[1..]) {
                let density = shape.of(turns.off);
                (*missing, *punctual) = (density + turns.missing, density + turns.punctual);
            }
        }
        sum_up(&mut self.clocks, &densities, CLOCK_LEAST);
    }

    fn chance(&mut self, x: f32, interval: Interval) {
        let mut densities = [0.0; CHANCES];
        let (around, rest) = densities.split_at_mut(WAYS * (WIDE.len() + TAILED.len()));
        let centres = [self.latest, self.middle, self.mean];
        for (densities, centre) in around.chunks_exact_mut(WIDE.len() + TAILED.len()).zip(centres) {
            let (wide, tailed) = densities.split_at_mut(WIDE.len());
            wide.iter_mut().zip(&WIDE).for_each(|(density, shape)| *density = shape.of(x - centre));
            tailed.iter_mut().zip(&TAILED).for_each(|(density, shape)| *density = shape.of(x - centre));
        }
        let (behind, looked) = rest.split_at_mut(2 * STEEP.len());
        for (densities, shape) in behind.chunks_exact_mut(2).zip(&STEEP) {
            densities[0] = shape.of(x - self.middle + shape.to_median());
            densities[1] = shape.of(x - self.mean + shape.to_mean());
        }
        if let Some((silent_ms, look_ms)) = interval.looked {
            // The density of the silence, as one of the logarithm of the interval.
            #[allow(clippy::cast_precision_loss, reason = "both are small")]
            let (silent, to_log) = (silent_ms as f32 / look_ms.max(1) as f32, x - ln(look_ms));
            looked[0] = to_log;
            let silences = looked[1..].iter_mut().zip(&SILENT);
            silences.for_each(|(density, shape)| *density = shape.of(silent) + to_log);
        } else {
            looked.fill(TAILED[1].of(x - self.middle));
        }
        sum_up(&mut self.chance, &densities, CHANCE_LEAST);
    }

    fn learn(&mut self, interval_ms: u32, x: f32) {
        self.intervals = self.intervals.saturating_add(1);
        #[allow(clippy::cast_precision_loss, reason = "at most LONG")]
        let share = 1.0 / self.intervals.min(LONG) as f32;
        let most = if self.intervals <= 1 { f32::MAX } else { MOST_NEWS };
        self.mean += (x - self.mean).clamp(-most, most) * share;
        if self.intervals <= 3 {
            self.turn = self.mean;
        } else {
            let turns = Turns::of(x - self.turn);
            self.turn += turns.off.clamp(-0.5, 0.5) * share;
        }
        self.recent_ms.rotate_left(1);
        self.recent_ms[RECENT - 1] = interval_ms;
        self.latest = x;
        self.look_back();
    }

    fn weigh(&mut self) {
        let (even, coarse) = if self.middle < DAILY_FROM {
            (most(&self.clocks), f32::MIN)
        } else {
            let (even, coarse) = self.clocks.split_at(WAYS * EVENER_THAN_PEOPLE);
            (most(even), most(coarse))
        };
        // Each time that the memory was filled with something else was another try.
        let tries = ln(u64::from(self.intervals.saturating_add(MEMORY))) - ONE_TRY;
        self.evidence = even - most(&self.chance).max(coarse) - tries;
    }

    fn look_back(&mut self) {
        let known = usize::try_from(self.intervals).unwrap_or(RECENT).min(RECENT);
        let mut recent = self.recent_ms;
        let recent = &mut recent[RECENT - known..];
        recent.sort_unstable();
        self.middle_ms = match known {
            0 => 0,
            known if known % 2 == 1 => recent[known / 2],
            known => recent[known / 2 - 1].midpoint(recent[known / 2]),
        };
        self.middle = ln(self.middle_ms.into());
    }

    pub fn store(&self, to: &mut Writer<'_>) {
        to.bytes(self.intervals.to_le_bytes());
        self.recent_ms.iter().for_each(|&interval_ms| to.bytes(u64::from(interval_ms).to_le_bytes()));
        to.floats(&[self.mean, self.turn, self.judged, self.on_time]);
        to.floats(&self.clocks);
        to.floats(&self.chance);
    }

    pub fn load(from: &mut Reader<'_>) -> Option<Self> {
        let intervals = from.u32()?;
        let mut model = Self { intervals, ..Self::default() };
        for interval_ms in &mut model.recent_ms {
            *interval_ms = from.milliseconds()?;
        }
        [model.mean, model.turn, model.judged, model.on_time] = from.floats()?;
        if !(0.0..=model.judged).contains(&model.on_time) {
            return None;
        }
        model.clocks = from.floats()?;
        model.chance = from.floats()?;
        model.latest = ln(model.recent_ms[RECENT - 1].into());
        model.look_back();
        model.weigh();
        Some(model)
    }
}

fn sum_up<const N: usize>(sums: &mut [f32; N], densities: &[f32; N], least: f32) {
    for (sum, density) in sums.iter_mut().zip(densities) {
        *sum = FADING * *sum + if *density > least { *density } else { least };
    }
}

fn most(sums: &[f32]) -> f32 {
    // Four at a time: a processor takes them together.
    let (fours, rest) = sums.as_chunks::<4>();
    let mut most = [f32::MIN; 4];
    for four in fours {
        for (most, sum) in most.iter_mut().zip(four) {
            *most = if *sum > *most { *sum } else { *most };
        }
    }
    most.iter().chain(rest).copied().fold(f32::MIN, f32::max)
}

/// An interval as turns of a clock: how far it is from the nearest number of them, and how likely that number is.
struct Turns {
    off: f32,
    missing: f32,
    punctual: f32,
}

impl Turns {
    fn of(off: f32) -> Self {
        let turns = NEAREST.iter().filter(|limit| off > **limit).count();
        Self { off: off - TURNS[turns], missing: MISSING[turns], punctual: PUNCTUAL[turns] }
    }
}
