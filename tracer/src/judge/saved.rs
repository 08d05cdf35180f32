//! What a ledger keeps of a judge, as plain values: taken out in batches, and put back at the next start. Pure; writing and
//! reading it is [`crate::ledger`]'s.

use std::sync::Arc;

use super::book::{Amounts, AppId, AppKey, Connects, RowId, RowKey};
use super::findings::Finding;
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

/// A part of what stands in one buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    from: u32,
    to: u32,
}

impl Part {
    /// Nothing of what there would be beyond 4 Gi.
    fn new(from: usize, to: usize) -> Self {
        let ends = u32::try_from(from).ok().zip(u32::try_from(to).ok());
        ends.map(|(from, to)| Self { from, to }).unwrap_or_default()
    }

    fn of<T>(self, all: &[T]) -> &[T] {
        let range = usize::try_from(self.from).ok().zip(usize::try_from(self.to).ok());
        range.and_then(|(from, to)| all.get(from..to)).unwrap_or_default()
    }
}

/// Texts and bytes, one behind the other: a batch goes back to the system as a few large blocks, while thousands of small ones
/// would leave their room to the allocator, and cost each record its part of making and freeing them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed(Vec<u8>);

impl Packed {
    /// What `write` appends is a part.
    pub fn part(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Part {
        let from = self.0.len();
        write(&mut self.0);
        Part::new(from, self.0.len())
    }

    /// A text as a part.
    pub fn text(&mut self, text: &str) -> Part {
        self.part(|bytes| bytes.extend_from_slice(text.as_bytes()))
    }

    fn str(&self, part: Part) -> &str {
        str::from_utf8(part.of(&self.0)).unwrap_or_default()
    }
}

/// Flows that are open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedFlows {
    pub all: Vec<SavedFlow>,
    pub packed: Packed,
}

impl SavedFlows {
    #[must_use]
    pub fn with_capacity(flows: usize) -> Self {
        Self { all: Vec::with_capacity(flows), packed: Packed::default() }
    }

    /// Of its growth; empty: nothing.
    #[must_use]
    pub fn beats(&self, flow: &SavedFlow) -> &[u8] {
        flow.beats.of(&self.packed.0)
    }

    /// Ids of the rules that noticed it, with commas in between.
    #[must_use]
    pub fn noticed(&self, flow: &SavedFlow) -> &str {
        self.packed.str(flow.noticed)
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

/// What is to be stored of a [`Finding`]; its texts are parts of [`SavedFindings`].
#[derive(Clone, Debug, PartialEq)]
pub struct SavedFinding {
    key: Part,
    pub rule: Arc<str>,
    pub severity: Severity,
    reason: Part,
    expected_if: Option<Part>,
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    flows: Part,
    changing: Part,
    pub booked: Option<(AppId, RowId)>,
    pub told: Option<Timestamp>,
}

/// Findings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SavedFindings {
    pub all: Vec<SavedFinding>,
    texts: Packed,
    flows: Vec<FlowRef>,
}

impl SavedFindings {
    #[must_use]
    pub fn with_capacity(findings: usize) -> Self {
        Self { all: Vec::with_capacity(findings), ..Self::default() }
    }

    pub fn add(&mut self, finding: &Finding) {
        let from = self.flows.len();
        self.flows.extend_from_slice(&finding.flows);
        let saved = SavedFinding {
            key: self.texts.text(&finding.key),
            rule: Arc::clone(&finding.rule),
            severity: finding.severity,
            reason: self.texts.text(&finding.reason),
            expected_if: finding.expected_if.as_ref().map(|text| self.texts.text(text)),
            first: finding.first,
            last: finding.last,
            count: finding.count,
            flows: Part::new(from, self.flows.len()),
            changing: self.texts.text(&finding.changing),
            booked: finding.booked,
            told: finding.told,
        };
        self.all.push(saved);
    }

    #[must_use]
    pub fn key(&self, finding: &SavedFinding) -> &str {
        self.texts.str(finding.key)
    }

    #[must_use]
    pub fn reason(&self, finding: &SavedFinding) -> &str {
        self.texts.str(finding.reason)
    }

    #[must_use]
    pub fn expected_if(&self, finding: &SavedFinding) -> Option<&str> {
        finding.expected_if.map(|part| self.texts.str(part))
    }

    #[must_use]
    pub fn changing(&self, finding: &SavedFinding) -> &str {
        self.texts.str(finding.changing)
    }

    #[must_use]
    pub fn flows(&self, finding: &SavedFinding) -> &[FlowRef] {
        finding.flows.of(&self.flows)
    }
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
    pub findings: SavedFindings,
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
            + self.findings.all.len()
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
    pub findings: Vec<Finding>,
    /// Streams, and the number of the last record of each that is booked.
    pub streams: Vec<(StreamId, u64)>,
    /// Above all numbers of apps and rows.
    pub next_id: u64,
}
