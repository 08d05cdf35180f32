//! The programs' own counters: what was emitted, lost and skipped, per event kind.

use aya::maps::{MapData, PerCpuArray};
use tracer_ebpf::abi::{Counter, KIND_COUNT};

/// The per-CPU array `COUNTERS`.
pub struct Counters {
    map: PerCpuArray<MapData, [u64; 3]>,
}

/// Sums over all CPUs, indexed by event kind.
pub type Totals = [Counter; KIND_COUNT];

impl Counters {
    #[must_use]
    pub fn new(map: PerCpuArray<MapData, [u64; 3]>) -> Self {
        Self { map }
    }

    /// Reads every counter: one system call per kind.
    ///
    /// # Errors
    /// When the kernel refuses the read, which it has no reason to.
    pub fn read(&self) -> Result<Totals, aya::maps::MapError> {
        let mut totals = Totals::default();
        for (kind, total) in (0u32..).zip(totals.iter_mut()).skip(1) {
            for [emitted, lost, skipped] in self.map.get(&kind, 0)?.iter() {
                total.emitted += emitted;
                total.lost += lost;
                total.skipped += skipped;
            }
        }
        Ok(totals)
    }
}
