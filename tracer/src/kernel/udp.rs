//! Ways to see UDP datagrams, best first: kprobes, then cgroup hooks where nobody holds them, then only the kernel's list
//! of sockets. The result of load and attach decides.

use std::fs::File;
use std::path::Path;

use aya::Ebpf;
use aya::maps::HashMap;
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, KProbe, Program, ProgramError,
};
use tracer_ebpf::abi::OFFSET_UNKNOWN;

use super::attach::{AttachError, Settings, causes, refused};
use super::features::KPROBE_EVENTS;
use super::holders::{HookType, holder};
use super::hooks::HookKind;
use super::offsets::{Found, unknown};
use super::tcp::SOCK_DIAG;
use crate::record::RefusedTier;
use crate::source::udp_flows::UdpFlows;

pub const KPROBE: &str = "kprobe";
pub const CGROUP: &str = "cgroup_skb";

/// The programs of both ways.
pub const PROGRAMS: [&str; 9] = [
    "tracer_send4",
    "tracer_send6",
    "tracer_consume",
    "tracer_destroy",
    "tracer_egress",
    "tracer_ingress",
    "tracer_post_bind4",
    "tracer_post_bind6",
    "tracer_sock_release",
];

/// What the list of sockets does not tell.
const POLLED: &str = "UDP sockets that are not connected, that live between two looks at the list (--sample), whether a \
                      connected one sends anything, and how much";

/// How UDP is seen.
#[derive(Default)]
pub struct UdpWatch {
    /// The way in use.
    pub tier: Option<&'static str>,
    /// Better ways that were refused.
    pub refused: Vec<RefusedTier>,
    /// What the way in use cannot see.
    pub limits: Vec<String>,
    /// What the flows have moved; where datagrams are seen.
    pub flows: Option<UdpFlows>,
}

/// A kernel function, the program for it, and what is lost without it; nothing: it is needed.
type Probe = (&'static str, &'static str, Option<&'static str>);

const PROBES: [Probe; 5] = [
    ("ip_send_skb", "tracer_send4", None),
    ("skb_consume_udp", "tracer_consume", None),
    ("udp_destroy_sock", "tracer_destroy", None),
    ("ip6_send_skb", "tracer_send6", Some("datagrams sent over IPv6")),
    ("udpv6_destroy_sock", "tracer_destroy", Some("the release of IPv6 sockets: their flows end by silence")),
];

/// As [`Probe`], on the cgroup2 root.
type CgroupHook = (HookType, &'static str, Option<&'static str>);

const CGROUP_HOOKS: [CgroupHook; 5] = [
    (HookType::Egress, "tracer_egress", None),
    (HookType::Ingress, "tracer_ingress", None),
    (
        HookType::SockRelease,
        "tracer_sock_release",
        Some("the release of sockets: their flows end by silence"),
    ),
    (HookType::PostBind4, "tracer_post_bind4", Some("which process receives unasked IPv4 datagrams")),
    (HookType::PostBind6, "tracer_post_bind6", Some("which process receives unasked IPv6 datagrams")),
];

/// Attaches the best way that this kernel takes.
pub fn attach(ebpf: &mut Ebpf, cgroup: &File, settings: &Settings, found: &Found) -> UdpWatch {
    let offsets = &found.offsets;
    let mut watch = UdpWatch::default();
    for (tier, kind) in [(KPROBE, HookKind::Kprobe), (CGROUP, HookKind::Cgroup)] {
        let result = match (lacks(kind, found), kind) {
            _ if !settings.hooks.allow(kind) => Err("forbidden with --hooks".to_owned()),
            (Some(reason), _) => Err(reason),
            (None, HookKind::Kprobe) => kprobes(ebpf),
            (None, _) => cgroup_hooks(ebpf, cgroup),
        };
        match result {
            Ok(limits) => {
                watch.tier = Some(tier);
                watch.limits = limits;
                break;
            }
            Err(reason) => {
                unload(ebpf);
                watch.refused.push(RefusedTier { tier, reason, remedy: None });
            }
        }
    }
    if watch.tier.is_some() {
        watch.flows = flows(ebpf);
        if offsets.shinfo_gso_segs == OFFSET_UNKNOWN || offsets.skb_end == OFFSET_UNKNOWN {
            watch.limits.push("how many datagrams a packet is cut into later: it counts as one".to_owned());
        }
    } else {
        watch.tier = Some(SOCK_DIAG);
        watch.limits.push(POLLED.to_owned());
    }
    watch
}

/// Why packets cannot be read.
fn lacks(kind: HookKind, found: &Found) -> Option<String> {
    let offsets = &found.offsets;
    let mut needed = vec![
        ("sock.sk_protocol", offsets.sock_protocol),
        ("sock.sk_state", offsets.sock_state),
        ("sock.sk_net", offsets.sock_net),
        ("net.ns.inum", offsets.net_inum),
        ("sk_buff.head", offsets.skb_head),
        ("sk_buff.network_header", offsets.skb_network_header),
        ("sk_buff.transport_header", offsets.skb_transport_header),
    ];
    if kind == HookKind::Kprobe {
        needed.push(("sk_buff.sk", offsets.skb_sk));
    }
    let names = unknown(&needed)?;
    let reasons = found.reasons.iter().map(|reason| format!("; {reason}")).collect::<String>();
    Some(format!("fields of the kernel whose offsets are not known: {names}{reasons}"))
}

fn flows(ebpf: &mut Ebpf) -> Option<UdpFlows> {
    let flows = HashMap::try_from(ebpf.take_map("UDP_FLOWS")?).ok()?;
    let sockets = HashMap::try_from(ebpf.take_map("UDP_SOCKETS")?).ok()?;
    Some(UdpFlows::new(flows, sockets))
}

/// Takes away what was loaded and attached of a way that did not work out.
fn unload(ebpf: &mut Ebpf) {
    for name in PROGRAMS {
        // Fails only for programs that were not loaded.
        let _ = match ebpf.program_mut(name) {
            Some(Program::KProbe(program)) => program.unload(),
            Some(Program::CgroupSkb(program)) => program.unload(),
            Some(Program::CgroupSock(program)) => program.unload(),
            _ => Ok(()),
        };
    }
}

/// What is not seen, or why it does not work.
fn kprobes(ebpf: &mut Ebpf) -> Result<Vec<String>, String> {
    // Without it aya would go by way of tracefs, where a probe outlives its process.
    if !Path::new(KPROBE_EVENTS).exists() {
        return Err(format!("this kernel offers no kprobes ({KPROBE_EVENTS} is missing)"));
    }
    let mut limits = Vec::new();
    for (function, name, limit) in PROBES {
        let result = with::<KProbe>(ebpf, name, |program| {
            if program.fd().is_err() {
                program.load()?;
            }
            program.attach(function, 0).map(drop)
        });
        match (result, limit) {
            (Ok(()), _) => {}
            (Err(error), None) => return Err(format!("{function}: {}", causes(&error))),
            (Err(error), Some(limit)) => limits.push(format!("{limit} ({function}: {})", causes(&error))),
        }
    }
    Ok(limits)
}

fn cgroup_hooks(ebpf: &mut Ebpf, cgroup: &File) -> Result<Vec<String>, String> {
    let mut limits = Vec::new();
    for (hook, name, limit) in CGROUP_HOOKS {
        // `Single` means flags 0 for a link, and a link always stands beside others (docs/decisions/0003-links.md).
        let mode = CgroupAttachMode::Single;
        let result = match hook {
            HookType::Egress | HookType::Ingress => with::<CgroupSkb>(ebpf, name, |program| {
                program.load()?;
                let direction = match hook {
                    HookType::Egress => CgroupSkbAttachType::Egress,
                    _ => CgroupSkbAttachType::Ingress,
                };
                program.attach(cgroup, direction, mode).map(drop)
            }),
            _ => with::<CgroupSock>(ebpf, name, |program| {
                program.load()?;
                program.attach(cgroup, mode).map(drop)
            }),
        };
        let Err(error) = result else { continue };
        let why = holder(cgroup, hook).unwrap_or_else(|| causes(&error));
        match limit {
            None => return Err(format!("{hook:?}: {why}")),
            Some(limit) => limits.push(format!("{limit} ({hook:?}: {why})")),
        }
    }
    Ok(limits)
}

pub(super) fn with<'a, P>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
    work: impl FnOnce(&'a mut P) -> Result<(), ProgramError>,
) -> Result<(), AttachError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError> + 'a,
{
    let program = ebpf.program_mut(name).ok_or(AttachError::Object(name))?;
    let program: &mut P =
        program.try_into().map_err(|error| AttachError::Refused { program: name, error })?;
    work(program).map_err(|error| refused(name, error))
}
