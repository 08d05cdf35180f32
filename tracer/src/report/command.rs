//! `tracer report`: captures in, one page out.

use std::fs::File;
use std::io::{Read, Write};
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
use crate::judge::Judge;
use crate::replay::{Replay, USUAL_LOOK, Wanted, each_line};

/// How every SQLite file begins, and no capture.
const SQLITE: &[u8; 16] = b"SQLite format 3\0";

/// Makes a report.
///
/// # Errors
/// When a file cannot be read, an input file is bad, or the output does not take it.
pub fn report(args: &ReportArgs) -> Result<(), Failure> {
    let mut material = match args.files.iter().find(|path| is_ledger(path)) {
        // A ledger is read by `crate::ledger`, and told by `build::from_ledger`.
        Some(path) => {
            return Err(Failure::usage(format!(
                "{}: reports of ledgers are not there yet; give a capture",
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
    eprintln!(
        "tracer: {} records, {} apps, {} findings told as {}{}",
        material.sources.records,
        material.apps.len(),
        material.stories.iter().map(|story| story.points.len()).sum::<usize>(),
        super::words::count(u64::try_from(material.stories.len()).unwrap_or_default(), "story", "stories"),
        if lost > 0 { format!("; {lost} things are missing in it, and it says so") } else { String::new() }
    );
    Ok(())
}

/// A file that begins as a ledger does. Standard input is none: it can be read only once.
fn is_ledger(path: &Path) -> bool {
    let mut beginning = [0; SQLITE.len()];
    path != Path::new("-")
        && File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && &beginning == SQLITE
}

fn of_captures(args: &ReportArgs) -> Result<Material, Failure> {
    let (expectations, warnings) = commands::expectations(&args.judge)?;
    let geo = commands::load_geo(&args.data)?;
    commands::warn(&warnings);
    let judge = Judge::new(expectations, USUAL_LOOK, args.quiet);
    // Nothing is written again: only who looks on matters.
    let mut replay =
        Replay::new(judge, geo, !args.judge.home.is_empty(), Wanted { actions: Some(Vec::new()) });
    let mut collector = Collector::default();
    for path in &args.files {
        let name = if path == Path::new("-") {
            "standard input".to_owned()
        } else {
            file_name(&path.to_string_lossy())
        };
        collector.streams.begin_file(&name);
        let broken = each_line(path, |line| {
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
