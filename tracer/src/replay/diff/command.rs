//! `tracer replay --diff`: two captures in, differences out.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{Side, differences, text};
use crate::cli::ReplayArgs;
use crate::commands;
use crate::failure::Failure;
use crate::replay::Replay;
use crate::replay::command::{begin, read_file};
use crate::text::visible;

/// Says what is new, gone or changed from one capture to the other.
///
/// # Errors
/// When a file cannot be read, an input file is bad, or the output does not take it.
pub fn diff(args: &ReplayArgs, before: &Path, after: &Path) -> Result<(), Failure> {
    let replays = [judged(args, before)?, judged(args, after)?];
    if replays.iter().any(|replay| replay.stream.is_redacted) {
        eprintln!(
            "tracer: warning: names in a capture of `run --redact` are hashes with a key of that run only: those of another run differ"
        );
    }
    let [one, other] = replays.each_ref().map(side);
    let differences = differences(&one, &other);
    let mut out = BufWriter::new(commands::open_output(args.output.as_deref())?);
    if args.json {
        for difference in &differences {
            serde_json::to_writer(&mut out, difference).map_err(anyhow::Error::from)?;
            writeln!(out)?;
        }
    } else {
        for (word, path, replay) in [("before", before, &replays[0]), ("after", after, &replays[1])] {
            let watched = u64::try_from(replay.watched.as_millis()).unwrap_or(u64::MAX);
            let home = &replay.judge.expectations.home;
            let about = text::about(watched, replay.judge.book.apps.len(), replay.judged, home);
            writeln!(out, "{word:7} {}: {about}", visible(&path.display().to_string()))?;
        }
        text::write(&differences, &mut out)?;
    }
    out.flush()?;
    Ok(())
}

fn judged(args: &ReplayArgs, path: &Path) -> Result<Replay, Failure> {
    let mut replay = begin(args)?;
    // Only what is said at the end counts.
    replay.write_nothing();
    replay.networks = Some(BTreeMap::new());
    read_file(path, &mut replay, &mut std::io::sink(), None)?;
    if replay.judged == 0 {
        eprintln!("tracer: warning: {}: there is no record of a connection in it", path.display());
    }
    Ok(replay)
}

fn side(replay: &Replay) -> Side<'_> {
    static NONE: BTreeMap<u32, Box<str>> = BTreeMap::new();
    Side {
        book: &replay.judge.book,
        findings: &replay.judge.findings,
        expectations: &replay.judge.expectations,
        networks: replay.networks.as_ref().unwrap_or(&NONE),
        watched: replay.watched,
    }
}
