//! Differences between captures that are made here, line by line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::enrich::geo::Geo;
use crate::judge::{Judge, QUIET};
use crate::replay::{Given, Replay, Wanted};

/// One connection: package, host, bytes up and down.
type Connection<'a> = (&'a str, &'a str, u64, u64);

/// A capture of so many minutes with these connections.
fn capture(home: &str, minutes: u64, connections: &[Connection<'_>]) -> Replay {
    let judge = Judge::new(Expectations::built_in(), Duration::ZERO, QUIET);
    let geo = Geo::load(&[], Timestamp(0)).unwrap().0;
    let mut replay = Replay::new(judge, geo, Given::default(), Wanted::default());
    replay.networks = Some(BTreeMap::new());
    let mut take = |seq: u64, minute: u64, more: Value| {
        let mut line = json!({"schema": "tracer/1.0", "seq": seq,
            "@timestamp": format!("2026-11-22T{:02}:{:02}:00.000000000Z", minute / 60, minute % 60)});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        replay.take(line.to_string().as_bytes()).unwrap();
    };
    let about = |action: &str| json!({"kind": "state", "action": action});
    take(1, 0, json!({"event": about("start"), "tracer": {"config": {"home": [home]}}}));
    for (number, (package, host, up, down)) in (2..).zip(connections) {
        take(
            number,
            1,
            json!({"event": {"kind": "event", "action": "close"}, "flow": {"id": format!("00000001-{number:x}"), "end": "closed"},
                "network": {"transport": "tcp", "direction": "egress"},
                "source": {"ip": "10.0.0.2", "port": 40000, "scope": "private", "bytes": up},
                // Of the RIPE NCC, in the Netherlands.
                "destination": {"ip": "193.0.6.139", "port": 443, "scope": "global", "domain": host,
                    "name": {"source": "sni"}, "bytes": down},
                "user": {"id": "10123"}, "app": {"package": [package], "android_user": 0}}),
        );
    }
    take(2 + connections.len() as u64, minutes, json!({"event": about("stop"), "tracer": {}}));
    replay.end_of_file();
    replay
}

fn side(replay: &Replay) -> Side<'_> {
    Side {
        book: &replay.judge.book,
        findings: &replay.judge.findings,
        expectations: &replay.judge.expectations,
        networks: replay.networks.as_ref().unwrap(),
        watched: replay.watched,
    }
}

/// The differences as JSON.
fn between(before: &Replay, after: &Replay) -> Vec<Value> {
    let all = differences(&side(before), &side(after));
    all.iter().map(|difference| serde_json::to_value(difference).unwrap()).collect()
}

fn kinds(differences: &[Value]) -> Vec<(&str, &str)> {
    differences
        .iter()
        .map(|value| (value["kind"].as_str().unwrap(), value["change"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_capture_and_itself_have_no_differences() {
    let one = capture("NL", 60, &[("a.b", "www.example.org", 10, 20)]);
    assert_eq!(one.watched, Duration::from_secs(3600));
    assert_eq!(between(&one, &one), [] as [Value; 0]);
}

#[test]
fn another_app_is_new_and_whom_it_talks_to_is_told_once() {
    let one = capture("NL", 60, &[("a.b", "www.example.org", 10, 20)]);
    let other = capture(
        "NL",
        60,
        &[
            ("a.b", "api.example.org", 10, 20),
            ("c.d", "www.example.org", 5, 6),
            ("c.d", "x.example.net", 1, 2),
        ],
    );
    let differences = between(&one, &other);
    assert_eq!(
        differences,
        [
            json!({"kind": "app", "app": "c.d", "change": "new", "connections": 2, "bytes_sent": 6, "bytes_received": 8}),
            json!({"kind": "country", "country_iso_code": "NL", "country_name": "Netherlands",
                "change": "changed", "apps_new": ["c.d"]}),
            json!({"kind": "destination", "registered_domain": "example.net", "change": "new", "apps": ["c.d"],
                "connections": 1, "bytes_sent": 1, "bytes_received": 2}),
            json!({"kind": "destination", "registered_domain": "example.org", "change": "changed", "apps_new": ["c.d"]}),
        ]
    );
    let back = between(&other, &one);
    assert_eq!(
        kinds(&back),
        [("app", "gone"), ("country", "changed"), ("destination", "gone"), ("destination", "changed")]
    );
}

#[test]
fn another_home_makes_other_findings_and_nothing_else() {
    let connection = [("a.b", "www.example.org", 10, 20)];
    let differences = between(&capture("NL", 60, &connection), &capture("SE", 60, &connection));
    assert_eq!(kinds(&differences), [("finding", "new")]);
    assert_eq!(differences[0]["rule"], "outside-home");
    assert_eq!(differences[0]["app"], "a.b");
}

#[test]
fn how_much_is_told_when_it_is_much_more_in_the_same_time() {
    let one = capture("NL", 60, &[("a.b", "www.example.org", 1_000_000, 20)]);
    let much = capture("NL", 60, &[("a.b", "www.example.org", 5_000_000, 20)]);
    let differences = between(&one, &much);
    assert_eq!(kinds(&differences), [("volume", "changed")]);
    assert_eq!(differences[0]["more"], json!(["bytes_sent"]));
    assert_eq!(differences[0]["before"]["watched_s"], 3600);
    assert_eq!(differences[0]["after"]["bytes_sent"], 5_000_000);
    let longer = capture("NL", 300, &[("a.b", "www.example.org", 5_000_000, 20)]);
    assert_eq!(between(&one, &longer), [] as [Value; 0]);
}

#[test]
fn nothing_that_acts_on_a_terminal_gets_into_the_text() {
    let one = capture("NL", 60, &[]);
    let other = capture("SE", 60, &[("a\u{1b}[2J\u{202e}.b", "\u{9b}31m.example", 1, 2)]);
    let all = differences(&side(&one), &side(&other));
    let mut out = Vec::new();
    text::write(&all, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r"a\x1b[2J\u{202e}.b"), "{text}");
    let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(is_bad), "{text:?}");
    let json = serde_json::to_string(&all).unwrap();
    assert!(!json.contains(is_bad), "{json:?}");
}
