//! The matrix of apps and countries, and the table of destinations. Pure.

use super::cards::severity_word;
use super::map::class;
use super::timeline::{LaneView, Scale};
use crate::judge::book::Amounts;
use crate::report::build::bytes;
use crate::report::material::{App, Destination, Material};
use crate::report::words;

/// What a person can look over; the page says how much more there is.
pub const MOST_APPS: usize = 60;
pub const MOST_COLUMNS: usize = 10;
pub const MOST_ROWS: usize = 1_500;
/// Countries in the table beside the map; the others are a list.
pub const MOST_COUNTRIES: usize = 10;
/// Apps with time lines, and time lines of one app.
pub const MOST_TIMED_APPS: usize = 30;
pub const MOST_TIMED_ROWS: usize = 12;
/// Names in a cell of the matrix.
const MOST_IN_CELL: usize = 3;

/// Apps by countries.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    pub columns: Vec<Head>,
    pub rows: Vec<MatrixRow>,
}

#[derive(Clone, Debug)]
pub struct Head {
    pub name: String,
    pub is_home: bool,
}

#[derive(Clone, Debug)]
pub struct MatrixRow {
    pub app: String,
    pub class: &'static str,
    pub severity: &'static str,
    pub cells: Vec<Cell>,
}

#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub names: Vec<String>,
    pub more: usize,
    pub amount: String,
    /// How much it is, from 0 to 4.
    pub level: u8,
    pub class: &'static str,
}

/// A row of the table of destinations.
#[derive(Clone, Debug)]
pub struct Row {
    pub class: &'static str,
    pub severity: &'static str,
    pub app: String,
    pub target: String,
    pub host: String,
    pub country: String,
    pub network: String,
    pub port: String,
    pub connections: u64,
    pub connections_text: String,
    pub failures: String,
    pub sent: u64,
    pub sent_text: String,
    pub received: u64,
    pub received_text: String,
    pub first: String,
    pub first_sort: String,
    pub last: String,
    pub last_sort: String,
}

/// A country and what went there.
#[derive(Clone, Debug)]
pub struct CountryRow {
    pub name: &'static str,
    pub is_home: bool,
    pub class: &'static str,
    pub connections: u64,
    pub bytes: String,
    pub apps: usize,
    /// Hundredths of the most.
    pub share: String,
}

/// An app and its time lines.
#[derive(Clone, Debug)]
pub struct AppLanes {
    pub label: String,
    pub class: &'static str,
    pub severity: &'static str,
    pub words: String,
    pub lanes: Vec<LaneView>,
    pub more: usize,
}

fn severity(app: Option<crate::record::Severity>) -> &'static str {
    app.map_or("", severity_word)
}

/// Which column a destination belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Column {
    Country(&'static str),
    Other,
    Local,
    Unknown,
}

/// The matrix, of connections from here.
#[must_use]
pub fn matrix(material: &Material) -> Matrix {
    let shown: Vec<&str> =
        material.countries.iter().take(MOST_COLUMNS).map(|total| total.country.code).collect();
    let column = |destination: &Destination| match destination.country {
        Some(country) if shown.contains(&country.code) => Column::Country(country.code),
        Some(_) => Column::Other,
        None if destination.is_local => Column::Local,
        None => Column::Unknown,
    };
    let is_there = |wanted: Column| outgoing(material).any(|destination| column(destination) == wanted);
    let mut columns: Vec<(Column, Head)> = material
        .countries
        .iter()
        .take(MOST_COLUMNS)
        .map(|total| {
            let head = Head { name: total.country.name.to_owned(), is_home: total.is_home };
            (Column::Country(total.country.code), head)
        })
        .collect();
    let others = [
        (Column::Other, "Other countries"),
        (Column::Local, "Local network"),
        (Column::Unknown, "No country known"),
    ];
    for (column, name) in others {
        if is_there(column) {
            columns.push((column, Head { name: name.to_owned(), is_home: false }));
        }
    }
    let most = outgoing(material).map(|one| level_weight(&one.amounts)).fold(1e-9, f64::max);
    let row = |(number, app): (usize, &App)| MatrixRow {
        app: app.label.clone(),
        class: class(app.severity),
        severity: severity(app.severity),
        cells: columns
            .iter()
            .map(|(wanted, _)| {
                let here = outgoing(material).filter(|one| one.app == number && column(one) == *wanted);
                cell(&here.collect::<Vec<_>>(), most)
            })
            .collect(),
    };
    let has_outgoing = |(number, _): &(usize, &App)| outgoing(material).any(|one| one.app == *number);
    let apps = material.apps.iter().enumerate().take(MOST_APPS).filter(has_outgoing);
    let rows = apps.map(row).collect();
    Matrix { columns: columns.into_iter().map(|(_, head)| head).collect(), rows }
}

fn outgoing(material: &Material) -> impl Iterator<Item = &Destination> {
    material.destinations.iter().filter(|destination| !destination.is_incoming())
}

fn cell(here: &[&Destination], most: f64) -> Cell {
    if here.is_empty() {
        return Cell::default();
    }
    let mut names: Vec<String> = Vec::new();
    for destination in here {
        let target = destination.target();
        if !names.contains(&target) {
            names.push(target);
        }
    }
    let more = names.len().saturating_sub(MOST_IN_CELL);
    names.truncate(MOST_IN_CELL);
    let mut amounts = Amounts::default();
    here.iter().for_each(|destination| amounts.add(&destination.amounts));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 4")]
    let level = (level_weight(&amounts) / most * 4.0).ceil().clamp(1.0, 4.0) as u8;
    Cell {
        names,
        more,
        amount: cell_amount(&amounts),
        level,
        class: class(here.iter().filter_map(|destination| destination.severity).max()),
    }
}

fn cell_amount(amounts: &Amounts) -> String {
    let connections = words::count(amounts.connections, "connection", "connections");
    match bytes(amounts) {
        0 => connections,
        bytes => format!("{} in {connections}", words::bytes(bytes)),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a shade")]
fn level_weight(amounts: &Amounts) -> f64 {
    (1.0 + bytes(amounts) as f64 / 100.0 + amounts.connections as f64).ln()
}

/// The table of destinations.
#[must_use]
pub fn rows(material: &Material) -> Vec<Row> {
    let mut order: Vec<&Destination> = material.destinations.iter().collect();
    order.sort_by_key(|one| std::cmp::Reverse((one.severity, bytes(&one.amounts), one.amounts.connections)));
    order.into_iter().take(MOST_ROWS).map(|destination| row(material, destination)).collect()
}

fn row(material: &Material, destination: &Destination) -> Row {
    let amounts = &destination.amounts;
    let transport: &'static str = destination.transport.into();
    let target = destination.target();
    let incoming = if destination.is_incoming() { "incoming, " } else { "" };
    Row {
        class: class(destination.severity),
        severity: severity(destination.severity),
        app: material.apps.get(destination.app).map(|app| app.label.clone()).unwrap_or_default(),
        host: destination.host.clone().filter(|host| *host != target).unwrap_or_default(),
        target,
        country: match destination.country {
            Some(country) => country.name.to_owned(),
            None if destination.is_local => "Local network".to_owned(),
            None => String::new(),
        },
        network: match (&destination.as_name, destination.asn) {
            (Some(name), Some(asn)) => format!("{name}, AS{asn}"),
            (None, Some(asn)) => format!("AS{asn}"),
            (_, None) => String::new(),
        },
        port: match destination.port {
            Some(port) => format!("{incoming}{transport} {port}"),
            None => format!("{incoming}{transport}"),
        },
        connections: amounts.connections,
        connections_text: words::number(amounts.connections),
        failures: if amounts.failures > 0 {
            format!("{} failed", words::number(amounts.failures))
        } else {
            String::new()
        },
        sent: amounts.sent,
        sent_text: counted(amounts, amounts.sent),
        received: amounts.received,
        received_text: counted(amounts, amounts.received),
        first: words::moment(destination.seen.from),
        first_sort: destination.seen.from.to_string(),
        last: words::moment(destination.seen.to),
        last_sort: destination.seen.to.to_string(),
    }
}

/// Empty where nothing was counted.
fn counted(amounts: &Amounts, bytes: u64) -> String {
    if amounts.sent == 0 && amounts.received == 0 { String::new() } else { words::bytes(bytes) }
}

/// The list beside the map.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a length")]
pub fn country_rows(material: &Material) -> Vec<CountryRow> {
    let most =
        material.countries.iter().map(|total| bytes(&total.amounts)).max().unwrap_or_default().max(1) as f64;
    let row = |total: &crate::report::material::CountryTotal| CountryRow {
        name: total.country.name,
        is_home: total.is_home,
        class: if total.is_home && total.severity.is_none() { "home" } else { class(total.severity) },
        connections: total.amounts.connections,
        bytes: match bytes(&total.amounts) {
            0 => String::new(),
            bytes => words::bytes(bytes),
        },
        apps: total.apps,
        share: super::timeline::short((bytes(&total.amounts) as f64 / most * 100.0).max(1.0)),
    };
    material.countries.iter().map(row).collect()
}

/// Time lines of apps.
#[must_use]
pub fn app_lanes(material: &Material, scale: &Scale) -> Vec<AppLanes> {
    let lanes = material.apps.iter().take(MOST_TIMED_APPS).map(|app| {
        let mut own: Vec<&Destination> =
            app.destinations.iter().filter_map(|&number| material.destinations.get(number)).collect();
        own.sort_by_key(|one| std::cmp::Reverse((one.severity, bytes(&one.amounts))));
        let lanes = scale.lanes(&own);
        AppLanes {
            label: app.label.clone(),
            class: class(app.severity),
            severity: severity(app.severity),
            words: format!("{}; {}", words::connections(&app.totals), words::amount(&app.totals)),
            more: lanes.len().saturating_sub(MOST_TIMED_ROWS),
            lanes: lanes.into_iter().take(MOST_TIMED_ROWS).collect(),
        }
    });
    lanes.collect()
}
