//! What was lost, and when the stream says so. Pure but for the counters that are handed in.

use std::collections::BTreeMap;

use crate::kernel::counters::Totals as KernelTotals;
use crate::record::LostObject;
use crate::source::decode::DecodeError;
use crate::tally::{Kind, Tally};

/// Counts by a fixed set of names.
type ByName = BTreeMap<&'static str, u64>;

/// Losses so far, and how much of them the stream was told.
#[derive(Debug, Default)]
pub struct Accounting {
    /// Events read from the ring buffer.
    pub received: u64,
    /// Records of connections handed to the output.
    pub written: Tally,
    output: Tally,
    decode: ByName,
    kernel: Tally,
    missed: ByName,
    told_output: Tally,
    told_decode: ByName,
    told_kernel: Tally,
    told_missed: ByName,
}

impl Accounting {
    pub fn decode_failed(&mut self, error: DecodeError) {
        *self.decode.entry(error.name()).or_default() += 1;
    }

    /// Records that found no room in the output queue.
    pub fn output_full(&mut self, records: Tally) {
        self.output += records;
    }

    /// Takes in the programs' counters.
    pub fn kernel_counters(&mut self, totals: &KernelTotals) {
        self.kernel = Tally::from_kinds(totals.map(|counter| counter.lost));
    }

    /// Takes in the runs of programs that the kernel left out.
    pub fn missed_runs(&mut self, missed: &ByName) {
        // A program that is loaded anew counts from 0.
        for (name, runs) in missed {
            let most = self.missed.entry(name).or_default();
            *most = (*most).max(*runs);
        }
    }

    /// Whether there is something that the stream was not told yet (as far as known).
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.output != self.told_output
            || self.decode != self.told_decode
            || self.kernel != self.told_kernel
            || self.missed != self.told_missed
    }

    /// Whether datagrams found no room in the programs' map that the stream was not told of yet.
    #[must_use]
    pub fn has_lost_datagrams(&self) -> bool {
        self.kernel[Kind::Datagram] != self.told_kernel[Kind::Datagram]
    }

    /// Whether the kernel lost events of connections that the stream was not told of yet. Without a copy of payload only a
    /// name is missing.
    #[must_use]
    pub fn has_lost_kernel_events(&self) -> bool {
        let mut new = self.kernel.since(&self.told_kernel);
        for kind in [Kind::Dns, Kind::FirstBytes, Kind::Resolver] {
            new[kind] = 0;
        }
        !new.is_zero() || self.missed != self.told_missed
    }

    /// What was lost since the last time this was [`Self::told`].
    #[must_use]
    pub fn news(&self) -> LostObject {
        LostObject {
            kernel: self.kernel.since(&self.told_kernel).by_name(),
            missed: since(&self.missed, &self.told_missed),
            decode: since(&self.decode, &self.told_decode),
            output: self.output.since(&self.told_output).by_name(),
            ..LostObject::default()
        }
    }

    /// The stream took the news.
    pub fn told(&mut self) {
        self.told_output = self.output;
        self.told_decode = self.decode.clone();
        self.told_kernel = self.kernel;
        self.told_missed = self.missed.clone();
    }

    /// Everything that was lost.
    #[must_use]
    pub fn all(&self) -> LostObject {
        LostObject {
            kernel: self.kernel.by_name(),
            missed: self.missed.clone(),
            decode: self.decode.clone(),
            output: self.output.by_name(),
            ..LostObject::default()
        }
    }
}

/// What was added to the counts since they were told.
fn since(now: &ByName, told: &ByName) -> ByName {
    let added = |(name, count): (&&'static str, &u64)| {
        (*name, count.saturating_sub(told.get(name).copied().unwrap_or_default()))
    };
    now.iter().map(added).filter(|(_, count)| *count > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once_and_summed_at_the_end() {
        let mut accounting = Accounting::default();
        let mut lost = Tally::default();
        lost[Kind::Close] = 3;
        accounting.output_full(lost);
        accounting.decode_failed(DecodeError::Kind(9));
        assert!(accounting.has_news());
        let news = accounting.news();
        assert_eq!((news.output["close"], news.decode["kind"]), (3, 1));
        accounting.told();
        assert!(!accounting.has_news());
        accounting.output_full(lost);
        assert_eq!(accounting.news().output["close"], 3);
        assert!(accounting.news().decode.is_empty());
        assert_eq!(accounting.all().output["close"], 6);
    }

    #[test]
    fn a_lost_copy_of_payload_is_told_but_is_no_lost_connection() {
        let mut accounting = Accounting::default();
        let mut totals = KernelTotals::default();
        totals[Kind::FirstBytes as usize].lost = 3;
        accounting.kernel_counters(&totals);
        assert!(accounting.has_news() && !accounting.has_lost_kernel_events());
        assert_eq!(accounting.news().kernel, BTreeMap::from([("first_bytes", 3)]));
        totals[Kind::Connect as usize].lost = 1;
        accounting.kernel_counters(&totals);
        assert!(accounting.has_lost_kernel_events());
    }

    #[test]
    fn runs_that_the_kernel_left_out_are_a_loss_of_events() {
        let mut accounting = Accounting::default();
        accounting.missed_runs(&BTreeMap::new());
        assert!(!accounting.has_news());
        accounting.missed_runs(&BTreeMap::from([("tracer_send4", 2)]));
        assert!(accounting.has_news() && accounting.has_lost_kernel_events());
        accounting.told();
        accounting.missed_runs(&BTreeMap::from([("tracer_send4", 5)]));
        assert_eq!(accounting.news().missed, BTreeMap::from([("tracer_send4", 3)]));
        // Loaded anew.
        accounting.missed_runs(&BTreeMap::from([("tracer_send4", 1)]));
        assert_eq!(accounting.all().missed, BTreeMap::from([("tracer_send4", 5)]));
    }
}
