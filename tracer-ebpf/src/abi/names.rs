//! Copies of payload in which names stand: DNS messages, first bytes of connections, requests to resolvers. Bounded, and
//! made only where names are wanted ([`super::Config::names`]).
//!
//! The arrays at the end of these events are written as far as `copied` says; what follows is left over from earlier
//! events and means nothing.

use super::{Header, Identity, Tuple, pin_layout};

/// A DNS message in a datagram ([`DnsMessage`]).
pub const KIND_DNS: u16 = 11;
/// First bytes of a connection ([`FirstBytes`]).
pub const KIND_FIRST_BYTES: u16 = 12;
/// A message to or from a resolver's Unix socket ([`ResolverMessage`]).
pub const KIND_RESOLVER: u16 = 13;

/// Bytes of a DNS message that are copied: the size that resolvers ask for since 2020, so that nothing is fragmented.
pub const DNS_BYTES: usize = 1232;
/// Bytes of a connection that are copied in one piece: a ClientHello with a post-quantum key has some 1,800.
pub const PIECE_BYTES: usize = 2048;
/// Bytes of a connection, from its first one, that are looked at.
pub const LOOKED_AT: u64 = 4096;
/// Datagrams of a flow, from the first one sent, that are looked at: three full ones have less than [`LOOKED_AT`] bytes.
pub const DATAGRAMS_LOOKED_AT: u64 = 3;
/// Bytes of a message to or from a resolver that are copied.
pub const RESOLVER_BYTES: usize = 1024;

/// Ports of DNS and multicast DNS.
pub const PORT_DNS: u16 = 53;
pub const PORT_MDNS: u16 = 5353;

/// In `flags`: the message came in. Without it, it was sent.
pub const NAMES_RECEIVED: u16 = 1 << 0;
/// In [`FirstBytes::flags`]: a datagram.
pub const NAMES_DATAGRAM: u16 = 1 << 1;
/// In [`ResolverMessage::flags`]: systemd-resolved's socket, not that of Android's resolver.
pub const NAMES_RESOLVED: u16 = 1 << 2;

/// In [`DnsMessage::flags`]: seen by kprobes, not in cgroup hooks.
pub const NAMES_KPROBE: u16 = 1 << 3;

/// [`KIND_DNS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsMessage {
    pub header: Header,
    /// As [`super::UdpOpen::socket`]; of a socket without a flow (loopback) its cookie, or a number that its address gives.
    pub socket: u64,
    pub tuple: Tuple,
    /// As [`super::UdpOpen::identity`].
    pub identity: Identity,
    /// `NAMES_*` bits.
    pub flags: u16,
    /// As [`super::UdpOpen::task`].
    pub task: u16,
    /// Bytes of the message.
    pub length: u32,
    /// Bytes of it in `bytes`.
    pub copied: u32,
    /// Zero.
    pub pad: u32,
    pub bytes: [u8; DNS_BYTES],
}
pin_layout!(DnsMessage, 1368, {
    header: 0, socket: 16, tuple: 24, identity: 64, flags: 120, task: 122, length: 124, copied: 128, pad: 132,
    bytes: 136,
});

/// [`KIND_FIRST_BYTES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBytes {
    pub header: Header,
    /// Of TCP the number of the socket, of UDP as [`super::UdpOpen::socket`].
    pub socket: u64,
    /// Remote address in network byte order; IPv4 as `::ffff:a.b.c.d`.
    pub remote: [u8; 16],
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// `NAMES_*` bits.
    pub flags: u16,
    /// Where the piece stands in the stream; of datagrams which one of the flow's it is.
    pub offset: u32,
    /// Bytes in `bytes`.
    pub copied: u32,
    /// Zero.
    pub pad: u32,
    pub bytes: [u8; PIECE_BYTES],
}
pin_layout!(FirstBytes, 2104, {
    header: 0, socket: 16, remote: 24, remote_port: 40, flags: 42, offset: 44, copied: 48, pad: 52, bytes: 56,
});

/// [`KIND_RESOLVER`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolverMessage {
    pub header: Header,
    /// Tells conversations apart: the same in requests and answers of one connection to the resolver.
    pub conversation: u64,
    /// The task that sends: the app of a request, the resolver of an answer. It owns no internet socket.
    pub identity: Identity,
    /// `NAMES_*` bits.
    pub flags: u16,
    /// Zero.
    pub pad: u16,
    /// Bytes in `bytes`.
    pub copied: u32,
    pub bytes: [u8; RESOLVER_BYTES],
}
pin_layout!(ResolverMessage, 1112, {
    header: 0, conversation: 16, identity: 24, flags: 80, pad: 82, copied: 84, bytes: 88,
});
