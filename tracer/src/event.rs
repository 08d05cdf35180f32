//! What happened, in plain Rust: the output of `source` and the input of `flow`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tracer_ebpf::abi::Identity;

use crate::clock::BootTime;
use crate::record::{Direction, End, Method, ProcessSource, Protocol, Transport};

/// One event about one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub at: BootTime,
    /// Socket cookie: unique per boot. Of a UDP socket that has none, a number with `abi::OWN_NUMBER`.
    pub cookie: u64,
    pub transport: Transport,
    pub tuple: Tuple,
    pub what: What,
}

impl Event {
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey::new(self.cookie, self.transport, &self.tuple)
    }
}

/// What tells flows apart: of TCP the socket, of UDP also the remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// As [`Event::cookie`].
    pub cookie: u64,
    /// UDP only.
    pub peer: Option<(Ipv6Addr, u16)>,
}

impl FlowKey {
    #[must_use]
    pub fn new(cookie: u64, transport: Transport, tuple: &Tuple) -> Self {
        let peer = (transport == Transport::Udp).then_some((tuple.remote, tuple.remote_port));
        Self { cookie, peer }
    }

    #[must_use]
    pub fn tcp(cookie: u64) -> Self {
        Self { cookie, peer: None }
    }
}

/// Both ends of a socket, from its owner's side. IPv4 is held as v4-mapped: one path for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    pub local: Ipv6Addr,
    pub remote: Ipv6Addr,
    pub local_port: u16,
    pub remote_port: u16,
    /// Inode of the network namespace.
    pub netns: Option<u32>,
}

impl Tuple {
    /// Local address as a person writes it (v4-mapped as IPv4).
    #[must_use]
    pub fn local_ip(&self) -> IpAddr {
        self.local.to_canonical()
    }

    /// Remote address as a person writes it (v4-mapped as IPv4).
    #[must_use]
    pub fn remote_ip(&self) -> IpAddr {
        self.remote.to_canonical()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `connect()` was called by this task.
    Connect(Identity),
    /// The handshake of an outgoing connection completed.
    Established(Ready),
    /// The handshake of an incoming connection completed.
    Accept(Ready),
    /// An outgoing connection ended before it was established.
    Failed(Ending),
    /// An established connection ended.
    Close(Ending),
    /// `listen()` was called by this task.
    Listen(Identity),
    /// The socket is in the kernel's list of open sockets: it was open before the start, or its events were lost.
    Existing(Box<Existing>),
    /// The socket waits for others, says the kernel's list. Only owner and holder are known of it.
    Listening(Box<Existing>),
    /// What a socket has moved so far.
    Sample(Counters),
    /// The socket is not in the kernel's list any more, and no event told of its end.
    Gone,
    /// The first datagram between a socket and a remote address.
    FirstDatagram(Box<FirstDatagram>),
    /// What a UDP flow has moved so far.
    DatagramsSoFar(Datagrams),
    /// The socket of a UDP flow was released, said an event.
    Released(LastDatagrams),
    /// A UDP flow ended, as the programs' map of flows shows.
    Ended(LastDatagrams, End),
    /// A socket with several UDP flows was released: the map has their figures.
    AllReleased,
    /// A DNS message in a datagram.
    Dns(Box<DnsCopy>),
    /// First bytes of a connection.
    FirstBytes(Box<FirstBytesCopy>),
    /// A message to or from a resolver's Unix socket. Its conversation stands in [`Event::cookie`].
    Resolver(Box<ResolverCopy>),
}

/// A copy of a DNS message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCopy {
    pub owner: Option<u32>,
    pub task: Option<(Identity, ProcessSource)>,
    pub is_received: bool,
    /// The hook that saw it.
    pub method: Method,
    /// As much of it as was copied.
    pub bytes: Box<[u8]>,
}

/// A copy of a piece of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstBytesCopy {
    pub is_received: bool,
    /// Where it stands in the stream.
    pub offset: u32,
    pub bytes: Box<[u8]>,
}

/// A copy of a message to or from a resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverCopy {
    /// The task that sends.
    pub identity: Identity,
    pub is_answer: bool,
    /// systemd-resolved, not Android's.
    pub is_resolved: bool,
    pub bytes: Box<[u8]>,
}

/// One of several processes that hold a socket, for example after a fork: nothing tells which of them uses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Candidate {
    pub pid: u32,
    /// `comm`, as the kernel has it.
    pub comm: [u8; 16],
}

/// An open socket in the kernel's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Uid that owns it; unknown once the process has closed it.
    pub owner: Option<u32>,
    /// A process that holds it; unknown when it is none or several.
    pub holder: Option<Identity>,
    /// The processes that hold it, when these are several: the first eight, by pid.
    pub candidates: Option<Arc<[Candidate]>>,
    /// Unknown unless a listening socket or the counters tell.
    pub direction: Option<Direction>,
    pub is_established: bool,
    pub counters: Option<Counters>,
}

/// The kernel's figures of a TCP socket so far, `struct tcp_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sequence space acknowledged by the peer, SYN of an active open and FIN included.
    pub bytes_acked: u64,
    /// Sequence space received in order, FIN included.
    pub bytes_received: u64,
    /// Payload bytes sent, each counted once (4.19+).
    pub bytes_sent: Option<u64>,
    pub segs_in: u32,
    pub segs_out: u32,
    /// Smoothed round-trip time; 0 without a sample.
    pub rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u32,
    /// Segments on their way.
    pub unacked: u32,
    /// Since data was sent or received last, milliseconds.
    pub silent_ms: Option<u32>,
    /// Which FINs the byte counts include.
    pub fin: Fin,
}

/// How a UDP flow began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDatagram {
    pub owner: Option<u32>,
    pub task: Option<(Identity, ProcessSource)>,
    pub direction: Direction,
    /// The hook that saw it.
    pub method: Method,
    /// What its first bytes look like.
    pub protocol: Option<Protocol>,
    /// What was moved until now, when it was not the first datagram that told of it.
    pub so_far: Option<Datagrams>,
}

/// What a UDP flow has moved, exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagrams {
    /// Payload bytes.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub sent: u64,
    pub received: u64,
    pub first: BootTime,
    pub last: BootTime,
}

/// The end of a UDP flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDatagrams {
    pub owner: Option<u32>,
    pub direction: Direction,
    pub method: Method,
    pub moved: Datagrams,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Uid that owns the socket.
    pub owner: Option<u32>,
    pub rtt_us: Option<u32>,
}

/// The kernel's figures at the end of a socket, as it counts them (see `flow::end` for what they mean).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    pub owner: Option<u32>,
    pub rtt_us: Option<u32>,
    /// Sequence space received, FIN included.
    pub bytes_received: u64,
    /// Sequence space acknowledged, SYN of an active open and FIN included.
    pub bytes_acked: u64,
    pub segs_in: u32,
    pub segs_out: u32,
    pub retransmits: u32,
    /// `sk_err`, positive errno or 0.
    pub error: Option<u32>,
    pub fin: Option<Fin>,
    /// State that was left, `enum tcp_state`.
    pub old_state: u16,
}

/// Which FINs the byte counts include.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fin {
    pub received: bool,
    pub acked: bool,
}
