//! One struct per event kind. All integers are in host byte order (little-endian) unless a field says otherwise.

use super::pin_layout;

/// `connect()` was called: in the caller's context, before the SYN leaves. From `BPF_SOCK_OPS_TCP_CONNECT_CB`, or from the
/// change to `TCP_SYN_SENT` where `sock_ops` is refused; then the local port may be 0, not decided yet.
pub const KIND_TCP_CONNECT: u16 = 1;
/// The handshake of an outgoing connection completed (`BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB`, or the change to
/// `TCP_ESTABLISHED`).
pub const KIND_TCP_ESTABLISHED: u16 = 2;
/// The handshake of an incoming connection completed (`BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`, or the change to
/// `TCP_ESTABLISHED`).
pub const KIND_TCP_ACCEPT: u16 = 3;
/// An outgoing connection ended without ever being established.
pub const KIND_TCP_FAILED: u16 = 4;
/// An established connection ended (in either direction).
pub const KIND_TCP_CLOSE: u16 = 5;
/// `listen()` was called (`BPF_SOCK_OPS_TCP_LISTEN_CB`, or the change to `TCP_LISTEN`), in the caller's context.
pub const KIND_TCP_LISTEN: u16 = 6;

/// Number of kinds plus one: the length of arrays indexed by kind. Index 0 is unused.
pub const KIND_COUNT: usize = 14;

/// First bytes of every event.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// [`super::ABI_VERSION`] of the writer.
    pub abi: u16,
    /// One of the `KIND_*` constants.
    pub kind: u16,
    /// Length of the whole event in bytes, header included.
    pub len: u32,
    /// `CLOCK_BOOTTIME` in nanoseconds where the kernel offers it to the program, see [`super::Config::boot_clock`].
    pub boot_ns: u64,
}
pin_layout!(Header, 16, { abi: 0, kind: 2, len: 4, boot_ns: 8 });

/// The two ends of a socket, as the socket's owner sees them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Local address in network byte order; IPv4 as `::ffff:a.b.c.d`.
    pub local: [u8; 16],
    /// Remote address in network byte order; IPv4 as `::ffff:a.b.c.d`. All zero for a listening socket.
    pub remote: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// Remote port, host byte order. Zero for a listening socket.
    pub remote_port: u16,
    /// Inode number of the socket's network namespace (as in `/proc/PID/ns/net`); 0 when its offset is unknown.
    pub netns: u32,
}
pin_layout!(Tuple, 40, { local: 0, remote: 16, local_port: 32, remote_port: 34, netns: 36 });

/// Set in [`Identity::known`] when `owner_uid` was read from the socket (`sk->sk_uid`).
pub const KNOWN_OWNER: u32 = 1 << 0;
/// Set in [`Identity::known`] when `pid`, `tid` and `comm` were read from the current task.
pub const KNOWN_TASK: u32 = 1 << 1;
/// Set in [`Identity::known`] when `task_uid` was read from the current task's credentials.
pub const KNOWN_TASK_UID: u32 = 1 << 2;
/// Set in [`Identity::known`] when `start_boot_ns` was read.
pub const KNOWN_START: u32 = 1 << 3;
/// Set in [`Identity::known`] when `exec_id` was read.
pub const KNOWN_EXEC: u32 = 1 << 4;

/// Who: taken in process context only, at connect or listen.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Start of the process (thread group leader) on `CLOCK_BOOTTIME`, nanoseconds.
    pub start_boot_ns: u64,
    /// `task_struct.self_exec_id`: changes with every exec of the process.
    pub exec_id: u64,
    /// Process id (kernel: tgid) in the initial pid namespace.
    pub pid: u32,
    /// Thread id (kernel: pid) in the initial pid namespace.
    pub tid: u32,
    /// Uid that owns the socket (`sk->sk_uid`), in the initial user namespace.
    pub owner_uid: u32,
    /// Real uid of the task that called (`task->cred->uid`), in the initial user namespace.
    pub task_uid: u32,
    /// Name of the calling thread, NUL-terminated; bytes after the NUL may be stale.
    pub comm: [u8; 16],
    /// `KNOWN_*` bits: which of the fields above hold a value.
    pub known: u32,
    /// Zero.
    pub pad: u32,
}
pin_layout!(Identity, 56, {
    start_boot_ns: 0, exec_id: 8, pid: 16, tid: 20, owner_uid: 24, task_uid: 28, comm: 32, known: 48, pad: 52,
});

/// [`KIND_TCP_CONNECT`] and [`KIND_TCP_LISTEN`]: a socket was opened by a known task.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpOpen {
    pub header: Header,
    /// Socket cookie: unique per boot, never reused.
    pub cookie: u64,
    pub tuple: Tuple,
    pub identity: Identity,
}
pin_layout!(TcpOpen, 120, { header: 0, cookie: 16, tuple: 24, identity: 64 });

/// [`KIND_TCP_ESTABLISHED`] and [`KIND_TCP_ACCEPT`]: a handshake completed, possibly in softirq.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpReady {
    pub header: Header,
    pub cookie: u64,
    pub tuple: Tuple,
    /// As [`Identity::owner_uid`]; for an accepted socket the uid of the listening socket.
    pub owner_uid: u32,
    /// Smoothed round-trip time in microseconds; 0 when there is no sample yet.
    pub srtt_us: u32,
    /// [`KNOWN_OWNER`] or 0.
    pub known: u32,
    /// Zero.
    pub pad: u32,
}
pin_layout!(TcpReady, 80, { header: 0, cookie: 16, tuple: 24, owner_uid: 64, srtt_us: 68, known: 72, pad: 76 });

/// Set in [`TcpEnd::known`] when `error` was read from the socket (`sk->sk_err`).
pub const KNOWN_ERROR: u32 = 1 << 5;
/// Set in [`TcpEnd::known`] when `fin` was found out; without it the byte counts may be up to 2 too high.
pub const KNOWN_FIN: u32 = 1 << 6;

/// Set in [`TcpEnd::fin`] when the peer's FIN was received (it counts 1 in the kernel's `bytes_received`).
pub const FIN_RECEIVED: u16 = 1 << 0;
/// Set in [`TcpEnd::fin`] when the peer acknowledged our FIN (it counts 1 in the kernel's `bytes_acked`).
pub const FIN_ACKED: u16 = 1 << 1;

/// [`KIND_TCP_FAILED`] and [`KIND_TCP_CLOSE`]: the socket went to `TCP_CLOSE`, possibly in softirq.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpEnd {
    pub header: Header,
    pub cookie: u64,
    pub tuple: Tuple,
    /// `tcp_sock.bytes_received`: sequence space received in order, FIN included.
    pub bytes_received: u64,
    /// `tcp_sock.bytes_acked`: sequence space acknowledged by the peer, SYN of an active open and FIN included.
    pub bytes_acked: u64,
    /// TCP segments received, `tcp_sock.segs_in`.
    pub segs_in: u32,
    /// TCP segments sent, `tcp_sock.segs_out`.
    pub segs_out: u32,
    /// Smoothed round-trip time in microseconds; 0 when there never was a sample.
    pub srtt_us: u32,
    /// Segments retransmitted over the life of the socket, `tcp_sock.total_retrans`.
    pub retransmits: u32,
    /// As [`TcpReady::owner_uid`].
    pub owner_uid: u32,
    /// `sk->sk_err`, a positive errno or 0.
    pub error: u32,
    /// `KNOWN_*` bits.
    pub known: u32,
    /// State that was left, see [`super::tcp_state`].
    pub old_state: u16,
    /// `FIN_*` bits.
    pub fin: u16,
}
pin_layout!(TcpEnd, 112, {
    header: 0, cookie: 16, tuple: 24, bytes_received: 64, bytes_acked: 72, segs_in: 80, segs_out: 84, srtt_us: 88,
    retransmits: 92, owner_uid: 96, error: 100, known: 104, old_state: 108, fin: 110,
});

/// Set in a socket's number when it is not its cookie but one of the programs' own: the socket had no cookie yet, and
/// neither kprobes nor tracepoints can give it one.
pub const OWN_NUMBER: u64 = 1 << 63;

/// TCP sockets that are numbered at the same time, where that is needed: as many as `tracer` follows unless told otherwise.
pub const TCP_NUMBERS_MOST: u32 = 65_536;

/// What the programs at the tracepoint know of a TCP socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpNumber {
    /// Socket cookie, or a number with [`OWN_NUMBER`]: the same in all events of this socket. 0: not known.
    pub number: u64,
    /// 1: somebody connected to us.
    pub is_accepted: u64,
}
pin_layout!(TcpNumber, 16, { number: 0, is_accepted: 8 });
