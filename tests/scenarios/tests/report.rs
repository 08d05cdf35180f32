//! What a person must be able to read in the report of the story, made by the program itself.

use std::path::Path;
use std::process::Command;

use tracer_tests::programs;
use tracer_tests_scenarios::xperia::{REPORTED, Variant};

use crate::report_of::{capture, report_of};

/// What a person sees of a page: without its style, its script and its marks.
fn seen(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
    let mut text = String::new();
    for piece in body.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, after)| after));
        text.push(' ');
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("&#39;", "'")
}

/// Which app, which service, whose, where, since when, how often, how much, why, and what would make it expected.
const ANSWERS: [&str; 14] = [
    "com.sonymobile.mx.android keeps a connection to Baidu Push in China",
    "came with the system, cannot be removed",
    "Medium",
    "22 Nov 2026, 06:00:18",
    "On a ladder from 3 min to 15 min",
    "4 connections, 1 failed, 1 reset",
    "5.3 kB",
    "a push service for devices in CN; home is SE",
    "its maker says that this build uses Baidu Push everywhere",
    "Baidu, Inc.",
    "sa3.tuisong.baidu.com:5287",
    "203.0.113.7",
    "baidu/pushservice",
    "tracer ack preinstalled-app/",
];

#[test]
fn the_report_of_the_story_answers_what_a_person_asks() {
    let page = report_of(&capture(REPORTED), &[]);
    let seen = seen(&page);
    for answer in ANSWERS {
        assert!(seen.contains(answer), "{answer} is not in {seen}");
    }
    assert_eq!(page.matches("<article").count(), 1, "four rules, one story");
    for word in ["spyware", "malicious", "suspicious", "attack"] {
        assert!(!seen.contains(word), "{word}");
    }
    assert!(seen.contains("no loss was told or seen"));
    assert!(page.len() < 200_000, "{} bytes", page.len());
}

#[test]
fn the_ladder_the_reset_and_the_failed_retry_are_drawn() {
    let page = report_of(&capture(REPORTED), &[]);
    let article = page.split_once("<article").unwrap().1.split_once("</article>").unwrap().0;
    assert!(article.matches("class=\"beat\"").count() >= 50, "a tick for each beat");
    assert!(article.matches("class=\"step\"").count() >= 45, "a step for each time between beats");
    assert_eq!(article.matches("class=\"reset\"").count(), 1);
    assert_eq!(article.matches("class=\"failed\"").count(), 1);
    assert!(article.contains(">15 min</text>") && article.contains(">3 min</text>"));
    assert!(article.contains("failed: no way there"));
}

#[test]
fn markdown_has_the_same_answers() {
    let text = report_of(&capture(REPORTED), &["--format", "markdown", "--title", "A phone | and more"]);
    assert!(text.starts_with("# A phone \\| and more\n"), "{text}");
    for answer in ANSWERS {
        let answer = tracer::report::markdown::text(answer);
        assert!(text.contains(&answer), "{answer} is not in {text}");
    }
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let page = report_of(&capture(REPORTED), &[]);
    assert!(page.contains("default-src 'none'"));
    for attribute in
        ["src=", "srcset=", "@import", "url(", "action=", "<link", "<iframe", "<img", "xlink:href"]
    {
        assert!(!page.contains(attribute), "{attribute}");
    }
    for before in page
        .split("http")
        .map(|part| part.chars().rev().take(9).collect::<String>())
        .take(page.matches("http").count())
    {
        let before: String = before.chars().rev().collect();
        assert!(before == "<a href=\"" || before.ends_with("meta "), "{before}http…");
    }
}

#[test]
fn a_late_start_no_names_and_home_in_china_are_told_as_they_are() {
    let late = seen(&report_of(&capture(Variant { start: 3_600_000, ..REPORTED }), &[]));
    assert!(late.contains("Before 22 Nov 2026, 07:00:00"), "{late}");
    let nameless = seen(&report_of(&capture(Variant { has_names: false, ..REPORTED }), &[]));
    assert!(nameless.contains("recognised by its port and network"), "{nameless}");
    let at_home = seen(&report_of(&capture(Variant { home: "CN", ..REPORTED }), &[]));
    assert!(!at_home.contains("keeps a connection to Baidu Push"), "{at_home}");
    // Other expectations than those of the recording.
    let other_home = seen(&report_of(&capture(REPORTED), &["--home", "CN,US,SE"]));
    assert!(other_home.contains("Nothing unexpected was noticed."), "{other_home}");
}

#[test]
fn a_capture_with_lines_missing_says_so_first_and_the_story_stands() {
    let capture = capture(REPORTED);
    let mut kept: Vec<&str> =
        capture.lines().enumerate().filter(|(at, _)| at % 20 != 15).map(|(_, line)| line).collect();
    let missing = capture.lines().count() - kept.len();
    kept.pop();
    kept.push("this is no record");
    let page = report_of(&kept.join("\n"), &[]);
    let text = seen(&page);
    let loss = text.find("Records that are missing in the capture").expect(&text);
    assert!(text.contains("Lines of the capture that are no records: 1"), "{text}");
    assert!(text.contains("ends without its last record"), "{text}");
    assert!(text.contains(&format!("as gaps in their numbers show: {missing}")), "{text}");
    assert!(loss < text.find("keeps a connection to Baidu Push").unwrap(), "loss stands first");
    assert!(page.contains("class=\"gap\""));
}

#[test]
fn names_that_bite_are_text() {
    let nasty = r#"<script>alert('x')</script>\"><img src=x onerror=y>"#;
    let capture = capture(REPORTED)
        .replace("com.example.weather", nasty)
        .replace("forecast.weather.example", "a.b<svg onload=z>.example");
    let page = report_of(&capture, &[]);
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(!page.contains("<img") && !page.contains("<svg onload"));
    assert!(page.contains("&#60;script&#62;alert(&#39;x&#39;)"));
    let text = report_of(&capture, &["--format", "markdown"]);
    assert!(!text.contains("<script") && !text.contains("<img") && !text.contains("<svg"));
}

#[test]
fn what_cannot_be_read_is_refused_with_its_name() {
    let refused = |path: &Path| {
        let output = Command::new(programs::tracer()).arg("report").arg(path).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(output.stdout, b"");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(Path::new("/nonexistent/capture.jsonl")).contains("/nonexistent/capture.jsonl"));
}
