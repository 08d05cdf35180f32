//! Keeps the ledger while a stream runs: what changed is handed to its thread now and then, and nothing wakes an idle system.

use std::time::Duration;

use tokio::time::Instant;

use super::session::Session;
use crate::ledger::News;
use crate::record::LedgerObject;

/// After a failure: a full disk stays full for a while.
const TRY_AGAIN: Duration = Duration::from_secs(30);

impl Session {
    /// When what changed is to be handed over; `None` while nothing has.
    pub fn next_booking(&self) -> Option<Instant> {
        self.next_booking
    }

    /// Sees to it that what changed is handed over.
    pub(super) fn plan_booking(&mut self) {
        if self.next_booking.is_none()
            && self.ledger.as_ref().is_some_and(|ledger| !ledger.is_busy())
            && self.pipeline.stages.judge.has_changes()
        {
            self.next_booking = Some(Instant::now() + self.ledger_every);
        }
    }

    /// Hands over what changed.
    pub fn book(&mut self) {
        self.next_booking = None;
        let stages = &mut self.pipeline.stages;
        if let Some(ledger) = &mut self.ledger {
            stages.judge.reach(stages.lines.last_seq());
            ledger.offer(&mut stages.judge);
        }
    }

    /// Waits until something may have become of what was handed over.
    pub async fn ledger_answered(&self) {
        match self.ledger.as_ref().filter(|ledger| ledger.is_busy()) {
            Some(ledger) => ledger.answered().await,
            None => std::future::pending().await,
        }
    }

    /// Hears what became of it.
    pub fn take_ledger_answer(&mut self) {
        let Some(ledger) = &mut self.ledger else { return };
        let Some(reply) = ledger.poll() else { return };
        let news = ledger.take(reply, &mut self.pipeline.stages.judge);
        let path = ledger.path().display().to_string();
        match news {
            Some(News::Trouble(error)) => {
                let seconds = TRY_AGAIN.as_secs();
                self.warn(&[format!(
                    "the ledger {path} could not be written: {error}; what is new waits in memory and is tried again every {seconds} s"
                )]);
            }
            Some(News::Recovered) => {
                self.warn(&[format!("the ledger {path} is written again; nothing is missing in it")])
            }
            None => {}
        }
        if self.ledger.as_ref().is_some_and(|ledger| ledger.has_trouble()) {
            self.next_booking = Some(Instant::now() + TRY_AGAIN);
        } else {
            self.plan_booking();
        }
    }

    /// Writes what is left; how far it came.
    pub(super) fn finish_ledger(&mut self) -> Option<LedgerObject> {
        let stages = &mut self.pipeline.stages;
        let ledger = self.ledger.as_mut()?;
        stages.judge.reach(stages.lines.last_seq());
        let finished = ledger.finish(&mut stages.judge);
        let object = self.ledger();
        if let Err(error) = finished {
            self.warn(&[error]);
        }
        // Its last pages go into the file now.
        self.ledger = None;
        object
    }

    /// As records tell of it.
    pub(super) fn ledger(&self) -> Option<LedgerObject> {
        let ledger = self.ledger.as_ref()?;
        let book = &self.pipeline.stages.judge.book;
        Some(LedgerObject {
            path: ledger.path().display().to_string(),
            apps: book.apps.len(),
            destinations: book.rows.len(),
            booked_seq: ledger.booked_seq(),
        })
    }
}
