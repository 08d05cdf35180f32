//! Reserve, fill, submit; and count what could not be reserved.

use core::arch::asm;

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_ktime_get_ns};
use aya_ebpf::maps::ring_buf::RingBufEntry;
use tracer_ebpf::abi::{ABI_VERSION, Counter, Header, OWN_NUMBER};

use crate::maps::{COUNTERS, EVENTS, config};

/// Memory for one event of `kind`, with its header written; `None`, and counted as lost, when the ring is full.
///
/// The caller writes every byte behind the header (the ring is not zeroed), then calls [`submit`].
#[inline(always)]
pub fn reserve<T: 'static>(kind: u16) -> Option<RingBufEntry<T>> {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        lose(kind);
        return None;
    };
    // SAFETY: every event struct begins with its header, and the entry is large enough for T.
    unsafe { entry.as_mut_ptr().cast::<Header>().write(header(kind, size_of::<T>())) };
    Some(entry)
}

/// Hands a written event to user space.
#[inline(always)]
pub fn submit<T: 'static>(kind: u16, entry: RingBufEntry<T>) {
    entry.submit(0);
    // SAFETY: only the address of a field is taken.
    count(kind, |counter| unsafe { &raw mut (*counter).emitted });
}

/// Writes one field of an event in the ring: `set!(out.cookie = value)`.
///
/// Field by field into the ring, because a whole struct would first be put together on the 512 bytes of stack. With
/// `as`, bytes are written as words: BPF has no unaligned stores, and a byte array would become one store per byte.
macro_rules! set {
    ($out:ident.$($field:ident).+ = $value:expr) => {{
        let value = $value;
        // SAFETY: `out` points to a reserved entry of its type.
        unsafe { (&raw mut (*$out).$($field).+).write(value) }
    }};
    ($out:ident.$($field:ident).+ as $words:ty = $value:expr) => {{
        let value: $words = $value;
        // SAFETY: as above; the field has the size of the words and lies at a multiple of their alignment.
        unsafe { (&raw mut (*$out).$($field).+).cast::<$words>().write(value) }
    }};
}
pub(crate) use set;

/// Counts an event that the configuration leaves out.
#[inline(always)]
pub fn skip(kind: u16) {
    // SAFETY: only the address of a field is taken.
    count(kind, |counter| unsafe { &raw mut (*counter).skipped });
}

/// Counts an event that found no room.
#[inline(always)]
pub fn lose(kind: u16) {
    // SAFETY: only the address of a field is taken.
    count(kind, |counter| unsafe { &raw mut (*counter).lost });
}

#[inline(always)]
fn count(kind: u16, which: impl FnOnce(*mut Counter) -> *mut u64) {
    let Some(counter) = COUNTERS.get_ptr_mut(u32::from(kind)) else { return };
    // SAFETY: a field of a value of the map, aligned to eight bytes.
    unsafe { add(which(counter), 1) };
}

/// Adds to a counter. Atomically, because a program in softirq may interrupt one in process context on the same CPU, and
/// other CPUs may add to the same flow; in assembly, because Rust has no atomic addition for BPF.
///
/// # Safety
/// `counter` points into a value of a map and is aligned to eight bytes; the verifier checks both.
#[inline(always)]
pub unsafe fn add(counter: *mut u64, more: u64) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) more, options(nostack));
    }
}

#[inline(always)]
fn header(kind: u16, len: usize) -> Header {
    Header { abi: ABI_VERSION, kind, len: len as u32, boot_ns: now() }
}

/// A number for a socket without a cookie: no other socket gets it, on any CPU.
#[inline(always)]
pub fn own_number() -> u64 {
    // SAFETY: a plain helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    OWN_NUMBER | (now() << 8) | u64::from(cpu & 0xff)
}

/// The time for `boot_ns`.
#[inline(always)]
pub fn now() -> u64 {
    let has_boot_clock = config!(boot_clock) == 1;
    // SAFETY: plain helpers without arguments. The branch is decided at load time: CONFIG is constant then.
    unsafe { if has_boot_clock { bpf_ktime_get_boot_ns() } else { bpf_ktime_get_ns() } }
}
