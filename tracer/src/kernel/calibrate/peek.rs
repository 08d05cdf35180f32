//! Reads kernel memory through a program that is run by hand, and meets our own sockets and packets in the kernel.

use std::fs::File;
use std::mem::offset_of;
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, KProbe, Program, ProgramError, RawTracePoint, SockOps,
};
use aya::{Ebpf, EbpfLoader, RawTracePointRunOptions, TestRun};
use tracer_ebpf::abi::{BEHIND_BYTES, Config, FOUND_BYTES, Meeting, Offsets, Peek};

use super::search::long;
use crate::kernel::attach::{AttachError, OBJECT, causes, refused};
use crate::kernel::features::KPROBE_EVENTS;
use crate::kernel::holders::{HookType, holder};
use crate::kernel::hooks::{HookKind, Hooks};

const PEEKER: &str = "tracer_peek";
const MEET: &str = "tracer_meet";
const MEET_SEND: &str = "tracer_meet_send4";
const MEET_EGRESS: &str = "tracer_meet_egress";
const MEET_UNIX: &str = "tracer_meet_unix";

/// The loaded programs. Dropping it takes them away.
pub struct Peeker {
    ebpf: Ebpf,
    looked: Array<MapData, [u8; size_of::<Peek>()]>,
    meeting: Array<MapData, [u8; size_of::<Meeting>()]>,
}

/// A task, as the initial pid namespace numbers it.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub address: u64,
    pub tid: u32,
    pub pid: u32,
}

/// What was met.
pub struct Met {
    pub sk: u64,
    pub cookie: u64,
    pub found_flags: u32,
    pub found: u64,
    pub bytes: [u8; FOUND_BYTES],
    pub behind_bytes: [u8; BEHIND_BYTES],
}

impl Peeker {
    /// Loads the programs and attaches those that meet sockets and packets.
    ///
    /// # Errors
    /// What the kernel refused. That no packets can be met is the second value.
    pub fn start(cgroup: &File, hooks: &Hooks) -> Result<(Self, Result<(), String>), AttachError> {
        if !hooks.allow(HookKind::SockOps) {
            return Err(AttachError::Forbidden);
        }
        let config = Config { offsets: Offsets::UNKNOWN, ..Config::EMPTY };
        let mut ebpf = EbpfLoader::new()
            .btf(None)
            .override_global("CONFIG", config.as_bytes(), true)
            // Not used here: as small as they may be.
            .map_max_entries("UDP_FLOWS", 1)
            .map_max_entries("UDP_SOCKETS", 1)
            .load(OBJECT)
            .map_err(AttachError::Load)?;
        program::<RawTracePoint>(&mut ebpf, PEEKER)?.load().map_err(|error| refused(PEEKER, error))?;
        let meet = program::<SockOps>(&mut ebpf, MEET)?;
        meet.load().map_err(|error| refused(MEET, error))?;
        meet.attach(cgroup, CgroupAttachMode::Single).map_err(|error| refused(MEET, error))?;
        let packets = meet_packets(&mut ebpf, cgroup, hooks);
        let looked = map(&mut ebpf, "PEEK")?;
        let meeting = map(&mut ebpf, "MEETING")?;
        Ok((Self { ebpf, looked, meeting }, packets))
    }

    /// Attaches the program that meets messages at Unix sockets.
    ///
    /// # Errors
    /// Why kprobes cannot be used.
    pub fn meet_messages(&mut self, hooks: &Hooks) -> Result<(), String> {
        if !hooks.allow(HookKind::Kprobe) {
            return Err("kprobes are forbidden with --hooks".to_owned());
        }
        if !Path::new(KPROBE_EVENTS).exists() {
            return Err(format!("this kernel offers no kprobes ({KPROBE_EVENTS} is missing)"));
        }
        attach_probe(&mut self.ebpf, MEET_UNIX, "unix_stream_sendmsg").map_err(|error| causes(&error))
    }

    /// The task that calls.
    ///
    /// # Errors
    /// When the kernel does not run the program.
    pub fn task(&mut self) -> Result<Task, String> {
        let seen = self.look(0)?;
        let ids = long(&seen, offset(offset_of!(Peek, pid_tgid))).unwrap_or_default();
        Ok(Task {
            address: long(&seen, offset(offset_of!(Peek, task))).unwrap_or_default(),
            tid: u32::try_from(ids & u64::from(u32::MAX)).unwrap_or_default(),
            pid: u32::try_from(ids >> 32).unwrap_or_default(),
        })
    }

    /// Up to `length` bytes of kernel memory: less where the memory ends, none where it cannot be read.
    pub fn memory(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut memory = Vec::with_capacity(length);
        while memory.len() < length {
            let Some(at) = address.checked_add(memory.len() as u64) else { break };
            let Ok(seen) = self.look(at) else { break };
            if long(&seen, offset(offset_of!(Peek, result))) != Some(0) {
                break;
            }
            memory.extend_from_slice(seen.get(offset_of!(Peek, bytes)..).unwrap_or_default());
        }
        memory.truncate(length);
        memory
    }

    fn look(&mut self, address: u64) -> Result<[u8; size_of::<Peek>()], String> {
        let run = |error: &dyn std::fmt::Display| format!("the kernel did not run {PEEKER}: {error}");
        let peeker = program::<RawTracePoint>(&mut self.ebpf, PEEKER).map_err(|error| run(&error))?;
        let mut options = RawTracePointRunOptions::default();
        options.args[0] = address;
        peeker.test_run(options).map_err(|error| run(&error))?;
        self.looked.get(&0, 0).map_err(|error| run(&error))
    }

    /// Waits for a socket or a packet: see [`Meeting`].
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn meet(&mut self, wanted: &Meeting) -> Result<(), String> {
        let mut bytes = [0; size_of::<Meeting>()];
        for (at, word) in [
            (offset_of!(Meeting, tcp_port), wanted.tcp_port),
            (offset_of!(Meeting, cb_flags), wanted.cb_flags),
            (offset_of!(Meeting, pointer), wanted.pointer),
            (offset_of!(Meeting, distance), wanted.distance),
        ] {
            bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        }
        let at = offset_of!(Meeting, task);
        bytes[at..at + 8].copy_from_slice(&wanted.task.to_ne_bytes());
        self.meeting
            .set(0, bytes, 0)
            .map_err(|error| format!("the map MEETING could not be written: {error}"))
    }

    /// What was met since.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn met(&mut self) -> Result<Met, String> {
        let bytes =
            self.meeting.get(&0, 0).map_err(|error| format!("the map MEETING could not be read: {error}"))?;
        let long = |at| long(&bytes, offset(at)).unwrap_or_default();
        let mut met = Met {
            sk: long(offset_of!(Meeting, sk)),
            cookie: long(offset_of!(Meeting, cookie)),
            found_flags: super::search::word(&bytes, offset(offset_of!(Meeting, found_flags)))
                .unwrap_or_default(),
            found: long(offset_of!(Meeting, found)),
            bytes: [0; FOUND_BYTES],
            behind_bytes: [0; BEHIND_BYTES],
        };
        let (found, behind) = (offset_of!(Meeting, bytes), offset_of!(Meeting, behind_bytes));
        met.bytes.copy_from_slice(&bytes[found..found + FOUND_BYTES]);
        met.behind_bytes.copy_from_slice(&bytes[behind..behind + BEHIND_BYTES]);
        Ok(met)
    }
}

/// At the hook that the real programs will use: what a packet looks like differs a little from hook to hook.
fn meet_packets(ebpf: &mut Ebpf, cgroup: &File, hooks: &Hooks) -> Result<(), String> {
    let mut reasons = Vec::new();
    if hooks.allow(HookKind::Kprobe) && Path::new(KPROBE_EVENTS).exists() {
        match attach_probe(ebpf, MEET_SEND, "ip_send_skb") {
            Ok(()) => return Ok(()),
            Err(error) => reasons.push(causes(&error)),
        }
    }
    if hooks.allow(HookKind::Cgroup) {
        match attach_egress(ebpf, cgroup) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let held = holder(cgroup, HookType::Egress);
                reasons.push(held.unwrap_or_else(|| causes(&error)));
            }
        }
    }
    if reasons.is_empty() {
        reasons.push("neither kprobes nor cgroup hooks may be used".to_owned());
    }
    Err(reasons.join("; "))
}

fn attach_probe(ebpf: &mut Ebpf, name: &'static str, function: &str) -> Result<(), AttachError> {
    let program = program::<KProbe>(ebpf, name)?;
    program.load().map_err(|error| refused(name, error))?;
    program.attach(function, 0).map(drop).map_err(|error| refused(name, error))
}

fn attach_egress(ebpf: &mut Ebpf, cgroup: &File) -> Result<(), AttachError> {
    let program = program::<CgroupSkb>(ebpf, MEET_EGRESS)?;
    program.load().map_err(|error| refused(MEET_EGRESS, error))?;
    let attached = program.attach(cgroup, CgroupSkbAttachType::Egress, CgroupAttachMode::Single);
    attached.map(drop).map_err(|error| refused(MEET_EGRESS, error))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, AttachError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError> + 'a,
{
    let program = ebpf.program_mut(name).ok_or(AttachError::Object(name))?;
    program.try_into().map_err(|error| AttachError::Refused { program: name, error })
}

fn map<const N: usize>(ebpf: &mut Ebpf, name: &'static str) -> Result<Array<MapData, [u8; N]>, AttachError> {
    let map: Map = ebpf.take_map(name).ok_or(AttachError::Object(name))?;
    Array::try_from(map).map_err(|_| AttachError::Object(name))
}

/// Offsets in the shared structures are small.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
