//! What recorded streams say about themselves: what they were made with, and what they lost. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::material::{Gap, GeoSource, Loss, Period, SourceFile};
use crate::clock::Timestamp;
use crate::record::Action;
use crate::text::visible;

/// Streams that are told one by one.
const MOST_STREAMS: usize = 100;
/// Gaps that are told one by one.
const MOST_GAPS: usize = 200;

/// Counts by place and kind, as `tracer.lost` has them.
type Lost = BTreeMap<(String, String), u64>;

/// All streams so far.
#[derive(Debug, Default)]
pub struct Streams {
    pub files: Vec<SourceFile>,
    pub gaps: Vec<Gap>,
    pub is_redacted: bool,
    /// Streams and gaps that are not in the lists.
    pub more_streams: u64,
    pub more_gaps: u64,
    /// Of streams that are over.
    lost: Lost,
    /// Of the stream that is read: by its `loss` records, and by the totals that it gave last.
    told: Lost,
    totals: Lost,
    missing: u64,
    broken: u64,
    evicted: u64,
    not_shown: u64,
    /// Of the stream that is read.
    evicted_now: u64,
    not_shown_now: u64,
    file: String,
    is_open: bool,
}

impl Streams {
    /// What follows is in this file.
    pub fn begin_file(&mut self, name: &str) {
        self.end_stream();
        self.file = visible(name).into_owned();
    }

    /// What was read of a file; `broken`: lines of it that are no records.
    pub fn end_file(&mut self, broken: u64) {
        self.broken += broken;
        self.end_stream();
    }

    /// A record of the stream that is read.
    pub fn record(&mut self, at: Timestamp) {
        if !self.is_open {
            self.is_open = true;
            if self.files.len() >= MOST_STREAMS {
                self.more_streams += 1;
                return;
            }
            self.files.push(SourceFile { name: self.file.clone(), ..SourceFile::default() });
        }
        if self.more_streams == 0
            && let Some(stream) = self.files.last_mut()
        {
            stream.period.get_or_insert(Period::at(at)).reach(at);
        }
    }

    /// A record about the stream itself.
    pub fn about(&mut self, action: Action, at: Timestamp, tracer: &Value) {
        if action == Action::Start {
            self.end_stream();
        }
        self.record(at);
        match action {
            Action::Start => self.start(tracer),
            Action::Loss => {
                counts(tracer).for_each(|(kind, count)| *self.told.entry(kind).or_default() += count)
            }
            Action::Stats | Action::Stop => {
                self.totals.extend(counts(tracer));
                let evicted = tracer.pointer("/flows/evicted").and_then(Value::as_u64);
                self.evicted_now = evicted.unwrap_or(self.evicted_now);
                if let Some(kinds) = tracer.pointer("/totals/not_shown").and_then(Value::as_object) {
                    self.not_shown_now = kinds.values().filter_map(Value::as_u64).sum();
                }
            }
            _ => {}
        }
        if action == Action::Stop {
            if let Some(stream) = self.files.last_mut().filter(|_| self.more_streams == 0) {
                stream.has_stop = true;
            }
            self.end_stream();
        }
    }

    /// Records are missing between two times.
    pub fn missing(&mut self, from: Timestamp, to: Timestamp, records: u64) {
        self.missing += records;
        if self.gaps.len() < MOST_GAPS {
            self.gaps.push(Gap { period: Period { from: from.min(to), to: to.max(from) }, records });
        } else {
            self.more_gaps += 1;
        }
    }

    /// What was lost, for a person.
    #[must_use]
    pub fn losses(&self) -> Vec<Loss> {
        let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
        for ((place, kind), count) in &self.lost {
            *sums.entry(what_was_lost(place, kind)).or_default() += count;
        }
        *sums.entry(what_was_lost("capture", "record")).or_default() += self.missing;
        *sums.entry(what_was_lost("capture", "line")).or_default() += self.broken;
        *sums.entry("connections that had to make room, and were watched no more").or_default() +=
            self.evicted;
        let told = sums.into_iter().filter(|(_, count)| *count > 0);
        told.map(|(what, count)| Loss { what: what.to_owned(), count }).collect()
    }

    /// Events that the user of the tracer did not want to see.
    #[must_use]
    pub fn not_shown(&self) -> u64 {
        self.not_shown
    }

    fn start(&mut self, tracer: &Value) {
        let text = |pointer: &str| {
            tracer.pointer(pointer).and_then(Value::as_str).map(|text| visible(text).into_owned())
        };
        self.is_redacted |= tracer.pointer("/config/redacted").and_then(Value::as_bool).unwrap_or_default();
        let Some(stream) = self.files.last_mut().filter(|_| self.more_streams == 0) else { return };
        stream.has_start = true;
        stream.version = text("/version");
        stream.kernel = text("/host/kernel");
        let databases = tracer.get("geo").and_then(Value::as_array);
        stream.geo = databases.into_iter().flatten().filter_map(geo_source).collect();
    }

    fn end_stream(&mut self) {
        self.is_open = false;
        // The totals count what `loss` records told as well; a stream that was cut has no last totals.
        for (kind, count) in std::mem::take(&mut self.told) {
            let total = self.totals.entry(kind).or_default();
            *total = count.max(*total);
        }
        for (kind, count) in std::mem::take(&mut self.totals) {
            *self.lost.entry(kind).or_default() += count;
        }
        self.evicted += std::mem::take(&mut self.evicted_now);
        self.not_shown += std::mem::take(&mut self.not_shown_now);
    }
}

/// Figures of `tracer.lost`.
fn counts(tracer: &Value) -> impl Iterator<Item = ((String, String), u64)> {
    let places = tracer.get("lost").and_then(Value::as_object).into_iter().flatten();
    places.flat_map(|(place, kinds)| {
        let kinds = kinds.as_object().into_iter().flatten();
        kinds.filter_map(|(kind, count)| Some(((place.clone(), kind.clone()), count.as_u64()?)))
    })
}

fn what_was_lost(place: &str, kind: &str) -> &'static str {
    match (place, kind) {
        ("kernel", "datagram") => "datagrams that found no room in the kernel's map of UDP flows",
        ("kernel", _) => "events that found the kernel's buffer full",
        ("missed", _) => "runs of tracer's programs that the kernel left out",
        ("decode", _) => "events that could not be read",
        ("output", _) => "records that a slow reader of the stream left no room for",
        ("capture", "record") => "records that are missing in the capture, as gaps in their numbers show",
        ("capture", _) => "lines of the capture that are no records",
        _ => "things of another kind",
    }
}

/// A geo database as records name it: of a path the last part, the others are nobody's business.
fn geo_source(database: &Value) -> Option<GeoSource> {
    let text = |name: &str| database.get(name).and_then(Value::as_str).map(|text| visible(text).into_owned());
    Some(GeoSource {
        name: file_name(&text("name")?),
        kind: text("type").unwrap_or_default(),
        built: text("built").and_then(|built| built.parse().ok()),
    })
}

/// The last part of a path.
#[must_use]
pub fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn losses_are_counted_once_whether_the_stream_was_cut_or_told_totals() {
        let mut streams = Streams::default();
        streams.begin_file("a.jsonl");
        let at = Timestamp;
        streams.about(
            Action::Start,
            at(1),
            &json!({"geo": [{"name": "/x/y.mmdb", "type": "t"}], "version": "0.1.0"}),
        );
        streams.about(Action::Loss, at(2), &json!({"lost": {"kernel": {"connect": 3}}}));
        streams.about(
            Action::Stop,
            at(3),
            &json!({"lost": {"kernel": {"connect": 5}}, "totals": {"not_shown": {"close": 7}}}),
        );
        streams.about(Action::Start, at(4), &json!({"config": {"redacted": true}}));
        streams.about(
            Action::Loss,
            at(5),
            &json!({"lost": {"kernel": {"connect": 10}, "decode": {"short": 1}}}),
        );
        streams.missing(at(5), at(9), 4);
        streams.end_file(2);
        let losses: Vec<(String, u64)> =
            streams.losses().into_iter().map(|loss| (loss.what, loss.count)).collect();
        let count = |part: &str| losses.iter().find(|(what, _)| what.contains(part)).map(|(_, count)| *count);
        assert_eq!(count("buffer full"), Some(15));
        assert_eq!(count("could not be read"), Some(1));
        assert_eq!((count("missing in the capture"), count("no records")), (Some(4), Some(2)));
        assert_eq!(streams.not_shown(), 7);
        assert!(streams.is_redacted);
        assert_eq!(streams.files.len(), 2);
        assert_eq!(streams.files[0].geo[0].name, "y.mmdb");
        assert!(streams.files[0].has_stop && !streams.files[1].has_stop);
    }
}
