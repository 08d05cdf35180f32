//! `tracer report`: captures in, one page out.

use std::io::Write;
use std::path::Path;

use super::build::{self, Known};
use super::collect::Collector;
use super::material::Material;
use super::streams::file_name;
use super::{html, markdown};
use crate::cli::{ReportArgs, ReportFormat};
use crate::clock::Clock;
use crate::commands;
use crate::failure::Failure;
use crate::judge::{Judge, QUIET};
use crate::ledger::{self, is_ledger};
use crate::replay::{Given, Input, Replay, USUAL_LOOK, Wanted, each_line};

/// Makes a report.
///
/// # Errors
/// When a file cannot be read, an input file is bad, or the output does not take it.
pub fn report(args: &ReportArgs) -> Result<(), Failure> {
    let mut material = match args.files.iter().find(|path| is_ledger(path)) {
        Some(path) if args.files.len() == 1 => of_ledger(path, args)?,
        Some(path) => {
            return Err(Failure::usage(format!(
                "{}: a ledger is reported alone; give either one ledger or captures",
                path.display()
            )));
        }
        None => of_captures(args)?,
    };
    if let Some(title) = &args.title {
        material.title.clone_from(title);
    }
    let text = match args.format {
        ReportFormat::Html => html::render(&material).map_err(anyhow::Error::from)?,
        ReportFormat::Markdown => markdown::render(&material),
    };
    commands::open_output(args.output.as_deref())?.write_all(text.as_bytes())?;
    let lost: u64 = material.losses.iter().map(|loss| loss.count).sum();
    // A ledger has sums, no records.
    let records = Some(material.sources.records).filter(|&records| records > 0);
    eprintln!(
        "tracer: {}{} apps, {} findings told as {}{}",
        records.map_or(String::new(), |records| format!("{records} records, ")),
        material.apps.len(),
        material.stories.iter().map(|story| story.points.len()).sum::<usize>(),
        super::words::count(u64::try_from(material.stories.len()).unwrap_or_default(), "story", "stories"),
        if lost > 0 { format!("; {lost} things are missing in it, and it says so") } else { String::new() }
    );
    Ok(())
}

fn of_ledger(path: &Path, args: &ReportArgs) -> Result<Material, Failure> {
    let (expectations, mut warnings) = commands::expectations(&args.judge)?;
    let geo = commands::load_geo(&args.data)?;
    let connection = ledger::read_only(path)?;
    let (restored, wrong) = ledger::load(&connection, path)?;
    if wrong > 0 {
        warnings.push(format!("{wrong} rows of {} could not be understood", path.display()));
    }
    commands::warn(&warnings);
    let mut judge = Judge::new(expectations, USUAL_LOOK, args.quiet.unwrap_or(QUIET));
    judge.restore(restored);
    let mut days = build::Days::new();
    for (row, day, amounts) in ledger::days(&connection, path)? {
        let amounts = amounts.map(|amount| u64::try_from(amount).unwrap_or_default());
        days.entry(row).or_default().push((day, amounts));
    }
    let known = Known {
        book: &judge.book,
        findings: judge.findings.all(),
        findings_left_out: 0,
        expectations: &judge.expectations,
        geo: geo.databases(),
    };
    let name = file_name(&path.to_string_lossy());
    let mut material = build::from_ledger(&known, days, &name, Clock::wall());
    if wrong > 0 {
        material.left_out.push(format!("{wrong} rows of the ledger could not be understood"));
    }
    Ok(material)
}

fn of_captures(args: &ReportArgs) -> Result<Material, Failure> {
    let (expectations, warnings) = commands::expectations(&args.judge)?;
    let geo = commands::load_geo(&args.data)?;
    commands::warn(&warnings);
    let judge = Judge::new(expectations, USUAL_LOOK, args.quiet.unwrap_or(QUIET));
    let given = Given { home: !args.judge.home.is_empty(), quiet: args.quiet.is_some(), ..Given::default() };
    // Nothing is written again: only who looks on matters.
    let mut replay = Replay::new(judge, geo, given, Wanted { actions: Some(Vec::new()) });
    let mut collector = Collector::default();
    for path in &args.files {
        let name = if path == Path::new("-") {
            "standard input".to_owned()
        } else {
            file_name(&path.to_string_lossy())
        };
        collector.streams.begin_file(&name);
        let broken = each_line(path, |input| {
            let Input::Line(line) = input else { return Ok(Ok(())) };
            let taken = replay.take_with(line, &mut collector);
            replay.out.clear();
            Ok(taken)
        })?;
        collector.streams.end_file(broken);
        replay.end_of_file();
        replay.out.clear();
    }
    let records = replay.judged;
    let crowded_out = collector.crowded_out;
    let (details, streams, period) = collector.finish();
    let known = Known {
        book: &replay.judge.book,
        findings: replay.judge.findings.all(),
        findings_left_out: replay.judge.findings.left_out,
        expectations: &replay.judge.expectations,
        geo: replay.geo().databases(),
    };
    let mut material = build::from_capture(&known, details, streams, period, records, Clock::wall());
    if crowded_out > 0 {
        material.left_out.push(format!(
            "{crowded_out} connections are drawn in parts: too many were open at the same time"
        ));
    }
    Ok(material)
}
