//! What user space does for UDP flows: reads their figures in the programs' map, ends those that are silent, and those
//! whose socket is gone.

use std::time::Duration;

use tokio::time::Instant;

use super::session::Session;
use crate::clock::{BootTime, Clock};
use crate::config::Config;
use crate::event::{Event, FlowKey, What};
use crate::record::{End, Transport};
use crate::source::udp::Counted;

/// When the map of flows is looked at. Only while a flow is open, so that an idle system stays asleep.
pub struct UdpLooks {
    idle: Duration,
    /// `None`: never.
    sample: Option<Duration>,
    next: Option<Instant>,
    next_sample: Option<Instant>,
}

impl UdpLooks {
    pub fn new(config: &Config) -> Self {
        Self { idle: config.udp_idle, sample: config.sample, next: None, next_sample: None }
    }

    /// Sets the timer while there is something to look at.
    pub fn watch(&mut self, is_anything_open: bool) {
        if !is_anything_open {
            (self.next, self.next_sample) = (None, None);
        } else if self.next.is_none() {
            let now = Instant::now();
            let next_sample = self.sample.map(|every| *self.next_sample.get_or_insert(now + every));
            let next = now + self.idle / 2;
            self.next = Some(next_sample.map_or(next, |sample| sample.min(next)));
        }
    }

    /// Takes note of a look; says whether what the flows moved is to be told.
    fn looked(&mut self) -> bool {
        self.next = None;
        let is_due = self.next_sample.is_some_and(|due| due <= Instant::now());
        if is_due {
            self.next_sample = None;
        }
        is_due
    }
}

/// An event about a flow of the map.
fn event(key: &FlowKey, counted: &Counted, at: BootTime, what: What) -> Option<Event> {
    let (remote, remote_port) = key.peer?;
    let tuple = counted.tuple(remote, remote_port);
    Some(Event { at, cookie: key.cookie, transport: Transport::Udp, tuple, what })
}

impl Session {
    /// When the UDP flows are to be looked at next; `None` while none is open.
    pub fn next_udp_look(&self) -> Option<Instant> {
        self.udp.next
    }

    /// Ends the flows that are silent, and tells of what the others have moved when that is due.
    pub fn look_at_udp(&mut self) {
        let is_sample_due = self.udp.looked();
        let (clock, now) = (Clock::read(), Clock::boot());
        let keys: Vec<_> = self.pipeline.flows.udp().map(crate::flow::Flow::key).collect();
        for key in keys {
            let Some(flows) = &mut self.attached.udp.flows else { return };
            let Some(mut counted) = flows.get(&key) else {
                self.end_if_forgotten(&key, now, clock);
                continue;
            };
            let mut what = What::DatagramsSoFar(counted.moved);
            if now.since(counted.moved.last) >= self.udp.idle {
                let Some(last) = flows.take(&key) else { continue };
                counted = last;
                what = What::Ended(counted.last(), End::Idle);
            } else if !is_sample_due {
                continue;
            }
            if let Some(event) = event(&key, &counted, now, what) {
                self.handle(&event, clock);
            }
        }
        self.flush();
        self.udp.watch(self.pipeline.flows.has_udp());
        // When the map is full, no event of the flows that find no room wakes us.
        self.check_losses();
    }

    /// A flow that the map lacks has ended: its event is on the way. When it does not come for long, it was lost.
    fn end_if_forgotten(&mut self, key: &FlowKey, now: BootTime, clock: Clock) {
        let idle = self.udp.idle;
        let is_forgotten = |flow: &&crate::flow::Flow| now.since(flow.heard) >= idle;
        if self.pipeline.flows.get(key).filter(is_forgotten).is_none() {
            return;
        }
        self.drain_all();
        let gone = self.pipeline.flows.get(key).filter(is_forgotten).map(|flow| flow.gone(now));
        if let Some(gone) = gone {
            self.handle(&gone, clock);
        }
    }

    /// The map was full: ends the half of its flows that was silent longest.
    pub(super) fn make_room_for_udp(&mut self) {
        let Some(flows) = &self.attached.udp.flows else { return };
        let with_age = |key: FlowKey| flows.get(&key).map(|counted| (counted.moved.last, key));
        let mut all: Vec<_> = flows.keys().into_iter().filter_map(with_age).collect();
        all.sort_unstable();
        let (now, clock) = (Clock::boot(), Clock::read());
        for (_, key) in all.iter().take(all.len() / 2) {
            self.end_udp(key, now, End::Evicted, clock);
        }
        self.flush();
    }

    /// Ends all UDP flows of a socket that was released.
    pub(super) fn end_all_of(&mut self, cookie: u64, at: BootTime, clock: Clock) {
        for key in self.pipeline.flows.udp_of(cookie) {
            self.end_udp(&key, at, End::Closed, clock);
        }
    }

    fn end_udp(&mut self, key: &FlowKey, at: BootTime, end: End, clock: Clock) {
        let Some(counted) = self.attached.udp.flows.as_mut().and_then(|flows| flows.take(key)) else {
            return;
        };
        if let Some(event) = event(key, &counted, at, What::Ended(counted.last(), end)) {
            self.handle(&event, clock);
        }
    }

    /// After a loss: tells of flows in the map that nothing was heard of, and ends those whose socket is gone.
    pub(super) fn compare_udp(&mut self, at: BootTime, clock: Clock) {
        let Some(flows) = &self.attached.udp.flows else { return };
        // In this order: a socket is in the map before its flows. A flow that is there now, and whose socket is not there
        // then, is over.
        let keys = flows.keys();
        let open = flows.open_sockets();
        // What the programs told of these flows is in the ring.
        self.drain_all();
        for key in keys {
            if !open.contains(&key.cookie) {
                self.end_udp(&key, at, End::Unseen, clock);
            } else if !self.pipeline.flows.contains(&key) && !self.pipeline.flows.is_full() {
                let counted = self.attached.udp.flows.as_ref().and_then(|flows| flows.get(&key));
                let event = counted.and_then(|counted| {
                    event(&key, &counted, at, What::FirstDatagram(Box::new(counted.found())))
                });
                if let Some(event) = event {
                    self.handle(&event, clock);
                }
            }
        }
        self.udp.watch(self.pipeline.flows.has_udp());
    }
}
