//! Who: process, thread, comm, task uid and socket owner.
//!
//! `sock_ops` programs have no helper for uid, pid or comm, but may read kernel memory; every field is read at an
//! offset that user space took from the running kernel's BTF. A field without an offset is left out, with its bit in
//! `known` clear.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_get_current_task;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_ebpf::abi::{
    Identity, KNOWN_EXEC, KNOWN_OWNER, KNOWN_START, KNOWN_TASK, KNOWN_TASK_UID, OFFSET_UNKNOWN,
};

use crate::emit::set;
use crate::maps::{SCRATCH, config};

/// Reads a `T` of kernel memory at `base + offset`; `None` when the offset is unknown or the memory cannot be read.
#[inline(always)]
pub fn read<T: Copy + Default>(base: u64, offset: u32) -> Option<T> {
    if offset == OFFSET_UNKNOWN || base == 0 {
        return None;
    }
    let mut value = T::default();
    let from = (base + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the source address itself and writes exactly size_of::<T>() bytes into `value`.
    let result = unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from) };
    (result == 0).then_some(value)
}

/// The address that a verifier-tracked pointer holds, as a number.
///
/// The verifier refuses arithmetic on `ctx->sk`. Stored into a map value and read back it is a plain number, which
/// `bpf_probe_read_kernel` takes. Checked on 5.10, 6.1, 6.12 and 6.18.
#[inline(always)]
pub fn address_of(pointer: *const c_void) -> u64 {
    let Some(slot) = SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: the slot belongs to this CPU; volatile so that the compiler does not shortcut the way through memory.
    unsafe {
        core::ptr::write_volatile(slot.cast::<*const c_void>(), pointer);
        core::ptr::read_volatile(slot)
    }
}

/// Uid that owns the socket at address `sk`.
#[inline(always)]
pub fn owner(sk: u64) -> Option<u32> {
    read(sk, config!(offsets.sock_uid))
}

/// Writes the current task and the owner of the socket at `sk`. Process context only: in softirq the current task is
/// anyone. `out` points into a reserved entry.
#[inline(always)]
pub fn write_identity(out: *mut Identity, sk: u64) {
    // SAFETY: a plain helper without arguments; the result is used as a number only.
    let task = unsafe { bpf_get_current_task() };
    let mut known = 0;
    let owner_uid = note(owner(sk), KNOWN_OWNER, &mut known);
    // pid and tgid are neighbours: one read for both.
    let [tid, pid] = note(read::<[u32; 2]>(task, config!(offsets.task_pid)), KNOWN_TASK, &mut known);
    let cred = read::<u64>(task, config!(offsets.task_cred)).unwrap_or(0);
    let task_uid = note(read::<u32>(cred, config!(offsets.cred_uid)), KNOWN_TASK_UID, &mut known);
    let leader = read::<u64>(task, config!(offsets.task_group_leader)).unwrap_or(0);
    let start = note(read::<u64>(leader, config!(offsets.task_start_boottime)), KNOWN_START, &mut known);
    let exec_id = note(exec_id(task), KNOWN_EXEC, &mut known);
    let comm = read::<[u64; 2]>(task, config!(offsets.task_comm)).unwrap_or_default();
    set!(out.start_boot_ns = start);
    set!(out.exec_id = exec_id);
    set!(out.pid = pid);
    set!(out.tid = tid);
    set!(out.owner_uid = owner_uid);
    set!(out.task_uid = task_uid);
    set!(out.comm as [u64; 2] = comm);
    set!(out.known = known);
    set!(out.pad = 0);
}

#[inline(always)]
fn exec_id(task: u64) -> Option<u64> {
    if config!(offsets.exec_id_size) == 4 {
        return read::<u32>(task, config!(offsets.task_self_exec_id)).map(u64::from);
    }
    read(task, config!(offsets.task_self_exec_id))
}

/// The value, or zero; and its bit in `known`.
#[inline(always)]
fn note<T: Default>(value: Option<T>, bit: u32, known: &mut u32) -> T {
    match value {
        Some(value) => {
            *known |= bit;
            value
        }
        None => T::default(),
    }
}
