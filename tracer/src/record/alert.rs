//! What a record says about services and findings.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Action, EventKind, EventObject, Record, Severity};

use crate::clock::Timestamp;
use crate::judge::findings::{Finding, News};
use crate::judge::observation::FlowRef;
use crate::judge::services::{Category, Evidence, EvidenceSet};

/// A service that is known to tracer, see `tracer services`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct ServiceObject<'a> {
    /// Stable name, for filters.
    pub id: &'a str,
    pub name: &'a str,
    /// Who runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<&'a str>,
    /// Where its owner has its seat, ISO 3166-1 alpha-2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_iso_code: Option<&'a str>,
    pub category: Category,
    /// What spoke for it: `name`, `port`, `app`, `as`.
    #[serde(rename = "match")]
    #[schemars(with = "Vec<Evidence>")]
    pub evidence: EvidenceSet,
    /// `true` when nothing but a port speaks for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub possible: bool,
}

/// ECS `rule`.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct RuleObject<'a> {
    /// As the `id` of flags.
    pub id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: &'a str,
}

/// Something that a rule noticed: one finding for all connections that say the same. The other members of the record are
/// those of the connection that made it news.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct AlertObject<'a> {
    /// Tells findings apart, the same over restarts: for `tracer ack`.
    pub key: &'a str,
    /// Why it is told now: `alert` records only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub news: Option<News>,
    pub severity: Severity,
    /// For a person: what was seen, and why it is mentioned.
    pub reason: &'a str,
    /// For a person: what would make it expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_if: Option<&'a str>,
    /// When it was noticed first and last.
    pub first: Timestamp,
    pub last: Timestamp,
    /// Connections that it was noticed of.
    pub count: u64,
    /// Ids of the first of these connections, at most eight.
    pub flows: &'a [FlowRef],
}

/// `event` of an `alert` record.
pub const ALERT_EVENT: EventObject<'static> = EventObject {
    kind: EventKind::Alert,
    category: &["network"],
    types: &["info"],
    action: Action::Alert,
    outcome: None,
    duration: None,
};

impl<'a> AlertObject<'a> {
    #[must_use]
    pub fn of(finding: &'a Finding, news: Option<News>) -> Self {
        Self {
            key: &finding.key,
            news,
            severity: finding.severity,
            reason: &finding.reason,
            expected_if: finding.expected_if.as_deref(),
            first: finding.first,
            last: finding.last,
            count: finding.count,
            flows: &finding.flows,
        }
    }
}

/// The record of a finding, made from that of the connection that made it news.
#[must_use]
pub fn alert<'a>(record: &Record<'a>, rule: RuleObject<'a>, finding: &'a Finding, news: News) -> Record<'a> {
    Record {
        event: ALERT_EVENT,
        flags: &[],
        rule: Some(rule),
        alert: Some(AlertObject::of(finding, Some(news))),
        tls: None,
        dns: None,
        error: None,
        tracer: None,
        ..*record
    }
}
