//! Steps of a connection that is kept open with a heartbeat.

use std::time::{Duration, Instant};

use super::{Result, State, number, receive, send, text};

impl State {
    /// `None`: not one of these steps.
    pub fn beating_step(&mut self, name: &str, value: &str) -> Option<Result<()>> {
        Some(match name {
            // MILLISECONDS,UP,DOWN: so long after the last beat was due (the first time: from now on), sends so many bytes and
            // waits for so many.
            "beat" => self.beat(value),
            // UP,DOWN: answers each beat of the other end, until it closes.
            "pulse" => self.pulse(value),
            _ => return None,
        })
    }

    fn beat(&mut self, value: &str) -> Result<()> {
        let [after, up, down] = numbers(value)?;
        // By the clock, not by the last beat, so that what is late once is not late for ever.
        let due = self.beat_due.unwrap_or_else(Instant::now) + Duration::from_millis(after);
        self.beat_due = Some(due);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        send(self.socket.as_ref().ok_or("no socket")?, up, &mut self.sent).map_err(text)?;
        receive(self.socket.as_ref().ok_or("no socket")?, Some(down), &mut self.received).map_err(text)
    }

    fn pulse(&mut self, value: &str) -> Result<()> {
        let [up, down] = numbers(value)?;
        let socket = self.socket.as_ref().ok_or("no socket")?;
        loop {
            let before = self.received;
            // It may also be reset.
            let taken = receive(socket, Some(up), &mut self.received);
            if taken.is_err() || self.received < before + up {
                return Ok(());
            }
            send(socket, down, &mut self.sent).map_err(text)?;
        }
    }
}

fn numbers<const MANY: usize>(value: &str) -> Result<[u64; MANY]> {
    let numbers = value.split(',').map(number).collect::<Result<Vec<u64>>>()?;
    numbers.try_into().map_err(|_| format!("give {MANY} numbers"))
}
