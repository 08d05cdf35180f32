//! The plan: each capability with its ways (tiers), the one in use, and why not a better one.
//!
//! Decided by results, not by version numbers: offsets that were found, a load and an attach that went through. Goes
//! into the `start` record and `tracer doctor`.

use rustix::thread::CapabilitySet;
use tracer_ebpf::abi::OFFSET_UNKNOWN;

use super::attach::{AttachError, Attached};
use super::features::{Features, NEEDED_CAPABILITIES, OLDEST_KERNEL};
use super::names::NamesWatch;
use super::offsets::{Found, Source};
use super::tcp::{SOCK_DIAG, SOCK_OPS, TcpWatch};
use super::udp::UdpWatch;
use crate::record::{CapabilityObject, RefusedTier};

const SOCK_DIAG_AND_TRACEPOINT: &str = "sock_diag+inet_sock_set_state";
const TAG_MAP: &str = "netd_cookie_tag_map";
const BTF_OFFSET: &str = "btf_offset";
const CALIBRATED: &str = "calibrated_offset";
const TASK_UID: &str = "task_uid";
const TASK_FIELDS: &str = "task_fields";
const CALIBRATED_TASK_FIELDS: &str = "calibrated_task_fields";

/// How the result of the attach reads for the plan.
pub enum AttachResult<'a> {
    Attached {
        /// Why the ends of connections that were open before the start cannot be watched.
        ends_refused: Option<&'a AttachError>,
        tcp: &'a TcpWatch,
        udp: &'a UdpWatch,
        names: &'a NamesWatch,
        /// Where the programs find the kernel's fields.
        found: &'a Found,
    },
    Refused(&'a AttachError),
    /// Not even tried, with the reasons of [`obstacles`].
    NotTried(&'a [Obstacle]),
}

impl<'a> AttachResult<'a> {
    /// Attached, with what was refused beside it.
    #[must_use]
    pub fn of(attached: &'a Attached) -> Self {
        Self::Attached {
            ends_refused: attached.ends_refused.as_ref(),
            tcp: &attached.tcp,
            udp: &attached.udp,
            names: &attached.names,
            found: &attached.found,
        }
    }

    fn found(&self) -> Option<&'a Found> {
        match self {
            Self::Attached { found, .. } => Some(found),
            _ => None,
        }
    }
}

/// Something that must be mended before the work can start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The check of `tracer doctor` that it belongs to.
    pub check: &'static str,
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Everything that stands in the way, found without trying.
#[must_use]
pub fn obstacles(features: &Features) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if features.version.is_some_and(|version| version < OLDEST_KERNEL) {
        let (major, minor) = OLDEST_KERNEL;
        found.push(Obstacle {
            check: "kernel",
            what: format!("kernel {} is too old", features.kernel),
            remedy: format!("use a device or emulator image with kernel {major}.{minor} or newer"),
        });
    }
    let missing: Vec<_> = NEEDED_CAPABILITIES
        .iter()
        .filter(|(capability, _, _)| !features.has(*capability))
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect();
    if !missing.is_empty() {
        found.push(Obstacle {
            check: "capabilities",
            what: format!("missing {}", missing.join(", ")),
            remedy: privilege_remedy(),
        });
    }
    if let Err(reason) = &features.cgroup_root {
        found.push(Obstacle {
            check: "cgroup2",
            what: format!("no cgroup2 root: {reason}"),
            remedy:
                "mount it: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
                    .to_owned(),
        });
    }
    found
}

/// What to do when the kernel refuses although everything seems to be there.
#[must_use]
pub fn refusal_remedy(error: &AttachError, features: &Features) -> String {
    let all = NEEDED_CAPABILITIES.iter().all(|(capability, _, _)| features.has(*capability));
    // These kernels call a limit that is too low "not permitted".
    if let Some(bytes) = features.memlock.filter(|_| all && features.version < Some((5, 11))) {
        return format!(
            "raise the limit of locked memory, which is {bytes} bytes (ulimit -l unlimited, or give CAP_SYS_RESOURCE): \
             kernels before 5.11 count the maps of all processes of a user against it"
        );
    }
    if error.is_permission() && all {
        return "all capabilities are there, so a security module refuses: on Android run it from the root \
                manager's own domain (su, adb root) or with SELinux permissive; on Linux see the audit log"
            .to_owned();
    }
    if error.is_permission() {
        return privilege_remedy();
    }
    "run `tracer doctor` and report its output together with this message".to_owned()
}

fn privilege_remedy() -> String {
    "run it as root (sudo; on Android: adb root, or su) with a full capability set".to_owned()
}

/// The capabilities of this version with their tiers.
#[must_use]
pub fn capabilities(features: &Features, result: &AttachResult<'_>) -> Vec<CapabilityObject> {
    let mut all = vec![
        tcp(features, result, "tcp_connections"),
        tcp(features, result, "tcp_accepted"),
        udp(result),
        open_before_start(result),
        owner(features, result),
        process(features, result),
    ];
    if let AttachResult::Attached { names, .. } = result {
        all.extend(names.0.iter().cloned());
    }
    all
}

fn tcp(features: &Features, result: &AttachResult<'_>, capability: &'static str) -> CapabilityObject {
    let refused = match result {
        AttachResult::Attached { tcp, .. } => return attached_tcp(features, tcp, capability),
        AttachResult::Refused(error) => vec![RefusedTier {
            tier: SOCK_OPS,
            reason: super::attach::causes(*error),
            remedy: Some(refusal_remedy(error, features)),
        }],
        AttachResult::NotTried(obstacles) => obstacles
            .iter()
            .map(|o| RefusedTier { tier: SOCK_OPS, reason: o.what.clone(), remedy: Some(o.remedy.clone()) })
            .collect(),
    };
    CapabilityObject { capability, tier: None, refused, limits: Vec::new() }
}

fn attached_tcp(features: &Features, tcp: &TcpWatch, capability: &'static str) -> CapabilityObject {
    let TcpWatch { tier, refused, limits } = tcp;
    let mut limits = limits.clone();
    if let Ok(root) = &features.cgroup_root
        && *tier == SOCK_OPS
        && !root.is_whole
    {
        limits.push("processes outside this container's part of the cgroup hierarchy".to_owned());
    }
    CapabilityObject { capability, tier: Some(tier), refused: refused.clone(), limits }
}

fn udp(result: &AttachResult<'_>) -> CapabilityObject {
    let capability = "udp_flows";
    let AttachResult::Attached { udp, .. } = result else {
        return CapabilityObject { capability, tier: None, refused: Vec::new(), limits: Vec::new() };
    };
    let UdpWatch { tier, refused, limits, .. } = udp;
    CapabilityObject { capability, tier: *tier, refused: refused.clone(), limits: limits.clone() }
}

/// Connections that were open before the start: found in the kernel's list, their ends seen at a tracepoint.
fn open_before_start(result: &AttachResult<'_>) -> CapabilityObject {
    let capability = "open_before_start";
    let (tier, refused, limits) = match result {
        AttachResult::Attached { ends_refused: None, .. } => {
            (Some(SOCK_DIAG_AND_TRACEPOINT), Vec::new(), Vec::new())
        }
        AttachResult::Attached { ends_refused: Some(error), .. } => {
            let reason = super::attach::causes(*error);
            let refused = RefusedTier { tier: SOCK_DIAG_AND_TRACEPOINT, reason, remedy: None };
            let limit = "how they end, and what they moved since the last look at the list";
            (Some(SOCK_DIAG), vec![refused], vec![limit.to_owned()])
        }
        _ => (None, Vec::new(), Vec::new()),
    };
    CapabilityObject { capability, tier, refused, limits }
}

/// On whose behalf sockets work: netd's map, or why there is none.
#[must_use]
pub fn on_behalf_of(refused: Option<&String>) -> CapabilityObject {
    let refused = refused.map(|reason| RefusedTier { tier: TAG_MAP, reason: reason.clone(), remedy: None });
    CapabilityObject {
        capability: "on_behalf_of",
        tier: refused.is_none().then_some(TAG_MAP),
        refused: refused.into_iter().collect(),
        limits: Vec::new(),
    }
}

fn owner(features: &Features, result: &AttachResult<'_>) -> CapabilityObject {
    let capability = "socket_owner";
    let Some(found) = result.found() else {
        return CapabilityObject { capability, tier: None, refused: Vec::new(), limits: Vec::new() };
    };
    let offsets = found.offsets;
    let by_socket = offsets.sock_uid != OFFSET_UNKNOWN;
    let by_task = offsets.task_cred != OFFSET_UNKNOWN && offsets.cred_uid != OFFSET_UNKNOWN;
    let ways = match found.source {
        Source::Btf => BTF_OFFSET,
        Source::Calibration => CALIBRATED,
    };
    CapabilityObject {
        capability,
        tier: if by_socket { Some(ways) } else { by_task.then_some(TASK_UID) },
        refused: refused_offsets(features, found, by_socket, [BTF_OFFSET, CALIBRATED]),
        limits: if by_socket {
            Vec::new()
        } else {
            vec!["sockets made for another uid are credited to the task that connects".to_owned()]
        },
    }
}

fn process(features: &Features, result: &AttachResult<'_>) -> CapabilityObject {
    let capability = "process_identity";
    let Some(found) = result.found() else {
        return CapabilityObject { capability, tier: None, refused: Vec::new(), limits: Vec::new() };
    };
    let known = found.offsets.task_pid != OFFSET_UNKNOWN && found.offsets.task_comm != OFFSET_UNKNOWN;
    let way = match found.source {
        Source::Btf => TASK_FIELDS,
        Source::Calibration => CALIBRATED_TASK_FIELDS,
    };
    let mut limits = Vec::new();
    if !features.has(CapabilitySet::SYS_PTRACE) {
        limits.push("executables of other users' processes: CAP_SYS_PTRACE is missing".to_owned());
    }
    CapabilityObject {
        capability,
        tier: known.then_some(way),
        refused: refused_offsets(features, found, known, [TASK_FIELDS, CALIBRATED_TASK_FIELDS]),
        limits,
    }
}

/// Why fields are not read at offsets from BTF, or not at all.
fn refused_offsets(
    features: &Features,
    found: &Found,
    is_known: bool,
    [by_btf, by_calibration]: [&'static str; 2],
) -> Vec<RefusedTier> {
    let refused = |tier, reason| RefusedTier { tier, reason, remedy: None };
    let missing = || {
        let names = format!("not found: {}", found.missing.join(", "));
        found.reasons.iter().fold(names, |text, reason| format!("{text}; {reason}"))
    };
    match (found.source, is_known) {
        (Source::Btf, true) => Vec::new(),
        (Source::Btf, false) => vec![refused(by_btf, missing())],
        (Source::Calibration, _) => {
            let no_btf = features.btf.as_ref().err().cloned();
            let reason = no_btf.unwrap_or_else(|| "forbidden with --hooks".to_owned());
            let mut all = vec![refused(by_btf, format!("no kernel type information (BTF): {reason}"))];
            if !is_known {
                all.push(refused(by_calibration, missing()));
            }
            all
        }
    }
}
