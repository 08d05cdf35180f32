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
use crate::maps::config;

/// A value, and whether it could be read; zero when it could not.
///
/// Not an `Option`: the payload of a `None` is undefined, LLVM copies it all the same, and verifiers before 6.3 refuse
/// to read stack that was never written. Nor a `bool` beside the value: a branch for every read makes these verifiers
/// walk through every combination (158,000 instructions of a program that 6.18 walks through in 9,000).
#[derive(Clone, Copy)]
pub struct Maybe<T> {
    pub value: T,
    /// All ones when it is known, else 0.
    pub known: u32,
}

impl<T> Maybe<T> {
    /// The bit when the value is known, else 0.
    #[inline(always)]
    pub fn bit(&self, bit: u32) -> u32 {
        self.known & bit
    }

    #[inline(always)]
    pub fn is_known(&self) -> bool {
        self.known != 0
    }
}

/// Reads a `T` of kernel memory at `base + offset`. Not known when the offset is unknown or the memory unreadable, as it
/// is near address 0.
#[inline(always)]
pub fn read<T: Copy + Default>(base: u64, offset: u32) -> Maybe<T> {
    let mut value = T::default();
    if offset == OFFSET_UNKNOWN {
        return Maybe { value, known: 0 };
    }
    let from = (base + u64::from(offset)) as *const c_void;
    // SAFETY: the helper checks the source address itself and writes exactly size_of::<T>() bytes into `value`, zeros
    // when it fails.
    let result = unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from) };
    // Zero, or a negative errno.
    Maybe { value, known: !((result >> 63) as u32) }
}

/// Reads bytes of kernel memory at address `from` to `out`, which lies in a reserved entry; zeros when it cannot be read.
#[inline(always)]
pub fn read_into<T>(out: *mut T, from: u64) {
    // SAFETY: as in [`read`].
    let _ = unsafe { bpf_probe_read_kernel(out.cast(), size_of::<T>() as u32, from as *const c_void) };
}

/// The address that a verifier-tracked pointer holds, as a number.
///
/// The verifier refuses arithmetic on `ctx->sk`. Copied off the stack by a helper it is a plain number, which
/// `bpf_probe_read_kernel` takes. Not through a map: a program that interrupts this one on the same CPU would put its own
/// pointer there, and a connection would be credited to the owner of another socket.
#[inline(always)]
pub fn address_of(pointer: *const c_void) -> u64 {
    let slot = pointer;
    let mut address = 0u64;
    // SAFETY: both are on the stack and have the size that is copied. The helper cannot fail on the stack; if it did, it
    // would write zeros.
    let result = unsafe {
        bpf_probe_read_kernel((&raw mut address).cast(), size_of::<u64>() as u32, (&raw const slot).cast())
    };
    if result == 0 { address } else { 0 }
}

/// Uid that owns the socket at address `sk`.
#[inline(always)]
pub fn owner(sk: u64) -> Maybe<u32> {
    read(sk, config!(offsets.sock_uid))
}

/// Writes the current task and the owner of the socket at `sk`. Process context only: in softirq the current task is
/// anyone. `out` points into a reserved entry.
#[inline(always)]
pub fn write_identity(out: *mut Identity, sk: u64) {
    // SAFETY: a plain helper without arguments; the result is used as a number only.
    let task = unsafe { bpf_get_current_task() };
    let owner = owner(sk);
    // pid and tgid are neighbours: one read for both.
    let ids = read::<[u32; 2]>(task, config!(offsets.task_pid));
    let cred = read::<u64>(task, config!(offsets.task_cred));
    let task_uid = read::<u32>(cred.value, config!(offsets.cred_uid));
    let leader = read::<u64>(task, config!(offsets.task_group_leader));
    let start = read::<u64>(leader.value, config!(offsets.task_start_boottime));
    let exec_id = exec_id(task);
    let comm = read::<[u64; 2]>(task, config!(offsets.task_comm));
    let [tid, pid] = ids.value;
    set!(out.start_boot_ns = start.value);
    set!(out.exec_id = exec_id.value);
    set!(out.pid = pid);
    set!(out.tid = tid);
    set!(out.owner_uid = owner.value);
    set!(out.task_uid = task_uid.value);
    set!(out.comm as [u64; 2] = comm.value);
    set!(
        out.known = owner.bit(KNOWN_OWNER)
            | ids.bit(KNOWN_TASK)
            | task_uid.bit(KNOWN_TASK_UID)
            | start.bit(KNOWN_START)
            | exec_id.bit(KNOWN_EXEC)
    );
    set!(out.pad = 0);
}

#[inline(always)]
fn exec_id(task: u64) -> Maybe<u64> {
    if config!(offsets.exec_id_size) == 4 {
        let id = read::<u32>(task, config!(offsets.task_self_exec_id));
        return Maybe { value: u64::from(id.value), known: id.known };
    }
    read(task, config!(offsets.task_self_exec_id))
}
