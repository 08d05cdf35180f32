//! Replays the capture of a live stream, and compares what is said then with what was said live.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::record::{action, at};
use crate::stream::Stream;
use crate::temp::TempDir;

/// Replays a stream twice by the program under test: each line must be the same as live, but for what records about the stream
/// itself say of the program and its data. Gives back what the replay said.
///
/// # Panics
/// When anything differs.
pub fn twice<S: AsRef<OsStr>>(stream: &Stream, arguments: &[S]) -> Vec<String> {
    assert_eq!(stream.lines.len(), stream.records.len(), "the lines were recorded");
    let files = TempDir::new();
    let capture = files.write("capture.jsonl", (stream.lines.join("\n") + "\n").as_bytes());
    let once = || {
        let mut command = Command::new(crate::programs::tracer());
        command.arg("replay").args(arguments).arg(&capture).stdin(Stdio::null());
        let output = command.output().expect("the tracer can be started");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {errors}", output.status);
        let text = String::from_utf8(output.stdout).expect("records are UTF-8");
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let replayed = once();
    assert_eq!(replayed, once(), "a replay and another one");
    for (live, replayed) in stream.lines.iter().zip(&replayed) {
        compare(live, replayed);
    }
    assert_eq!(stream.lines.len(), replayed.len(), "lines live and in replay");
    replayed
}

fn compare(live: &str, replayed: &str) {
    let [one, other] = [live, replayed].map(|line| serde_json::from_str::<Value>(line).expect("a record"));
    if at(&one, "tracer").is_null() {
        assert_eq!(live, replayed, "live and in replay");
        return;
    }
    // About the stream itself: members come in another order, and the data are today's.
    for field in ["seq", "@timestamp", "tracer.config", "tracer.findings", "tracer.lost", "tracer.totals"] {
        assert_eq!(at(&one, field), at(&other, field), "{field} of {} live and in replay", action(&one));
    }
}
