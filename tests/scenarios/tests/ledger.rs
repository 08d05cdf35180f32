//! The ledger, by the built program: what it was told to keep it keeps, whatever happens to it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use tracer_tests::temp::TempDir;
use tracer_tests_scenarios::busy;
use tracer_tests_scenarios::story::HOUR;
use tracer_tests_scenarios::xperia::REPORTED;

/// Longer than anything here takes on a slow machine.
const DEADLINE: Duration = Duration::from_secs(120);

fn tracer(arguments: &[&str]) -> Command {
    let mut command = Command::new(tracer_tests::programs::tracer());
    command.args(arguments);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A replay that books in a ledger.
fn booking(capture: &Path, ledger: &Path) -> Command {
    booking_to(capture, ledger, "/dev/null")
}

fn booking_to(capture: &Path, ledger: &Path, output: &str) -> Command {
    let geo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/mmdb/made/xperia.mmdb");
    let mut command = tracer(&["replay", text(capture), "--ledger", text(ledger), "--ledger-every", "5ms"]);
    command.args(["--home", "SE", "--geo", text(&geo), "--output", output]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json_lines(command: &mut Command) -> Vec<Value> {
    let output = done(command);
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn reader(ledger: &Path) -> Option<Connection> {
    let connection = Connection::open_with_flags(ledger, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.busy_timeout(DEADLINE).ok()?;
    Some(connection)
}

/// Number of the last record that is booked.
fn booked(ledger: &Path) -> Option<u64> {
    let seq: Option<i64> =
        reader(ledger)?.query_row("SELECT max(seq) FROM streams", [], |row| row.get(0)).ok()?;
    seq?.try_into().ok()
}

/// Everything in a ledger but the numbers that it gives its rows, in an order that does not depend on these.
fn content(ledger: &Path) -> Vec<String> {
    let connection = reader(ledger).unwrap();
    let destination =
        "coalesce(a.name, '') || ' ' || coalesce(a.user, '') || ' ' || coalesce(d.direction, '') || ' '
        || coalesce(d.service, '') || ' ' || coalesce(d.name, '') || ' ' || coalesce(d.country, '') || ' '
        || coalesce(d.asn, '') || ' ' || d.transport || ' ' || coalesce(d.port, '')";
    let queries = [
        "SELECT 'app', name, user, label, preinstalled, first_seen, last_seen, hex(named) FROM apps".to_owned(),
        format!(
            "SELECT 'destination', {destination}, d.first_seen, d.last_seen, d.connections, d.failures, d.sent,
                 d.received, hex(d.beats) FROM destinations d JOIN apps a ON a.id = d.app"
        ),
        format!(
            "SELECT 'day', {destination}, day, days.connections, days.failures, days.sent, days.received
             FROM days JOIN destinations d ON d.id = days.destination JOIN apps a ON a.id = d.app"
        ),
        "SELECT 'finding', key, severity, reason, expected_if, first, last, count, flows, changing, told FROM findings"
            .to_owned(),
        "SELECT 'flow', boot, cookie, ends, first, connected, before, last_bytes, last_packets, hex(beats),
             connections, failures, sent, received, noticed FROM flows"
            .to_owned(),
        "SELECT 'stream', boot, began, seq FROM streams".to_owned(),
    ];
    let mut lines = Vec::new();
    for query in queries {
        let mut statement = connection.prepare(&query).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let cells =
                (0..columns).map(|at| format!("{:?}", row.get::<_, rusqlite::types::Value>(at).unwrap()));
            Ok(cells.collect::<Vec<_>>().join(" "))
        };
        lines.extend(statement.query_map([], row).unwrap().map(Result::unwrap));
    }
    lines.sort();
    lines
}

/// A capture of an afternoon, and what comes of it when nothing happens to the program.
struct Afternoon {
    directory: TempDir,
    capture: PathBuf,
    lines: u64,
    expected: Vec<String>,
}

impl Afternoon {
    fn of(connections: u64) -> Self {
        let directory = TempDir::new();
        let capture = directory.path().join("capture.jsonl");
        let live = busy::place().live(&busy::afternoon(connections, 6 * HOUR)).unwrap();
        fs::write(&capture, &live).unwrap();
        let whole = directory.path().join("whole.db");
        done(&mut booking(&capture, &whole));
        let expected = content(&whole);
        assert!(expected.iter().filter(|line| line.contains("\"finding\"")).count() > 5, "{expected:#?}");
        assert!(expected.iter().any(|line| line.contains("\"flow\"")));
        Self { directory, capture, lines: u64::try_from(live.lines().count()).unwrap(), expected }
    }

    fn ledger(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_it_is_killed_at_any_moment() {
    let kills: u64 = std::env::var("TRACER_KILLS").map_or(60, |kills| kills.parse().unwrap());
    let afternoon = Afternoon::of(3_000);
    let mut chance = Chance(20_261_122);
    let (mut ledger, mut generation, mut safe) = (afternoon.ledger("0.db"), 0, 0);
    let (mut acknowledged, mut completed, mut advanced) = (Vec::new(), 0, 0);
    for _ in 0..kills {
        let mut child = booking(&afternoon.capture, &ledger).stderr(Stdio::null()).spawn().unwrap();
        // Some while they start, most while they write.
        let mut end = Instant::now()
            + if chance.below(5) == 0 { Duration::from_millis(chance.below(300)) } else { DEADLINE };
        let before = safe;
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            // What another process was told is in the file.
            safe = booked(&ledger).unwrap_or_default().max(safe);
            if safe > before {
                end = end.min(Instant::now() + Duration::from_millis(chance.below(60)));
            }
            if chance.below(40) == 0 {
                acknowledge_one(&ledger, &mut acknowledged);
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        advanced += u64::from(safe > before);
        if ledger.exists() && booked(&ledger).is_some() {
            check(&ledger, safe, &acknowledged);
        }
        if booked(&ledger) >= Some(afternoon.lines) {
            completed += 1;
            compare(&ledger, &afternoon.expected);
            generation += 1;
            ledger = afternoon.ledger(&format!("{generation}.db"));
            (safe, acknowledged) = (0, Vec::new());
        }
    }
    done(&mut booking(&afternoon.capture, &ledger));
    compare(&ledger, &afternoon.expected);
    check(&ledger, safe, &acknowledged);
    println!(
        "{kills} kills, {advanced} of them after new acknowledged records, {} ledgers completed",
        completed + 1
    );
    assert!(advanced > kills / 2, "the kills came before anything was written: {advanced} of {kills}");
}

/// Acknowledges a finding that is not acknowledged yet; from then on it must stay so.
fn acknowledge_one(ledger: &Path, acknowledged: &mut Vec<String>) {
    let Some(connection) = reader(ledger) else { return };
    let sql = "SELECT key FROM findings WHERE key NOT IN (SELECT key FROM acknowledged) ORDER BY key LIMIT 1";
    if let Ok(key) = connection.query_row(sql, [], |row| row.get::<_, String>(0)) {
        done(&mut tracer(&["ack", &key, "--ledger", text(ledger)]));
        acknowledged.push(key);
    }
}

/// The file is sound, all of it belongs together, and what was acknowledged is there.
fn check(ledger: &Path, safe: u64, acknowledged: &[String]) {
    let connection = reader(ledger).unwrap();
    let word: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(word, "ok");
    assert!(booked(ledger).unwrap() >= safe, "record {safe} was booked");
    let different: i64 = connection
        .query_row(
            "SELECT count(*) FROM destinations d WHERE (connections, failures, sent, received) IS NOT
             (SELECT sum(connections), sum(failures), sum(sent), sum(received) FROM days WHERE destination = d.id)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(different, 0, "destinations whose days do not add up");
    for key in acknowledged {
        let found: i64 = connection
            .query_row("SELECT count(*) FROM acknowledged WHERE key = ?1", [key], |row| row.get(0))
            .unwrap();
        assert_eq!(found, 1, "{key} was acknowledged");
    }
}

fn compare(ledger: &Path, expected: &[String]) {
    let found = content(ledger);
    let missing: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    let more: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    assert!(missing.is_empty() && more.is_empty(), "missing: {missing:#?}\nmore: {more:#?}");
}

#[test]
fn a_stream_that_is_booked_is_not_booked_again() {
    let afternoon = Afternoon::of(300);
    let ledger = afternoon.ledger("twice.db");
    for _ in 0..2 {
        done(&mut booking(&afternoon.capture, &ledger));
        compare(&ledger, &afternoon.expected);
    }
}

/// A small file system of its own, which goes with the value.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path) -> Self {
        use rustix::mount::{MountFlags, mount};
        fs::create_dir_all(path).unwrap();
        let options = c"size=3m";
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), options).unwrap();
        Self(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn after_a_full_disk_nothing_is_missing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to mount a small file system");
        return;
    }
    let afternoon = Afternoon::of(1_500);
    let directory = afternoon.ledger("small");
    let disk = SmallDisk::mount(&directory);
    let ledger = directory.join("tracer.db");
    let all = fs::read(&afternoon.capture).unwrap();
    let (first, second) = all.split_at(all.len() / 8);
    let mut command = booking(Path::new("-"), &ledger);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(first).unwrap();
    expect("the first records are booked", || booked(&ledger).is_some());
    let filler = directory.join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let complaint = Complaints::of(&mut child);
    input.write_all(second).unwrap();
    expect("it says that the disk is full", || complaint.has("disk is full"));
    fs::remove_file(&filler).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "{}", complaint.text());
    compare(&ledger, &afternoon.expected);
    drop(disk);
}

/// What a program says on its standard error.
struct Complaints(std::sync::Arc<std::sync::Mutex<String>>);

impl Complaints {
    fn of(child: &mut Child) -> Self {
        use std::io::{BufRead, BufReader};
        let text = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let shared = std::sync::Arc::clone(&text);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                shared.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self(text)
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn has(&self, part: &str) -> bool {
        self.text().contains(part)
    }
}

fn expect(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The capture of the story, with the clock of the device set for two hours in between.
fn with_a_jump(lines: &str, is_forward: bool) -> String {
    let jumped = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let at: tracer::clock::Timestamp = record["@timestamp"].as_str().unwrap().parse().unwrap();
        let hours = (at.0 / 1_000_000_000 - 1_795_327_200) / 3600;
        if (3..5).contains(&hours) {
            let year = u64::try_from(YEAR.as_nanos()).unwrap();
            let at = if is_forward { at.0 + year } else { at.0 - year };
            record["@timestamp"] = tracer::clock::Timestamp(at).to_string().into();
        }
        record.to_string() + "\n"
    };
    lines.lines().map(jumped).collect()
}

#[test]
fn a_clock_that_jumps_a_year_and_back_changes_no_sum_no_time_and_no_verdict() {
    let directory = TempDir::new();
    let live = REPORTED.place().live(&REPORTED.events()).unwrap();
    let ledger_of = |name: &str, lines: &str| {
        let capture = directory.write(&format!("{name}.jsonl"), lines.as_bytes());
        let ledger = directory.path().join(format!("{name}.db"));
        done(&mut booking(&capture, &ledger));
        ledger
    };
    let right = ledger_of("right", &live);
    let destinations = |ledger: &Path| {
        let mut lines =
            json_lines(&mut tracer(&["ledger", "destination", "--json", "--ledger", text(ledger)]));
        lines.iter_mut().for_each(|line| {
            // That of the jump is one more, or two.
            line.as_object_mut().unwrap().remove("days");
        });
        lines
    };
    let rules = |ledger: &Path| -> Vec<String> {
        let lines = json_lines(&mut tracer(&["ledger", "finding", "--json", "--ledger", text(ledger)]));
        let mut rules: Vec<String> =
            lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
        rules.sort();
        rules
    };
    for is_forward in [true, false] {
        let jumped = ledger_of(if is_forward { "ahead" } else { "behind" }, &with_a_jump(&live, is_forward));
        assert_eq!(destinations(&jumped), destinations(&right), "forward: {is_forward}");
        assert_eq!(rules(&jumped), rules(&right), "forward: {is_forward}");
    }
}

#[test]
fn the_ledger_says_what_each_app_did_and_what_is_known_of_it() {
    let directory = TempDir::new();
    let live = REPORTED.place().live(&REPORTED.events()).unwrap();
    let capture = directory.write("capture.jsonl", live.as_bytes());
    let ledger = directory.path().join("tracer.db");
    done(&mut booking(&capture, &ledger));
    let ask = |arguments: &[&str]| {
        let mut command = tracer(&["ledger", "--json", "--ledger", text(&ledger)]);
        json_lines(command.args(arguments))
    };
    let services = ask(&["service"]);
    let push = services.iter().find(|line| line["service"] == "baidu-push").unwrap();
    assert_eq!((&push["apps"], &push["failures"]), (&1.into(), &1.into()));
    assert_eq!(ask(&["country", "--country", "cn"]).len(), 1);
    let table = done(&mut tracer(&["ledger", "destination", "--ledger", text(&ledger)]));
    println!("{}", String::from_utf8_lossy(&table.stdout));
    assert_eq!(ask(&["destination", "--app", "sonymobile", "--service", "baidu-push"]).len(), 3);
    assert!(ask(&["app", "--new-since", "2031-01-01"]).is_empty());
    let findings = ask(&["finding", "--app", "sonymobile"]);
    let finding = findings.iter().find(|line| line["rule"] == "preinstalled-app").unwrap();
    assert_eq!(finding["acknowledged"], false);
    let key = finding["key"].as_str().unwrap();
    done(&mut tracer(&["ack", key, "--ledger", text(&ledger)]));
    assert!(ask(&["finding"]).iter().any(|line| line["key"] == key && line["acknowledged"] == true));
    // The next day's stream says nothing of it any more; of the others it does, after the quiet period.
    let next_day =
        live.replace("2026-11-22T", "2026-11-24T").replace(r#""boot":"b6c1e0a4""#, r#""boot":"b6c1e0a5""#);
    let second = directory.write("second.jsonl", next_day.as_bytes());
    let mut command = booking_to(&second, &ledger, "/dev/stdout");
    command.args(["--events", "alert"]);
    let told: Vec<String> = json_lines(&mut command)
        .iter()
        .map(|line| line["rule"]["id"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(!told.contains(&"preinstalled-app".to_owned()), "{told:?}");
    assert!(told.contains(&"outside-home".to_owned()), "{told:?}");
    let unknown = tracer(&["ack", "no/such", "--ledger", text(&ledger)]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let about = &ask(&["file"])[0];
    assert_eq!(about["streams"].as_array().unwrap().len(), 2);
}

#[test]
fn two_tracers_do_not_write_one_ledger() {
    let afternoon = Afternoon::of(50);
    let ledger = afternoon.ledger("shared.db");
    let mut first = booking(Path::new("-"), &ledger).stdin(Stdio::piped()).spawn().unwrap();
    expect("the first one has it", || ledger.exists());
    expect("the second one is refused", || {
        let second = booking(&afternoon.capture, &ledger).output().unwrap();
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        second.status.code() == Some(2) && said.contains("another tracer")
    });
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
}
