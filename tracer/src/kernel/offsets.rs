//! Offsets of the kernel fields that the programs read, from the running kernel's BTF. Without BTF see
//! [`super::calibrate`].
//!
//! A field that cannot be found switches one value off and is named; it never stops the start.

use std::path::Path;

use tracer_ebpf::abi::{OFFSET_UNKNOWN, Offsets};

use super::btf::Btf;

/// Where every kernel with `CONFIG_DEBUG_INFO_BTF` shows its types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Largest blob that is read; today's kernels have 4–10 MiB.
const MAX_BTF: u64 = 64 << 20;

/// Where offsets come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Btf,
    Calibration,
}

/// What was found, and the names of what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub offsets: Offsets,
    pub source: Source,
    pub missing: Vec<&'static str>,
    /// Why it is missing, where that is known.
    pub reasons: Vec<String>,
}

/// The names of fields whose offsets are not known.
#[must_use]
pub fn missing(offsets: &Offsets) -> Vec<&'static str> {
    named(offsets).filter(|(_, offset)| *offset == OFFSET_UNKNOWN).map(|(name, _)| name).collect()
}

/// Takes what is known of `found` and not known yet.
pub fn add(offsets: &mut Offsets, found: &Offsets) {
    let mut found = *found;
    // Constants of the kernel, not offsets.
    let constants: [Slot; 2] = [|o| &mut o.iter_iovec, |o| &mut o.iter_ubuf];
    for slot in ROWS.iter().map(|(_, _, slot)| *slot).chain(constants) {
        if *slot(offsets) == OFFSET_UNKNOWN {
            *slot(offsets) = *slot(&mut found);
        }
    }
}

/// Every field with its offset.
pub fn named(offsets: &Offsets) -> impl Iterator<Item = (&'static str, u32)> + use<> {
    let mut offsets = *offsets;
    ROWS.iter().map(move |(name, _, slot)| (*name, *slot(&mut offsets)))
}

/// Reads and searches the kernel's BTF.
///
/// # Errors
/// A sentence that says why the BTF could not be used.
pub fn from_kernel(path: &Path) -> Result<Found, String> {
    let attempt = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let length = std::fs::metadata(path).map_err(|error| attempt(&error))?.len();
    if length > MAX_BTF {
        return Err(attempt(&format_args!("{length} bytes are more than any kernel's BTF")));
    }
    let data = std::fs::read(path).map_err(|error| attempt(&error))?;
    let btf = Btf::parse(data).map_err(|error| attempt(&error))?;
    Ok(search(&btf))
}

/// One row per field: its name, where it may be (first match wins), and the place for the result.
type Row<'a> = (&'static str, &'a [(&'a str, &'a [&'a str])], Slot);
type Slot = fn(&mut Offsets) -> &mut u32;

const ROWS: &[Row<'static>] = &[
    ("task_struct.pid", &[("task_struct", &["pid"])], |o| &mut o.task_pid),
    ("task_struct.comm", &[("task_struct", &["comm"])], |o| &mut o.task_comm),
    ("task_struct.cred", &[("task_struct", &["cred"])], |o| &mut o.task_cred),
    ("task_struct.group_leader", &[("task_struct", &["group_leader"])], |o| &mut o.task_group_leader),
    (
        "task_struct.start_boottime",
        // Renamed in 5.5.
        &[("task_struct", &["start_boottime"]), ("task_struct", &["real_start_time"])],
        |o| &mut o.task_start_boottime,
    ),
    ("task_struct.self_exec_id", &[("task_struct", &["self_exec_id"])], |o| &mut o.task_self_exec_id),
    ("cred.uid", &[("cred", &["uid"])], |o| &mut o.cred_uid),
    ("sock.sk_uid", &[("sock", &["sk_uid"])], |o| &mut o.sock_uid),
    ("sock.sk_err", &[("sock", &["sk_err"])], |o| &mut o.sock_err),
    ("sock.sk_flags", &[("sock", &["__sk_common", "skc_flags"])], |o| &mut o.sock_flags),
    ("sock.sk_net", &[("sock", &["__sk_common", "skc_net"])], |o| &mut o.sock_net),
    ("net.ns.inum", &[("net", &["ns", "inum"])], |o| &mut o.net_inum),
    ("tcp_sock.write_seq", &[("tcp_sock", &["write_seq"])], |o| &mut o.tcp_write_seq),
    ("sock.sk_cookie", &[("sock", &["__sk_common", "skc_cookie"])], |o| &mut o.sock_cookie),
    ("sock.sk_protocol", &[("sock", &["sk_protocol"])], |o| &mut o.sock_protocol),
    ("sock.sk_family", &[("sock", &["__sk_common", "skc_family"])], |o| &mut o.sock_family),
    ("sock.sk_dport", &[("sock", &["__sk_common", "skc_dport"])], |o| &mut o.sock_dport),
    ("sock.sk_num", &[("sock", &["__sk_common", "skc_num"])], |o| &mut o.sock_num),
    ("sock.sk_daddr", &[("sock", &["__sk_common", "skc_daddr"])], |o| &mut o.sock_daddr),
    ("sock.sk_rcv_saddr", &[("sock", &["__sk_common", "skc_rcv_saddr"])], |o| &mut o.sock_rcv_saddr),
    ("sock.sk_v6_daddr", &[("sock", &["__sk_common", "skc_v6_daddr"])], |o| &mut o.sock_v6_daddr),
    ("sock.sk_v6_rcv_saddr", &[("sock", &["__sk_common", "skc_v6_rcv_saddr"])], |o| &mut o.sock_v6_rcv_saddr),
    ("tcp_sock.bpf_sock_ops_cb_flags", &[("tcp_sock", &["bpf_sock_ops_cb_flags"])], |o| &mut o.tcp_cb_flags),
    ("tcp_sock.bytes_received", &[("tcp_sock", &["bytes_received"])], |o| &mut o.tcp_bytes_received),
    ("tcp_sock.bytes_acked", &[("tcp_sock", &["bytes_acked"])], |o| &mut o.tcp_bytes_acked),
    ("tcp_sock.segs_in", &[("tcp_sock", &["segs_in"])], |o| &mut o.tcp_segs_in),
    ("tcp_sock.segs_out", &[("tcp_sock", &["segs_out"])], |o| &mut o.tcp_segs_out),
    ("tcp_sock.srtt_us", &[("tcp_sock", &["srtt_us"])], |o| &mut o.tcp_srtt_us),
    ("tcp_sock.total_retrans", &[("tcp_sock", &["total_retrans"])], |o| &mut o.tcp_total_retrans),
    ("tcp_sock.snd_una", &[("tcp_sock", &["snd_una"])], |o| &mut o.tcp_snd_una),
    ("sock.sk_state", &[("sock", &["__sk_common", "skc_state"])], |o| &mut o.sock_state),
    ("sock.sk_socket", &[("sock", &["sk_socket"])], |o| &mut o.sock_socket),
    ("socket.file", &[("socket", &["file"])], |o| &mut o.socket_file),
    ("sk_buff.sk", &[("sk_buff", &["sk"])], |o| &mut o.skb_sk),
    ("sk_buff.head", &[("sk_buff", &["head"])], |o| &mut o.skb_head),
    ("sk_buff.end", &[("sk_buff", &["end"])], |o| &mut o.skb_end),
    ("sk_buff.network_header", &[("sk_buff", &["network_header"])], |o| &mut o.skb_network_header),
    ("sk_buff.transport_header", &[("sk_buff", &["transport_header"])], |o| &mut o.skb_transport_header),
    ("skb_shared_info.gso_segs", &[("skb_shared_info", &["gso_segs"])], |o| &mut o.shinfo_gso_segs),
    ("inet_sock.inet_sport", &[("inet_sock", &["inet_sport"])], |o| &mut o.inet_sport),
    ("sk_buff.tail", &[("sk_buff", &["tail"])], |o| &mut o.skb_tail),
    ("msghdr.msg_iter", &[("msghdr", &["msg_iter"])], |o| &mut o.msg_iter),
    // Renamed in 5.14.
    ("iov_iter.iter_type", &[("iov_iter", &["iter_type"]), ("iov_iter", &["type"])], |o| &mut o.iter_kind),
    ("iov_iter.iov_offset", &[("iov_iter", &["iov_offset"])], |o| &mut o.iter_offset),
    ("iov_iter.count", &[("iov_iter", &["count"])], |o| &mut o.iter_count),
    // Renamed in 6.4.
    ("iov_iter.iov", &[("iov_iter", &["__iov"]), ("iov_iter", &["iov"])], |o| &mut o.iter_iov),
    ("iov_iter.nr_segs", &[("iov_iter", &["nr_segs"])], |o| &mut o.iter_segments),
    ("socket.sk", &[("socket", &["sk"])], |o| &mut o.socket_sk),
    ("unix_sock.peer", &[("unix_sock", &["peer"])], |o| &mut o.unix_peer),
    ("unix_sock.addr", &[("unix_sock", &["addr"])], |o| &mut o.unix_addr),
    ("unix_address.name", &[("unix_address", &["name"])], |o| &mut o.unix_name),
];

/// The names of those that are not known; nothing when all are.
pub fn unknown(needed: &[(&str, u32)]) -> Option<String> {
    let names: Vec<_> =
        needed.iter().filter(|(_, offset)| *offset == OFFSET_UNKNOWN).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Searches one blob for every field.
#[must_use]
pub fn search(btf: &Btf) -> Found {
    let mut offsets = Offsets::UNKNOWN;
    for (_, places, slot) in ROWS {
        if let Some(member) = places.iter().find_map(|(structure, path)| btf.member(structure, path)) {
            *slot(&mut offsets) = member.offset;
        }
    }
    // The programs read pid and tgid as one: they must be neighbours.
    let tgid = btf.member("task_struct", &["tgid"]).map(|member| member.offset);
    if offsets.task_pid != OFFSET_UNKNOWN && tgid != offsets.task_pid.checked_add(4) {
        offsets.task_pid = OFFSET_UNKNOWN;
    }
    if let Some(size) = btf.member("task_struct", &["self_exec_id"]).and_then(|member| btf.size(member)) {
        offsets.exec_id_size = size;
    }
    let enumerator = |name| btf.enumerator(name).unwrap_or(OFFSET_UNKNOWN);
    (offsets.iter_iovec, offsets.iter_ubuf) = (enumerator("ITER_IOVEC"), enumerator("ITER_UBUF"));
    Found { offsets, source: Source::Btf, missing: missing(&offsets), reasons: Vec::new() }
}
