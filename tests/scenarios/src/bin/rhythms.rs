//! Writes how well beats are told from ordinary traffic, in Markdown: `rhythms [STREAMS]` of each kind. `rhythms tuning [STREAMS]`
//! does so for the streams that constants may be chosen with.

use std::thread;

use anyhow::{Context, Result};
use tracer_tests_scenarios::rhythms::{HELD_OUT, TUNING, figures, table};

/// Of each kind, and each way to hear of it.
const STREAMS: u32 = 500;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let is_tuning = arguments.next_if(|argument| argument == "tuning").is_some();
    let streams = match arguments.next() {
        Some(number) => number.parse().context("give a number of streams")?,
        None => STREAMS,
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let rows = figures::rows(if is_tuning { TUNING } else { HELD_OUT }, streams, threads);
    print!("{}", table::markdown(&rows));
    Ok(())
}
