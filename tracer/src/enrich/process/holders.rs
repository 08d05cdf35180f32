//! Which process holds a socket: `/proc/PID/fd`, for sockets that nobody was seen opening.
//!
//! Flows in: inodes of sockets. Flows out: the process that holds each. A socket that several processes hold (after a
//! fork) has several answers: nothing tells which of them uses it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use tracer_ebpf::abi::{Identity, KNOWN_TASK};

use super::procfs::Directory;
use crate::event::Candidate;

/// Of the processes that hold one socket, this many are named.
const MOST_CANDIDATES: usize = 8;

/// Who holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// One process alone: an identity without thread and start.
    One(Identity),
    /// Several: the first eight, by pid.
    Several(Arc<[Candidate]>),
}

/// Who holds each of the `wanted` sockets.
#[must_use]
pub fn holders(proc: &Path, wanted: &HashSet<u32>) -> HashMap<u32, Holder> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid {
            look(&entry.path(), pid, wanted, &mut found);
        }
    }
    let pids: HashSet<u32> = found.values().flatten().copied().collect();
    let names: HashMap<u32, [u8; 16]> =
        pids.into_iter().filter_map(|pid| Some((pid, name(proc, pid)?))).collect();
    found.into_iter().filter_map(|(inode, pids)| Some((inode, holder(&pids, &names)?))).collect()
}

/// A process that ended meanwhile has no name, and holds nothing.
fn holder(pids: &BTreeSet<u32>, names: &HashMap<u32, [u8; 16]>) -> Option<Holder> {
    let named = |pid: &u32| Some(Candidate { pid: *pid, comm: *names.get(pid)? });
    let all: Vec<Candidate> = pids.iter().filter_map(named).take(MOST_CANDIDATES).collect();
    match all.as_slice() {
        [] => None,
        [Candidate { pid, comm }] => {
            Some(Holder::One(Identity { pid: *pid, comm: *comm, known: KNOWN_TASK, ..Identity::default() }))
        }
        _ => Some(Holder::Several(all.into())),
    }
}

/// Adds what one process holds. A process that ends meanwhile, or may not be looked at, holds nothing.
fn look(process: &Path, pid: u32, wanted: &HashSet<u32>, found: &mut HashMap<u32, BTreeSet<u32>>) {
    for entry in std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        let Some(inode) = socket_inode(target.as_os_str().as_bytes()) else { continue };
        if wanted.contains(&inode) {
            // The same process may hold it twice (dup).
            found.entry(inode).or_default().insert(pid);
        }
    }
}

/// `socket:[12345]`.
fn socket_inode(target: &[u8]) -> Option<u32> {
    let number = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn name(proc: &Path, pid: u32) -> Option<[u8; 16]> {
    let name = Directory::open(proc, pid).ok()??.comm()?;
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().take(15).zip(name) {
        *to = from;
    }
    Some(comm)
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
        let Holder::One(identity) = found[&inode] else { panic!("{found:?}") };
        assert_eq!((identity.pid, identity.tid, identity.known), (std::process::id(), 0, KNOWN_TASK));
        assert!(holders(Path::new("/proc"), &HashSet::new()).is_empty());
    }

    #[test]
    fn of_many_holders_the_first_are_named_and_one_that_ended_is_none() {
        let names: HashMap<_, _> = (1..=20).map(|pid| (pid, [b'x'; 16])).collect();
        let of = |pids: &[u32]| holder(&pids.iter().copied().collect(), &names);
        let Some(Holder::Several(all)) = of(&(1..=20).rev().collect::<Vec<_>>()) else { panic!() };
        assert_eq!(all.iter().map(|one| one.pid).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(matches!(of(&[3, 99]), Some(Holder::One(identity)) if identity.pid == 3));
        assert_eq!(of(&[99]), None);
    }

    #[test]
    fn only_sockets_have_socket_inodes() {
        assert_eq!(socket_inode(b"socket:[42]"), Some(42));
        assert_eq!(socket_inode(b"socket:[42"), None);
        assert_eq!(socket_inode(b"pipe:[42]"), None);
        assert_eq!(socket_inode(b"socket:[99999999999]"), None);
    }
}
