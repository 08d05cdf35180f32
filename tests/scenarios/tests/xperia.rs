//! What must be said of the story, and what must not, in all its variants: live, and in replay of what was said live.

use std::collections::BTreeSet;

use serde_json::Value;
use tracer_tests_scenarios::story::HOUR;
use tracer_tests_scenarios::xperia::{Keeper, REPORTED, Variant};

/// What a tracer said, live and in replay, which must be the same.
fn told(variant: Variant) -> Vec<Value> {
    let place = variant.place();
    let live = place.live(&variant.events()).unwrap();
    for _ in 0..2 {
        let replayed = place.replay(&live).unwrap();
        for (one, other) in
            live.lines().zip(replayed.lines()).filter(|(one, _)| !one.contains(r#""tracer":"#))
        {
            assert_eq!(one, other);
        }
        assert_eq!(live.lines().count(), replayed.lines().count());
    }
    records(&live)
}

fn records(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn action(record: &Value) -> &str {
    record["event"]["action"].as_str().unwrap()
}

/// Rule and package of each alert.
fn alerts(records: &[Value]) -> BTreeSet<(String, String)> {
    let alerts = records.iter().filter(|record| action(record) == "alert");
    alerts
        .map(|record| {
            let rule = record["rule"]["id"].as_str().unwrap();
            (rule.to_owned(), record["app"]["package"][0].as_str().unwrap().to_owned())
        })
        .collect()
}

/// The alert of a rule.
fn alert<'a>(records: &'a [Value], rule: &str) -> &'a Value {
    let found = records.iter().find(|record| record["rule"]["id"] == rule);
    found.unwrap_or_else(|| panic!("no alert of {rule} among {:?}", alerts(records)))
}

fn pairs(expected: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    expected.iter().map(|(rule, app)| ((*rule).to_owned(), (*app).to_owned())).collect()
}

const MX: &str = "com.sonymobile.mx.android";

#[test]
fn a_preinstalled_app_with_a_foreign_push_service_is_told_with_everything_that_was_seen() {
    let records = told(REPORTED);
    assert_eq!(
        alerts(&records),
        pairs(&[
            ("preinstalled-app", MX),
            ("outside-home", MX),
            ("persistent-channel", MX),
            ("regular-cadence", MX),
        ])
    );
    let alert = alert(&records, "preinstalled-app");
    assert_eq!(alert["destination"]["service"]["id"], "baidu-push");
    assert_eq!(alert["destination"]["service"]["country_iso_code"], "CN");
    assert_eq!(alert["app"]["removable"], false);
    println!("{alert:#}");
}

#[test]
fn a_tracer_that_starts_late_comes_to_the_same_verdict() {
    let records = told(Variant { start: HOUR, ..REPORTED });
    assert!(records.iter().any(|record| action(record) == "existing"));
    assert_eq!(
        alerts(&records),
        pairs(&[
            ("preinstalled-app", MX),
            ("outside-home", MX),
            ("persistent-channel", MX),
            ("regular-cadence", MX),
        ])
    );
}

#[test]
fn without_any_name_port_network_and_country_speak_for_it() {
    let records = told(Variant { has_names: false, ..REPORTED });
    let alert = alert(&records, "preinstalled-app");
    assert_eq!(alert["destination"]["service"]["match"], serde_json::json!(["port", "as"]));
    assert!(alert["destination"].get("domain").is_none());
}

#[test]
fn at_home_in_china_the_service_is_nothing_to_speak_of() {
    let records = told(Variant { home: "CN", ..REPORTED });
    // The forecast is served from Sweden.
    assert_eq!(alerts(&records), pairs(&[("outside-home", "com.example.weather")]));
}

#[test]
fn an_app_that_its_user_installed_is_information() {
    let records = told(Variant { keeper: Keeper::Maps, ..REPORTED });
    let found = alerts(&records);
    assert!(!found.iter().any(|(rule, _)| rule == "preinstalled-app"), "{found:?}");
    assert_eq!(alert(&records, "service-outside-region")["alert"]["severity"], "info");
}

#[test]
fn a_second_app_on_the_same_service_is_told_beside_the_first() {
    let records = told(Variant { has_second_app: true, ..REPORTED });
    let found = alerts(&records);
    assert!(found.contains(&("preinstalled-app".to_owned(), MX.to_owned())), "{found:?}");
    assert!(
        found.contains(&("service-outside-region".to_owned(), "com.example.reader".to_owned())),
        "{found:?}"
    );
}

#[test]
fn with_one_line_in_a_hundred_lost_the_stream_says_so_and_the_verdict_stands() {
    let place = REPORTED.place();
    let live = place.live(&REPORTED.events()).unwrap();
    let whole = alerts(&records(&live));
    let kept: Vec<&str> =
        live.lines().enumerate().filter(|(at, _)| at % 100 != 40).map(|(_, line)| line).collect();
    assert!(kept.len() < live.lines().count());
    let replayed = records(&place.replay(&kept.join("\n")).unwrap());
    let loss = replayed.iter().find(|record| action(record) == "loss").unwrap();
    assert_eq!(loss["tracer"]["lost"]["capture"]["record"], live.lines().count() - kept.len());
    assert_eq!(alerts(&replayed), whole);
}
