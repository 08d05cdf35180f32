//! Looks on while captures are judged, and keeps what the book does not: addresses, names of networks, and when what happened.
//! Pure; bounded, whatever a capture holds.

use hashbrown::HashMap;
use lru::LruCache;
use serde_json::Value;

use super::lanes::{Gathered, Room, Sums};
use super::material::{Bar, Lane, Period, Tick, TickKind};
use super::streams::Streams;
use crate::clock::Timestamp;
use crate::enrich::geo::Scope;
use crate::judge::book::{Amounts, AppId, RowId};
use crate::judge::cadence::{Beats, Cadence, Growth};
use crate::judge::observation::{FlowRef, Observation};
use crate::judge::{Judge, Verdict};
use crate::record::{Action, End};
use crate::replay::{USUAL_LOOK, Watch};
use crate::text::visible;

/// Flows that are followed at the same time; the one that was silent longest is counted as it stands.
const MOST_OPEN: usize = 1 << 16;
/// Moments of one flow that are kept: as many as a time line takes.
const MOST_OF_A_FLOW: usize = super::lanes::MOST_TICKS;
/// Of all open flows together.
const MOST_OF_OPEN_FLOWS: usize = 400_000;
/// Addresses of a destination that are named.
const MOST_ADDRESSES: usize = 4;
/// Destinations and apps of which more is known than the book says; it has no more of them itself.
const MOST_ROWS: usize = 2 * crate::judge::book::MOST_ROWS;
const MOST_APPS: usize = 2 * crate::judge::book::MOST_APPS;

/// What is known beside the book.
#[derive(Debug, Default)]
pub struct Details {
    pub rows: HashMap<RowId, RowDetail>,
    pub apps: HashMap<AppId, AppDetail>,
}

/// Of a row.
#[derive(Debug, Default)]
pub struct RowDetail {
    pub as_name: Option<String>,
    pub addresses: Vec<String>,
    /// There are more of them.
    pub has_more_addresses: bool,
    pub is_local: bool,
    /// What spoke for its service.
    pub evidence: Vec<&'static str>,
    /// The clearest one of its flows.
    pub cadence: Option<Cadence>,
    pub beats: u64,
    pub resets: u64,
    /// Flows of which nobody counted what they moved.
    pub uncounted: u64,
    pub lane: Lane,
}

/// Of an app.
#[derive(Clone, Debug, Default)]
pub struct AppDetail {
    pub uid: Option<u32>,
    pub is_removable: Option<bool>,
    pub program: Option<String>,
}

/// Gathers what the book does not keep.
pub struct Collector {
    flows: LruCache<FlowRef, Track>,
    details: Details,
    lanes: HashMap<RowId, Gathered>,
    room: Room,
    /// That open flows may still keep.
    ticks_left: usize,
    pub period: Option<Period>,
    pub streams: Streams,
    pub records: u64,
    /// Flows that had to make room.
    pub crowded_out: u64,
}

/// One flow.
struct Track {
    booked: (AppId, RowId),
    bar: Bar,
    ticks: Vec<Tick>,
    sums: Sums,
    beats: Option<Box<Beats>>,
    sent: u64,
    received: u64,
    most_ticks: usize,
    /// All its moments are kept.
    is_whole: bool,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            flows: LruCache::unbounded(),
            details: Details::default(),
            lanes: HashMap::new(),
            room: Room::default(),
            ticks_left: MOST_OF_OPEN_FLOWS,
            period: None,
            streams: Streams::default(),
            records: 0,
            crowded_out: 0,
        }
    }
}

impl Watch for Collector {
    fn judged(&mut self, seen: &Observation<'_>, verdict: &Verdict, _: &Judge) {
        self.records += 1;
        self.period.get_or_insert(Period::at(seen.at)).reach(seen.at);
        self.streams.record(seen.at);
        let Some(booked) = verdict.booked else { return };
        self.note_app(booked.0, seen);
        self.note_row(booked.1, seen, verdict);
        if seen.action == Action::Named {
            return;
        }
        let most_ticks = MOST_OF_A_FLOW.min(self.ticks_left);
        let track = self.flows.get_or_insert_mut(seen.flow, || Track::new(seen, booked));
        track.booked = booked;
        let before = track.ticks.len();
        track.most_ticks = most_ticks.max(before);
        track.take(seen);
        self.ticks_left = self.ticks_left.saturating_sub(track.ticks.len() - before);
        if seen.is_end() && seen.end != Some(End::Evicted) {
            if let Some(track) = self.flows.pop(&seen.flow) {
                self.hand_over(track);
            }
        } else if self.flows.len() > MOST_OPEN
            && let Some((_, track)) = self.flows.pop_lru()
        {
            self.crowded_out += 1;
            self.hand_over(track);
        }
    }

    fn stream(&mut self, action: Action, at: Timestamp, tracer: &Value) {
        self.period.get_or_insert(Period::at(at)).reach(at);
        self.streams.about(action, at, tracer);
    }

    fn missing(&mut self, from: Timestamp, to: Timestamp, records: u64) {
        self.streams.missing(from, to, records);
    }
}

impl Collector {
    /// Everything, after the last line.
    #[must_use]
    pub fn finish(mut self) -> (Details, Streams, Option<Period>) {
        while let Some((_, track)) = self.flows.pop_lru() {
            self.hand_over(track);
        }
        let mut details = self.details;
        for (row, gathered) in self.lanes {
            details.rows.entry(row).or_default().lane = gathered.finish();
        }
        (details, self.streams, self.period)
    }

    fn note_app(&mut self, app: AppId, seen: &Observation<'_>) {
        if self.details.apps.len() >= MOST_APPS {
            return;
        }
        self.details.apps.entry(app).or_insert_with(|| AppDetail {
            uid: seen.who.uid,
            is_removable: seen.who.is_removable,
            program: seen.who.executable.as_deref().map(|path| visible(path).into_owned()),
        });
    }

    fn note_row(&mut self, row: RowId, seen: &Observation<'_>, verdict: &Verdict) {
        if self.details.rows.len() >= MOST_ROWS && !self.details.rows.contains_key(&row) {
            return;
        }
        let detail = self.details.rows.entry(row).or_default();
        let remote = seen.remote();
        if detail.as_name.is_none() {
            detail.as_name = remote.at.as_name.as_deref().map(|name| visible(name).into_owned());
        }
        if !detail.has_more_addresses {
            let address = remote.at.address.to_string();
            if !detail.addresses.contains(&address) {
                detail.has_more_addresses = detail.addresses.len() >= MOST_ADDRESSES;
                if !detail.has_more_addresses {
                    detail.addresses.push(address);
                }
            }
        }
        detail.is_local = !matches!(remote.at.scope, Scope::Global | Scope::Documentation);
        if let Some(found) = verdict.service
            && detail.evidence.is_empty()
        {
            detail.evidence = found.evidence.names().collect();
        }
    }

    fn hand_over(&mut self, mut track: Track) {
        self.ticks_left += track.ticks.len();
        let row = track.booked.1;
        if let Some(detail) = self.details.rows.get_mut(&row) {
            detail.resets += u64::from(track.bar.end == Some(End::Reset));
            let is_counted = track.bar.sent.is_some() || track.bar.received.is_some();
            detail.uncounted += u64::from(!is_counted && !track.bar.is_failed);
            let beats = track.ticks.iter().filter(|tick| tick.kind == TickKind::Beat).count();
            detail.beats += u64::try_from(beats).unwrap_or_default();
            let cadence = track.beats.take().and_then(|beats| beats.cadence());
            let score = |cadence: &Option<Cadence>| cadence.map_or(0.0, |cadence| cadence.score);
            if score(&cadence) > score(&detail.cadence) {
                detail.cadence = cadence;
            }
        }
        if self.lanes.len() < MOST_ROWS || self.lanes.contains_key(&row) {
            self.lanes.entry(row).or_default().add(
                track.bar,
                track.ticks,
                &track.sums,
                track.is_whole,
                &mut self.room,
            );
        }
    }
}

impl Track {
    fn new(seen: &Observation<'_>, booked: (AppId, RowId)) -> Self {
        let has_start = matches!(seen.action, Action::Connect | Action::Accept);
        let mut track = Self {
            booked,
            bar: Bar {
                flow: seen.flow,
                seen: Period::at(seen.at),
                has_start,
                has_end: false,
                is_failed: false,
                end: None,
                sent: None,
                received: None,
            },
            ticks: Vec::new(),
            sums: Sums::default(),
            beats: None,
            // What went over it before it was seen belongs to no moment.
            sent: if has_start { 0 } else { seen.local().bytes.unwrap_or_default() },
            received: if has_start { 0 } else { seen.remote().bytes.unwrap_or_default() },
            most_ticks: MOST_OF_A_FLOW,
            is_whole: true,
        };
        if has_start {
            track.tick(seen.at, TickKind::Connect);
        }
        let begun = Amounts { connections: 1, ..Amounts::default() };
        track.sums.add(seen.at, &begun);
        track
    }

    fn take(&mut self, seen: &Observation<'_>) {
        self.bar.seen.reach(seen.at);
        let (sent, received) = (seen.local().bytes, seen.remote().bytes);
        self.bar.sent = sent.or(self.bar.sent);
        self.bar.received = received.or(self.bar.received);
        let grown = Amounts {
            failures: u64::from(seen.action == Action::Failed),
            sent: sent.unwrap_or_default().saturating_sub(self.sent),
            received: received.unwrap_or_default().saturating_sub(self.received),
            ..Amounts::default()
        };
        self.sent = self.sent.max(sent.unwrap_or_default());
        self.received = self.received.max(received.unwrap_or_default());
        if grown != Amounts::default() {
            self.sums.add(seen.at, &grown);
        }
        match seen.action {
            Action::Sample if grown.sent + grown.received > 0 => self.beat(seen, grown.sent + grown.received),
            Action::Failed => {
                self.bar.is_failed = true;
                self.end(seen, TickKind::Failed);
            }
            Action::Close if seen.end == Some(End::Reset) => self.end(seen, TickKind::Reset),
            Action::Close => {
                self.bar.end = seen.end;
                self.bar.has_end = true;
            }
            _ => {}
        }
    }

    fn beat(&mut self, seen: &Observation<'_>, bytes: u64) {
        let silent_ms = seen.silent_ms.unwrap_or_default();
        self.tick(Timestamp(seen.at.0.saturating_sub(silent_ms.saturating_mul(1_000_000))), TickKind::Beat);
        if seen.silent_ms.is_some() {
            let growth = Growth { at_ms: seen.at.0 / 1_000_000, silent_ms, bytes, packets: 1 };
            let look_ms = u64::try_from(USUAL_LOOK.as_millis()).unwrap_or(u64::MAX);
            self.beats.get_or_insert_default().grew(&growth, look_ms);
        }
    }

    fn end(&mut self, seen: &Observation<'_>, kind: TickKind) {
        self.bar.end = seen.end;
        self.bar.has_end = true;
        self.tick(seen.at, kind);
    }

    fn tick(&mut self, at: Timestamp, kind: TickKind) {
        if self.ticks.len() < self.most_ticks {
            self.ticks.push(Tick { at, kind });
        } else {
            self.is_whole = false;
        }
    }
}
