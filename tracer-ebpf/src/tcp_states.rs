//! What: the life of a TCP socket, from its changes of state alone: where no `sock_ops` program can be attached.
//!
//! Nobody has given most sockets a cookie, and this hook cannot ask for one: they have a number of their own, kept by
//! their address for as long as they live. What the kernel decides only after the change to `SYN_SENT`, the local port,
//! is not known at the connect.

use core::ffi::c_void;

use aya_ebpf::programs::RawTracePointContext;
use tracer_ebpf::abi::{
    KIND_TCP_ACCEPT, KIND_TCP_CLOSE, KIND_TCP_CONNECT, KIND_TCP_ESTABLISHED, KIND_TCP_FAILED,
    KIND_TCP_LISTEN, KNOWN_OWNER, TcpNumber, TcpOpen, TcpReady, tcp_state,
};

use crate::emit::{own_number, reserve, set, skip, submit};
use crate::identity::{owner, read, write_identity};
use crate::maps::{TCP_NUMBERS, config};
use crate::tcp::unwanted;
use crate::tcp_unmarked::{IPPROTO_TCP, ended, local_port, remote_of, write_tuple};

#[inline(always)]
pub fn observe(ctx: &RawTracePointContext) {
    // TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)
    let sk = ctx.arg::<*const c_void>(0) as u64;
    // Other protocols pass here, too; what follows would be nonsense for them.
    if read::<u16>(sk, config!(offsets.sock_protocol)).value != IPPROTO_TCP {
        return;
    }
    let old_state = ctx.arg::<i32>(1) as u16;
    match ctx.arg::<i32>(2) as u16 {
        tcp_state::SYN_SENT => opened(sk, KIND_TCP_CONNECT),
        tcp_state::LISTEN => opened(sk, KIND_TCP_LISTEN),
        // A socket is made for who connects to us. After SYN_SENT, both ends open at the same time, and it is our own.
        tcp_state::SYN_RECV if old_state != tcp_state::SYN_SENT => _ = begin(sk, true),
        tcp_state::ESTABLISHED => ready(sk, old_state),
        tcp_state::CLOSE if !matches!(old_state, tcp_state::CLOSE | tcp_state::LISTEN) => {
            closed(sk, old_state)
        }
        _ => {}
    }
}

/// `tcp_v4_connect()`, `tcp_v6_connect()` and `inet_csk_listen_start()`: all in the caller's context.
#[inline(always)]
fn opened(sk: u64, kind: u16) {
    let remote = remote_of(sk);
    let mut number = 0;
    if kind == KIND_TCP_CONNECT {
        if unwanted(remote) {
            skip(kind);
            return;
        }
        number = begin(sk, false);
    }
    let Some(mut entry) = reserve::<TcpOpen>(kind) else { return };
    let out = entry.as_mut_ptr();
    set!(out.cookie = number);
    // SAFETY: both are parts of the reserved entry.
    let (tuple, identity) = unsafe { (&raw mut (*out).tuple, &raw mut (*out).identity) };
    write_tuple(tuple, sk, remote, local_port(sk));
    write_identity(identity, sk);
    submit(kind, entry);
}

/// The handshake is complete. In softirq, or in the peer's context on loopback.
#[inline(always)]
fn ready(sk: u64, old_state: u16) {
    let known = known(sk);
    // Without a number its beginning was before our attach.
    let is_accepted =
        if known.number == 0 { old_state == tcp_state::SYN_RECV } else { known.is_accepted != 0 };
    let kind = if is_accepted { KIND_TCP_ACCEPT } else { KIND_TCP_ESTABLISHED };
    let remote = remote_of(sk);
    if unwanted(remote) {
        if is_accepted {
            skip(kind);
        }
        return;
    }
    let number = if known.number == 0 { begin(sk, is_accepted) } else { known.number };
    let owner = owner(sk);
    let Some(mut entry) = reserve::<TcpReady>(kind) else { return };
    let out = entry.as_mut_ptr();
    set!(out.cookie = number);
    // SAFETY: a part of the reserved entry.
    write_tuple(unsafe { &raw mut (*out).tuple }, sk, remote, local_port(sk));
    set!(out.owner_uid = owner.value);
    // The kernel keeps it times eight.
    set!(out.srtt_us = read::<u32>(sk, config!(offsets.tcp_srtt_us)).value >> 3);
    set!(out.known = owner.bit(KNOWN_OWNER));
    set!(out.pad = 0);
    submit(kind, entry);
}

#[inline(always)]
fn closed(sk: u64, old_state: u16) {
    let known = known(sk);
    let _ = TCP_NUMBERS.remove(&sk);
    let mut number = known.number;
    if number == 0 {
        // Open before the attach: of interest if user space has listed it, and so given it a cookie.
        number = read::<u64>(sk, config!(offsets.sock_cookie)).value;
    }
    let was_connecting = matches!(old_state, tcp_state::SYN_SENT | tcp_state::SYN_RECV);
    if number == 0 || unwanted(remote_of(sk)) || (was_connecting && known.is_accepted != 0) {
        return;
    }
    ended(sk, number, if was_connecting { KIND_TCP_FAILED } else { KIND_TCP_CLOSE }, old_state);
}

/// What the map knows of the socket at this address; number 0 when nothing.
#[inline(always)]
fn known(sk: u64) -> TcpNumber {
    // SAFETY: the verifier knows that a value of the map is there.
    TCP_NUMBERS.get_ptr(&sk).map_or(TcpNumber::default(), |known| unsafe { known.read() })
}

/// Numbers a socket. What the map knew belonged to an earlier one at this address.
#[inline(always)]
fn begin(sk: u64, is_accepted: bool) -> u64 {
    let mut number = read::<u64>(sk, config!(offsets.sock_cookie)).value;
    // What a new socket for an incoming connection has there is the listener's.
    if number == 0 || is_accepted {
        number = own_number();
    }
    let known = TcpNumber { number, is_accepted: u64::from(is_accepted) };
    // Fails never: the oldest entry makes room.
    let _ = TCP_NUMBERS.insert(&sk, &known, 0);
    number
}
