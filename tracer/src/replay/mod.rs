//! Recorded lines through today's data, services and rules: the same engine as live, and the same verdicts.
//!
//! ```text
//!  line ─▶ members ─▶ Observation ─▶ judge ─▶ the line again, with today's places, service and flags; alerts behind it
//! ```
//! Members that judging does not change are copied as they stand there. What an earlier judging said is left out.

mod canonical;
mod command;
mod cursor;
pub mod diff;
pub mod line;
mod lines;
mod owners;
mod splice;
mod split;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde_json::Error;

use crate::clock::Timestamp;
use crate::enrich::geo::{self, Geo};
use crate::judge::observation::{FlowRef, Name, Observation, Place, Who};
use crate::judge::saved::StreamId;
use crate::judge::{Judge, Verdict};
use crate::record::{Action, NameCandidate, PlaceCache, PlaceText};
use canonical::{Canonical, What};
use line::{Endpoint, Event, Judged, Member, Members};
use owners::Owners;
use splice::Copied;

pub use command::replay;
pub use lines::{Broken, Input, each_line};
use start::Recorded;
pub use start::{Given, USUAL_LOOK};

/// Addresses whose places are remembered: those of a day of many devices.
const PLACES: usize = 16_384;

/// What of a recorded stream is to be written.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `None`: everything.
    pub actions: Option<Vec<Action>>,
}

impl Wanted {
    fn admits(&self, action: Action) -> bool {
        self.actions.as_ref().is_none_or(|actions| actions.contains(&action))
    }
}

/// Sees what a replay sees.
pub trait Watch {
    /// A record of a connection was judged.
    fn judged(&mut self, seen: &Observation<'_>, verdict: &Verdict, judge: &Judge);
    /// A record about the stream itself: its `tracer` object, as it was recorded.
    fn stream(&mut self, action: Action, at: Timestamp, tracer: &serde_json::Value);
    /// Records are missing between two times.
    fn missing(&mut self, from: Timestamp, to: Timestamp, records: u64);
}

/// Watches nothing.
impl Watch for () {
    fn judged(&mut self, _: &Observation<'_>, _: &Verdict, _: &Judge) {}
    fn stream(&mut self, _: Action, _: Timestamp, _: &serde_json::Value) {}
    fn missing(&mut self, _: Timestamp, _: Timestamp, _: u64) {}
}

/// Reads recorded lines and judges them.
pub struct Replay {
    pub judge: Judge,
    geo: Geo,
    given: Given,
    wanted: Wanted,
    places: PlaceCache,
    owners: Owners,
    /// `None`: every line is taken apart for whatever it may have.
    reader: Option<canonical::Reader>,
    stream: Stream,
    tells_losses: bool,
    seq: u64,
    /// Lines that wait for the output.
    pub out: Vec<u8>,
    /// Records that were judged.
    pub judged: u64,
    pub alerts: u64,
    /// From the first to the last record of each stream.
    pub watched: Duration,
    /// Names of the networks that were talked to, by number, where somebody wants to know.
    pub networks: Option<BTreeMap<u32, Box<str>>>,
}

/// Where a recorded stream stands.
#[derive(Debug, Default)]
struct Stream {
    last_seq: Option<u64>,
    first_time: Option<Timestamp>,
    last_time: Timestamp,
    missing: u64,
    broken: u64,
    is_redacted: bool,
}

/// Both ends as they are known today, and the names that were not taken.
struct Ends {
    source: Arc<PlaceText>,
    destination: Arc<PlaceText>,
    candidates: Vec<NameCandidate>,
}

impl Replay {
    #[must_use]
    pub fn new(judge: Judge, geo: Geo, given: Given, wanted: Wanted) -> Self {
        Self {
            judge,
            geo,
            given,
            wanted,
            places: PlaceCache::of_at_most(PLACES),
            owners: Owners::default(),
            reader: Some(canonical::Reader::default()),
            stream: Stream::default(),
            tells_losses: true,
            seq: 0,
            out: Vec::new(),
            judged: 0,
            alerts: 0,
            watched: Duration::ZERO,
            networks: None,
        }
    }

    /// What is known of places today.
    #[must_use]
    pub fn geo(&self) -> &Geo {
        &self.geo
    }

    /// Judges only: no line is written.
    pub fn write_nothing(&mut self) {
        self.wanted.actions = Some(Vec::new());
        self.tells_losses = false;
    }

    /// Reads every line as if it had any form, for tests: nothing comes out otherwise, only later.
    pub fn read_any_form(&mut self) {
        self.reader = None;
    }

    /// Takes one line, without its end.
    ///
    /// # Errors
    /// When it is no record. It is counted then, and a `loss` record will say so.
    pub fn take(&mut self, line: &[u8]) -> Result<(), Error> {
        self.take_with(line, &mut ())
    }

    /// As [`Self::take`], for somebody who looks on.
    ///
    /// # Errors
    /// As of [`Self::take`].
    pub fn take_with(&mut self, line: &[u8], watch: &mut dyn Watch) -> Result<(), Error> {
        let taken = self.take_record(line, watch);
        self.stream.broken += u64::from(taken.is_err());
        taken
    }

    /// After the last line of a file: what is missing so far is told.
    pub fn end_of_file(&mut self) {
        self.tell_losses();
        self.end_of_stream();
        self.stream.last_seq = None;
    }

    fn end_of_stream(&mut self) {
        if let Some(first) = self.stream.first_time.take() {
            self.watched += Duration::from_nanos(self.stream.last_time.0.saturating_sub(first.0));
        }
    }

    fn take_record(&mut self, line: &[u8], watch: &mut dyn Watch) -> Result<(), Error> {
        let text = std::str::from_utf8(line).map_err(Error::custom)?;
        match self.reader.as_mut().and_then(|reader| reader.read(text, &mut self.owners)) {
            Some(read) => self.take_canonical(text, &read, watch),
            None => self.take_any(text, watch),
        }
    }

    fn take_canonical(
        &mut self,
        line: &str,
        read: &Canonical<'_>,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let Canonical { seq, at, action, ref what, before, ref behind } = *read;
        self.reach(seq, at, watch);
        match what {
            What::Connection(judged, who) => {
                let copied = Copied::Whole { line, before, behind };
                self.take_connection(action, at, judged, who, copied, watch)?;
            }
            What::Question if self.wanted.admits(action) => {
                self.seq += 1;
                splice::copy(&mut self.out, self.seq, before, behind);
            }
            What::Question => {}
        }
        Ok(())
    }

    fn take_any(&mut self, text: &str, watch: &mut dyn Watch) -> Result<(), Error> {
        let members = Members::of(text)?;
        let event: Event = members.need(Member::Event)?;
        match event.action {
            Action::Alert => {}
            action if is_judged(action) => members.check(is_read)?,
            _ => members.check(|_| false)?,
        }
        let seq: u64 = members.need(Member::Seq)?;
        let at = line::timestamp(&members)?;
        if event.action == Action::Start {
            self.tell_losses();
            self.end_of_stream();
            self.stream = Stream::default();
        }
        self.reach(seq, at, watch);
        if members.get(Member::Tracer).is_some() && event.action != Action::Alert {
            watch.stream(event.action, at, &members.need(Member::Tracer)?);
        }
        match event.action {
            // Said by an earlier judging.
            Action::Alert => Ok(()),
            Action::Start => self.take_start(&members),
            Action::Stop => {
                self.tell_losses();
                self.take_stop(&members)
            }
            action if is_judged(action) => {
                let judged = Judged::of(&members)?;
                let who = self.owners.of(&members)?;
                self.take_connection(action, at, &judged, &who, Copied::Members(&members), watch)
            }
            _ => {
                self.pass(event.action, &members);
                Ok(())
            }
        }
    }

    /// Notes that a record is there, and which ones are not.
    fn reach(&mut self, seq: u64, at: Timestamp, watch: &mut dyn Watch) {
        let before = self.stream.last_seq.replace(seq);
        let missing = before.map_or(0, |before| seq.saturating_sub(before + 1));
        if missing > 0 {
            self.stream.missing += missing;
            watch.missing(self.stream.last_time, at, missing);
        }
        self.stream.first_time.get_or_insert(at);
        self.stream.last_time = self.stream.last_time.max(at);
        self.judge.reach(seq);
    }

    fn take_connection(
        &mut self,
        action: Action,
        at: Timestamp,
        judged: &Judged<'_>,
        who: &Who,
        copied: Copied<'_, '_>,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let ends = Ends {
            source: self.place(&judged.source),
            destination: self.place(&judged.destination),
            candidates: judged
                .named_end()
                .and_then(|end| end.name.as_ref())
                .map(|name| name.candidates())
                .unwrap_or_default(),
        };
        let seen =
            observation(judged, action, at, &ends, who).ok_or_else(|| Error::custom("`flow.id` is none"))?;
        self.judged += 1;
        if let Some(networks) = &mut self.networks {
            note_network(networks, seen.remote().at);
        }
        let verdict = self
            .judge
            .observe(&seen, &|| copied.members().map(|members| splice::json(&members)).unwrap_or_default());
        watch.judged(&seen, &verdict, &self.judge);
        self.write(action, copied, judged, &ends, &verdict)
    }

    /// What is known today about an end; of a stream with hashes in the place of addresses, what was known then.
    fn place(&mut self, end: &Endpoint<'_>) -> Arc<PlaceText> {
        if !self.stream.is_redacted {
            return self.places.at(end.ip, &self.geo);
        }
        let network = end.network.as_ref();
        Arc::new(PlaceText::of(
            end.ip,
            &geo::Place {
                scope: end.scope,
                nat64: None,
                anycast: end.anycast,
                country: end.geo.as_ref().and_then(|geo| geo::country(&geo.country_iso_code)),
                asn: network.map(|network| network.number),
                as_name: network.and_then(|network| network.organization.as_ref()).map(|org| &*org.name),
                country_source: None,
                as_source: None,
            },
        ))
    }

    fn write(
        &mut self,
        action: Action,
        copied: Copied<'_, '_>,
        judged: &Judged<'_>,
        ends: &Ends,
        verdict: &Verdict,
    ) -> Result<(), Error> {
        if verdict.alerts.is_empty() && !self.wanted.admits(action) {
            return Ok(());
        }
        let Self { judge, wanted, seq, out, alerts, .. } = self;
        let lists = judge.expectations.list_names(&verdict.lists);
        let service = verdict.service.and_then(|found| judge.expectations.service(found));
        let (source, destination) = splice::endpoints(judged, ends, service, &lists);
        if wanted.admits(action) {
            *seq += 1;
            splice::record(out, copied, *seq, &source, &destination, &verdict.flags);
        }
        for (finding, news) in
            verdict.alerts.iter().filter_map(|&(id, news)| Some((judge.findings.get(id)?, news)))
        {
            *alerts += 1;
            if wanted.admits(Action::Alert) {
                *seq += 1;
                let rule = judge.expectations.rule(&finding.rule);
                splice::alert(out, &*copied.members()?, *seq, &source, &destination, rule, finding, news);
            }
        }
        Ok(())
    }

    /// A record about a stream's beginning: what it is judged by now takes the place of what it was judged by then.
    fn take_start(&mut self, members: &Members<'_>) -> Result<(), Error> {
        let mut tracer: serde_json::Value = members.read(Member::Tracer)?.unwrap_or_default();
        let recorded = Recorded::of(&tracer);
        self.stream.is_redacted = recorded.as_ref().is_some_and(Recorded::is_redacted);
        self.given.apply(recorded.as_ref(), &mut self.judge);
        let boot = tracer.pointer("/host/boot").and_then(serde_json::Value::as_str);
        let boot = boot.and_then(|boot| u32::from_str_radix(boot, 16).ok());
        let began = self.stream.last_time;
        self.judge.begin_stream(boot.map(|boot| StreamId { boot, began }));
        if let Some(object) = tracer.as_object_mut() {
            object.insert("geo".to_owned(), serde_json::to_value(self.geo.databases())?);
            if let Some(config) = object.get_mut("config").and_then(serde_json::Value::as_object_mut) {
                start::rewrite(config, &self.judge);
            }
        }
        self.pass_with(Action::Start, members, &tracer);
        Ok(())
    }

    /// A record about a stream's end: what is found now takes the place of what was found then.
    fn take_stop(&mut self, members: &Members<'_>) -> Result<(), Error> {
        let mut tracer: serde_json::Value = members.read(Member::Tracer)?.unwrap_or_default();
        if let Some(object) = tracer.as_object_mut() {
            object.remove("findings");
            let findings = self.judge.summary();
            if !findings.is_empty() {
                object.insert("findings".to_owned(), serde_json::to_value(findings)?);
            }
            object.remove("findings_left_out");
            if self.judge.findings.left_out > 0 {
                object.insert("findings_left_out".to_owned(), self.judge.findings.left_out.into());
            }
        }
        self.pass_with(Action::Stop, members, &tracer);
        Ok(())
    }

    fn pass(&mut self, action: Action, members: &Members<'_>) {
        if self.wanted.admits(action) {
            self.seq += 1;
            splice::unchanged(&mut self.out, members, self.seq);
        }
    }

    fn pass_with(&mut self, action: Action, members: &Members<'_>, tracer: &serde_json::Value) {
        if self.wanted.admits(action) {
            self.seq += 1;
            splice::with_tracer(&mut self.out, members, self.seq, tracer);
        }
    }

    fn tell_losses(&mut self) {
        let (missing, broken) =
            (std::mem::take(&mut self.stream.missing), std::mem::take(&mut self.stream.broken));
        let counts = [("record", missing), ("line", broken)];
        let lost: BTreeMap<&'static str, u64> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
        if !lost.is_empty() && self.tells_losses {
            self.seq += 1;
            splice::loss(&mut self.out, self.stream.last_time, self.seq, lost);
        }
    }
}

/// Records about connections.
fn is_judged(action: Action) -> bool {
    matches!(
        action,
        Action::Connect
            | Action::Established
            | Action::Failed
            | Action::Accept
            | Action::Close
            | Action::Existing
            | Action::Sample
            | Action::Named
    )
}

/// Members of these that are read, or were read before with the same text, or are not written again.
fn is_read(name: &str) -> bool {
    const READ: [&str; 12] = [
        "seq",
        "@timestamp",
        "event",
        "flow",
        "network",
        "source",
        "destination",
        "process",
        "user",
        "app",
        "attribution",
        "flags",
    ];
    READ.contains(&name)
}

/// What a record says, with what is known of its ends today. `None`: its flow has no id of ours.
fn observation<'b>(
    judged: &'b Judged<'_>,
    action: Action,
    at: Timestamp,
    ends: &'b Ends,
    who: &'b Who,
) -> Option<Observation<'b>> {
    let place = |end: &Endpoint<'_>, at| Place { at, port: end.port, bytes: end.bytes, packets: end.packets };
    let named = judged.named_end().and_then(|end| Some((end, end.domain.as_deref()?, end.name.as_ref()?)));
    Some(Observation {
        at,
        action,
        flow: FlowRef::parse(&judged.flow.id)?,
        age_ms: judged.flow.age_ms,
        silent_ms: judged.flow.silent_ms,
        end: judged.flow.end,
        transport: judged.network.transport,
        protocol: judged.network.protocol,
        direction: judged.network.direction,
        source: place(&judged.source, &*ends.source),
        destination: place(&judged.destination, &*ends.destination),
        name: named.map(|(end, domain, name)| Name {
            domain,
            registered: end.registered_domain.as_deref(),
            source: name.source,
            is_ambiguous: name.ambiguous,
        }),
        who,
    })
}

fn note_network(networks: &mut BTreeMap<u32, Box<str>>, place: &PlaceText) {
    if let (Some(number), Some(name)) = (place.as_number, &place.as_name) {
        networks.entry(number).or_insert_with(|| name.clone());
    }
}
