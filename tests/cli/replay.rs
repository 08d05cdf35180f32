//! `tracer replay`, and what differs between two captures, on captures of a story (tests/scenarios/xperia-2014).

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tracer_tests::programs;
use tracer_tests::record::{action, at, text};
use tracer_tests::temp::{TempDir, fixture};

use super::{json_lines, refused, said, tracer};

/// A place for captures, and what their addresses are.
struct Captures {
    files: TempDir,
    geo: PathBuf,
}

impl Captures {
    fn new() -> Self {
        let files = TempDir::new();
        let geo = files.write("xperia.mmdb", fixture::XPERIA_GEO);
        Self { files, geo }
    }

    /// A capture of a telling of the story.
    fn story(&self, name: &str, words: &str) -> PathBuf {
        let output = Command::new(programs::story()).args(words.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.files.write(name, &output.stdout)
    }

    /// The same with another text in it.
    fn changed(&self, name: &str, capture: &Path, change: impl Fn(&str) -> String) -> PathBuf {
        self.files.write(name, change(&std::fs::read_to_string(capture).unwrap()).as_bytes())
    }

    fn arguments(&self, before: &[&str], more: &[&Path], after: &[&str]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> =
            vec!["replay".into(), "--geo".into(), self.geo.as_os_str().to_owned()];
        arguments.extend(before.iter().map(Into::into));
        arguments.extend(more.iter().map(|path| path.as_os_str().to_owned()));
        arguments.extend(after.iter().map(Into::into));
        arguments
    }

    fn differences(&self, before: &Path, after: &Path, more: &[&str]) -> Vec<Value> {
        let mut more = more.to_vec();
        more.push("--json");
        json_lines(&said(&self.arguments(&["--diff"], &[before, after], &more)))
    }
}

/// Whether a line is of this time.
fn is_at(line: &str, time: &str) -> bool {
    line.contains(&format!("\"@timestamp\":\"2026-11-22{time}"))
}

/// Kind, change and what it is about, each in a word.
fn brief(differences: &[Value]) -> Vec<String> {
    let about = |difference: &Value| -> String {
        ["rule", "registered_domain", "service.id", "country_iso_code", "app"]
            .iter()
            .map(|field| text(difference, field).to_owned())
            .find(|word| !word.is_empty())
            .unwrap_or_else(|| at(difference, "as_number").to_string())
    };
    let word = |difference: &Value| {
        format!("{} {} {}", text(difference, "kind"), text(difference, "change"), about(difference))
    };
    differences.iter().map(word).collect()
}

const READER: &str = "com.example.reader";

#[test]
fn a_capture_in_replay_says_again_what_was_said_when_it_was_made() {
    let captures = Captures::new();
    let capture = captures.story("capture.jsonl", "");
    let replayed = said(&captures.arguments(&[], &[&capture], &[]));
    let live = std::fs::read_to_string(&capture).unwrap();
    assert_eq!(live.lines().count(), replayed.lines().count());
    for (one, other) in live.lines().zip(replayed.lines()).filter(|(one, _)| !one.contains("\"tracer\":{")) {
        assert_eq!(one, other);
    }
    let alerts = json_lines(&said(&captures.arguments(&[], &[&capture], &["--events", "alert"])));
    assert!(!alerts.is_empty() && alerts.iter().all(|record| action(record) == "alert"));
    for record in json_lines(&replayed) {
        tracer_tests::schema::check(&record);
    }
}

#[test]
fn time_passes_for_judging_as_fast_as_it_is_told_and_says_so_for_the_next_replay() {
    let captures = Captures::new();
    // The first twenty minutes: no connection is open for an hour.
    let whole = captures.story("whole.jsonl", "");
    let short = captures.changed("short.jsonl", &whole, |lines| {
        let early = |line: &&str| ["T06:0", "T06:1"].iter().any(|time| is_at(line, time));
        lines.lines().filter(early).map(|line| format!("{line}\n")).collect()
    });
    let rules = |lines: &str| -> Vec<String> {
        let alerts = json_lines(lines).into_iter().filter(|record| action(record) == "alert");
        let mut rules: Vec<String> = alerts.map(|record| text(&record, "rule.id").to_owned()).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    };
    assert_eq!(rules(&said(&captures.arguments(&[], &[&short], &[]))), ["outside-home", "preinstalled-app"]);
    let faster = said(&captures.arguments(&["--time-scale", "10"], &[&short], &[]));
    assert!(rules(&faster).contains(&"persistent-channel".to_owned()), "{:?}", rules(&faster));
    let start = &json_lines(&faster)[0];
    assert_eq!(at(start, "tracer.config.time_scale"), &json!(10));
    let again = captures.files.write("faster.jsonl", faster.as_bytes());
    assert_eq!(said(&captures.arguments(&[], &[&again], &[])), faster);
    let (code, _) = refused(&captures.arguments(&["--time-scale", "0"], &[&short], &[]));
    assert_eq!(code, Some(2));
}

#[test]
fn streams_in_one_file_are_judged_one_after_the_other_and_what_is_missing_is_told() {
    let captures = Captures::new();
    let one = captures.story("one.jsonl", "");
    let both = captures.changed("both.jsonl", &one, |lines| {
        let lost = lines.lines().enumerate().filter(|(at, _)| *at != 7).map(|(_, line)| format!("{line}\n"));
        format!("{lines}no record\n{}", lost.collect::<String>())
    });
    let records = json_lines(&said(&captures.arguments(&[], &[&both], &[])));
    let of = |wanted: &str| records.iter().filter(|record| action(record) == wanted).collect::<Vec<_>>();
    assert_eq!((of("start").len(), of("stop").len()), (2, 2));
    let lost: Vec<_> =
        of("loss").into_iter().map(|record| at(record, "tracer.lost.capture").clone()).collect();
    assert_eq!(lost, [json!({"line": 1}), json!({"record": 1})]);
    let news: Vec<_> = of("alert").into_iter().filter(|record| text(record, "alert.news") == "new").collect();
    assert_eq!(news.len(), 4, "told once for both");
}

/// A stream that is replayed while it is made: nothing waits for a buffer to be full.
#[test]
fn what_came_before_a_pause_is_written_in_it() {
    let captures = Captures::new();
    let capture = std::fs::read_to_string(captures.story("one.jsonl", "")).unwrap();
    let mut child = Command::new(programs::tracer())
        .args(captures.arguments(&[], &[Path::new("-")], &[]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (told, heard) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).for_each(|line| told.send(line).unwrap());
    });
    for line in capture.lines().take(3) {
        // In two pieces: half a line is none yet.
        let (half, rest) = line.split_at(line.len() / 2);
        input.write_all(half.as_bytes()).unwrap();
        input.write_all(format!("{rest}\n").as_bytes()).unwrap();
        let record = heard.recv_timeout(Duration::from_secs(60)).expect("written before more comes");
        assert!(record.starts_with("{\"schema\""), "{record}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    reader.join().unwrap();
}

#[test]
fn a_capture_and_itself_have_no_differences() {
    let captures = Captures::new();
    let capture = captures.story("capture.jsonl", "");
    assert_eq!(captures.differences(&capture, &capture, &[]), [] as [Value; 0]);
    let text = said(&captures.arguments(&["--diff"], &[&capture, &capture], &[]));
    assert!(text.contains("no differences"), "{text}");
}

#[test]
fn a_second_app_on_a_service_is_told_with_everything_that_it_does() {
    let captures = Captures::new();
    let (before, after) = (captures.story("before.jsonl", ""), captures.story("after.jsonl", "second-app"));
    let differences = captures.differences(&before, &after, &[]);
    assert_eq!(
        brief(&differences),
        [
            "app new com.example.reader",
            "country changed CN",
            "service changed baidu-push",
            "destination changed baidu.com",
            "destination changed 38365",
            "finding new outside-home",
            "finding new regular-cadence",
            "finding new persistent-channel",
            "finding new service-outside-region",
        ]
    );
    assert_eq!(at(&differences[2], "service.owner"), "Baidu");
    assert_eq!(at(&differences[2], "apps_new"), &json!([READER]));
    let back = captures.differences(&after, &before, &[]);
    assert!(brief(&back).contains(&"app gone com.example.reader".to_owned()));

    let text = said(&captures.arguments(&["--diff"], &[&before, &after], &[]));
    for line in
        ["home SE", "new      com.example.reader", "Baidu Push of Baidu (CN): now also com.example.reader"]
    {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
}

#[test]
fn two_regions_differ_in_what_is_noticed_unless_both_are_judged_by_one_home() {
    let captures = Captures::new();
    let (sweden, china) = (captures.story("se.jsonl", ""), captures.story("cn.jsonl", "home=CN"));
    let differences = captures.differences(&sweden, &china, &[]);
    assert_eq!(
        brief(&differences),
        [
            "finding new outside-home",
            "finding gone preinstalled-app",
            "finding gone outside-home",
            "finding gone regular-cadence",
            "finding gone persistent-channel",
        ]
    );
    assert_eq!(captures.differences(&sweden, &china, &["--home", "SE"]), [] as [Value; 0]);
}

#[test]
fn much_more_in_the_same_time_is_told_and_a_longer_capture_is_not() {
    let captures = Captures::new();
    let before = captures.story("before.jsonl", "");
    let much = captures
        .changed("much.jsonl", &before, |lines| lines.replace("\"bytes\":14000,", "\"bytes\":1400000,"));
    let differences = captures.differences(&before, &much, &[]);
    assert_eq!(brief(&differences), ["volume changed weather.example"]);
    assert_eq!(at(&differences[0], "more"), &json!(["bytes_received"]));
    assert_eq!(at(&differences[0], "after.bytes_received"), &json!(9 * 1_400_000));
    let half = captures.changed("half.jsonl", &before, |lines| {
        let early = |line: &&str| ["T06", "T07", "T08", "T09"].iter().any(|hour| is_at(line, hour));
        lines.lines().filter(early).map(|line| format!("{line}\n")).collect()
    });
    assert!(captures.differences(&half, &before, &[]).iter().all(|found| text(found, "kind") != "volume"));
}

#[test]
fn names_from_a_capture_move_no_cursor() {
    let captures = Captures::new();
    let before = captures.story("before.jsonl", "");
    let hostile = captures.changed("hostile.jsonl", &before, |lines| {
        lines
            .replace("com.sonymobile.mx.android", r"a\u001b[2J\u009b1m\u202e")
            .replace("baidu.com", r"x\u0007y.com")
    });
    for more in [&[][..], &["--json"]] {
        let text = said(&captures.arguments(&["--diff"], &[&before, &hostile], more));
        assert!(text.contains("[2J"), "{text}");
        let bad = text.chars().find(|&c| (c.is_control() && c != '\n') || c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
    }
}

#[test]
fn differences_go_to_a_file_and_need_two_captures() {
    let captures = Captures::new();
    let one = captures.story("one.jsonl", "");
    let out = captures.files.path().join("out.txt");
    let output = ["--output", out.to_str().unwrap()];
    assert_eq!(said(&captures.arguments(&["--diff"], &[&one, &one], &output)), "");
    assert!(std::fs::read_to_string(&out).unwrap().contains("no differences"));
    for (arguments, word) in [
        (captures.arguments(&["--diff"], &[&one], &[]), "--diff"),
        (captures.arguments(&["--json"], &[&one], &[]), "--diff"),
        (captures.arguments(&["--diff"], &[&one, &one, &one], &[]), "--diff"),
        (captures.arguments(&["--diff"], &[&one, Path::new("/nowhere/b.jsonl")], &[]), "/nowhere/b.jsonl"),
    ] {
        let (code, errors) = refused(&arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{errors}");
    }
    let empty = captures.files.write("empty.jsonl", b"");
    let output = tracer(&captures.arguments(&["--diff"], &[&one, &empty], &[]));
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no record of a connection"));
}
