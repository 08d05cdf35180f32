//! Programs of others, as servers and as clients.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tracer_tests::DEADLINE;

/// How long what a program started may take to be gone after it was killed.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// A program that runs, and what it said so far. It is killed with the processes that it started when the value is
/// dropped.
pub struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said {
    state: Mutex<(Vec<String>, usize)>,
    changed: Condvar,
}

impl Said {
    fn read(&self, from: impl Read) {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            self.state.lock().unwrap_or_else(PoisonError::into_inner).0.push(line);
            self.changed.notify_all();
        }
        // That it says nothing more is news, too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
        self.changed.notify_all();
    }
}

impl Program {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child =
            command.spawn().unwrap_or_else(|why| panic!("{}: {why}", command.get_program().display()));
        let said = Arc::new(Said::default());
        let (for_stdout, for_stderr) = (Arc::clone(&said), Arc::clone(&said));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::spawn(move || for_stdout.read(stdout));
        std::thread::spawn(move || for_stderr.read(stderr));
        Self { stdin: child.stdin.take(), child, said }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lines that it said so far.
    pub fn lines(&self) -> Vec<String> {
        self.said.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Waits for a line after the first `skip` ones that matches.
    pub fn expect_after(&self, skip: usize, what: &str, matches: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + DEADLINE;
        let mut state = self.said.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = state.0.iter().skip(skip).find(|line| matches(line)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(state.1 < 2 && !left.is_zero(), "no {what}; it said:\n{}", state.0.join("\n"));
            state = self.said.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for a line with this in it.
    pub fn expect(&self, part: &str) -> String {
        self.expect_after(0, &format!("line with {part:?}"), |line| line.contains(part))
    }

    /// Gives it a line, and waits for the next one that it says.
    pub fn answer(&mut self, line: &str) -> String {
        let before = self.lines().len();
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.expect_after(before, &format!("answer to {line:?}"), |_| true)
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.group(), signal).unwrap();
    }

    /// Waits until it ends well, and gives what it said.
    pub fn end(mut self) -> Vec<String> {
        drop(self.stdin.take());
        let until = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end; it said:\n{}", self.lines().join("\n"));
            std::thread::sleep(Duration::from_millis(5));
        };
        assert!(status.success(), "{status}; it said:\n{}", self.lines().join("\n"));
        // Processes that it left behind may hold its pipes: what it said itself is there within moments.
        let state = self.said.state.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self.said.changed.wait_timeout_while(state, LAST_BREATH, |state| state.1 < 2);
        wait.unwrap_or_else(PoisonError::into_inner).0.0.clone()
    }

    fn group(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = self.group();
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        // Its own children keep files of the test open, and write some, until they are gone as well.
        let until = Instant::now() + LAST_BREATH;
        while test_kill_process_group(group) != Err(Errno::SRCH) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
