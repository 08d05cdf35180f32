//! What a ledger keeps of a judge: taking it out, putting it back. Pure.

use std::collections::HashMap;

use super::Judge;
use super::book::RowId;
use super::saved::{Batch, Restored, StreamId};

impl Judge {
    /// A stream begins; `None`: it does not say which one it is.
    pub fn begin_stream(&mut self, stream: Option<StreamId>) {
        self.stream = stream.map(|stream| (stream, 0));
        let booked = stream.and_then(|stream| self.booked_streams.get(&stream));
        self.booked_up_to = booked.copied().unwrap_or_default();
        self.book.begin_stream();
    }

    /// The number of the latest record of the stream.
    pub fn reach(&mut self, seq: u64) {
        if let Some((_, reached)) = &mut self.stream {
            *reached = (*reached).max(seq);
        }
    }

    /// The number of the latest record of the stream.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.stream.map_or(0, |(_, seq)| seq)
    }

    /// Whether an earlier run has booked the record that was reached.
    pub(super) fn is_booked_before(&self) -> bool {
        self.booked_up_to > 0 && self.reached() <= self.booked_up_to
    }

    /// Goes on from what an earlier run left, and remembers from now on what changes.
    pub fn restore(&mut self, mut restored: Restored) {
        self.findings.restore(std::mem::take(&mut restored.findings));
        self.flows.restore(&restored.flows, &self.expectations.rules);
        self.booked_streams = restored.streams.iter().copied().collect::<HashMap<_, _>>();
        self.book.restore(restored);
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.book.has_changes() || self.findings.has_changes() || self.flows.has_changes()
    }

    /// Everything that changed since the last batch; `None`: nothing did, or nobody stores it.
    pub fn take_batch(&mut self) -> Option<Batch> {
        if !self.has_changes() {
            return None;
        }
        let mut batch = Batch::default();
        self.book.take_changes(&mut batch);
        (batch.flows, batch.ended) = self.flows.take_changes(&self.expectations.rules);
        (batch.findings, batch.removed_findings) = self.findings.take_changes();
        batch.stream = self.stream.filter(|_| !self.is_booked_before());
        Some(batch)
    }

    /// A batch could not be stored: what is in it waits again.
    pub fn put_back(&mut self, batch: &Batch) {
        self.book.put_back(batch);
        self.findings.put_back(&batch.findings, &batch.removed_findings);
        self.flows.put_back(&batch.flows.all, &batch.ended);
    }

    /// The ledger holds these rows no more: they are too old.
    pub fn forget(&mut self, rows: &[RowId]) {
        self.book.forget(rows);
    }
}
