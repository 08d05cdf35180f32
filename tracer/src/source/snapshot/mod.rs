//! Sockets that are open now, of every network namespace that a process lives in.
//!
//! Flows in: the kernel's lists ([`sock_diag`]) and `/proc/*/ns/net`. Flows out: [`Snapshot`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tracer_ebpf::abi::{Identity, KNOWN_OWNER, tcp_state};

use crate::clock::{BootTime, Clock};
use crate::enrich::process::{Holder, holders};
use crate::event::{Counters, Event, Existing, FlowKey, Tuple, What};
use crate::flow::end::direction_of;
use crate::record::{Direction, Transport};

pub mod sock_diag;

use sock_diag::DumpError;

/// One open socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub cookie: u64,
    pub transport: Transport,
    /// As [`tcp_state`] numbers it.
    pub state: u16,
    pub tuple: Tuple,
    /// Uid that owns it; unknown once the process has closed it.
    pub owner: Option<u32>,
    /// As in `socket:[N]` below `/proc/PID/fd`; none once the process has closed it.
    pub inode: Option<u32>,
    /// TCP only.
    pub counters: Option<Counters>,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub sockets: Vec<Socket>,
    /// Inodes of the network namespaces that were looked at.
    pub namespaces: HashSet<u32>,
    /// When each of these was.
    read: HashMap<u32, BootTime>,
    /// What could not be looked at, in a sentence.
    pub failure: Option<String>,
}

impl Snapshot {
    /// When this socket was looked at: its figures are of then.
    #[must_use]
    pub fn read_at(&self, socket: &Socket) -> Option<BootTime> {
        self.read.get(&socket.tuple.netns?).copied()
    }
}

/// Lists the sockets of every network namespace that a process lives in.
#[must_use]
pub fn take() -> Snapshot {
    // In a thread of its own: it moves from namespace to namespace and ends.
    let walk = std::thread::Builder::new()
        .name("snapshot".to_owned())
        .spawn(|| walk(namespaces(Path::new("/proc"))));
    let failed = |why: String| Snapshot { failure: Some(why), ..Snapshot::default() };
    match walk {
        Ok(thread) => thread.join().unwrap_or_else(|_| failed("the snapshot thread panicked".to_owned())),
        Err(error) => failed(format!("could not start a thread for the snapshot: {error}")),
    }
}

fn walk(namespaces: BTreeMap<u32, File>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let all = namespaces.len();
    let mut first_failure = None;
    for (inode, namespace) in namespaces {
        // To get here took its time, and on a slow machine much of it.
        let now = Clock::boot();
        match look(inode, &namespace) {
            Ok(sockets) => {
                snapshot.sockets.extend(sockets);
                snapshot.namespaces.insert(inode);
                snapshot.read.insert(inode, now);
            }
            Err(error) => _ = first_failure.get_or_insert_with(|| format!("{inode}: {error}")),
        }
    }
    snapshot.failure = first_failure.map(|first| {
        let failed = all - snapshot.namespaces.len();
        format!("the open sockets of {failed} of {all} network namespaces could not be listed: {first}")
    });
    snapshot
}

fn look(inode: u32, namespace: &File) -> Result<Vec<Socket>, DumpError> {
    // Not needed, and not always allowed, for the namespace that we are in.
    if own_namespace() != Some(inode) {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|error| DumpError::Io("enter it", error.into()))?;
    }
    sock_diag::dump(Some(inode))
}

fn own_namespace() -> Option<u32> {
    inode_of(&File::open("/proc/thread-self/ns/net").ok()?)
}

fn inode_of(file: &File) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    u32::try_from(file.metadata().ok()?.ino()).ok()
}

/// One open file for each network namespace, by its inode. Processes that end meanwhile, or may not be looked at, are
/// left out.
fn namespaces(proc: &Path) -> BTreeMap<u32, File> {
    let mut found = BTreeMap::new();
    let mut add = |path: &Path| {
        if let Ok(file) = File::open(path)
            && let Some(inode) = inode_of(&file)
        {
            found.entry(inode).or_insert(file);
        }
    };
    add(&proc.join("thread-self/ns/net"));
    for entry in std::fs::read_dir(proc).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            add(&entry.path().join("ns/net"));
        }
    }
    found
}

impl Socket {
    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey::new(self.cookie, self.transport, &self.tuple)
    }

    /// Whether it is connected to this machine itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.tuple.remote_ip().is_loopback()
    }

    /// Whether it is a TCP socket that does not only wait for connections.
    #[must_use]
    pub fn is_tcp_connection(&self) -> bool {
        self.transport == Transport::Tcp && !self.is_listening()
    }

    /// Whether it is connected to nobody: it waits for connections, or for datagrams of anybody.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        match self.transport {
            Transport::Tcp => self.state == tcp_state::LISTEN,
            Transport::Udp => self.state != tcp_state::ESTABLISHED,
        }
    }

    /// What the list tells of it, as an event.
    #[must_use]
    pub fn event(&self, at: BootTime, what: What) -> Event {
        Event { at, cookie: self.cookie, transport: self.transport, tuple: self.tuple, what }
    }
}

/// Events of open sockets: listeners first, because they tell which connections came in. Looks up which process holds
/// each. `at` is the time of the snapshot.
#[must_use]
pub fn events(sockets: &[&Socket], at: BootTime) -> Vec<Event> {
    let inodes = sockets.iter().filter_map(|socket| socket.inode).collect();
    events_with(sockets, &holders(Path::new("/proc"), &inodes), at)
}

fn events_with(sockets: &[&Socket], holders: &HashMap<u32, Holder>, at: BootTime) -> Vec<Event> {
    let mut listening = HashSet::new();
    let mut events = Vec::new();
    let holder = |socket: &Socket| {
        let Holder::One(identity) = holders.get(&socket.inode?)? else { return None };
        let owner = socket.owner.map(|uid| (uid, KNOWN_OWNER));
        let (owner_uid, known) = owner.unwrap_or_default();
        Some(Identity { owner_uid, known: identity.known | known, ..*identity })
    };
    let candidates = |socket: &Socket| match holders.get(&socket.inode?)? {
        Holder::Several(candidates) => Some(Arc::clone(candidates)),
        Holder::One(_) => None,
    };
    for socket in sockets.iter().filter(|socket| socket.is_listening()) {
        listening.insert((socket.transport, socket.tuple.netns, socket.tuple.local_port));
        let existing = Existing { owner: socket.owner, holder: holder(socket), ..Existing::default() };
        events.push(socket.event(at, What::Listening(Box::new(existing))));
    }
    for socket in sockets.iter().filter(|socket| !socket.is_listening()) {
        let is_inbound = listening.contains(&(socket.transport, socket.tuple.netns, socket.tuple.local_port));
        let direction = match (socket.transport, socket.state) {
            (Transport::Tcp, tcp_state::SYN_SENT) => Some(Direction::Egress),
            _ => socket.counters.as_ref().and_then(direction_of),
        };
        let existing = Existing {
            owner: socket.owner,
            holder: holder(socket),
            candidates: candidates(socket),
            direction: direction.or(is_inbound.then_some(Direction::Ingress)),
            is_established: socket.state != tcp_state::SYN_SENT,
            counters: socket.counters,
        };
        events.push(socket.event(at, What::Existing(Box::new(existing))));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(cookie: u64, state: u16, local_port: u16, inode: Option<u32>) -> Socket {
        let tuple = Tuple {
            local: "::ffff:10.0.0.2".parse().unwrap(),
            remote: "::ffff:203.0.113.7".parse().unwrap(),
            local_port,
            remote_port: 40000,
            netns: Some(1),
        };
        let owner = inode.map(|_| 10123);
        Socket { cookie, transport: Transport::Tcp, state, tuple, owner, inode, counters: None }
    }

    #[test]
    fn listeners_come_first_and_tell_which_connections_came_in() {
        let (accepted, outgoing) =
            (socket(1, tcp_state::ESTABLISHED, 443, Some(5)), socket(2, tcp_state::ESTABLISHED, 9, None));
        let (listener, opening) =
            (socket(3, tcp_state::LISTEN, 443, Some(6)), socket(4, tcp_state::SYN_SENT, 443, None));
        let holder = Identity { pid: 77, known: KNOWN_OWNER, ..Identity::default() };
        let holders = HashMap::from([(5, Holder::One(holder)), (6, Holder::One(holder))]);
        let events = events_with(&[&accepted, &outgoing, &listener, &opening], &holders, BootTime(9));
        let cookies: Vec<_> = events.iter().map(|event| event.cookie).collect();
        assert_eq!(cookies, [3, 1, 2, 4]);
        assert!(
            matches!(&events[0].what, What::Listening(socket) if socket.holder.unwrap().owner_uid == 10123)
        );
        let existing = |index: usize| match &events[index].what {
            What::Existing(existing) => existing,
            _ => panic!("{:?}", events[index]),
        };
        assert_eq!((existing(1).direction, existing(1).holder.unwrap().pid), (Some(Direction::Ingress), 77));
        assert_eq!((existing(2).direction, existing(2).owner), (None, None), "nothing tells");
        assert_eq!((existing(3).direction, existing(3).is_established), (Some(Direction::Egress), false));
    }

    #[test]
    fn this_thread_lives_in_a_namespace_that_is_found() {
        let own = own_namespace().unwrap();
        assert!(namespaces(Path::new("/proc")).contains_key(&own));
        assert!(take().namespaces.contains(&own));
    }
}
