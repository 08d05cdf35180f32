//! The bounded table of open connections: of TCP by socket cookie, of UDP by cookie and remote end. Pure.
//!
//! A connection whose beginning was not seen (its event was lost) still gets a flow from its later events, with what
//! they carry. When the table is full, the flow that nothing was heard of for the longest time makes room and is
//! handed out, so that the stream can say so.

use std::collections::{BTreeSet, HashMap, HashSet};

use lru::LruCache;

use crate::clock::BootTime;
use crate::event::{Counters, Datagrams, Event, FlowKey, LastDatagrams, Tuple, What};
use crate::record::{Direction, Method, OwnerSource, ProcessSource, Transport};

use super::listeners::Listeners;
use super::state::{Flow, Progress};

/// Flows watched at the same time unless `--max-flows` says otherwise.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// Open connections.
pub struct FlowTable {
    /// Boxed, because flows are large and go in and out.
    flows: LruCache<FlowKey, Box<Flow>>,
    /// Keys of the UDP flows: a socket may have several, and its release ends them all.
    udp: BTreeSet<FlowKey>,
    capacity: usize,
    listeners: Listeners,
    /// The flow that the last event ended.
    last: Option<Box<Flow>>,
    evicted: u64,
    /// Open TCP connections that only the kernel's list of sockets told of.
    existing: usize,
    /// Connected UDP sockets in the kernel's list are flows.
    lists_udp: bool,
    /// What tells of TCP connections.
    tcp_method: Method,
    /// Flows that ended, while somebody wants to know.
    ended: Option<HashMap<FlowKey, Tuple>>,
}

/// What one event did to the table.
pub struct Step<'a> {
    pub flow: &'a mut Flow,
    /// A flow that had to make room.
    pub evicted: Option<Box<Flow>>,
}

impl FlowTable {
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            flows: LruCache::unbounded(),
            udp: BTreeSet::new(),
            capacity: capacity.max(1),
            listeners: Listeners::default(),
            last: None,
            evicted: 0,
            existing: 0,
            lists_udp: false,
            tcp_method: Method::SockOps,
            ended: None,
        }
    }

    /// As flows of UDP, takes connected sockets in the kernel's list: where no datagrams are seen.
    #[must_use]
    pub fn listing_udp(self, lists_udp: bool) -> Self {
        Self { lists_udp, ..self }
    }

    /// What tells of TCP connections, unless it is a `sock_ops` program.
    #[must_use]
    pub fn seeing_tcp_by(self, tcp_method: Method) -> Self {
        Self { tcp_method, ..self }
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

    /// Number of flows that fit.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Flows that had to make room so far.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The open flows.
    pub fn all(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter().map(|(_, flow)| &**flow)
    }

    /// Whether a TCP connection is open that only the kernel's list of sockets told of.
    #[must_use]
    pub fn has_existing(&self) -> bool {
        self.existing > 0
    }

    /// Whether no further flow fits without another one making room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.flows.len() >= self.capacity
    }

    #[must_use]
    pub fn contains(&self, key: &FlowKey) -> bool {
        self.flows.contains(key)
    }

    /// A flow that is open, without touching it.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<&Flow> {
        self.flows.peek(key).map(|flow| &**flow)
    }

    /// As [`Self::get`], to note something.
    pub fn get_mut(&mut self, key: &FlowKey) -> Option<&mut Flow> {
        self.flows.peek_mut(key).map(|flow| &mut **flow)
    }

    /// Keys of the open UDP flows of a socket.
    #[must_use]
    pub fn udp_of(&self, cookie: u64) -> Vec<FlowKey> {
        let first = FlowKey { cookie, peer: None };
        self.udp.range(first..).take_while(|key| key.cookie == cookie).copied().collect()
    }

    /// Whether a UDP flow is open.
    #[must_use]
    pub fn has_udp(&self) -> bool {
        !self.udp.is_empty()
    }

    /// The open UDP flows.
    pub fn udp(&self) -> impl Iterator<Item = &Flow> {
        self.udp.iter().filter_map(|key| self.get(key))
    }

    /// Begins to remember which flows end.
    pub fn remember_ended(&mut self) {
        self.ended = Some(HashMap::new());
    }

    /// The flows that ended since [`Self::remember_ended`], with their ends; stops remembering.
    pub fn take_ended(&mut self) -> HashMap<FlowKey, Tuple> {
        self.ended.take().unwrap_or_default()
    }

    /// The end, unseen, of flows that were open before `taken` and are not among those that the kernel listed then, in one
    /// of `namespaces`. Those that only the kernel's list told of, or, with `all`, also TCP connections whose events were
    /// seen.
    #[must_use]
    pub fn absent(
        &self,
        listed: &HashSet<FlowKey>,
        namespaces: &HashSet<u32>,
        taken: BootTime,
        all: bool,
    ) -> Vec<Event> {
        let is_absent = |flow: &&Flow| {
            (flow.method == Method::SockDiag || (all && flow.transport == Transport::Tcp))
                && flow.heard < taken
                && flow.tuple.netns.is_some_and(|netns| namespaces.contains(&netns))
                && !listed.contains(&flow.key())
        };
        let gone = |flow: &Flow| flow.gone(taken);
        self.all().filter(is_absent).map(gone).collect()
    }

    /// Takes in one event; `None` for events that belong to no connection (`listen`), and for those that tell nothing
    /// new.
    pub fn track(&mut self, event: &Event) -> Option<Step<'_>> {
        match &event.what {
            What::Listen(identity) => {
                self.listeners.add(&event.tuple, *identity, ProcessSource::Listen);
                None
            }
            What::Listening(socket) | What::Existing(socket) if self.is_no_flow(event) => {
                if let Some(holder) = socket.holder {
                    self.listeners.add_udp(event.cookie, holder);
                }
                None
            }
            What::Listening(socket) => {
                if let Some(holder) = socket.holder {
                    self.listeners.add(&event.tuple, holder, ProcessSource::Holder);
                }
                None
            }
            What::Existing(_) if self.flows.contains(&event.key()) => None,
            What::FirstDatagram(first) if first.so_far.is_some() && self.flows.contains(&event.key()) => None,
            What::Existing(existing) => self.insert(Flow::existing(event, existing)),
            What::Sample(counters) => self.sample(event, counters),
            What::Gone => self.flows.contains(&event.key()).then(|| self.end(event, None, None)),
            What::FirstDatagram(first) => {
                let mut flow = Flow::first_datagram(event, first);
                if flow.identity.is_none() {
                    let holder = self.listeners.find_udp(event.cookie, first.owner);
                    (flow.identity, flow.process_source) = holder.unzip();
                }
                self.insert(flow)
            }
            What::DatagramsSoFar(moved) => self.sample_datagrams(event, moved),
            What::Released(last) | What::Ended(last, _) => Some(self.end_datagrams(event, last)),
            What::AllReleased | What::Dns(_) | What::FirstBytes(_) | What::Resolver(_) => None,
            What::Connect(identity) => {
                let mut flow = self.begin(event, Progress::Connecting, Some(Direction::Egress));
                flow.opened = Some(event.at);
                flow.set_opener(identity);
                self.insert(flow)
            }
            What::Established(ready) => self.continue_or_begin(event, Direction::Egress, |flow| {
                flow.set_owner(ready.owner, OwnerSource::SkUid);
            }),
            What::Accept(ready) => {
                let mut flow = self.begin(event, Progress::Established, Some(Direction::Ingress));
                flow.opened = Some(event.at);
                flow.set_owner(ready.owner, OwnerSource::SkUid);
                (flow.identity, flow.process_source) = self.listeners.find(&event.tuple, ready.owner).unzip();
                self.insert(flow)
            }
            What::Failed(ending) => Some(self.end(event, Some(Direction::Egress), ending.owner)),
            What::Close(ending) => Some(self.end(event, None, ending.owner)),
        }
    }

    /// Whether this is a UDP socket that no datagram is known of.
    fn is_no_flow(&self, event: &Event) -> bool {
        let is_connected = matches!(event.what, What::Existing(_));
        event.transport == Transport::Udp && !(is_connected && self.lists_udp)
    }

    fn begin(&self, event: &Event, progress: Progress, direction: Option<Direction>) -> Flow {
        Flow { method: self.tcp_method, ..Flow::new(event, progress, direction) }
    }

    fn continue_or_begin(
        &mut self,
        event: &Event,
        direction: Direction,
        change: impl FnOnce(&mut Flow),
    ) -> Option<Step<'_>> {
        if self.flows.get(&event.key()).is_none() {
            let mut flow = self.begin(event, Progress::Established, Some(direction));
            change(&mut flow);
            return self.insert(flow);
        }
        let flow = self.flows.get_mut(&event.key())?;
        flow.progress = Progress::Established;
        flow.heard = event.at;
        flow.learn_ends(event);
        change(flow);
        Some(Step { flow, evicted: None })
    }

    /// `None` unless the connection is known and has moved something since that was told.
    fn sample(&mut self, event: &Event, counters: &Counters) -> Option<Step<'_>> {
        let (is_first, step) = self.moved(event, (counters.bytes_received, counters.bytes_acked))?;
        // The first look tells where it stands: only what it moves from then on is worth a record.
        (!is_first || counters.bytes_acked > 1 || counters.bytes_received > 0).then_some(step)
    }

    fn sample_datagrams(&mut self, event: &Event, moved: &Datagrams) -> Option<Step<'_>> {
        let (is_first, step) = self.moved(event, (moved.bytes_received, moved.bytes_sent))?;
        (!is_first || moved.sent + moved.received > 1).then_some(step)
    }

    /// Takes what a known connection has moved so far, received and sent; says whether that is the first time.
    fn moved(&mut self, event: &Event, moved: (u64, u64)) -> Option<(bool, Step<'_>)> {
        // Looking does not count as a sign of life of the connection.
        if self.flows.peek(&event.key())?.told == Some(moved) {
            return None;
        }
        let flow = self.flows.get_mut(&event.key())?;
        flow.heard = event.at;
        if flow.tuple.local_port == 0 {
            flow.learn_ends(event);
        }
        let is_first = flow.told.replace(moved).is_none();
        Some((is_first, Step { flow, evicted: None }))
    }

    fn end(&mut self, event: &Event, direction: Option<Direction>, owner: Option<u32>) -> Step<'_> {
        let method = self.tcp_method;
        self.end_of(event, owner, |event| Flow { method, ..Flow::new(event, Progress::Ended, direction) })
    }

    fn end_datagrams(&mut self, event: &Event, last: &LastDatagrams) -> Step<'_> {
        self.end_of(event, last.owner, |event| Flow::last_datagrams(event, last))
    }

    fn end_of(
        &mut self,
        event: &Event,
        owner: Option<u32>,
        otherwise: impl FnOnce(&Event) -> Flow,
    ) -> Step<'_> {
        let known = self.flows.pop(&event.key());
        self.left(known.as_deref());
        let mut flow = known.unwrap_or_else(|| Box::new(otherwise(event)));
        if flow.tuple.local_port == 0 {
            flow.learn_ends(event);
        }
        if let Some(ended) = &mut self.ended {
            ended.insert(event.key(), flow.tuple);
        }
        flow.progress = Progress::Ended;
        flow.set_owner(owner, OwnerSource::SkUid);
        Step { flow: self.last.insert(flow), evicted: None }
    }

    fn insert(&mut self, flow: Flow) -> Option<Step<'_>> {
        let key = flow.key();
        self.existing += usize::from(flow.is_existing_tcp());
        let replaced = self.flows.put(key, Box::new(flow));
        self.left(replaced.as_deref());
        if key.peer.is_some() {
            self.udp.insert(key);
        }
        let is_new = replaced.is_none();
        let evicted = (is_new && self.flows.len() > self.capacity).then(|| self.flows.pop_lru()).flatten();
        let evicted = evicted.map(|(_, flow)| flow);
        self.left(evicted.as_deref());
        self.evicted += u64::from(evicted.is_some());
        Some(Step { flow: self.flows.get_mut(&key)?, evicted })
    }

    /// A flow has left the table.
    fn left(&mut self, flow: Option<&Flow>) {
        let Some(flow) = flow else { return };
        self.existing -= usize::from(flow.is_existing_tcp());
        if flow.transport == Transport::Udp {
            self.udp.remove(&flow.key());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Ending, Existing, Ready, Tuple};
    use tracer_ebpf::abi::{Identity, KNOWN_OWNER};

    fn event(cookie: u64, at: u64, what: What) -> Event {
        let tuple = Tuple {
            local: "::ffff:10.0.0.2".parse().unwrap(),
            remote: "::ffff:203.0.113.7".parse().unwrap(),
            local_port: 40000,
            remote_port: 443,
            netns: None,
        };
        Event { at: BootTime(at), cookie, transport: Transport::Tcp, tuple, what }
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

    fn existing(cookie: u64, counters: Counters) -> Event {
        let existing = Existing { counters: Some(counters), is_established: true, ..Existing::default() };
        event(cookie, 10, What::Existing(Box::new(existing)))
    }

    #[test]
    fn only_growth_is_worth_a_sample() {
        let mut table = FlowTable::new(10);
        let moved = |bytes_acked| Counters { bytes_acked, ..Counters::default() };
        assert!(table.track(&event(1, 5, What::Sample(moved(3)))).is_none(), "nobody knows it");
        assert!(table.track(&existing(1, moved(3))).is_some());
        assert!(table.track(&existing(1, moved(3))).is_none(), "it is known already");
        assert!(table.track(&event(1, 20, What::Sample(moved(3)))).is_none());
        assert!(table.track(&event(1, 30, What::Sample(moved(4)))).is_some());
        assert!(table.track(&event(1, 40, What::Sample(moved(4)))).is_none());
        table.track(&connect(2, 0));
        assert!(table.track(&event(2, 50, What::Sample(moved(1)))).is_none(), "its SYN alone is no growth");
        assert!(table.track(&event(2, 60, What::Sample(moved(9)))).is_some());
    }

    #[test]
    fn what_the_list_lacks_is_gone_once_it_was_heard_of_before_the_list() {
        let mut table = FlowTable::new(10);
        for cookie in 1..=3 {
            let mut event = existing(cookie, Counters::default());
            event.tuple.netns = Some(7);
            table.track(&event);
        }
        let mut seen = connect(4, 0);
        seen.tuple.netns = Some(7);
        table.track(&seen);
        assert!(table.has_existing());
        let absent = |table: &FlowTable, netns, taken, all| {
            let listed = HashSet::from([FlowKey::tcp(1)]);
            let mut cookies: Vec<_> = table
                .absent(&listed, &HashSet::from([netns]), BootTime(taken), all)
                .into_iter()
                .map(|event| event.cookie)
                .collect();
            cookies.sort_unstable();
            cookies
        };
        assert_eq!(absent(&table, 7, 11, false), [2, 3]);
        assert_eq!(absent(&table, 7, 11, true), [2, 3, 4], "also those whose end may have been lost");
        assert_eq!(absent(&table, 7, 10, true), [0; 0], "heard of after the list was read");
        assert_eq!(absent(&table, 8, 11, true), [0; 0], "another namespace was listed");
        for cookie in 1..=3 {
            assert!(table.track(&event(cookie, 20, What::Gone)).is_some());
        }
        assert!(!table.has_existing());
        assert!(table.track(&event(1, 20, What::Gone)).is_none());
    }
}
