//! Event → record: flow, enrich, judge, render. No I/O but what `enrich` reads about a new process.
//!
//! In: decoded events and a clock. Out: rendered lines in [`Lines`]. Every event of a connection gives exactly one
//! record or is counted as not shown, so that the totals add up with the kernel's own counters.

use std::sync::Arc;

use tracer_ebpf::abi::KNOWN_TASK;
use wildmatch::WildMatch;

use crate::clock::{BootTime, Clock, Timestamp};
use crate::enrich::Enricher;
use crate::event::{Event, What};
use crate::flow::{Flow, FlowTable};
use crate::judge::Judge;
use crate::judge::saved::StreamId;
use crate::names::cache::Names;
use crate::record::connection::{self, News, Position, Said};
use crate::record::{
    Action, EventKind, EventObject, PlaceCache, Record, SCHEMA, StreamObject, WhoCache, alert,
};
use crate::redact::Redactor;
use crate::sink::Format;
use crate::tally::{Kind, Tally};

mod hearing;
pub use hearing::{DnsNews, Hearing};

/// Which records are wanted. An empty list of owners or apps wants all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Owners.
    pub uids: Vec<u32>,
    /// Patterns of package names, `*` and `?`.
    pub apps: Vec<WildMatch>,
    /// `None` wants all.
    pub actions: Option<Vec<Action>>,
}

impl Filter {
    fn admits(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|actions| actions.contains(&action))
    }

    fn admits_owner(&self, flow: &Flow, enricher: &Enricher) -> bool {
        (self.uids.is_empty() || flow.owner.is_some_and(|uid| self.uids.contains(&uid)))
            && (self.apps.is_empty() || self.admits_app(flow, enricher))
    }

    fn admits_app(&self, flow: &Flow, enricher: &Enricher) -> bool {
        let app = enricher.app_of(flow.owner, flow.process.as_deref());
        app.is_some_and(|app| {
            app.packages().iter().any(|name| self.apps.iter().any(|glob| glob.matches(name)))
        })
    }
}

/// Rendered records that wait for the output, and their numbering.
pub struct Lines {
    format: Format,
    seq: u64,
    buffer: Vec<u8>,
    counts: Tally,
}

impl Lines {
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, seq: 0, buffer: Vec::new(), counts: Tally::default() }
    }

    fn render(&mut self, record: &Record<'_>) {
        self.format.render(record, &mut self.buffer);
    }

    /// Number of the last record.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.seq
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Whether the form is for a person, not for other tools.
    #[must_use]
    pub fn are_for_a_person(&self) -> bool {
        !matches!(self.format, Format::Jsonl)
    }

    /// Rendered bytes, whole lines.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// Gives the rendered bytes to `take`, which may keep the buffer for another one, and empties what is left; returns
    /// which records of connections were in it, and what `take` said.
    pub fn hand_over<R>(&mut self, take: impl FnOnce(&mut Vec<u8>) -> R) -> (Tally, R) {
        let answer = take(&mut self.buffer);
        self.buffer.clear();
        (std::mem::take(&mut self.counts), answer)
    }
}

/// Everything behind the flow table.
pub struct Stages {
    pub enricher: Enricher,
    pub judge: Judge,
    pub filter: Filter,
    /// First half of every flow id.
    pub boot: String,
    pub lines: Lines,
    pub who: WhoCache,
    pub places: PlaceCache,
    /// Names that were asked for; `None` when they are not wanted.
    pub names: Option<Names>,
    /// Hashes names and addresses, where that is wanted.
    pub redactor: Option<Redactor>,
    /// Events that the filter left out.
    pub not_shown: Tally,
}

/// The chain behind the source.
pub struct Pipeline {
    pub flows: FlowTable,
    pub hearing: Hearing,
    pub stages: Stages,
}

impl Pipeline {
    /// Tells of a socket in the kernel's list, without following it.
    pub fn list(&mut self, event: &Event, clock: Clock) {
        let (What::Existing(existing) | What::Listening(existing)) = &event.what else { return };
        if let Some(news) = News::of(&event.what) {
            self.stages.show(&mut Flow::existing(event, existing), &news, event.at, clock);
        }
    }

    /// Takes one event through the whole chain.
    pub fn handle(&mut self, event: &Event, clock: Clock) {
        if let What::Dns(_) | What::FirstBytes(_) | What::Resolver(_) = event.what {
            return self.hear(event, clock);
        }
        let Some(step) = self.flows.track(event) else { return };
        if let Some(mut evicted) = step.evicted {
            self.stages.show(&mut evicted, &News::EVICTED, event.at, clock);
        }
        if let Some(news) = News::of(&event.what) {
            self.stages.show(step.flow, &news, event.at, clock);
        }
    }
}

impl Stages {
    fn show(&mut self, flow: &mut Flow, news: &News<'_>, at: BootTime, clock: Clock) {
        self.enrich(flow, clock);
        if !self.filter.admits_owner(flow, &self.enricher) {
            self.not_shown[news.kind] += 1;
            return;
        }
        match &self.redactor {
            None => self.judge_and_render(flow, news, at, clock),
            Some(redactor) => {
                let question = news.question().map(|question| question.redacted(redactor));
                let flow = flow.redacted(redactor);
                let news = news.with_question(question.as_ref());
                self.judge_and_render(&flow, &news, at, clock);
            }
        }
    }

    /// What is judged is what is shown: a stream that is replayed comes to the same verdicts.
    fn judge_and_render(&mut self, flow: &Flow, news: &News<'_>, at: BootTime, clock: Clock) {
        let Self { judge, lines, filter, boot, .. } = self;
        let position = Position { at, clock, boot, seq: 0 };
        let verdict = connection::observation(flow, news, &position)
            .map(|seen| {
                let said = Said::default();
                judge.observe(&seen, &|| connection::with_record(flow, news, &position, &said, json))
            })
            .unwrap_or_default();
        let lists = judge.expectations.list_names(&verdict.lists);
        let service = verdict.service.and_then(|found| judge.expectations.service(found));
        let said = Said { service, lists: &lists, flags: &verdict.flags };
        if filter.admits(news.action) {
            let position = Position { seq: lines.next_seq(), ..position };
            lines.counts[news.kind] += 1;
            connection::with_record(flow, news, &position, &said, |record| lines.render(record));
        } else {
            self.not_shown[news.kind] += 1;
        }
        if filter.admits(Action::Alert) {
            for (finding, why) in
                verdict.alerts.iter().filter_map(|&(id, why)| Some((judge.findings.get(id)?, why)))
            {
                let position = Position { seq: lines.next_seq(), ..position };
                lines.counts[Kind::Alert] += 1;
                connection::with_record(flow, news, &position, &said, |record| {
                    lines.render(&alert(record, judge.expectations.rule(&finding.rule), finding, why));
                });
            }
        }
    }

    /// Adds what is kept with the flow: its process, as long as `/proc` still knows it, places, verdict, owner.
    fn enrich(&mut self, flow: &mut Flow, clock: Clock) {
        self.look_up_name(flow);
        if flow.process.is_none()
            && let Some(identity) = flow.identity.filter(|identity| identity.known & KNOWN_TASK != 0)
        {
            flow.process = self.enricher.processes.resolve(&identity);
            if let (Some(_), Some(process)) = (&self.redactor, &mut flow.process) {
                // Often names what it connects to.
                Arc::make_mut(process).command_line = None;
            }
        }
        if flow.places.is_none() {
            flow.places = Some(self.places.of(&flow.tuple, &self.enricher.geo));
        }
        if flow.who.is_none() {
            flow.tag = self.enricher.tags.as_ref().and_then(|tags| tags.of(flow.cookie));
            flow.who = Some(self.who.of(flow, clock, &self.enricher));
        }
    }

    /// Adds a record about the stream itself.
    pub fn report(&mut self, action: Action, timestamp: Timestamp, stream: StreamObject<'_>) {
        if action == Action::Start {
            let boot = u32::from_str_radix(&self.boot, 16).unwrap_or_default();
            self.judge.begin_stream(Some(StreamId { boot, began: timestamp }));
        }
        let findings = if action == Action::Stop { self.judge.summary() } else { Vec::new() };
        let left_out =
            Some(self.judge.findings.left_out).filter(|&count| count > 0 && action == Action::Stop);
        let stream = StreamObject { findings, findings_left_out: left_out, ..stream };
        let kind = match action {
            Action::Loss | Action::Warning => EventKind::PipelineError,
            Action::Stats => EventKind::Metric,
            _ => EventKind::State,
        };
        let record = Record {
            schema: SCHEMA,
            seq: self.lines.next_seq(),
            timestamp,
            event: EventObject { kind, category: &[], types: &[], action, outcome: None, duration: None },
            flow: None,
            network: None,
            source: None,
            destination: None,
            flags: &[],
            rule: None,
            alert: None,
            tls: None,
            dns: None,
            error: None,
            tracer: Some(stream),
            who: None,
        };
        self.lines.render(&record);
    }
}

/// A record as its readers see it.
fn json(record: &Record<'_>) -> serde_json::Value {
    let mut line = Vec::new();
    Format::Jsonl.render(record, &mut line);
    serde_json::from_slice(&line).unwrap_or_default()
}
