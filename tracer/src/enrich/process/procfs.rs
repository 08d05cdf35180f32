//! Bounded reads below one `/proc/PID`.
//!
//! The directory is opened once and everything is read through it: the kernel ties it to the process, so that after
//! its end every read fails, even when the pid belongs to another process by then.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat, readlinkat};
use rustix::io::{Errno, read};

use super::cgroup::Cgroup;

/// Enough for the longest `stat` line: 52 numbers of up to 20 digits and the name.
const STAT_BUFFER: usize = 2048;
/// More than [`super::MAX_COMMAND_LINE`], so that a longer command line is seen to be cut.
const ARGUMENTS_BUFFER: usize = 2 * super::MAX_COMMAND_LINE;
/// Kernel workers have names longer than the 16 bytes of others.
const COMM_BUFFER: usize = 128;

/// Some ten hierarchies with paths of up to 200 bytes; of one that is longer, the end is not seen.
const CGROUP_BUFFER: usize = 4096;

/// `/proc/PID` of one process.
pub struct Directory(OwnedFd);

/// The fields of interest of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
pub struct Stat {
    /// Name of the main thread.
    pub comm: Vec<u8>,
    /// Parent's pid; 0 for none.
    pub parent: u32,
    /// Start since boot on `CLOCK_BOOTTIME`, in clock ticks, rounded down.
    pub start_ticks: u64,
}

impl Directory {
    /// Nothing when there is no such process.
    ///
    /// # Errors
    /// When it cannot be told, e.g. for want of file descriptors.
    pub fn open(root: &Path, pid: u32) -> Result<Option<Self>, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(rustix::fs::CWD, root.join(pid.to_string()), flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn stat(&self) -> Option<Stat> {
        let mut buffer = [0; STAT_BUFFER];
        parse_stat(self.file("stat", &mut buffer)?)
    }

    /// Name of the main thread.
    pub fn comm(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; COMM_BUFFER];
        let comm = self.file("comm", &mut buffer)?;
        Some(comm.strip_suffix(b"\n").unwrap_or(comm).to_vec())
    }

    /// Path of the executable; kernel threads and processes that end have none.
    pub fn executable(&self) -> Option<Vec<u8>> {
        let path = readlinkat(&self.0, "exe", Vec::new()).ok()?.into_bytes();
        (!path.is_empty()).then_some(path)
    }

    /// Arguments with a NUL between them; nothing for kernel threads and processes that end. A process that renamed
    /// itself leaves NULs behind: they are cut off.
    pub fn arguments(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; ARGUMENTS_BUFFER];
        let bytes = self.file("cmdline", &mut buffer)?;
        let end = bytes.iter().rposition(|&b| b != 0)? + 1;
        bytes.get(..end).map(<[u8]>::to_vec)
    }

    /// Its control groups.
    pub fn cgroup(&self) -> Option<Cgroup> {
        let mut buffer = [0; CGROUP_BUFFER];
        self.file("cgroup", &mut buffer).map(Cgroup::parse)
    }

    /// The first bytes of a file: as many as `buffer` holds.
    fn file<'b>(&self, name: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(&self.0, name, flags, Mode::empty()).ok()?;
        // The kernel makes these files whole for one read: less than asked for is the end.
        let filled = rustix::io::retry_on_intr(|| read(&fd, &mut *buffer)).ok()?;
        buffer.get(..filled)
    }
}

/// `pid (comm) state ppid …`: comm may itself hold spaces, parentheses and line breaks, so the last `)` counts.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|&b| b == b'(')?;
    let close = bytes.iter().rposition(|&b| b == b')')?;
    let comm = bytes.get(open + 1..close)?.to_vec();
    // From field 3, the state, on; field 4 is the parent, field 22 the start.
    let mut fields = std::str::from_utf8(bytes.get(close + 1..)?).ok()?.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(22 - 5)?.parse().ok()?;
    Some(Stat { comm, parent, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_looks_like() {
        let tail = "S 42 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 165759 3133440 388 18446744073709551615";
        for name in ["bash", "a b", ") S 1 (", "x\n) R 7 7 7", ""] {
            let stat = parse_stat(format!("7 ({name}) {tail}").as_bytes()).unwrap();
            assert_eq!(stat, Stat { comm: name.into(), parent: 42, start_ticks: 165_759 }, "{name:?}");
        }
    }

    #[test]
    fn a_cut_or_foreign_stat_is_no_stat() {
        for text in ["", "7", "7 (x", "7 (x) S", ") S 1 (", "7 (x) S 42 1 1 0 -1 0 0 0", "7 (x) S -1 0"] {
            assert_eq!(parse_stat(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn our_own_start_is_not_in_the_future() {
        let us = Directory::open(Path::new("/proc"), std::process::id()).unwrap().unwrap();
        let stat = us.stat().unwrap();
        let now = crate::clock::Clock::boot().0;
        assert!(stat.start_ticks <= now / (1_000_000_000 / rustix::param::clock_ticks_per_second()));
        assert!(stat.start_ticks > 0);
    }
}
