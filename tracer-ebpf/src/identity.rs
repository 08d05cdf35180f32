//! Who: process, thread, comm, task uid and socket owner.
//!
//! `sock_ops` programs have no helper for uid, pid or comm, but may read kernel memory; every field is read at an
//! offset that user space took from the running kernel's BTF. A field without an offset is left out, with its bit in
//! `known` clear.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_get_current_task;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use tracer_ebpf::abi::{
    Identity, KNOWN_EXEC, KNOWN_OWNER, KNOWN_START, KNOWN_TASK, KNOWN_TASK_UID, OFFSET_UNKNOWN, Offsets,
};

use crate::maps::SCRATCH;

/// Reads a `T` of kernel memory at `base + offset`; `None` when the offset is unknown or the memory cannot be read.
#[inline(always)]
pub fn read<T: Copy + Default>(base: u64, offset: u32) -> Option<T> {
    if offset == OFFSET_UNKNOWN || base == 0 {
        return None;
    }
    let mut value = T::default();
    let from = (base + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the source address itself and writes exactly size_of::<T>() bytes into `value`.
    let result =
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from) };
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
pub fn owner(sk: u64, offsets: &Offsets) -> Option<u32> {
    read(sk, offsets.sock_uid)
}

/// The current task, and the owner of `sk`. Process context only: in softirq the current task is anyone.
#[inline(always)]
pub fn identity(sk: u64, offsets: &Offsets) -> Identity {
    // SAFETY: a plain helper without arguments; the result is used as a number only.
    let task = unsafe { bpf_get_current_task() };
    let mut identity = Identity::default();
    if let Some(uid) = owner(sk, offsets) {
        identity.owner_uid = uid;
        identity.known |= KNOWN_OWNER;
    }
    // pid and tgid are neighbours: one read for both.
    if let (Some([tid, pid]), Some(comm)) =
        (read::<[u32; 2]>(task, offsets.task_pid), read::<[u8; 16]>(task, offsets.task_comm))
    {
        identity.tid = tid;
        identity.pid = pid;
        identity.comm = comm;
        identity.known |= KNOWN_TASK;
    }
    if let Some(uid) = read::<u64>(task, offsets.task_cred).and_then(|cred| read(cred, offsets.cred_uid)) {
        identity.task_uid = uid;
        identity.known |= KNOWN_TASK_UID;
    }
    let leader = read::<u64>(task, offsets.task_group_leader);
    if let Some(start) = leader.and_then(|leader| read(leader, offsets.task_start_boottime)) {
        identity.start_boot_ns = start;
        identity.known |= KNOWN_START;
    }
    let exec_id = if offsets.exec_id_size == 4 {
        read::<u32>(task, offsets.task_self_exec_id).map(u64::from)
    } else {
        read::<u64>(task, offsets.task_self_exec_id)
    };
    if let Some(exec_id) = exec_id {
        identity.exec_id = exec_id;
        identity.known |= KNOWN_EXEC;
    }
    identity
}
