//! Where payload of TCP and of Unix sockets is seen: in the cgroup hooks for packets, or in kprobes on what a process sends.

use core::arch::asm;
use core::ffi::c_void;
use core::mem::offset_of;

use aya_ebpf::bindings::{__sk_buff, bpf_sock, bpf_tcp_sock};
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::helpers::generated::bpf_tcp_sock as tcp_sock_of;
use aya_ebpf::programs::ProbeContext;
use tracer_ebpf::abi::{
    KIND_RESOLVER, LOOKED_AT, NAMES_RECEIVED, NAMES_RESOLVED, PORT_DNS, RESOLVER_BYTES, ResolverMessage,
};

use crate::emit::{reserve, set, submit};
use crate::identity::{address_of, read, write_identity};
use crate::maps::{TCP_NUMBERS, config};
use crate::message::{PARTS, Parts};
use crate::payload::{Connection, Place, copy, number_of};
use crate::received;
use crate::tcp::{Address, MAPPED, load, unwanted};
use crate::tcp_unmarked::remote_of;

/// A TCP packet at a cgroup hook.
#[inline(never)]
pub fn segment(skb: *mut __sk_buff, is_sent: bool) {
    let Some(segment) = look(skb, is_sent) else { return };
    let Some(offset) = offset(&segment, is_sent) else { return };
    let mut connection =
        Connection { number: 0, remote: segment.remote, remote_port: segment.remote_port, is_sent };
    if unwanted(connection.remote) && connection.remote_port != PORT_DNS {
        return;
    }
    // Last, and for few packets: it is looked up.
    connection.number = number(skb, segment.sk);
    let place = Place::Packet(skb, segment.at);
    if connection.is_wanted(offset, segment.length, place) {
        connection.tell_pieces(offset, place, segment.length);
    }
}

/// What the headers of a TCP packet say that has payload.
struct Segment {
    sk: *mut bpf_sock,
    remote: Address,
    remote_port: u16,
    /// Host byte order.
    sequence: u32,
    /// Where the payload begins, from the IP header, and how much it is.
    at: u32,
    length: u64,
}

/// In the order in which most packets are told to have no names.
#[inline(always)]
fn look(skb: *mut __sk_buff, is_sent: bool) -> Option<Segment> {
    // SAFETY: the kernel hands a valid context, whose fields the verifier checks.
    let (data, end, all, sk) =
        unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).len, (*skb).__bindgen_anon_2.sk) };
    if data + 40 > end || sk.is_null() {
        return None;
    }
    let ip = data as *const u8;
    // SAFETY: 40 bytes are there.
    let first = unsafe { *ip };
    let header = if first >> 4 == 4 { usize::from(first & 15) * 4 } else { 40 };
    if data + header + 20 > end {
        return None;
    }
    let tcp = (data + header) as *const u8;
    // SAFETY: 20 bytes are there.
    let (ports, words) = unsafe { (tcp.cast::<[u16; 2]>().read_unaligned(), *tcp.add(12) >> 4) };
    let remote_port = (if is_sent { ports[1] } else { ports[0] }).swap_bytes();
    let at = header as u32 + u32::from(words) * 4;
    // Of what comes in, only DNS has names.
    if all <= at || (!is_sent && remote_port != PORT_DNS) {
        return None;
    }
    // SAFETY: 40 bytes of the IP header are there, or 20 of it and 20 of the other one.
    let (remote, sequence) = unsafe {
        let remote = if first >> 4 == 4 {
            let address = ip.add(if is_sent { 16 } else { 12 }).cast::<u32>().read_unaligned();
            [0, 0, MAPPED, address]
        } else {
            ip.add(if is_sent { 24 } else { 8 }).cast::<Address>().read_unaligned()
        };
        (remote, tcp.add(4).cast::<u32>().read_unaligned().swap_bytes())
    };
    Some(Segment { sk, remote, remote_port, sequence, at, length: u64::from(all - at) })
}

/// Where the payload stands in the stream, if that is looked at.
#[inline(always)]
fn offset(segment: &Segment, is_sent: bool) -> Option<u32> {
    // SAFETY: the helper takes any socket of a context.
    let known = unsafe { tcp_sock_of(segment.sk) };
    if known.is_null() {
        return None;
    }
    // In assembly, because LLVM would merge the loads of both branches into one at a computed offset.
    let (edge, before): (u32, u64);
    if is_sent {
        load!("u32", edge, known, offset_of!(bpf_tcp_sock, snd_una));
        load!("u64", before, known, offset_of!(bpf_tcp_sock, bytes_acked));
    } else {
        load!("u32", edge, known, offset_of!(bpf_tcp_sock, rcv_nxt));
        load!("u64", before, known, offset_of!(bpf_tcp_sock, bytes_received));
    }
    if before > LOOKED_AT {
        return None;
    }
    // Of what is sent, the SYN is counted in an active open alone: an accepted connection begins at -1, and is left out.
    let offset =
        segment.sequence.wrapping_sub(edge).wrapping_add(before as u32).wrapping_sub(u32::from(is_sent));
    if offset < LOOKED_AT as u32 { Some(offset) } else { None }
}

/// Number of a packet's socket.
#[inline(always)]
fn number(skb: *mut __sk_buff, sk: *mut bpf_sock) -> u64 {
    match TCP_NUMBERS.get_ptr(&address_of(sk.cast_const().cast())) {
        // SAFETY: the verifier knows that a value of the map is there.
        Some(known) => unsafe { (*known).number },
        // SAFETY: the helper takes the context.
        None => unsafe { bpf_get_socket_cookie(skb.cast()) },
    }
}

/// The kprobe on `tcp_sendmsg(sk, msg, size)`.
#[inline(always)]
pub fn tcp_sends(ctx: &ProbeContext) {
    let (Some(sk), Some(message)) = (ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1)) else {
        return;
    };
    let (sk, message) = (sk as u64, message as u64);
    // All that bulk traffic costs.
    let acked = read::<u64>(sk, config!(offsets.tcp_bytes_acked)).value;
    if acked > LOOKED_AT {
        return;
    }
    let written = read::<u32>(sk, config!(offsets.tcp_write_seq)).value;
    let una = read::<u32>(sk, config!(offsets.tcp_snd_una)).value;
    // As in `look`.
    let mut offset = written.wrapping_sub(una).wrapping_add(acked as u32).wrapping_sub(1);
    let number = number_of(sk);
    if offset >= LOOKED_AT as u32 || number == 0 {
        return;
    }
    let remote = remote_of(sk);
    let remote_port = read::<u16>(sk, config!(offsets.sock_dport)).value.swap_bytes();
    if unwanted(remote) && remote_port != PORT_DNS {
        return;
    }
    if remote_port == PORT_DNS && offset == 0 {
        received::expect(sk);
    }
    let connection = Connection { number, remote, remote_port, is_sent: true };
    let parts = Parts::of(message);
    let mut index = 0;
    while index < PARTS {
        let Some((from, length)) = parts.get(index) else { break };
        if index == 0 && !connection.is_wanted(offset, length, Place::User(from)) {
            return;
        }
        connection.tell_pieces(offset, Place::User(from), length);
        offset = offset.wrapping_add(length as u32);
        if offset >= LOOKED_AT as u32 {
            break;
        }
        index += 1;
    }
}

/// Words of `struct sockaddr_un` behind the family: as many as the longer of both paths has.
const WORDS: usize = 5;

const fn path(text: &[u8]) -> [u64; WORDS] {
    let mut bytes = [0u8; WORDS * 8];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    let mut words = [0; WORDS];
    let mut word = 0;
    while word < WORDS {
        let mut value = [0u8; 8];
        let mut at = 0;
        while at < 8 {
            value[at] = bytes[word * 8 + at];
            at += 1;
        }
        words[word] = u64::from_le_bytes(value);
        word += 1;
    }
    words
}

/// Not told: marks what [`resolver_at`] found.
const IS_RESOLVER: u16 = 1 << 15;

const DNSPROXYD: [u64; WORDS] = path(b"/dev/socket/dnsproxyd");
const RESOLVED: [u64; WORDS] = path(b"/run/systemd/resolve/io.systemd.Resolve");

/// The kprobe on `unix_stream_sendmsg(sock, msg, len)`.
#[inline(always)]
pub fn unix_sends(ctx: &ProbeContext) {
    let (Some(socket), Some(message)) = (ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1)) else {
        return;
    };
    let sk = read::<u64>(socket as u64, config!(offsets.socket_sk)).value;
    let peer = read::<u64>(sk, config!(offsets.unix_peer)).value;
    // What accepted a connection has the name that was listened at; who connected has none.
    let asked = resolver_at(peer);
    let answers = resolver_at(sk);
    if asked == 0 && answers == 0 {
        return;
    }
    let (conversation, flags) = if asked != 0 { (sk, asked) } else { (peer, answers | NAMES_RECEIVED) };
    let parts = Parts::of(message as u64);
    let mut index = 0;
    while index < PARTS {
        let Some((from, length)) = parts.get(index) else { break };
        tell_message(conversation, flags, from, length);
        index += 1;
    }
}

/// Not 0: a resolver waits at this socket's name; with [`NAMES_RESOLVED`], systemd-resolved.
#[inline(always)]
fn resolver_at(sk: u64) -> u16 {
    let address = read::<u64>(sk, config!(offsets.unix_addr)).value;
    if address == 0 {
        return 0;
    }
    // Behind the family.
    let name = read::<[u64; WORDS]>(address + u64::from(config!(offsets.unix_name)) + 2, 0).value;
    let is_same = |path: [u64; WORDS], words: usize, last: u64| {
        let mut index = 0;
        while index < words {
            if name[index] != path[index] {
                return false;
            }
            index += 1;
        }
        (name[words] ^ path[words]) & last == 0
    };
    // With the zero that ends a path; what follows may be anything.
    if is_same(DNSPROXYD, 2, 0x0000_ffff_ffff_ffff) {
        return IS_RESOLVER;
    }
    if is_same(RESOLVED, 4, u64::MAX) {
        return IS_RESOLVER | NAMES_RESOLVED;
    }
    0
}

#[inline(always)]
fn tell_message(conversation: u64, flags: u16, from: u64, length: u64) {
    let Some(mut entry) = reserve::<ResolverMessage>(KIND_RESOLVER) else { return };
    let out = entry.as_mut_ptr();
    set!(out.conversation = conversation);
    // SAFETY: a part of the reserved entry.
    write_identity(unsafe { &raw mut (*out).identity }, 0);
    set!(out.flags = flags & !IS_RESOLVER);
    set!(out.pad = 0);
    // SAFETY: a part of the reserved entry.
    let bytes = unsafe { (&raw mut (*out).bytes).cast() };
    let copied = copy::<{ RESOLVER_BYTES as u64 }>(bytes, Place::User(from), length);
    set!(out.copied = copied);
    submit(KIND_RESOLVER, entry);
}
