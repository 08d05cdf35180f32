//! Every map and global, with its size and why.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use tracer_ebpf::abi::{Config, Counter, KIND_COUNT};

/// Set by user space before the load; constant for the verifier, which then drops the branches not taken.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config::EMPTY;

/// Events on their way to user space. The size here is a placeholder: user space sets it (`--ring-size`).
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// One counter per event kind and CPU, so that a full ring is never silent.
#[map]
pub static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(KIND_COUNT as u32, 0);

/// Reads one field of [`CONFIG`], e.g. `config!(offsets.sock_uid)`.
///
/// Field by field, so that each read becomes one load at a constant address, whose value the verifier knows.
macro_rules! config {
    ($($path:tt)+) => {
        // SAFETY: CONFIG is initialised and never written. Volatile because user space replaces the bytes before the
        // load, so the compiler must not use the value that it sees here.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::CONFIG.$($path)+) }
    };
}
pub(crate) use config;
