//! Flow + news + what `enrich` knows → the [`Record`] of one connection event.

use std::borrow::Cow;
use std::net::IpAddr;

use tracer_ebpf::abi::{KNOWN_TASK, KNOWN_TASK_UID};

use super::*;
use crate::clock::{BootTime, Clock};
use crate::enrich::Enricher;
use crate::enrich::app::App;
use crate::enrich::process::thread_name;
use crate::event::{Ending, What};
use crate::flow::end::{Verdict, Volume, verdict, volume};
use crate::flow::{Flow, community_id};
use crate::tally::Kind;

/// What is new about a flow.
pub struct News<'a> {
    pub action: Action,
    /// What it is counted as.
    pub kind: Kind,
    types: &'static [&'static str],
    rtt_us: Option<u32>,
    ending: Option<&'a Ending>,
}

impl<'a> News<'a> {
    /// The table was full and this flow had to go.
    pub const EVICTED: News<'static> = News {
        action: Action::Close,
        kind: Kind::Evicted,
        types: &["connection", "end"],
        rtt_us: None,
        ending: None,
    };

    /// `None` for events that are about no connection.
    #[must_use]
    pub fn of(what: &'a What) -> Option<Self> {
        let start: &[&str] = &["connection", "start"];
        let info: &[&str] = &["connection", "info"];
        let end: &[&str] = &["connection", "end"];
        let (action, kind, types, rtt_us, ending) = match what {
            What::Connect(_) => (Action::Connect, Kind::Connect, start, None, None),
            What::Established(ready) => (Action::Established, Kind::Established, info, ready.rtt_us, None),
            What::Accept(ready) => (Action::Accept, Kind::Accept, start, ready.rtt_us, None),
            What::Failed(ending) => (Action::Failed, Kind::Failed, end, ending.rtt_us, Some(ending)),
            What::Close(ending) => (Action::Close, Kind::Close, end, ending.rtt_us, Some(ending)),
            What::Listen(_) => return None,
        };
        Some(Self { action, kind, types, rtt_us, ending })
    }

    fn outcome(&self, verdict: &Verdict) -> Outcome {
        match self.action {
            Action::Established | Action::Accept => Outcome::Success,
            Action::Failed => Outcome::Failure,
            Action::Close => match verdict.end {
                Some(End::Closed) => Outcome::Success,
                Some(End::Evicted) | None => Outcome::Unknown,
                Some(_) => Outcome::Failure,
            },
            _ => Outcome::Unknown,
        }
    }
}

/// Name of the calling thread.
#[must_use]
pub fn comm(flow: &Flow) -> Option<Cow<'_, str>> {
    flow.identity.as_ref().and_then(thread_name)
}

/// Puts the record together and lends it to `use_it`: the record borrows from the flow and from the tables.
#[allow(clippy::too_many_arguments, reason = "a record has that many sources; a struct would only rename them")]
pub fn with_record(
    flow: &Flow,
    news: &News<'_>,
    at: BootTime,
    clock: Clock,
    enricher: &Enricher,
    boot: &str,
    seq: u64,
    use_it: impl FnOnce(&Record<'_>),
) {
    let end = end_of(news);
    let figures = news.ending.map(|ending| volume(ending, flow.direction));
    let age = flow.opened.map(|opened| at.since(opened));
    let comm = comm(flow);
    let (source, destination) = endpoints(flow, figures, enricher);
    use_it(&Record {
        schema: SCHEMA,
        seq,
        timestamp: clock.at(at),
        event: EventObject {
            kind: EventKind::Event,
            category: &["network"],
            types: news.types,
            action: news.action,
            outcome: Some(news.outcome(&end)),
            duration: end.end.and(age).map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)),
        },
        flow: Some(FlowObject {
            id: FlowId { boot, cookie: flow.cookie },
            age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            netns: flow.tuple.netns,
            end: end.end,
            end_by: end.by,
        }),
        network: Some(NetworkObject {
            transport: Transport::Tcp,
            family: match flow.tuple.remote_ip() {
                IpAddr::V4(_) => Family::Ipv4,
                IpAddr::V6(_) => Family::Ipv6,
            },
            direction: flow.direction,
            community_id: Some(community_id::format(&flow.community)),
            rtt_us: news.rtt_us,
            retransmits: news.ending.map(|ending| ending.retransmits),
        }),
        source: Some(source),
        destination: Some(destination),
        process: process(flow, comm.as_deref(), clock, enricher),
        user: flow.owner.map(|uid| user(uid, enricher)),
        app: flow.owner.and_then(|uid| enricher.apps.lookup(uid)).map(|app| app_object(&app)),
        attribution: Some(attribution(flow)),
        flags: flow.flags.as_deref().unwrap_or_default(),
        error: end.error.map(|code| ErrorObject { code }),
        tracer: None,
    });
}

fn end_of(news: &News<'_>) -> Verdict {
    match (news.ending, news.action) {
        (Some(ending), _) => verdict(ending),
        (None, Action::Close) => Verdict { end: Some(End::Evicted), ..Verdict::default() },
        (None, _) => Verdict::default(),
    }
}

/// Source and destination: the source is the end that opened the connection, or the local one when that is unknown.
fn endpoints<'a>(
    flow: &Flow,
    figures: Option<Volume>,
    enricher: &'a Enricher,
) -> (Endpoint<'a>, Endpoint<'a>) {
    let tuple = &flow.tuple;
    let mut local = endpoint(tuple.local_ip(), tuple.local_port, enricher);
    let mut remote = endpoint(tuple.remote_ip(), tuple.remote_port, enricher);
    if let Some(figures) = figures {
        local.bytes = figures.bytes_sent;
        local.packets = figures.packets_sent;
        remote.bytes = figures.bytes_received;
        remote.packets = Some(figures.packets_received);
    }
    match flow.direction {
        Some(Direction::Ingress) => (remote, local),
        Some(Direction::Egress) | None => (local, remote),
    }
}

fn endpoint(ip: IpAddr, port: u16, enricher: &Enricher) -> Endpoint<'_> {
    let place = enricher.geo.lookup(ip);
    Endpoint {
        ip,
        port: (port != 0).then_some(port),
        scope: place.scope,
        nat64: place.nat64.map(IpAddr::V4),
        anycast: place.anycast,
        geo: place.geo_object(),
        asn: place.as_object(),
        bytes: None,
        packets: None,
    }
}

fn process<'a>(
    flow: &'a Flow,
    comm: Option<&'a str>,
    clock: Clock,
    enricher: &'a Enricher,
) -> Option<ProcessObject<'a>> {
    let identity = flow.identity.as_ref().filter(|identity| identity.known & KNOWN_TASK != 0)?;
    let process = flow.process.as_deref();
    Some(ProcessObject {
        pid: identity.pid,
        name: comm?,
        thread: Some(ThreadObject { id: identity.tid }),
        executable: process.and_then(|process| process.executable.as_deref()),
        command_line: process.and_then(|process| process.command_line.as_deref()),
        parent: process.and_then(|process| process.parent.as_ref()).map(|parent| ParentObject {
            pid: parent.pid,
            name: parent.name.as_deref(),
        }),
        start: process.and_then(|process| process.start).map(|start| clock.at(start)),
        user: (identity.known & KNOWN_TASK_UID != 0).then(|| user(identity.task_uid, enricher)),
    })
}

fn user(uid: u32, enricher: &Enricher) -> UserObject<'_> {
    UserObject { id: Decimal(uid), name: enricher.apps.user_name(uid) }
}

/// Packages of a shared uid that are described one by one in every record; of more (uid 1000 has some sixty) a record
/// names all, and `tracer apps --json` describes them.
const MEMBERS_IN_RECORD: usize = 8;

fn app_object<'a>(app: &App<'a>) -> AppObject<'a> {
    if app.members().len() <= MEMBERS_IN_RECORD { app.object() } else { app.brief() }
}

fn attribution(flow: &Flow) -> Attribution {
    let task = flow.identity.is_some_and(|identity| identity.known & KNOWN_TASK != 0);
    let process = task.then_some(match flow.direction {
        Some(Direction::Ingress) => ProcessSource::Listen,
        _ => ProcessSource::Connect,
    });
    let confidence = flow.owner_source.map(|source| match source {
        OwnerSource::SkUid => Confidence::Certain,
        OwnerSource::TaskUid => Confidence::Likely,
    });
    Attribution { method: Method::SockOps, owner: flow.owner_source, process, confidence }
}
