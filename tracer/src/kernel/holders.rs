//! Who holds a hook of the cgroup2 root: asked of the kernel when an attach was refused. Only looks.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use aya::programs::loaded_programs;

/// `BPF_PROG_QUERY`, include/uapi/linux/bpf.h.
const PROG_QUERY: libc::c_int = 16;
/// `BPF_F_ALLOW_MULTI`: programs of others may be attached beside these.
const ALLOW_MULTI: u32 = 2;
/// Programs that are listed; there is one where the hook is held exclusively.
const MOST: u32 = 64;

/// `enum bpf_attach_type`, include/uapi/linux/bpf.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum HookType {
    Ingress = 0,
    Egress = 1,
    SockOps = 3,
    PostBind4 = 12,
    PostBind6 = 13,
    SockRelease = 34,
}

/// The member `query` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    /// Out: how the programs were attached.
    attach_flags: u32,
    prog_ids: u64,
    /// In: room; out: programs.
    prog_cnt: u32,
    unused: [u32; 9],
}

/// Programs on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Nobody else may attach there.
    pub is_exclusive: bool,
    pub ids: Vec<u32>,
}

/// Asks which programs are attached to a hook of this cgroup.
///
/// # Errors
/// When the kernel does not know the hook, or does not answer us.
pub fn programs_on(cgroup: &File, hook: HookType) -> io::Result<Held> {
    let mut ids = [0u32; MOST as usize];
    let mut query = Query {
        target_fd: u32::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?,
        attach_type: hook as u32,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST,
        ..Query::default()
    };
    // SAFETY: the kernel reads and writes `query`, and writes at most `prog_cnt` ids to the array; both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_QUERY, &raw mut query, size_of::<Query>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let count = query.prog_cnt.min(MOST) as usize;
    Ok(Held {
        is_exclusive: count > 0 && query.attach_flags & ALLOW_MULTI == 0,
        ids: ids.get(..count).unwrap_or_default().to_vec(),
    })
}

/// Who holds the hook exclusively, for a person: `held by program 12 "egress"`. `None` when nobody does.
#[must_use]
pub fn holder(cgroup: &File, hook: HookType) -> Option<String> {
    let held = programs_on(cgroup, hook).ok().filter(|held| held.is_exclusive)?;
    let names: Vec<_> = held.ids.iter().map(|id| format!("program {id}{}", name_of(*id))).collect();
    Some(format!("held exclusively by {}", names.join(", ")))
}

fn name_of(id: u32) -> String {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let name = program.and_then(|program| program.name_as_str().map(str::to_owned));
    name.filter(|name| !name.is_empty()).map_or_else(String::new, |name| format!(" {name:?}"))
}
