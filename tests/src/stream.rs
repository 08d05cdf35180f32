//! A whole stream of records, from `start` to `stop`, and what must hold for every one.

use std::collections::BTreeMap;
use std::process::ExitStatus;

use serde_json::Value;

use crate::record::{action, at, is_flow, number, text};

/// Records whose every field is checked against the schema, one of so many in a long stream.
const CHECK_ALL_UP_TO: usize = 2000;
const CHECK_ONE_OF: usize = 50;

/// Everything that one run of the tracer said.
#[derive(Debug)]
pub struct Stream {
    pub records: Vec<Value>,
    /// As they were written; of [`crate::tracer::Tracer::recording`] only.
    pub lines: Vec<String>,
    pub stderr: String,
    pub status: ExitStatus,
}

type Counts = BTreeMap<String, u64>;

impl Stream {
    /// Records of the socket with this cookie.
    #[must_use]
    pub fn flow(&self, cookie: u64) -> Vec<&Value> {
        self.records.iter().filter(|record| is_flow(record, cookie)).collect()
    }

    /// Their actions, in order.
    #[must_use]
    pub fn actions(&self, cookie: u64) -> Vec<&str> {
        self.flow(cookie).into_iter().map(action).collect()
    }

    /// The last record.
    #[must_use]
    pub fn stop(&self) -> &Value {
        self.records.last().expect("a stream has records")
    }

    /// Counts of the `stop` record, e.g. `totals.records` or `lost.output`; empty when absent.
    #[must_use]
    pub fn counts(&self, path: &str) -> Counts {
        let object = at(self.stop(), &format!("tracer.{path}")).as_object().cloned().unwrap_or_default();
        object.into_iter().map(|(name, count)| (name, count.as_u64().expect("a count"))).collect()
    }

    /// Checks what must hold for every stream.
    pub fn check(&self) {
        assert!(self.status.success(), "tracer: {}: {}", self.status, self.stderr);
        assert_eq!(self.records.first().map(action), Some("start"), "the first record");
        assert_eq!(self.records.last().map(action), Some("stop"), "the last record");
        for (index, record) in self.records.iter().enumerate() {
            if index < CHECK_ALL_UP_TO || index % CHECK_ONE_OF == 0 || action(record) == "stop" {
                crate::schema::check(record);
            }
        }
        self.records.iter().for_each(|record| says_only_what_is_known(record, record));
        self.check_numbering();
        self.check_totals();
    }

    /// Numbers count up from 1, and what is missing is exactly what `stop` says the output lost.
    fn check_numbering(&self) {
        let mut missing = 0;
        let mut last = 0;
        for record in &self.records {
            let seq = number(record, "seq").expect("every record has a number");
            assert!(seq > last, "seq {seq} after {last}");
            missing += seq - last - 1;
            last = seq;
        }
        let lost: u64 = self.counts("lost.output").values().sum();
        assert_eq!(missing, lost, "numbers missing in the stream, and records that stop.lost.output counts");
    }

    /// For every kind: what the kernel reported is what was written, left out on purpose, or lost.
    fn check_totals(&self) {
        let [records, kernel, not_shown, in_kernel, in_output] =
            ["totals.records", "totals.kernel_events", "totals.not_shown", "lost.kernel", "lost.output"]
                .map(|path| self.counts(path));
        let of = |counts: &Counts, kind: &str| counts.get(kind).copied().unwrap_or_default();
        for kind in ["connect", "established", "accept", "failed", "close", "udp_open", "udp_close"] {
            let accounted =
                of(&records, kind) + of(&not_shown, kind) + of(&in_kernel, kind) + of(&in_output, kind);
            assert_eq!(of(&kernel, kind), accounted, "{kind} events: {}", self.stop());
        }
        let mut written = Counts::new();
        for record in &self.records {
            let kind = match action(record) {
                "connect" | "accept" if is_udp(record) => "udp_open",
                // One that had to leave the table has no figures; one that had to leave the map has.
                "close" if is_udp(record) && number(record, "source.bytes").is_some() => "udp_end",
                "close" if matches!(text(record, "flow.end"), "evicted" | "unseen") => {
                    text(record, "flow.end")
                }
                kind @ ("connect" | "established" | "accept" | "failed" | "close" | "existing" | "sample"
                | "named" | "dns" | "alert") => kind,
                _ => continue,
            };
            *written.entry(kind.to_owned()).or_default() += 1;
        }
        // One record a flow, whether an event told of its end or the map did.
        let mut records = records;
        let ends: u64 = ["udp_close", "udp_ended"].iter().filter_map(|kind| records.remove(*kind)).sum();
        if ends > 0 {
            records.insert("udp_end".to_owned(), ends);
        }
        assert_eq!(written, records, "records in the stream, and stop.totals.records");
    }
}

fn is_udp(record: &Value) -> bool {
    text(record, "network.transport") == "udp"
}

/// What is unknown is absent: never null, empty or a question mark.
fn says_only_what_is_known(value: &Value, record: &Value) {
    match value {
        Value::Null => panic!("null in {record}"),
        Value::String(text) => assert!(!text.is_empty() && text != "?", "{text:?} in {record}"),
        Value::Array(items) => items.iter().for_each(|item| says_only_what_is_known(item, record)),
        Value::Object(fields) => fields.values().for_each(|field| says_only_what_is_known(field, record)),
        Value::Bool(_) | Value::Number(_) => {}
    }
}
