//! Ways to see where names stand: DNS messages, the first bytes of connections, and what apps ask their resolver. The result
//! of load and attach decides.

use std::path::Path;

use aya::Ebpf;
use aya::programs::KProbe;
use tracer_ebpf::abi::Offsets;

use super::attach::{Settings, causes};
use super::features::KPROBE_EVENTS;
use super::hooks::HookKind;
use super::offsets::unknown;
use super::udp::{CGROUP, KPROBE, UdpWatch, with};
use crate::record::{CapabilityObject, RefusedTier};

const TCP_PROGRAM: &str = "tracer_tcp_send";
const UNIX_PROGRAM: &str = "tracer_unix_send";
const RECEIVE_PROGRAM: &str = "tracer_receive";
const TAKEN_PROGRAM: &str = "tracer_tcp_taken";
/// The programs that only names need.
pub const PROGRAMS: [&str; 4] = [TCP_PROGRAM, UNIX_PROGRAM, RECEIVE_PROGRAM, TAKEN_PROGRAM];

/// What is not seen where something cannot be attached.
const NO_STREAMS: &str = "DNS over TCP";
const NO_ANSWERS: &str =
    "answers of DNS over TCP, and those over UDP that lie in several pieces in the kernel";
const NO_QUIC: &str = "server names of QUIC";

/// How names are seen: nothing, when they are not wanted.
#[derive(Default)]
pub struct NamesWatch(pub Vec<CapabilityObject>);

/// Attaches the best ways that this kernel takes.
pub fn attach(ebpf: &mut Ebpf, settings: &Settings, offsets: &Offsets, udp: &UdpWatch) -> NamesWatch {
    if !settings.names {
        return NamesWatch::default();
    }
    let first_bytes = first_bytes(ebpf, settings, offsets, udp);
    let dns = dns(ebpf, settings, offsets, udp, first_bytes.tier.is_some());
    NamesWatch(vec![dns, first_bytes, resolver(ebpf, settings, offsets)])
}

fn dns(
    ebpf: &mut Ebpf,
    settings: &Settings,
    offsets: &Offsets,
    udp: &UdpWatch,
    sees_streams: bool,
) -> CapabilityObject {
    let sees_datagrams = udp.flows.is_some();
    let mut limits = Vec::new();
    if sees_datagrams && !sees_streams {
        limits.push(NO_STREAMS.to_owned());
    }
    if udp.tier == Some(KPROBE)
        && let Err(reason) = answers(ebpf, settings, offsets)
    {
        limits.push(format!("{NO_ANSWERS} ({reason})"));
    }
    CapabilityObject {
        capability: "dns",
        tier: udp.tier.filter(|_| sees_datagrams),
        refused: if sees_datagrams { Vec::new() } else { udp.refused.clone() },
        limits,
    }
}

/// A kernel function gets this name where the compiler has put what had it before into its callers.
const TAKEN: [&str; 2] = ["tcp_cleanup_rbuf", "__tcp_cleanup_rbuf"];

/// Answers that processes take from their sockets, by kprobes. Packets are seen without them.
fn answers(ebpf: &mut Ebpf, settings: &Settings, offsets: &Offsets) -> Result<(), String> {
    let receive = |function| Probe { program: RECEIVE_PROGRAM, function, needed: &[], takes_message: true };
    receive("udp_recvmsg").attach(ebpf, settings, offsets)?;
    // Without IPv6 it is not there.
    let _ = receive("udpv6_recvmsg").attach(ebpf, settings, offsets);
    receive("tcp_recvmsg").attach(ebpf, settings, offsets)?;
    let needed = [("sock.sk_dport", offsets.sock_dport)];
    let taken = TAKEN.map(|function| {
        Probe { program: TAKEN_PROGRAM, function, needed: &needed, takes_message: false }
            .attach(ebpf, settings, offsets)
    });
    // Each takes in only what the other one has not.
    match taken {
        [Err(first), Err(_)] => Err(first),
        _ => Ok(()),
    }
}

/// Of TCP: a kprobe on what a process sends, else the cgroup hook for packets, where UDP needs that, too.
fn first_bytes(ebpf: &mut Ebpf, settings: &Settings, offsets: &Offsets, udp: &UdpWatch) -> CapabilityObject {
    let needed = [
        ("sock.sk_cookie", offsets.sock_cookie),
        ("sock.sk_family", offsets.sock_family),
        ("sock.sk_dport", offsets.sock_dport),
        ("sock.sk_daddr", offsets.sock_daddr),
        ("sock.sk_v6_daddr", offsets.sock_v6_daddr),
        ("tcp_sock.bytes_acked", offsets.tcp_bytes_acked),
        ("tcp_sock.snd_una", offsets.tcp_snd_una),
        ("tcp_sock.write_seq", offsets.tcp_write_seq),
    ];
    let probe = Probe { program: TCP_PROGRAM, function: "tcp_sendmsg", needed: &needed, takes_message: true };
    let (tier, refused) = match probe.attach(ebpf, settings, offsets) {
        Ok(()) => (Some(KPROBE), Vec::new()),
        Err(reason) => {
            let mut refused = vec![RefusedTier { tier: KPROBE, reason, remedy: None }];
            let by_packets = udp.tier == Some(CGROUP);
            if !by_packets {
                let at_cgroup = |refused: &&RefusedTier| refused.tier == CGROUP;
                let reason = udp.refused.iter().find(at_cgroup).map_or_else(
                    || "not attached: datagrams are seen without it, and others may need it".to_owned(),
                    |refused| refused.reason.clone(),
                );
                refused.push(RefusedTier { tier: CGROUP, reason, remedy: None });
            }
            (by_packets.then_some(CGROUP), refused)
        }
    };
    let mut limits = Vec::new();
    if udp.flows.is_none() {
        limits.push(NO_QUIC.to_owned());
    }
    CapabilityObject { capability: "first_client_bytes", tier, refused, limits }
}

fn resolver(ebpf: &mut Ebpf, settings: &Settings, offsets: &Offsets) -> CapabilityObject {
    let needed = [
        ("socket.sk", offsets.socket_sk),
        ("unix_sock.peer", offsets.unix_peer),
        ("unix_sock.addr", offsets.unix_addr),
        ("unix_address.name", offsets.unix_name),
    ];
    let function = "unix_stream_sendmsg";
    let probe = Probe { program: UNIX_PROGRAM, function, needed: &needed, takes_message: true };
    let result = probe.attach(ebpf, settings, offsets);
    let refused = result.err().map(|reason| RefusedTier { tier: KPROBE, reason, remedy: None });
    CapabilityObject {
        capability: "resolver_requests",
        tier: refused.is_none().then_some(KPROBE),
        refused: refused.into_iter().collect(),
        limits: Vec::new(),
    }
}

/// A kprobe on a kernel function.
struct Probe<'a> {
    program: &'static str,
    function: &'static str,
    /// Beside the fields of the message.
    needed: &'a [(&'static str, u32)],
    /// Whether the function is called with a `struct msghdr` that the program reads.
    takes_message: bool,
}

impl Probe<'_> {
    fn attach(&self, ebpf: &mut Ebpf, settings: &Settings, offsets: &Offsets) -> Result<(), String> {
        if !settings.hooks.allow(HookKind::Kprobe) {
            return Err("forbidden with --hooks".to_owned());
        }
        let message = [
            ("msghdr.msg_iter", offsets.msg_iter),
            ("iov_iter.iter_type", offsets.iter_kind),
            ("iov_iter.iov_offset", offsets.iter_offset),
            ("iov_iter.count", offsets.iter_count),
            ("iov_iter.iov", offsets.iter_iov),
            ("iov_iter.nr_segs", offsets.iter_segments),
            ("ITER_IOVEC", offsets.iter_iovec),
        ];
        let needed = [self.needed, if self.takes_message { &message } else { &[] }].concat();
        // As for UDP: without it aya would go by way of tracefs, where a probe outlives its process.
        if !Path::new(KPROBE_EVENTS).exists() {
            return Err(format!("this kernel offers no kprobes ({KPROBE_EVENTS} is missing)"));
        }
        if let Some(names) = unknown(&needed) {
            return Err(format!("fields of the kernel whose offsets are not known: {names}"));
        }
        with::<KProbe>(ebpf, self.program, |program| {
            if program.fd().is_err() {
                program.load()?;
            }
            program.attach(self.function, 0).map(drop)
        })
        .map_err(|error| format!("{}: {}", self.function, causes(&error)))
    }
}
