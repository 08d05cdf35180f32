//! From the book and the findings to a report: joined, named and put in order. Pure.

use hashbrown::HashMap;

use super::collect::{AppDetail, Details, RowDetail};
use super::material::{
    App, CountryTotal, Destination, GeoSource, Lane, Material, Period, ServiceFacts, Sources,
};
use super::stories::{Parts, stories};
use super::streams::{Streams, file_name};
use crate::clock::Timestamp;
use crate::enrich::geo::{self, Country, DatabaseInfo};
use crate::judge::Expectations;
use crate::judge::book::{Amounts, AppId, Book, MOST_ROWS, Row, RowId};
use crate::judge::findings::Finding;
use crate::judge::services::Service;
use crate::text::visible;

const DAY_NS: u64 = 86_400_000_000_000;

/// What is known: live, after a replay, or from a ledger.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub book: &'a Book,
    pub findings: &'a [Finding],
    /// Findings for which there was no room.
    pub findings_left_out: u64,
    pub expectations: &'a Expectations,
    /// In use today.
    pub geo: &'a [DatabaseInfo],
}

/// What was added to each row by day (days since 1970 in UTC): connections, failures, bytes sent, bytes received.
pub type Days = HashMap<RowId, Vec<(u32, [u64; 4])>>;

/// A report of recorded streams. `details` and `streams`: what was gathered while they were judged.
#[must_use]
pub fn from_capture(
    known: &Known<'_>,
    details: Details,
    streams: Streams,
    period: Option<Period>,
    records: u64,
    made: Timestamp,
) -> Material {
    let mut material = build(known, details, period, made);
    material.losses = streams.losses();
    material.sources.records = records;
    material.sources.is_redacted = streams.is_redacted;
    if streams.more_streams > 0 {
        material.left_out.push(format!("{} more streams are not listed one by one", streams.more_streams));
    }
    if streams.more_gaps > 0 {
        material.left_out.push(format!("{} more gaps are not listed one by one", streams.more_gaps));
    }
    if streams.not_shown() > 0 {
        let events = super::words::count(streams.not_shown(), "event is", "events are");
        material
            .left_out
            .push(format!("{events} not in the capture, as it was asked for when it was recorded"));
    }
    material.gaps = streams.gaps;
    material.sources.files = streams.files;
    material
}

/// A report of a ledger: days in the place of moments.
#[must_use]
pub fn from_ledger(known: &Known<'_>, days: Days, name: &str, made: Timestamp) -> Material {
    let mut details = Details::default();
    for (row, mut days) in days {
        days.sort_unstable();
        let slot = |(day, array): (u32, [u64; 4])| {
            let [connections, failures, sent, received] = array;
            (
                Timestamp(u64::from(day).saturating_mul(DAY_NS)),
                Amounts { connections, failures, sent, received },
            )
        };
        let lane =
            Lane::Sums { slot_ns: DAY_NS, slots: days.into_iter().map(slot).collect(), bars: Vec::new() };
        details.rows.insert(row, RowDetail { lane, ..RowDetail::default() });
    }
    let seen = known.book.rows.values().map(|row| Period { from: row.first_seen, to: row.last_seen });
    let period =
        seen.reduce(|one, other| Period { from: one.from.min(other.from), to: one.to.max(other.to) });
    let mut material = build(known, details, period, made);
    let name = visible(name).into_owned();
    material.sources.files = vec![super::material::SourceFile {
        name,
        period,
        has_start: true,
        has_stop: true,
        ..Default::default()
    }];
    material
}

fn build(known: &Known<'_>, mut details: Details, period: Option<Period>, made: Timestamp) -> Material {
    let services: HashMap<&str, &Service> =
        known.expectations.services.all().iter().map(|service| (service.id.as_str(), service)).collect();
    let mut rows: Vec<(RowId, &Row)> = known.book.rows.iter().map(|(&id, row)| (id, row)).collect();
    rows.sort_unstable_by_key(|(id, row)| (std::cmp::Reverse(bytes(&row.total)), *id));
    let mut apps = Vec::new();
    let mut app_numbers: HashMap<AppId, usize> = HashMap::new();
    let mut destinations = Vec::new();
    let mut row_numbers: HashMap<RowId, usize> = HashMap::new();
    for (id, row) in rows {
        let Some(app) = app_number(known.book, row.key.app, &details.apps, &mut app_numbers, &mut apps)
        else {
            continue;
        };
        let detail = details.rows.remove(&id).unwrap_or_default();
        let number = destinations.len();
        row_numbers.insert(id, number);
        destinations.push(destination(row, app, detail, &services));
        if let Some(app) = apps.get_mut(app) {
            app.destinations.push(number);
            app.totals.add(&row.total);
        }
    }
    let parts = Parts { known, app_numbers: &app_numbers, row_numbers: &row_numbers };
    let stories = stories(&parts, &mut apps, &mut destinations);
    let home: Vec<Country> = known.expectations.home.iter().filter_map(|code| geo::country(code)).collect();
    let mut totals = Amounts::default();
    apps.iter().for_each(|app| totals.add(&app.totals));
    let mut material = Material {
        title: "Connections of this device".to_owned(),
        made,
        period,
        countries: countries(&destinations, &home),
        home,
        stories,
        apps,
        destinations,
        totals,
        losses: Vec::new(),
        gaps: Vec::new(),
        left_out: left_out(known),
        sources: sources(known),
    };
    sort_apps(&mut material);
    material
}

fn left_out(known: &Known<'_>) -> Vec<String> {
    let mut left_out = Vec::new();
    if known.findings_left_out > 0 {
        left_out.push(format!("there was no room for further findings, {} times", known.findings_left_out));
    }
    // The book makes room a twentieth at a time.
    if known.book.rows.len() >= MOST_ROWS - MOST_ROWS / 20 {
        left_out.push(format!(
            "the book keeps {MOST_ROWS} destinations: those that were silent longest may be missing"
        ));
    }
    left_out
}

fn sources(known: &Known<'_>) -> Sources {
    let geo = |info: &DatabaseInfo| GeoSource {
        name: file_name(&visible(&info.name)),
        kind: visible(&info.kind).into_owned(),
        built: info.built,
    };
    let lists = (0..=u16::MAX).map_while(|number| known.expectations.lists.name(number));
    Sources {
        geo: known.geo.iter().map(geo).collect(),
        services: known.expectations.services.all().len(),
        rules: known.expectations.rules.enabled(),
        lists: lists.map(|name| visible(name).into_owned()).collect(),
        version: env!("CARGO_PKG_VERSION"),
        ..Sources::default()
    }
}

/// The number of an app, which is begun if need be.
fn app_number(
    book: &Book,
    id: AppId,
    details: &HashMap<AppId, AppDetail>,
    numbers: &mut HashMap<AppId, usize>,
    apps: &mut Vec<App>,
) -> Option<usize> {
    if let Some(&number) = numbers.get(&id) {
        return Some(number);
    }
    let known = book.apps.get(&id)?;
    let detail = details.get(&id).cloned().unwrap_or_default();
    apps.push(App {
        label: visible(&known.label).into_owned(),
        is_preinstalled: known.is_preinstalled,
        is_removable: detail.is_removable,
        uid: detail.uid.or(known.key.user.filter(|_| !known.key.is_package)),
        program: detail.program.filter(|_| !known.key.is_package),
        totals: Amounts::default(),
        seen: Period { from: known.first_seen, to: known.last_seen },
        severity: None,
        destinations: Vec::new(),
    });
    numbers.insert(id, apps.len() - 1);
    Some(apps.len() - 1)
}

fn destination(row: &Row, app: usize, detail: RowDetail, services: &HashMap<&str, &Service>) -> Destination {
    let key = &row.key;
    let of_connects = row.connects.cadence();
    // As the rule has it: from there on it goes by a clock.
    let clear = |cadence: &crate::judge::cadence::Cadence| cadence.score >= 0.8;
    let cadence = detail.cadence.into_iter().chain(of_connects).filter(clear);
    Destination {
        app,
        direction: key.direction,
        service: key.service.as_deref().map(|id| facts(id, services.get(id).copied(), detail.evidence)),
        host: key.name.as_deref().map(|name| visible(name).into_owned()),
        country: key.country.and_then(geo::country),
        asn: key.asn,
        as_name: detail.as_name,
        transport: key.transport,
        port: Some(key.port).filter(|&port| port != 0),
        addresses: detail.addresses,
        has_more_addresses: detail.has_more_addresses,
        is_local: detail.is_local,
        amounts: row.total,
        seen: Period { from: row.first_seen, to: row.last_seen },
        cadence: cadence.max_by(|one, other| one.score.total_cmp(&other.score)),
        beats: detail.beats,
        resets: detail.resets,
        uncounted: detail.uncounted,
        severity: None,
        lane: detail.lane,
    }
}

fn facts(id: &str, service: Option<&Service>, evidence: Vec<&'static str>) -> ServiceFacts {
    let Some(service) = service else {
        // Of a ledger: known then, and not any more.
        return ServiceFacts {
            name: visible(id).into_owned(),
            owner: None,
            country: None,
            category: "",
            expected: Vec::new(),
            about: None,
            artefacts: Vec::new(),
            evidence,
        };
    };
    let shown = |text: &String| visible(text).into_owned();
    let name_of =
        |code: &String| geo::country(code).map_or_else(|| shown(code), |country| country.name.to_owned());
    ServiceFacts {
        name: shown(&service.name),
        owner: service.owner.as_ref().map(shown),
        country: service.country.as_deref().and_then(geo::country),
        category: service.category.into(),
        expected: service.expected.iter().map(name_of).collect(),
        about: service.about.as_ref().map(shown),
        artefacts: service.facts.iter().flat_map(|fact| &fact.artefacts).map(shown).collect(),
        evidence,
    }
}

fn countries(destinations: &[Destination], home: &[Country]) -> Vec<CountryTotal> {
    let mut totals: HashMap<&str, (CountryTotal, std::collections::BTreeSet<usize>)> = HashMap::new();
    for destination in destinations.iter().filter(|destination| !destination.is_incoming()) {
        let Some(country) = destination.country else { continue };
        let (total, apps) = totals.entry(country.code).or_insert_with(|| {
            let is_home = home.contains(&country);
            let total =
                CountryTotal { country, amounts: Amounts::default(), apps: 0, is_home, severity: None };
            (total, std::collections::BTreeSet::new())
        });
        total.amounts.add(&destination.amounts);
        total.severity = total.severity.max(destination.severity);
        apps.insert(destination.app);
        total.apps = apps.len();
    }
    let mut totals: Vec<CountryTotal> = totals.into_values().map(|(total, _)| total).collect();
    totals.sort_by_key(|total| (std::cmp::Reverse(bytes(&total.amounts)), total.country.code));
    totals
}

/// Most severe first, then those that moved most.
fn sort_apps(material: &mut Material) {
    let mut order: Vec<usize> = (0..material.apps.len()).collect();
    let key = |&number: &usize| {
        material.apps.get(number).map(|app| (app.severity, bytes(&app.totals), app.totals.connections))
    };
    order.sort_by_key(|number| std::cmp::Reverse(key(number)));
    let mut places = vec![0; order.len()];
    for (place, &number) in order.iter().enumerate() {
        if let Some(slot) = places.get_mut(number) {
            *slot = place;
        }
    }
    let place = |number: usize| places.get(number).copied().unwrap_or_default();
    let mut apps: Vec<(usize, App)> = std::mem::take(&mut material.apps).into_iter().enumerate().collect();
    apps.sort_by_key(|(number, _)| place(*number));
    material.apps = apps.into_iter().map(|(_, app)| app).collect();
    material.destinations.iter_mut().for_each(|destination| destination.app = place(destination.app));
    material.stories.iter_mut().for_each(|story| story.app = story.app.map(place));
}

/// Both ways.
pub fn bytes(amounts: &Amounts) -> u64 {
    amounts.sent.saturating_add(amounts.received)
}
