//! Beats: whether something happens by a clock, although it comes late, misses a turn, drifts, or climbs a ladder of intervals
//! as push services do. Pure; times in milliseconds.
//!
//! Each interval is foretold from those before it, in two ways: as a clock would have it (near what the intervals before were, or
//! a small multiple of that), and as chance would. The logarithm of how much better the clock did is the evidence. Because
//! everything is foretold before it is seen, chance seldom gathers much of it, however often one looks (Ville's inequality: at
//! most once in e^x for an evidence of x, if one of our kinds of chance is the right one; docs/cadence.md has what was measured).
//! Old evidence fades, so that a channel that changes is judged by what it does now.

mod growths;
mod ladder;
mod model;
mod numbers;
mod shapes;
mod stored;

pub use growths::Growths;
pub use ladder::Ladder;
use model::{Interval, Model};
use stored::{BEATS, Reader, Writer};

/// Beats closer together than this are one: a client opens several connections at once.
const BURST_MS: u64 = 3_000;
/// No clock that is known here misses so many turns: the time was set, or the device lay in a drawer.
const LONGEST_MS: u32 = 14 * 86_400_000;
/// More than this from one look at a socket to the next is not one beat.
const MUCH_BYTES: u64 = 16_384;
const MUCH_PACKETS: u64 = 24;
/// Evidence at which the score is 0.8.
const ENOUGH: f64 = 5.0;

/// What is known of the beats of one channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beats {
    /// Of the last beat, and of the last thing that belongs to it.
    last_ms: u64,
    burst_ms: u64,
    /// When an open socket had grown last.
    looked_ms: u64,
    /// From the first beat on, as far as it is known.
    duration_ms: u64,
    count: u32,
    /// Whether the interval from then on is not known: much else happened in between.
    is_interrupted: bool,
    model: Model,
    ladder: Ladder,
}

const _: () = assert!(size_of::<Beats>() <= 424);

/// What an open socket moved since it was looked at before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// When it was looked at.
    pub at_ms: u64,
    /// For how long nothing had been sent or received then.
    pub silent_ms: u64,
    /// Both ways.
    pub bytes: u64,
    pub packets: u64,
}

impl Growth {
    /// Whether it had grown at the look before, too: then it is not known what happened in between.
    #[must_use]
    pub fn is_on(&self, before_ms: u64, look_ms: u64) -> bool {
        self.at_ms >= before_ms && self.at_ms - before_ms < look_ms.saturating_mul(3) / 2
    }

    /// More than one beat.
    #[must_use]
    pub fn is_much(&self) -> bool {
        self.bytes > MUCH_BYTES || self.packets > MUCH_PACKETS
    }
}

/// What kind of rhythm it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// The same interval, with or without jitter.
    Interval,
    /// Intervals that grow step by step.
    Ladder,
}

/// What the beats of a channel look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cadence {
    /// From 0 to 1; from 0.8 on it goes by a clock.
    pub score: f64,
    /// Share of the beats that came when they were expected, or missed turns.
    pub regularity: f64,
    /// Between two beats, as a rule.
    pub interval_ms: u64,
    /// Shortest and longest step of a ladder; `None`: one interval.
    pub ladder_ms: Option<(u64, u64)>,
    pub beats: u32,
    /// From the first to the last beat.
    pub duration_ms: u64,
}

impl Beats {
    /// The app connected.
    pub fn connected(&mut self, at_ms: u64) {
        self.add(at_ms, None);
    }

    /// An open socket moved something; `look_ms`: how often it is looked at.
    pub fn grew(&mut self, growth: &Growth, look_ms: u64) {
        let Growth { at_ms, silent_ms, .. } = *growth;
        let is_on = growth.is_on(self.looked_ms, look_ms);
        self.looked_ms = at_ms;
        if is_on && growth.is_much() {
            self.busy(at_ms.saturating_sub(silent_ms));
        } else {
            self.add(at_ms.saturating_sub(silent_ms), is_on.then_some((silent_ms, look_ms)));
        }
    }

    /// Something happened.
    fn add(&mut self, at_ms: u64, looked: Option<(u64, u64)>) {
        if self.count == 0 {
            self.begin(at_ms);
            return;
        }
        let is_back = at_ms < self.last_ms.saturating_sub(BURST_MS);
        let is_same = !is_back && at_ms.saturating_sub(self.burst_ms) <= BURST_MS;
        if is_same {
            self.burst_ms = self.burst_ms.max(at_ms);
            return;
        }
        let interval_ms = u32::try_from(at_ms.saturating_sub(self.last_ms)).ok();
        let known = interval_ms.filter(|&ms| !is_back && !self.is_interrupted && ms <= LONGEST_MS);
        self.begin(at_ms);
        if let Some(interval_ms) = known {
            self.duration_ms = self.duration_ms.saturating_add(interval_ms.into());
            self.model.add(Interval { ms: interval_ms, looked });
            self.ladder.add(interval_ms);
        }
    }

    /// So much happened that no single beat can be told.
    fn busy(&mut self, at_ms: u64) {
        self.burst_ms = self.burst_ms.max(at_ms);
        self.is_interrupted = true;
        self.model.disturb();
    }

    fn begin(&mut self, at_ms: u64) {
        (self.last_ms, self.burst_ms) = (at_ms, at_ms);
        self.count = self.count.saturating_add(1);
        self.is_interrupted = false;
    }

    /// For a ledger; [`Beats::from_bytes`] goes on from there.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.store(&mut bytes);
        bytes
    }

    /// As [`Beats::to_bytes`], behind what is there already.
    pub fn store(&self, bytes: &mut Vec<u8>) {
        let mut to = Writer::new(bytes, BEATS);
        to.bytes(self.last_ms.to_le_bytes());
        to.bytes(self.burst_ms.to_le_bytes());
        to.bytes(self.looked_ms.to_le_bytes());
        to.bytes(self.duration_ms.to_le_bytes());
        to.bytes(self.count.to_le_bytes());
        to.bytes([u8::from(self.is_interrupted)]);
        self.model.store(&mut to);
        self.ladder.store(&mut to);
        to.finish();
    }

    /// What [`Beats::to_bytes`] made; `None`: damaged, or of a form that is not known.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, BEATS)?;
        let beats = Self {
            last_ms: from.u64()?,
            burst_ms: from.u64()?,
            looked_ms: from.u64()?,
            duration_ms: from.u64()?,
            count: from.u32()?,
            is_interrupted: from.flag()?,
            model: Model::load(&mut from)?,
            ladder: Ladder::load(&mut from)?,
        };
        from.finish()?;
        Some(beats)
    }

    /// What they look like; `None` while there are too few to say anything.
    #[must_use]
    pub fn cadence(&self) -> Option<Cadence> {
        let evidence = f64::from(self.model.evidence()?.max(0.0));
        Some(Cadence {
            score: evidence / (evidence + ENOUGH / 4.0),
            regularity: self.model.regularity().into(),
            interval_ms: self.model.interval_ms(),
            ladder_ms: self.ladder.ends_ms(),
            beats: self.count,
            duration_ms: self.duration_ms,
        })
    }
}

impl Cadence {
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.ladder_ms.is_some() { Kind::Ladder } else { Kind::Interval }
    }

    /// For a person: `every 15 min`, `on a ladder from 3 min to 15 min`.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn rhythm(&self) -> String {
        let time = |ms: u64| crate::judge::rules::value::Unit::Milliseconds.show(ms as f64);
        match self.ladder_ms {
            Some((first, last)) => format!("on a ladder from {} to {}", time(first), time(last)),
            None => format!("every {}", time(self.interval_ms)),
        }
    }
}

#[cfg(test)]
mod tests;
