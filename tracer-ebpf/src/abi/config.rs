//! What user space tells the programs before they are loaded (read-only data, constant for the verifier).

use super::pin_layout;

/// An [`Offsets`] field that could not be found: the program leaves the value out.
pub const OFFSET_UNKNOWN: u32 = u32::MAX;

/// Byte offsets into kernel structures of the running kernel, from its BTF. [`OFFSET_UNKNOWN`] when missing.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct.pid`; `tgid` follows it directly (checked by user space, else both are unknown).
    pub task_pid: u32,
    pub task_comm: u32,
    /// `task_struct.cred`, a pointer.
    pub task_cred: u32,
    /// `task_struct.group_leader`, a pointer.
    pub task_group_leader: u32,
    /// `task_struct.start_boottime` (`real_start_time` before 5.5), u64 nanoseconds.
    pub task_start_boottime: u32,
    /// `task_struct.self_exec_id`, u32 before 5.7, u64 later: see `exec_id_size`.
    pub task_self_exec_id: u32,
    /// Size of `self_exec_id` in bytes, 4 or 8.
    pub exec_id_size: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// `sock.sk_uid`.
    pub sock_uid: u32,
    /// `sock.sk_err`, int.
    pub sock_err: u32,
    /// `sock.sk_flags`, unsigned long.
    pub sock_flags: u32,
    /// `sock_common.skc_net`, a pointer.
    pub sock_net: u32,
    /// `net.ns.inum`, unsigned int.
    pub net_inum: u32,
    /// `tcp_sock.write_seq`, u32.
    pub tcp_write_seq: u32,
    /// `sock_common.skc_cookie`, u64; 0 until somebody asks for it.
    pub sock_cookie: u32,
    /// `sock.sk_protocol`, u16 (a bit field before 5.6).
    pub sock_protocol: u32,
    /// `sock_common.skc_family`, u16.
    pub sock_family: u32,
    /// `sock_common.skc_dport`, network byte order.
    pub sock_dport: u32,
    /// `sock_common.skc_num`, the local port in host byte order.
    pub sock_num: u32,
    /// `sock_common.skc_daddr`, network byte order.
    pub sock_daddr: u32,
    /// `sock_common.skc_rcv_saddr`, network byte order.
    pub sock_rcv_saddr: u32,
    /// `sock_common.skc_v6_daddr`.
    pub sock_v6_daddr: u32,
    /// `sock_common.skc_v6_rcv_saddr`.
    pub sock_v6_rcv_saddr: u32,
    /// `tcp_sock.bpf_sock_ops_cb_flags`, u8.
    pub tcp_cb_flags: u32,
    /// `tcp_sock.bytes_received`, u64.
    pub tcp_bytes_received: u32,
    /// `tcp_sock.bytes_acked`, u64.
    pub tcp_bytes_acked: u32,
    /// `tcp_sock.segs_in`, u32.
    pub tcp_segs_in: u32,
    /// `tcp_sock.segs_out`, u32.
    pub tcp_segs_out: u32,
    /// `tcp_sock.srtt_us`, u32, microseconds times eight.
    pub tcp_srtt_us: u32,
    /// `tcp_sock.total_retrans`, u32.
    pub tcp_total_retrans: u32,
    /// `tcp_sock.snd_una`, u32.
    pub tcp_snd_una: u32,
    /// `sock_common.skc_state`, u8.
    pub sock_state: u32,
    /// `sock.sk_socket`, a pointer.
    pub sock_socket: u32,
    /// `socket.file`, a pointer.
    pub socket_file: u32,
    /// `sk_buff.sk`, a pointer.
    pub skb_sk: u32,
    /// `sk_buff.head`, a pointer.
    pub skb_head: u32,
    /// `sk_buff.end`, u32: where `skb_shared_info` begins, from `head`.
    pub skb_end: u32,
    /// `sk_buff.network_header`, u16, from `head`.
    pub skb_network_header: u32,
    /// `sk_buff.transport_header`, u16, from `head`.
    pub skb_transport_header: u32,
    /// `skb_shared_info.gso_segs`, u16.
    pub shinfo_gso_segs: u32,
    /// `inet_sock.inet_sport`, the local port in network byte order: stays when `sock_num` is taken away.
    pub inet_sport: u32,
    /// `sk_buff.tail`, u32: where the linear part ends, from `head`.
    pub skb_tail: u32,
    /// `msghdr.msg_iter`, a `struct iov_iter`.
    pub msg_iter: u32,
    /// `iov_iter.iter_type` (`type` before 5.14), from the start of the iterator, as those that follow.
    pub iter_kind: u32,
    /// `iov_iter.iov_offset`, unsigned long.
    pub iter_offset: u32,
    /// `iov_iter.count`, unsigned long.
    pub iter_count: u32,
    /// `iov_iter.__iov` (`iov` before 6.4), a pointer; in the same place `ubuf`.
    pub iter_iov: u32,
    /// `iov_iter.nr_segs`, unsigned long.
    pub iter_segments: u32,
    /// `socket.sk`, a pointer.
    pub socket_sk: u32,
    /// `unix_sock.peer`, a pointer.
    pub unix_peer: u32,
    /// `unix_sock.addr`, a pointer.
    pub unix_addr: u32,
    /// `unix_address.name`, a `struct sockaddr_un`.
    pub unix_name: u32,
    /// Value of `ITER_IOVEC`.
    pub iter_iovec: u32,
    /// Value of `ITER_UBUF` (6.0 and later).
    pub iter_ubuf: u32,
}
pin_layout!(Offsets, 216, { task_pid: 0, cred_uid: 28, sock_uid: 32, tcp_snd_una: 120, inet_sport: 160 });

impl Offsets {
    pub const UNKNOWN: Self = Self {
        task_pid: OFFSET_UNKNOWN,
        task_comm: OFFSET_UNKNOWN,
        task_cred: OFFSET_UNKNOWN,
        task_group_leader: OFFSET_UNKNOWN,
        task_start_boottime: OFFSET_UNKNOWN,
        task_self_exec_id: OFFSET_UNKNOWN,
        exec_id_size: 8,
        cred_uid: OFFSET_UNKNOWN,
        sock_uid: OFFSET_UNKNOWN,
        sock_err: OFFSET_UNKNOWN,
        sock_flags: OFFSET_UNKNOWN,
        sock_net: OFFSET_UNKNOWN,
        net_inum: OFFSET_UNKNOWN,
        tcp_write_seq: OFFSET_UNKNOWN,
        sock_cookie: OFFSET_UNKNOWN,
        sock_protocol: OFFSET_UNKNOWN,
        sock_family: OFFSET_UNKNOWN,
        sock_dport: OFFSET_UNKNOWN,
        sock_num: OFFSET_UNKNOWN,
        sock_daddr: OFFSET_UNKNOWN,
        sock_rcv_saddr: OFFSET_UNKNOWN,
        sock_v6_daddr: OFFSET_UNKNOWN,
        sock_v6_rcv_saddr: OFFSET_UNKNOWN,
        tcp_cb_flags: OFFSET_UNKNOWN,
        tcp_bytes_received: OFFSET_UNKNOWN,
        tcp_bytes_acked: OFFSET_UNKNOWN,
        tcp_segs_in: OFFSET_UNKNOWN,
        tcp_segs_out: OFFSET_UNKNOWN,
        tcp_srtt_us: OFFSET_UNKNOWN,
        tcp_total_retrans: OFFSET_UNKNOWN,
        tcp_snd_una: OFFSET_UNKNOWN,
        sock_state: OFFSET_UNKNOWN,
        sock_socket: OFFSET_UNKNOWN,
        socket_file: OFFSET_UNKNOWN,
        skb_sk: OFFSET_UNKNOWN,
        skb_head: OFFSET_UNKNOWN,
        skb_end: OFFSET_UNKNOWN,
        skb_network_header: OFFSET_UNKNOWN,
        skb_transport_header: OFFSET_UNKNOWN,
        shinfo_gso_segs: OFFSET_UNKNOWN,
        inet_sport: OFFSET_UNKNOWN,
        skb_tail: OFFSET_UNKNOWN,
        msg_iter: OFFSET_UNKNOWN,
        iter_kind: OFFSET_UNKNOWN,
        iter_offset: OFFSET_UNKNOWN,
        iter_count: OFFSET_UNKNOWN,
        iter_iov: OFFSET_UNKNOWN,
        iter_segments: OFFSET_UNKNOWN,
        socket_sk: OFFSET_UNKNOWN,
        unix_peer: OFFSET_UNKNOWN,
        unix_addr: OFFSET_UNKNOWN,
        unix_name: OFFSET_UNKNOWN,
        iter_iovec: OFFSET_UNKNOWN,
        iter_ubuf: OFFSET_UNKNOWN,
    };
}

/// The programs' one global, `CONFIG` in `.rodata`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub offsets: Offsets,
    /// 1: report connections whose remote end is a loopback address; 0: count them only.
    pub include_loopback: u32,
    /// 1: `bpf_ktime_get_boot_ns` exists (kernel 5.8+); 0: `boot_ns` is `CLOCK_MONOTONIC`, suspend excluded.
    pub boot_clock: u32,
    /// 1: copy payload in which names stand; 0: none of these branches is loaded.
    pub names: u32,
}
pin_layout!(Config, 228, { offsets: 0, include_loopback: 216, boot_clock: 220, names: 224 });

impl Config {
    /// Nothing known, nothing wanted: what the object file carries until user space overrides it.
    pub const EMPTY: Self = Self { offsets: Offsets::UNKNOWN, include_loopback: 0, boot_clock: 1, names: 0 };

    /// The bytes to override the global with, in host byte order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: Config is repr(C), made of u32 only and without padding (pinned above): every byte is initialised.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(self).cast::<u8>(), size_of::<Self>()) }
    }
}
