//! Files of recorded lines, read line by line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde_json::Error;

use crate::failure::Failure;

/// Read at a time.
const READ: usize = 1 << 20;
/// Longer lines are none of ours: a record has some kilobytes.
const LONGEST_LINE: u64 = 4 << 20;
/// Lines of one file that are told of one by one; all are counted.
const TOLD: usize = 5;

/// Lines that are no records.
pub type Broken = u64;

/// Hands over each line of a file, without its end; `-` is standard input. Those that are refused are warned of, and counted.
///
/// # Errors
/// When it cannot be read, or whatever else `take` cannot go on after.
pub fn each_line(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<Result<(), Error>, Failure>,
) -> Result<Broken, Failure> {
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
        if let Err(error) = take(text)? {
            broken += 1;
            if broken <= TOLD {
                eprintln!("tracer: warning: {name}:{number}: {error}");
            }
        }
    }
    if broken > TOLD {
        eprintln!("tracer: warning: {name}: {broken} lines in all are no records");
    }
    Ok(u64::try_from(broken).unwrap_or(u64::MAX))
}
