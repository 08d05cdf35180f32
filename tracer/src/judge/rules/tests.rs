use std::net::IpAddr;

use super::*;
use crate::clock::Timestamp;
use crate::enrich::geo::{self, Scope};
use crate::judge::observation::{FlowRef, Observation, Place, Who};
use crate::record::{Action, Direction, PlaceText, Transport};

fn place(ip: &str, country: Option<&str>) -> PlaceText {
    PlaceText::of(
        ip.parse::<IpAddr>().unwrap(),
        &geo::Place {
            scope: Scope::Global,
            nat64: None,
            anycast: false,
            country: country.and_then(geo::country),
            asn: Some(38_365),
            as_name: Some("Baidu, Inc."),
            country_source: None,
            as_source: None,
        },
    )
}

/// Asks `ask` about a connection to China.
fn with_case<R>(change: impl FnOnce(&mut Observation<'_>), ask: impl FnOnce(&Case<'_>) -> R) -> R {
    let (here, there) = (place("10.0.2.16", None), place("203.0.113.7", Some("CN")));
    let who = Who {
        uid: Some(10_023),
        packages: "com.example.a,com.example.b".into(),
        is_preinstalled: Some(true),
        ..Who::default()
    };
    let end = |at, port| Place { at, port: Some(port), bytes: Some(4_100), packets: Some(9) };
    let mut seen = Observation {
        at: Timestamp(0),
        action: Action::Close,
        flow: FlowRef { boot: 1, cookie: 2, peer: None },
        age_ms: Some(7_560_000),
        silent_ms: None,
        end: None,
        transport: Transport::Tcp,
        protocol: None,
        direction: Some(Direction::Egress),
        source: end(&here, 40_000),
        destination: end(&there, 5_287),
        name: None,
        who: &who,
    };
    change(&mut seen);
    let home = ["SE".to_owned(), "NO".to_owned()];
    let record = || serde_json::json!({"process": {"pid": 7, "command_line": "a b"}, "app": {"members": [{"package": "x"}]}});
    ask(&Case {
        seen: &seen,
        service: None,
        lists: &["ads"],
        home: &home,
        channel: None,
        history: None,
        cadence: None,
        record: &record,
    })
}

fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    rules.load(&Source::new("test.toml", text)).unwrap();
    rules
}

/// Whether a rule with these conditions holds.
fn holds(conditions: &str) -> bool {
    let rules = rules(&format!("[[rule]]\nid = \"x\"\n{conditions}\n"));
    with_case(|_| {}, |case| rules.that_hold(case).count() == 1)
}

#[test]
fn conditions_compare_texts_numbers_flags_lists_and_other_fields() {
    for condition in [
        r#"when = { "destination.port" = 5287 }"#,
        r#"when = { "destination.port" = [80, 5287] }"#,
        r#"when = { "destination.geo.country_iso_code" = { none_of = "$home" } }"#,
        r#"when = { "app.package" = "com.example.b" }"#,
        r#"when = { "app.package" = { like = "com.*.b" } }"#,
        r#"when = { "app.preinstalled" = true }"#,
        r#"when = { "flow.age_ms" = { at_least = "2h", below = "3h" } }"#,
        r#"when = { "source.bytes" = { above = "4 kB" } }"#,
        r#"when = { "destination.domain" = { known = false } }"#,
        r#"when = { "process.pid" = 7, "process.command_line" = { like = "a*" } }"#,
        r#"when = { "app.members[].package" = "x" }"#,
        r#"when = { "destination.lists" = "ads" }"#,
        r#"any = [{ "destination.port" = 1 }, { "destination.port" = 5287 }]"#,
    ] {
        assert!(holds(condition), "{condition}");
    }
    for condition in [
        r#"when = { "destination.port" = { not = 5287 } }"#,
        r#"when = { "destination.domain" = { none_of = ["a"] } }"#,
        r#"when = { "destination.port" = 5287, "app.preinstalled" = false }"#,
        r#"any = [{ "destination.port" = 1 }]"#,
        "when = { \"destination.port\" = 5287 }\nunless = [{ \"app.preinstalled\" = true }]",
        "when = { \"destination.port\" = 5287 }\nenabled = false",
        r#"when = { "destination.service.expected" = { none_of = "$home" } }"#,
    ] {
        assert!(!holds(condition), "{condition}");
    }
}

#[test]
fn what_is_not_known_meets_no_condition() {
    let rules = rules(
        "[[rule]]\nid = \"x\"\nwhen = { \"destination.geo.country_iso_code\" = { none_of = \"$home\" } }\n",
    );
    let nowhere = place("203.0.113.7", None);
    let count = with_case(
        |seen| seen.destination.at = Box::leak(Box::new(nowhere)),
        |case| rules.that_hold(case).count(),
    );
    assert_eq!(count, 0);
}

#[test]
fn sentences_have_the_values_in_them_and_leave_out_what_is_not_known() {
    let text = "[[rule]]\nid = \"x\"\nwhen = { \"destination.port\" = 5287 }\n\
        reason = \"{who}{origin} had {flow.age_ms} to {place}[ as {destination.domain}], {source.bytes} up; home is {home}\"\n";
    let rules = rules(text);
    let reason = with_case(|_| {}, |case| rules.all()[0].reason(case));
    assert_eq!(
        reason,
        "com.example.a and com.example.b, which came with the system, had 2 h 6 min to China (CN), 4.1 kB up; home is SE, NO"
    );
}

#[test]
fn a_file_changes_single_points_of_a_rule_and_adds_others() {
    let mut rules = Rules::built_in();
    let before = rules.all().len();
    let text = "[[rule]]\nid = \"outside-home\"\nseverity = \"high\"\n\n[[rule]]\nid = \"mine\"\nwhen = { \"user.uid\" = 7 }\n";
    rules.load(&Source::new("mine.toml", text)).unwrap();
    assert_eq!(rules.all().len(), before + 1);
    let changed = rules.all().iter().find(|rule| &*rule.id == "outside-home").unwrap();
    assert_eq!((changed.severity, changed.when.len()), (Severity::High, 1));
    assert!(changed.about.starts_with("A connection"));
}

#[test]
fn an_error_names_file_line_field_and_the_nearest_right_word_and_nothing_of_the_file_is_used() {
    for (text, complaint) in [
        (
            "[[rule]]\nid = \"x\"\nwhen = { \"destination.prot\" = 1 }\n",
            "r.toml:3:10: unknown field `destination.prot`; did you mean `destination.port`?",
        ),
        (
            "[[rule]]\nid = \"x\"\nserverity = \"low\"\nwhen = { \"user.uid\" = 1 }\n",
            "r.toml:3:1: unknown field `serverity`; did you mean `severity`?",
        ),
        (
            "[[rule]]\nid = \"x\"\nwhen = { \"user.uid\" = { atleast = 1 } }\n",
            "r.toml:3:25: unknown test `atleast`; did you mean `at_least`?",
        ),
        (
            "[[rule]]\nid = \"x\"\nwhen = { \"flow.age_ms\" = { above = \"2 horses\" } }\n",
            "r.toml:3:36: `2 horses` is no time",
        ),
        (
            "[[rule]]\nid = \"x\"\nwhen = { \"user.uid\" = 1 }\nreason = \"{whoo} did\"\n",
            "r.toml:4:10: unknown field `whoo`; did you mean `who`?",
        ),
        ("[[rule]]\nid = \"x\"\nwhen = { \"user.uid\" = 1 }\nseverity = \"lo\"\n", "r.toml:4:12: "),
        ("[[rule]]\nid = \"x\"\n", "rule `x` has no condition"),
        ("[[rule]]\nwhen = { \"user.uid\" = 1 }\n", "a rule without `id`"),
        ("[[rules]]\nid = \"x\"\n", "r.toml:1:3: unknown entry `rules`; did you mean `rule`?"),
    ] {
        let mut rules = Rules::built_in();
        let before = rules.all().len();
        let complaints = rules.load(&Source::new("r.toml", text)).unwrap_err();
        let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert!(complaints.iter().any(|line| line.contains(complaint)), "{complaint}: {complaints:#?}");
        assert_eq!(rules.all().len(), before);
    }
}

#[test]
fn the_built_in_rules_are_right_and_each_says_what_it_is_about() {
    let mut rules = Rules::default();
    let text = include_str!("../../../../data/rules.toml");
    assert_eq!(rules.load(&Source::new("rules.toml", text)), Ok(()));
    for name in [
        "service-outside-region",
        "outside-home",
        "preinstalled-app",
        "new-destination",
        "new-country-for-app",
        "persistent-channel",
        "regular-cadence",
        "cleartext",
        "unusual-volume",
        "on-behalf-of",
        "unknown-owner",
        "raw-address",
        "port-service-mismatch",
    ] {
        let rule =
            rules.all().iter().find(|rule| &*rule.id == name).unwrap_or_else(|| panic!("no rule {name}"));
        assert!(!rule.about.is_empty() && !rule.key.is_empty(), "{name}");
        let (reason, expected) = with_case(|_| {}, |case| (rule.reason(case), rule.expected_if(case)));
        assert!(!reason.is_empty() && !expected.is_empty(), "{name}");
    }
}

#[test]
fn what_a_rule_cannot_hold_without_follows_from_its_conditions() {
    let needs = |conditions: &str| rules(&format!("[[rule]]\nid = \"x\"\n{conditions}\n")).needs[0];
    let none = Facts::empty();
    for (conditions, needed) in [
        (r#"when = { "network.cleartext" = true, "destination.port" = 80 }"#, Facts::IS_CLEARTEXT),
        (r#"when = { "network.cleartext" = false }"#, none),
        (
            r#"when = { "destination.service.expected" = { none_of = "$home" } }"#,
            Facts::HAS_REGION | Facts::HAS_HOME,
        ),
        (r#"when = { "destination.geo.country_iso_code" = ["SE", "$home"] }"#, none),
        (r#"when = { "destination.domain" = { known = false } }"#, Facts::HAS_NO_NAME),
        (r#"when = { "destination.domain" = { known = true } }"#, Facts::HAS_NAME),
        (r#"when = { "cadence.score" = { at_least = "80%" } }"#, Facts::HAS_CADENCE),
        (
            r#"any = [{ "network.protocol" = "tls", "app.preinstalled" = true }, { "network.protocol" = "http" }]"#,
            Facts::HAS_PROTOCOL,
        ),
        (r#"any = [{ "network.protocol" = "tls" }, { "destination.port" = 443 }]"#, none),
    ] {
        assert_eq!(needs(conditions), needed, "{conditions}");
    }
}
