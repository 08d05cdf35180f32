//! Makes the flow table equal to the kernel's list of open sockets: at the start, now and then, and after a loss.

use std::collections::{HashMap, HashSet};

use super::census::Census;
use super::session::Session;
use crate::clock::Clock;
use crate::enrich::geo;
use crate::event::What;
use crate::flow::Numbers;
use crate::record::Transport;
use crate::source::snapshot::{self, Socket};

impl Session {
    /// Compares the flow table with the kernel's list of sockets: tells of connections that nothing was heard of, of what
    /// the others moved, and of those that are gone.
    pub fn compare(&mut self, mut census: Census, is_first: bool) {
        let mut numbers = Numbers::of(self.pipeline.flows.all(), &HashMap::new());
        for socket in census.snapshot.sockets.iter_mut().filter(|socket| socket.is_tcp_connection()) {
            socket.cookie = numbers.find(&socket.tuple).unwrap_or(socket.cookie);
        }
        let Census { taken, snapshot } = &census;
        let lost_events = self.losses.need_a_census();
        self.losses.compared(*taken);
        let clock = Clock::read();
        // Where datagrams are seen, a UDP socket without one is no flow: of interest is only who holds it at the start.
        let polls_udp = self.polls_udp();
        let (known, new): (Vec<_>, Vec<_>) = snapshot
            .sockets
            .iter()
            .filter(|socket| is_first || polls_udp || socket.transport == Transport::Tcp)
            .partition(|socket| self.pipeline.flows.contains(&socket.key()));
        let (loopback, new): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|socket| socket.is_loopback() && !self.include_loopback);
        if is_first {
            let is_tcp = |socket: &&&Socket| socket.transport == Transport::Tcp;
            self.existing_loopback = loopback.iter().filter(is_tcp).count() as u64;
        }
        let (listening, existing): (Vec<_>, Vec<_>) = snapshot::events(&new, *taken)
            .into_iter()
            .partition(|event| matches!(event.what, What::Listening(_)));
        // First, because the ring may hold connections that these accepted.
        for event in listening {
            self.handle(&event, clock);
        }
        // Everything that happened until the list was read is in the ring: afterwards the table is as new as the list.
        self.pipeline.flows.remember_ended();
        self.drain_all();
        let ended = self.pipeline.flows.take_ended();
        for socket in known {
            if let Some(counters) = socket.counters {
                let at = snapshot.read_at(socket).unwrap_or(*taken);
                self.handle(&socket.event(at, What::Sample(counters)), clock);
            }
        }
        let mut listed: HashSet<_> = snapshot.sockets.iter().map(Socket::key).collect();
        // Some may have been numbered since.
        let mut numbers = Numbers::of(self.pipeline.flows.all(), &ended);
        for mut event in existing {
            if event.transport == Transport::Tcp {
                event.cookie = numbers.find(&event.tuple).unwrap_or(event.cookie);
                listed.insert(event.key());
            }
            // A full table would only trade one connection for the other.
            if !self.pipeline.flows.is_full() && !ended.contains_key(&event.key()) {
                self.handle(&event, clock);
            }
        }
        for gone in self.pipeline.flows.absent(&listed, &snapshot.namespaces, *taken, lost_events) {
            self.handle(&gone, clock);
        }
        if lost_events {
            self.compare_udp(*taken, clock);
        }
        self.flush();
        geo::give_back_built_in();
        if self.pipeline.flows.has_existing() {
            self.attached.watch_existing();
        } else {
            self.attached.leave_existing();
        }
        if let (true, Some(failure)) = (is_first, &snapshot.failure) {
            self.warn(std::slice::from_ref(failure));
        }
    }
}
