//! Flow + news + what `enrich` knows → the [`Record`] of one connection event.

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::clock::{BootTime, Clock};
use crate::event::{Counters, Datagrams, Ending, What};
use crate::flow::Flow;
use crate::flow::end::{Verdict, Volume, verdict, volume, volume_so_far};
use crate::judge::observation::{FlowRef, Name, Observation, Place};
use crate::judge::services::{Found, Service};
use crate::names::flow_name::FlowName;
use crate::names::tls::ClientHello;
use crate::pipeline::DnsNews;
use crate::tally::Kind;

/// ECS `event.type`.
const START: &[&str] = &["connection", "start"];
const INFO: &[&str] = &["connection", "info"];
const END: &[&str] = &["connection", "end"];
const PROTOCOL: &[&str] = &["protocol"];

/// What is new about a flow.
#[derive(Clone, Copy)]
pub struct News<'a> {
    pub action: Action,
    /// What it is counted as.
    pub kind: Kind,
    types: &'static [&'static str],
    rtt_us: Option<u32>,
    figures: Figures<'a>,
    dns: Option<&'a DnsNews>,
}

/// The kernel's figures that came with it.
#[derive(Clone, Copy)]
enum Figures<'a> {
    None,
    /// At the end.
    Ending(&'a Ending),
    /// While it goes on.
    SoFar(&'a Counters),
    /// Of a UDP flow, and how it ended.
    Datagrams(&'a Datagrams, Option<End>),
}

impl<'a> News<'a> {
    /// The table was full and this flow had to go.
    pub const EVICTED: News<'static> = News::plain(Action::Close, Kind::Evicted, END);
    /// Its name is known now.
    pub const NAMED: News<'static> = News::plain(Action::Named, Kind::Named, INFO);

    const fn plain(action: Action, kind: Kind, types: &'static [&'static str]) -> Self {
        News { action, kind, types, rtt_us: None, figures: Figures::None, dns: None }
    }

    /// The question to a resolver that it is about.
    #[must_use]
    pub fn question(&self) -> Option<&'a DnsNews> {
        self.dns
    }

    /// The same with another question.
    #[must_use]
    pub fn with_question<'b>(&self, dns: Option<&'b DnsNews>) -> News<'b>
    where
        'a: 'b,
    {
        News { dns, ..*self }
    }

    /// A question to a resolver.
    #[must_use]
    pub fn dns(news: &'a DnsNews) -> Self {
        News { dns: Some(news), ..News::plain(Action::Dns, Kind::Question, PROTOCOL) }
    }

    /// `None` for events that are about no connection.
    #[must_use]
    pub fn of(what: &'a What) -> Option<Self> {
        use Figures::{Datagrams, Ending, None as NoFigures, SoFar};
        let rtt = |counters: &Counters| (counters.rtt_us != 0).then_some(counters.rtt_us);
        let (action, kind, types, rtt_us, figures) = match what {
            What::Connect(_) => (Action::Connect, Kind::Connect, START, None, NoFigures),
            What::Established(ready) => {
                (Action::Established, Kind::Established, INFO, ready.rtt_us, NoFigures)
            }
            What::Accept(ready) => (Action::Accept, Kind::Accept, START, ready.rtt_us, NoFigures),
            What::Failed(ending) => (Action::Failed, Kind::Failed, END, ending.rtt_us, Ending(ending)),
            What::Close(ending) => (Action::Close, Kind::Close, END, ending.rtt_us, Ending(ending)),
            What::Existing(existing) => {
                let figures = existing.counters.as_ref().map_or(NoFigures, SoFar);
                (Action::Existing, Kind::Existing, INFO, existing.counters.as_ref().and_then(rtt), figures)
            }
            What::Sample(counters) => (Action::Sample, Kind::Sample, INFO, rtt(counters), SoFar(counters)),
            What::Gone => (Action::Close, Kind::Unseen, END, None, NoFigures),
            What::FirstDatagram(first) => match (&first.so_far, first.direction) {
                (Some(so_far), _) => (Action::Existing, Kind::Existing, INFO, None, Datagrams(so_far, None)),
                (None, Direction::Egress) => (Action::Connect, Kind::UdpOpen, START, None, NoFigures),
                (None, Direction::Ingress) => (Action::Accept, Kind::UdpOpen, START, None, NoFigures),
            },
            What::DatagramsSoFar(moved) => (Action::Sample, Kind::Sample, INFO, None, Datagrams(moved, None)),
            What::Released(last) => {
                (Action::Close, Kind::UdpClose, END, None, Datagrams(&last.moved, Some(End::Closed)))
            }
            What::Ended(last, end) => {
                (Action::Close, Kind::UdpEnded, END, None, Datagrams(&last.moved, Some(*end)))
            }
            What::AllReleased | What::Dns(_) | What::FirstBytes(_) | What::Resolver(_) => return None,
            What::Listening(_) => (Action::Listening, Kind::Existing, INFO, None, NoFigures),
            What::Listen(_) => return None,
        };
        Some(Self { action, kind, types, rtt_us, figures, dns: None })
    }

    fn volume(&self, direction: Option<Direction>) -> Option<Volume> {
        Some(match self.figures {
            Figures::None => return None,
            Figures::Ending(ending) => volume(ending, direction),
            Figures::SoFar(counters) => volume_so_far(counters, direction),
            Figures::Datagrams(moved, _) => Volume {
                bytes_sent: Some(moved.bytes_sent),
                bytes_received: Some(moved.bytes_received),
                packets_sent: Some(moved.sent),
                packets_received: Some(moved.received),
            },
        })
    }

    /// For how long nothing had been sent or received when the socket was looked at.
    fn silent_ms(&self, at: BootTime) -> Option<u64> {
        match self.figures {
            Figures::SoFar(counters) => counters.silent_ms.map(u64::from),
            Figures::Datagrams(moved, None) => Some(milliseconds(at.since(moved.last))),
            Figures::None | Figures::Ending(_) | Figures::Datagrams(_, Some(_)) => None,
        }
    }

    /// From a question to its answer.
    fn answered_in(&self, at: BootTime) -> Option<Duration> {
        self.dns.and_then(|dns| dns.asked).map(|asked| at.since(asked))
    }

    fn outcome(&self, verdict: &Verdict) -> Outcome {
        match self.action {
            Action::Established | Action::Accept => Outcome::Success,
            Action::Dns => self.dns.map_or(Outcome::Unknown, DnsNews::outcome),
            // No handshake tells: only an answer does.
            _ if let Figures::Datagrams(moved, Some(_)) = self.figures => {
                if moved.sent > 0 && moved.received > 0 { Outcome::Success } else { Outcome::Unknown }
            }
            Action::Failed => Outcome::Failure,
            Action::Close => match verdict.end {
                Some(End::Closed) => Outcome::Success,
                Some(End::Evicted | End::Unseen | End::Idle) | None => Outcome::Unknown,
                Some(_) => Outcome::Failure,
            },
            _ => Outcome::Unknown,
        }
    }
}

/// What is said about a record, lent to it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    pub service: Option<(&'a Service, Found)>,
    pub lists: &'a [&'a str],
    pub flags: &'a [Flag],
}

/// Where and when a record stands in its stream.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    pub at: BootTime,
    pub clock: Clock,
    /// First half of its flow's id.
    pub boot: &'a str,
    pub seq: u64,
}

/// What judging needs of a record. `None` as long as places or owner are not known, and for what is about no connection.
#[must_use]
pub fn observation<'a>(flow: &'a Flow, news: &News<'_>, position: &Position<'_>) -> Option<Observation<'a>> {
    if news.dns.is_some() || news.action == Action::Listening {
        return None;
    }
    let places = flow.places.as_ref()?;
    let figures = news.volume(flow.direction);
    let local = Place {
        at: &places.local,
        port: port(flow.tuple.local_port),
        bytes: figures.and_then(|figures| figures.bytes_sent),
        packets: figures.and_then(|figures| figures.packets_sent),
    };
    let remote = Place {
        at: &places.remote,
        port: port(flow.tuple.remote_port),
        bytes: figures.and_then(|figures| figures.bytes_received),
        packets: figures.and_then(|figures| figures.packets_received),
    };
    let is_incoming = flow.direction == Some(Direction::Ingress);
    let (source, destination) = if is_incoming { (remote, local) } else { (local, remote) };
    Some(Observation {
        at: position.clock.at(position.at),
        action: news.action,
        flow: FlowRef {
            boot: u32::from_str_radix(position.boot, 16).unwrap_or_default(),
            cookie: flow.cookie,
            peer: flow.peer,
        },
        age_ms: flow.opened.map(|opened| milliseconds(position.at.since(opened))),
        silent_ms: news.silent_ms(position.at),
        end: end_of(news).end,
        transport: flow.transport,
        protocol: flow.protocol,
        direction: flow.direction,
        source,
        destination,
        name: flow.name.as_deref().map(|name| Name {
            domain: &name.domain,
            registered: name.registered.as_deref(),
            source: name.source,
            is_ambiguous: name.ambiguous,
        }),
        who: &flow.who.as_ref()?.facts,
    })
}

fn port(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Puts the record together and lends it to `use_it`: the record borrows from the flow.
pub fn with_record<R>(
    flow: &Flow,
    news: &News<'_>,
    position: &Position<'_>,
    said: &Said<'_>,
    use_it: impl FnOnce(&Record<'_>) -> R,
) -> R {
    let Position { at, clock, boot, seq } = *position;
    let end = end_of(news);
    let figures = news.volume(flow.direction);
    let age = flow.opened.map(|opened| at.since(opened));
    let lasted = match news.figures {
        // From the first datagram to the last one, however long the silence afterwards.
        Figures::Datagrams(moved, _) => Some(moved.last.since(moved.first)),
        _ => age,
    };
    // A resolver's Unix socket has no address.
    let has_ends = news.dns.is_none_or(|dns| dns.resolver.is_none());
    let ends = flow.places.as_ref().filter(|_| has_ends).map(|places| endpoints(flow, places, figures, said));
    let (source, destination) = match ends {
        // Nobody is at the other end; the one that waits is the one that others connect to.
        Some((local, _)) if news.action == Action::Listening => (None, Some(local)),
        ends => ends.unzip(),
    };
    let record = Record {
        schema: SCHEMA,
        seq,
        timestamp: clock.at(at),
        event: EventObject {
            kind: EventKind::Event,
            category: &["network"],
            types: news.types,
            action: news.action,
            outcome: Some(news.outcome(&end)),
            duration: end.end.and(lasted).or_else(|| news.answered_in(at)).map(nanoseconds),
        },
        flow: has_ends.then(|| FlowObject {
            id: FlowId { boot, cookie: flow.cookie, peer: flow.peer },
            age_ms: age.map(milliseconds),
            silent_ms: news.silent_ms(at),
            netns: flow.tuple.netns,
            end: end.end,
            end_by: end.by,
        }),
        network: has_ends.then(|| NetworkObject {
            transport: flow.transport,
            protocol: flow.protocol,
            cleartext: flow.protocol == Some(Protocol::Http),
            family: match flow.tuple.remote_ip() {
                IpAddr::V4(_) => Family::Ipv4,
                IpAddr::V6(_) => Family::Ipv6,
            },
            direction: flow.direction,
            // Omitted until both ports are known.
            community_id: (flow.tuple.remote_port != 0 && flow.tuple.local_port != 0)
                // None where it is redacted: it could be made from every address in turn.
                .then(|| flow.community.get())
                .flatten(),
            rtt_us: news.rtt_us,
            retransmits: match news.figures {
                Figures::None | Figures::Datagrams(..) => None,
                Figures::Ending(ending) => Some(ending.retransmits),
                Figures::SoFar(counters) => Some(counters.retransmits),
            },
        }),
        source,
        destination,
        flags: said.flags,
        rule: None,
        alert: None,
        error: end.error.map(|code| ErrorObject { code }),
        tls: flow.hello.as_deref().map(tls),
        dns: news.dns.map(DnsNews::object),
        tracer: None,
        who: flow.who.as_deref(),
    };
    use_it(&record)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn tls(hello: &ClientHello) -> TlsObject<'_> {
    TlsObject {
        client: TlsClient {
            server_name: hello.server_name.as_deref(),
            ja4: &hello.ja4,
            alpn: &hello.alpn,
            ech: hello.is_hidden,
        },
    }
}

/// A service as records show it.
#[must_use]
pub fn service_object(service: &Service, found: Found) -> ServiceObject<'_> {
    ServiceObject {
        id: &service.id,
        name: &service.name,
        owner: service.owner.as_deref(),
        country_iso_code: service.country.as_deref(),
        category: service.category,
        evidence: found.evidence,
        possible: found.is_possible(),
    }
}

/// Adds the name of the end that was connected to.
fn named<'a>(end: &mut Endpoint<'a>, name: &'a FlowName) {
    end.domain = Some(&name.domain);
    end.registered_domain = name.registered.as_deref();
    end.name = Some(NameObject {
        source: name.source,
        age_ms: name.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        ambiguous: name.ambiguous,
        candidates: &name.candidates,
    });
}

impl DnsNews {
    fn outcome(&self) -> Outcome {
        match (self.kind, self.code.as_deref()) {
            (DnsKind::Query, _) => Outcome::Unknown,
            (DnsKind::Answer, Some("NOERROR")) => Outcome::Success,
            (DnsKind::Answer, None) if !self.addresses.is_empty() => Outcome::Success,
            (DnsKind::Answer, _) => Outcome::Failure,
        }
    }

    fn object(&self) -> DnsObject<'_> {
        DnsObject {
            kind: self.kind,
            question: DnsQuestion {
                name: &self.name,
                kind: self.question_type.as_deref(),
                registered_domain: self.registered.as_deref(),
            },
            response_code: self.code.as_deref(),
            resolved_ip: &self.addresses,
            truncated: self.is_truncated,
            resolver: self.resolver,
        }
    }
}

fn end_of(news: &News<'_>) -> Verdict {
    let end = match (news.figures, news.kind) {
        (Figures::Ending(ending), _) => return verdict(ending),
        (Figures::Datagrams(_, end), _) => end,
        (_, Kind::Evicted) => Some(End::Evicted),
        (_, Kind::Unseen) => Some(End::Unseen),
        _ => None,
    };
    Verdict { end, ..Verdict::default() }
}

/// Source and destination: the source is the end that opened the connection, or the local one when that is unknown.
fn endpoints<'a>(
    flow: &'a Flow,
    places: &'a Places,
    figures: Option<Volume>,
    said: &Said<'a>,
) -> (Endpoint<'a>, Endpoint<'a>) {
    let mut local = places.local.endpoint(flow.tuple.local_port);
    let mut remote = places.remote.endpoint(flow.tuple.remote_port);
    if let Some(figures) = figures {
        local.bytes = figures.bytes_sent;
        local.packets = figures.packets_sent;
        remote.bytes = figures.bytes_received;
        remote.packets = figures.packets_received;
    }
    if let Some(name) = &flow.name {
        named(&mut remote, name);
    }
    remote.service = said.service.map(|(service, found)| service_object(service, found));
    remote.lists = said.lists;
    match flow.direction {
        Some(Direction::Ingress) => (remote, local),
        Some(Direction::Egress) | None => (local, remote),
    }
}
