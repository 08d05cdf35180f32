//! `tracer replay`: files in, lines out.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::start::USUAL_LOOK;
use super::{Broken, Given, Input, Replay, Wanted, each_line};
use crate::cli::ReplayArgs;
use crate::commands;
use crate::config;
use crate::failure::Failure;
use crate::judge::{Expectations, Judge, QUIET};
use crate::ledger::{Keeper, News};

/// Written at a time.
const WRITE: usize = 1 << 18;
/// Lines after which it is looked whether it is time to write into the ledger.
const LOOK_AT_CLOCK: u64 = 256;

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
    let ledger = args.ledger.as_deref();
    let mut ledger =
        ledger.map(|path| Booking::open(path, args.ledger_every, &mut replay.judge)).transpose()?;
    let mut out = commands::open_output(args.output.as_deref())?;
    let mut broken = 0;
    for path in &args.files {
        broken += read_file(path, &mut replay, &mut out, ledger.as_mut())?;
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
    match ledger {
        Some(ledger) => ledger.finish(&mut replay),
        None => Ok(()),
    }
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
pub(super) fn read_file(
    path: &Path,
    replay: &mut Replay,
    out: &mut impl Write,
    mut ledger: Option<&mut Booking>,
) -> Result<Broken, Failure> {
    let mut lines = 0_u64;
    let broken = each_line(path, |input| {
        let Input::Line(line) = input else {
            write(replay, out)?;
            if let Some(ledger) = &mut ledger {
                ledger.book(replay);
            }
            return Ok(Ok(()));
        };
        let taken = replay.take(line);
        if replay.out.len() >= WRITE {
            write(replay, out)?;
        }
        lines += 1;
        if let Some(ledger) = &mut ledger
            && lines.is_multiple_of(LOOK_AT_CLOCK)
        {
            ledger.book(replay);
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

/// The ledger that a replay books in.
pub(super) struct Booking {
    ledger: Keeper,
    every: Duration,
    next: Instant,
}

impl Booking {
    fn open(path: &Path, every: Duration, judge: &mut Judge) -> Result<Self, Failure> {
        let (ledger, warning) = Keeper::open(path, judge)?;
        commands::warn(warning.as_slice());
        Ok(Self { ledger, every, next: Instant::now() + every })
    }

    /// Hands over what changed, if it is time.
    fn book(&mut self, replay: &mut Replay) {
        if let Some(reply) = self.ledger.poll()
            && let Some(News::Trouble(error)) = self.ledger.take(reply, &mut replay.judge)
        {
            let path = self.ledger.path().display();
            commands::warn(&[format!("the ledger {path} could not be written: {error}; it is tried again")]);
        }
        if !self.ledger.is_busy() && Instant::now() >= self.next {
            self.next = Instant::now() + self.every;
            self.ledger.offer(&mut replay.judge);
        }
    }

    fn finish(mut self, replay: &mut Replay) -> Result<(), Failure> {
        self.ledger.finish(&mut replay.judge).map_err(|error| anyhow::anyhow!(error).into())
    }
}
