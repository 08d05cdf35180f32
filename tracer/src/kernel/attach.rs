//! Loads the programs and attaches them; everything is gone when [`Attached`] is dropped or the process dies.
//!
//! The attachment is a cgroup *link* (kernel 5.7+): it belongs to a file descriptor of this process, stands beside
//! programs of others, and the kernel removes it at any exit, `kill -9` included.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::ProgramError;
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::{Ebpf, EbpfError, EbpfLoader};
use thiserror::Error;
use tracer_ebpf::abi::{Config, Offsets, TCP_NUMBERS_MOST};

use super::calibrate::calibrate;
use super::counters::Counters;
use super::features::{CgroupRoot, Features};
use super::hooks::{HookKind, Hooks};
use super::missed::missed;
use super::names::{self, NamesWatch};
use super::offsets::Found;
use super::tcp::{self, TcpWatch};
use super::udp::{self, UdpWatch};
use crate::record::HookObject;

/// The object file with the programs, built by `build.rs`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tracer-programs.o"));

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
    /// Copy payload in which names stand.
    pub names: bool,
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
    pub tcp: TcpWatch,
    pub udp: UdpWatch,
    pub names: NamesWatch,
    /// Where the programs find the kernel's fields.
    pub found: Found,
}

impl Attached {
    /// Watches the ends of connections that were open before the start, unless they are watched anyway, or the kernel
    /// refused that before. Where it does, they are noticed later, in the list of open sockets.
    pub fn watch_existing(&mut self) {
        if self.tcp.tier != tcp::STATES && self.set_state.is_none() && self.ends_refused.is_none() {
            match self.ebpf.as_mut().map(tcp::attach_set_state) {
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
        tcp::PROGRAMS.into_iter().chain(udp::PROGRAMS).chain(names::PROGRAMS).filter_map(cost).collect()
    }

    /// Runs that the kernel left out so far, by program.
    #[must_use]
    pub fn missed(&self) -> BTreeMap<&'static str, u64> {
        self.ebpf.as_ref().map(missed).unwrap_or_default()
    }

    /// Ends [`Self::watch_existing`]: the hook costs time at every state change of every socket.
    pub fn leave_existing(&mut self) {
        if let (Some(link), Some(ebpf)) = (self.set_state.take(), &mut self.ebpf) {
            tcp::detach_set_state(ebpf, link);
        }
    }

    /// Detaches the programs; ring and counters stay readable.
    pub fn detach(&mut self) {
        self.set_state = None;
        self.ebpf = None;
    }
}

/// Loads and attaches everything, the hook for connections that are open already included.
///
/// # Errors
/// Says which step the kernel refused, on what, and why.
pub fn attach(features: &Features, root: &CgroupRoot, settings: &Settings) -> Result<Attached, AttachError> {
    let found = match &features.btf {
        Ok(found) if settings.hooks.allow(HookKind::Btf) => found.clone(),
        _ => calibrate(root, &settings.hooks),
    };
    let cgroup = File::open(&root.path)
        .map_err(|error| AttachError::Cgroup { root: root.path.display().to_string(), error })?;
    let (mut ebpf, tcp) = attach_tcp(&cgroup, root, settings, &found)?;
    let udp = udp::attach(&mut ebpf, &cgroup, settings, &found);
    let names = names::attach(&mut ebpf, settings, &found.offsets, &udp);
    #[cfg(feature = "kernel-log")]
    start_kernel_log(&mut ebpf);
    let ring = take(&mut ebpf, "EVENTS").and_then(|map| RingBuf::try_from(map).ok());
    let counters = take(&mut ebpf, "COUNTERS").and_then(|map| PerCpuArray::try_from(map).ok());
    let mut attached = Attached {
        ring: ring.ok_or(AttachError::Object("EVENTS"))?,
        counters: Counters::new(counters.ok_or(AttachError::Object("COUNTERS"))?),
        ebpf: Some(ebpf),
        set_state: None,
        ends_refused: tcp::refuse_states(settings, &found.offsets),
        tcp,
        udp,
        names,
        found,
    };
    attached.watch_existing();
    Ok(attached)
}

fn attach_tcp(
    cgroup: &File,
    root: &CgroupRoot,
    settings: &Settings,
    found: &Found,
) -> Result<(Ebpf, TcpWatch), AttachError> {
    let mut ebpf = load(found.offsets, settings, 1)?;
    match tcp::attach_sock_ops(&mut ebpf, cgroup, root, settings) {
        Ok(()) => {
            let limits = Vec::new();
            Ok((ebpf, TcpWatch { tier: tcp::SOCK_OPS, refused: Vec::new(), limits }))
        }
        // Who lacks a permission is better served by the reason than by half of the connections.
        Err(error) if error.is_permission() => Err(error),
        Err(error) => {
            let mut ebpf = load(found.offsets, settings, TCP_NUMBERS_MOST)?;
            let watch = tcp::attach_without_sock_ops(&mut ebpf, &error, settings, &found.offsets);
            Ok((ebpf, watch))
        }
    }
}

/// `numbers`: TCP sockets that the programs can number.
fn load(offsets: Offsets, settings: &Settings, numbers: u32) -> Result<Ebpf, AttachError> {
    let config = Config {
        offsets,
        include_loopback: u32::from(settings.include_loopback),
        boot_clock: 1,
        names: u32::from(settings.names),
    };
    EbpfLoader::new()
        // The programs have no relocations against kernel types, and the kernel's BTF would cost 30 MB to parse.
        .btf(None)
        .override_global("CONFIG", config.as_bytes(), true)
        .map_max_entries("EVENTS", settings.ring_size)
        .map_max_entries("TCP_NUMBERS", numbers)
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
