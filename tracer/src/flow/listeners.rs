//! Who listens where: gives accepted connections their process. Pure and bounded.
//!
//! The handshake of an incoming connection completes in softirq, where the current task is anyone; the task that
//! called `listen()` is known from that call, and of sockets that listened before the start a process that holds them.

use std::net::{Ipv4Addr, Ipv6Addr};

use lru::LruCache;
use tracer_ebpf::abi::{Identity, KNOWN_OWNER};

use crate::event::Tuple;
use crate::record::ProcessSource;

/// Listening sockets remembered; a phone has some tens.
const CAPACITY: usize = 4096;

/// Network namespace, address and port.
type Place = (Option<u32>, Ipv6Addr, u16);

pub struct Listeners {
    by_place: LruCache<Place, (Identity, ProcessSource)>,
    /// UDP sockets from before the start, by cookie.
    udp: LruCache<u64, Identity>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { by_place: LruCache::unbounded(), udp: LruCache::unbounded() }
    }
}

impl Listeners {
    /// Remembers the task that listens on the local end of `tuple`. The latest one wins, but one that called `listen()`
    /// is not replaced by one that only holds the socket.
    pub fn add(&mut self, tuple: &Tuple, identity: Identity, source: ProcessSource) {
        let place = (tuple.netns, tuple.local, tuple.local_port);
        if source == ProcessSource::Holder && self.by_place.contains(&place) {
            return;
        }
        self.by_place.put(place, (identity, source));
        if self.by_place.len() > CAPACITY {
            self.by_place.pop_lru();
        }
    }

    /// Remembers the process that holds a UDP socket.
    pub fn add_udp(&mut self, cookie: u64, holder: Identity) {
        self.udp.put(cookie, holder);
        if self.udp.len() > CAPACITY {
            self.udp.pop_lru();
        }
    }

    /// The process that held this UDP socket of `owner` when the sockets were listed last.
    pub fn find_udp(&mut self, cookie: u64, owner: Option<u32>) -> Option<(Identity, ProcessSource)> {
        let holder = *self.udp.get(&cookie)?;
        is_of(&holder, owner).then_some((holder, ProcessSource::Holder))
    }

    /// The task that listens for an accepted connection whose socket belongs to `owner`: on its very address, or on
    /// "any". A listener of another owner is not it (its socket was closed and the port taken over).
    pub fn find(&mut self, tuple: &Tuple, owner: Option<u32>) -> Option<(Identity, ProcessSource)> {
        let any = [tuple.local, Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()];
        any.into_iter().find_map(|local| {
            let found = *self.by_place.get(&(tuple.netns, local, tuple.local_port))?;
            let (identity, _) = found;
            is_of(&identity, owner).then_some(found)
        })
    }
}

/// Whether a socket of `owner` can be the one that this task was seen with.
fn is_of(task: &Identity, owner: Option<u32>) -> bool {
    task.known & KNOWN_OWNER == 0 || owner == Some(task.owner_uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(local: &str, netns: u32) -> Tuple {
        Tuple {
            local: local.parse().unwrap(),
            remote: Ipv6Addr::UNSPECIFIED,
            local_port: 80,
            remote_port: 0,
            netns: Some(netns),
        }
    }

    fn task(pid: u32, owner_uid: u32) -> Identity {
        Identity { pid, owner_uid, known: KNOWN_OWNER, ..Identity::default() }
    }

    #[test]
    fn the_very_address_goes_before_any_and_namespaces_are_apart() {
        let mut listeners = Listeners::default();
        listeners.add(&tuple("::ffff:0.0.0.0", 1), task(10, 0), ProcessSource::Listen);
        listeners.add(&tuple("::ffff:10.0.0.2", 1), task(11, 0), ProcessSource::Listen);
        let found = |listeners: &mut Listeners, local, netns| {
            listeners.find(&tuple(local, netns), Some(0)).map(|(identity, _)| identity.pid)
        };
        assert_eq!(found(&mut listeners, "::ffff:10.0.0.2", 1), Some(11));
        assert_eq!(found(&mut listeners, "::ffff:10.0.0.9", 1), Some(10));
        assert_eq!(found(&mut listeners, "::ffff:10.0.0.2", 2), None);
    }

    #[test]
    fn a_listener_of_another_owner_is_not_named() {
        let mut listeners = Listeners::default();
        listeners.add(&tuple("::", 1), task(10, 1000), ProcessSource::Listen);
        assert_eq!(listeners.find(&tuple("::1", 1), Some(2000)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut listeners = Listeners::default();
        for port in 0..10_000u16 {
            listeners.add(&Tuple { local_port: port, ..tuple("::", 1) }, task(1, 0), ProcessSource::Listen);
        }
        assert_eq!(listeners.by_place.len(), CAPACITY);
    }

    #[test]
    fn who_called_listen_is_not_replaced_by_who_holds_the_socket() {
        let mut listeners = Listeners::default();
        let place = tuple("::", 1);
        listeners.add(&place, task(10, 0), ProcessSource::Holder);
        listeners.add(&place, task(11, 0), ProcessSource::Listen);
        listeners.add(&place, task(12, 0), ProcessSource::Holder);
        let (identity, source) = listeners.find(&tuple("::ffff:10.0.0.2", 1), Some(0)).unwrap();
        assert_eq!((identity.pid, source), (11, ProcessSource::Listen));
    }
}
