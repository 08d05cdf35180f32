//! The words around a report: what it comes to, what it was made from, what is missing. Pure.

use super::material::{Material, Severities};
use super::words;
use crate::record::Severity;

/// Gaps that are told one by one.
const MOST_GAPS: usize = 5;

/// A figure with its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    pub number: String,
    pub word: &'static str,
    pub more: String,
}

/// One sentence about everything.
#[must_use]
pub fn lead(material: &Material) -> String {
    let open: Vec<_> = material.stories.iter().filter(|story| !story.is_acknowledged).collect();
    let acknowledged = material.stories.len() - open.len();
    let known = match acknowledged {
        0 => String::new(),
        many => {
            format!(" {} already acknowledged.", words::count(to_u64(many), "finding is", "findings are"))
        }
    };
    let looked = open.iter().filter(|story| story.severity >= Severity::Medium).count();
    match (open.len(), looked) {
        (0, _) if material.period.is_none() => "There is nothing in it.".to_owned(),
        (0, _) => format!("Nothing unexpected was noticed.{known}"),
        (all, 0) => format!(
            "{} noticed, none of them severe.{known}",
            words::count(to_u64(all), "thing was", "things were")
        ),
        (all, looked) if all == looked => {
            format!(
                "{} somebody should look at.{known}",
                words::count(to_u64(all), "thing was noticed that", "things were noticed that")
            )
        }
        (all, looked) => format!(
            "{} noticed; {} somebody should look at.{known}",
            words::count(to_u64(all), "thing was", "things were"),
            words::count(to_u64(looked), "of them is one that", "of them are ones that")
        ),
    }
}

/// When, how long, and where home is.
#[must_use]
pub fn subtitle(material: &Material) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(period) = &material.period {
        parts.push(format!("{} UTC", words::period(period)));
        parts.push(words::time(period.milliseconds()));
    }
    let home: Vec<&str> = material.home.iter().map(|home| home.name).collect();
    parts.push(if home.is_empty() {
        "no home country given (--home)".to_owned()
    } else {
        format!("home: {}", words::list(&home))
    });
    parts
}

/// What a reader must know before reading on.
#[must_use]
pub fn notices(material: &Material) -> Vec<String> {
    let mut notices = Vec::new();
    if material.sources.is_redacted {
        notices.push(
            "Names and addresses in this report are hashes: they were recorded with --redact.".to_owned(),
        );
    }
    for file in &material.sources.files {
        if !file.has_start && file.period.is_some() {
            notices.push(format!("{}: its beginning is missing.", file.name));
        }
        if !file.has_stop && file.period.is_some() {
            notices.push(format!(
                "{} ends without its last record: it was cut, or was still being written. What came later, and what was lost at its end, is not known.",
                file.name
            ));
        }
    }
    notices
}

/// What was lost.
#[must_use]
pub fn losses(material: &Material) -> Vec<String> {
    material
        .losses
        .iter()
        .map(|loss| format!("{}: {}", words::capital(&loss.what), words::number(loss.count)))
        .collect()
}

/// Where records are missing.
#[must_use]
pub fn gaps(material: &Material) -> Vec<String> {
    let mut gaps: Vec<String> = material
        .gaps
        .iter()
        .take(MOST_GAPS)
        .map(|gap| {
            let records = words::count(gap.records, "record", "records");
            let (from, to) = (gap.period.from, gap.period.to);
            let to = if words::date(from) == words::date(to) {
                words::clock_with_seconds(to)
            } else {
                words::moment(to)
            };
            format!("{} to {to}: {records}", words::moment(from))
        })
        .collect();
    let more = material.gaps.len().saturating_sub(MOST_GAPS);
    if more > 0 {
        gaps.push(format!("and {more} more"));
    }
    gaps
}

/// What it comes to, in figures.
#[must_use]
pub fn figures(material: &Material) -> Vec<Figure> {
    let figure = |number: usize, one: &'static str, more: &'static str, words_more: String| Figure {
        number: words::number(to_u64(number)),
        word: if number == 1 { one } else { more },
        more: words_more,
    };
    let totals = &material.totals;
    let flagged = material.apps.iter().filter(|app| app.severity.is_some()).count();
    let away = material.countries.iter().filter(|total| !total.is_home).count();
    let hosts = material.destinations.iter().filter(|destination| destination.service.is_some()).count();
    let findings = Severities::of(material);
    vec![
        figure(findings.total, "finding", "findings", findings.words()),
        figure(
            material.apps.len(),
            "app",
            "apps",
            format!("{} with findings", words::number(to_u64(flagged))),
        ),
        figure(
            material.destinations.len(),
            "destination",
            "destinations",
            format!("{} of known services", words::number(to_u64(hosts))),
        ),
        figure(
            material.countries.len(),
            "country",
            "countries",
            if material.home.is_empty() {
                String::new()
            } else {
                format!("{} not home", words::number(to_u64(away)))
            },
        ),
        Figure {
            number: words::number(totals.connections),
            word: if totals.connections == 1 { "connection" } else { "connections" },
            more: format!("{} failed", words::number(totals.failures)),
        },
        Figure {
            number: words::bytes(totals.sent.saturating_add(totals.received)),
            word: "moved",
            more: words::amount(totals),
        },
    ]
}

/// What the verdicts rest on.
#[must_use]
pub fn data(material: &Material) -> Vec<String> {
    let sources = &material.sources;
    let mut data = vec![format!(
        "{} and {}",
        words::count(to_u64(sources.services), "known service", "known services"),
        words::count(to_u64(sources.rules), "rule", "rules")
    )];
    if sources.records > 0 {
        data.push(format!(
            "{} judged",
            words::count(sources.records, "record of a connection", "records of connections")
        ));
    }
    if !sources.lists.is_empty() {
        data.push(format!("host lists: {}", sources.lists.join(", ")));
    }
    data
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
