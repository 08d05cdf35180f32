//! What is known about one connection. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use tracer_ebpf::abi::{Identity, KNOWN_OWNER, KNOWN_TASK_UID};

use crate::clock::BootTime;
use crate::enrich::process::Process;
use crate::enrich::tags::Tag;
use crate::event::{Candidate, Event, Existing, FirstDatagram, FlowKey, LastDatagrams, Tuple, What};
use crate::names::flow_name::FlowName;
use crate::names::tls::ClientHello;
use crate::record::{Direction, Method, OwnerSource, Places, ProcessSource, Protocol, Transport, WhoText};
use crate::redact::Redactor;

use super::community_id::{self, CommunityId};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Connecting,
    Established,
    /// Its last event: it has left the table.
    Ended,
}

/// Tells the flows of one UDP socket apart: FNV-1a over remote address and port.
fn peer(key: FlowKey) -> Option<u32> {
    let (address, port) = key.peer?;
    let bytes = address.octets().into_iter().chain(port.to_be_bytes());
    Some(bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
}

/// What is known about one connection.
#[derive(Clone, Debug)]
pub struct Flow {
    pub cookie: u64,
    pub transport: Transport,
    pub tuple: Tuple,
    /// Unknown when neither beginning nor handshake was seen.
    pub direction: Option<Direction>,
    /// When it was asked for, or accepted. Unknown when that event was lost.
    pub opened: Option<BootTime>,
    /// The hook that told of it first.
    pub method: Method,
    /// The task that connected, that listens, or that holds the socket.
    pub identity: Option<Identity>,
    /// Which of these; absent with it.
    pub process_source: Option<ProcessSource>,
    /// Where nothing tells which of these processes uses the socket.
    pub candidates: Option<Arc<[Candidate]>>,
    /// Uid that owns the socket.
    pub owner: Option<u32>,
    /// Where `owner` comes from; absent with it.
    pub owner_source: Option<OwnerSource>,
    /// When something was heard of it last.
    pub heard: BootTime,
    pub progress: Progress,
    /// Of UDP, tells the flows of one socket apart in their ids.
    pub peer: Option<u32>,
    pub community: CommunityId,
    /// On whose behalf the socket works, as netd knows it.
    pub tag: Option<Tag>,
    /// What it had moved when that was told last, while it is open: received and sent, sequence space of TCP, payload
    /// of UDP.
    pub told: Option<(u64, u64)>,
    /// The protocol that it carries, where its first bytes or the port tell.
    pub protocol: Option<Protocol>,
    /// Kept by `enrich` from the first record on: at the end the process is often gone.
    pub process: Option<Arc<Process>>,
    /// Where both ends are, rendered: kept from the first record on.
    pub places: Option<Places>,
    /// Whose connection it is, rendered: kept from the first record on.
    pub who: Option<Arc<WhoText>>,
    /// Kept by `pipeline` from the moment on that something tells of it.
    pub name: Option<Box<FlowName>>,
    /// What resolvers were asked before it was made was looked at.
    pub is_looked_up: bool,
    /// What its TLS or QUIC client said first.
    pub hello: Option<Box<ClientHello>>,
}

/// There are thousands of them.
const _: () = assert!(size_of::<Flow>() <= 296);

impl Flow {
    pub(super) fn new(event: &Event, progress: Progress, direction: Option<Direction>) -> Self {
        let tuple = event.tuple;
        let local = (tuple.local_ip(), tuple.local_port).into();
        let remote = (tuple.remote_ip(), tuple.remote_port).into();
        Self {
            cookie: event.cookie,
            transport: event.transport,
            tuple,
            direction,
            opened: None,
            method: Method::SockOps,
            identity: None,
            process_source: None,
            candidates: None,
            owner: None,
            owner_source: None,
            heard: event.at,
            progress,
            peer: peer(event.key()),
            community: community_id::of(local, remote, event.transport.protocol()),
            tag: None,
            told: None,
            protocol: None,
            process: None,
            places: None,
            who: None,
            name: None,
            is_looked_up: false,
            hello: None,
        }
    }

    /// What a DNS message in a datagram is about: a flow that is not followed here.
    #[must_use]
    pub fn of_message(
        event: &Event,
        method: Method,
        owner: Option<u32>,
        task: Option<(Identity, ProcessSource)>,
    ) -> Self {
        let mut flow = Self::new(event, Progress::Established, Some(Direction::Egress));
        flow.is_looked_up = true;
        flow.method = method;
        flow.set_owner_and_task(owner, task);
        flow
    }

    /// What a request to a resolver's Unix socket is about: no connection at all.
    #[must_use]
    pub fn of_request(event: &Event, identity: &Identity) -> Self {
        Self::of_message(event, Method::Kprobe, None, Some((*identity, ProcessSource::Request)))
    }

    /// A copy in which no name and no address can be read. Of the Community ID nothing is left: it could be made from every
    /// address in turn.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let mut flow = self.clone();
        let remote = match redactor.address(self.tuple.remote_ip()) {
            IpAddr::V6(address) => address,
            IpAddr::V4(address) => address.to_ipv6_mapped(),
        };
        flow.peer = peer(FlowKey::new(self.cookie, self.transport, &Tuple { remote, ..self.tuple }));
        flow.community = CommunityId::default();
        if let Some(places) = &mut flow.places {
            places.local = places.local.redacted(redactor).into();
            places.remote = places.remote.redacted(redactor).into();
        }
        if let Some(name) = &mut flow.name {
            **name = name.redacted(redactor);
        }
        if let Some(hello) = &mut flow.hello {
            hello.server_name = hello.server_name.as_deref().map(|name| redactor.name(name));
        }
        flow
    }

    /// Takes both ends from an event that knows more of them: the local address of a socket bound to "any", and on some
    /// ways also its port, are decided after the connect.
    pub(super) fn learn_ends(&mut self, event: &Event) {
        if self.tuple != event.tuple {
            let known = Self::new(event, self.progress, self.direction);
            self.tuple = known.tuple;
            self.community = known.community;
            self.places = None;
        }
    }

    /// That it is not open any more, and no event told of its end.
    #[must_use]
    pub fn gone(&self, at: BootTime) -> Event {
        Event { at, cookie: self.cookie, transport: self.transport, tuple: self.tuple, what: What::Gone }
    }

    /// Takes an owner from the socket itself, unless one is known.
    pub(super) fn set_owner(&mut self, uid: Option<u32>, source: OwnerSource) {
        if self.owner.is_none() && uid.is_some() {
            self.owner = uid;
            self.owner_source = Some(source);
        }
    }

    /// Takes the task that opened the socket, and from it the owner: the socket's own uid, else the task's.
    pub(super) fn set_opener(&mut self, identity: &Identity) {
        self.identity = Some(*identity);
        self.process_source = Some(ProcessSource::Connect);
        let known = |bit, uid| (identity.known & bit != 0).then_some(uid);
        self.set_owner(known(KNOWN_OWNER, identity.owner_uid), OwnerSource::SkUid);
        self.set_owner(known(KNOWN_TASK_UID, identity.task_uid), OwnerSource::TaskUid);
    }

    /// Takes the owner of the socket, and the task that uses it: its uid stands in for the owner.
    fn set_owner_and_task(&mut self, owner: Option<u32>, task: Option<(Identity, ProcessSource)>) {
        self.set_owner(owner, OwnerSource::SkUid);
        (self.identity, self.process_source) = task.unzip();
        if let Some(Identity { task_uid, known, .. }) = self.identity {
            self.set_owner((known & KNOWN_TASK_UID != 0).then_some(task_uid), OwnerSource::TaskUid);
        }
    }

    /// A UDP flow that begins.
    pub(super) fn first_datagram(event: &Event, first: &FirstDatagram) -> Self {
        let mut flow = Self::new(event, Progress::Established, Some(first.direction));
        flow.opened = Some(first.so_far.map_or(event.at, |so_far| so_far.first));
        flow.method = first.method;
        flow.protocol = first.protocol;
        flow.set_owner_and_task(first.owner, first.task);
        flow.told = first.so_far.map(|so_far| (so_far.bytes_received, so_far.bytes_sent));
        flow
    }

    /// A UDP flow of which only the end was seen.
    pub(super) fn last_datagrams(event: &Event, last: &LastDatagrams) -> Self {
        let mut flow = Self::new(event, Progress::Ended, Some(last.direction));
        flow.opened = Some(last.moved.first);
        flow.method = last.method;
        flow
    }

    /// Whether it is a TCP connection that the kernel's list told of first.
    pub(super) fn is_existing_tcp(&self) -> bool {
        self.method == Method::SockDiag && self.transport == Transport::Tcp
    }

    #[must_use]
    pub fn key(&self) -> FlowKey {
        FlowKey::new(self.cookie, self.transport, &self.tuple)
    }

    /// A connection that was open before anything was seen of it.
    #[must_use]
    pub fn existing(event: &Event, existing: &Existing) -> Self {
        let progress = if existing.is_established { Progress::Established } else { Progress::Connecting };
        let mut flow = Self::new(event, progress, existing.direction);
        flow.method = Method::SockDiag;
        flow.set_owner(existing.owner, OwnerSource::SockDiag);
        flow.identity = existing.holder;
        flow.process_source = existing.holder.map(|_| ProcessSource::Holder);
        flow.candidates.clone_from(&existing.candidates);
        flow.told = existing.counters.map(|counters| (counters.bytes_received, counters.bytes_acked));
        flow
    }
}
