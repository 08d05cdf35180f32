//! UDP: events, and the maps in which the programs count datagrams.
//!
//! A flow is what one socket exchanges with one remote address and port. The programs keep it in a map, because an
//! event per datagram would cost more than the datagram; user space hears of its first datagram and of the release of
//! its socket, and looks at the map for what happened in between.

use super::{Header, Identity, Tuple, pin_layout};

/// The first datagram between a socket and a remote address ([`UdpOpen`]).
pub const KIND_UDP_OPEN: u16 = 7;
/// A socket with one flow was released ([`UdpClose`]).
pub const KIND_UDP_CLOSE: u16 = 8;
/// A socket with several flows was released: their figures are in the map ([`UdpRelease`]).
pub const KIND_UDP_RELEASE: u16 = 9;
/// Never an event: counts datagrams that found no room in the map (`lost`), and those over loopback (`skipped`).
pub const KIND_UDP_DATAGRAM: u16 = 10;

/// Bytes of the first datagram that are copied.
pub const PAYLOAD_BYTES: usize = 16;

/// In `flags`: the first datagram came in, and the socket was not connected.
pub const UDP_INGRESS: u16 = 1 << 0;
/// In `flags`: seen by kprobes, not in cgroup hooks.
pub const UDP_KPROBE: u16 = 1 << 1;

/// [`UdpOpen::task`]: `identity` is the task that sent the datagram, or that took it from the socket.
pub const TASK_CALLED: u16 = 1;
/// [`UdpOpen::task`]: `identity` is the task that bound the socket.
pub const TASK_BOUND: u16 = 2;

/// [`KIND_UDP_OPEN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpOpen {
    pub header: Header,
    /// Socket cookie, or a number with [`OWN_NUMBER`]: the same in all events of this socket.
    pub socket: u64,
    pub tuple: Tuple,
    /// See `task`. Of `known`, the owner's bit is valid in any case.
    pub identity: Identity,
    /// `UDP_*` bits.
    pub flags: u16,
    /// `TASK_*`, or 0: only the owner is known.
    pub task: u16,
    /// Payload bytes of the datagram.
    pub payload_len: u32,
    /// Its first bytes; zero behind its end, and when it could not be read.
    pub payload: [u8; PAYLOAD_BYTES],
}
pin_layout!(UdpOpen, 144, {
    header: 0, socket: 16, tuple: 24, identity: 64, flags: 120, task: 122, payload_len: 124, payload: 128,
});

/// [`KIND_UDP_CLOSE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpClose {
    pub header: Header,
    pub key: UdpKey,
    pub flow: UdpFlow,
}
pin_layout!(UdpClose, 136, { header: 0, key: 16, flow: 48 });

/// [`KIND_UDP_RELEASE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpRelease {
    pub header: Header,
    /// As [`UdpOpen::socket`].
    pub socket: u64,
}
pin_layout!(UdpRelease, 24, { header: 0, socket: 16 });

/// Key of the map `UDP_FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpKey {
    /// As [`UdpOpen::socket`].
    pub socket: u64,
    /// Remote address in network byte order; IPv4 as `::ffff:a.b.c.d`.
    pub remote: [u8; 16],
    /// Remote port, host byte order.
    pub remote_port: u16,
    /// Zero.
    pub pad: [u16; 3],
}
pin_layout!(UdpKey, 32, { socket: 0, remote: 8, remote_port: 24, pad: 26 });

/// Value of the map `UDP_FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpFlow {
    /// Time of the first datagram, as [`Header::boot_ns`].
    pub first_ns: u64,
    /// Time of the last one.
    pub last_ns: u64,
    /// Payload bytes that the socket sent.
    pub bytes_sent: u64,
    /// Payload bytes that it received.
    pub bytes_received: u64,
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
    /// Local address of the first datagram in network byte order; IPv4 as `::ffff:a.b.c.d`.
    pub local: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// `UDP_*` bits.
    pub flags: u16,
    /// As [`Tuple::netns`].
    pub netns: u32,
    /// As [`Identity::owner_uid`].
    pub owner_uid: u32,
    /// [`super::KNOWN_OWNER`] or 0.
    pub known: u32,
    /// Zero.
    pub pad: u64,
}
pin_layout!(UdpFlow, 88, {
    first_ns: 0, last_ns: 8, bytes_sent: 16, bytes_received: 24, datagrams_sent: 32, datagrams_received: 40,
    local: 48, local_port: 64, flags: 66, netns: 68, owner_uid: 72, known: 76, pad: 80,
});

/// Value of the map `UDP_SOCKETS`, whose key is the socket's address in the kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpSocket {
    /// Its first flow; the socket's number is in it.
    pub first: UdpKey,
    /// Flows that the socket ever had.
    pub flows: u64,
}
pin_layout!(UdpSocket, 40, { first: 0, flows: 32 });
