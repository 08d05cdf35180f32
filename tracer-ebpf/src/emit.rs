//! Reserve, fill, submit; and count what could not be reserved.

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_ktime_get_ns};
use tracer_ebpf::abi::{ABI_VERSION, Counter, Header};

use crate::maps::{COUNTERS, EVENTS, config};

/// Writes one event of `kind`, made by `event` only when there is room for it.
#[inline(always)]
pub fn emit<T: 'static>(kind: u16, event: impl FnOnce(Header) -> T) {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        count(kind, |counter| counter.lost += 1);
        return;
    };
    entry.write(event(header(kind, size_of::<T>())));
    entry.submit(0);
    count(kind, |counter| counter.emitted += 1);
}

/// Counts an event that the configuration leaves out.
#[inline(always)]
pub fn skip(kind: u16) {
    count(kind, |counter| counter.skipped += 1);
}

#[inline(always)]
fn count(kind: u16, change: impl FnOnce(&mut Counter)) {
    if let Some(counter) = COUNTERS.get_ptr_mut(u32::from(kind)) {
        // SAFETY: the slot belongs to this CPU and sock_ops programs do not nest; the verifier checked the bounds.
        change(unsafe { &mut *counter });
    }
}

#[inline(always)]
fn header(kind: u16, len: usize) -> Header {
    // SAFETY: plain helpers without arguments. The branch is decided at load time: CONFIG is constant then.
    let boot_ns = unsafe {
        if config().boot_clock == 1 { bpf_ktime_get_boot_ns() } else { bpf_ktime_get_ns() }
    };
    Header { abi: ABI_VERSION, kind, len: len as u32, boot_ns }
}
