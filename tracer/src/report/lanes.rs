//! Time lines while they are gathered: one by one as long as that stays small, and in hours beside that, always. Pure.

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
/// Hours of one time line: a quarter of a year.
const MOST_HOURS: usize = 24 * 92;
const HOUR_NS: u64 = 3_600_000_000_000;

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
    hours: BTreeMap<u64, Amounts>,
    is_full: bool,
    /// Connections that are in no hour.
    pub left_out: u64,
}

/// Sums by hour (since 1970) of a flow.
pub type Hours = Vec<(u64, Amounts)>;

/// Adds to the hour of a moment.
pub fn add_to_hour(hours: &mut Hours, at: Timestamp, added: &Amounts) {
    let hour = at.0 / HOUR_NS;
    match hours.last_mut() {
        Some((last, amounts)) if *last == hour => amounts.add(added),
        _ => hours.push((hour, *added)),
    }
}

impl Gathered {
    /// Takes in a flow; `is_whole`: all its moments are there.
    pub fn add(&mut self, bar: Bar, ticks: Vec<Tick>, hours: Hours, is_whole: bool, room: &mut Room) {
        for (hour, amounts) in hours {
            if self.hours.len() < MOST_HOURS || self.hours.contains_key(&hour) {
                self.hours.entry(hour).or_default().add(&amounts);
            } else {
                self.left_out += amounts.connections;
            }
        }
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
            let slot = |(hour, amounts): (u64, Amounts)| (Timestamp(hour.saturating_mul(HOUR_NS)), amounts);
            return Lane::Sums {
                slot_ns: HOUR_NS,
                slots: self.hours.into_iter().map(slot).collect(),
                bars: self.bars,
            };
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
        let at = Timestamp(number * HOUR_NS / 100);
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
        let mut hours = Hours::new();
        add_to_hour(&mut hours, at, &Amounts { connections: 1, ..Amounts::default() });
        lane.add(bar, vec![Tick { at, kind: TickKind::Connect }], hours, true, room);
    }

    #[test]
    fn few_connections_are_kept_one_by_one_and_many_in_hours() {
        let mut room = Room::default();
        let mut lane = Gathered::default();
        (0..500).for_each(|number| add(&mut lane, number, &mut room));
        let mut many = Gathered::default();
        (0..5_000).for_each(|number| add(&mut many, number, &mut room));
        assert!(
            matches!(lane.finish(), Lane::Each { bars, ticks } if bars.len() == 500 && ticks.len() == 500)
        );
        let Lane::Sums { slots, bars, .. } = many.finish() else { panic!("too many") };
        assert_eq!((slots.len(), bars.len()), (50, FIRST_BARS));
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
