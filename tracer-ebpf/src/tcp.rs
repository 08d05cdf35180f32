//! What: the life of a TCP socket, from `sock_ops` callbacks. One path for IPv4, IPv6 and v4-mapped.
//!
//! The programs keep no state of their own: the state-change flag that is set on the socket at connect and accept is
//! the only mark, and every event carries cookie and 5-tuple, so a lost event never orphans the later ones.
//! Sockets that were open before the attach have no mark and stay invisible here.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::offset_of;

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock_ops,
};
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::programs::SockOpsContext;
use tracer_ebpf::abi::{
    FIN_ACKED, FIN_RECEIVED, KIND_TCP_ACCEPT, KIND_TCP_CLOSE, KIND_TCP_CONNECT, KIND_TCP_ESTABLISHED,
    KIND_TCP_FAILED, KIND_TCP_LISTEN, KNOWN_ERROR, KNOWN_FIN, KNOWN_OWNER, TcpEnd, TcpOpen, TcpReady, Tuple,
    tcp_state,
};

use crate::emit::{reserve, set, skip, submit};
use crate::identity::{Maybe, address_of, owner, read, write_identity};
use crate::maps::config;

/// `AF_INET`, include/linux/socket.h.
pub const AF_INET: u32 = 2;
/// `enum sock_flags`, include/net/sock.h: set by `tcp_fin()` alone, when the peer's FIN arrives.
const SOCK_DONE: u64 = 1 << 1;

/// Loads a field of a context, or of what the kernel lends, at a constant offset.
macro_rules! load {
    ($width:literal, $value:ident, $ops:expr, $offset:expr) => {{
        let word: u64;
        // SAFETY: the kernel hands valid memory, and the verifier checks offset and width of every load.
        unsafe {
            asm!(
                concat!("{0} = *(", $width, " *)({1} + {2})"),
                out(reg) word,
                in(reg) $ops,
                const $offset,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        $value = word as _;
    }};
}
pub(crate) use load;

/// Reads one field of the context: `field!(ops, name)`, or word `n` of an array with `field!(ops, name[n])`.
///
/// In assembly, because the verifier takes context loads only at constant offsets from the unchanged pointer, and LLVM
/// merges plain loads of two branches into one with a computed offset, even volatile ones.
macro_rules! field {
    ($ops:expr, $name:ident) => {{
        let value: u32;
        load!("u32", value, $ops, offset_of!(bpf_sock_ops, $name));
        value
    }};
    ($ops:expr, $name:ident[$n:expr]) => {{
        let value: u32;
        load!("u32", value, $ops, offset_of!(bpf_sock_ops, $name) + 4 * $n);
        value
    }};
}

/// As [`field!`], for fields of 64 bits.
macro_rules! field64 {
    ($ops:expr, $name:ident) => {{
        let value: u64;
        load!("u64", value, $ops, offset_of!(bpf_sock_ops, $name));
        value
    }};
}

#[inline(always)]
pub fn observe(ctx: &SockOpsContext) {
    match field!(ctx.ops, op) {
        BPF_SOCK_OPS_TCP_CONNECT_CB => opened(ctx, KIND_TCP_CONNECT),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => ready(ctx, KIND_TCP_ESTABLISHED),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => ready(ctx, KIND_TCP_ACCEPT),
        BPF_SOCK_OPS_STATE_CB => state_changed(ctx),
        BPF_SOCK_OPS_TCP_LISTEN_CB => opened(ctx, KIND_TCP_LISTEN),
        _ => {}
    }
}

/// `tcp_connect()` and `inet_csk_listen_start()`: both in the caller's context.
#[inline(always)]
fn opened(ctx: &SockOpsContext, kind: u16) {
    let remote = remote_address(ctx.ops);
    if kind == KIND_TCP_CONNECT {
        if unwanted(remote) {
            skip(kind);
            return;
        }
        watch_states(ctx);
    }
    let Some(sk) = socket(ctx.ops) else { return };
    let Some(mut entry) = reserve::<TcpOpen>(kind) else { return };
    let out = entry.as_mut_ptr();
    set!(out.cookie = cookie(ctx));
    // SAFETY: both are parts of the reserved entry.
    let (tuple, identity) = unsafe { (&raw mut (*out).tuple, &raw mut (*out).identity) };
    write_tuple(tuple, ctx.ops, remote, sk);
    write_identity(identity, sk);
    submit(kind, entry);
}

/// `tcp_init_transfer()`: the handshake is complete. In softirq, or in the peer's context on loopback.
#[inline(always)]
fn ready(ctx: &SockOpsContext, kind: u16) {
    let remote = remote_address(ctx.ops);
    if unwanted(remote) {
        if kind == KIND_TCP_ACCEPT {
            skip(kind);
        }
        return;
    }
    if kind == KIND_TCP_ACCEPT {
        watch_states(ctx);
    } else if field!(ctx.ops, bpf_sock_ops_cb_flags) & BPF_SOCK_OPS_STATE_CB_FLAG == 0 {
        // Its connect() was before our attach: without the mark its end would not be seen.
        watch_states(ctx);
    }
    let Some(sk) = socket(ctx.ops) else { return };
    // When both ends open at the same time, the kernel calls ours passive. An accepted one has no `struct socket` yet.
    let has_opened = read::<u64>(sk, config!(offsets.sock_socket)).value != 0;
    let kind = if has_opened { KIND_TCP_ESTABLISHED } else { kind };
    let owner = owner(sk);
    let Some(mut entry) = reserve::<TcpReady>(kind) else { return };
    let out = entry.as_mut_ptr();
    set!(out.cookie = cookie(ctx));
    // SAFETY: a part of the reserved entry.
    write_tuple(unsafe { &raw mut (*out).tuple }, ctx.ops, remote, sk);
    set!(out.owner_uid = owner.value);
    set!(out.srtt_us = srtt_us(ctx.ops));
    set!(out.known = owner.bit(KNOWN_OWNER));
    set!(out.pad = 0);
    submit(kind, entry);
}

/// `tcp_set_state()` on a marked socket, in any context. Only the way to `TCP_CLOSE` is of interest.
#[inline(always)]
fn state_changed(ctx: &SockOpsContext) {
    // args[0] is the old state and args[1] the new one.
    let new_state = field!(ctx.ops, __bindgen_anon_1[1]) as u16;
    if new_state != tcp_state::CLOSE {
        return;
    }
    let old_state = field!(ctx.ops, __bindgen_anon_1[0]) as u16;
    let remote = remote_address(ctx.ops);
    if unwanted(remote) {
        // Marked by somebody else.
        return;
    }
    let Some(sk) = socket(ctx.ops) else { return };
    // A marked socket is in SYN_RECV only after a simultaneous open; an accepted one is marked when it is established.
    let failed = matches!(old_state, tcp_state::SYN_SENT | tcp_state::SYN_RECV);
    let kind = if failed { KIND_TCP_FAILED } else { KIND_TCP_CLOSE };
    let Some(mut entry) = reserve::<TcpEnd>(kind) else { return };
    let out = entry.as_mut_ptr();
    set!(out.cookie = cookie(ctx));
    // SAFETY: a part of the reserved entry.
    write_tuple(unsafe { &raw mut (*out).tuple }, ctx.ops, remote, sk);
    set!(out.bytes_received = field64!(ctx.ops, bytes_received));
    set!(out.bytes_acked = field64!(ctx.ops, bytes_acked));
    set!(out.segs_in = field!(ctx.ops, segs_in));
    set!(out.segs_out = field!(ctx.ops, segs_out));
    set!(out.srtt_us = srtt_us(ctx.ops));
    set!(out.retransmits = field!(ctx.ops, total_retrans));
    write_ending(out, sk, &Closing { old_state, snd_una: field!(ctx.ops, snd_una) });
    submit(kind, entry);
}

/// Writes owner, error, the state that was left, and which FINs were exchanged. `out` points into a reserved entry.
#[inline(always)]
pub fn write_ending(out: *mut TcpEnd, sk: u64, closing: &Closing) {
    let owner = owner(sk);
    let error = read::<u32>(sk, config!(offsets.sock_err));
    let fin = fin_flags(sk, closing);
    set!(out.owner_uid = owner.value);
    set!(out.error = error.value);
    set!(out.known = owner.bit(KNOWN_OWNER) | error.bit(KNOWN_ERROR) | fin.bit(KNOWN_FIN));
    set!(out.old_state = closing.old_state);
    set!(out.fin = fin.value);
}

/// What tells whether our FIN was acknowledged.
pub struct Closing {
    pub old_state: u16,
    /// `tcp_sock.snd_una`.
    pub snd_una: u32,
}

/// Which FINs the byte counters of the kernel include.
#[inline(always)]
fn fin_flags(sk: u64, closing: &Closing) -> Maybe<u16> {
    let flags = read::<u64>(sk, config!(offsets.sock_flags));
    let mut value = if flags.value & SOCK_DONE != 0 { FIN_RECEIVED } else { 0 };
    let mut known = flags.known;
    if closing.old_state == tcp_state::FIN_WAIT2 {
        value |= FIN_ACKED;
    } else if matches!(closing.old_state, tcp_state::FIN_WAIT1 | tcp_state::CLOSING | tcp_state::LAST_ACK) {
        let written = read::<u32>(sk, config!(offsets.tcp_write_seq));
        if closing.snd_una == written.value {
            value |= FIN_ACKED;
        }
        known &= written.known;
    }
    Maybe { value, known }
}

/// Asks for state changes of this socket, beside what other programs asked for.
#[inline(always)]
fn watch_states(ctx: &SockOpsContext) {
    let flags = field!(ctx.ops, bpf_sock_ops_cb_flags) | BPF_SOCK_OPS_STATE_CB_FLAG;
    // Fails only for a socket that is not full, which these callbacks never have.
    let _ = ctx.set_cb_flags(flags as i32);
}

/// Address of the `struct sock`, or `None` where the kernel has only a request socket.
#[inline(always)]
fn socket(ops: *const bpf_sock_ops) -> Option<u64> {
    let sk = field64!(ops, __bindgen_anon_2) as *const c_void;
    if sk.is_null() {
        return None;
    }
    Some(address_of(sk))
}

#[inline(always)]
fn cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper takes the context.
    unsafe { bpf_get_socket_cookie(ctx.ops.cast()) }
}

/// Smoothed round-trip time; the kernel keeps it times eight.
#[inline(always)]
fn srtt_us(ops: *const bpf_sock_ops) -> u32 {
    field!(ops, srtt_us) >> 3
}

/// Four words in memory order; IPv4 as v4-mapped.
pub type Address = [u32; 4];

/// `::ffff:0:0/96`, third word, as it lies in memory.
pub const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

#[inline(always)]
fn remote_address(ops: *const bpf_sock_ops) -> Address {
    if field!(ops, family) == AF_INET {
        return [0, 0, MAPPED, field!(ops, remote_ip4)];
    }
    [
        field!(ops, remote_ip6[0]),
        field!(ops, remote_ip6[1]),
        field!(ops, remote_ip6[2]),
        field!(ops, remote_ip6[3]),
    ]
}

#[inline(always)]
fn local_address(ops: *const bpf_sock_ops) -> Address {
    if field!(ops, family) == AF_INET {
        return [0, 0, MAPPED, field!(ops, local_ip4)];
    }
    [
        field!(ops, local_ip6[0]),
        field!(ops, local_ip6[1]),
        field!(ops, local_ip6[2]),
        field!(ops, local_ip6[3]),
    ]
}

/// Loopback, and loopback was not asked for.
#[inline(always)]
pub fn unwanted(remote: Address) -> bool {
    config!(include_loopback) == 0 && is_loopback(remote)
}

/// 127.0.0.0/8 (also v4-mapped) and `::1`.
#[inline(always)]
fn is_loopback([a, b, c, d]: Address) -> bool {
    if a != 0 || b != 0 {
        return false;
    }
    (c == MAPPED && d.to_ne_bytes()[0] == 127) || (c == 0 && d == 1u32.to_be())
}

#[inline(always)]
fn write_tuple(out: *mut Tuple, ops: *const bpf_sock_ops, remote: Address, sk: u64) {
    set!(out.local as Address = local_address(ops));
    set!(out.remote as Address = remote);
    // local_port is in host order, remote_port in network order in the upper half (little-endian).
    set!(out.local_port = field!(ops, local_port) as u16);
    set!(out.remote_port = ((field!(ops, remote_port) >> 16) as u16).swap_bytes());
    set!(out.netns = netns_of(sk));
}

#[inline(always)]
pub fn netns_of(sk: u64) -> u32 {
    let net = read::<u64>(sk, config!(offsets.sock_net));
    read::<u32>(net.value, config!(offsets.net_inum)).value
}
