//! Ways to see TCP connections, best first: `sock_ops`, then changes of state at a tracepoint, then only the kernel's list of
//! sockets. The result of load and attach decides.

use std::fs::File;

use aya::Ebpf;
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::programs::{CgroupAttachMode, ProgramError, RawTracePoint, SockOps};
use tracer_ebpf::abi::Offsets;

use super::attach::{AttachError, Settings, causes, refused};
use super::features::CgroupRoot;
use super::holders::{HookType, holder};
use super::hooks::HookKind;
use super::offsets::unknown;
use crate::record::{Method, RefusedTier};

pub const SOCK_OPS: &str = "sock_ops";
pub const STATES: &str = "inet_sock_set_state";
pub const SOCK_DIAG: &str = "sock_diag";

const SOCK_OPS_PROGRAM: &str = "tracer_sock_ops";
const STATES_PROGRAM: &str = "tracer_states";
/// For connections that were open before the start, beside `sock_ops`.
const SET_STATE_PROGRAM: &str = "tracer_set_state";
/// The programs of all ways.
pub const PROGRAMS: [&str; 3] = [SOCK_OPS_PROGRAM, SET_STATE_PROGRAM, STATES_PROGRAM];
/// The raw tracepoint of two of them.
const TRACEPOINT: &str = "inet_sock_set_state";

/// What changes of state do not tell.
const UNTOLD: &str = "the local port of a connection before it is established; a connection by TCP Fast Open that ends before \
                      its handshake is complete";
/// What the list of sockets does not tell.
const POLLED: &str = "connections that live between two looks at the list (--sample), failed ones, who opened them, how they \
                      ended, and what they moved since the last look";

/// How TCP is seen.
pub struct TcpWatch {
    /// The way in use.
    pub tier: &'static str,
    /// Better ways that were refused.
    pub refused: Vec<RefusedTier>,
    /// What the way in use cannot see.
    pub limits: Vec<String>,
}

impl TcpWatch {
    /// What the records call the way in use.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.tier {
            SOCK_OPS => Method::SockOps,
            STATES => Method::InetSockSetState,
            _ => Method::SockDiag,
        }
    }
}

/// Attaches a `sock_ops` program to the cgroup2 root.
pub fn attach_sock_ops(
    ebpf: &mut Ebpf,
    cgroup: &File,
    root: &CgroupRoot,
    settings: &Settings,
) -> Result<(), AttachError> {
    if !settings.hooks.allow(HookKind::SockOps) {
        return Err(AttachError::Forbidden);
    }
    let name = SOCK_OPS_PROGRAM;
    let program = ebpf.program_mut(name).ok_or(AttachError::Object(name))?;
    let program: &mut SockOps =
        program.try_into().map_err(|error| AttachError::Refused { program: name, error })?;
    program.load().map_err(|error| refused(name, error))?;
    // `Single` means flags 0 for a link, and a link always stands beside others (docs/decisions/0003-links.md).
    program.attach(cgroup, CgroupAttachMode::Single).map(drop).map_err(|error| AttachError::Attach {
        program: name,
        root: root.path.display().to_string(),
        error: holder(cgroup, HookType::SockOps).unwrap_or_else(|| causes(&error)),
    })
}

/// The second and the third way. `ebpf` has room for the numbers of sockets.
pub fn attach_without_sock_ops(
    ebpf: &mut Ebpf,
    why: &AttachError,
    settings: &Settings,
    offsets: &Offsets,
) -> TcpWatch {
    let refused_tier = |tier, error: &AttachError| RefusedTier { tier, reason: causes(error), remedy: None };
    let mut refused = vec![refused_tier(SOCK_OPS, why)];
    let states = match refuse_states(settings, offsets) {
        Some(error) => Err(error),
        None => attach_at_tracepoint(ebpf, STATES_PROGRAM).map(drop),
    };
    if let Err(error) = states {
        refused.push(refused_tier(STATES, &error));
        return TcpWatch { tier: SOCK_DIAG, refused, limits: vec![POLLED.to_owned()] };
    }
    TcpWatch { tier: STATES, refused, limits: vec![UNTOLD.to_owned()] }
}

/// Watches the ends of connections that no `sock_ops` program saw begin.
pub fn attach_set_state(ebpf: &mut Ebpf) -> Result<RawTracePointLinkId, AttachError> {
    attach_at_tracepoint(ebpf, SET_STATE_PROGRAM)
}

/// Ends [`attach_set_state`].
pub fn detach_set_state(ebpf: &mut Ebpf, link: RawTracePointLinkId) {
    if let Some(Ok::<&mut RawTracePoint, _>(program)) =
        ebpf.program_mut(SET_STATE_PROGRAM).map(TryInto::try_into)
    {
        // Fails only for a link that is not there.
        let _ = program.detach(link);
    }
}

fn attach_at_tracepoint(ebpf: &mut Ebpf, name: &'static str) -> Result<RawTracePointLinkId, AttachError> {
    let refused_attach = |error: ProgramError| AttachError::Refused { program: name, error };
    let program = ebpf.program_mut(name).ok_or(AttachError::Object(name))?;
    let program: &mut RawTracePoint = program.try_into().map_err(refused_attach)?;
    if program.fd().is_err() {
        program.load().map_err(|error| refused(name, error))?;
    }
    program.attach(TRACEPOINT).map_err(refused_attach)
}

/// Why changes of state are not watched at the tracepoint.
pub fn refuse_states(settings: &Settings, offsets: &Offsets) -> Option<AttachError> {
    if !settings.hooks.allow(HookKind::Tracepoint) {
        return Some(AttachError::Forbidden);
    }
    let needed = [
        ("sock.sk_cookie", offsets.sock_cookie),
        ("sock.sk_protocol", offsets.sock_protocol),
        ("sock.sk_family", offsets.sock_family),
        ("sock.sk_dport", offsets.sock_dport),
        ("sock.sk_num", offsets.sock_num),
        ("sock.sk_daddr", offsets.sock_daddr),
        ("sock.sk_rcv_saddr", offsets.sock_rcv_saddr),
        ("sock.sk_v6_daddr", offsets.sock_v6_daddr),
        ("sock.sk_v6_rcv_saddr", offsets.sock_v6_rcv_saddr),
        ("sock.sk_net", offsets.sock_net),
        ("net.ns.inum", offsets.net_inum),
        ("tcp_sock.bpf_sock_ops_cb_flags", offsets.tcp_cb_flags),
        ("tcp_sock.bytes_received", offsets.tcp_bytes_received),
        ("tcp_sock.bytes_acked", offsets.tcp_bytes_acked),
        ("tcp_sock.segs_in", offsets.tcp_segs_in),
        ("tcp_sock.segs_out", offsets.tcp_segs_out),
        ("tcp_sock.snd_una", offsets.tcp_snd_una),
        ("tcp_sock.srtt_us", offsets.tcp_srtt_us),
        ("tcp_sock.total_retrans", offsets.tcp_total_retrans),
    ];
    unknown(&needed).map(AttachError::Offsets)
}
