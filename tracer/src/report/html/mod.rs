//! The page: one file that asks nobody for anything. Everything but sorting and filtering works without its script.
//!
//! Text goes in as it is: the template escapes it. Only our own style, script and numbers are written unescaped.

pub mod cards;
pub mod map;
pub mod stairs;
pub mod tables;
pub mod timeline;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::material::{GeoSource, Material, SourceFile};
use super::{overview, words};
use cards::Card;
use map::MapView;
use tables::{AppLanes, CountryRow, Matrix, Row};
use timeline::{AxisMark, Scale, Span};

const STYLE: &str = concat!(include_str!("style.css"), include_str!("figures.css"));
const SCRIPT: &str = include_str!("script.js");

#[derive(Template)]
#[template(path = "report/page.html")]
struct Page {
    title: String,
    policy: String,
    style: &'static str,
    script: &'static str,
    lead: String,
    subtitle: Vec<String>,
    notices: Vec<String>,
    losses: Vec<String>,
    gaps: Vec<String>,
    figures: Vec<overview::Figure>,
    cards: Vec<Card>,
    more_cards: usize,
    has_scale: bool,
    axis: Vec<AxisMark>,
    gap_spans: Vec<Span>,
    map: MapView,
    has_map: bool,
    countries: Vec<CountryRow>,
    more_countries: Vec<CountryRow>,
    matrix: Matrix,
    more_apps: usize,
    app_lanes: Vec<AppLanes>,
    more_timed: usize,
    rows: Vec<Row>,
    more_rows: usize,
    sources: Vec<SourceView>,
    geo: Vec<String>,
    data: Vec<String>,
    left_out: Vec<String>,
    made: String,
    version: &'static str,
}

/// A file, in words.
struct SourceView {
    name: String,
    words: String,
    geo: String,
}

/// The page of a report.
///
/// # Errors
/// Never for what a report holds; a template's own errors are passed on.
pub fn render(material: &Material) -> Result<String, askama::Error> {
    let scale = material.period.map(|period| Scale::new(period, &material.gaps));
    let mut countries = tables::country_rows(material);
    let more = |all: usize, shown: usize| all.saturating_sub(shown);
    let page = Page {
        title: material.title.clone(),
        policy: policy(),
        style: STYLE,
        script: SCRIPT,
        lead: overview::lead(material),
        subtitle: overview::subtitle(material),
        notices: overview::notices(material),
        losses: overview::losses(material),
        gaps: overview::gaps(material),
        figures: overview::figures(material),
        cards: cards::cards(material, scale.as_ref()),
        more_cards: more(material.stories.len(), cards::MOST_STORIES),
        has_scale: scale.is_some(),
        map: map::map(material),
        has_map: !material.countries.is_empty(),
        more_countries: countries.split_off(countries.len().min(tables::MOST_COUNTRIES)),
        countries,
        matrix: tables::matrix(material),
        more_apps: more(material.apps.len(), tables::MOST_APPS),
        app_lanes: scale.as_ref().map(|scale| tables::app_lanes(material, scale)).unwrap_or_default(),
        more_timed: more(material.apps.len(), tables::MOST_TIMED_APPS),
        rows: tables::rows(material),
        more_rows: more(material.destinations.len(), tables::MOST_ROWS),
        sources: material.sources.files.iter().map(source).collect(),
        geo: material.sources.geo.iter().map(geo).collect(),
        data: overview::data(material),
        left_out: material.left_out.iter().map(|text| words::capital(&words::sentence(text))).collect(),
        made: words::moment(material.made),
        version: material.sources.version,
        axis: scale.as_ref().map(|scale| scale.axis.clone()).unwrap_or_default(),
        gap_spans: scale.map(|scale| scale.gaps).unwrap_or_default(),
    };
    page.render()
}

/// Nothing may be loaded, and no script may run but ours.
fn policy() -> String {
    let hash = BASE64_STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
}

fn source(file: &SourceFile) -> SourceView {
    let mut parts = Vec::new();
    parts.extend(file.period.as_ref().map(words::period));
    parts.extend(file.version.as_ref().map(|version| format!("recorded by tracer {version}")));
    parts.extend(file.kernel.as_ref().map(|kernel| format!("kernel {kernel}")));
    let geo: Vec<String> = file.geo.iter().map(self::geo).collect();
    SourceView { name: file.name.clone(), words: parts.join(", "), geo: geo.join(", ") }
}

/// A database and its date.
#[must_use]
pub fn geo(source: &GeoSource) -> String {
    let kind = if source.kind.is_empty() { String::new() } else { format!(" ({})", source.kind) };
    let built = source.built.map(|built| format!(" of {}", words::date(built))).unwrap_or_default();
    format!("{}{kind}{built}", source.name)
}
