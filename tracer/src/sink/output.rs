//! The output: a bounded queue and one thread that writes.
//!
//! In: buffers of finished lines. Out: a file descriptor. Buffers change hands and come back empty, so that a burst
//! neither copies its lines nor asks the system for memory again and again. A reader that is slow or stopped fills the queue; what then finds no
//! room is counted by the caller, and neither the pipeline nor the kernel ever waits. The thread sleeps in `poll(2)`
//! while there is nothing to write, and notices at once when the reader goes away.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Bytes that may wait for a slow reader: some ten thousand records.
pub const QUEUE_BYTES: usize = 8 << 20;
/// Room above [`QUEUE_BYTES`] that is kept for `loss` and `stop` records.
const RESERVE_BYTES: usize = 64 << 10;
/// A buffer is handed over when it holds this much.
pub const FLUSH_BYTES: usize = 96 << 10;
/// Room in a buffer: some records more than [`FLUSH_BYTES`]. As large as the blocks that go back to the system when they
/// are freed (`crate::memory`), so that what a slow reader made wait does not stay for ever.
const BUFFER_BYTES: usize = 128 << 10;
/// Empty buffers that are kept for the next burst.
const SPARE_BUFFERS: usize = 4;
/// How long the end waits for a reader that takes nothing.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// How the writing ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything was written.
    Flushed,
    /// The reader closed the pipe.
    ReaderGone,
    /// The reader took nothing for two seconds at the end; this many bytes were left.
    ReaderStuck(usize),
    Failed(io::Error),
}

/// What waits to be written.
#[derive(Default)]
struct Queue {
    buffers: VecDeque<Vec<u8>>,
    /// Bytes in `buffers` and in the one that is being written.
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Queue {
    /// Takes the lines out of `lines`. What fits is added to the last buffer that waits, so that a slow reader of few
    /// lines does not make the queue hold many buffers that are almost empty.
    fn add(&mut self, lines: &mut Vec<u8>) {
        self.bytes += lines.len();
        match self.buffers.back_mut() {
            Some(last) if last.len() + lines.len() <= BUFFER_BYTES => last.append(lines),
            _ => {
                let empty = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
                self.buffers.push_back(std::mem::replace(lines, empty));
            }
        }
    }

    /// Takes back a buffer whose lines were written.
    fn written(&mut self, mut buffer: Vec<u8>) {
        self.bytes -= buffer.len();
        if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= 2 * BUFFER_BYTES {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

struct Shared {
    queue: Mutex<Queue>,
    /// Wakes the thread when something was queued or the end was asked for.
    wake: OwnedFd,
    closing: AtomicBool,
    /// Readable once the thread is done.
    done: OwnedFd,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writing end for the pipeline.
pub struct Output {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Ended>>,
}

impl Output {
    /// Starts the thread that writes to `file`.
    ///
    /// # Errors
    /// When the system has no file descriptors or threads left.
    pub fn start(file: File) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            closing: AtomicBool::new(false),
            done: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            let ended = write_until_closed(&for_thread, file).unwrap_or_else(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Ended::ReaderGone,
                _ => Ended::Failed(error),
            });
            signal(&for_thread.done);
            ended
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues whole lines and leaves `lines` empty; `false` when there is no room (`lines` stays as it is then).
    pub fn push(&self, lines: &mut Vec<u8>) -> bool {
        self.push_up_to(lines, QUEUE_BYTES)
    }

    /// Queues a record that must not be lost, into room that others cannot take.
    pub fn push_reserved(&self, lines: &mut Vec<u8>) -> bool {
        self.push_up_to(lines, QUEUE_BYTES + RESERVE_BYTES)
    }

    fn push_up_to(&self, lines: &mut Vec<u8>, limit: usize) -> bool {
        let mut queue = self.shared.lock();
        if queue.bytes + lines.len() > limit {
            return false;
        }
        let was_empty = queue.bytes == 0;
        queue.add(lines);
        drop(queue);
        if was_empty {
            signal(&self.shared.wake);
        }
        true
    }

    /// A descriptor that becomes readable when the thread ends by itself (the reader is gone, or writing failed).
    #[must_use]
    pub fn done(&self) -> &OwnedFd {
        &self.shared.done
    }

    /// Writes what is queued and ends the thread; gives up on a reader that takes nothing.
    #[must_use]
    pub fn finish(mut self) -> Ended {
        self.shared.closing.store(true, Ordering::Release);
        signal(&self.shared.wake);
        let deadline = Instant::now() + FLUSH_DEADLINE;
        let mut left = self.queued();
        let mut limit = deadline;
        while !wait_readable(&self.shared.done, limit) {
            let now_left = self.queued();
            if now_left >= left {
                return Ended::ReaderStuck(now_left);
            }
            // It still takes something: go on waiting.
            left = now_left;
            limit = Instant::now() + FLUSH_DEADLINE;
        }
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.unwrap_or_else(|| Ended::Failed(io::Error::other("the output thread panicked")))
    }

    fn queued(&self) -> usize {
        self.shared.lock().bytes
    }
}

fn write_until_closed(shared: &Shared, mut file: File) -> io::Result<Ended> {
    loop {
        let closing = shared.closing.load(Ordering::Acquire);
        let next = shared.lock().buffers.pop_front();
        let Some(buffer) = next else {
            if closing {
                return Ok(Ended::Flushed);
            }
            if wait_for_work(shared, &file)? {
                return Ok(Ended::ReaderGone);
            }
            continue;
        };
        file.write_all(&buffer)?;
        shared.lock().written(buffer);
    }
}

/// Sleeps until something is queued; `true` when the reader went away meanwhile.
fn wait_for_work(shared: &Shared, file: &File) -> io::Result<bool> {
    // No events asked for on the output: poll still reports POLLERR when a pipe's reader is gone.
    let mut fds = [PollFd::new(&shared.wake, PollFlags::IN), PollFd::new(file, PollFlags::empty())];
    match poll(&mut fds, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let reader_gone = fds
        .get(1)
        .is_some_and(|fd| fd.revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL));
    let mut count = [0; 8];
    // Clears the eventfd; EAGAIN means that it was the other descriptor that woke us.
    let _ = rustix::io::read(&shared.wake, &mut count);
    Ok(reader_gone)
}

fn wait_readable(fd: impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

fn signal(eventfd: &OwnedFd) {
    // Fails only when the counter is at its maximum, and then the reader is awake anyway.
    let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::io::Read;

    fn pipe() -> (File, File) {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        (reader.into(), writer.into())
    }

    #[test]
    fn everything_queued_is_written_before_the_end() {
        let (mut reader, writer) = pipe();
        let output = Output::start(writer).unwrap();
        assert!(output.push(&mut b"one\n".to_vec()));
        assert!(output.push(&mut b"two\n".to_vec()));
        assert!(matches!(output.finish(), Ended::Flushed));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn a_reader_that_goes_away_is_noticed_without_a_write() {
        let (reader, writer) = pipe();
        let output = Output::start(writer).unwrap();
        drop(reader);
        assert!(wait_readable(output.done(), Instant::now() + Duration::from_secs(10)));
        assert!(matches!(output.finish(), Ended::ReaderGone));
    }

    #[test]
    fn a_stopped_reader_fills_the_queue_but_not_the_reserve_and_never_blocks() {
        let (reader, writer) = pipe();
        let output = Output::start(writer).unwrap();
        let line = vec![b'x'; 64 << 10];
        let mut taken = 0;
        while output.push(&mut line.clone()) {
            taken += 1;
            assert!(taken < 1000, "the queue has no bound");
        }
        assert!(output.push_reserved(&mut b"loss\n".to_vec()));
        assert!(matches!(output.finish(), Ended::ReaderStuck(_)));
        drop(reader);
    }
}
