//! What user space and the calibrating programs exchange, on kernels without BTF. Nothing of it is used once the
//! offsets are known.

use super::pin_layout;

/// Bytes of kernel memory that one look takes at most.
pub const PEEK_BYTES: usize = 512;
/// More than `struct sk_buff` has on any kernel (232 bytes on 5.10 and on 6.12), and than `struct msghdr` (96).
pub const FOUND_BYTES: usize = 256;
/// More than the fixed part of `struct skb_shared_info`; four parts of a message.
pub const BEHIND_BYTES: usize = 64;

/// One look at kernel memory, and who looked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    /// Address of the `task_struct` that ran the program.
    pub task: u64,
    /// `bpf_get_current_pid_tgid()`: thread id below, process id above, both as the initial namespace has them.
    pub pid_tgid: u64,
    /// Of `bpf_probe_read_kernel()`: 0 or a negative errno.
    pub result: i64,
    pub bytes: [u8; PEEK_BYTES],
}
pin_layout!(Peek, 536, { task: 0, pid_tgid: 8, result: 16, bytes: 24 });

/// What shall be met, written by user space, and what was met, written by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Wanted: the local port of a TCP socket, host byte order; 0: none.
    pub tcp_port: u32,
    /// Flags to set on that socket, `bpf_sock_ops_cb_flags`.
    pub cb_flags: u32,
    /// Flags that were found on the TCP socket later.
    pub found_flags: u32,
    /// Offset of a pointer in what is met, to follow it, e.g. of `sk_buff.head`; or [`super::OFFSET_UNKNOWN`].
    pub pointer: u32,
    /// Offset of a number, u32, that is added to the pointer, e.g. of `sk_buff.end`; or [`super::OFFSET_UNKNOWN`].
    pub distance: u32,
    pub pad: u32,
    /// Wanted: a packet or a message that this task sends; 0: none.
    pub task: u64,
    /// Address of the TCP socket (`struct sock`) that was met, or of the Unix socket (`struct socket`) that a message is sent
    /// at; 0: none yet.
    pub sk: u64,
    /// Its cookie.
    pub cookie: u64,
    /// Address of what was met; 0: nothing yet.
    pub found: u64,
    /// Of a packet its `struct sk_buff`, of a message its `struct msghdr`.
    pub bytes: [u8; FOUND_BYTES],
    /// What lies where `pointer` leads to, e.g. the `struct skb_shared_info`; else zeros.
    pub behind_bytes: [u8; BEHIND_BYTES],
}
pin_layout!(Meeting, 376, { tcp_port: 0, task: 24, sk: 32, found: 48, bytes: 56, behind_bytes: 312 });

impl Meeting {
    /// Nothing wanted, nothing met.
    pub const NONE: Self = Self {
        tcp_port: 0,
        cb_flags: 0,
        found_flags: 0,
        pointer: super::OFFSET_UNKNOWN,
        distance: super::OFFSET_UNKNOWN,
        pad: 0,
        task: 0,
        sk: 0,
        cookie: 0,
        found: 0,
        bytes: [0; FOUND_BYTES],
        behind_bytes: [0; BEHIND_BYTES],
    };
}
