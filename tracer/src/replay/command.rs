//! `tracer replay`: files in, lines out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use super::start::USUAL_LOOK;
use super::{Given, Replay, Wanted};
use crate::cli::ReplayArgs;
use crate::commands;
use crate::config;
use crate::failure::Failure;
use crate::judge::{Expectations, Judge, QUIET};

/// Read at a time.
const READ: usize = 1 << 20;
/// Written at a time.
const WRITE: usize = 1 << 18;
/// Longer lines are none of ours: a record has some kilobytes.
const LONGEST_LINE: u64 = 4 << 20;
/// Lines of one file that are told of one by one; all are counted.
const TOLD: usize = 5;

/// Judges recorded streams again.
///
/// # Errors
/// When a file cannot be read, an input file is bad, or the output does not take it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    if let [before, after] = &args.diff[..] {
        return super::diff::diff(args, before, after);
    }
    if args.json {
        return Err(Failure::usage(
            "--json: for differences only (--diff BEFORE AFTER); records are JSON lines",
        ));
    }
    let mut replay = begin(args)?;
    let mut out = commands::open_output(args.output.as_deref())?;
    let mut broken = 0;
    for path in &args.files {
        broken += read_file(path, &mut replay, &mut out)?;
    }
    write(&mut replay, &mut out)?;
    let figures = format!(
        "tracer: {} records judged, {} findings, {} alerts{}",
        replay.judged,
        replay.judge.findings.all().len(),
        replay.alerts,
        if broken > 0 {
            format!("; {broken} lines were no records and were left out")
        } else {
            String::new()
        }
    );
    eprintln!("{figures}");
    Ok(())
}

/// A replay as the user wants it.
pub(super) fn begin(args: &ReplayArgs) -> Result<Replay, Failure> {
    let (expectations, warnings) = commands::expectations(&args.judge)?;
    let geo = commands::load_geo(&args.data)?;
    commands::warn(&warnings);
    let wanted = Wanted { actions: config::replayed_actions(&args.events) };
    Ok(Replay::new(judge(expectations, args), geo, given(args), wanted))
}

fn given(args: &ReplayArgs) -> Given {
    Given {
        home: !args.judge.home.is_empty(),
        quiet: args.quiet.is_some(),
        time_scale: args.time_scale.is_some(),
    }
}

fn judge(expectations: Expectations, args: &ReplayArgs) -> Judge {
    let mut judge = Judge::new(expectations, USUAL_LOOK, args.quiet.unwrap_or(QUIET));
    judge.set_time_scale(args.time_scale.unwrap_or(1));
    judge
}

/// Judges a file, and writes what comes of it; tells how many lines were no records.
pub(super) fn read_file(path: &Path, replay: &mut Replay, out: &mut impl Write) -> Result<usize, Failure> {
    let name = path.display();
    let failed = |error: io::Error| Failure::usage(format!("{name}: could not be read: {error}"));
    let file: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut file = BufReader::with_capacity(READ, file);
    let mut line = Vec::new();
    let mut broken = 0;
    for number in 1_u64.. {
        line.clear();
        if file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let text = line.trim_ascii_end();
        if text.is_empty() {
            continue;
        }
        if let Err(error) = replay.take(text) {
            broken += 1;
            if broken <= TOLD {
                eprintln!("tracer: warning: {name}:{number}: {error}");
            }
        }
        if replay.out.len() >= WRITE {
            write(replay, out)?;
        }
    }
    if broken > TOLD {
        eprintln!("tracer: warning: {name}: {broken} lines in all are no records");
    }
    replay.end_of_file();
    Ok(broken)
}

fn write(replay: &mut Replay, out: &mut impl Write) -> Result<(), Failure> {
    out.write_all(&replay.out)?;
    replay.out.clear();
    Ok(())
}
