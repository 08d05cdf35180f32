//! What: looks at kernel memory for user space, which finds out the offsets of kernel fields where the kernel has no BTF:
//! in its own tasks, sockets, packets and messages, whose values it knows. Loaded for that moment only.

use core::ffi::c_void;

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB,
};
use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};
use aya_ebpf::helpers::{bpf_get_current_task, bpf_get_socket_cookie};
use aya_ebpf::programs::{RawTracePointContext, SockOpsContext};
use tracer_ebpf::abi::{Meeting, OFFSET_UNKNOWN, PEEK_BYTES};

use crate::emit::set;
use crate::identity::{address_of, read, read_into};
use crate::maps::{MEETING, PEEK};

/// Copies `PEEK_BYTES` at the address in the first argument (0: nothing) and says who runs.
#[inline(always)]
pub fn peek(ctx: &RawTracePointContext) {
    let Some(out) = PEEK.get_ptr_mut(0) else { return };
    let from: u64 = ctx.arg(0);
    // SAFETY: plain helpers without arguments.
    let (task, pid_tgid) = unsafe { (bpf_get_current_task(), bpf_get_current_pid_tgid()) };
    set!(out.task = task);
    set!(out.pid_tgid = pid_tgid);
    // SAFETY: the helper checks the address itself and writes exactly PEEK_BYTES.
    let result = unsafe {
        bpf_probe_read_kernel((&raw mut (*out).bytes).cast(), PEEK_BYTES as u32, from as *const c_void)
    };
    set!(out.result = result as i64);
}

/// Notes the address of a TCP socket of user space, known by its local port.
#[inline(always)]
pub fn meet_socket(ctx: &SockOpsContext) {
    let Some(out) = MEETING.get_ptr_mut(0) else { return };
    // SAFETY: a value of the map; user space writes it only between two calls of its own.
    let wanted = unsafe { (&raw const (*out).tcp_port).read() };
    if wanted == 0 || ctx.local_port() != wanted {
        return;
    }
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB | BPF_SOCK_OPS_TCP_LISTEN_CB => {
            // SAFETY: as above; and the kernel hands a valid context, whose fields the verifier checks.
            let (flags, sk) = unsafe {
                ((&raw const (*out).cb_flags).read(), (*ctx.ops).__bindgen_anon_2.sk.cast::<c_void>())
            };
            if sk.is_null() {
                return;
            }
            // Fails only for a socket that is not full, which these callbacks never have.
            let _ = ctx.set_cb_flags(flags as i32);
            // SAFETY: the helper takes the context.
            let cookie = unsafe { bpf_get_socket_cookie(ctx.ops.cast()) };
            set!(out.cookie = cookie);
            set!(out.sk = address_of(sk.cast_const()));
        }
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => set!(out.found_flags = ctx.cb_flags()),
        _ => {}
    }
}

/// Copies the `sk_buff` at this address when the wanted task sends it.
#[inline(always)]
pub fn meet_packet(skb: u64) {
    if let Some(out) = MEETING.get_ptr_mut(0) {
        meet(out, skb);
    }
}

/// Copies the `struct msghdr` that the wanted task sends at this `struct socket`.
#[inline(always)]
pub fn meet_message(socket: u64, message: u64) {
    if let Some(out) = MEETING.get_ptr_mut(0)
        && meet(out, message)
    {
        set!(out.sk = socket);
    }
}

/// Whether it is the wanted task that comes by.
#[inline(always)]
fn meet(out: *mut Meeting, found: u64) -> bool {
    // SAFETY: as in `meet_socket`; and a plain helper without arguments.
    let (wanted, pointer, distance, task) = unsafe {
        (
            (&raw const (*out).task).read(),
            (&raw const (*out).pointer).read(),
            (&raw const (*out).distance).read(),
            bpf_get_current_task(),
        )
    };
    if wanted == 0 || wanted != task {
        return false;
    }
    // SAFETY: addresses of fields only.
    let (bytes, behind_bytes) = unsafe { (&raw mut (*out).bytes, &raw mut (*out).behind_bytes) };
    set!(out.found = found);
    read_into(bytes, found);
    if pointer != OFFSET_UNKNOWN {
        // What is not known is 0.
        let distance = read::<u32>(found, distance).value;
        read_into(behind_bytes, read::<u64>(found, pointer).value + u64::from(distance));
    }
    true
}
