//! Counters that the programs keep per CPU, so that no loss is silent.

use super::pin_layout;

/// Value of the per-CPU array `COUNTERS`, indexed by event kind.
///
/// `emitted + lost` is what the hooks saw and wanted to report; `skipped` was left out on purpose.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Events handed to the ring buffer.
    pub emitted: u64,
    /// Events that found the ring buffer full.
    pub lost: u64,
    /// Events left out by configuration (loopback).
    pub skipped: u64,
}
pin_layout!(Counter, 24, { emitted: 0, lost: 8, skipped: 16 });
