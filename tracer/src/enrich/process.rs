//! What `/proc` knows of the process behind an event: executable, command line, parent, start.
//!
//! Flows in: the [`Identity`] that the kernel side took in the caller's context. Flows out: a shared [`Process`],
//! cached and bounded. Read at once, because short-lived processes are gone a moment later; a process that is gone
//! keeps what the event carried. Must never mix two processes or two programs: an entry belongs to one (pid, start,
//! exec) and `/proc` is only believed when its start time is the event's.
//!
//! What changes a process without changing that key:
//! - An Android app is forked from a zygote and carries its command line until it is given its own, some time after
//!   the fork and without an exec. An entry whose command line is still such a placeholder is unsettled and read
//!   again with every event (a limited number of times: a real zygote never changes).
//! - A program that rewrites its own command line (`setproctitle`) is shown as it was when it was first seen.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lru::LruCache;
use tracer_ebpf::abi::{Identity, KNOWN_EXEC, KNOWN_START, KNOWN_TASK};

use crate::clock::BootTime;
use crate::text::{printable, printable_within};

mod cgroup;
mod holders;
mod procfs;

pub use cgroup::{Cgroup, Container};
pub use holders::{Holder, holders};
use procfs::{Directory, Stat};

/// Processes kept by default: about 1 MB, and more than a phone runs at a time.
pub const DEFAULT_CAPACITY: NonZeroUsize = match NonZeroUsize::new(4096) {
    Some(capacity) => capacity,
    None => NonZeroUsize::MIN,
};
/// Longest command line in the output, in bytes.
pub const MAX_COMMAND_LINE: usize = 1024;
/// Longest path of an executable, in bytes: PATH_MAX.
const MAX_EXECUTABLE: usize = 4096;
/// How often an unsettled entry is read again. An app is given its name within its first few connections; a zygote or
/// a program that only calls itself so must not cost a visit to `/proc` with every event for ever.
const MAX_REREADS: u8 = 64;

/// One program in one process. All text is in the printable form of [`crate::text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// In the initial pid namespace.
    pub pid: u32,
    /// Path as the kernel gives it: ` (deleted)` at the end says that the file is gone. Kernel threads have none.
    pub executable: Option<String>,
    /// Arguments joined with spaces, at most [`MAX_COMMAND_LINE`] bytes, `…` at the end when cut.
    pub command_line: Option<String>,
    pub parent: Option<Parent>,
    /// Control group and container; nothing when the process was gone.
    pub cgroup: Cgroup,
    /// Start of the process; exact from the kernel, else rounded down to a clock tick.
    pub start: Option<BootTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub pid: u32,
    /// Its `comm`; nothing when it ended meanwhile.
    pub name: Option<String>,
}

/// Name of the calling thread, of every event anew. Nothing when the event carries no task.
#[must_use]
pub fn thread_name(identity: &Identity) -> Option<Cow<'_, str>> {
    (identity.known & KNOWN_TASK != 0).then(|| name_of(&identity.comm))
}

/// A name as the kernel has it, for a record.
#[must_use]
pub fn name_of(comm: &[u8; 16]) -> Cow<'_, str> {
    printable(until_nul(comm))
}

/// `comm` up to its NUL; what stands behind it may be stale.
fn until_nul(comm: &[u8; 16]) -> &[u8] {
    comm.split(|&b| b == 0).next().unwrap_or_default()
}

/// Processes seen, the least recently used one given up first.
pub struct ProcessTable {
    /// Path of procfs, `/proc` but in tests.
    root: PathBuf,
    /// Nanoseconds of one tick of `/proc/PID/stat`.
    tick_ns: u64,
    cache: LruCache<Key, Cached>,
}

/// One program in one process: the start time tells pid reuse, the exec id tells exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    pid: u32,
    /// 0 when the kernel side could not tell.
    start_ns: u64,
    exec_id: u64,
}

struct Cached {
    process: Arc<Process>,
    /// Start as `/proc/PID/stat` had it; nothing when the process was gone.
    ticks: Option<u64>,
    /// Times that it may be read again although key and start still fit.
    rereads: u8,
}

impl ProcessTable {
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self::with_root(Path::new("/proc"), capacity)
    }

    /// As [`Self::new`], on another procfs.
    #[must_use]
    pub fn with_root(root: &Path, capacity: NonZeroUsize) -> Self {
        // 100 on every Linux that aya runs on; asked all the same.
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Self {
            root: root.to_owned(),
            tick_ns: 1_000_000_000 / ticks_per_second,
            cache: LruCache::sparse(capacity),
        }
    }

    /// The process that `identity` stands for, from the cache or from `/proc`. Nothing when the event carries no
    /// task.
    ///
    /// Without a start time in the event every call compares with `/proc/PID/stat`; without an exec id nothing is
    /// cached, because nothing would tell one program from the next.
    pub fn resolve(&mut self, identity: &Identity) -> Option<Arc<Process>> {
        if identity.known & KNOWN_TASK == 0 {
            return None;
        }
        let key = Key {
            pid: identity.pid,
            start_ns: known(identity, KNOWN_START, identity.start_boot_ns).unwrap_or_default(),
            exec_id: known(identity, KNOWN_EXEC, identity.exec_id).unwrap_or_default(),
        };
        let mut rereads = MAX_REREADS;
        if let Some(cached) = self.cache.get(&key) {
            let same = key.start_ns != 0 || same_start(&self.root, key.pid, cached.ticks);
            if same && cached.rereads == 0 {
                return Some(Arc::clone(&cached.process));
            }
            if same {
                rereads = cached.rereads - 1;
            }
        }
        Some(self.read(identity, key, rereads))
    }

    /// Number of processes in the cache.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    fn read(&mut self, identity: &Identity, key: Key, rereads: u8) -> Arc<Process> {
        let known_start = known(identity, KNOWN_START, identity.start_boot_ns);
        let found = match Directory::open(&self.root, identity.pid) {
            Ok(found) => found,
            // Out of file descriptors, or not allowed: the next event may have more luck.
            Err(_) => return Arc::new(bare(identity.pid, known_start)),
        };
        let reading = found.and_then(|directory| self.read_from(&directory, identity, known_start));
        let cached = match reading {
            Some(Reading { process, ticks, settled }) => Cached {
                process: Arc::new(process),
                ticks: Some(ticks),
                rereads: if settled { 0 } else { rereads },
            },
            None => Cached { process: Arc::new(bare(identity.pid, known_start)), ticks: None, rereads: 0 },
        };
        let process = Arc::clone(&cached.process);
        if identity.known & KNOWN_EXEC != 0 {
            self.cache.put(key, cached);
        }
        process
    }

    /// Nothing when the process has ended, or when its pid belongs to another one now.
    fn read_from(
        &self,
        directory: &Directory,
        identity: &Identity,
        start_ns: Option<u64>,
    ) -> Option<Reading> {
        let stat = directory.stat()?;
        // The kernel rounds down when it makes ticks of nanoseconds; one more for a different rounding elsewhere.
        if start_ns.is_some_and(|ns| stat.start_ticks.abs_diff(ns / self.tick_ns) > 1) {
            return None;
        }
        let (mut executable, mut arguments) = (directory.executable(), directory.arguments());
        if program_changed(identity, &stat, executable.as_deref(), arguments.as_deref()) {
            (executable, arguments) = (None, None);
        }
        let start = start_ns.unwrap_or_else(|| stat.start_ticks.saturating_mul(self.tick_ns));
        let process = Process {
            pid: identity.pid,
            executable: executable.map(|path| printable_within(&path, MAX_EXECUTABLE).into_owned()),
            command_line: arguments.as_deref().map(join),
            parent: self.parent(directory, &stat),
            cgroup: directory.cgroup().unwrap_or_default(),
            start: Some(BootTime(start)),
        };
        let settled = !arguments.as_deref().is_some_and(is_placeholder);
        Some(Reading { process, ticks: stat.start_ticks, settled })
    }

    fn parent(&self, directory: &Directory, stat: &Stat) -> Option<Parent> {
        if stat.parent == 0 {
            return None;
        }
        let name = Directory::open(&self.root, stat.parent).ok().flatten().and_then(|parent| parent.comm());
        // A parent that ends hands its children on before its pid is free: as long as this process still has the same
        // parent, the name was that parent's.
        let name = name.filter(|_| directory.stat().is_some_and(|again| again.parent == stat.parent));
        Some(Parent { pid: stat.parent, name: name.map(|name| printable(&name).into_owned()) })
    }
}

struct Reading {
    process: Process,
    ticks: u64,
    settled: bool,
}

fn known<T>(identity: &Identity, bit: u32, value: T) -> Option<T> {
    (identity.known & bit != 0).then_some(value)
}

/// What remains of a process that is gone.
fn bare(pid: u32, start_ns: Option<u64>) -> Process {
    let start = start_ns.map(BootTime);
    Process { pid, executable: None, command_line: None, parent: None, cgroup: Cgroup::default(), start }
}

/// Whether the pid still belongs to the process that was read. One that is gone is not the same: it may have been
/// another.
fn same_start(root: &Path, pid: u32, ticks: Option<u64>) -> bool {
    let now = Directory::open(root, pid).ok().flatten().and_then(|directory| directory.stat());
    ticks.is_some() && now.map(|stat| stat.start_ticks) == ticks
}

/// Whether the process has executed another program between the event and our look at it.
///
/// `/proc` does not show the exec id. But exec names the main thread after the new program: when that thread made the
/// event, its name has changed since, and the new name is that of the program that `/proc` shows, then executable and
/// arguments are not those of the event. (A thread may also rename itself, but hardly to exactly that.)
fn program_changed(
    identity: &Identity,
    stat: &Stat,
    executable: Option<&[u8]>,
    arguments: Option<&[u8]>,
) -> bool {
    if identity.tid != identity.pid || stat.comm == until_nul(&identity.comm) {
        return false;
    }
    // A script's name is not that of its interpreter; it stands among the first arguments.
    let arguments = arguments.into_iter().flat_map(|args| args.split(|&b| b == 0)).take(3);
    executable.into_iter().chain(arguments).any(|path| {
        let file = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        // comm holds 15 bytes.
        !file.is_empty() && file.get(..15).unwrap_or(file) == stat.comm
    })
}

/// Whether this is the command line of a process that Android has forked but not yet made an app of: the zygotes' own
/// (`zygote64`, `webview_zygote`, `com.app_zygote`), the pool's (`usap64`), and what `ActivityThread` sets until the
/// app is bound.
fn is_placeholder(arguments: &[u8]) -> bool {
    let first = arguments.split(|&b| b == 0).next().unwrap_or_default();
    let name = first.strip_suffix(b"64").or(first.strip_suffix(b"32")).unwrap_or(first);
    name.ends_with(b"zygote") || name == b"usap" || first == b"<pre-initialized>"
}

/// Arguments in one line. `arguments` ends without a NUL.
fn join(arguments: &[u8]) -> String {
    let joined: Vec<u8> = arguments.iter().map(|&b| if b == 0 { b' ' } else { b }).collect();
    printable_within(&joined, MAX_COMMAND_LINE).into_owned()
}

#[cfg(test)]
mod tests;
