//! Black-box tests of the commands that need no privileges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod judging;
mod replay;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tracer_tests::record::{at, text};
use tracer_tests::temp::{TempDir, fixture};
use tracer_tests::{programs, schema};

/// Runs the tracer to its end.
fn tracer<S: AsRef<OsStr>>(arguments: &[S]) -> Output {
    Command::new(programs::tracer()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Standard output of a run that must end well.
fn said<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let output = tracer(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Exit code and standard error of a run that must fail and print nothing on standard output.
fn refused<S: AsRef<OsStr>>(arguments: &[S]) -> (Option<i32>, String) {
    let output = tracer(arguments);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = said(&["--help"]);
    for word in
        ["run", "snapshot", "doctor", "apps", "geo", "schema", "completions", "--home", "--geo", "Exit codes"]
    {
        assert!(help.contains(word), "{word} is not in:\n{help}");
    }
    for command in ["run", "snapshot", "doctor", "apps", "geo", "schema", "completions"] {
        assert!(said(&[command, "--help"]).contains("Usage:"), "{command}");
    }
}

#[test]
fn version_is_a_name_and_a_number() {
    let version = said(&["--version"]);
    let (name, number) = version.trim().split_once(' ').unwrap();
    assert_eq!(name, "tracer");
    assert!(number.split('.').all(|part| part.parse::<u32>().is_ok()), "{number}");
}

#[test]
fn the_schema_is_a_json_schema_and_tells_records_from_others() {
    let printed = schema::printed();
    assert!(jsonschema::meta::is_valid(&printed), "against its meta-schema");
    let record = json!({"schema": "tracer/1.0", "seq": 1, "@timestamp": "2026-11-22T15:00:00.123456789Z",
        "event": {"kind": "state", "action": "start"}});
    let validator = schema::strict(printed);
    assert!(validator.is_valid(&record));
    let mut without_number = record.clone();
    without_number.as_object_mut().unwrap().remove("seq");
    assert!(!validator.is_valid(&without_number));
    let mut with_more = record;
    with_more["surprise"] = json!(1);
    assert!(!validator.is_valid(&with_more), "the strict form of the tests refuses unknown fields");
}

#[test]
fn geo_answers_one_line_for_each_address_in_order() {
    let answers = json_lines(&said(&[
        "geo",
        "193.0.6.139",
        "10.0.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "::1",
        "fe80::1",
        "224.0.0.1",
        "203.0.113.7",
        "::ffff:193.0.6.139",
        "64:ff9b::193.0.6.139",
        "1.1.1.1",
    ]));
    let scopes: Vec<_> = answers.iter().map(|answer| text(answer, "scope")).collect();
    let expected = [
        "global",
        "private",
        "loopback",
        "cgnat",
        "loopback",
        "link_local",
        "multicast",
        "documentation",
        "global",
        "global",
        "global",
    ];
    assert_eq!(scopes, expected);
    for index in [0, 8, 9] {
        assert_eq!(text(&answers[index], "geo.country_iso_code"), "NL", "{}", answers[index]);
        assert_eq!(at(&answers[index], "as.number"), &json!(3333));
    }
    assert_eq!(text(&answers[8], "ip"), "193.0.6.139", "v4-mapped is written as IPv4");
    assert_eq!(text(&answers[9], "nat64"), "193.0.6.139");
    assert_eq!((at(&answers[10], "anycast"), at(&answers[10], "geo")), (&json!(true), &Value::Null));
}

#[test]
fn geo_reads_a_database_of_the_user() {
    let files = TempDir::new();
    let path = files.write("mine.mmdb", fixture::GEO);
    let arguments = ["geo".as_ref(), "--geo".as_ref(), path.as_os_str(), "203.0.113.7".as_ref()];
    let answers = json_lines(&said(&arguments));
    assert_eq!(text(&answers[0], "geo.country_iso_code"), "CN");
    assert_eq!(at(&answers[0], "as.number"), &json!(38365));
}

#[test]
fn a_bad_database_is_refused_with_file_and_reason() {
    let files = TempDir::new();
    for content in [fixture::BAD_GEO, b"", b"no database at all", &fixture::GEO[..fixture::GEO.len() / 2]] {
        let path = files.write("bad.mmdb", content);
        let arguments = ["geo".as_ref(), "--geo".as_ref(), path.as_os_str(), "8.8.8.8".as_ref()];
        let (code, errors) = refused(&arguments);
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(path.to_str().unwrap()), "{errors}");
    }
    let (code, errors) = refused(&["geo", "--geo", "/nowhere/at/all.mmdb", "8.8.8.8"]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("/nowhere/at/all.mmdb"), "{errors}");
}

#[test]
fn apps_prints_the_packages_of_each_release() {
    for (list, xml, package) in [
        (fixture::PACKAGES_LIST_9, fixture::PACKAGES_XML_9, "com.android.phone"),
        (fixture::PACKAGES_LIST_15, fixture::PACKAGES_XML_15, "com.example.messenger"),
    ] {
        let root = TempDir::new();
        root.write("data/system/packages.list", list);
        root.write("data/system/packages.xml", xml);
        let arguments = |more: &[&'static str]| -> Vec<std::ffi::OsString> {
            let first = ["apps".into(), "--android-root".into(), root.path().into()];
            first.into_iter().chain(more.iter().map(std::convert::Into::into)).collect()
        };
        assert!(said(&arguments(&[])).contains(package));
        let apps = json_lines(&said(&arguments(&["--json"])));
        let names = |app: &Value| at(app, "package").as_array().cloned().unwrap_or_default();
        assert!(apps.iter().any(|app| names(app).contains(&json!(package))), "{apps:?}");
        let mut uids: Vec<u64> = apps.iter().map(|app| at(app, "uid").as_u64().unwrap()).collect();
        uids.dedup();
        assert_eq!(uids.len(), apps.len(), "one line for each uid");
    }
}

#[test]
fn apps_of_a_hostile_list_warns_and_prints_nothing_that_moves_a_cursor() {
    let root = TempDir::new();
    root.write(
        "data/system/packages.list",
        b"com.a\x1b[2J 10001 0 /d default none\nrubbish\ncom.b 10002 0 /d default none\n",
    );
    let output = tracer(&["apps".as_ref(), "--android-root".as_ref(), root.path().as_os_str()]);
    assert!(output.status.success());
    for bytes in [&output.stdout, &output.stderr] {
        assert!(!bytes.contains(&0x1b), "{}", String::from_utf8_lossy(bytes));
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("com.b"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("packages.list"));
}

#[test]
fn doctor_prints_one_json_object_whether_or_not_it_works_here() {
    let output = tracer(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let works = at(&report, "works").as_bool().unwrap();
    assert_eq!(output.status.code(), Some(if works { 0 } else { 3 }));
    let names: Vec<_> = at(&report, "checks").as_array().unwrap().iter().map(|c| text(c, "name")).collect();
    for name in ["kernel", "btf", "cgroup2", "capabilities", "memlock", "tracefs", "kprobes", "programs"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let text = String::from_utf8(tracer(&["doctor"]).stdout).unwrap();
    assert!(names.iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn completions_are_made_for_the_common_shells() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(said(&["completions", shell]).contains("tracer"), "{shell}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    for (arguments, word) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["--duration", "soon"], "soon"),
        (&["--home", "Atlantis"], "Atlantis"),
        (&["--home", "XX"], "XX"),
        (&["--max-flows", "0"], "--max-flows"),
        (&["--ring-size", "1"], "--ring-size"),
        (&["--uid", "-1"], "-1"),
        (&["--events", "birth"], "birth"),
        (&["--format", "xml"], "xml"),
        (&["geo"], "IP"),
        (&["geo", "example.org"], "example.org"),
        (&["geo", "300.1.1.1"], "300.1.1.1"),
        (&["completions", "cobol"], "cobol"),
    ] {
        let (code, errors) = refused(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(word), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_reader_that_stops_after_one_line_is_no_error() {
    let root = TempDir::new();
    let list: String = (0..30_000)
        .map(|n| format!("com.example.app{n} {} 0 /d default none\n", 10_000 + n % 10_000))
        .collect();
    root.write("data/system/packages.list", list.as_bytes());
    let addresses: Vec<String> = (0..2000).map(|n| format!("193.0.{}.{}", n / 250, n % 250 + 1)).collect();
    let mut geo = vec!["geo".to_owned()];
    geo.extend(addresses);
    let apps = vec!["apps".to_owned(), "--android-root".to_owned(), root.path().to_str().unwrap().to_owned()];
    for arguments in [geo, apps, vec!["schema".to_owned()]] {
        let mut child = Command::new(programs::tracer())
            .args(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(child.wait().unwrap().success(), "{}: {errors}", arguments[0]);
        assert!(!errors.contains("pipe"), "{errors}");
    }
}
