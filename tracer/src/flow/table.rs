//! The bounded table of open connections, by socket cookie. Pure.
//!
//! A connection whose beginning was not seen (its event was lost) still gets a flow from its later events, with what
//! they carry. When the table is full, the flow that nothing was heard of for the longest time makes room and is
//! handed out, so that the stream can say so.

use std::sync::Arc;

use lru::LruCache;
use tracer_ebpf::abi::{Identity, KNOWN_OWNER, KNOWN_TASK_UID};

use crate::clock::BootTime;
use crate::enrich::process::Process;
use crate::event::{Event, Tuple, What};
use crate::record::{Direction, Flag, OwnerSource, Places, WhoText};

use super::community_id::{self, Hash};
use super::listeners::Listeners;

/// Flows watched at the same time unless `--max-flows` says otherwise.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Connecting,
    Established,
    /// Its last event: it has left the table.
    Ended,
}

/// What is known about one connection.
#[derive(Clone, Debug)]
pub struct Flow {
    pub cookie: u64,
    pub tuple: Tuple,
    /// Unknown when neither beginning nor handshake was seen.
    pub direction: Option<Direction>,
    /// When it was asked for, or accepted. Unknown when that event was lost.
    pub opened: Option<BootTime>,
    /// The task that connected, or that listens.
    pub identity: Option<Identity>,
    /// Uid that owns the socket.
    pub owner: Option<u32>,
    /// Where `owner` comes from; absent with it.
    pub owner_source: Option<OwnerSource>,
    pub progress: Progress,
    pub community: Hash,
    /// Kept by `enrich` from the first record on: at the end the process is often gone.
    pub process: Option<Arc<Process>>,
    /// Where both ends are, rendered: kept from the first record on.
    pub places: Option<Places>,
    /// Whose connection it is, rendered: kept from the first record on.
    pub who: Option<Arc<WhoText>>,
    /// Kept by `judge` from the first record on; `None` before.
    pub flags: Option<Vec<Flag>>,
}

impl Flow {
    fn new(event: &Event, progress: Progress, direction: Option<Direction>) -> Self {
        let tuple = event.tuple;
        let local = (tuple.local_ip(), tuple.local_port).into();
        let remote = (tuple.remote_ip(), tuple.remote_port).into();
        Self {
            cookie: event.cookie,
            tuple,
            direction,
            opened: None,
            identity: None,
            owner: None,
            owner_source: None,
            progress,
            community: community_id::hash(local, remote, community_id::TCP),
            process: None,
            places: None,
            who: None,
            flags: None,
        }
    }

    /// Takes an owner from the socket itself, unless one is known.
    fn set_owner(&mut self, uid: Option<u32>) {
        if self.owner.is_none() && uid.is_some() {
            self.owner = uid;
            self.owner_source = Some(OwnerSource::SkUid);
        }
    }

    /// Takes the task that opened the socket, and from it the owner: the socket's own uid, else the task's.
    fn set_opener(&mut self, identity: &Identity) {
        self.identity = Some(*identity);
        self.set_owner((identity.known & KNOWN_OWNER != 0).then_some(identity.owner_uid));
        if self.owner.is_none() && identity.known & KNOWN_TASK_UID != 0 {
            self.owner = Some(identity.task_uid);
            self.owner_source = Some(OwnerSource::TaskUid);
        }
    }
}

/// Open connections by cookie.
pub struct FlowTable {
    flows: LruCache<u64, Flow>,
    capacity: usize,
    listeners: Listeners,
    /// The flow that the last event ended.
    ended: Option<Flow>,
    evicted: u64,
}

/// What one event did to the table.
pub struct Step<'a> {
    pub flow: &'a mut Flow,
    /// A flow that had to make room.
    pub evicted: Option<Flow>,
}

impl FlowTable {
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            flows: LruCache::unbounded(),
            capacity: capacity.max(1),
            listeners: Listeners::default(),
            ended: None,
            evicted: 0,
        }
    }

    /// Number of open flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    /// Flows that had to make room so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Takes in one event; `None` for events that belong to no connection (`listen`).
    pub fn track(&mut self, event: &Event) -> Option<Step<'_>> {
        match &event.what {
            What::Listen(identity) => {
                self.listeners.add(&event.tuple, *identity);
                None
            }
            What::Connect(identity) => {
                let mut flow = Flow::new(event, Progress::Connecting, Some(Direction::Egress));
                flow.opened = Some(event.at);
                flow.set_opener(identity);
                self.insert(flow)
            }
            What::Established(ready) => self.continue_or_begin(event, Direction::Egress, |flow| {
                flow.set_owner(ready.owner);
            }),
            What::Accept(ready) => {
                let mut flow = Flow::new(event, Progress::Established, Some(Direction::Ingress));
                flow.opened = Some(event.at);
                flow.set_owner(ready.owner);
                flow.identity = self.listeners.find(&event.tuple, ready.owner);
                self.insert(flow)
            }
            What::Failed(ending) => Some(self.end(event, Some(Direction::Egress), ending.owner)),
            What::Close(ending) => Some(self.end(event, None, ending.owner)),
        }
    }

    fn continue_or_begin(
        &mut self,
        event: &Event,
        direction: Direction,
        change: impl FnOnce(&mut Flow),
    ) -> Option<Step<'_>> {
        if self.flows.get(&event.cookie).is_none() {
            let mut flow = Flow::new(event, Progress::Established, Some(direction));
            change(&mut flow);
            return self.insert(flow);
        }
        let flow = self.flows.get_mut(&event.cookie)?;
        flow.progress = Progress::Established;
        // The local address of a socket bound to "any" is known only now.
        if flow.tuple != event.tuple {
            let known = Flow::new(event, flow.progress, flow.direction);
            flow.tuple = known.tuple;
            flow.community = known.community;
            flow.places = None;
        }
        change(flow);
        Some(Step { flow, evicted: None })
    }

    fn end(&mut self, event: &Event, direction: Option<Direction>, owner: Option<u32>) -> Step<'_> {
        let mut flow =
            self.flows.pop(&event.cookie).unwrap_or_else(|| Flow::new(event, Progress::Ended, direction));
        flow.progress = Progress::Ended;
        flow.set_owner(owner);
        Step { flow: self.ended.insert(flow), evicted: None }
    }

    fn insert(&mut self, flow: Flow) -> Option<Step<'_>> {
        let cookie = flow.cookie;
        let is_new = self.flows.put(cookie, flow).is_none();
        let evicted = (is_new && self.flows.len() > self.capacity).then(|| self.flows.pop_lru()).flatten();
        let evicted = evicted.map(|(_, flow)| flow);
        self.evicted += u64::from(evicted.is_some());
        Some(Step { flow: self.flows.get_mut(&cookie)?, evicted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Ending, Ready};

    fn event(cookie: u64, at: u64, what: What) -> Event {
        let tuple = Tuple {
            local: "::ffff:10.0.0.2".parse().unwrap(),
            remote: "::ffff:203.0.113.7".parse().unwrap(),
            local_port: 40000,
            remote_port: 443,
            netns: None,
        };
        Event { at: BootTime(at), cookie, tuple, what }
    }

    fn connect(cookie: u64, uid: u32) -> Event {
        let identity = Identity { owner_uid: uid, known: KNOWN_OWNER, ..Identity::default() };
        event(cookie, 10, What::Connect(identity))
    }

    #[test]
    fn a_connection_is_followed_from_connect_to_close() {
        let mut table = FlowTable::new(10);
        assert_eq!(table.track(&connect(1, 10123)).unwrap().flow.progress, Progress::Connecting);
        let step = table.track(&event(1, 20, What::Established(Ready::default()))).unwrap();
        assert_eq!((step.flow.progress, step.flow.opened), (Progress::Established, Some(BootTime(10))));
        let step = table.track(&event(1, 30, What::Close(Ending::default()))).unwrap();
        assert_eq!((step.flow.progress, step.flow.owner), (Progress::Ended, Some(10123)));
        assert!(table.is_empty());
    }

    #[test]
    fn a_lost_beginning_leaves_the_rest_visible_and_claims_nothing() {
        let mut table = FlowTable::new(10);
        let ending = Ending { owner: Some(7), ..Ending::default() };
        let step = table.track(&event(1, 30, What::Close(ending))).unwrap();
        assert_eq!((step.flow.direction, step.flow.opened, step.flow.owner), (None, None, Some(7)));
        let step = table.track(&event(2, 30, What::Failed(ending))).unwrap();
        assert_eq!(step.flow.direction, Some(Direction::Egress), "only outgoing connections fail");
        assert!(table.is_empty());
    }

    #[test]
    fn the_flow_that_was_silent_longest_makes_room_and_is_handed_out() {
        let mut table = FlowTable::new(2);
        table.track(&connect(1, 0));
        table.track(&connect(2, 0));
        table.track(&event(1, 20, What::Established(Ready::default())));
        let evicted = table.track(&connect(3, 0)).unwrap().evicted.unwrap();
        assert_eq!((evicted.cookie, table.len(), table.evicted()), (2, 2, 1));
    }

    #[test]
    fn a_socket_that_connects_again_starts_anew_without_an_eviction() {
        let mut table = FlowTable::new(1);
        table.track(&connect(1, 0));
        let step = table.track(&connect(1, 5)).unwrap();
        assert_eq!((step.flow.owner, step.evicted.is_none()), (Some(5), true));
    }

    #[test]
    fn an_accepted_connection_names_the_process_that_listens() {
        let mut table = FlowTable::new(10);
        let identity = Identity { pid: 77, owner_uid: 5, known: KNOWN_OWNER, ..Identity::default() };
        let mut listen = event(1, 1, What::Listen(identity));
        listen.tuple.local = "::".parse().unwrap();
        assert!(table.track(&listen).is_none());
        let ready = Ready { owner: Some(5), rtt_us: None };
        let step = table.track(&event(2, 9, What::Accept(ready))).unwrap();
        assert_eq!((step.flow.direction, step.flow.owner), (Some(Direction::Ingress), Some(5)));
        assert_eq!(step.flow.identity.unwrap().pid, 77);
    }
}
