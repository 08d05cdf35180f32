//! What a ledger keeps of a judge, as plain values: taken out in batches, and put back at the next start. Pure; writing and
//! reading it is [`crate::ledger`]'s.

use super::book::{Amounts, AppId, AppKey, Connects, RowId, RowKey};
use super::observation::FlowRef;
use crate::clock::Timestamp;
use crate::record::Severity;

/// Tells streams apart: the boot in which one was recorded, and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// First 32 bits of the kernel's boot id.
    pub boot: u32,
    pub began: Timestamp,
}

/// An app.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedApp {
    pub id: AppId,
    pub key: AppKey,
    pub label: Box<str>,
    pub is_preinstalled: Option<bool>,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// Hashes of addresses that it had a name for, the latest first. `None`: as they were saved before.
    pub named: Option<Vec<u64>>,
}

/// A destination of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedRow {
    pub id: RowId,
    pub key: RowKey,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub total: Amounts,
    /// When it was connected to. As it is: whoever stores it makes bytes of it, off the path of records.
    pub connects: Connects,
}

/// A flow that is open.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedFlow {
    pub flow: FlowRef,
    /// Hash of where it goes to: numbers of sockets may come again.
    pub ends: u64,
    pub first: Timestamp,
    pub connected: Option<Timestamp>,
    /// What it had moved before the first record of it.
    pub before: Option<u64>,
    pub last_bytes: u64,
    pub last_packets: u64,
    /// Of its growth, see [`super::cadence::Growths`].
    pub beats: Part,
    pub booked: Option<SavedBooking>,
    /// Ids of the rules that noticed it, with commas in between.
    pub noticed: Part,
}

/// A part of [`SavedFlows::bytes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    from: u32,
    to: u32,
}

/// Flows that are open. What has no fixed length stands in one buffer: it goes back to the system as one, while thousands of small
/// ones would leave their room to the allocator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedFlows {
    pub all: Vec<SavedFlow>,
    bytes: Vec<u8>,
}

impl SavedFlows {
    #[must_use]
    pub fn with_capacity(flows: usize) -> Self {
        Self { all: Vec::with_capacity(flows), bytes: Vec::new() }
    }

    /// What `write` appends is a part of a flow.
    pub fn part(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Part {
        let from = self.bytes.len();
        write(&mut self.bytes);
        // Nothing of what there would be beyond 4 GiB.
        let ends = u32::try_from(from).ok().zip(u32::try_from(self.bytes.len()).ok());
        ends.map(|(from, to)| Part { from, to }).unwrap_or_default()
    }

    /// Of its growth; empty: nothing.
    #[must_use]
    pub fn beats(&self, flow: &SavedFlow) -> &[u8] {
        self.of(flow.beats)
    }

    /// Ids of the rules that noticed it, with commas in between.
    #[must_use]
    pub fn noticed(&self, flow: &SavedFlow) -> &str {
        str::from_utf8(self.of(flow.noticed)).unwrap_or_default()
    }

    fn of(&self, Part { from, to }: Part) -> &[u8] {
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        range.and_then(|(from, to)| self.bytes.get(from..to)).unwrap_or_default()
    }
}

/// What of a flow is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedBooking {
    pub app: AppId,
    pub row: RowId,
    pub amounts: Amounts,
    pub day: Option<u32>,
    pub is_new_destination: bool,
    pub is_new_country: bool,
}

/// A finding.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedFinding {
    pub key: Box<str>,
    pub rule: Box<str>,
    pub severity: Severity,
    pub reason: String,
    pub expected_if: Option<String>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub flows: Vec<FlowRef>,
    pub changing: String,
    pub booked: Option<(AppId, RowId)>,
    pub told: Option<Timestamp>,
}

/// What was added to a row on a day (days since 1970 in UTC): connections, failures, bytes sent and received. Below zero: moved to
/// another row.
pub type DayChange = (RowId, u32, [i64; 4]);

/// What changed since the last batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The stream that is judged, and the number of its last record that is in here.
    pub stream: Option<(StreamId, u64)>,
    pub apps: Vec<SavedApp>,
    pub rows: Vec<SavedRow>,
    pub days: Vec<DayChange>,
    pub removed_apps: Vec<AppId>,
    pub removed_rows: Vec<RowId>,
    pub flows: SavedFlows,
    pub ended: Vec<FlowRef>,
    pub findings: Vec<SavedFinding>,
    /// Keys of findings that made room for others.
    pub removed_findings: Vec<Box<str>>,
}

impl Batch {
    /// Apps, rows, flows and findings in it.
    #[must_use]
    pub fn len(&self) -> usize {
        let removed = self.removed_apps.len() + self.removed_rows.len() + self.removed_findings.len();
        self.apps.len()
            + self.rows.len()
            + self.flows.all.len()
            + self.ended.len()
            + self.findings.len()
            + removed
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an earlier run left.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    pub apps: Vec<SavedApp>,
    pub rows: Vec<SavedRow>,
    /// What each app sent, by day.
    pub sent: Vec<(AppId, u32, u64)>,
    pub flows: SavedFlows,
    /// Each with what its owner knows of it: as long as this does not change, it is not told.
    pub findings: Vec<(SavedFinding, Option<String>)>,
    /// Streams, and the number of the last record of each that is booked.
    pub streams: Vec<(StreamId, u64)>,
    /// Above all numbers of apps and rows.
    pub next_id: u64,
}
