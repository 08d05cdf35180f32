//! Findings: what rules noticed, each told once and not again until something changes. Pure.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::book::{AppId, RowId};
use super::observation::FlowRef;
use super::saved::SavedFindings;
use crate::clock::Timestamp;
use crate::hash::Fnv;
use crate::record::Severity;

/// Findings that are kept. When there are more, the one that was noticed longest ago makes room, if that is [`OLD`]: else it would be
/// told again and again, as new. Further ones are counted then.
const MOST: usize = 4_000;
/// A week.
const OLD: Duration = Duration::from_secs(7 * 86_400);
/// Flows that a finding names as evidence: the first ones.
const MOST_FLOWS: usize = 8;

/// Number of a finding.
pub type FindingId = usize;

/// Something that a rule noticed.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Tells findings apart, the same over restarts: `RULE/HASH`.
    pub key: Box<str>,
    pub rule: Arc<str>,
    pub severity: Severity,
    /// The latest sentence.
    pub reason: String,
    pub expected_if: Option<String>,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Connections that it was noticed of.
    pub count: u64,
    /// The first of them.
    pub flows: Vec<FlowRef>,
    /// What makes it news when it changes.
    pub changing: String,
    /// App and row of the book that it was noticed of last.
    pub booked: Option<(AppId, RowId)>,
    /// When the stream was told last.
    pub told: Option<Timestamp>,
    /// The owner of the device knows of it, as long as this does not change.
    pub acknowledged: Option<String>,
    /// It is on the list of those that changed since they were stored.
    pub is_listed: bool,
}

/// Why a finding is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// For the first time.
    New,
    /// Something about it is another thing now.
    Changed,
    /// It goes on after the quiet period.
    Again,
}

/// What a rule says of one record.
#[derive(Clone, Copy)]
pub struct Noticed<'a> {
    pub rule: &'a Arc<str>,
    /// [`hash_of_rule`] of it.
    pub rule_hash: u64,
    pub severity: Severity,
    /// Hash of what tells findings of the rule apart.
    pub about: Fnv,
    pub changing: &'a str,
    pub reason: &'a str,
    /// What would make it expected; asked when the finding is told.
    pub expected_if: &'a dyn Fn() -> String,
    pub flow: FlowRef,
    /// App and row of the book.
    pub booked: Option<(AppId, RowId)>,
    /// The rule had noticed this flow before.
    pub is_counted: bool,
    pub at: Timestamp,
}

/// What changed since it was stored.
#[derive(Debug, Default)]
struct Pending {
    changed: Vec<FindingId>,
    removed: Vec<Box<str>>,
}

/// All findings.
pub struct Findings {
    all: Vec<Finding>,
    by_key: HashMap<u64, FindingId>,
    quiet: Duration,
    /// `None`: nobody stores them.
    pending: Option<Pending>,
    /// Findings for which there was no room.
    pub left_out: u64,
}

impl Findings {
    /// `quiet`: how long a finding that goes on is not told again.
    #[must_use]
    pub fn new(quiet: Duration) -> Self {
        Self { all: Vec::new(), by_key: HashMap::new(), quiet, pending: None, left_out: 0 }
    }

    /// How long a finding that goes on is not told again from now on.
    pub fn set_quiet(&mut self, quiet: Duration) {
        self.quiet = quiet;
    }

    /// Notes what a rule says; tells whether it is news, and of which finding.
    pub fn notice(&mut self, noticed: Noticed<'_>) -> (Option<FindingId>, Option<News>) {
        let hash = short_hash(noticed.about);
        let known = self.by_key.get(&number(noticed.rule_hash, hash)).copied();
        let Some(id) = known.or_else(|| self.begin(key(noticed.rule, hash), &noticed)) else {
            self.left_out += u64::from(!noticed.is_counted);
            return (None, None);
        };
        let quiet = self.quiet_ns();
        let news = self.all.get_mut(id).and_then(|finding| finding.take(noticed, quiet));
        self.touch(id);
        (Some(id), news)
    }

    /// Room for a new one.
    fn begin(&mut self, key: Box<str>, noticed: &Noticed<'_>) -> Option<FindingId> {
        let number = number_of(&key);
        let finding = Finding::new(key, noticed);
        let id = if self.all.len() < MOST {
            self.all.push(finding);
            self.all.len() - 1
        } else {
            let (id, oldest) = self.all.iter_mut().enumerate().min_by_key(|(_, finding)| finding.last)?;
            if Duration::from_nanos(noticed.at.0.saturating_sub(oldest.last.0)) < OLD.max(self.quiet) {
                return None;
            }
            self.by_key.remove(&number_of(&oldest.key));
            let oldest = std::mem::replace(oldest, finding);
            if let Some(pending) = &mut self.pending {
                pending.changed.retain(|&changed| changed != id);
                pending.removed.push(oldest.key);
            }
            id
        };
        self.by_key.insert(number, id);
        Some(id)
    }

    fn quiet_ns(&self) -> u64 {
        u64::try_from(self.quiet.as_nanos()).unwrap_or(u64::MAX)
    }

    fn touch(&mut self, id: FindingId) {
        if let (Some(pending), Some(finding)) = (&mut self.pending, self.all.get_mut(id))
            && !std::mem::replace(&mut finding.is_listed, true)
        {
            pending.changed.push(id);
        }
    }

    /// Takes back what was stored, and remembers from now on what changes.
    pub fn restore(&mut self, findings: Vec<Finding>) {
        self.pending.get_or_insert_default();
        for finding in findings.into_iter().take(MOST) {
            let number = number_of(&finding.key);
            if !self.by_key.contains_key(&number) {
                self.by_key.insert(number, self.all.len());
                self.all.push(finding);
            }
        }
    }

    /// What changed since it was taken last, and the keys of those that made room for others.
    pub fn take_changes(&mut self) -> (SavedFindings, Vec<Box<str>>) {
        let Some(pending) = self.pending.as_mut().map(std::mem::take) else { return Default::default() };
        let mut changed = SavedFindings::with_capacity(pending.changed.len());
        for id in pending.changed {
            if let Some(finding) = self.all.get_mut(id) {
                finding.is_listed = false;
                changed.add(finding);
            }
        }
        (changed, pending.removed)
    }

    /// What was taken could not be stored: it waits again.
    pub fn put_back(&mut self, changed: &SavedFindings, removed: &[Box<str>]) {
        for finding in &changed.all {
            if let Some(&id) = self.by_key.get(&number_of(changed.key(finding))) {
                self.touch(id);
            }
        }
        if let Some(pending) = &mut self.pending {
            let gone = removed.iter().filter(|key| !self.by_key.contains_key(&number_of(key)));
            pending.removed.extend(gone.cloned());
        }
    }

    /// Whether anything waits to be stored.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| !(pending.changed.is_empty() && pending.removed.is_empty()))
    }

    #[must_use]
    pub fn get(&self, id: FindingId) -> Option<&Finding> {
        self.all.get(id)
    }

    /// In the order in which they were noticed first.
    #[must_use]
    pub fn all(&self) -> &[Finding] {
        &self.all
    }

    /// What the owner of the device knows of: keys, each with what may not change.
    pub fn acknowledge<'a>(&mut self, known: impl Iterator<Item = (&'a str, &'a str)>) {
        self.all.iter_mut().for_each(|finding| finding.acknowledged = None);
        for (key, unchanged) in known {
            if let Some(finding) = self.by_key.get(&number_of(key)).and_then(|&id| self.all.get_mut(id)) {
                finding.acknowledged = Some(unchanged.to_owned());
            }
        }
    }
}

impl Finding {
    fn new(key: Box<str>, noticed: &Noticed<'_>) -> Self {
        Self {
            key,
            rule: Arc::clone(noticed.rule),
            severity: noticed.severity,
            reason: String::new(),
            expected_if: None,
            first: noticed.at,
            last: noticed.at,
            count: 0,
            flows: Vec::new(),
            changing: noticed.changing.to_owned(),
            booked: noticed.booked,
            told: None,
            acknowledged: None,
            is_listed: false,
        }
    }

    fn take(&mut self, noticed: Noticed<'_>, quiet: u64) -> Option<News> {
        let has_changed = self.changing != noticed.changing;
        self.severity = noticed.severity;
        noticed.reason.clone_into(&mut self.reason);
        self.first = self.first.min(noticed.at);
        self.last = self.last.max(noticed.at);
        if has_changed {
            noticed.changing.clone_into(&mut self.changing);
        }
        self.booked = noticed.booked.or(self.booked);
        if !noticed.is_counted {
            self.count = self.count.saturating_add(1);
            if self.flows.len() < MOST_FLOWS && !self.flows.contains(&noticed.flow) {
                self.flows.push(noticed.flow);
            }
        }
        if self.acknowledged.as_ref() == Some(&self.changing) {
            return None;
        }
        let news = match self.told {
            None => News::New,
            Some(_) if has_changed => News::Changed,
            Some(told) if noticed.at.0.saturating_sub(told.0) >= quiet => News::Again,
            Some(_) => return None,
        };
        self.told = Some(noticed.at);
        self.expected_if = Some((noticed.expected_if)()).filter(|text| !text.is_empty());
        Some(news)
    }
}

/// 40 bits of FNV-1a of what a finding is about.
fn short_hash(about: Fnv) -> u64 {
    let hash = about.get();
    (hash ^ (hash >> 40)) & 0xff_ffff_ffff
}

/// `RULE/HASH`, the hash in hexadecimal.
fn key(rule: &str, hash: u64) -> Box<str> {
    let mut key = String::with_capacity(rule.len() + 11);
    // Writing to a String cannot fail.
    let _ = write!(key, "{rule}/{hash:010x}");
    key.into()
}

/// Stands for a rule in tables.
#[must_use]
pub fn hash_of_rule(id: &str) -> u64 {
    Fnv::new().text(id).get()
}

/// Stands for a key in tables: most records have flags, and their keys need not be written for that.
fn number(rule_hash: u64, hash: u64) -> u64 {
    // The hash is spread already.
    rule_hash ^ hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn number_of(key: &str) -> u64 {
    let parts =
        key.rsplit_once('/').and_then(|(rule, hash)| Some((rule, u64::from_str_radix(hash, 16).ok()?)));
    parts.map_or_else(|| Fnv::new().text(key).get(), |(rule, hash)| number(hash_of_rule(rule), hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn notice(findings: &mut Findings, about: &str, changing: &str, at: u64, cookie: u64) -> Option<News> {
        let rule: Arc<str> = "a-rule".into();
        let noticed = Noticed {
            rule: &rule,
            rule_hash: hash_of_rule(&rule),
            severity: Severity::Low,
            about: Fnv::new().text(about),
            changing,
            reason: "because",
            expected_if: &String::new,
            flow: FlowRef { boot: 1, cookie, peer: None },
            booked: None,
            is_counted: false,
            at: Timestamp(at * HOUR),
        };
        findings.notice(noticed).1
    }

    #[test]
    fn a_finding_is_told_once_and_again_when_it_changes_or_goes_on_for_long() {
        let mut findings = Findings::new(Duration::from_secs(24 * 3600));
        assert_eq!(notice(&mut findings, "app", "CN", 0, 1), Some(News::New));
        assert_eq!(notice(&mut findings, "app", "CN", 1, 2), None);
        assert_eq!(notice(&mut findings, "other app", "CN", 1, 3), Some(News::New));
        assert_eq!(notice(&mut findings, "app", "HK", 2, 4), Some(News::Changed));
        assert_eq!(notice(&mut findings, "app", "HK", 25, 5), None);
        assert_eq!(notice(&mut findings, "app", "HK", 26, 6), Some(News::Again));
        let finding = findings.get(0).unwrap();
        assert_eq!((finding.count, finding.flows.len()), (5, 5));
        assert_eq!((finding.first, finding.last), (Timestamp(0), Timestamp(26 * HOUR)));
    }

    #[test]
    fn what_is_acknowledged_is_not_told_until_it_changes() {
        let mut findings = Findings::new(Duration::from_secs(3600));
        notice(&mut findings, "app", "CN", 0, 1);
        let key = findings.all()[0].key.clone();
        findings.acknowledge([(&*key, "CN"), ("a-rule/0000000000", "")].into_iter());
        assert_eq!(notice(&mut findings, "app", "CN", 5, 2), None);
        assert_eq!(notice(&mut findings, "app", "HK", 6, 3), Some(News::Changed));
    }

    #[test]
    fn keys_stay_the_same_and_tell_findings_apart() {
        let hash = |about| short_hash(Fnv::new().text(about));
        let key = |about| key("outside-home", hash(about));
        assert_eq!(&*key("a\u{1f}CN"), "outside-home/822f1938d0");
        assert_ne!(key("a\u{1f}CN"), key("a\u{1f}C"));
        assert_eq!(number_of(&key("a")), number(hash_of_rule("outside-home"), hash("a")));
    }

    #[test]
    fn what_does_not_fit_is_counted_until_old_ones_make_room() {
        let mut findings = Findings::new(Duration::from_secs(3600));
        findings.restore(Vec::new());
        for number in 0..MOST + 3 {
            notice(&mut findings, &number.to_string(), "", 0, 1);
        }
        assert_eq!((findings.all().len(), findings.left_out), (MOST, 3));
        assert_eq!(findings.take_changes().0.all.len(), MOST);
        assert_eq!(notice(&mut findings, "late", "", 7 * 24, 1), Some(News::New));
        let (changed, removed) = findings.take_changes();
        assert_eq!((changed.all.len(), removed.len(), findings.all().len()), (1, 1, MOST));
    }

    #[test]
    fn what_is_restored_is_not_told_again() {
        let mut findings = Findings::new(Duration::from_secs(24 * 3600));
        findings.restore(Vec::new());
        notice(&mut findings, "app", "CN", 0, 1);
        findings.take_changes();
        let mut later = Findings::new(Duration::from_secs(24 * 3600));
        later.restore(findings.all().to_vec());
        assert!(!later.has_changes());
        assert_eq!(notice(&mut later, "app", "CN", 2, 1), None);
        assert_eq!(later.all()[0].count, 2);
        assert_eq!(notice(&mut later, "app", "HK", 3, 1), Some(News::Changed));
    }
}
