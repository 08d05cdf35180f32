//! What is noticed about connections. Pure: records in, verdicts out. Evidence, never accusation.
//!
//! ```text
//!  Observation ─▶ services, lists ─▶ book (who talked to whom before) ─▶ rules ─▶ flags of the record
//!  (one record)                  └─▶ channel, cadence (of this flow)  ─┘     └─▶ findings ─▶ alerts
//! ```
//! The same engine judges live and in replay: it sees nothing but [`Observation`]s, and its only clock is theirs.

pub mod book;
pub mod cadence;
pub mod channel;
pub mod findings;
pub mod load;
pub mod observation;
pub mod rules;
pub mod saved;
pub mod services;
mod storing;
pub mod time_scale;
pub mod toml_input;
mod watched;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use smallvec::SmallVec;

use crate::record::{Action, AlertObject, FindingObject, Flag, RuleObject};
use book::{AppId, Book, RowId};
use findings::{Finding, FindingId, Findings, News, Noticed};
use observation::Observation;
use rules::Rules;
use rules::field::Case;
use saved::StreamId;
use services::{Found, Lists, Service, Services, Subject};
use time_scale::TimeScale;
use watched::WatchedFlows;

/// How long a finding that goes on is not told again, unless the user says otherwise.
pub const QUIET: Duration = Duration::from_secs(24 * 3600);

/// Findings in the last record of a stream.
const MOST_IN_SUMMARY: usize = 200;

/// What the user wants to be judged by.
#[derive(Clone, Default)]
pub struct Expectations {
    /// Countries that connections are expected to go to, ISO 3166-1 alpha-2, upper case. Empty: no expectation.
    pub home: Vec<String>,
    pub services: Services,
    pub lists: Lists,
    pub rules: Rules,
}

impl Expectations {
    /// What comes with the program.
    #[must_use]
    pub fn built_in() -> Self {
        Self { services: Services::built_in(), rules: Rules::built_in(), ..Self::default() }
    }

    /// The service that was found.
    #[must_use]
    pub fn service(&self, found: Found) -> Option<(&Service, Found)> {
        Some((self.services.get(found.service)?, found))
    }

    /// A rule as records show it.
    #[must_use]
    pub fn rule<'a>(&'a self, id: &'a str) -> RuleObject<'a> {
        RuleObject { id, description: self.rules.about(id) }
    }

    /// A finding as records show it at the end of a stream.
    #[must_use]
    pub fn finding<'a>(&'a self, finding: &'a Finding) -> FindingObject<'a> {
        FindingObject { rule: self.rule(&finding.rule), alert: AlertObject::of(finding, None) }
    }

    /// What these lists are called.
    #[must_use]
    pub fn list_names(&self, lists: &[u16]) -> Vec<&str> {
        lists.iter().filter_map(|&number| self.lists.name(number)).collect()
    }
}

/// What is said about one record.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub service: Option<Found>,
    /// Numbers of the lists that the destination stands on.
    pub lists: Vec<u16>,
    /// Most severe first.
    pub flags: SmallVec<[Flag; 2]>,
    /// Findings that are to be told now.
    pub alerts: Vec<(FindingId, News)>,
    /// App and row of the book.
    pub booked: Option<(AppId, RowId)>,
}

/// Judges records.
pub struct Judge {
    pub expectations: Expectations,
    pub findings: Findings,
    pub book: Book,
    flows: WatchedFlows,
    /// How often open connections are looked at.
    look: Duration,
    /// Which stream is judged, and the number of its latest record.
    stream: Option<(StreamId, u64)>,
    /// Streams of which everything up to a record is booked already; of the one that is judged, up to which.
    booked_streams: HashMap<StreamId, u64>,
    booked_up_to: u64,
    /// How long a finding that goes on is not told again.
    quiet: Duration,
    scale: TimeScale,
}

impl Judge {
    /// `look`: how often open connections are looked at, `quiet`: how long a finding that goes on is not told again.
    #[must_use]
    pub fn new(expectations: Expectations, look: Duration, quiet: Duration) -> Self {
        Self {
            expectations,
            findings: Findings::new(quiet),
            book: Book::default(),
            flows: WatchedFlows::default(),
            look,
            stream: None,
            booked_streams: HashMap::new(),
            booked_up_to: 0,
            quiet,
            scale: TimeScale::default(),
        }
    }

    /// How often open connections are looked at from now on.
    pub fn set_look(&mut self, look: Duration) {
        self.look = look;
    }

    /// How long a finding that goes on is not told again from now on.
    pub fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
        self.findings.set_quiet(self.scale.real(quiet));
    }

    /// How long a finding that goes on is not told again.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.quiet
    }

    /// How many times faster than it does time passes for judging from now on.
    pub fn set_time_scale(&mut self, factor: u32) {
        self.scale.set(factor);
        self.set_quiet(self.quiet);
    }

    /// How many times faster time passes for judging.
    #[must_use]
    pub fn time_scale(&self) -> u32 {
        self.scale.factor()
    }

    /// Everything that was noticed, for the end of a stream.
    #[must_use]
    pub fn summary(&self) -> Vec<FindingObject<'_>> {
        let noticed = self.findings.all().iter().filter(|finding| finding.count > 0).take(MOST_IN_SUMMARY);
        noticed.map(|finding| self.expectations.finding(finding)).collect()
    }

    /// Judges a record; `record` is the record itself, for rules about fields that hardly any rule is about.
    pub fn observe(&mut self, seen: &Observation<'_>, record: &dyn Fn() -> Json) -> Verdict {
        // Findings are evidence: they are told with the time that it really was.
        let noticed_at = seen.at;
        let seen = &self.scale.stretch(seen);
        let Expectations { home, services, lists, rules } = &self.expectations;
        let service = services.find(&subject(seen));
        let known = service.and_then(|found| Some((services.get(found.service)?, found)));
        let lists: Vec<u16> = seen.name.map(|name| lists.of(name.domain).collect()).unwrap_or_default();
        // Records that not every stream has must not change what follows from the others, and those that a ledger has booked
        // before are not booked again.
        let is_extra = seen.action == Action::Named || self.is_booked_before();
        let watched = self.flows.of(seen);
        if !is_extra {
            watched.look(seen, self.scale.stretched(self.look));
            self.book.observe(seen, known.map(|(service, _)| service.id.as_str()), &mut watched.booked);
            watched.hear_connect(&mut self.book);
        }
        let list_names: Vec<&str> =
            lists.iter().filter_map(|&number| self.expectations.lists.name(number)).collect();
        let case = Case {
            seen,
            service: known,
            lists: &list_names,
            home,
            channel: watched.channel(seen),
            history: watched.booked.and_then(|booked| self.book.history(seen, &booked)),
            cadence: watched.cadence(&self.book),
            record,
        };
        let booked = watched.booked.map(|booked| (booked.app, booked.row));
        let mut verdict = Verdict { service, lists, booked, ..Verdict::default() };
        for (number, rule) in rules.that_hold(&case) {
            let flag = Flag { id: Arc::clone(&rule.id), severity: rule.severity, reason: rule.reason(&case) };
            if !is_extra {
                let (id, news) = self.findings.notice(Noticed {
                    rule: &rule.id,
                    rule_hash: rule.hash,
                    severity: rule.severity,
                    about: rule.key(&case),
                    changing: &rule.changing(&case),
                    reason: &flag.reason,
                    expected_if: &|| rule.expected_if(&case),
                    flow: seen.flow,
                    booked,
                    is_counted: watched.is_noticed(number),
                    at: noticed_at,
                });
                verdict.alerts.extend(id.zip(news));
                watched.note(number);
            }
            verdict.flags.push(flag);
        }
        verdict.flags.sort_by_key(|flag| std::cmp::Reverse(flag.severity));
        self.flows.end(seen);
        verdict
    }
}

fn subject<'a>(seen: &Observation<'a>) -> Subject<'a> {
    Subject {
        // Somebody else's connection to this machine is to no service that is known.
        domain: seen.name.map(|name| name.domain).filter(|_| !seen.is_incoming()),
        transport: seen.transport,
        port: if seen.is_incoming() { 0 } else { seen.destination.port.unwrap_or_default() },
        asn: seen.destination.at.as_number,
        packages: &seen.who.packages,
    }
}
