//! Looks at the kernel's list of open sockets now and then: what was open before the start, what has grown, what is gone.
//!
//! The list is read on a thread of its own. The timer runs only while a connection is open, so that an idle system stays
//! asleep.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::clock::{BootTime, Clock};
use crate::source::snapshot::{self, Snapshot};

/// A list of open sockets, and when it was asked for.
pub struct Census {
    /// Everything that happened before is in the list.
    pub taken: BootTime,
    pub snapshot: Snapshot,
}

impl Census {
    /// Reads the list now.
    #[must_use]
    pub fn take() -> Self {
        Self { taken: Clock::boot(), snapshot: snapshot::take() }
    }
}

/// Whether events were lost that no census has made up for: flows whose end was among them are still in the table.
#[derive(Debug, Default)]
pub struct Losses {
    noticed: Option<BootTime>,
}

impl Losses {
    /// Events were lost before `now`.
    pub fn noticed(&mut self, now: BootTime) {
        self.noticed = Some(now);
    }

    #[must_use]
    pub fn need_a_census(&self) -> bool {
        self.noticed.is_some()
    }

    /// The table was compared with a list that was read from `taken` on. That makes up for what was lost before; what was
    /// noticed since may be the end of a flow that is in the list.
    pub fn compared(&mut self, taken: BootTime) {
        self.noticed = self.noticed.filter(|noticed| *noticed >= taken);
    }
}

/// Takes a census at regular times.
pub struct CensusTaker {
    /// `None`: never.
    every: Option<Duration>,
    due: Option<Instant>,
    task: Option<JoinHandle<Census>>,
}

impl CensusTaker {
    pub fn new(every: Option<Duration>) -> Self {
        Self { every, due: None, task: None }
    }

    /// Sets the timer while there is something to look at; takes a census at once when one is `needed`.
    pub fn watch(&mut self, is_anything_open: bool, is_needed: bool) {
        if self.task.is_some() {
            return;
        }
        if is_needed {
            self.due = Some(Instant::now());
            return;
        }
        match self.every {
            Some(every) if is_anything_open => _ = self.due.get_or_insert_with(|| Instant::now() + every),
            _ => self.due = None,
        }
    }

    /// Waits for the next census. May be dropped at any time without losing anything.
    pub async fn next(&mut self) -> Census {
        loop {
            if let Some(task) = &mut self.task {
                let census = task.await;
                self.task = None;
                match census {
                    Ok(census) => return census,
                    // It panicked: the next one is taken when it is due.
                    Err(_) => continue,
                }
            }
            match self.due {
                Some(due) => sleep_until(due).await,
                None => return std::future::pending().await,
            }
            self.due = None;
            self.task = Some(tokio::task::spawn_blocking(Census::take));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_while_a_list_is_read_needs_another_one() {
        let mut losses = Losses::default();
        assert!(!losses.need_a_census());
        losses.noticed(BootTime(10));
        losses.noticed(BootTime(30));
        losses.compared(BootTime(20));
        assert!(losses.need_a_census());
        losses.compared(BootTime(31));
        assert!(!losses.need_a_census());
    }
}
