//! `tracer replay`: files in, lines out.

use std::io::Write;
use std::path::Path;

use super::{Broken, Replay, Wanted, each_line};
use crate::cli::ReplayArgs;
use crate::commands;
use crate::config;
use crate::failure::Failure;
use crate::judge::Judge;

/// Written at a time.
const WRITE: usize = 1 << 18;

/// Judges recorded streams again.
///
/// # Errors
/// When a file cannot be read, an input file is bad, or the output does not take it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let (expectations, warnings) = commands::expectations(&args.judge)?;
    let geo = commands::load_geo(&args.data)?;
    commands::warn(&warnings);
    let wanted = Wanted { actions: config::replayed_actions(&args.events) };
    let judge = Judge::new(expectations, super::USUAL_LOOK, args.quiet);
    let mut replay = Replay::new(judge, geo, !args.judge.home.is_empty(), wanted);
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

fn read_file(path: &Path, replay: &mut Replay, out: &mut impl Write) -> Result<Broken, Failure> {
    let broken = each_line(path, |line| {
        let taken = replay.take(line);
        if replay.out.len() >= WRITE {
            write(replay, out)?;
        }
        Ok(taken)
    })?;
    replay.end_of_file();
    Ok(broken)
}

fn write(replay: &mut Replay, out: &mut impl Write) -> Result<(), Failure> {
    out.write_all(&replay.out)?;
    replay.out.clear();
    Ok(())
}
