//! A stream while it is made.

use super::Event;
use super::random::Random;

pub const MINUTE: f64 = 60.0;
pub const HOUR: f64 = 3600.0;
pub const DAY: f64 = 24.0 * HOUR;
/// 2026-11-02, a Monday, milliseconds.
const BEGIN_MS: f64 = 1_793_577_600_000.0;

/// Events, and how large they are; times in seconds since a Monday's first moment.
pub struct Timeline {
    events: Vec<Event>,
    /// Of a beat.
    size: f64,
}

impl Timeline {
    pub fn new(random: &mut Random) -> Self {
        Self { events: Vec::new(), size: random.between(60.0, 500.0) }
    }

    /// A small message and its answer, of nearly the same size each time; now and then there is more to say.
    pub fn beat(&mut self, at: f64, random: &mut Random) {
        let more = if random.happens(0.04) { random.between(300.0, 3_000.0) } else { 0.0 };
        let packets = 3 + u64::from(random.count(0, 1)) + u64::from(more > 0.0) * 3;
        self.add(at, self.size + random.between(0.0, 12.0) + more, packets);
    }

    /// What a person or a program asks for.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, at most a million")]
    pub fn exchange(&mut self, at: f64, random: &mut Random, median: f64) {
        let bytes = random.log_normal(median, 1.0).max(60.0);
        self.add(at, bytes, 3 + (bytes / 1_000.0).ceil().min(1e6) as u64);
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, far below 2^53")]
    fn add(&mut self, at: f64, bytes: f64, packets: u64) {
        let at_ms = (BEGIN_MS + at * 1e3).max(0.0) as u64;
        self.events.push(Event { at_ms, bytes: bytes as u64, packets });
    }

    pub fn finish(mut self) -> Vec<Event> {
        self.events.sort_by_key(|event| event.at_ms);
        self.events
    }
}
