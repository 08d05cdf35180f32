//! What is remembered of each flow while it is open. Pure.

use std::time::Duration;

use lru::LruCache;

use super::book::{Book, Booked, RowId};
use super::cadence::{Beats, Cadence, Growth};
use super::channel::Channel;
use super::observation::{FlowRef, Observation};
use crate::clock::Timestamp;
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
    /// Of its growth.
    beats: Option<Box<Beats>>,
    pub booked: Option<Booked>,
    /// When it was asked for, and the row that this was booked on as a beat.
    connected: Option<Timestamp>,
    beats_row: Option<RowId>,
    /// Numbers of the rules that noticed it.
    noticed: Vec<u16>,
}

/// The flows that are open.
pub struct WatchedFlows(LruCache<FlowRef, Watched>);

impl Default for WatchedFlows {
    fn default() -> Self {
        Self(LruCache::unbounded())
    }
}

impl WatchedFlows {
    /// The flow of a record.
    pub fn of(&mut self, seen: &Observation<'_>) -> &mut Watched {
        if self.0.len() > MOST {
            self.0.pop_lru();
        }
        self.0.get_or_insert_mut(seen.flow, || Watched::new(seen))
    }

    /// After the last record of a flow.
    pub fn end(&mut self, seen: &Observation<'_>) {
        // One that had to make room elsewhere may come back, with all that it has moved so far.
        if seen.is_end() && seen.end != Some(End::Evicted) {
            self.0.pop(&seen.flow);
        }
    }
}

impl Watched {
    fn new(seen: &Observation<'_>) -> Self {
        let is_new = matches!(seen.action, Action::Connect | Action::Accept);
        Self {
            first: seen.at,
            before: if is_new { Some(0) } else { seen.moved() },
            last_bytes: 0,
            last_packets: 0,
            beats: None,
            booked: None,
            connected: (seen.action == Action::Connect).then_some(seen.at),
            beats_row: None,
            noticed: Vec::new(),
        }
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
            self.beats.get_or_insert_default().grew(&growth, look_ms);
        }
    }

    /// Notes that an app connected to a destination again: on the row that it is booked on by now.
    pub fn hear_connect(&mut self, book: &mut Book) {
        let (Some(at), Some(booked)) = (self.connected, self.booked) else { return };
        if self.beats_row != Some(booked.row) {
            self.beats_row = Some(booked.row);
            if let Some(beats) = book.beats(booked.row) {
                beats.connected(milliseconds(at));
            }
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
        let own = self.beats.as_ref().and_then(|beats| beats.cadence());
        let row = self.booked.and_then(|booked| book.rows.get(&booked.row));
        let of_connects = row.and_then(|row| row.beats.as_ref()?.cadence());
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
