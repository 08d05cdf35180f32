//! Holds the hooks of the cgroup2 root as Android 15's netd does: exclusively, so that nobody else may attach there.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::bpf::{attached, bpf, cgroup_root, id_of, load_idle};

/// `enum bpf_cmd`, include/uapi/linux/bpf.h.
const PROG_ATTACH: i32 = 8;
const PROG_DETACH: i32 = 9;

/// `enum bpf_prog_type`.
const CGROUP_SKB: u32 = 8;
const CGROUP_SOCK: u32 = 9;
const CGROUP_SOCK_ADDR: u32 = 18;
const CGROUP_SOCKOPT: u32 = 25;

/// Name, `enum bpf_attach_type` and program type of every hook that netd takes on Android 15 (AOSP packages/modules/
/// Connectivity, netd/BpfHandler.cpp).
pub const HOOKS: [(&str, u32, u32); 14] = [
    ("ingress", 0, CGROUP_SKB),
    ("egress", 1, CGROUP_SKB),
    ("sock_create", 2, CGROUP_SOCK),
    ("bind4", 8, CGROUP_SOCK_ADDR),
    ("bind6", 9, CGROUP_SOCK_ADDR),
    ("connect4", 10, CGROUP_SOCK_ADDR),
    ("connect6", 11, CGROUP_SOCK_ADDR),
    ("sendmsg4", 14, CGROUP_SOCK_ADDR),
    ("sendmsg6", 15, CGROUP_SOCK_ADDR),
    ("recvmsg4", 19, CGROUP_SOCK_ADDR),
    ("recvmsg6", 20, CGROUP_SOCK_ADDR),
    ("getsockopt", 21, CGROUP_SOCKOPT),
    ("setsockopt", 22, CGROUP_SOCKOPT),
    ("sock_release", 34, CGROUP_SOCK),
];

/// The held hooks; let go when it is dropped.
pub struct Netd {
    root: File,
    held: Vec<(u32, OwnedFd)>,
}

impl Netd {
    /// Takes every hook.
    ///
    /// # Errors
    /// Names the first hook that could not be taken; what was taken before is let go.
    pub fn hold() -> Result<Self> {
        // Kernels before 5.11 count the maps of all root's processes against this limit; Android's is far from 64 KiB. Later
        // ones do not care, and may refuse.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
        let mut netd = Self { root: cgroup_root()?, held: Vec::new() };
        for (name, hook, program_type) in HOOKS {
            // Programs for packets may be loaded without saying for which direction.
            let program = load_idle(program_type, if program_type == CGROUP_SKB { 0 } else { hook })
                .with_context(|| format!("load a program for {name}"))?;
            netd.change(PROG_ATTACH, hook, &program).with_context(|| format!("hold {name}"))?;
            netd.held.push((hook, program));
        }
        Ok(netd)
    }

    /// Whether every hook has its program, and nothing else.
    pub fn holds_everything(&self) -> Result<bool> {
        for (hook, program) in &self.held {
            if attached(*hook)? != [id_of(program)?] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn change(&self, command: i32, hook: u32, program: &OwnedFd) -> Result<()> {
        let mut attributes = [0; 32];
        attributes[0] = u32::try_from(self.root.as_raw_fd())?;
        attributes[1] = u32::try_from(program.as_raw_fd())?;
        attributes[2] = hook;
        // Flags 0: exclusively.
        bpf(command, &mut attributes)?;
        Ok(())
    }
}

impl Drop for Netd {
    fn drop(&mut self) {
        for (hook, program) in &self.held {
            let _ = self.change(PROG_DETACH, *hook, program);
        }
    }
}
