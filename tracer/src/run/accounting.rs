//! What was lost, and when the stream says so. Pure but for the counters that are handed in.

use crate::kernel::counters::Totals as KernelTotals;
use crate::record::LostObject;
use crate::source::decode::DecodeError;
use crate::tally::{Kind, Tally};

/// Losses so far, and how much of them the stream was told.
#[derive(Debug, Default)]
pub struct Accounting {
    /// Events read from the ring buffer.
    pub received: u64,
    /// Records of connections handed to the output.
    pub written: Tally,
    output: Tally,
    decode: std::collections::BTreeMap<&'static str, u64>,
    kernel: Tally,
    told_output: Tally,
    told_decode: std::collections::BTreeMap<&'static str, u64>,
    told_kernel: Tally,
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

    /// Whether there is something that the stream was not told yet (as far as known).
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.output != self.told_output || self.decode != self.told_decode || self.kernel != self.told_kernel
    }

    /// Whether datagrams found no room in the programs' map that the stream was not told of yet.
    #[must_use]
    pub fn has_lost_datagrams(&self) -> bool {
        self.kernel[Kind::Datagram] != self.told_kernel[Kind::Datagram]
    }

    /// Whether the kernel lost events that the stream was not told of yet.
    #[must_use]
    pub fn has_lost_kernel_events(&self) -> bool {
        self.kernel != self.told_kernel
    }

    /// What was lost since the last time this was [`Self::told`].
    #[must_use]
    pub fn news(&self) -> LostObject {
        let mut decode = self.decode.clone();
        for (name, count) in &mut decode {
            *count -= self.told_decode.get(name).copied().unwrap_or_default();
        }
        decode.retain(|_, count| *count > 0);
        LostObject {
            kernel: self.kernel.since(&self.told_kernel).by_name(),
            decode,
            output: self.output.since(&self.told_output).by_name(),
        }
    }

    /// The stream took the news.
    pub fn told(&mut self) {
        self.told_output = self.output;
        self.told_decode = self.decode.clone();
        self.told_kernel = self.kernel;
    }

    /// Everything that was lost.
    #[must_use]
    pub fn all(&self) -> LostObject {
        LostObject {
            kernel: self.kernel.by_name(),
            decode: self.decode.clone(),
            output: self.output.by_name(),
        }
    }
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
}
