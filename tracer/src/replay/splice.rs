//! Recorded lines written again: members that are known better take the place of those that stand there, the others are copied.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Error, Value};

use super::Ends;
use super::line::{self, Judged, Members};
use crate::clock::Timestamp;
use crate::json;
use crate::judge::findings::{Finding, News};
use crate::judge::services::{Found, Service};
use crate::record::{
    ALERT_EVENT, Action, AlertObject, Direction, Endpoint, EventKind, EventObject, Flag, LostObject,
    NameObject, Record, RuleObject, SCHEMA, StreamObject, service_object,
};
use crate::sink::Format;

/// Members of a record that an alert about it does not have, or has in its own form.
const NOT_IN_ALERTS: [&str; 7] = ["flags", "rule", "alert", "tls", "dns", "error", "tracer"];

/// Members of an end that come from judging.
const SAID_OF_ENDS: [&str; 2] = ["service", "lists"];

/// What is copied of a record.
#[derive(Clone, Copy)]
pub enum Copied<'m, 'a> {
    /// Of a line in tracer's own form: what is before the first and behind the last member that is written anew.
    Whole {
        line: &'a str,
        before: &'a str,
        behind: &'m [&'a str],
    },
    Members(&'m Members<'a>),
}

impl<'a> Copied<'_, 'a> {
    /// Its members, one by one.
    ///
    /// # Errors
    /// None, of a line that was read before.
    pub fn members(&self) -> Result<Cow<'_, Members<'a>>, Error> {
        match self {
            Self::Whole { line, .. } => Members::of(line).map(Cow::Owned),
            Self::Members(members) => Ok(Cow::Borrowed(members)),
        }
    }
}

/// Both ends as they are written today.
pub fn endpoints<'a>(
    judged: &'a Judged<'_>,
    ends: &'a Ends,
    service: Option<(&'a Service, Found)>,
    lists: &'a [&'a str],
) -> (Endpoint<'a>, Endpoint<'a>) {
    let mut source = endpoint(&judged.source, &ends.source, ends);
    let mut destination = endpoint(&judged.destination, &ends.destination, ends);
    let is_incoming = judged.network.direction == Some(Direction::Ingress);
    let remote = if is_incoming { &mut source } else { &mut destination };
    remote.service = service.map(|(service, found)| service_object(service, found));
    remote.lists = lists;
    (source, destination)
}

fn endpoint<'a>(
    recorded: &'a line::Endpoint<'_>,
    place: &'a crate::record::PlaceText,
    ends: &'a Ends,
) -> Endpoint<'a> {
    Endpoint {
        domain: recorded.domain.as_deref(),
        registered_domain: recorded.registered_domain.as_deref(),
        name: recorded.name.as_ref().map(|name| NameObject {
            source: name.source,
            age_ms: name.age_ms,
            ambiguous: name.ambiguous,
            candidates: &ends.candidates,
        }),
        bytes: recorded.bytes,
        packets: recorded.packets,
        ..place.endpoint(recorded.port.unwrap_or_default())
    }
}

/// A record that was judged.
pub fn record(
    out: &mut Vec<u8>,
    copied: Copied<'_, '_>,
    seq: u64,
    source: &Endpoint<'_>,
    destination: &Endpoint<'_>,
    flags: &[Flag],
) {
    let members = match copied {
        Copied::Members(members) => members,
        Copied::Whole { before, behind, .. } => {
            let mut object = Object::begin(out);
            object.member("schema", &SCHEMA);
            object.member("seq", &seq);
            object.copy(before);
            object.member("source", source);
            object.member("destination", destination);
            if !flags.is_empty() {
                object.member("flags", &flags);
            }
            object.copy_end(behind);
            return;
        }
    };
    let mut object = Object::begin(out);
    for (name, value) in &members.all {
        match &**name {
            "seq" => object.member("seq", &seq),
            "source" => object.member("source", source),
            "destination" => {
                object.member("destination", destination);
                if !flags.is_empty() {
                    object.member("flags", &flags);
                }
            }
            "flags" => {}
            name => object.text(name, value),
        }
    }
    object.end();
}

/// What was noticed about a record.
#[allow(clippy::too_many_arguments)]
pub fn alert(
    out: &mut Vec<u8>,
    members: &Members<'_>,
    seq: u64,
    source: &Endpoint<'_>,
    destination: &Endpoint<'_>,
    rule: RuleObject<'_>,
    finding: &Finding,
    news: News,
) {
    let mut object = Object::begin(out);
    for (name, value) in &members.all {
        match &**name {
            "seq" => object.member("seq", &seq),
            "event" => object.member("event", &ALERT_EVENT),
            "source" => object.member("source", source),
            "destination" => {
                object.member("destination", destination);
                object.member("rule", &rule);
                object.member("alert", &AlertObject::of(finding, Some(news)));
            }
            name if NOT_IN_ALERTS.contains(&name) => {}
            name => object.text(name, value),
        }
    }
    object.end();
}

/// A record that is not judged, of a line in tracer's own form.
pub fn copy(out: &mut Vec<u8>, seq: u64, before: &str, behind: &[&str]) {
    let mut object = Object::begin(out);
    object.member("schema", &SCHEMA);
    object.member("seq", &seq);
    object.copy(before);
    object.copy_end(behind);
}

/// A record that is not judged.
pub fn unchanged(out: &mut Vec<u8>, members: &Members<'_>, seq: u64) {
    let mut object = Object::begin(out);
    for (name, value) in &members.all {
        match &**name {
            "seq" => object.member("seq", &seq),
            name => object.text(name, value),
        }
    }
    object.end();
}

/// A record about the stream, with something else to say.
pub fn with_tracer(out: &mut Vec<u8>, members: &Members<'_>, seq: u64, tracer: &Value) {
    let mut object = Object::begin(out);
    for (name, value) in &members.all {
        match &**name {
            "seq" => object.member("seq", &seq),
            "tracer" => object.member("tracer", tracer),
            name => object.text(name, value),
        }
    }
    object.end();
}

/// That something is missing in the recorded stream.
pub fn loss(out: &mut Vec<u8>, at: Timestamp, seq: u64, capture: BTreeMap<&'static str, u64>) {
    let lost = LostObject { capture, ..LostObject::default() };
    Format::Jsonl.render(
        &Record {
            schema: SCHEMA,
            seq,
            timestamp: at,
            event: EventObject {
                kind: EventKind::PipelineError,
                category: &[],
                types: &[],
                action: Action::Loss,
                outcome: None,
                duration: None,
            },
            flow: None,
            network: None,
            source: None,
            destination: None,
            flags: &[],
            rule: None,
            alert: None,
            tls: None,
            dns: None,
            error: None,
            tracer: Some(StreamObject { lost: Some(lost), ..StreamObject::default() }),
            who: None,
        },
        out,
    );
}

/// The whole record as a value, without what an earlier judging said of it, as live judging sees it.
pub fn json(members: &Members<'_>) -> Value {
    let member = |(name, value): &(Cow<'_, str>, &str)| {
        let mut value: Value = serde_json::from_str(value).unwrap_or_default();
        match (&**name, value.as_object_mut()) {
            ("source" | "destination", Some(end)) => {
                SAID_OF_ENDS.iter().for_each(|said| _ = end.remove(*said))
            }
            // It has no number yet.
            ("seq", _) => value = 0.into(),
            _ => {}
        }
        (name.to_string(), value)
    };
    let all = members.all.iter().filter(|(name, _)| name != "flags");
    Value::Object(all.map(member).collect())
}

/// A JSON object that is being written, one line.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        out.push(b'{');
        Self { out, start }
    }

    fn name(&mut self, name: &str) {
        if self.out.len() > self.start + 1 {
            self.out.push(b',');
        }
        // Writing to a Vec cannot fail, and no name has a failing serialisation.
        let _ = serde_json::to_writer(&mut *self.out, name);
        self.out.push(b':');
    }

    fn member(&mut self, name: &str, value: &impl Serialize) {
        self.name(name);
        let _ = json::write(value, self.out);
    }

    fn text(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Whole members, with the comma in front.
    fn copy(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Whole members up to the end of the object.
    fn copy_end(self, texts: &[&str]) {
        texts.iter().for_each(|text| self.out.extend_from_slice(text.as_bytes()));
        self.out.push(b'\n');
    }

    fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}
