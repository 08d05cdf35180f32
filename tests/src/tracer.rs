//! Runs the tracer and reads its stream.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::DEADLINE;
use crate::record::{action, is_flow};
use crate::stream::Stream;

/// What the reading thread and the test share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Value>,
    /// As they were written, where somebody wants to know.
    lines: Option<Vec<String>>,
    paused: bool,
    ended: bool,
}

/// A running tracer. It is killed when the value is dropped.
pub struct Tracer {
    child: Child,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<String>>,
}

impl Tracer {
    /// Starts the tracer and waits for its `start` record: from then on it sees every connection.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let tracer = Self::spawn(arguments);
        tracer.expect("the start record", |record| action(record) == "start");
        tracer
    }

    /// As [`Self::start`]; the lines are kept as they were written, for [`Stream::lines`].
    pub fn recording<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        let shared = Shared::default();
        shared.lock().lines = Some(Vec::new());
        let tracer = Self::spawn_into(shared, arguments);
        tracer.expect("the start record", |record| action(record) == "start");
        tracer
    }

    /// Starts the tracer.
    /// Without a ledger, unless it is given one: no test is to know of another.
    pub fn spawn<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::spawn_into(Shared::default(), arguments)
    }

    fn spawn_into<S: AsRef<OsStr>>(shared: Shared, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(crate::programs::tracer());
        command.args(arguments);
        if !command.get_args().any(|argument| argument == "--ledger") {
            command.arg("--no-ledger");
        }
        command
            .args(crate::scenario::arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the tracer can be started");
        let shared = Arc::new(shared);
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut stderr = child.stderr.take().expect("stderr is a pipe");
        let for_reader = Arc::clone(&shared);
        let reader = std::thread::spawn(move || for_reader.read(BufReader::new(stdout)));
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        Self { child, shared, reader: Some(reader), stderr: Some(stderr) }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops reading the tracer's output (what the pipe and our buffer hold already still comes in).
    pub fn pause_reading(&self) {
        self.shared.lock().paused = true;
    }

    /// Reads on.
    pub fn resume_reading(&self) {
        self.shared.lock().paused = false;
        self.shared.changed.notify_all();
    }

    /// Waits for a record that matches; on failure, prints everything that did arrive.
    pub fn expect(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        let mut looked_at = 0;
        loop {
            let news = state.records.get(looked_at..).unwrap_or_default();
            if let Some(found) = news.iter().find(|record| matches(record)) {
                return found.clone();
            }
            looked_at = state.records.len();
            let left = until.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let why = if state.ended { "the stream ended" } else { "nothing came in time" };
                let message =
                    format!("expected {what}, but {why}; what did arrive:\n{}", listed(&state.records));
                drop(state);
                panic!("{message}");
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the record of this action about the socket with this cookie.
    pub fn expect_flow(&self, cookie: u64, wanted: &str) -> Value {
        self.expect(&format!("{wanted} of the socket {cookie:x}"), |record| {
            is_flow(record, cookie) && action(record) == wanted
        })
    }

    /// Records so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<Value> {
        self.shared.lock().records.clone()
    }

    /// The last record so far that matches.
    #[must_use]
    pub fn last(&self, matches: impl Fn(&Value) -> bool) -> Option<Value> {
        self.shared.lock().records.iter().rev().find(|record| matches(record)).cloned()
    }

    /// Number of records so far that match.
    #[must_use]
    pub fn count(&self, matches: impl Fn(&Value) -> bool) -> usize {
        self.shared.lock().records.iter().filter(|record| matches(record)).count()
    }

    /// Number of records so far.
    #[must_use]
    pub fn record_count(&self) -> usize {
        self.shared.lock().records.len()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Stops the process: what happens until [`Self::thaw`] must fit into its ring, or is lost.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the process go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Resident memory in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the tracer runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
    }

    /// CPU time used so far, user and system, in clock ticks.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the tracer runs");
        // After the name, which may hold blanks: state is field 3, utime 14, stime 15.
        let fields = stat.rsplit_once(')').expect("a name in brackets").1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number of ticks")).sum()
    }

    /// Stops it with SIGTERM and checks what must hold for every stream.
    pub fn stop(self) -> Stream {
        self.signal(Signal::TERM);
        let stream = self.end();
        stream.check();
        stream
    }

    /// Waits until it ends by itself.
    pub fn end(mut self) -> Stream {
        self.resume_reading();
        let until = Instant::now() + DEADLINE;
        let mut state = self.shared.lock();
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the tracer did not end within {DEADLINE:?}");
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let records = std::mem::take(&mut state.records);
        let lines = state.lines.take().unwrap_or_default();
        drop(state);
        let status = self.child.wait().expect("a child can be waited for");
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if self.reader.take().is_some_and(|thread| thread.join().is_err()) {
            panic!("the reader of the stream found a bad line");
        }
        Stream { records, lines, stderr, status }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.resume_reading();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Records, one a line; of very many, the last ones.
fn listed(records: &[Value]) -> String {
    let left_out = records.len().saturating_sub(100);
    let mut lines: Vec<String> = records.iter().skip(left_out).map(Value::to_string).collect();
    if left_out > 0 {
        lines.insert(0, format!("({left_out} more records before these)"));
    }
    lines.join("\n")
}

/// Says that the stream is over, however the reading thread ends.
struct EndMark<'a>(&'a Shared);

impl Drop for EndMark<'_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, mut lines: impl BufRead) {
        let _mark = EndMark(self);
        let mut line = Vec::new();
        loop {
            let state = self.lock();
            drop(self.changed.wait_while(state, |state| state.paused));
            line.clear();
            if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                return;
            }
            assert_eq!(line.pop(), Some(b'\n'), "a line without end: {}", String::from_utf8_lossy(&line));
            let text = std::str::from_utf8(&line).expect("a record is UTF-8");
            assert!(!text.contains(char::is_control), "a control character in {text:?}");
            let record = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text:?}"));
            let mut state = self.lock();
            if let Some(lines) = &mut state.lines {
                lines.push(text.to_owned());
            }
            state.records.push(record);
            drop(state);
            self.changed.notify_all();
        }
    }
}
