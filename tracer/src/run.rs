//! Wires source → flow → enrich → judge → sink, and lives until it is told to stop.
//!
//! One thread does the work; a second one writes ([`crate::sink::output`]); a third one exists only while data files
//! are read again. While nothing happens, all of them sleep without a timer.

mod accounting;
mod booking;
mod census;
mod compare;
mod list_open;
mod reload;
mod session;
mod startup;
mod udp;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::config::Config;
use crate::failure::Failure;
use crate::sink::output::Ended;
use census::CensusTaker;
use reload::{Paths, Reloader};
use session::{Drained, Session};

pub use list_open::list_open;

/// Why the stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Interrupted,
    Terminated,
    DurationOver,
    OutputEnded,
}

impl Stop {
    fn message(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted (SIGINT)",
            Self::Terminated => "terminated (SIGTERM)",
            Self::DurationOver => "the time given with --duration is over",
            Self::OutputEnded => "the output was closed",
        }
    }
}

/// Streams records until a signal, the end of `--duration`, or the end of the reader.
///
/// # Errors
/// When the kernel refuses, an input file is bad, or the output cannot be written.
pub fn run(config: Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Only for reading data files again.
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_secs(1))
        .build()?;
    runtime.block_on(stream(config))
}

async fn stream(config: Config) -> Result<(), Failure> {
    // Before anything slow, so that an early signal is not lost.
    let mut signals = Signals::new()?;
    let deadline = config.duration.map(|duration| Instant::now() + duration);
    // Before the files are read for the first time, so that no change after that goes unseen.
    let mut reloader = Reloader::new(Paths::of(&config));
    let mut session = startup::start(&config)?;
    let mut census_taker = CensusTaker::new(config.sample);
    let stop = follow(&mut session, &mut signals, &mut reloader, &mut census_taker, deadline).await?;
    match session.finish(stop.message()) {
        Ended::Flushed | Ended::ReaderGone => Ok(()),
        Ended::ReaderStuck(bytes) => Err(anyhow::anyhow!(
            "the reader of the output took nothing for two seconds; {bytes} bytes were not written"
        )
        .into()),
        Ended::Failed(error) => Err(anyhow::anyhow!("writing the output failed: {error}").into()),
    }
}

async fn follow(
    session: &mut Session,
    signals: &mut Signals,
    reloader: &mut Reloader,
    census_taker: &mut CensusTaker,
    deadline: Option<Instant>,
) -> Result<Stop, Failure> {
    let mut ring = readable(session.ring_fd()?)?;
    let output_done = readable(session.output_fd()?)?;
    loop {
        census_taker.watch(session.needs_looks(), session.needs_census());
        tokio::select! {
            biased;
            signal = signals.next() => match signal {
                Received::Interrupt => return Ok(Stop::Interrupted),
                Received::Terminate => return Ok(Stop::Terminated),
                Received::Hangup => reloader.request_all(),
                Received::User => session.tell_stats(),
            },
            _ = output_done.readable() => return Ok(Stop::OutputEnded),
            () = until(deadline) => return Ok(Stop::DurationOver),
            () = until(session.next_check()) => session.check_losses(),
            () = until(session.next_stats()) => session.tell_stats(),
            () = until(session.next_booking()) => session.book(),
            () = session.ledger_answered() => session.take_ledger_answer(),
            () = until(session.next_udp_look()) => session.look_at_udp(),
            reloaded = reloader.next() => session.apply(reloaded),
            census = census_taker.next() => session.compare(census, false),
            guard = ring.readable_mut() => {
                let mut guard = guard?;
                match session.drain() {
                    Drained::Empty => {
                        guard.clear_ready();
                        session.rest_in_a_burst().await;
                    }
                    Drained::MoreIsThere => {}
                }
            }
        }
    }
}

/// Registers a descriptor with the runtime, for reading.
fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd stays open, and stays the same descriptor, until the AsyncFd that owns it has deregistered it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Sleeps until then; for ever without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

enum Received {
    Interrupt,
    Terminate,
    Hangup,
    /// SIGUSR1.
    User,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.interrupt.recv() => Received::Interrupt,
            _ = self.terminate.recv() => Received::Terminate,
            _ = self.hangup.recv() => Received::Hangup,
            _ = self.user.recv() => Received::User,
        }
    }
}
