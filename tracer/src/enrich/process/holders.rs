//! Which process holds a socket: `/proc/PID/fd`, for sockets that nobody was seen opening.
//!
//! Flows in: inodes of sockets. Flows out: the one process that holds each. A socket that several processes hold (after a
//! fork) has no answer here: nothing tells which of them uses it.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tracer_ebpf::abi::{Identity, KNOWN_TASK};

use super::procfs::Directory;

/// Who holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    One(u32),
    Several,
}

/// The process of each of the `wanted` sockets that one process alone holds, as an identity without thread and start.
#[must_use]
pub fn holders(proc: &Path, wanted: &HashSet<u32>) -> HashMap<u32, Identity> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid {
            look(&entry.path(), pid, wanted, &mut found);
        }
    }
    let identity = |pid: u32| Some((pid, identity(proc, pid)?));
    let pids: HashSet<u32> = found.values().filter_map(|holder| one(*holder)).collect();
    let identities: HashMap<u32, Identity> = pids.into_iter().filter_map(identity).collect();
    found.into_iter().filter_map(|(inode, holder)| Some((inode, *identities.get(&one(holder)?)?))).collect()
}

fn one(holder: Holder) -> Option<u32> {
    match holder {
        Holder::One(pid) => Some(pid),
        Holder::Several => None,
    }
}

/// Adds what one process holds. A process that ends meanwhile, or may not be looked at, holds nothing.
fn look(process: &Path, pid: u32, wanted: &HashSet<u32>, found: &mut HashMap<u32, Holder>) {
    for entry in std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let Some(inode) = socket_inode(target.as_os_str().as_bytes()) else { continue };
        if !wanted.contains(&inode) {
            continue;
        }
        // The same process may hold it twice (dup).
        found
            .entry(inode)
            .and_modify(|holder| {
                if *holder != Holder::One(pid) {
                    *holder = Holder::Several;
                }
            })
            .or_insert(Holder::One(pid));
    }
}

/// `socket:[12345]`.
fn socket_inode(target: &[u8]) -> Option<u32> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn identity(proc: &Path, pid: u32) -> Option<Identity> {
    let name = Directory::open(proc, pid).ok()??.comm()?;
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().take(15).zip(name) {
        *to = from;
    }
    Some(Identity { pid, comm, known: KNOWN_TASK, ..Identity::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_socket_of_this_process_is_found_and_one_that_nobody_wants_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = std::fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap();
        let inode = socket_inode(target.as_os_str().as_bytes()).unwrap();
        let found = holders(Path::new("/proc"), &HashSet::from([inode]));
        assert_eq!(found.len(), 1);
        let identity = found[&inode];
        assert_eq!((identity.pid, identity.tid, identity.known), (std::process::id(), 0, KNOWN_TASK));
        assert!(holders(Path::new("/proc"), &HashSet::new()).is_empty());
    }

    #[test]
    fn only_sockets_have_socket_inodes() {
        assert_eq!(socket_inode(b"socket:[42]"), Some(42));
        assert_eq!(socket_inode(b"socket:[42"), None);
        assert_eq!(socket_inode(b"pipe:[42]"), None);
        assert_eq!(socket_inode(b"socket:[99999999999]"), None);
    }
}
