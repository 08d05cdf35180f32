//! A device's clock that is set while a stream runs. Pure.
//!
//! Records come in the order in which things happened. When their times go back by much, or forward by more than any silence, the
//! clock was set; when it is set again the other way, what was noted in between was noted at a wrong time, and is put right.

use std::time::Duration;

use super::{App, AppId, Book};
use crate::clock::Timestamp;

/// Times of records may go back this far without the clock having been set: lists of sockets are read while events come in.
const BACK_NS: u64 = 3_600_000_000_000;
/// Nothing at all is heard of for longer only if the device was off, and then another stream begins.
const FORWARD_NS: u64 = 30 * 86_400_000_000_000;

/// The clock of the stream that is judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamClock {
    latest: Option<Timestamp>,
    /// The clock was set, and has not been set back yet.
    jump: Option<Jump>,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    /// The latest time before it, and the first one after it.
    before: Timestamp,
    after: Timestamp,
    is_forward: bool,
    /// Apps and rows from this number on were seen first after it.
    first_id: u64,
}

impl Book {
    /// Another stream begins: its times have nothing to do with those of the last one.
    pub fn begin_stream(&mut self) {
        self.clock = StreamClock::default();
    }

    /// Hears what time it is.
    pub(super) fn hear_clock(&mut self, at: Timestamp) {
        let latest = self.clock.latest.replace(at).unwrap_or(at);
        let is_forward = if at.0 > latest.0.saturating_add(FORWARD_NS) {
            true
        } else if at.0.saturating_add(BACK_NS) < latest.0 {
            false
        } else {
            // Out of order by a little: the later one stays.
            self.clock.latest = Some(latest.max(at));
            return;
        };
        match self.clock.jump.take() {
            Some(jump) if jump.is_forward && !is_forward => self.undo_forward(at),
            Some(jump) if !jump.is_forward && is_forward => self.undo_back(jump, at),
            _ => {
                self.clock.jump =
                    Some(Jump { before: latest, after: at, is_forward, first_id: self.next_id });
            }
        }
    }

    /// How long an app was known at a time; what the clock jumped over was no time.
    pub(super) fn known_for(&self, id: AppId, app: &App, at: Timestamp) -> Duration {
        let since = |from: Timestamp, to: Timestamp| Duration::from_nanos(to.0.saturating_sub(from.0));
        match self.clock.jump {
            Some(jump) if jump.is_forward && id < jump.first_id => {
                since(app.first_seen, jump.before) + since(jump.after, at)
            }
            _ => since(app.first_seen, at),
        }
    }

    /// Whether times go on from a clock that was set back: known things were not seen first then.
    pub(super) fn is_set_back(&self) -> bool {
        self.clock.jump.is_some_and(|jump| !jump.is_forward)
    }

    /// What lies in the future was noted just now.
    fn undo_forward(&mut self, now: Timestamp) {
        self.put_right(|_, first, last| ((*first).min(now), (*last).min(now)));
    }

    /// What was seen first in the past that was none was seen first after the last right time.
    fn undo_back(&mut self, jump: Jump, now: Timestamp) {
        self.put_right(|id, first, last| {
            if id >= jump.first_id { ((*first).max(jump.before).min(now), now) } else { (*first, *last) }
        });
    }

    fn put_right(&mut self, right: impl Fn(u64, &Timestamp, &Timestamp) -> (Timestamp, Timestamp)) {
        let apps = self.apps.iter_mut().map(|(&id, app)| (id, &mut app.first_seen, &mut app.last_seen));
        let rows = self.rows.iter_mut().map(|(&id, row)| (id, &mut row.first_seen, &mut row.last_seen));
        let mut changed = Vec::new();
        for (id, first, last) in apps.chain(rows) {
            let times = right(id, first, last);
            if times != (*first, *last) {
                (*first, *last) = times;
                changed.push(id);
            }
        }
        changed.into_iter().for_each(|id| self.touch(id));
    }
}
