//! Bounded copies of payload in which names stand: DNS messages, and the first bytes of connections. Nothing is parsed here:
//! a look at the first few bytes tells what is worth a copy, and user space reads the names.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user, bpf_skb_load_bytes};
use tracer_ebpf::abi::{
    DATAGRAMS_LOOKED_AT, DNS_BYTES, DnsMessage, FirstBytes, KIND_DNS, KIND_FIRST_BYTES, LOOKED_AT,
    NAMES_DATAGRAM, NAMES_KPROBE, NAMES_RECEIVED, PIECE_BYTES, PORT_DNS, PORT_MDNS,
};

use crate::emit::{reserve, set, submit};
use crate::identity::read;
use crate::maps::{FIRST_BYTES_WANTED, TCP_NUMBERS, config};
use crate::received;
use crate::tcp::Address;
use crate::udp::{Datagram, Packet, write_task, write_tuple};

/// Pieces that are looked at.
const PIECES: u64 = LOOKED_AT / PIECE_BYTES as u64;

/// Where bytes lie.
#[derive(Clone, Copy)]
pub enum Place {
    /// At an address of the kernel.
    Kernel(u64),
    /// At an address of the current process.
    User(u64),
    /// In a packet at a cgroup hook, from its IP header. Also where it is not in one piece.
    Packet(*mut __sk_buff, u32),
}

impl Place {
    /// So many bytes further on.
    #[inline(always)]
    fn after(self, bytes: u64) -> Self {
        match self {
            Self::Kernel(at) => Self::Kernel(at + bytes),
            Self::User(at) => Self::User(at + bytes),
            Self::Packet(skb, offset) => Self::Packet(skb, offset + bytes as u32),
        }
    }
}

/// Copies at most `MOST` bytes to `out`, which lies in a reserved entry or on the stack and has room for them; returns how
/// many, 0 when they cannot be read.
#[inline(always)]
pub fn copy<const MOST: u64>(out: *mut u8, place: Place, length: u64) -> u32 {
    if length == 0 {
        return 0;
    }
    let mut more_than_one = length - 1;
    // SAFETY: adds nothing to a number. It hides from LLVM what it knows of the number: else it would leave out, or write in
    // another way, the comparison that follows, which the verifier needs as it stands. And it tells the verifier that this is another
    // number than the one that it was copied from: on 5.10 it would carry over what it learns of one to the other, also
    // on ways that are never gone.
    unsafe { asm!("{0} += 0", inout(reg) more_than_one, options(pure, nomem, nostack)) };
    if more_than_one >= MOST {
        more_than_one = MOST - 1;
    }
    // Never 0, as the verifier of 5.10 sees only so.
    let length = more_than_one as u32 + 1;
    let out = out.cast::<c_void>();
    // SAFETY: the helpers check the source themselves, and `out` has room for MOST bytes, as the verifier checks.
    let result = unsafe {
        match place {
            Place::Kernel(at) => bpf_probe_read_kernel(out, length, at as *const c_void),
            Place::User(at) => bpf_probe_read_user(out, length, at as *const c_void),
            Place::Packet(skb, offset) => bpf_skb_load_bytes(skb.cast(), offset, out, length),
        }
    };
    // Zero, or a negative errno. Without a branch, which would double what verifiers walk through.
    length & !((result >> 63) as u32)
}

/// Whether a datagram is one of DNS, by its ports. Not one that a DNS server on this machine receives: who asks is seen as
/// it sends.
#[inline(always)]
pub fn is_dns(datagram: &Datagram) -> bool {
    let (local, remote) = (datagram.local_port, datagram.remote_port);
    remote == PORT_DNS || remote == PORT_MDNS || local == PORT_MDNS
}

/// Tells of a DNS message. `number`: of the socket.
#[inline(never)]
pub fn tell_dns(packet: &Packet, datagram: &Datagram, number: u64) {
    if packet.context.is_null() && packet.is_sent {
        received::expect(packet.sk);
    }
    let Some(mut entry) = reserve::<DnsMessage>(KIND_DNS) else { return };
    let out = entry.as_mut_ptr();
    set!(out.socket = number);
    // SAFETY: both are parts of the reserved entry.
    let (tuple, identity) = unsafe { (&raw mut (*out).tuple, &raw mut (*out).identity) };
    write_tuple(tuple, datagram, packet.sk);
    let task = write_task(identity, packet, number);
    set!(out.task = task);
    let way = if packet.context.is_null() { NAMES_KPROBE } else { 0 };
    set!(out.flags = way | if packet.is_sent { 0 } else { NAMES_RECEIVED });
    set!(out.length = datagram.bytes as u32);
    // SAFETY: a part of the reserved entry.
    let bytes = unsafe { (&raw mut (*out).bytes).cast() };
    let copied = match received::datagram(packet) {
        Some((at, room)) if room >= datagram.bytes => {
            copy::<{ DNS_BYTES as u64 }>(bytes, Place::User(at), datagram.bytes)
        }
        _ => {
            let whole = Part { index: 0, start: 0, length: datagram.bytes };
            copy_datagram::<{ DNS_BYTES as u64 }>(bytes, packet, datagram, &whole)
        }
    };
    set!(out.copied = copied);
    set!(out.pad = 0);
    submit(KIND_DNS, entry);
}

/// Tells of the first datagrams that a flow sends, when they begin a QUIC connection. `index`: which one this is. One that the
/// kernel cuts later is several.
#[inline(never)]
pub fn tell_datagrams(packet: &Packet, datagram: &Datagram, number: u64, index: u64) {
    // A long header, and its version: 1, or 2.
    let mut first = [0u8; 8];
    let start = Part { index, start: 0, length: 5 };
    if datagram.bytes < start.length || copy_datagram::<5>(first.as_mut_ptr(), packet, datagram, &start) == 0
    {
        return;
    }
    let version = u32::from_be_bytes([first[1], first[2], first[3], first[4]]);
    if first[0] & 0xc0 != 0xc0 || (version != 1 && version != 0x6b33_43cf) {
        return;
    }
    let size = if datagram.segment == 0 { datagram.bytes } else { datagram.segment };
    let mut part = Part { index, start: 0, length: size };
    while part.index < DATAGRAMS_LOOKED_AT && part.start < datagram.bytes {
        let left = datagram.bytes - part.start;
        part.length = if size < left { size } else { left };
        tell_datagram(packet, datagram, number, &part);
        part.start += size;
        part.index += 1;
    }
}

/// A part of what a process sends in one call.
pub struct Part {
    pub index: u64,
    pub start: u64,
    pub length: u64,
}

#[inline(always)]
fn tell_datagram(packet: &Packet, datagram: &Datagram, number: u64, part: &Part) {
    let Some(mut entry) = reserve::<FirstBytes>(KIND_FIRST_BYTES) else { return };
    let out = entry.as_mut_ptr();
    set!(out.socket = number);
    set!(out.remote as Address = datagram.remote);
    set!(out.remote_port = datagram.remote_port);
    set!(out.flags = NAMES_DATAGRAM);
    set!(out.offset = part.index as u32);
    // SAFETY: a part of the reserved entry.
    let bytes = unsafe { (&raw mut (*out).bytes).cast() };
    let copied = copy_datagram::<{ PIECE_BYTES as u64 }>(bytes, packet, datagram, part);
    set!(out.copied = copied);
    set!(out.pad = 0);
    submit(KIND_FIRST_BYTES, entry);
}

/// Copies a part of a datagram, at most `MOST` bytes, as [`copy`].
#[inline(always)]
pub fn copy_datagram<const MOST: u64>(
    out: *mut u8,
    packet: &Packet,
    datagram: &Datagram,
    part: &Part,
) -> u32 {
    let payload = datagram.payload + part.start;
    let head = read::<u64>(packet.skb, config!(offsets.skb_head)).value;
    if !packet.context.is_null() {
        let network = read::<u16>(packet.skb, config!(offsets.skb_network_header)).value;
        let offset = payload - head - u64::from(network);
        return copy::<MOST>(out, Place::Packet(packet.context, offset as u32), part.length);
    }
    // A kprobe reaches what is in one piece with the headers, and nothing behind it: that would be somebody else's memory.
    let tail = read::<u32>(packet.skb, config!(offsets.skb_tail));
    let end = head + u64::from(tail.value);
    let there = if end > payload { end - payload } else { 0 };
    let length = if there < part.length { there } else { part.length };
    copy::<MOST>(out, Place::Kernel(payload), length)
}

/// A TCP connection, as far as its first bytes need it.
#[derive(Clone, Copy)]
pub struct Connection {
    pub number: u64,
    pub remote: Address,
    pub remote_port: u16,
    pub is_sent: bool,
}

impl Connection {
    /// Whether a piece at this offset is worth a copy. Of what does not begin like a request, nothing is.
    #[inline(always)]
    pub fn is_wanted(&self, offset: u32, length: u64, place: Place) -> bool {
        if self.remote_port == PORT_DNS {
            return true;
        }
        if offset != 0 {
            return FIRST_BYTES_WANTED.get_ptr(&self.number).is_some();
        }
        let mut words = [0u64; 2];
        let copied = copy::<16>((&raw mut words).cast(), place, length);
        let needed = begins_request(words);
        if copied == 0 || needed == 0 {
            return false;
        }
        if needed > length {
            // Fails never: the oldest entry makes room.
            let _ = FIRST_BYTES_WANTED.insert(&self.number, &1, 0);
        }
        true
    }

    /// Tells of bytes of the stream, in as many pieces as are looked at.
    #[inline(always)]
    pub fn tell_pieces(&self, offset: u32, place: Place, length: u64) {
        let mut piece = 0;
        while piece < PIECES {
            let before = piece * PIECE_BYTES as u64;
            if before >= length {
                break;
            }
            self.tell(offset + before as u32, place.after(before), length - before);
            piece += 1;
        }
    }

    #[inline(always)]
    fn tell(&self, offset: u32, place: Place, length: u64) {
        let Some(mut entry) = reserve::<FirstBytes>(KIND_FIRST_BYTES) else { return };
        let out = entry.as_mut_ptr();
        set!(out.socket = self.number);
        set!(out.remote as Address = self.remote);
        set!(out.remote_port = self.remote_port);
        set!(out.flags = if self.is_sent { 0 } else { NAMES_RECEIVED });
        set!(out.offset = offset);
        // SAFETY: a part of the reserved entry.
        let bytes = unsafe { (&raw mut (*out).bytes).cast() };
        let copied = copy::<{ PIECE_BYTES as u64 }>(bytes, place, length);
        set!(out.copied = copied);
        set!(out.pad = 0);
        submit(KIND_FIRST_BYTES, entry);
    }
}

/// How many bytes the request has that begins so; 0: it is none. A ClientHello says its length; of HTTP that is not known.
#[inline(always)]
fn begins_request([first, second]: [u64; 2]) -> u64 {
    let first = first.to_le_bytes();
    let start = u32::from_le_bytes([first[0], first[1], first[2], first[3]]);
    // Record of a handshake: type, version, length; message: type (zero: not there yet), length.
    if start & 0xffff == 0x0316 && first[5] <= 1 {
        let length = [0, first[6], first[7], second as u8];
        return 9 + u64::from(u32::from_be_bytes(length));
    }
    const METHODS: [[u8; 4]; 8] =
        [*b"GET ", *b"POST", *b"HEAD", *b"PUT ", *b"OPTI", *b"CONN", *b"DELE", *b"PATC"];
    let mut index = 0;
    while index < METHODS.len() {
        if start == u32::from_le_bytes(METHODS[index]) {
            return u64::MAX;
        }
        index += 1;
    }
    0
}

/// The number of a TCP socket: one of ours where those are given, else its cookie. 0: none.
#[inline(always)]
pub fn number_of(sk: u64) -> u64 {
    match TCP_NUMBERS.get_ptr(&sk) {
        // SAFETY: the verifier knows that a value of the map is there.
        Some(known) => unsafe { (*known).number },
        None => read::<u64>(sk, config!(offsets.sock_cookie)).value,
    }
}
