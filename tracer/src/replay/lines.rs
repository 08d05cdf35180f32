//! Files of recorded lines, read line by line.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Error;

use crate::failure::Failure;

/// Read at a time: few enough that a line is still in the processor's cache when it is looked at.
const READ: usize = 1 << 18;
/// Longer lines are none of ours: a record has some kilobytes. They are cut.
const LONGEST_LINE: usize = 4 << 20;
/// For so long nothing must come until it is called a pause.
const PAUSE_MS: i64 = 50;
/// Lines of one file that are told of one by one; all are counted.
const TOLD: usize = 5;

/// Lines that are no records.
pub type Broken = u64;

/// What comes from a file.
pub enum Input<'a> {
    /// A line, without its end.
    Line(&'a [u8]),
    /// Whoever writes into standard input takes his time: what waits for more can be done meanwhile. Comes again and again.
    Pause,
}

/// Hands over each line of a file; `-` is standard input. Those that are refused are warned of, and counted.
///
/// # Errors
/// When it cannot be read, or whatever else `take` cannot go on after.
pub fn each_line(
    path: &Path,
    mut take: impl FnMut(Input<'_>) -> Result<Result<(), Error>, Failure>,
) -> Result<Broken, Failure> {
    let name = path.display();
    let failed = |error: io::Error| Failure::usage(format!("{name}: could not be read: {error}"));
    let is_input = path == Path::new("-");
    // Not through a buffer of std's: what is in there cannot be waited for.
    let file =
        if is_input { io::stdin().as_fd().try_clone_to_owned().map(File::from) } else { File::open(path) };
    let mut lines = Lines::new(file.map_err(failed)?);
    let mut broken = 0;
    for number in 1_u64.. {
        while is_input && !lines.has_line() && is_quiet() {
            // Nothing that it could refuse.
            let _ = take(Input::Pause)?;
        }
        let Some(line) = lines.next().map_err(failed)? else { break };
        let text = line.trim_ascii_end();
        if text.is_empty() {
            continue;
        }
        if let Err(error) = take(Input::Line(text))? {
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

/// Whether nothing comes from standard input for [`PAUSE_MS`].
fn is_quiet() -> bool {
    let input = io::stdin();
    let mut waiting = [PollFd::new(&input, PollFlags::IN)];
    let most = Timespec { tv_sec: 0, tv_nsec: PAUSE_MS * 1_000_000 };
    // Whatever is wrong with it, reading says so.
    poll(&mut waiting, Some(&most)) == Ok(0)
}

/// Lines where they were read to: they are not copied.
struct Lines<R> {
    file: R,
    buffer: Vec<u8>,
    /// What of the buffer was read and not handed over yet.
    start: usize,
    end: usize,
    is_at_end: bool,
}

impl<R: Read> Lines<R> {
    fn new(file: R) -> Self {
        Self { file, buffer: vec![0; READ], start: 0, end: 0, is_at_end: false }
    }

    /// Whether the next line was read already.
    fn has_line(&self) -> bool {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        memchr::memchr(b'\n', waiting).is_some()
    }

    /// The next line, with its end if it has one.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = 0;
        loop {
            let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
            let newline = memchr::memchr(b'\n', waiting.get(searched..).unwrap_or_default());
            let length = match newline {
                Some(behind) => searched + behind + 1,
                None if waiting.is_empty() && self.is_at_end => return Ok(None),
                None if self.is_at_end || waiting.len() >= LONGEST_LINE => waiting.len(),
                None => {
                    searched = waiting.len();
                    self.read()?;
                    continue;
                }
            };
            let start = self.start;
            self.start += length;
            return Ok(self.buffer.get(start..self.start));
        }
    }

    /// Reads more behind what waits.
    fn read(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            self.buffer.resize((2 * self.end).min(LONGEST_LINE), 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = loop {
            match self.file.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.end += count;
        self.is_at_end = count == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, now and then none because a signal came.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.1 += 1;
            if self.1.is_multiple_of(3) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let many = to.len().min(self.0.len()).min(self.1 % 11 + 1);
            to[..many].copy_from_slice(&self.0[..many]);
            self.0 = &self.0[many..];
            Ok(many)
        }
    }

    fn lines(mut lines: Lines<impl Read>) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(String::from_utf8(line.to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn lines_are_whole_however_they_come_in() {
        let text: String = (0..300).map(|number| format!("{}\n", "x".repeat(number % 37))).collect();
        for text in [text.as_str(), "", "\n", "a", "a\nb", "a\n\nb\n"] {
            let wanted: Vec<&str> = text.split_inclusive('\n').collect();
            assert_eq!(lines(Lines::new(text.as_bytes())), wanted);
            assert_eq!(lines(Lines::new(Slow(text.as_bytes(), 0))), wanted);
        }
    }

    #[test]
    fn long_lines_are_read_whole_and_endless_ones_cut() {
        let long = format!("{}\nb\n", "a".repeat(3 * READ));
        assert_eq!(lines(Lines::new(long.as_bytes())), [&long[..=3 * READ], "b\n"]);
        let endless = "a".repeat(LONGEST_LINE + 5);
        let lengths: Vec<usize> = lines(Lines::new(endless.as_bytes())).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST_LINE, 5]);
    }
}
