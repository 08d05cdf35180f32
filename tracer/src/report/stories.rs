//! Findings put together to stories: what several rules say about one app and one destination is told once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashMap;

use super::build::{Known, bytes};
use super::material::{App, Bar, Destination, Lane, Period, Point, Story};
use super::words;
use crate::judge::book::{Amounts, AppId, RowId};
use crate::judge::findings::Finding;
use crate::judge::observation::FlowRef;
use crate::names::flow_name::registered_domain;
use crate::record::Severity;
use crate::text::visible;

/// Connections that a story shows as evidence.
const MOST_EVIDENCE: usize = 12;

/// What stories are made from.
pub struct Parts<'a> {
    pub known: &'a Known<'a>,
    pub app_numbers: &'a HashMap<AppId, usize>,
    pub row_numbers: &'a HashMap<RowId, usize>,
}

/// Whom a story is about, beside the app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum With {
    Service(String),
    Name(String),
    Network(Option<u32>, Option<&'static str>),
    /// All that an app does with a country.
    Country(&'static str),
    /// All that an app does.
    Anybody,
    /// The book has the app or the destination no more.
    Forgotten(String),
}

/// Fields that say whom a connection went to.
const WHOM: [&str; 6] = [
    "destination.service.id",
    "destination.registered_domain",
    "destination.domain",
    "destination.as.number",
    "destination.ip",
    "destination.as.organization.name",
];

/// Findings of each story.
type Groups<'a> = BTreeMap<(Option<usize>, With), Vec<&'a Finding>>;

/// All stories; marks apps and destinations with how severe they are.
pub fn stories(parts: &Parts<'_>, apps: &mut [App], destinations: &mut [Destination]) -> Vec<Story> {
    let mut groups: Groups<'_> = BTreeMap::new();
    let mut about_countries = Vec::new();
    for finding in parts.known.findings.iter().filter(|finding| finding.count > 0) {
        match group(parts, finding, destinations) {
            (Some(app), With::Country(country)) => about_countries.push((app, country, finding)),
            group => groups.entry(group).or_default().push(finding),
        }
    }
    for (app, country, finding) in about_countries {
        let with = with_whom_there(app, country, &groups, apps, destinations);
        groups.entry((Some(app), with)).or_default().push(finding);
    }
    let mut stories: Vec<Story> = groups
        .into_iter()
        .map(|((app, with), findings)| story(parts, app, &with, &findings, apps, destinations))
        .collect();
    for story in stories.iter().filter(|story| !story.is_acknowledged) {
        if let Some(app) = story.app.and_then(|number| apps.get_mut(number)) {
            app.severity = app.severity.max(Some(story.severity));
        }
        for &number in &story.destinations {
            if let Some(destination) = destinations.get_mut(number) {
                destination.severity = destination.severity.max(Some(story.severity));
            }
        }
    }
    stories.sort_by_key(|story| {
        let more = (story.points.len(), bytes(&story.amounts));
        (story.is_acknowledged, std::cmp::Reverse((story.severity, more)), story.seen.from)
    });
    stories
}

fn group(parts: &Parts<'_>, finding: &Finding, destinations: &[Destination]) -> (Option<usize>, With) {
    let forgotten = || (None, With::Forgotten(finding.key.to_string()));
    let Some((app, row)) = finding.booked else { return forgotten() };
    let Some(&app) = parts.app_numbers.get(&app) else { return forgotten() };
    let destination = parts.row_numbers.get(&row).and_then(|&number| destinations.get(number));
    let Some(destination) = destination else { return (Some(app), With::Forgotten(finding.key.to_string())) };
    // Where a finding was noticed last says something only if all its connections went there.
    let (mut is_about_whom, mut is_about_where) = (false, false);
    for field in parts.known.expectations.rules.key_of(&finding.rule) {
        is_about_whom |= WHOM.contains(&field);
        is_about_where |= field == "destination.geo.country_iso_code";
    }
    match destination.country.filter(|_| is_about_where) {
        _ if is_about_whom => (Some(app), with(destination)),
        Some(country) => (Some(app), With::Country(country.code)),
        None => (Some(app), With::Anybody),
    }
}

/// Whom a finding about an app and a country is told with: the one story that there is of these, or the one whom the app talks
/// to there; else it is a story of its own.
fn with_whom_there(
    app: usize,
    country: &'static str,
    groups: &Groups<'_>,
    apps: &[App],
    destinations: &[Destination],
) -> With {
    let of_app = apps.get(app).map(|app| app.destinations.as_slice()).unwrap_or_default();
    let there = of_app.iter().filter_map(|&number| destinations.get(number));
    let there = there.filter(|one| !one.is_incoming() && one.country.is_some_and(|it| it.code == country));
    let whom: BTreeSet<With> = there.map(with).collect();
    let mut told = whom.iter().filter(|with| groups.contains_key(&(Some(app), (*with).clone())));
    match (told.next(), told.next(), whom.first()) {
        (Some(one), None, _) => one.clone(),
        (None, _, Some(only)) if whom.len() == 1 => only.clone(),
        _ => With::Country(country),
    }
}

fn with(destination: &Destination) -> With {
    if let Some(service) = &destination.service {
        return With::Service(service.name.clone());
    }
    match &destination.host {
        Some(host) => With::Name(registered_domain(host).unwrap_or(host).to_owned()),
        None => With::Network(destination.asn, destination.country.map(|country| country.code)),
    }
}

fn story(
    parts: &Parts<'_>,
    app: Option<usize>,
    with: &With,
    findings: &[&Finding],
    apps: &[App],
    destinations: &[Destination],
) -> Story {
    let mut points: Vec<Point> = findings.iter().map(|finding| point(parts, finding)).collect();
    points.sort_by_key(|point| (point.is_acknowledged, std::cmp::Reverse(point.severity)));
    let app_of = app.and_then(|number| apps.get(number));
    let of_app = app_of.map(|app| app.destinations.as_slice()).unwrap_or_default();
    let is_meant = |number: &&usize| {
        destinations.get(**number).is_some_and(|one| match with {
            With::Anybody => true,
            With::Country(code) => {
                !one.is_incoming() && one.country.is_some_and(|country| country.code == *code)
            }
            with => self::with(one) == *with,
        })
    };
    let about: Vec<usize> = of_app.iter().filter(is_meant).copied().collect();
    let of_story: Vec<&Destination> = about.iter().filter_map(|&number| destinations.get(number)).collect();
    let first = findings.iter().map(|finding| finding.first).min().unwrap_or_default();
    let last = findings.iter().map(|finding| finding.last).max().unwrap_or_default();
    let mut seen = Period { from: first, to: last };
    let mut amounts = Amounts::default();
    for destination in &of_story {
        seen.reach(destination.seen.from);
        seen.reach(destination.seen.to);
        amounts.add(&destination.amounts);
    }
    let (evidence, other_flows) = evidence(findings, &of_story);
    let open = |point: &&Point| !point.is_acknowledged;
    let severities = points.iter().filter(open).map(|point| point.severity).max();
    Story {
        severity: severities.or(points.first().map(|point| point.severity)).unwrap_or(Severity::Info),
        is_acknowledged: points.iter().all(|point| point.is_acknowledged),
        app,
        headline: headline(app_of, with, &of_story, findings, &points),
        destinations: about,
        points,
        evidence,
        other_flows,
        seen,
        amounts,
    }
}

fn point(parts: &Parts<'_>, finding: &Finding) -> Point {
    Point {
        rule: visible(&finding.rule).into_owned(),
        about: visible(parts.known.expectations.rules.about(&finding.rule)).into_owned(),
        severity: finding.severity,
        reason: visible(&finding.reason).into_owned(),
        expected_if: finding.expected_if.as_deref().map(|text| visible(text).into_owned()),
        seen: Period { from: finding.first, to: finding.last },
        count: finding.count,
        key: visible(&finding.key).into_owned(),
        is_acknowledged: finding.acknowledged.as_ref() == Some(&finding.changing),
    }
}

/// The connections that findings name, in their order, and those of which only the id is known.
fn evidence(findings: &[&Finding], destinations: &[&Destination]) -> (Vec<Bar>, Vec<FlowRef>) {
    let bars = destinations.iter().flat_map(|destination| match &destination.lane {
        Lane::Each { bars, .. } | Lane::Sums { bars, .. } => bars.as_slice(),
        Lane::Empty => &[],
    });
    let known: HashMap<FlowRef, Bar> = bars.map(|bar| (bar.flow, *bar)).collect();
    let mut flows: Vec<FlowRef> = Vec::new();
    for flow in findings.iter().flat_map(|finding| &finding.flows) {
        if !flows.contains(flow) {
            flows.push(*flow);
        }
    }
    flows.truncate(MOST_EVIDENCE);
    let mut evidence: Vec<Bar> = flows.iter().filter_map(|flow| known.get(flow)).copied().collect();
    evidence.sort_by_key(|bar| bar.seen.from);
    flows.retain(|flow| !known.contains_key(flow));
    (evidence, flows)
}

fn headline(
    app: Option<&App>,
    with: &With,
    destinations: &[&Destination],
    findings: &[&Finding],
    points: &[Point],
) -> String {
    let Some(app) = app else {
        return points.first().map_or_else(String::new, |point| point.about.trim_end_matches('.').to_owned());
    };
    let has = |rule: &str| findings.iter().any(|finding| &*finding.rule == rule);
    let who = &app.label;
    if *with == With::Anybody || destinations.is_empty() {
        let about = points.first().map(|point| point.about.trim_end_matches('.').to_owned());
        return format!("{who}: {}", about.unwrap_or_default());
    }
    let verb = if has("cleartext") {
        "talks without encryption to"
    } else if has("persistent-channel") {
        "keeps a connection to"
    } else if has("regular-cadence") {
        "is regularly in touch with"
    } else if has("new-destination") {
        "talks for the first time to"
    } else {
        "talks to"
    };
    let target = match with {
        With::Name(name) => name.clone(),
        With::Country(_) => {
            let whom: BTreeSet<String> = destinations.iter().map(|one| one.target()).collect();
            words::count(u64::try_from(whom.len()).unwrap_or_default(), "destination", "destinations")
        }
        _ => destinations.first().map(|destination| destination.target()).unwrap_or_default(),
    };
    let mut places: Vec<&str> = Vec::new();
    for country in destinations.iter().filter_map(|destination| destination.country) {
        if !places.contains(&country.name) {
            places.push(country.name);
        }
    }
    let more = format!("{} more countries", places.len().saturating_sub(2));
    if places.len() > 3 {
        places.truncate(2);
        places.push(&more);
    }
    if places.is_empty() {
        format!("{who} {verb} {target}")
    } else {
        format!("{who} {verb} {target} in {}", words::list(&places))
    }
}
