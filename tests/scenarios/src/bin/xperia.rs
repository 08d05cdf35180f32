//! Writes the capture of the story as it was reported: `xperia > capture.jsonl`. For trying out what reads captures.

use std::io::{self, Write};

use anyhow::Result;
use tracer_tests_scenarios::xperia::REPORTED;

fn main() -> Result<()> {
    let capture = REPORTED.place().live(&REPORTED.events())?;
    io::stdout().lock().write_all(capture.as_bytes())?;
    Ok(())
}
