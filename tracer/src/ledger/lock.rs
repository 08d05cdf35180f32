//! One tracer writes a ledger at a time.
//!
//! A file beside it is locked, not the ledger: closing any descriptor of the ledger would take SQLite's own locks off it
//! (<https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>). The kernel
//! gives the lock back however the process ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::error::LedgerError;

/// The right to write a ledger, as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes it.
    ///
    /// # Errors
    /// When another tracer has it, or the file cannot be created.
    pub fn take(ledger: &Path) -> Result<Self, LedgerError> {
        let path = beside(ledger);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(LedgerError::io(&path, "locked"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LedgerError::InUse(ledger.to_owned())),
            Err(error) => Err(LedgerError::io(&path, "locked")(io::Error::from(error))),
        }
    }
}

fn beside(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_owned();
    name.push("-lock");
    name.into()
}
