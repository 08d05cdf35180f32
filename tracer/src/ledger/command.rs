//! `tracer ledger` and `tracer ack`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::error::LedgerError;
use super::query::{self, About, By, Line, Question};
use super::{ack as acks, connection, default_place, load};
use crate::cli::{AckArgs, LedgerArgs, LedgerSubject};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::failure::Failure;
use crate::judge::findings::Finding;
use crate::judge::rules::value::Unit;
use crate::text::printable;

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Answers a question about the ledger.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn ledger(args: &LedgerArgs) -> Result<(), Failure> {
    let path = existing(args.ledger.as_deref())?;
    let question = Question {
        app: args.app.clone(),
        country: args.country.as_deref().map(|code| config::country("--country", code)).transpose()?,
        service: args.service.clone(),
        new_since: args.new_since.as_deref().map(|when| since(when, Clock::wall())).transpose()?,
        limit: args.limit,
    };
    let connection = connection::read_only(&path)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    let by = match args.by {
        LedgerSubject::App => By::App,
        LedgerSubject::Country => By::Country,
        LedgerSubject::Service => By::Service,
        LedgerSubject::Destination => By::Destination,
        LedgerSubject::Finding => return findings(&connection, &path, args, &question, &mut out),
        LedgerSubject::File => return file(&connection, &path, args.json, &mut out),
    };
    let lines = query::ask(&connection, by, &question).map_err(LedgerError::sqlite(&path, "read"))?;
    if args.json {
        lines.iter().try_for_each(|line| json(line, &mut out))?;
    } else {
        print(&lines, &mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn existing(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = given.map_or_else(default_place, Path::to_owned);
    if path.exists() {
        return Ok(path);
    }
    Err(Failure::usage(format!(
        "there is no ledger at {}; `tracer` writes one while it runs, `tracer replay --ledger FILE` makes one of a capture",
        path.display()
    )))
}

/// `7d` before `now`, `2026-11-20`, or an RFC 3339 time.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(before) = humantime::parse_duration(text) {
        return Ok(Timestamp(now.0.saturating_sub(u64::try_from(before.as_nanos()).unwrap_or(u64::MAX))));
    }
    text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).map_err(|_| {
        Failure::usage(format!(
            "--new-since {text}: give how long ago (`7d`), a day (`2026-11-20`), or an RFC 3339 time"
        ))
    })
}

fn json(value: &impl Serialize, out: &mut impl Write) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, value).map_err(anyhow::Error::from)?;
    Ok(writeln!(out)?)
}

fn file(connection: &Connection, path: &Path, is_json: bool, out: &mut impl Write) -> Result<(), Failure> {
    let about =
        query::about(connection, path.display().to_string()).map_err(LedgerError::sqlite(path, "read"))?;
    if is_json {
        json(&about, out)?;
    } else {
        print_about(&about, out)?;
    }
    Ok(out.flush()?)
}

fn print_about(about: &About, out: &mut impl Write) -> io::Result<()> {
    let About { apps, destinations, findings, acknowledged, days, .. } = about;
    writeln!(out, "{}", about.path)?;
    writeln!(out, "  {apps} apps, {destinations} destinations, {days} days; {}", bytes(about.bytes))?;
    writeln!(out, "  {findings} findings, {acknowledged} acknowledged")?;
    if let (Some(first), Some(last)) = (about.first_seen, about.last_seen) {
        writeln!(out, "  from {} to {}", minute(first), minute(last))?;
    }
    for stream in &about.streams {
        writeln!(
            out,
            "  stream of {} (boot {}): up to record {}",
            minute(stream.began),
            stream.boot,
            stream.seq
        )?;
    }
    Ok(())
}

/// A finding, as JSON.
#[derive(Serialize)]
struct FindingLine<'a> {
    key: &'a str,
    rule: &'a str,
    severity: crate::record::Severity,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_if: Option<&'a str>,
    first: Timestamp,
    last: Timestamp,
    count: u64,
    flows: &'a [crate::judge::observation::FlowRef],
    acknowledged: bool,
}

fn findings(
    connection: &Connection,
    path: &Path,
    args: &LedgerArgs,
    question: &Question,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let (restored, _) = load(connection, path)?;
    let wanted = |finding: &Finding| {
        let row = finding.booked.and_then(|(_, id)| restored.rows.iter().find(|row| row.id == id));
        let app = finding.booked.and_then(|(id, _)| restored.apps.iter().find(|app| app.id == id));
        let of_row = |part: Option<&str>, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| part == Some(wanted))
        };
        let has_app = |part: &String| {
            let part = part.to_lowercase();
            app.is_some_and(|app| {
                app.label.to_lowercase().contains(&part) || app.key.name.to_lowercase().contains(&part)
            })
        };
        question.app.as_ref().is_none_or(has_app)
            && of_row(row.and_then(|row| row.key.country), &question.country)
            && of_row(row.and_then(|row| row.key.service.as_deref()), &question.service)
            && question.new_since.is_none_or(|since| finding.first >= since)
    };
    let mut chosen: Vec<_> =
        restored.findings.iter().filter(|finding| finding.count > 0 && wanted(finding)).collect();
    chosen.sort_by_key(|finding| (std::cmp::Reverse(finding.severity), finding.first));
    for finding in chosen.into_iter().take(question.limit.unwrap_or(usize::MAX)) {
        let line = FindingLine {
            key: &finding.key,
            rule: &finding.rule,
            severity: finding.severity,
            reason: &finding.reason,
            expected_if: finding.expected_if.as_deref(),
            first: finding.first,
            last: finding.last,
            count: finding.count,
            flows: &finding.flows,
            acknowledged: finding.acknowledged.as_ref() == Some(&finding.changing),
        };
        if args.json { json(&line, out)? } else { print_finding(&line, out)? }
    }
    Ok(out.flush()?)
}

fn print_finding(line: &FindingLine<'_>, out: &mut impl Write) -> io::Result<()> {
    let severity: &str = line.severity.into();
    let known = if line.acknowledged { ", acknowledged" } else { "" };
    let times = if line.count == 1 { "once" } else { "times" };
    let count = if line.count == 1 { String::new() } else { format!("{} ", line.count) };
    writeln!(out, "{severity:6} {}", printable(line.reason.as_bytes()))?;
    if let Some(expected_if) = line.expected_if {
        writeln!(out, "       expected if {}", printable(expected_if.as_bytes()))?;
    }
    writeln!(out, "       {count}{times} from {} to {}{known}", minute(line.first), minute(line.last))?;
    writeln!(out, "       key {}", printable(line.key.as_bytes()))
}

/// As a table, each column as wide as it needs.
fn print(lines: &[Line], out: &mut impl Write) -> io::Result<()> {
    type Column = (&'static str, bool, fn(&Line) -> Option<String>);
    let columns: &[Column] = &[
        ("APP", false, |line| line.app.clone()),
        ("SERVICE", false, |line| line.service.clone()),
        ("HOST", false, |line| line.host.clone()),
        ("CC", false, |line| line.country.clone()),
        ("AS", true, |line| line.asn.map(|asn| asn.to_string())),
        ("PORT", false, |line| Some(format!("{}/{}", line.transport.as_deref()?, line.port?))),
        ("APPS", true, |line| line.apps.map(|count| count.to_string())),
        ("COUNTRIES", true, |line| line.countries.map(|count| count.to_string())),
        ("DESTINATIONS", true, |line| line.destinations.map(|count| count.to_string())),
        ("FIRST SEEN", false, |line| Some(minute(line.first_seen))),
        ("LAST SEEN", false, |line| Some(minute(line.last_seen))),
        ("DAYS", true, |line| Some(line.days.to_string())),
        ("CONNECTIONS", true, |line| Some(line.connections.to_string())),
        ("FAILED", true, |line| Some(line.failures.to_string())),
        ("SENT", true, |line| Some(bytes(line.sent))),
        ("RECEIVED", true, |line| Some(bytes(line.received))),
        ("EVERY", true, |line| line.every_ms.map(time)),
    ];
    let cells: Vec<Vec<String>> = columns
        .iter()
        .map(|(_, _, cell)| {
            lines
                .iter()
                .map(|line| {
                    cell(line).map(|text| printable(text.as_bytes()).into_owned()).unwrap_or_default()
                })
                .collect()
        })
        .collect();
    let shown: Vec<(usize, usize)> = cells
        .iter()
        .enumerate()
        .filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()))
        .map(|(at, cells)| {
            let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or_default();
            (at, widest.max(columns[at].0.len()))
        })
        .collect();
    let mut write = |cell: &dyn Fn(usize) -> String| {
        let row: Vec<String> = shown
            .iter()
            .map(|&(at, width)| {
                let text = cell(at);
                if columns[at].1 { format!("{text:>width$}") } else { format!("{text:width$}") }
            })
            .collect();
        writeln!(out, "{}", row.join("  ").trim_end())
    };
    write(&|at| columns[at].0.to_owned())?;
    (0..lines.len()).try_for_each(|number| write(&|at| cells[at][number].clone()))
}

/// To the minute, in UTC: `2026-11-22 06:00`.
fn minute(at: Timestamp) -> String {
    at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

#[allow(clippy::cast_precision_loss)]
fn bytes(count: u64) -> String {
    Unit::Bytes.show(count as f64)
}

#[allow(clippy::cast_precision_loss)]
fn time(milliseconds: u64) -> String {
    Unit::Milliseconds.show(milliseconds as f64)
}

/// Acknowledges findings, or takes that back.
///
/// # Errors
/// When there is no ledger, or no finding with such a key.
pub fn ack(args: &AckArgs) -> Result<(), Failure> {
    let path = existing(args.ledger.as_deref())?;
    let connection = connection::open(&path)?;
    let failed = LedgerError::sqlite(&path, "written");
    let mut unknown = Vec::new();
    for key in &args.keys {
        let is_found = if args.undo {
            acks::withdraw(&connection, key).map_err(&failed)?
        } else {
            let reason = acks::acknowledge(&connection, key, Clock::wall()).map_err(&failed)?;
            if let Some(reason) = &reason {
                eprintln!("tracer: acknowledged: {}", printable(reason.as_bytes()));
            }
            reason.is_some()
        };
        if !is_found {
            unknown.push(key.as_str());
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let what = if args.undo { "nothing is acknowledged" } else { "there is no finding" };
    Err(Failure::usage(format!(
        "{what} with the key {} in {}; `tracer ledger finding` shows them",
        unknown.join(", "),
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_when_is_a_span_a_day_or_a_time() {
        let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
        let seen = |text| since(text, now).map(|at| at.to_string());
        assert_eq!(seen("2d").unwrap(), "2026-11-20T06:00:00.000000000Z");
        assert_eq!(seen("2026-11-01").unwrap(), "2026-11-01T00:00:00.000000000Z");
        assert_eq!(seen("2026-11-01T10:00:00Z").unwrap(), "2026-11-01T10:00:00.000000000Z");
        assert!(seen("yesterday").unwrap_err().to_string().contains("2026-11-20"));
    }
}
