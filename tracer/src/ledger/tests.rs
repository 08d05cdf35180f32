//! The file: what goes in comes out again, older forms are upgraded, what is not ours is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::bounds;
use super::connection::{open, read_only};
use super::load::{days, load};
use super::query::{By, Question, about, ask};
use super::write::write;
use super::{LedgerError, ack, acknowledge, schema};
use crate::clock::Timestamp;
use crate::judge::book::{Amounts, AppKey, Connects, RowKey};
use crate::judge::findings::Finding;
use crate::judge::observation::FlowRef;
use crate::judge::saved::{
    Batch, Restored, SavedApp, SavedBooking, SavedFindings, SavedFlow, SavedFlows, SavedRow, StreamId,
};
use crate::record::{Direction, Severity, Transport};

/// A directory of its own for each test.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-ledger-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("a/tracer.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const DAY: u64 = 86_400_000_000_000;

fn at(days: u64) -> Timestamp {
    Timestamp(1_795_327_200_123_456_789 + days * DAY)
}

fn amounts(connections: u64) -> Amounts {
    Amounts { connections, failures: 1, sent: connections * 100, received: connections * 1000 }
}

fn flows(flow: FlowRef, app: u64, row: u64, day: u32) -> SavedFlows {
    let mut flows = SavedFlows::default();
    let beats = flows.packed.part(|bytes| bytes.extend(1..9));
    let noticed = flows.packed.part(|bytes| bytes.extend(b"outside-home,raw-address"));
    flows.all.push(SavedFlow {
        flow,
        ends: u64::MAX,
        first: at(0),
        connected: Some(at(0)),
        before: None,
        last_bytes: 10,
        last_packets: 2,
        beats,
        booked: Some(SavedBooking {
            app,
            row,
            amounts: amounts(1),
            day: Some(day),
            is_new_destination: true,
            is_new_country: false,
        }),
        noticed,
    });
    flows
}

fn every_quarter_of_an_hour() -> Connects {
    let mut connects = Connects::default();
    (0..12).for_each(|turn| connects.add(1_795_327_200_123 + turn * 900_000));
    connects
}

fn finding(flow: FlowRef, app: u64, row: u64) -> Finding {
    Finding {
        key: format!("outside-home/{row:010x}").into(),
        rule: "outside-home".into(),
        severity: Severity::Medium,
        reason: "an app 'talks' to \"somebody\"".into(),
        expected_if: None,
        first: at(0),
        last: at(1),
        count: 2,
        flows: vec![flow],
        changing: "CN".into(),
        booked: Some((app, row)),
        told: Some(at(0)),
        acknowledged: None,
        is_listed: false,
    }
}

fn findings(all: &[Finding]) -> SavedFindings {
    let mut findings = SavedFindings::default();
    all.iter().for_each(|finding| findings.add(finding));
    findings
}

fn batch(app: u64, row: u64, day: u32) -> Batch {
    let flow = FlowRef { boot: 0xb6c1_e0a4, cookie: u64::MAX - row, peer: Some(7) };
    Batch {
        stream: Some((StreamId { boot: 0xb6c1_e0a4, began: at(0) }, 40 + row)),
        apps: vec![SavedApp {
            id: app,
            key: AppKey { name: "com.example.app,com.example.two".into(), user: Some(10), is_package: true },
            label: "com.example.app and com.example.two".into(),
            is_preinstalled: Some(true),
            first_seen: at(0),
            last_seen: at(1),
            named: Some(vec![3, u64::MAX, 1]),
        }],
        rows: vec![SavedRow {
            id: row,
            key: RowKey {
                app,
                direction: Some(Direction::Egress),
                service: Some("baidu-push".into()),
                name: Some("sa3.tuisong.baidu.com".into()),
                country: Some("CN"),
                asn: Some(38365),
                transport: Transport::Tcp,
                port: 5287,
            },
            first_seen: at(0),
            last_seen: at(1),
            total: amounts(3),
            connects: every_quarter_of_an_hour(),
        }],
        days: vec![(row, day, [3, 1, 300, 3000])],
        flows: flows(flow, app, row, day),
        findings: findings(&[finding(flow, app, row)]),
        ..Batch::default()
    }
}

fn loaded(connection: &Connection) -> Restored {
    let (restored, wrong) = load(connection, Path::new("x")).unwrap();
    assert_eq!(wrong, 0);
    restored
}

#[test]
fn what_is_written_is_read_again() {
    let place = Place::new("round-trip");
    let batch = batch(1, 2, 20_000);
    let mut connection = open(&place.file()).unwrap();
    assert!(write(&mut connection, &batch).unwrap().has_new_day);
    drop(connection);
    let restored = loaded(&read_only(&place.file()).unwrap());
    assert_eq!(restored.apps, batch.apps);
    assert_eq!(restored.rows, batch.rows);
    assert_eq!(restored.flows, batch.flows);
    assert_eq!(findings(&restored.findings), batch.findings);
    assert_eq!(restored.findings[0].acknowledged, None);
    assert_eq!(restored.sent, [(1, 20_000, 300)]);
    assert_eq!(restored.streams, [batch.stream.unwrap()]);
    assert_eq!(restored.next_id, 3);
}

#[test]
fn days_add_up_and_what_moved_away_leaves_nothing() {
    let place = Place::new("days");
    let mut connection = open(&place.file()).unwrap();
    write(&mut connection, &batch(1, 2, 20_000)).unwrap();
    assert!(!write(&mut connection, &batch(1, 2, 20_000)).unwrap().has_new_day);
    let added = days(&connection, Path::new("x")).unwrap();
    assert_eq!(added, [(2, 20_000, [6, 2, 600, 6000])]);
    let moved = Batch { days: vec![(2, 20_000, [-6, -2, -600, -6000])], ..Batch::default() };
    write(&mut connection, &moved).unwrap();
    assert_eq!(days(&connection, Path::new("x")).unwrap(), []);
}

#[test]
fn what_ended_and_what_was_removed_is_no_more() {
    let place = Place::new("removed");
    let mut connection = open(&place.file()).unwrap();
    let first = batch(1, 2, 20_000);
    write(&mut connection, &first).unwrap();
    let removal = Batch {
        removed_apps: vec![1],
        removed_rows: vec![2],
        removed_findings: vec![first.findings.key(&first.findings.all[0]).into()],
        ended: vec![first.flows.all[0].flow],
        ..Batch::default()
    };
    write(&mut connection, &removal).unwrap();
    let left = loaded(&connection);
    assert!(
        left.apps.is_empty() && left.rows.is_empty() && left.flows.all.is_empty() && left.findings.is_empty()
    );
    assert_eq!(days(&connection, Path::new("x")).unwrap(), []);
}

#[test]
fn an_older_form_is_upgraded_with_all_that_is_in_it() {
    let place = Place::new("upgrade");
    fs::create_dir_all(place.file().parent().unwrap()).unwrap();
    let mut old = Connection::open(place.file()).unwrap();
    schema::first_form(&old).unwrap();
    write(&mut old, &batch(1, 2, 20_000)).unwrap();
    assert!(about(&old, String::new()).unwrap().form < schema::VERSION);
    assert!(old.prepare("SELECT * FROM ledger").is_err(), "the view came later");
    drop(old);
    let connection = open(&place.file()).unwrap();
    assert_eq!(about(&connection, String::new()).unwrap().form, schema::VERSION);
    assert_eq!(loaded(&connection).rows, batch(1, 2, 20_000).rows);
    let host: String = connection.query_row("SELECT host FROM ledger", [], |row| row.get(0)).unwrap();
    assert_eq!(host, "sa3.tuisong.baidu.com");
}

#[test]
fn a_newer_form_and_a_database_of_somebody_else_are_left_alone() {
    let place = Place::new("foreign");
    let newer = place.0.join("newer.db");
    open(&newer).unwrap().pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    assert!(matches!(open(&newer), Err(LedgerError::Newer { .. })));
    let foreign = place.0.join("foreign.db");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(open(&foreign), Err(LedgerError::Foreign(_))));
    assert!(matches!(read_only(&foreign), Err(LedgerError::Foreign(_))));
    let text = place.0.join("text.db");
    fs::write(&text, "nothing of the kind, but long enough to be looked at as a header of a file").unwrap();
    let error = open(&text).unwrap_err().to_string();
    assert!(error.contains("text.db") && error.contains("not a database"), "{error}");
    assert!(fs::read_to_string(&text).unwrap().starts_with("nothing"), "it is as it was");
}

#[test]
fn only_its_owner_may_read_it() {
    let place = Place::new("rights");
    drop(open(&place.file()).unwrap());
    assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn rows_that_cannot_be_understood_are_counted() {
    let place = Place::new("wrong");
    let mut connection = open(&place.file()).unwrap();
    write(&mut connection, &batch(1, 2, 20_000)).unwrap();
    connection
        .execute_batch("UPDATE destinations SET transport = 'pigeon'; UPDATE findings SET count = 'many'")
        .unwrap();
    let (restored, wrong) = load(&connection, Path::new("x")).unwrap();
    assert_eq!((wrong, restored.rows.len(), restored.findings.len(), restored.apps.len()), (2, 0, 0, 1));
}

#[test]
fn the_oldest_days_leave_and_stay_counted() {
    let place = Place::new("age");
    let mut connection = open(&place.file()).unwrap();
    // One destination is silent after the first day; a clock that was a year ahead for a day ages nothing.
    write(&mut connection, &batch(1, 2, 20_000)).unwrap();
    write(&mut connection, &batch(1, 3, 20_365)).unwrap();
    for day in 20_001..20_200 {
        write(&mut connection, &batch(1, 3, day)).unwrap();
    }
    assert_eq!(loaded(&connection).rows.len(), 2);
    assert_eq!(bounds::keep(&mut connection, i64::MAX).unwrap(), [2]);
    assert_eq!(loaded(&connection).rows.len(), 1);
    let question = Question::default();
    let lines = ask(&connection, By::Destination, &question).unwrap();
    assert_eq!(lines[0].days, 200, "180 days, and 20 that are only counted");
    assert_eq!(bounds::keep(&mut connection, i64::MAX).unwrap(), [0_u64; 0]);
}

#[test]
fn a_file_that_grows_too_large_loses_its_oldest_days() {
    let place = Place::new("size");
    let mut connection = open(&place.file()).unwrap();
    for row in 0..400 {
        let day = 20_000 + u32::try_from(row / 10).unwrap();
        write(&mut connection, &batch(1, 2 + row, day)).unwrap();
    }
    let before = bounds::used_bytes(&connection).unwrap();
    // Findings and open flows are bounded by number, not by age.
    let most = before * 2 / 3;
    let forgotten = bounds::keep(&mut connection, most).unwrap();
    let after = bounds::used_bytes(&connection).unwrap();
    assert!(after <= most, "{before} {after}");
    assert!(!forgotten.is_empty());
    let newest = loaded(&connection).rows.iter().map(|row| row.id).max();
    assert_eq!(newest, Some(401));
}

#[test]
fn what_is_acknowledged_stays_so_until_it_is_taken_back() {
    let place = Place::new("ack");
    let mut connection = open(&place.file()).unwrap();
    let batch = batch(1, 2, 20_000);
    write(&mut connection, &batch).unwrap();
    let (key, reason) =
        (batch.findings.key(&batch.findings.all[0]), batch.findings.reason(&batch.findings.all[0]));
    assert_eq!(acknowledge(&connection, "no/such", at(1)).unwrap(), None);
    assert_eq!(acknowledge(&connection, key, at(1)).unwrap().as_deref(), Some(reason));
    // The tracer writes the finding anew.
    write(&mut connection, &batch).unwrap();
    assert_eq!(loaded(&connection).findings[0].acknowledged.as_deref(), Some("CN"));
    assert!(ack::withdraw(&connection, key).unwrap() && !ack::withdraw(&connection, key).unwrap());
    assert_eq!(loaded(&connection).findings[0].acknowledged, None);
}

#[test]
fn questions_are_answered_by_app_country_service_and_destination() {
    let place = Place::new("query");
    let mut connection = open(&place.file()).unwrap();
    write(&mut connection, &batch(1, 10, 20_000)).unwrap();
    let mut second = batch(2, 11, 20_001);
    second.apps[0].key.name = "com.other".into();
    second.apps[0].label = "com.other".into();
    second.rows[0].key.service = None;
    second.rows[0].key.name = None;
    second.rows[0].first_seen = at(5);
    second.rows[0].last_seen = at(6);
    write(&mut connection, &second).unwrap();
    let all = Question::default();
    let by = |by, question: &Question| ask(&connection, by, question).unwrap();
    assert_eq!(by(By::App, &all).len(), 2);
    let countries = by(By::Country, &all);
    assert_eq!(countries.len(), 1);
    assert_eq!((countries[0].country.as_deref(), countries[0].apps), (Some("CN"), Some(2)));
    assert_eq!((countries[0].days, countries[0].connections, countries[0].sent), (2, 6, 600));
    assert_eq!((countries[0].first_seen, countries[0].last_seen), (at(0), at(6)));
    let services = by(By::Service, &all);
    assert_eq!((services.len(), services[0].destinations, services[0].app.as_deref()), (1, Some(1), None));
    let destinations = by(By::Destination, &Question { app: Some("EXAMPLE.TWO".into()), ..all.clone() });
    assert_eq!(destinations.len(), 1);
    assert_eq!(destinations[0].every_ms, Some(900_000));
    let new = by(By::Destination, &Question { new_since: Some(at(4)), ..all.clone() });
    assert_eq!(new.iter().map(|line| line.app.as_deref()).collect::<Vec<_>>(), [Some("com.other")]);
    assert_eq!(by(By::App, &Question { limit: Some(1), ..all.clone() }).len(), 1);
    assert!(by(By::App, &Question { country: Some("SE".into()), ..all }).is_empty());
}

#[test]
fn sqlite_has_no_search_engine_and_no_extensions() {
    // .cargo/config.toml leaves them out: a file of somebody else could name them in its schema.
    let connection = Connection::open_in_memory().unwrap();
    for option in ["ENABLE_FTS3", "ENABLE_FTS5", "ENABLE_RTREE", "ENABLE_DBSTAT_VTAB"] {
        let is_used = connection.query_row("SELECT sqlite_compileoption_used(?)", [option], |row| row.get(0));
        assert!(!is_used.unwrap_or(true), "{option}");
    }
    let is_left_out =
        connection.query_row("SELECT sqlite_compileoption_used('OMIT_LOAD_EXTENSION')", [], |row| row.get(0));
    assert!(is_left_out.unwrap_or(false));
    for module in ["fts3", "fts4", "fts5", "rtree"] {
        let why =
            connection.execute_batch(&format!("CREATE VIRTUAL TABLE t USING {module}(a, b, c)")).unwrap_err();
        assert!(why.to_string().contains("no such module"), "{why}");
    }
}
