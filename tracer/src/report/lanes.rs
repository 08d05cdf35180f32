//! Time lines while they are gathered: one by one as long as that stays small, and in sums beside that, always. Pure.

use std::collections::BTreeMap;

use super::material::{Bar, Lane, Tick};
use crate::clock::Timestamp;
use crate::judge::book::Amounts;

/// Connections and moments of one time line that are kept one by one.
const MOST_BARS: usize = 600;
pub const MOST_TICKS: usize = 3_000;
/// Of all time lines together: some 20 MB.
const MOST_IN_ALL: usize = 400_000;
/// Connections that are kept in any case: those that findings name as evidence are the first ones.
const FIRST_BARS: usize = 16;
/// Slots of one time line; when there are more, each two become one.
const MOST_SLOTS: usize = 512;
/// Width of the first slots: a minute.
const FIRST_SLOT_NS: u64 = 60_000_000_000;

/// What is left for all time lines.
#[derive(Debug)]
pub struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(MOST_IN_ALL)
    }
}

/// One time line.
#[derive(Debug, Default)]
pub struct Gathered {
    bars: Vec<Bar>,
    ticks: Vec<Tick>,
    sums: Sums,
    is_full: bool,
}

/// Amounts by slots of time, as wide as they must be to be few.
#[derive(Clone, Debug)]
pub struct Sums {
    slot_ns: u64,
    /// By number of the slot since 1970.
    slots: BTreeMap<u64, Amounts>,
}

impl Default for Sums {
    fn default() -> Self {
        Self { slot_ns: FIRST_SLOT_NS, slots: BTreeMap::new() }
    }
}

impl Sums {
    /// Adds to the slot of a moment.
    pub fn add(&mut self, at: Timestamp, added: &Amounts) {
        self.slots.entry(at.0 / self.slot_ns).or_default().add(added);
        if self.slots.len() > MOST_SLOTS {
            self.widen();
        }
    }

    /// Adds all that others have.
    fn merge(&mut self, other: &Self) {
        while self.slot_ns < other.slot_ns {
            self.widen();
        }
        for (slot, amounts) in &other.slots {
            self.add(Timestamp(slot.saturating_mul(other.slot_ns)), amounts);
        }
    }

    fn widen(&mut self) {
        self.slot_ns = self.slot_ns.saturating_mul(2);
        for (slot, amounts) in std::mem::take(&mut self.slots) {
            self.slots.entry(slot / 2).or_default().add(&amounts);
        }
    }
}

impl Gathered {
    /// Takes in a flow; `is_whole`: all its moments are there.
    pub fn add(&mut self, bar: Bar, ticks: Vec<Tick>, sums: &Sums, is_whole: bool, room: &mut Room) {
        self.sums.merge(sums);
        let needed = 1 + ticks.len();
        let fits = is_whole
            && self.bars.len() < MOST_BARS
            && self.ticks.len() + ticks.len() <= MOST_TICKS
            && room.0 >= needed;
        if !self.is_full && !fits {
            self.is_full = true;
            room.0 += self.ticks.len() + self.bars.len().saturating_sub(FIRST_BARS);
            self.ticks = Vec::new();
            self.bars.truncate(FIRST_BARS);
        }
        if !self.is_full {
            room.0 -= needed;
            self.bars.push(bar);
            self.ticks.extend(ticks);
        } else if self.bars.len() < FIRST_BARS {
            self.bars.push(bar);
        }
    }

    /// The finished time line.
    #[must_use]
    pub fn finish(mut self) -> Lane {
        self.bars.sort_unstable_by_key(|bar| bar.seen.from);
        if self.is_full {
            let Sums { slot_ns, slots } = self.sums;
            let slot = |(slot, amounts): (u64, Amounts)| (Timestamp(slot.saturating_mul(slot_ns)), amounts);
            let slots = slots.into_iter().map(slot).collect();
            return Lane::Sums { slot_ns, slots, bars: self.bars };
        }
        self.ticks.sort_unstable();
        if self.bars.is_empty() { Lane::Empty } else { Lane::Each { bars: self.bars, ticks: self.ticks } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::observation::FlowRef;
    use crate::report::material::{Period, TickKind};

    fn add(lane: &mut Gathered, number: u64, room: &mut Room) {
        let at = Timestamp(number * FIRST_SLOT_NS);
        let bar = Bar {
            flow: FlowRef { boot: 1, cookie: number, peer: None },
            seen: Period::at(at),
            has_start: true,
            has_end: true,
            is_failed: false,
            end: None,
            sent: None,
            received: None,
        };
        let mut sums = Sums::default();
        sums.add(at, &Amounts { connections: 1, ..Amounts::default() });
        lane.add(bar, vec![Tick { at, kind: TickKind::Connect }], &sums, true, room);
    }

    #[test]
    fn few_connections_are_kept_one_by_one_and_many_in_few_slots() {
        let mut room = Room::default();
        let mut lane = Gathered::default();
        (0..500).for_each(|number| add(&mut lane, number, &mut room));
        let mut many = Gathered::default();
        (0..5_000).for_each(|number| add(&mut many, number, &mut room));
        assert!(
            matches!(lane.finish(), Lane::Each { bars, ticks } if bars.len() == 500 && ticks.len() == 500)
        );
        let Lane::Sums { slots, bars, slot_ns } = many.finish() else { panic!("too many") };
        assert_eq!((slots.len(), bars.len(), slot_ns), (313, FIRST_BARS, 16 * FIRST_SLOT_NS));
        assert_eq!(slots.iter().map(|(_, amounts)| amounts.connections).sum::<u64>(), 5_000);
        assert_eq!(room.0, MOST_IN_ALL - 1_000 - FIRST_BARS, "room that is not needed is given back");
    }

    #[test]
    fn what_all_time_lines_need_is_bounded() {
        let mut room = Room(10);
        let mut lane = Gathered::default();
        (0..100).for_each(|number| add(&mut lane, number, &mut room));
        assert!(matches!(lane.finish(), Lane::Sums { .. }));
    }
}
