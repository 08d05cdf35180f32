//! Figures for docs/cadence.md.

use std::fmt::Write;

use super::figures::{Found, RITA, Row};
use super::{Path, variation};

/// All of it, in Markdown.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let streams = rows.first().map_or(0, |row| row.found.streams);
    let mut text = format!("{streams} streams of each kind and of each way to hear of it.\n");
    text += &totals(rows);
    for (title, is_beacon) in [("By a clock: found, %", true), ("Ordinary: falsely found, %", false)] {
        let _ = write!(
            text,
            "\n### {title}\n\n| kind | lasts | heard as | tracer | after beats | CV, tuned | CV, strict | RITA 70 % | RITA 90 % |\n\
             |---|---|---|---|---|---|---|---|---|\n"
        );
        rows.iter().filter(|row| row.kind.is_beacon == is_beacon).for_each(|row| text += &kind(row));
    }
    text
}

/// Which test finds how many of all.
fn totals(rows: &[Row]) -> String {
    let of = |is_beacon| Found::sum(rows.iter().filter(|row| row.kind.is_beacon == is_beacon));
    let (beacons, ordinary) = (of(true), of(false));
    let mut text = format!(
        "\n| test | found, of {} by a clock | falsely found, of {} ordinary |\n|---|---|---|\n",
        beacons.streams, ordinary.streams
    );
    let mut row = |name: &str, count: &dyn Fn(&Found) -> u32| {
        let [found, falsely] = [&beacons, &ordinary].map(|of| percent(count(of), of.streams, 2));
        let _ = writeln!(text, "| {name} | {found} % | {falsely} % |");
    };
    row("**tracer**, score ≥ 80 %", &|found| found.tracer);
    for (at, (name, (beats, most))) in
        [("tuned", variation::BEST), ("strict", variation::STRICT)].into_iter().enumerate()
    {
        let name = format!("coefficient of variation ≤ {most} from {beats} beats on ({name})");
        row(&name, &|found| found.variation[at]);
    }
    for (at, least) in RITA.into_iter().enumerate() {
        row(&format!("RITA ≥ {:.0} %, given the capture so far", least * 100.0), &|found| found.rita[at]);
    }
    for (at, least) in RITA.into_iter().enumerate() {
        row(&format!("RITA ≥ {:.0} %, given a day", least * 100.0), &|found| found.rita_of_day[at]);
    }
    text
}

fn kind(row: &Row) -> String {
    let heard = match row.path {
        Path::Connects => "connects",
        Path::Growth => "growth",
    };
    let found = &row.found;
    let [_, medium, high] = found.rita;
    let share = |count| percent(count, found.streams, 1);
    let others: String = [found.variation[0], found.variation[1], medium, high]
        .map(|count| format!(" {} |", share(count)))
        .concat();
    let after = row.after.map(|beats| beats.to_string()).unwrap_or_default();
    let (name, lasts, ours) = (row.kind.name, row.kind.lasts, share(found.tracer));
    format!("| {name} | {lasts} | {heard} | {ours} | {after} |{others}\n")
}

fn percent(count: u32, of: u32, digits: usize) -> String {
    let share = 100.0 * f64::from(count) / f64::from(of.max(1));
    match count {
        0 => "0".to_owned(),
        _ if count == of => "100".to_owned(),
        // Not the same as none, or all.
        _ => format!("{share:.digits$}"),
    }
}
