//! Loads the programs and attaches them; everything is gone when [`Attached`] is dropped or the process dies.
//!
//! The attachment is a cgroup *link* (kernel 5.7+): it belongs to a file descriptor of this process, stands beside
//! programs of others, and the kernel removes it at any exit, `kill -9` included.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::programs::{CgroupAttachMode, ProgramError, RawTracePoint, SockOps};
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;
use tracer_ebpf::abi::{Config, OFFSET_UNKNOWN, Offsets};

use super::calibrate::calibrate;
use super::counters::Counters;
use super::features::{CgroupRoot, Features};
use super::hooks::{HookKind, Hooks};
use super::missed::missed;
use super::offsets::Found;
use super::udp::{self, UdpWatch};
use crate::record::HookObject;

/// The object file with the programs, built by `build.rs`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-programs.o"));

const PROGRAM: &str = "tracer_sock_ops";
const SET_STATE: &str = "tracer_set_state";
/// The programs for TCP.
pub(super) const PROGRAMS: [&str; 2] = [PROGRAM, SET_STATE];
/// The raw tracepoint of [`SET_STATE`].
const SET_STATE_HOOK: &str = "inet_sock_set_state";

#[derive(Debug, Error)]
pub enum AttachError {
    #[error("the maps could not be made: {}", causes(.0))]
    Load(EbpfError),
    #[error("the kernel's verifier refused the program {program}; it said last: {last_words}")]
    Verify { program: &'static str, last_words: String },
    #[error("the kernel refused the program {program}: {}", causes(error))]
    Refused { program: &'static str, error: ProgramError },
    #[error("{program} could not be attached to the cgroup2 root {root}: {error}")]
    Attach { program: &'static str, root: String, error: String },
    #[error("the cgroup2 root {root} could not be opened: {error}")]
    Cgroup { root: String, error: io::Error },
    #[error("forbidden with --hooks")]
    Forbidden,
    #[error("fields of the kernel whose offsets are not known: {0}")]
    Offsets(String),
    #[error("the object file lacks {0}: it was not made from these sources")]
    Object(&'static str),
}

impl AttachError {
    /// Whether the kernel refused for lack of permission rather than for lack of a feature.
    #[must_use]
    pub fn is_permission(&self) -> bool {
        let mut source: Option<&(dyn std::error::Error + 'static)> = match self {
            Self::Refused { error, .. } => Some(error),
            Self::Load(error) => Some(error),
            // The verifier's verdict has the errno of a missing permission, but is none.
            Self::Verify { .. }
            | Self::Attach { .. }
            | Self::Cgroup { .. }
            | Self::Object(_)
            | Self::Offsets(_)
            | Self::Forbidden => None,
        };
        while let Some(error) = source {
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
                return true;
            }
            source = error.source();
        }
        false
    }
}

/// What the programs are told.
#[derive(Clone, Debug)]
pub struct Settings {
    pub include_loopback: bool,
    /// Bytes of the ring buffer, a power of two and a multiple of the page size.
    pub ring_size: u32,
    /// Which kinds of hooks may be used.
    pub hooks: Hooks,
}

/// Loaded and attached programs. Dropping it detaches them.
pub struct Attached {
    pub ring: RingBuf<MapData>,
    pub counters: Counters,
    /// Owns programs and links.
    ebpf: Option<Ebpf>,
    /// Present while the ends of connections that were open before the start are watched.
    set_state: Option<RawTracePointLinkId>,
    /// Why their ends cannot be watched.
    pub ends_refused: Option<AttachError>,
    pub udp: UdpWatch,
    /// Where the programs find the kernel's fields.
    pub found: Found,
}

impl Attached {
    /// Watches the ends of connections that were open before the start, unless the kernel refused that before. Where it
    /// does, they are noticed later, in the list of open sockets.
    pub fn watch_existing(&mut self) {
        if self.set_state.is_none() && self.ends_refused.is_none() {
            match self.ebpf.as_mut().map(attach_set_state) {
                Some(Ok(link)) => self.set_state = Some(link),
                Some(Err(error)) => self.ends_refused = Some(error),
                None => {}
            }
        }
    }

    /// What each program cost, where the kernel keeps statistics.
    #[must_use]
    pub fn costs(&self) -> Vec<HookObject> {
        let cost = |name| {
            let info = self.ebpf.as_ref()?.program(name)?.info().ok()?;
            let run_ns = u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX);
            (info.run_count() > 0).then_some(HookObject { name, runs: info.run_count(), run_ns })
        };
        PROGRAMS.into_iter().chain(udp::PROGRAMS).filter_map(cost).collect()
    }

    /// Runs that the kernel left out so far, by program.
    #[must_use]
    pub fn missed(&self) -> BTreeMap<&'static str, u64> {
        self.ebpf.as_ref().map(missed).unwrap_or_default()
    }

    /// Ends [`Self::watch_existing`]: the hook costs time at every state change of every socket.
    pub fn leave_existing(&mut self) {
        let Some(link) = self.set_state.take() else { return };
        let program = self.ebpf.as_mut().and_then(|ebpf| ebpf.program_mut(SET_STATE));
        if let Some(Ok::<&mut RawTracePoint, _>(program)) = program.map(TryInto::try_into) {
            // Fails only for a link that is not there.
            let _ = program.detach(link);
        }
    }

    /// Detaches the programs; ring and counters stay readable.
    pub fn detach(&mut self) {
        self.set_state = None;
        self.ebpf = None;
    }
}

fn attach_set_state(ebpf: &mut Ebpf) -> Result<RawTracePointLinkId, AttachError> {
    let refused_attach = |error: ProgramError| AttachError::Refused { program: SET_STATE, error };
    let program = ebpf.program_mut(SET_STATE).ok_or(AttachError::Object(SET_STATE))?;
    let program: &mut RawTracePoint = program.try_into().map_err(refused_attach)?;
    if program.fd().is_err() {
        program.load().map_err(|error| refused(SET_STATE, error))?;
    }
    program.attach(SET_STATE_HOOK).map_err(refused_attach)
}

/// Loads and attaches everything, the hook for connections that are open already included.
///
/// # Errors
/// Says which step the kernel refused, on what, and why.
pub fn attach(features: &Features, root: &CgroupRoot, settings: &Settings) -> Result<Attached, AttachError> {
    let found = match &features.btf {
        Ok(found) if settings.hooks.allow_btf() => found.clone(),
        _ => calibrate(root, &settings.hooks),
    };
    let mut ebpf = load(found.offsets, settings)?;
    let program = ebpf.program_mut(PROGRAM).ok_or(AttachError::Object(PROGRAM))?;
    let program: &mut SockOps =
        program.try_into().map_err(|error| AttachError::Refused { program: PROGRAM, error })?;
    program.load().map_err(|error| refused(PROGRAM, error))?;

    let path = root.path.display().to_string();
    let cgroup = File::open(&root.path).map_err(|error| AttachError::Cgroup { root: path.clone(), error })?;
    // `Single` means flags 0 for a link, and a link always stands beside others (docs/decisions/0003-links.md).
    program.attach(&cgroup, CgroupAttachMode::Single).map_err(|error| AttachError::Attach {
        program: PROGRAM,
        root: path,
        error: causes(&error),
    })?;
    let udp = udp::attach(&mut ebpf, &cgroup, settings, &found);
    #[cfg(feature = "kernel-log")]
    start_kernel_log(&mut ebpf);
    let ring = take(&mut ebpf, "EVENTS").and_then(|map| RingBuf::try_from(map).ok());
    let counters = take(&mut ebpf, "COUNTERS").and_then(|map| PerCpuArray::try_from(map).ok());
    let mut attached = Attached {
        ring: ring.ok_or(AttachError::Object("EVENTS"))?,
        counters: Counters::new(counters.ok_or(AttachError::Object("COUNTERS"))?),
        ebpf: Some(ebpf),
        set_state: None,
        ends_refused: refuse_ends(settings, &found.offsets),
        udp,
        found,
    };
    attached.watch_existing();
    Ok(attached)
}

/// Why the ends of connections that were open before the start are not watched.
fn refuse_ends(settings: &Settings, offsets: &Offsets) -> Option<AttachError> {
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

/// The names of those that are not known; nothing when all are.
pub(super) fn unknown(needed: &[(&str, u32)]) -> Option<String> {
    let names: Vec<_> =
        needed.iter().filter(|(_, offset)| *offset == OFFSET_UNKNOWN).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn load(offsets: Offsets, settings: &Settings) -> Result<Ebpf, AttachError> {
    let config = Config { offsets, include_loopback: u32::from(settings.include_loopback), boot_clock: 1 };
    EbpfLoader::new()
        // The programs have no relocations against kernel types, and the kernel's BTF would cost 30 MB to parse.
        .btf(None)
        .override_global("CONFIG", config.as_bytes(), true)
        .map_max_entries("EVENTS", settings.ring_size)
        .load(OBJECT)
        .map_err(AttachError::Load)
}

/// Tells a verdict of the verifier, which leaves a log, from a refusal before it.
pub(super) fn refused(program: &'static str, error: ProgramError) -> AttachError {
    if let ProgramError::LoadError { verifier_log, .. } = &error {
        let log = verifier_log.to_string();
        let is_verdict = |line: &&str| {
            !line.trim().is_empty()
                && !line.contains("processed ")
                && !line.contains("verification time")
                && !line.contains("stack depth")
        };
        if let Some(last) = log.lines().rfind(is_verdict) {
            return AttachError::Verify { program, last_words: last.trim().to_owned() };
        }
    }
    AttachError::Refused { program, error }
}

fn take(ebpf: &mut Ebpf, name: &str) -> Option<Map> {
    ebpf.take_map(name)
}

/// An error with all its causes in one line.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}
