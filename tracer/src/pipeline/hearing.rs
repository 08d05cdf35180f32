//! What is heard of names: copies of payload → names of flows, and records of questions.

use lru::LruCache;
use tracer_ebpf::abi::{KNOWN_TASK, PORT_DNS, PORT_MDNS};

use super::Pipeline;
use crate::clock::{BootTime, Clock};
use crate::event::{DnsCopy, Event, FirstBytesCopy, FlowKey, ResolverCopy, What};
use crate::flow::Flow;
use crate::names::cache::{Asker, Via};
use crate::names::conversations::{Answered, Conversations};
use crate::names::dns::{self, Dns};
use crate::names::first_bytes::{FirstBytes, Told};
use crate::names::flow_name::{FlowName, registered_domain};
use crate::names::http;
use crate::names::pieces::Pieces;
use crate::names::questions::{Asked, Questions};
use crate::record::connection::News;
use crate::record::{DnsKind, NameSource, Protocol, Resolver, Transport};
use crate::redact::Redactor;

/// Connections whose first bytes are kept at the same time, at most 4 KiB each; the one that was silent longest makes room.
const MOST_LOOKS: usize = 1024;

/// What was heard and waits for more.
pub struct Hearing {
    looks: LruCache<FlowKey, FirstBytes>,
    /// DNS over TCP: what was sent, and what was received.
    streams: LruCache<(FlowKey, bool), DnsStream>,
    questions: Questions<Box<Flow>>,
    conversations: Conversations<Box<Flow>>,
}

impl Default for Hearing {
    fn default() -> Self {
        Self {
            looks: LruCache::unbounded(),
            streams: LruCache::unbounded(),
            questions: Questions::default(),
            conversations: Conversations::default(),
        }
    }
}

/// One direction of a connection that carries DNS.
#[derive(Default)]
struct DnsStream {
    pieces: Pieces,
    /// Messages that were taken.
    taken: usize,
}

/// A question with what came of it.
#[derive(Clone)]
pub struct DnsNews {
    pub name: String,
    pub registered: Option<String>,
    pub question_type: Option<String>,
    pub kind: DnsKind,
    pub code: Option<String>,
    pub addresses: Vec<std::net::IpAddr>,
    pub is_truncated: bool,
    pub resolver: Option<Resolver>,
    /// When it was asked, where that was seen.
    pub asked: Option<BootTime>,
}

impl Pipeline {
    /// Takes in a copy of payload.
    pub(super) fn hear(&mut self, event: &Event, clock: Clock) {
        match &event.what {
            What::Dns(copy) => self.hear_datagram(event, copy, clock),
            What::FirstBytes(copy) if is_dns_stream(event) => self.hear_stream(event, copy, clock),
            What::FirstBytes(copy) => self.hear_first_bytes(event, copy, clock),
            What::Resolver(copy) => self.hear_resolver(event, copy, clock),
            _ => {}
        }
    }

    /// Tells of questions that no answer came to; with `all`, of any that has none yet.
    pub fn give_up_questions(&mut self, at: BootTime, clock: Clock, all: bool) {
        while let Some(asked) = self.hearing.questions.unanswered(at, all) {
            self.tell_unanswered(asked, clock);
        }
    }

    fn hear_datagram(&mut self, event: &Event, copy: &DnsCopy, clock: Clock) {
        let mut flow = Flow::of_message(event, copy.method, copy.owner, copy.task);
        if [event.tuple.local_port, event.tuple.remote_port].contains(&PORT_MDNS) {
            if let Some(names) = &mut self.stages.names {
                for (name, ip, seconds) in dns::announced(&copy.bytes) {
                    names.learn(asker_of(&flow), Via::Mdns, &name, [(ip, seconds)], event.at);
                }
            }
            return;
        }
        let Some(message) = dns::parse(&copy.bytes) else { return };
        flow.protocol = Some(Protocol::Dns);
        if let Some(known) = self.flows.get_mut(&event.key()) {
            known.protocol = Some(Protocol::Dns);
        }
        self.hear_message(flow, &message, copy.is_received, event.at, clock);
    }

    fn hear_stream(&mut self, event: &Event, copy: &FirstBytesCopy, clock: Clock) {
        let key = event.key();
        // Of a connection over loopback nothing is known.
        let Some(flow) = self.flows.get_mut(&key) else { return };
        flow.protocol = Some(Protocol::Dns);
        let flow = flow.clone();
        let streams = &mut self.hearing.streams;
        let stream = streams.get_or_insert_mut((key, copy.is_received), DnsStream::default);
        stream.pieces.keep(offset(copy), &copy.bytes);
        let bytes = stream.pieces.beginning();
        let messages: Vec<_> = dns::in_stream(&bytes).skip(stream.taken).collect();
        stream.taken += messages.len();
        if streams.len() > MOST_LOOKS {
            streams.pop_lru();
        }
        for message in messages.into_iter().flatten() {
            self.hear_message(flow.clone(), &message, copy.is_received, event.at, clock);
        }
    }

    /// A question that was sent, or an answer that came.
    fn hear_message(&mut self, flow: Flow, message: &Dns, is_received: bool, at: BootTime, clock: Clock) {
        self.give_up_questions(at, clock, false);
        if is_received != message.is_answer {
            // A server's side.
            return;
        }
        let socket = flow.cookie;
        if !message.is_answer {
            if let Some(pushed_out) = self.hearing.questions.ask(socket, message, Box::new(flow), at) {
                self.tell_unanswered(pushed_out, clock);
            }
            return;
        }
        let (mut flow, asked) = match self.hearing.questions.answered(socket, message) {
            // Only what was asked for gives names to addresses: anybody may send something else.
            Some(asked) => {
                let flow = *asked.by;
                if let Some(names) = &mut self.stages.names {
                    names.learn(asker_of(&flow), Via::Dns, &message.question.name, message.lifetimes(), at);
                }
                (flow, Some(asked.at))
            }
            None => (flow, None),
        };
        let news = DnsNews { asked, ..DnsNews::answer(message) };
        self.stages.show(&mut flow, &News::dns(&news), at, clock);
    }

    fn tell_unanswered(&mut self, asked: Asked<Box<Flow>>, clock: Clock) {
        let news = DnsNews {
            name: asked.question.name.clone(),
            question_type: Some(asked.question.kind_name()),
            kind: DnsKind::Query,
            code: None,
            addresses: Vec::new(),
            is_truncated: false,
            resolver: None,
            asked: None,
            registered: registered(&asked.question.name),
        };
        let mut flow = asked.by;
        self.stages.show(&mut flow, &News::dns(&news), asked.at, clock);
    }

    fn hear_resolver(&mut self, event: &Event, copy: &ResolverCopy, clock: Clock) {
        let Some(names) = &mut self.stages.names else { return };
        let conversations = &mut self.hearing.conversations;
        if !copy.is_answer {
            let flow = Box::new(Flow::of_request(event, &copy.identity));
            let by = asker_of(&flow);
            if let Some(name) = conversations.ask(event.cookie, copy.is_resolved, &copy.bytes, flow, event.at)
            {
                names.wait(by, name, event.at);
            }
            return;
        }
        let Some(answered) = conversations.answer(event.cookie, &copy.bytes) else { return };
        let Answered { mut asked, addresses, message } = answered;
        let by = asker_of(&asked.by);
        names.learn(by, Via::Resolver, &asked.name, addresses.iter().copied(), event.at);
        let news = DnsNews {
            registered: registered(&asked.name),
            name: asked.name,
            question_type: message.as_ref().map(|dns| dns.question.kind_name()),
            kind: DnsKind::Answer,
            code: message.as_ref().map(Dns::code_name),
            addresses: addresses.into_iter().map(|(ip, _)| ip).collect(),
            is_truncated: false,
            resolver: Some(if copy.is_resolved { Resolver::SystemdResolved } else { Resolver::Dnsproxyd }),
            asked: Some(asked.at),
        };
        self.stages.show(&mut asked.by, &News::dns(&news), event.at, clock);
    }

    fn hear_first_bytes(&mut self, event: &Event, copy: &FirstBytesCopy, clock: Clock) {
        let key = event.key();
        let looks = &mut self.hearing.looks;
        let begin = || match event.transport {
            Transport::Tcp => FirstBytes::of_stream(),
            Transport::Udp => FirstBytes::of_datagrams(),
        };
        let told = looks.get_or_insert_mut(key, begin).take(offset(copy), &copy.bytes);
        if told.is_some() {
            looks.pop(&key);
        } else if looks.len() > MOST_LOOKS {
            looks.pop_lru();
        }
        let (Some(told), Some(flow)) = (told, self.flows.get_mut(&key)) else { return };
        if self.stages.take_told(flow, told) {
            self.stages.show(flow, &News::NAMED, event.at, clock);
        }
    }
}

impl DnsNews {
    /// A copy in which no name and no address can be read.
    pub(super) fn redacted(&self, redactor: &Redactor) -> Self {
        Self {
            name: redactor.name(&self.name),
            registered: self.registered.as_deref().map(|name| redactor.name(name)),
            addresses: self.addresses.iter().map(|ip| redactor.address(*ip)).collect(),
            ..self.clone()
        }
    }

    fn answer(message: &Dns) -> Self {
        Self {
            name: message.question.name.clone(),
            question_type: Some(message.question.kind_name()),
            kind: DnsKind::Answer,
            code: Some(message.code_name()),
            addresses: message.addresses.iter().map(|address| address.ip).collect(),
            is_truncated: message.is_truncated,
            resolver: None,
            asked: None,
            registered: registered(&message.question.name),
        }
    }
}

fn registered(name: &str) -> Option<String> {
    registered_domain(name).map(str::to_owned)
}

impl super::Stages {
    /// Keeps with the flow what its first bytes told; whether its name is a new one.
    fn take_told(&self, flow: &mut Flow, told: Told) -> bool {
        let (name, source, is_hidden) = match told {
            Told::Nothing => return false,
            Told::Http(http::Asked { host, is_proxied }) => {
                flow.protocol = Some(Protocol::Http);
                let source = if is_proxied { NameSource::HttpProxy } else { NameSource::HttpHost };
                (host, source, false)
            }
            Told::Tls(hello) | Told::Quic(hello) => {
                let is_stream = flow.transport == Transport::Tcp;
                flow.protocol = Some(if is_stream { Protocol::Tls } else { Protocol::Quic });
                let name = hello.server_name.clone();
                let is_hidden = hello.is_hidden;
                flow.hello = Some(Box::new(hello));
                (name, NameSource::Sni, is_hidden)
            }
        };
        let Some(name) = name else { return false };
        flow.name = Some(Box::new(FlowName::told(&name, source, is_hidden, flow.name.as_deref())));
        true
    }

    /// Finds the name of a connection in what its app asked resolvers for before it. Once: what is asked for later is not
    /// what it was made for.
    pub(super) fn look_up_name(&mut self, flow: &mut Flow) {
        if flow.is_looked_up {
            return;
        }
        flow.is_looked_up = true;
        let (Some(names), Some(opened)) = (&mut self.names, flow.opened) else { return };
        if flow.direction == Some(crate::record::Direction::Egress) && flow.name.is_none() {
            let found = names.find(asker_of(flow), flow.tuple.remote_ip(), opened);
            flow.name = found.map(|named| Box::new(FlowName::found(named)));
        }
    }
}

/// Who asks, or connects.
fn asker_of(flow: &Flow) -> Asker {
    let identity = flow.identity.filter(|identity| identity.known & KNOWN_TASK != 0);
    Asker { uid: flow.owner, pid: identity.map(|identity| identity.pid), netns: flow.tuple.netns }
}

fn is_dns_stream(event: &Event) -> bool {
    event.transport == Transport::Tcp && event.tuple.remote_port == PORT_DNS
}

fn offset(copy: &FirstBytesCopy) -> usize {
    usize::try_from(copy.offset).unwrap_or(usize::MAX)
}
