//! One stream from `start` to `stop`: drains the ring, writes records, counts what was lost.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::accounting::Accounting;
use super::census::Losses;
use super::reload::Reloaded;
use super::udp::UdpLooks;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::event::{Event, What};
use crate::kernel::attach::Attached;
use crate::kernel::tcp::SOCK_DIAG;
use crate::ledger::Keeper;
use crate::pipeline::Pipeline;
use crate::record::{Action, FlowsObject, StreamObject, TotalsObject};
use crate::sink::output::{Ended, FLUSH_BYTES, Output};
use crate::source::decode::decode;
use crate::tally::{Kind, Tally};

/// Events taken in one go, so that signals are looked at in between.
const BATCH: u64 = 4096;
/// More events than this within one [`REST`] are a burst (10,000 a second). More are on their way: letting them gather
/// costs less than being woken for each, here and in the hooks, which wake nobody while the ring is not empty.
const BURST: u64 = 100;
/// How long a burst is left to gather. Short against the ring: 2 MiB hold some 17,000 events.
const REST: Duration = Duration::from_millis(10);
/// How long after an event the programs' counters are looked at, so that nothing wakes an idle system.
const CHECK_AFTER: Duration = Duration::from_secs(1);

pub struct Session {
    pub(super) attached: Attached,
    pub(super) pipeline: Pipeline,
    output: Output,
    pub(super) ledger: Option<Keeper>,
    pub(super) ledger_every: Duration,
    /// When what changed is handed to it.
    pub(super) next_booking: Option<Instant>,
    accounting: Accounting,
    started: Timestamp,
    next_check: Option<Instant>,
    /// `None`: only when they are asked for.
    stats_every: Option<Duration>,
    next_stats: Option<Instant>,
    pub(super) include_loopback: bool,
    /// Connections over loopback that were open before the start and are left out.
    pub(super) existing_loopback: u64,
    pub(super) losses: Losses,
    pub(super) udp: UdpLooks,
    /// Events since `window_start`.
    window_events: u64,
    window_start: Instant,
}

/// Whether the ring was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    Empty,
    MoreIsThere,
}

/// Batches after which nobody waits for the ring to be empty: many times what the ring holds.
const MOST_BATCHES: usize = 256;

impl Session {
    pub fn new(
        attached: Attached,
        pipeline: Pipeline,
        output: Output,
        ledger: Option<Keeper>,
        started: Timestamp,
        config: &Config,
    ) -> Self {
        Self {
            attached,
            pipeline,
            output,
            ledger,
            ledger_every: config.ledger_every,
            next_booking: None,
            accounting: Accounting::default(),
            started,
            next_check: None,
            stats_every: config.stats,
            next_stats: None,
            include_loopback: config.include_loopback,
            existing_loopback: 0,
            losses: Losses::default(),
            udp: UdpLooks::new(config),
            window_events: 0,
            window_start: Instant::now(),
        }
    }

    /// A descriptor that becomes readable when the ring has events.
    pub fn ring_fd(&self) -> io::Result<OwnedFd> {
        self.attached.ring.as_fd().try_clone_to_owned()
    }

    /// A descriptor that becomes readable when the output ended by itself.
    pub fn output_fd(&self) -> io::Result<OwnedFd> {
        self.output.done().try_clone()
    }

    /// When the counters are to be looked at next; `None` while nothing happens.
    pub fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// Takes events off the ring: all of them, or one batch.
    pub fn drain(&mut self) -> Drained {
        let clock = Clock::read();
        let mut taken = 0;
        let mut drained = Drained::MoreIsThere;
        while taken < BATCH {
            let Some(item) = self.attached.ring.next() else {
                drained = Drained::Empty;
                break;
            };
            taken += 1;
            let event = decode(&item);
            drop(item);
            match event {
                Ok(Event { what: What::AllReleased, at, cookie, .. }) => self.end_all_of(cookie, at, clock),
                Ok(event) => self.pipeline.handle(&event, clock),
                Err(error) => self.accounting.decode_failed(error),
            }
            self.flush_if_much();
        }
        self.flush();
        self.accounting.received += taken;
        self.window_events += taken;
        self.udp.watch(self.pipeline.flows.has_udp());
        self.plan_booking();
        if taken > 0 && self.next_check.is_none() {
            self.next_check = Some(Instant::now() + CHECK_AFTER);
            if let (Some(every), None) = (self.stats_every, self.next_stats) {
                self.next_stats = Some(Instant::now() + every);
            }
        }
        drained
    }

    /// Takes everything off the ring that was there at the call, and in a storm some of what came since.
    pub(super) fn drain_all(&mut self) {
        for _ in 0..MOST_BATCHES {
            if self.drain() == Drained::Empty {
                break;
            }
        }
    }

    /// In a burst, lets the next events gather.
    pub async fn rest_in_a_burst(&mut self) {
        let now = Instant::now();
        let is_burst = self.window_events >= BURST;
        if now - self.window_start >= REST || is_burst {
            self.window_start = now;
            self.window_events = 0;
        }
        if is_burst {
            tokio::time::sleep(REST).await;
        }
    }

    /// Takes one event through the chain, where many may come in a row.
    pub(super) fn handle(&mut self, event: &Event, clock: Clock) {
        self.pipeline.handle(event, clock);
        self.flush_if_much();
    }

    /// The output takes or loses what it is given as a whole: many small portions fit where a large one does not.
    fn flush_if_much(&mut self) {
        if self.pipeline.stages.lines.bytes().len() >= FLUSH_BYTES {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        let lines = &mut self.pipeline.stages.lines;
        let (records, has_room) = lines.hand_over(|lines| lines.is_empty() || self.output.push(lines));
        if has_room {
            self.accounting.written += records;
        } else {
            self.accounting.output_full(records);
            self.next_check.get_or_insert_with(|| Instant::now() + CHECK_AFTER);
        }
    }

    /// Reads the programs' counters and tells the stream what was lost.
    pub fn check_losses(&mut self) {
        self.next_check = None;
        self.pipeline.give_up_questions(Clock::boot(), Clock::read(), false);
        if !self.pipeline.flows.has_existing() {
            self.attached.leave_existing();
        }
        if let Ok(totals) = self.attached.counters.read() {
            self.accounting.kernel_counters(&totals);
        }
        self.accounting.missed_runs(&self.attached.missed());
        if self.accounting.has_lost_kernel_events() {
            self.losses.noticed(Clock::boot());
        }
        if self.accounting.has_lost_datagrams() {
            self.make_room_for_udp();
        }
        if self.accounting.has_news() && !self.tell_losses() {
            // No room even for that: try again later.
            self.next_check = Some(Instant::now() + CHECK_AFTER);
        }
    }

    fn tell_losses(&mut self) -> bool {
        let lost = Some(self.accounting.news());
        let told = self.report(Action::Loss, StreamObject { lost, ..StreamObject::default() });
        if told {
            self.accounting.told();
        }
        told
    }

    /// Writes figures about the stream so far.
    pub fn tell_stats(&mut self) {
        let counters = self.attached.counters.read().unwrap_or_default();
        self.accounting.kernel_counters(&counters);
        self.accounting.missed_runs(&self.attached.missed());
        let flows = &self.pipeline.flows;
        let flows = FlowsObject { open: flows.len(), most: flows.capacity(), evicted: flows.evicted() };
        self.report(
            Action::Stats,
            StreamObject {
                flows: Some(flows),
                ledger: self.ledger(),
                lost: Some(self.accounting.all()).filter(|lost| !lost.is_empty()),
                totals: Some(self.totals(&counters)),
                memory_kib: crate::memory::resident_kib(),
                hooks: self.attached.costs(),
                ..StreamObject::default()
            },
        );
        self.next_stats = None;
    }

    /// When the next figures are due; `None` while nothing has happened since the last ones.
    pub fn next_stats(&self) -> Option<Instant> {
        self.next_stats
    }

    /// Writes a record about the stream, into reserved room.
    pub fn report(&mut self, action: Action, stream: StreamObject<'_>) -> bool {
        self.flush();
        self.pipeline.stages.report(action, Clock::wall(), stream);
        self.pipeline.stages.lines.hand_over(|lines| self.output.push_reserved(lines)).1
    }

    /// Writes warnings to the stream; and to standard error, unless a person reads the stream itself.
    pub fn warn(&mut self, warnings: &[String]) {
        if !self.pipeline.stages.lines.are_for_a_person() {
            crate::commands::warn(warnings);
        }
        for message in warnings {
            self.report(Action::Warning, StreamObject { message: Some(message), ..StreamObject::default() });
        }
    }

    /// Whether the list of sockets is to be looked at now and then.
    pub fn needs_looks(&self) -> bool {
        !self.pipeline.flows.is_empty() || self.polls_udp() || self.attached.tcp.tier == SOCK_DIAG
    }

    /// Whether the list of sockets is the only thing that tells of UDP.
    pub(super) fn polls_udp(&self) -> bool {
        self.attached.udp.tier == Some(SOCK_DIAG)
    }

    /// Whether events were lost, so that the table of flows must be compared with the kernel's list of sockets.
    pub fn needs_census(&self) -> bool {
        self.losses.need_a_census()
    }

    /// Takes over data files that were read again.
    pub fn apply(&mut self, reloaded: Reloaded) {
        let enricher = &mut self.pipeline.stages.enricher;
        let warnings = reloaded.apply(enricher, Clock::wall());
        let geo = enricher.geo.databases().to_vec();
        let packages = enricher.apps.package_count();
        self.pipeline.stages.who.clear();
        self.pipeline.stages.places.clear();
        let message = Some("data files were read again");
        self.report(Action::Reload, StreamObject { geo: &geo, packages, message, ..StreamObject::default() });
        self.warn(&warnings);
    }

    /// Detaches, takes what is left, writes `stop`, and waits for the output.
    pub fn finish(mut self, message: &str) -> Ended {
        self.accounting.missed_runs(&self.attached.missed());
        self.attached.detach();
        let totals = self.take_the_rest();
        self.accounting.kernel_counters(&totals);
        self.pipeline.give_up_questions(Clock::boot(), Clock::read(), true);
        self.flush();
        if self.losses.need_a_census() || self.accounting.has_lost_kernel_events() {
            // What the map counted of flows whose events were lost is still there.
            self.compare_udp(Clock::boot(), Clock::read());
            self.flush();
        }
        if self.accounting.has_news() {
            self.tell_losses();
        }
        let ledger = self.finish_ledger();
        let totals = self.totals(&totals);
        let loopback: u64 = totals.loopback.values().sum();
        let message = match loopback {
            0 => message.to_owned(),
            n => format!("{message}; {n} loopback events were left out (--include-loopback shows them)"),
        };
        self.report(
            Action::Stop,
            StreamObject {
                ledger,
                message: Some(&message),
                lost: Some(self.accounting.all()).filter(|lost| !lost.is_empty()),
                totals: Some(totals),
                ..StreamObject::default()
            },
        );
        self.output.finish()
    }

    /// Empties the ring until everything that the programs say they emitted has arrived. A program may still be
    /// running on another CPU while we detach; it needs microseconds, and the wait is bounded.
    fn take_the_rest(&mut self) -> crate::kernel::counters::Totals {
        let mut totals = crate::kernel::counters::Totals::default();
        for _ in 0..50 {
            while self.drain() == Drained::MoreIsThere {}
            let Ok(now) = self.attached.counters.read() else { break };
            totals = now;
            let emitted: u64 = totals.iter().map(|counter| counter.emitted).sum();
            if emitted <= self.accounting.received {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        totals
    }

    fn totals(&self, kernel: &crate::kernel::counters::Totals) -> TotalsObject {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let mut loopback = Tally::from_kinds(kernel.map(|counter| counter.skipped));
        loopback[Kind::Existing] = self.existing_loopback;
        let loopback = loopback.by_name();
        let milliseconds = cpu.tv_sec.saturating_mul(1000).saturating_add(cpu.tv_nsec / 1_000_000);
        TotalsObject {
            records: self.accounting.written.by_name(),
            kernel_events: Tally::from_kinds(kernel.map(|counter| counter.emitted + counter.lost)).by_name(),
            not_shown: self.pipeline.stages.not_shown.by_name(),
            loopback,
            cpu_ms: u64::try_from(milliseconds).ok(),
            since: Some(self.started),
        }
    }
}
