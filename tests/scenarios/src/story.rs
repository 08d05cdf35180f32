//! Kernel events of a story, put together from what its apps do.

use std::net::{IpAddr, Ipv4Addr};

use tracer::clock::BootTime;
use tracer::event::{Counters, Ending, Event, Existing, Fin, Ready, ResolverCopy, Tuple, What};
use tracer::record::Transport;
use tracer_ebpf::abi::{
    Identity, KNOWN_EXEC, KNOWN_OWNER, KNOWN_START, KNOWN_TASK, KNOWN_TASK_UID, tcp_state,
};

/// Milliseconds since the boot.
pub type Ms = u64;

pub const SECOND: Ms = 1_000;
pub const MINUTE: Ms = 60 * SECOND;
pub const HOUR: Ms = 60 * MINUTE;

/// How often open connections are looked at.
const LOOK: Ms = MINUTE;
/// From connect to established.
const HANDSHAKE: Ms = 80;

/// An app of the story.
#[derive(Clone, Copy, Debug)]
pub struct App {
    pub uid: u32,
    pub pid: u32,
    pub comm: &'static str,
}

/// Where it connects to.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    pub ip: Ipv4Addr,
    pub port: u16,
}

/// Everything that happens.
#[derive(Clone, Debug, Default)]
pub struct Story {
    events: Vec<(Ms, Event)>,
    cookies: u64,
    conversations: u64,
    open: Vec<Open>,
}

/// A connection that is not closed yet.
#[derive(Clone, Debug)]
struct Open {
    cookie: u64,
    app: App,
    tuple: Tuple,
    from: Ms,
    to: Option<Ms>,
    /// When data went over it, and how much, up and down.
    data: Vec<(Ms, u64, u64)>,
}

/// Number of an open connection.
#[derive(Clone, Copy, Debug)]
pub struct Channel(usize);

impl Story {
    /// An app asks the system's resolver.
    pub fn resolve(&mut self, at: Ms, app: App, name: &str, ip: Ipv4Addr) {
        self.conversations += 1;
        let event = |at, is_answer, bytes: Vec<u8>| {
            let what = What::Resolver(Box::new(ResolverCopy {
                identity: identity(app),
                is_answer,
                is_resolved: false,
                bytes: bytes.into(),
            }));
            (
                at,
                Event {
                    at: boot(at),
                    cookie: self.conversations,
                    transport: Transport::Tcp,
                    tuple: NO_TUPLE,
                    what,
                },
            )
        };
        self.events.push(event(at, false, format!("getaddrinfo {name} 443 0 0 1 0 0\0").into()));
        let mut answer = b"222\0\0\0\0\x01".to_vec();
        answer.extend_from_slice(&[0; 16]);
        answer.extend_from_slice(&[0, 0, 0, 16, 2, 0, 1, 187]);
        answer.extend_from_slice(&ip.octets());
        answer.extend_from_slice(&[0; 16]);
        self.events.push(event(at + 40, true, answer));
    }

    /// A connection that moves something at once and is closed.
    pub fn exchange(&mut self, at: Ms, app: App, server: Server, up: u64, down: u64, lasts: Ms) {
        let channel = self.connect(at, app, server);
        self.beat(channel, at + HANDSHAKE + 20, up, down);
        self.close(channel, at + lasts);
    }

    /// A connection that stays open.
    pub fn connect(&mut self, at: Ms, app: App, server: Server) -> Channel {
        let (cookie, tuple) = self.begin(at, app, server);
        self.push(
            at + HANDSHAKE,
            cookie,
            tuple,
            What::Established(Ready { owner: Some(app.uid), rtt_us: Some(71_000) }),
        );
        self.open.push(Open { cookie, app, tuple, from: at, to: None, data: Vec::new() });
        Channel(self.open.len() - 1)
    }

    /// A connection that does not come to be, because there is no network.
    pub fn fail(&mut self, at: Ms, app: App, server: Server) {
        const ENETUNREACH: u32 = 101;
        let (cookie, tuple) = self.begin(at, app, server);
        let ending = Ending {
            owner: Some(app.uid),
            segs_out: 1,
            error: Some(ENETUNREACH),
            old_state: tcp_state::SYN_SENT,
            ..Ending::default()
        };
        self.push(at + 1, cookie, tuple, What::Failed(ending));
    }

    /// Data goes over an open connection.
    pub fn beat(&mut self, channel: Channel, at: Ms, up: u64, down: u64) {
        if let Some(open) = self.open.get_mut(channel.0) {
            open.data.push((at, up, down));
        }
    }

    /// In order.
    pub fn close(&mut self, channel: Channel, at: Ms) {
        self.finish(channel, at, None);
    }

    /// The other end, or the network, resets it.
    pub fn reset(&mut self, channel: Channel, at: Ms) {
        const ECONNRESET: u32 = 104;
        self.finish(channel, at, Some(ECONNRESET));
    }

    fn finish(&mut self, channel: Channel, at: Ms, error: Option<u32>) {
        let Some(open) = self.open.get_mut(channel.0) else { return };
        open.to = Some(at);
        let moved = open.moved(at);
        let fin = u64::from(error.is_none());
        let ending = Ending {
            owner: Some(open.app.uid),
            rtt_us: Some(72_000),
            bytes_received: moved.down + fin,
            bytes_acked: moved.up + 1 + fin,
            segs_in: moved.segments,
            segs_out: moved.segments + 2,
            retransmits: 0,
            error: Some(error.unwrap_or_default()),
            fin: Some(Fin { received: fin == 1, acked: fin == 1 }),
            old_state: if error.is_some() { tcp_state::ESTABLISHED } else { tcp_state::LAST_ACK },
        };
        let (cookie, tuple) = (open.cookie, open.tuple);
        self.push(at, cookie, tuple, What::Close(ending));
    }

    /// All events that a tracer sees which starts at `start` and ends at `end`, in their order.
    #[must_use]
    pub fn seen(&self, start: Ms, end: Ms) -> Vec<Event> {
        let mut seen: Vec<(Ms, Event)> =
            self.events.iter().filter(|(at, _)| (start..end).contains(at)).cloned().collect();
        for open in &self.open {
            seen.extend(open.looks(start, end));
        }
        seen.sort_by_key(|(at, _)| *at);
        seen.into_iter().map(|(_, event)| event).collect()
    }

    /// Takes the events so far, without looks at open connections.
    pub fn take(&mut self) -> Vec<Event> {
        self.open.clear();
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|(at, _)| *at);
        events.into_iter().map(|(_, event)| event).collect()
    }

    fn begin(&mut self, at: Ms, app: App, server: Server) -> (u64, Tuple) {
        self.cookies += 1;
        let cookie = 0x1000 + self.cookies;
        let tuple = Tuple {
            local: Ipv4Addr::new(10, 0, 2, 16).to_ipv6_mapped(),
            remote: server.ip.to_ipv6_mapped(),
            local_port: u16::try_from(32_768 + self.cookies % 28_000).unwrap_or(u16::MAX),
            remote_port: server.port,
            netns: None,
        };
        self.push(at, cookie, tuple, What::Connect(identity(app)));
        (cookie, tuple)
    }

    fn push(&mut self, at: Ms, cookie: u64, tuple: Tuple, what: What) {
        self.events.push((at, Event { at: boot(at), cookie, transport: Transport::Tcp, tuple, what }));
    }
}

struct Moved {
    up: u64,
    down: u64,
    segments: u32,
    last: Ms,
}

impl Open {
    fn moved(&self, until: Ms) -> Moved {
        let mut moved = Moved { up: 0, down: 0, segments: 1, last: self.from + HANDSHAKE };
        for &(at, up, down) in self.data.iter().filter(|(at, ..)| *at <= until) {
            moved =
                Moved { up: moved.up + up, down: moved.down + down, segments: moved.segments + 2, last: at };
        }
        moved
    }

    /// What looks at the list of open connections show of it.
    fn looks(&self, start: Ms, end: Ms) -> Vec<(Ms, Event)> {
        let mut events = Vec::new();
        let mut told = 0;
        let mut look = start;
        while look < end {
            let is_open = self.from + HANDSHAKE < look && self.to.is_none_or(|to| look < to);
            let moved = self.moved(look);
            let what = if !is_open {
                None
            } else if look == start {
                Some(What::Existing(Box::new(Existing {
                    owner: Some(self.app.uid),
                    holder: Some(identity(self.app)),
                    is_established: true,
                    counters: Some(counters(&moved, look)),
                    ..Existing::default()
                })))
            } else {
                (moved.up + moved.down > told).then(|| What::Sample(counters(&moved, look)))
            };
            if let Some(what) = what {
                told = moved.up + moved.down;
                let transport = Transport::Tcp;
                events.push((
                    look,
                    Event { at: boot(look), cookie: self.cookie, transport, tuple: self.tuple, what },
                ));
            }
            look += LOOK;
        }
        events
    }
}

fn counters(moved: &Moved, at: Ms) -> Counters {
    Counters {
        bytes_acked: moved.up + 1,
        bytes_received: moved.down,
        bytes_sent: Some(moved.up),
        segs_in: moved.segments,
        segs_out: moved.segments + 1,
        rtt_us: 71_000,
        silent_ms: u32::try_from(at - moved.last).ok(),
        ..Counters::default()
    }
}

fn identity(app: App) -> Identity {
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(app.comm.bytes().take(15)) {
        *to = from;
    }
    Identity {
        start_boot_ns: 9_000_000_000,
        exec_id: 1,
        pid: app.pid,
        tid: app.pid + 7,
        owner_uid: app.uid,
        task_uid: app.uid,
        comm,
        known: KNOWN_OWNER | KNOWN_TASK | KNOWN_TASK_UID | KNOWN_START | KNOWN_EXEC,
        pad: 0,
    }
}

fn boot(at: Ms) -> BootTime {
    BootTime(at * 1_000_000)
}

const NO_TUPLE: Tuple = Tuple {
    local: std::net::Ipv6Addr::UNSPECIFIED,
    remote: std::net::Ipv6Addr::UNSPECIFIED,
    local_port: 0,
    remote_port: 0,
    netns: None,
};

/// The address of a server.
#[must_use]
pub fn ip(server: Server) -> IpAddr {
    server.ip.into()
}
