//! Keeps the ledger at the heels of a judge.

use std::path::{Path, PathBuf};

use super::bounds::{self, MOST_BYTES};
use super::connection;
use super::error::LedgerError;
use super::load::load;
use super::lock::Lock;
use super::writer::{Reply, Writer};
use crate::judge::Judge;

/// What is worth a word to whoever reads the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It could not be written; what changed waits and is tried again.
    Trouble(String),
    /// It can be written again.
    Recovered,
}

/// A ledger that is written.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    // Before the lock: it ends first.
    writer: Writer,
    _lock: Lock,
    is_busy: bool,
    has_trouble: bool,
    /// Number of the last record of which all is in the file.
    booked_seq: Option<u64>,
    handed_over_seq: Option<u64>,
}

impl Keeper {
    /// Opens or creates a ledger, and lets the judge go on from what is in it. The second value: what should be said about it.
    ///
    /// # Errors
    /// When it cannot be used, or another tracer writes it.
    pub fn open(path: &Path, judge: &mut Judge) -> Result<(Self, Option<String>), LedgerError> {
        // The lock is there, too.
        connection::make_directory(path)?;
        let lock = Lock::take(path)?;
        let mut connection = connection::open(path)?;
        bounds::keep(&mut connection, MOST_BYTES).map_err(LedgerError::sqlite(path, "tidied up"))?;
        let (restored, wrong) = load(&connection, path)?;
        judge.restore(restored);
        let writer = Writer::start(connection).map_err(LedgerError::io(path, "written"))?;
        let path = path.to_owned();
        let warning = (wrong > 0).then(|| {
            format!("the ledger {}: {wrong} rows could not be understood and were left out", path.display())
        });
        let keeper = Self {
            path,
            writer,
            _lock: lock,
            is_busy: false,
            has_trouble: false,
            booked_seq: None,
            handed_over_seq: None,
        };
        Ok((keeper, warning))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of the last record of the stream of which all is in the file.
    #[must_use]
    pub fn booked_seq(&self) -> Option<u64> {
        self.booked_seq
    }

    /// Whether a batch is on its way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Whether the last batch could not be written.
    #[must_use]
    pub fn has_trouble(&self) -> bool {
        self.has_trouble
    }

    /// Hands over what changed, unless the last batch is still on its way.
    pub fn offer(&mut self, judge: &mut Judge) {
        if self.is_busy {
            return;
        }
        let Some(batch) = judge.take_batch() else { return };
        self.handed_over_seq = Some(judge.reached());
        match self.writer.give(batch) {
            Ok(()) => self.is_busy = true,
            Err(batch) => judge.put_back(&batch),
        }
    }

    /// Waits until something may have become of the last batch; then [`Keeper::poll`] says what.
    pub async fn answered(&self) {
        self.writer.answered().await;
    }

    /// What became of the last batch, if it is known already.
    pub fn poll(&mut self) -> Option<Reply> {
        self.writer.poll()
    }

    /// Lets the judge know.
    pub fn take(&mut self, reply: Reply, judge: &mut Judge) -> Option<News> {
        self.is_busy = false;
        match reply {
            Reply::Stored { forgotten, acknowledged } => {
                self.booked_seq = self.handed_over_seq;
                judge.forget(&forgotten);
                if let Some(known) = acknowledged {
                    judge.findings.acknowledge(known.iter().map(|(key, unchanged)| (&**key, &**unchanged)));
                }
                std::mem::take(&mut self.has_trouble).then_some(News::Recovered)
            }
            Reply::Failed { batch, error } => {
                judge.put_back(&batch);
                (!std::mem::replace(&mut self.has_trouble, true)).then_some(News::Trouble(error))
            }
        }
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Why it could not be written, and how much of it.
    pub fn finish(&mut self, judge: &mut Judge) -> Result<(), String> {
        let mut trouble = None;
        if self.is_busy {
            trouble = self.wait(judge);
        }
        self.offer(judge);
        if self.is_busy {
            trouble = self.wait(judge);
        }
        let Some(left) = judge.take_batch() else { return Ok(()) };
        Err(format!(
            "the ledger {} could not be written: {}; {} changes are not in it",
            self.path.display(),
            trouble.unwrap_or_else(|| "its thread has ended".to_owned()),
            left.len()
        ))
    }

    fn wait(&mut self, judge: &mut Judge) -> Option<String> {
        let reply = self.writer.wait()?;
        let error = match &reply {
            Reply::Failed { error, .. } => Some(error.clone()),
            Reply::Stored { .. } => None,
        };
        self.take(reply, judge);
        error
    }
}
