//! What is remembered of each flow while it is open. Pure.

use std::num::NonZero;
use std::time::Duration;

use lru::LruCache;
use smallvec::SmallVec;

use super::book::{Book, Booked, RowId};
use super::cadence::{Cadence, Growth, Growths};
use super::channel::Channel;
use super::observation::{FlowRef, Observation};
use super::rules::Rules;
use super::saved::{SavedBooking, SavedFlow, SavedFlows};
use crate::clock::Timestamp;
use crate::hash::Fnv;
use crate::record::{Action, End};

/// Flows that are remembered at the same time; the one that was silent longest is forgotten.
const MOST: usize = 1 << 18;

/// What is remembered of one flow.
#[derive(Clone, Debug)]
pub struct Watched {
    first: Timestamp,
    /// What it had moved before the first record of it.
    before: Option<u64>,
    last_bytes: u64,
    last_packets: u64,
    growths: Growths,
    pub booked: Option<Booked>,
    /// Its first record is of when it was asked for; and the row that this was booked on as a beat. No row has the number 0.
    is_connect: bool,
    beats_row: Option<NonZero<RowId>>,
    /// Numbers of the rules that noticed it.
    noticed: SmallVec<[u16; 4]>,
    /// Hash of where it goes to; only where it may be stored.
    ends: u64,
    unsaved: Unsaved,
}

/// There are thousands of them.
const _: () = assert!(size_of::<Watched>() <= 176);

#[derive(Clone, Copy, Debug, Default)]
struct Unsaved {
    /// It is on the list of those that changed since they were stored.
    is_listed: bool,
    /// It may stand in the ledger.
    is_stored: bool,
    /// It was taken from there, and nothing was heard of it since.
    is_restored: bool,
}

/// What changed since it was stored.
#[derive(Debug, Default)]
struct Pending {
    changed: Vec<FlowRef>,
    ended: Vec<FlowRef>,
}

/// The flows that are open.
pub struct WatchedFlows {
    all: LruCache<FlowRef, Watched>,
    /// `None`: nobody stores them.
    pending: Option<Pending>,
}

impl Default for WatchedFlows {
    fn default() -> Self {
        Self { all: LruCache::unbounded(), pending: None }
    }
}

impl WatchedFlows {
    /// The flow of a record.
    pub fn of(&mut self, seen: &Observation<'_>) -> &mut Watched {
        let is_stored = self.pending.is_some();
        let ends = || if is_stored { ends(seen) } else { 0 };
        if self.all.len() > MOST
            && let Some((flow, watched)) = self.all.pop_lru()
        {
            note_end(&mut self.pending, flow, &watched);
        }
        let watched = self.all.get_or_insert_mut(seen.flow, || Watched::new(seen, ends()));
        if std::mem::take(&mut watched.unsaved.is_restored) && watched.ends != ends() {
            // The same number, another connection.
            *watched = Watched::new(seen, ends());
            watched.unsaved.is_stored = true;
        }
        if let Some(pending) = &mut self.pending
            && !std::mem::replace(&mut watched.unsaved.is_listed, true)
        {
            pending.changed.push(seen.flow);
        }
        watched
    }

    /// After the last record of a flow.
    pub fn end(&mut self, seen: &Observation<'_>) {
        // One that had to make room elsewhere may come back, with all that it has moved so far.
        if seen.is_end()
            && seen.end != Some(End::Evicted)
            && let Some(watched) = self.all.pop(&seen.flow)
        {
            note_end(&mut self.pending, seen.flow, &watched);
        }
    }

    /// Takes back what was stored, and remembers from now on what changes.
    pub fn restore(&mut self, flows: &SavedFlows, rules: &Rules) {
        self.pending.get_or_insert_default();
        for flow in &flows.all {
            self.all.put(flow.flow, Watched::restored(flow, flows, rules));
        }
    }

    /// What changed since it was taken last: open flows, and those that ended.
    pub fn take_changes(&mut self, rules: &Rules) -> (SavedFlows, Vec<FlowRef>) {
        let Some(pending) = self.pending.as_mut().map(std::mem::take) else { return Default::default() };
        let mut changed = SavedFlows::with_capacity(pending.changed.len());
        for flow in pending.changed {
            if let Some(watched) = self.all.peek_mut(&flow) {
                (watched.unsaved.is_listed, watched.unsaved.is_stored) = (false, true);
                watched.save(flow, rules, &mut changed);
            }
        }
        (changed, pending.ended)
    }

    /// What was taken could not be stored: it waits again.
    pub fn put_back(&mut self, changed: &[SavedFlow], ended: &[FlowRef]) {
        let Some(pending) = &mut self.pending else { return };
        for saved in changed {
            match self.all.peek_mut(&saved.flow) {
                Some(watched) if watched.unsaved.is_listed => {}
                Some(watched) => {
                    watched.unsaved.is_listed = true;
                    pending.changed.push(saved.flow);
                }
                None => pending.ended.push(saved.flow),
            }
        }
        pending.ended.extend(ended.iter().filter(|flow| !self.all.contains(*flow)));
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| !(pending.changed.is_empty() && pending.ended.is_empty()))
    }
}

fn note_end(pending: &mut Option<Pending>, flow: FlowRef, watched: &Watched) {
    if let Some(pending) = pending
        && watched.unsaved.is_stored
    {
        pending.ended.push(flow);
    }
}

/// Numbers of sockets that programs give themselves begin anew with each run: where a flow goes to tells whether it is the same.
fn ends(seen: &Observation<'_>) -> u64 {
    let remote = seen.remote();
    let port = u64::from(remote.port.unwrap_or_default()) << 8 | seen.transport as u64;
    Fnv::new().address(remote.at.address).number(port).get()
}

impl Watched {
    fn new(seen: &Observation<'_>, ends: u64) -> Self {
        let is_new = matches!(seen.action, Action::Connect | Action::Accept);
        Self {
            first: seen.at,
            before: if is_new { Some(0) } else { seen.moved() },
            last_bytes: 0,
            last_packets: 0,
            growths: Growths::None,
            booked: None,
            is_connect: seen.action == Action::Connect,
            beats_row: None,
            noticed: SmallVec::new(),
            ends,
            unsaved: Unsaved::default(),
        }
    }

    fn restored(saved: &SavedFlow, flows: &SavedFlows, rules: &Rules) -> Self {
        Self {
            first: saved.first,
            before: saved.before,
            last_bytes: saved.last_bytes,
            last_packets: saved.last_packets,
            growths: Growths::from_bytes(flows.beats(saved)),
            booked: saved.booked.map(|booked| Booked::restored(&booked)),
            is_connect: saved.connected.is_some(),
            beats_row: saved.booked.and_then(|booked| NonZero::new(booked.row)),
            noticed: flows.noticed(saved).split(',').filter_map(|id| rules.number(id)).collect(),
            ends: saved.ends,
            unsaved: Unsaved { is_stored: true, is_restored: true, is_listed: false },
        }
    }

    fn save(&self, flow: FlowRef, rules: &Rules, to: &mut SavedFlows) {
        let beats = to.packed.part(|bytes| self.growths.store(bytes));
        let noticed = to.packed.part(|bytes| {
            for (number, id) in self.noticed.iter().filter_map(|&number| rules.id(number)).enumerate() {
                bytes.extend_from_slice(if number == 0 { b"" } else { b"," });
                bytes.extend_from_slice(id.as_bytes());
            }
        });
        to.all.push(SavedFlow {
            flow,
            ends: self.ends,
            first: self.first,
            connected: self.is_connect.then_some(self.first),
            before: self.before,
            last_bytes: self.last_bytes,
            last_packets: self.last_packets,
            beats,
            booked: self.booked.map(|booked| SavedBooking::from(&booked)),
            noticed,
        });
    }

    /// Takes in what it has moved; `look`: how often that is looked at.
    pub fn look(&mut self, seen: &Observation<'_>, look: Duration) {
        let (Some(bytes), Some(packets)) = (seen.moved(), packets(seen)) else { return };
        let growth = Growth {
            at_ms: milliseconds(seen.at),
            silent_ms: seen.silent_ms.unwrap_or_default(),
            bytes: bytes.saturating_sub(self.last_bytes),
            packets: packets.saturating_sub(self.last_packets),
        };
        (self.last_bytes, self.last_packets) = (bytes, packets);
        if seen.action == Action::Sample && seen.silent_ms.is_some() && growth.bytes > 0 {
            let look_ms = u64::try_from(look.as_millis()).unwrap_or(u64::MAX);
            self.growths.grew(&growth, look_ms);
        }
    }

    /// Notes that an app connected to a destination again: on the row that it is booked on by now.
    pub fn hear_connect(&mut self, book: &mut Book) {
        let Some(booked) = self.booked.filter(|_| self.is_connect) else { return };
        let row = NonZero::new(booked.row);
        if self.beats_row != row {
            self.beats_row = row;
            book.connected(booked.row, milliseconds(self.first));
        }
    }

    /// How long it has been open.
    #[must_use]
    pub fn channel(&self, seen: &Observation<'_>) -> Option<Channel> {
        let watched_ms = seen.at.0.saturating_sub(self.first.0) / 1_000_000;
        Some(match seen.age_ms {
            Some(open_ms) => Channel { open_ms, is_older: false, bytes: seen.moved() },
            None => {
                let bytes = seen.moved().zip(self.before).map(|(moved, before)| moved.saturating_sub(before));
                Channel { open_ms: watched_ms, is_older: true, bytes }
            }
        })
    }

    /// The clearer one of its own beats and of the connects to its destination.
    #[must_use]
    pub fn cadence(&self, book: &Book) -> Option<Cadence> {
        let own = self.growths.cadence();
        let row = self.booked.and_then(|booked| book.rows.get(&booked.row));
        let of_connects = row.and_then(|row| row.connects.cadence());
        own.into_iter().chain(of_connects).max_by(|one, other| one.score.total_cmp(&other.score))
    }

    /// Whether a rule noticed it before.
    #[must_use]
    pub fn is_noticed(&self, rule: u16) -> bool {
        self.noticed.contains(&rule)
    }

    /// A rule noticed it.
    pub fn note(&mut self, rule: u16) {
        if !self.is_noticed(rule) {
            self.noticed.push(rule);
        }
    }
}

fn packets(seen: &Observation<'_>) -> Option<u64> {
    Some(seen.source.packets?.saturating_add(seen.destination.packets?))
}

fn milliseconds(at: Timestamp) -> u64 {
    at.0 / 1_000_000
}
