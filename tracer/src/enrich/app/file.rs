//! Reading a foreign file without being harmed by it, and saying in one sentence what was wrong with it.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::text::printable_within;

/// Most bytes read of one file: many times what a device with a thousand packages writes.
pub const MAX_BYTES: usize = 64 << 20;
/// Longest excerpt of a file's content in a warning.
const EXCERPT: usize = 80;

/// What is wrong with one file. Keeps the first finding and counts the others: one bad file gives one warning.
#[derive(Debug)]
pub struct Trouble {
    path: PathBuf,
    first: Option<String>,
    others: usize,
}

impl Trouble {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), first: None, others: 0 }
    }

    /// Notes that `reason` spoils the file at `place` (a line or a byte offset).
    pub fn add(&mut self, place: impl Display, reason: impl Display) {
        match self.first {
            None => self.first = Some(format!("{place}: {reason}")),
            Some(_) => self.others += 1,
        }
    }

    #[must_use]
    pub fn is_some(&self) -> bool {
        self.first.is_some()
    }

    /// The warning, if there is anything to warn about. `effect` says what follows for the records.
    #[must_use]
    pub fn into_warning(self, effect: &str) -> Option<String> {
        let first = self.first?;
        let path = excerpt_of(self.path.as_os_str().as_encoded_bytes(), 4096);
        let others = match self.others {
            0 => String::new(),
            n => format!(" (and {n} more such place{})", if n == 1 { "" } else { "s" }),
        };
        Some(format!("{path}: {first}{others}; {effect}"))
    }
}

/// A piece of foreign content, safe to print in a warning.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    excerpt_of(bytes, EXCERPT)
}

fn excerpt_of(bytes: &[u8], max: usize) -> String {
    printable_within(bytes, max).into_owned()
}

/// Whether a missing file is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Warn,
    Ignore,
}

/// Reads at most [`MAX_BYTES`] of a regular file. Never blocks on a pipe or a device that somebody put there. `None`
/// when nothing could be read; when only a part could be, that part, with the reason in `trouble`.
pub fn read(path: &Path, missing: Missing, trouble: &mut Trouble) -> Option<Vec<u8>> {
    read_at_most(path, MAX_BYTES, missing, trouble)
}

fn read_at_most(path: &Path, max: usize, missing: Missing, trouble: &mut Trouble) -> Option<Vec<u8>> {
    // NONBLOCK: opening a pipe must not wait for its writer. It changes nothing for regular files.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(error) => {
            let error = std::io::Error::from(error);
            if error.kind() != ErrorKind::NotFound || missing == Missing::Warn {
                trouble.add("cannot open it", error);
            }
            return None;
        }
    };
    match fstat(&fd) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {}
        Ok(_) => {
            trouble.add("cannot read it", "not a regular file");
            return None;
        }
        Err(error) => {
            trouble.add("cannot read it", std::io::Error::from(error));
            return None;
        }
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    let mut reader = File::from(fd).take(limit.saturating_add(1));
    if let Err(error) = reader.read_to_end(&mut bytes) {
        trouble.add(format_args!("byte {}", bytes.len()), error);
    }
    if bytes.len() > max {
        bytes.truncate(max);
        trouble.add(format_args!("byte {max}"), format_args!("larger than {} MiB", max >> 20));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::app::tests::TempDir;

    fn warning(path: &Path, max: usize, missing: Missing) -> (Option<Vec<u8>>, Option<String>) {
        let mut trouble = Trouble::new(path);
        let bytes = read_at_most(path, max, missing, &mut trouble);
        (bytes, trouble.into_warning("so what"))
    }

    #[test]
    fn a_missing_file_is_a_warning_only_where_it_is_expected() {
        let path = Path::new("/nonexistent/packages.list");
        assert_eq!(warning(path, 9, Missing::Ignore), (None, None));
        let text = warning(path, 9, Missing::Warn).1.unwrap();
        assert!(text.starts_with("/nonexistent/packages.list: cannot open it: No such file"), "{text}");
        assert!(text.ends_with("; so what"), "{text}");
    }

    #[test]
    fn a_directory_and_a_pipe_without_a_writer_are_refused_at_once() {
        let dir = TempDir::new();
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for path in [dir.path(), pipe.as_path()] {
            let (bytes, text) = warning(path, 9, Missing::Warn);
            assert_eq!(bytes, None);
            assert!(text.unwrap().contains("not a regular file"));
        }
    }

    #[test]
    fn a_file_over_the_limit_is_read_up_to_it() {
        let dir = TempDir::new();
        let path = dir.write("big", &[b'x'; 20]);
        let (bytes, text) = warning(&path, 16, Missing::Warn);
        assert_eq!(bytes.unwrap().len(), 16);
        assert!(text.unwrap().contains("byte 16: larger than"));
        assert_eq!(warning(&path, 20, Missing::Warn).1, None);
    }

    #[test]
    fn many_findings_make_one_warning_without_control_characters() {
        let mut trouble = Trouble::new(Path::new("/x\x1b/y"));
        trouble.add("line 3", excerpt(b"\x1b[31m"));
        trouble.add("line 4", "");
        trouble.add("line 5", "");
        let text = trouble.into_warning("left out").unwrap();
        assert_eq!(text, r"/x\x1b/y: line 3: \x1b[31m (and 2 more such places); left out");
    }
}
