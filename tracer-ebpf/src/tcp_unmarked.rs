//! The end of TCP sockets that were open before the attach: they lack the mark that makes the kernel call `sock_ops`
//! programs at state changes.
//!
//! Everything is read from the socket at offsets of the running kernel's BTF. Only sockets that have a cookie are of
//! interest: user space gave them one when it listed the open sockets.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_SOCK_OPS_STATE_CB_FLAG;
use aya_ebpf::programs::RawTracePointContext;
use tracer_ebpf::abi::{KIND_TCP_CLOSE, KIND_TCP_FAILED, TcpEnd, Tuple, tcp_state};

use crate::emit::{reserve, set, submit};
use crate::identity::read;
use crate::maps::config;
use crate::tcp::{AF_INET, Address, Closing, MAPPED, netns_of, unwanted, write_ending};

/// include/uapi/linux/in.h
pub const IPPROTO_TCP: u16 = 6;

#[inline(always)]
pub fn observe(ctx: &RawTracePointContext) {
    // TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)
    let new_state = ctx.arg::<i32>(2) as u16;
    let old_state = ctx.arg::<i32>(1) as u16;
    if new_state != tcp_state::CLOSE || matches!(old_state, tcp_state::CLOSE | tcp_state::LISTEN) {
        return;
    }
    let sk = ctx.arg::<*const c_void>(0) as u64;
    // Other protocols pass here, too; what follows would be nonsense for them.
    let protocol = read::<u16>(sk, config!(offsets.sock_protocol));
    let flags = read::<u8>(sk, config!(offsets.tcp_cb_flags));
    let cookie = read::<u64>(sk, config!(offsets.sock_cookie));
    let is_marked = u32::from(flags.value) & BPF_SOCK_OPS_STATE_CB_FLAG != 0;
    if protocol.value != IPPROTO_TCP || !flags.is_known() || is_marked || cookie.value == 0 {
        return;
    }
    if unwanted(remote_of(sk)) {
        return;
    }
    let kind = if old_state == tcp_state::SYN_SENT { KIND_TCP_FAILED } else { KIND_TCP_CLOSE };
    ended(sk, cookie.value, kind, old_state);
}

/// Tells of the end of the socket at address `sk`.
#[inline(always)]
pub fn ended(sk: u64, cookie: u64, kind: u16, old_state: u16) {
    let remote = remote_of(sk);
    let Some(mut entry) = reserve::<TcpEnd>(kind) else { return };
    let out = entry.as_mut_ptr();
    set!(out.cookie = cookie);
    // SAFETY: a part of the reserved entry.
    let tuple = unsafe { &raw mut (*out).tuple };
    write_tuple(tuple, sk, remote, past_port(sk));
    set!(out.bytes_received = read::<u64>(sk, config!(offsets.tcp_bytes_received)).value);
    set!(out.bytes_acked = read::<u64>(sk, config!(offsets.tcp_bytes_acked)).value);
    set!(out.segs_in = read::<u32>(sk, config!(offsets.tcp_segs_in)).value);
    set!(out.segs_out = read::<u32>(sk, config!(offsets.tcp_segs_out)).value);
    set!(out.srtt_us = read::<u32>(sk, config!(offsets.tcp_srtt_us)).value >> 3);
    set!(out.retransmits = read::<u32>(sk, config!(offsets.tcp_total_retrans)).value);
    let snd_una = read::<u32>(sk, config!(offsets.tcp_snd_una)).value;
    write_ending(out, sk, &Closing { old_state, snd_una });
    submit(kind, entry);
}

#[inline(always)]
fn is_v4(sk: u64) -> bool {
    u32::from(read::<u16>(sk, config!(offsets.sock_family)).value) == AF_INET
}

#[inline(always)]
pub fn remote_of(sk: u64) -> Address {
    address(sk, is_v4(sk), config!(offsets.sock_daddr), config!(offsets.sock_v6_daddr))
}

#[inline(always)]
fn address(sk: u64, is_v4: bool, v4: u32, v6: u32) -> Address {
    if is_v4 {
        return [0, 0, MAPPED, read::<u32>(sk, v4).value];
    }
    read::<Address>(sk, v6).value
}

/// The local port; 0 while the socket has none.
#[inline(always)]
pub fn local_port(sk: u64) -> u16 {
    read::<u16>(sk, config!(offsets.sock_num)).value
}

/// The local port, also when the socket has just given it back. Not for a socket that begins to connect: it may be the one
/// of an earlier attempt.
#[inline(always)]
pub fn past_port(sk: u64) -> u16 {
    let port = local_port(sk);
    if port != 0 { port } else { read::<u16>(sk, config!(offsets.inet_sport)).value.swap_bytes() }
}

#[inline(always)]
pub fn write_tuple(out: *mut Tuple, sk: u64, remote: Address, local_port: u16) {
    let local = address(sk, is_v4(sk), config!(offsets.sock_rcv_saddr), config!(offsets.sock_v6_rcv_saddr));
    set!(out.local as Address = local);
    set!(out.remote as Address = remote);
    set!(out.local_port = local_port);
    set!(out.remote_port = read::<u16>(sk, config!(offsets.sock_dport)).value.swap_bytes());
    set!(out.netns = netns_of(sk));
}
