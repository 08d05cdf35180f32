//! Writes a capture of the story of a push service abroad, for tests of what is done with captures: `story [WORD…] >
//! capture.jsonl`. Words: `home=CC`, `late` (the tracer starts an hour after the phone), `no-names`, `maps` (an app that its user
//! installed keeps the channel), `second-app`.

use std::io::{self, Write};

use anyhow::{Result, bail};
use tracer_tests_scenarios::story::HOUR;
use tracer_tests_scenarios::xperia::{Keeper, REPORTED};

fn main() -> Result<()> {
    let mut variant = REPORTED;
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "home=SE" => variant.home = "SE",
            "home=CN" => variant.home = "CN",
            "late" => variant.start = HOUR,
            "no-names" => variant.has_names = false,
            "maps" => variant.keeper = Keeper::Maps,
            "second-app" => variant.has_second_app = true,
            _ => bail!("{word}: not a word of this story"),
        }
    }
    let capture = variant.place().live(&variant.events())?;
    io::stdout().write_all(capture.as_bytes())?;
    Ok(())
}
