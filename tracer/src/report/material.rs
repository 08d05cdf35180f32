//! What a report is made of, whatever it was made from and whatever it becomes. Plain data: no I/O, no markup.
//!
//! Text in here is foreign: it has no control characters, but may hold anything else. Whoever writes it out escapes it.

use crate::clock::Timestamp;
use crate::enrich::geo::Country;
use crate::judge::book::Amounts;
use crate::judge::cadence::Cadence;
use crate::judge::observation::FlowRef;
use crate::record::{Direction, End, Severity, Transport};

/// A whole report.
#[derive(Clone, Debug)]
pub struct Material {
    pub title: String,
    /// When the report was made.
    pub made: Timestamp,
    /// From the first to the last record. `None`: there was none.
    pub period: Option<Period>,
    /// Countries that connections were expected to go to.
    pub home: Vec<Country>,
    /// What was noticed, most severe first; one story for an app and whom it talks to.
    pub stories: Vec<Story>,
    /// Those with the most severe findings first.
    pub apps: Vec<App>,
    /// As of apps.
    pub destinations: Vec<Destination>,
    /// Of connections from here, most bytes first.
    pub countries: Vec<CountryTotal>,
    pub totals: Amounts,
    pub losses: Vec<Loss>,
    /// Where records are missing, the first ones.
    pub gaps: Vec<Gap>,
    /// Sentences about what is not in the report, and how much that is.
    pub left_out: Vec<String>,
    pub sources: Sources,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Period {
    /// The period of one moment.
    #[must_use]
    pub const fn at(at: Timestamp) -> Self {
        Self { from: at, to: at }
    }

    /// The shortest one that has this moment in it as well.
    pub fn reach(&mut self, at: Timestamp) {
        self.from = self.from.min(at);
        self.to = self.to.max(at);
    }

    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        self.to.0.saturating_sub(self.from.0) / 1_000_000
    }

    /// How far into the period a moment is, from 0 to 1.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a place on paper")]
    pub fn share(&self, at: Timestamp) -> f64 {
        let whole = self.to.0.saturating_sub(self.from.0).max(1) as f64;
        (at.0.saturating_sub(self.from.0) as f64 / whole).clamp(0.0, 1.0)
    }
}

/// An app, or a program.
#[derive(Clone, Debug)]
pub struct App {
    /// How a person calls it.
    pub label: String,
    pub is_preinstalled: Option<bool>,
    pub is_removable: Option<bool>,
    pub uid: Option<u32>,
    /// Path of a program that is no app.
    pub program: Option<String>,
    pub totals: Amounts,
    pub seen: Period,
    /// Of its findings.
    pub severity: Option<Severity>,
    /// Numbers of its destinations.
    pub destinations: Vec<usize>,
}

/// Somebody whom an app talks to, or who talks to it.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Number of the app.
    pub app: usize,
    pub direction: Option<Direction>,
    pub service: Option<ServiceFacts>,
    pub host: Option<String>,
    pub country: Option<Country>,
    pub asn: Option<u32>,
    pub as_name: Option<String>,
    pub transport: Transport,
    pub port: Option<u16>,
    /// The first ones that were seen.
    pub addresses: Vec<String>,
    /// There are more of them.
    pub has_more_addresses: bool,
    /// It is on the network around this machine: no country is to be expected.
    pub is_local: bool,
    pub amounts: Amounts,
    pub seen: Period,
    /// How it goes by a clock, if it does.
    pub cadence: Option<Cadence>,
    /// Times at which something was said on a connection that was open.
    pub beats: u64,
    /// Connections that were reset.
    pub resets: u64,
    /// Connections of which nobody counted what they moved.
    pub uncounted: u64,
    /// Of findings about it.
    pub severity: Option<Severity>,
    pub lane: Lane,
}

impl Destination {
    /// How a person calls it: service, else host, else network, else address.
    #[must_use]
    pub fn target(&self) -> String {
        let service = self.service.as_ref().map(|service| service.name.clone());
        let network = || Some(format!("{}, AS{}", self.as_name.as_deref()?, self.asn?));
        let number = || self.asn.map(|number| format!("AS{number}"));
        service
            .or_else(|| self.host.clone())
            .or_else(|| self.addresses.first().filter(|_| self.is_local).cloned())
            .or_else(network)
            .or_else(number)
            .or_else(|| self.addresses.first().cloned())
            .unwrap_or_else(|| "an address without a name".to_owned())
    }

    #[must_use]
    pub fn is_incoming(&self) -> bool {
        self.direction == Some(Direction::Ingress)
    }
}

/// What is known of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    pub name: String,
    pub owner: Option<String>,
    /// Seat of its owner.
    pub country: Option<Country>,
    pub category: &'static str,
    /// Countries whose devices it is meant for; empty: all.
    pub expected: Vec<String>,
    pub about: Option<String>,
    /// What it leaves on storage.
    pub artefacts: Vec<String>,
    /// What spoke for it.
    pub evidence: Vec<&'static str>,
}

/// What happened with a destination over time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// Nothing is known of when.
    #[default]
    Empty,
    /// One by one.
    Each { bars: Vec<Bar>, ticks: Vec<Tick> },
    /// Sums of hours or days; `bars` has the first flows.
    Sums { slot_ns: u64, slots: Vec<(Timestamp, Amounts)>, bars: Vec<Bar> },
}

/// One connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    pub flow: FlowRef,
    pub seen: Period,
    /// Its beginning was seen.
    pub has_start: bool,
    /// Its end was seen.
    pub has_end: bool,
    pub is_failed: bool,
    pub end: Option<End>,
    /// `None`: not known.
    pub sent: Option<u64>,
    pub received: Option<u64>,
}

/// One moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick {
    pub at: Timestamp,
    pub kind: TickKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TickKind {
    Connect,
    /// Something was said on a connection that was open.
    Beat,
    Failed,
    Reset,
}

/// Everything that was noticed about an app and somebody whom it talks to.
#[derive(Clone, Debug)]
pub struct Story {
    pub severity: Severity,
    /// The owner of the device knows of all of it.
    pub is_acknowledged: bool,
    /// Number of the app; `None`: the book has it no more.
    pub app: Option<usize>,
    /// One sentence.
    pub headline: String,
    /// Numbers of destinations that it is about, most bytes first.
    pub destinations: Vec<usize>,
    pub points: Vec<Point>,
    /// Connections behind it, the first ones.
    pub evidence: Vec<Bar>,
    /// Ids of connections behind it of which nothing else was kept.
    pub other_flows: Vec<FlowRef>,
    pub seen: Period,
    pub amounts: Amounts,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Point {
    pub rule: String,
    /// What the rule is about.
    pub about: String,
    pub severity: Severity,
    pub reason: String,
    pub expected_if: Option<String>,
    pub seen: Period,
    /// Connections that it was noticed of.
    pub count: u64,
    /// For `tracer ack`.
    pub key: String,
    pub is_acknowledged: bool,
}

/// What went to a country.
#[derive(Clone, Debug)]
pub struct CountryTotal {
    pub country: Country,
    pub amounts: Amounts,
    pub apps: usize,
    pub is_home: bool,
    pub severity: Option<Severity>,
}

/// Something that did not reach the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub what: String,
    pub count: u64,
}

/// A time in which records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    pub period: Period,
    pub records: u64,
}

/// What a report was made from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub files: Vec<SourceFile>,
    /// In use today.
    pub geo: Vec<GeoSource>,
    pub services: usize,
    pub rules: usize,
    pub lists: Vec<String>,
    /// Records of connections that were judged.
    pub records: u64,
    /// Of this program.
    pub version: &'static str,
    /// Names and addresses are hashes.
    pub is_redacted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoSource {
    pub name: String,
    pub kind: String,
    pub built: Option<Timestamp>,
}

/// A capture, or a stream in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    pub name: String,
    pub period: Option<Period>,
    /// Of the program that wrote it, and of the kernel below it.
    pub version: Option<String>,
    pub kernel: Option<String>,
    /// Its first record says that it starts, its last one that it stops.
    pub has_start: bool,
    pub has_stop: bool,
    /// Geo databases in use when it was recorded.
    pub geo: Vec<GeoSource>,
}

/// Stories that nobody acknowledged, by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Severities {
    pub total: usize,
    by_severity: [usize; 4],
}

impl Severities {
    #[must_use]
    pub fn of(material: &Material) -> Self {
        let mut sums = Self::default();
        for story in material.stories.iter().filter(|story| !story.is_acknowledged) {
            sums.total += 1;
            if let Some(sum) = sums.by_severity.get_mut(story.severity as usize) {
                *sum += 1;
            }
        }
        sums
    }

    /// `1 high, 2 low`.
    #[must_use]
    pub fn words(&self) -> String {
        let names = ["good to know", "low", "medium", "high"];
        let there = self.by_severity.iter().zip(names).rev().filter(|(sum, _)| **sum > 0);
        there.map(|(sum, name)| format!("{sum} {name}")).collect::<Vec<_>>().join(", ")
    }
}
