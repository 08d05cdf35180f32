//! `tracer replay`: files in, lines out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::start::USUAL_LOOK;
use super::{Given, Replay, Wanted};
use crate::cli::ReplayArgs;
use crate::commands;
use crate::config;
use crate::failure::Failure;
use crate::judge::{Expectations, Judge, QUIET};
use crate::ledger::{Keeper, News};

/// Read at a time.
const READ: usize = 1 << 20;
/// Written at a time.
const WRITE: usize = 1 << 18;
/// Longer lines are none of ours: a record has some kilobytes.
const LONGEST_LINE: u64 = 4 << 20;
/// Lines after which it is looked whether it is time to write into the ledger.
const LOOK_AT_CLOCK: u64 = 256;
/// Lines of one file that are told of one by one; all are counted.
const TOLD: usize = 5;

/// Judges recorded streams again.
///
/// # Errors
/// When a file cannot be read, an input file is bad, or the output does not take it.
pub fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let (expectations, warnings) = commands::expectations(&args.judge)?;
    let geo = commands::load_geo(&args.data)?;
    commands::warn(&warnings);
    let wanted = Wanted { actions: config::replayed_actions(&args.events) };
    let mut judge = judge(expectations, args);
    let mut ledger =
        args.ledger.as_deref().map(|path| Booking::open(path, args.ledger_every, &mut judge)).transpose()?;
    let mut replay = Replay::new(judge, geo, given(args), wanted);
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

fn read_file(
    path: &Path,
    replay: &mut Replay,
    out: &mut impl Write,
    mut ledger: Option<&mut Booking>,
) -> Result<usize, Failure> {
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
        if let Some(ledger) = &mut ledger
            && number.is_multiple_of(LOOK_AT_CLOCK)
        {
            ledger.book(replay);
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

/// The ledger that a replay books in.
struct Booking {
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
