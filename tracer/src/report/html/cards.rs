//! Stories as cards: what a person asks first stands first. Pure.

use super::map;
use super::stairs::Stairs;
use super::timeline::{LaneView, Scale, ending};
use crate::record::Severity;
use crate::report::facts::{self, Fact};
use crate::report::material::{Bar, Material, Story};
use crate::report::words;

/// Destinations of a story that are drawn.
const MOST_LANES: usize = 6;
/// Stories on the page, and in Markdown.
pub const MOST_STORIES: usize = 200;
/// Stories that are told at length, however little severe they are.
const MOST_WHOLE: usize = 10;
/// Stories with their evidence unfolded.
const MOST_OPEN: usize = 3;
/// Ids of connections of which nothing else was kept.
const MOST_OTHER: usize = 8;

/// One story.
#[derive(Clone, Debug)]
pub struct Card {
    pub id: String,
    pub severity: &'static str,
    pub class: &'static str,
    pub is_acknowledged: bool,
    /// Its evidence is unfolded.
    pub is_open: bool,
    /// More than its headline and its key facts is folded away.
    pub is_compact: bool,
    pub headline: String,
    /// Since when, how often, how much.
    pub key_facts: Vec<Fact>,
    pub facts: Vec<Fact>,
    pub points: Vec<PointView>,
    pub expected: Vec<String>,
    pub lanes: Vec<LaneView>,
    pub more_lanes: usize,
    pub stairs: Option<Stairs>,
    pub evidence: Vec<EvidenceRow>,
    pub other_flows: String,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct PointView {
    pub severity: &'static str,
    pub class: &'static str,
    pub rule: String,
    pub about: String,
    pub reason: String,
    pub first: String,
    pub last: String,
    pub count: String,
    pub key: String,
    pub is_acknowledged: bool,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct EvidenceRow {
    pub flow: String,
    pub from: String,
    pub to: String,
    pub ending: &'static str,
    pub amounts: String,
}

/// All cards.
#[must_use]
pub fn cards(material: &Material, scale: Option<&Scale>) -> Vec<Card> {
    material
        .stories
        .iter()
        .take(MOST_STORIES)
        .zip(1..)
        .map(|(story, number)| card(material, story, number, scale))
        .collect()
}

fn card(material: &Material, story: &Story, number: usize, scale: Option<&Scale>) -> Card {
    let destinations: Vec<_> =
        story.destinations.iter().filter_map(|&number| material.destinations.get(number)).collect();
    let mut lanes = scale.map(|scale| scale.lanes(&destinations)).unwrap_or_default();
    let more_lanes = lanes.len().saturating_sub(MOST_LANES);
    lanes.truncate(MOST_LANES);
    let clearest = destinations.iter().max_by(|one, other| {
        let score = |destination: &&&crate::report::material::Destination| {
            destination.cadence.map_or(0.0, |cadence| cadence.score)
        };
        score(one).total_cmp(&score(other))
    });
    let mut expected: Vec<String> = Vec::new();
    for text in story.points.iter().filter_map(|point| point.expected_if.as_deref()) {
        let text = words::sentence(text);
        if !expected.contains(&text) {
            expected.push(text);
        }
    }
    let other: Vec<String> = story.other_flows.iter().take(MOST_OTHER).map(ToString::to_string).collect();
    Card {
        id: format!("finding-{number}"),
        severity: severity_word(story.severity),
        class: map::class(Some(story.severity)),
        is_acknowledged: story.is_acknowledged,
        is_open: number <= MOST_OPEN,
        is_compact: number > MOST_WHOLE && story.severity < Severity::Medium,
        headline: story.headline.clone(),
        key_facts: facts::key_facts(material, story),
        facts: facts::facts(material, story),
        points: points(material, story),
        expected,
        lanes,
        more_lanes,
        stairs: scale.zip(clearest).and_then(|(scale, destination)| scale.stairs(destination)),
        evidence: story.evidence.iter().map(evidence_row).collect(),
        other_flows: other.join(", "),
    }
}

fn points(material: &Material, story: &Story) -> Vec<PointView> {
    let points = story.points.iter().map(|point| PointView {
        severity: severity_word(point.severity),
        class: map::class(Some(point.severity)),
        rule: point.rule.clone(),
        about: point.about.clone(),
        reason: facts::reason(material, story, point),
        first: words::moment(point.seen.from),
        last: words::moment(point.seen.to),
        count: words::number(point.count),
        key: point.key.clone(),
        is_acknowledged: point.is_acknowledged,
    });
    points.collect()
}

fn evidence_row(bar: &Bar) -> EvidenceRow {
    let from = words::moment(bar.seen.from);
    EvidenceRow {
        flow: bar.flow.to_string(),
        from: if bar.has_start { from } else { format!("before {from}") },
        to: words::moment(bar.seen.to),
        ending: ending(bar),
        amounts: match (bar.sent, bar.received) {
            (None, None) => String::new(),
            (sent, received) => {
                let part = |bytes: Option<u64>, word: &str| {
                    bytes.map(|bytes| format!("{} {word}", words::bytes(bytes)))
                };
                let parts: Vec<String> =
                    [part(sent, "sent"), part(received, "received")].into_iter().flatten().collect();
                parts.join(", ")
            }
        },
    }
}

/// Severities as words.
#[must_use]
pub fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "Good to know",
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
    }
}
