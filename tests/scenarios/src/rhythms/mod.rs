//! Streams of events by a clock and without one, made from seeds, and how well they are told apart: by the tracer's cadence, by the
//! plain coefficient of variation, and by RITA's score. `cargo xtask cadence` writes what comes out into docs/cadence.md.

mod beacons;
pub mod figures;
mod ordinary;
pub mod random;
mod rita;
pub mod table;
mod timeline;
pub mod variation;

use random::Random;
use timeline::Timeline;
use tracer::judge::cadence::Growth;

/// What the constants of the model and the threshold of the coefficient of variation were chosen with.
pub const TUNING: u64 = 0x7475_6e65;
/// What the published figures and the tests come from. Nothing was chosen with these.
pub const HELD_OUT: u64 = 0x6865_6c64_206f_7574;

/// How often open sockets are looked at.
pub const LOOK_MS: u64 = 60_000;

/// How the tracer gets to know of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Each event is a connection.
    Connects,
    /// Each event is something sent or received on one connection, which is looked at now and then.
    Growth,
}

/// One thing that happens on the network.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub at_ms: u64,
    pub bytes: u64,
    pub packets: u64,
}

/// A kind of stream.
pub struct Kind {
    pub name: &'static str,
    /// Whether it goes by a clock.
    pub is_beacon: bool,
    /// How long a stream lasts.
    pub lasts: &'static str,
    pub paths: &'static [Path],
    make: fn(&mut Random, &mut Timeline, Path),
}

const BOTH: &[Path] = &[Path::Connects, Path::Growth];
const CONNECTS: &[Path] = &[Path::Connects];
const GROWTH: &[Path] = &[Path::Growth];

/// All kinds, those by a clock first.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    beacons::KINDS.iter().chain(ordinary::KINDS)
}

/// What is heard of one stream.
#[derive(Clone, Debug)]
pub enum Heard {
    Connects(Vec<Event>),
    Growth(Vec<Growth>),
}

impl Kind {
    /// One stream: number `number` of those of `seed`.
    #[must_use]
    pub fn stream(&self, path: Path, seed: u64, number: u32) -> Heard {
        let name = self.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut random = Random::new(name ^ (u64::from(number) << 32) ^ path as u64);
        // The first numbers of neighbouring seeds are not to be alike.
        let mut random = Random::new(random.bits());
        let mut timeline = Timeline::new(&mut random);
        (self.make)(&mut random, &mut timeline, path);
        match path {
            Path::Connects => Heard::Connects(timeline.finish()),
            Path::Growth => Heard::Growth(looks(&timeline.finish(), &mut random)),
        }
    }
}

/// What is seen of a connection that is looked at every [`LOOK_MS`]: whether it grew, by how much, and for how long it was silent.
fn looks(events: &[Event], random: &mut Random) -> Vec<Growth> {
    let Some(first) = events.first() else { return Vec::new() };
    let begin = first.at_ms - random.bits() % LOOK_MS;
    let number = |event: &Event| (event.at_ms - begin) / LOOK_MS;
    let looks = events.chunk_by(|one, other| number(one) == number(other));
    let growths = looks.map(|events| {
        let last = events.last().map_or(begin, |event| event.at_ms);
        // A look takes a moment until it comes to this socket.
        let at_ms = begin + ((last - begin) / LOOK_MS + 1) * LOOK_MS + random.bits() % 100;
        Growth {
            at_ms,
            silent_ms: at_ms - last,
            bytes: events.iter().map(|event| event.bytes).sum(),
            packets: events.iter().map(|event| event.packets).sum(),
        }
    });
    growths.collect()
}

#[cfg(test)]
mod tests;
