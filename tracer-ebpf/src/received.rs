//! What DNS servers answer, where kprobes are used: it is read in the memory of the process that takes it from its socket,
//! because the packet itself may lie in several pieces, of which a kprobe reaches only the first.

use core::ffi::c_void;

use aya_ebpf::programs::ProbeContext;
use tracer_ebpf::abi::{LOOKED_AT, PORT_DNS};

use crate::identity::read;
use crate::maps::{DNS_SOCKETS, config};
use crate::message::Parts;
use crate::payload::{Connection, Place, number_of};
use crate::tcp_unmarked::remote_of;
use crate::udp::Packet;

/// A socket that asked a DNS server, and where the call that runs takes an answer to.
#[derive(Clone, Copy)]
pub struct DnsSocket {
    /// Address in the process, and how much room is there.
    at: u64,
    room: u64,
    /// Bytes that the call has written there.
    taken: u64,
    /// Of a stream: bytes that calls before have taken.
    before: u64,
}

/// The socket at this address asks: an answer is waited for.
#[inline(always)]
pub fn expect(sk: u64) {
    let new = DnsSocket { at: 0, room: 0, taken: 0, before: 0 };
    // Fails never: the oldest entry makes room.
    let _ = DNS_SOCKETS.insert(&sk, &new, 0);
}

/// The kprobes on `udp_recvmsg(sk, msg, ...)`, `udpv6_recvmsg` and `tcp_recvmsg`: a call begins.
#[inline(always)]
pub fn begins(ctx: &ProbeContext) {
    let (Some(sk), Some(message)) = (ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1)) else {
        return;
    };
    // 0 where the socket has no peer of its own.
    let port = read::<u16>(sk as u64, config!(offsets.sock_dport));
    if port.is_known() && port.value != 0 && port.value != PORT_DNS.swap_bytes() {
        return;
    }
    let Some(socket) = DNS_SOCKETS.get_ptr_mut(&(sk as u64)) else { return };
    let (at, room) = Parts::of(message as u64).get(0).unwrap_or((0, 0));
    // SAFETY: the verifier knows that a value of the map is there.
    unsafe {
        let DnsSocket { taken, before, .. } = *socket;
        *socket = DnsSocket { at, room, taken: 0, before: before + taken };
    }
}

/// Where the datagram lies that the current process has taken, and how much of it at most.
#[inline(always)]
pub fn datagram(packet: &Packet) -> Option<(u64, u64)> {
    if !packet.context.is_null() || packet.is_sent {
        return None;
    }
    // SAFETY: the verifier knows that a value of the map is there.
    let socket = unsafe { DNS_SOCKETS.get_ptr(&packet.sk)?.read() };
    (socket.room != 0).then_some((socket.at, socket.room))
}

/// The kprobe on `tcp_cleanup_rbuf(sk, copied)`: the call that runs has taken so many bytes so far.
#[inline(always)]
pub fn stream_taken(ctx: &ProbeContext) {
    let (Some(sk), Some(copied)) = (ctx.arg::<*const c_void>(0), ctx.arg::<i32>(1)) else {
        return;
    };
    let sk = sk as u64;
    if copied <= 0 || read::<u16>(sk, config!(offsets.sock_dport)).value != PORT_DNS.swap_bytes() {
        return;
    }
    let Some(known) = DNS_SOCKETS.get_ptr_mut(&sk) else { return };
    // SAFETY: as above.
    let socket = unsafe { known.read() };
    let copied = copied as u64;
    let offset = socket.before + socket.taken;
    if copied <= socket.taken || copied > socket.room || offset >= LOOKED_AT {
        return;
    }
    // SAFETY: as above.
    unsafe { (*known).taken = copied };
    let connection =
        Connection { number: number_of(sk), remote: remote_of(sk), remote_port: PORT_DNS, is_sent: false };
    connection.tell_pieces(offset as u32, Place::User(socket.at + socket.taken), copied - socket.taken);
}
