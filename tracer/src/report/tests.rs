//! Reports from plain values: of a ledger, with foreign text everywhere, and of nothing.

use std::sync::Arc;

use hashbrown::HashMap;

use super::build::{self, Days, Known};
use super::material::{Gap, Lane, Loss, Material, Period};
use super::{html, markdown};
use crate::clock::Timestamp;
use crate::enrich::app::Kind;
use crate::enrich::geo::{self, Scope};
use crate::judge::Expectations;
use crate::judge::book::{AppId, Book, Booked, RowId};
use crate::judge::findings::{Finding, Findings, Noticed};
use crate::judge::observation::{FlowRef, Name, Observation, Place, Who};
use crate::record::{Action, Direction, NameSource, PlaceText, Severity, Transport};

/// 2026-11-22T06:00:00Z.
const BEGIN: u64 = 1_795_327_200_000_000_000;
const DAY: u64 = 86_400_000_000_000;
const NASTY: &str = r#"<script>alert("1")</script>'|`*x*"#;

fn place(country: &str) -> PlaceText {
    PlaceText::of(
        "203.0.113.7".parse().unwrap(),
        &geo::Place {
            scope: Scope::Documentation,
            nat64: None,
            anycast: false,
            country: geo::country(country),
            asn: Some(38365),
            as_name: Some("Some <b>Network</b>"),
            country_source: None,
            as_source: None,
        },
    )
}

/// Books a connection of an app.
fn book(book: &mut Book, package: &str, host: &str, service: Option<&str>, at: u64) -> (AppId, RowId) {
    let who = Who {
        packages: package.into(),
        uid: Some(10_023),
        app_kind: Some(Kind::System),
        is_preinstalled: Some(true),
        ..Who::default()
    };
    let (here, there) = (place("SE"), place("CN"));
    let end = |at, bytes| Place { at, port: Some(5287), bytes: Some(bytes), packets: Some(3) };
    let seen = Observation {
        at: Timestamp(at),
        action: Action::Close,
        flow: FlowRef { boot: 1, cookie: at, peer: None },
        age_ms: Some(5),
        silent_ms: None,
        end: None,
        transport: Transport::Tcp,
        protocol: None,
        direction: Some(Direction::Egress),
        source: end(&here, 1200),
        destination: end(&there, 300),
        name: Some(Name { domain: host, registered: None, source: NameSource::Dns, is_ambiguous: false }),
        who: &who,
    };
    let mut booked: Option<Booked> = None;
    book.observe(&seen, service, &mut booked);
    let booked = booked.unwrap();
    (booked.app, booked.row)
}

fn notice(findings: &mut Findings, rule: &str, severity: Severity, booked: (AppId, RowId), reason: &str) {
    let rule: Arc<str> = rule.into();
    findings.notice(Noticed {
        rule: &rule,
        rule_hash: crate::judge::findings::hash_of_rule(&rule),
        severity,
        about: crate::hash::Fnv::new().text(reason),
        changing: "",
        reason,
        expected_if: &|| "its maker says so".to_owned(),
        flow: FlowRef { boot: 1, cookie: 7, peer: None },
        booked: Some(booked),
        is_counted: false,
        at: Timestamp(BEGIN),
    });
}

/// What a ledger knows: an app with a service that two rules noticed, and another one with a name that bites.
fn of_ledger() -> Material {
    let mut known = Book::default();
    let push = book(&mut known, "com.example.maker", "sa3.tuisong.baidu.com", Some("baidu-push"), BEGIN);
    let other = book(&mut known, NASTY, "host<img src=x>.example", None, BEGIN + DAY);
    let mut findings = Findings::new(std::time::Duration::ZERO);
    notice(&mut findings, "outside-home", Severity::Low, push, "com.example.maker connects to China (CN)");
    notice(&mut findings, "preinstalled-app", Severity::Medium, push, "com.example.maker uses Baidu Push");
    notice(&mut findings, "raw-address", Severity::Info, other, &format!("{NASTY} talks"));
    let days: Days =
        HashMap::from_iter([(push.1, vec![(20_780, [3, 1, 1200, 300]), (20_779, [1, 0, 10, 5])])]);
    material(&known, findings.all(), days)
}

fn material(book: &Book, findings: &[Finding], days: Days) -> Material {
    let expectations = Expectations { home: vec!["SE".to_owned()], ..Expectations::built_in() };
    let known = Known { book, findings, findings_left_out: 0, expectations: &expectations, geo: &[] };
    build::from_ledger(&known, days, "tracer.db", Timestamp(BEGIN + 2 * DAY))
}

#[test]
fn what_several_rules_say_of_one_app_and_service_is_one_story_most_severe_first() {
    let material = of_ledger();
    let told: Vec<(&str, usize)> =
        material.stories.iter().map(|story| (story.headline.as_str(), story.points.len())).collect();
    assert_eq!(told[0], ("com.example.maker talks to Baidu Push in China", 2));
    assert_eq!(told.len(), 2);
    assert_eq!(material.stories[0].severity, Severity::Medium);
    assert_eq!(material.stories[0].points[0].rule, "preinstalled-app");
    assert_eq!(material.apps[0].label, "com.example.maker");
    assert_eq!(material.apps[0].severity, Some(Severity::Medium));
    assert_eq!(material.destinations[material.stories[0].destinations[0]].app, 0);
    assert_eq!(material.countries[0].country.code, "CN");
}

#[test]
fn a_ledger_has_days_in_the_place_of_moments() {
    let material = of_ledger();
    let push = &material.destinations[material.stories[0].destinations[0]];
    let Lane::Sums { slot_ns, slots, .. } = &push.lane else { panic!("{:?}", push.lane) };
    assert_eq!(*slot_ns, DAY);
    assert_eq!(
        slots.iter().map(|(at, amounts)| (at.0 / DAY, amounts.connections)).collect::<Vec<_>>(),
        [(20_779, 1), (20_780, 3)]
    );
    let page = html::render(&material).unwrap();
    assert!(page.contains("class=\"column sum\""));
    assert!(page.contains("tracer.db"));
}

#[test]
fn foreign_text_is_never_markup() {
    let mut material = of_ledger();
    material.title = NASTY.to_owned();
    let page = html::render(&material).unwrap();
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(!page.contains("<img") && !page.contains("<b>Network"));
    assert!(page.contains("&#60;script&#62;alert(&#34;1&#34;)"));
    let text = markdown::render(&material);
    assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
    assert!(text.contains(r"&lt;script&gt;alert"));
    for line in text.lines().filter(|line| line.starts_with("| &lt;script")) {
        assert_eq!(line.replace(r"\|", "").matches('|').count(), 11, "{line}");
    }
}

#[test]
fn loss_is_said_at_the_top() {
    let mut material = of_ledger();
    material.losses =
        vec![Loss { what: "events that found the kernel's buffer full".to_owned(), count: 1234 }];
    material.gaps =
        vec![Gap { period: Period { from: Timestamp(BEGIN), to: Timestamp(BEGIN + DAY / 2) }, records: 3 }];
    let page = html::render(&material).unwrap();
    let (loss, findings) = (page.find("buffer full: 1,234").unwrap(), page.find("id=\"findings\"").unwrap());
    assert!(loss < findings, "before the findings");
    assert!(page.contains("class=\"gap\""));
    let text = markdown::render(&material);
    assert!(text.contains("> **Something is missing here.**") && text.contains("buffer full: 1,234"));
}

#[test]
fn what_the_owner_knows_is_told_last() {
    let mut known = Book::default();
    let push = book(&mut known, "com.example.maker", "sa3.tuisong.baidu.com", Some("baidu-push"), BEGIN);
    let other = book(&mut known, "com.example.other", "other.example", None, BEGIN);
    let mut findings = Findings::new(std::time::Duration::ZERO);
    notice(&mut findings, "preinstalled-app", Severity::Medium, push, "com.example.maker uses Baidu Push");
    notice(&mut findings, "raw-address", Severity::Info, other, "com.example.other talks");
    let key = findings.all()[0].key.clone();
    findings.acknowledge([(&*key, &*findings.all()[0].changing.clone())].into_iter());
    let material = material(&known, findings.all(), Days::new());
    assert_eq!(material.stories.iter().map(|story| story.is_acknowledged).collect::<Vec<_>>(), [false, true]);
    let page = html::render(&material).unwrap();
    assert!(page.contains("Medium, acknowledged") && !page.contains(&format!("tracer ack {key}")));
}

#[test]
fn a_report_of_nothing_says_so() {
    let material = material(&Book::default(), &[], Days::new());
    let page = html::render(&material).unwrap();
    assert!(page.contains("There is nothing in it."), "{page}");
    assert!(!page.contains("id=\"map\"") && !page.contains("NaN"));
    assert!(markdown::render(&material).contains("No rule noticed anything"));
}
