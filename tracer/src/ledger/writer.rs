//! The thread that writes: off the path of records.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::Notify;

use super::ack::acknowledged;
use super::bounds::{self, MOST_BYTES};
use super::write::write;
use crate::judge::book::RowId;
use crate::judge::saved::Batch;
use crate::memory;

/// A batch of so many changes is a rare one, and leaves something behind.
const LARGE: usize = 1000;

/// Not more often than this: what is given back is taken anew with the next batch, and other threads wait for the allocator meanwhile.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(5);

/// What became of a batch.
#[derive(Debug)]
pub enum Reply {
    /// It is in the file, and stays there however this process ends.
    Stored {
        /// Destinations that the file holds no more: too old.
        forgotten: Vec<RowId>,
        /// What somebody acknowledged, where that changed: keys, each with what may not change.
        acknowledged: Option<Vec<(String, String)>>,
    },
    /// Nothing of it is.
    Failed { batch: Box<Batch>, error: String },
}

/// A writer at work. When it is dropped, it ends after the batch that it has.
#[derive(Debug)]
pub struct Writer {
    batches: Option<SyncSender<Box<Batch>>>,
    replies: Option<Receiver<Reply>>,
    /// Tells that a reply is there.
    answered: Arc<Notify>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn start(connection: Connection) -> std::io::Result<Self> {
        let (batches, waiting) = sync_channel(1);
        let (answer, replies) = sync_channel(1);
        let answered = Arc::new(Notify::new());
        let wake = Arc::clone(&answered);
        let thread = thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || serve(connection, &waiting, &answer, &wake))?;
        Ok(Self { batches: Some(batches), replies: Some(replies), answered, thread: Some(thread) })
    }

    /// Gives it a batch; only when the last one was answered. `Err`: the thread is gone.
    pub fn give(&self, batch: Batch) -> Result<(), Box<Batch>> {
        let batch = Box::new(batch);
        match &self.batches {
            Some(batches) => batches.send(batch).map_err(|error| error.0),
            None => Err(batch),
        }
    }
}

impl Writer {
    /// Waits until there may be a reply.
    pub async fn answered(&self) {
        self.answered.notified().await;
    }

    /// The reply, if it is there.
    pub fn poll(&self) -> Option<Reply> {
        self.replies.as_ref()?.try_recv().ok()
    }

    /// Waits for the reply; `None`: the thread is gone.
    pub fn wait(&self) -> Option<Reply> {
        self.replies.as_ref()?.recv().ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.batches = None;
        self.replies = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been told of by its own message.
            let _ = thread.join();
        }
    }
}

fn serve(
    mut connection: Connection,
    batches: &Receiver<Box<Batch>>,
    answer: &SyncSender<Reply>,
    wake: &Notify,
) {
    let mut version = data_version(&connection);
    let mut given_back: Option<Instant> = None;
    while let Ok(batch) = batches.recv() {
        let is_large = batch.len() >= LARGE;
        let reply = match store(&mut connection, &batch) {
            Err(error) => Reply::Failed { batch, error: error.to_string() },
            Ok(forgotten) => {
                drop(batch);
                let now = data_version(&connection);
                let has_changed = std::mem::replace(&mut version, now) != now;
                let acknowledged = has_changed.then(|| acknowledged(&connection).ok()).flatten();
                Reply::Stored { forgotten, acknowledged }
            }
        };
        if answer.send(reply).is_err() {
            break;
        }
        wake.notify_one();
        if is_large && given_back.is_none_or(|at| at.elapsed() >= GIVE_BACK_EVERY) {
            given_back = Some(Instant::now());
            // The pages of the file that it went through, and what held it. That it fails is no matter.
            let _ = connection.execute_batch("PRAGMA shrink_memory");
            memory::give_back_free();
        }
    }
    // All of it into one file: whoever copies the ledger afterwards copies everything.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
}

fn store(connection: &mut Connection, batch: &Batch) -> rusqlite::Result<Vec<RowId>> {
    let written = write(connection, batch)?;
    if written.has_new_day || bounds::used_bytes(connection)? > MOST_BYTES {
        // What is too old is only removed; the batch is safe already.
        return Ok(bounds::keep(connection, MOST_BYTES).unwrap_or_default());
    }
    Ok(Vec::new())
}

/// Changes when somebody else wrote.
fn data_version(connection: &Connection) -> Option<i64> {
    connection.pragma_query_value(None, "data_version", |row| row.get(0)).ok()
}
