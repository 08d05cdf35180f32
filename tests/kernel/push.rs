//! The story of tests/scenarios/xperia-2014, really: a preinstalled app keeps a push channel to a service that is meant for
//! another region, with the service's own ladder of heartbeats. Hours pass in seconds, for the app and for judging alike.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tracer_tests::actor::Actor;
use tracer_tests::hello::{self, to_hex};
use tracer_tests::netns::Netns;
use tracer_tests::record::{action, at, is_flow, number, text};
use tracer_tests::stream::Stream;
use tracer_tests::temp::{TempDir, fixture};
use tracer_tests::tracer::Tracer;
use tracer_tests::{DEADLINE, live, netlink, programs, replay};

use crate::scene::Listener;

/// How much faster time passes: the first step of the ladder takes 0.6 s, all of it half a minute.
const FASTER: u64 = 300;
/// How often open connections are looked at. Short against the first step.
const LOOK: &str = "200ms";
/// Seconds between heartbeats, three of each; the last one goes on, for the sake of machines on which a beat comes late.
const LADDER: [u64; 7] = [180, 300, 360, 420, 540, 720, 900];
const MORE: usize = 12;

const PACKAGE: &str = "com.sonymobile.mx.android";
const RESOLVER: &str = "203.0.113.53:53";
const API: &str = "203.0.113.20:443";
const SOCKET: &str = "203.0.113.7:5287";

/// The phone's files.
struct Phone {
    files: TempDir,
    geo: std::path::PathBuf,
}

impl Phone {
    fn new() -> Self {
        let files = TempDir::new();
        fixture::xperia(&files);
        let geo = files.write("xperia.mmdb", fixture::XPERIA_GEO);
        Self { files, geo }
    }

    fn tracer(&self, home: &str) -> Tracer {
        self.tracer_with(home, &[])
    }

    fn tracer_with(&self, home: &str, more: &[&str]) -> Tracer {
        let faster = FASTER.to_string();
        let usual = ["--home", home, "--sample", LOOK, "--time-scale", &faster, "--android-root"];
        let mut arguments: Vec<OsString> = usual.iter().map(Into::into).collect();
        arguments.extend([self.files.path().into(), "--geo".into(), (&self.geo).into()]);
        arguments.extend(more.iter().map(Into::into));
        Tracer::recording(arguments)
    }
}

/// The servers that the app talks to, in a network of their own.
struct Servers {
    netns: Netns,
    _resolver: Actor,
    _api: Listener,
    _socket: Listener,
}

impl Servers {
    fn start() -> Self {
        let netns = Netns::new().unwrap();
        netns.enter(|| {
            for address in [RESOLVER, API] {
                let address: std::net::SocketAddr = address.parse().unwrap();
                netlink::add_address("lo", address.ip(), 32).unwrap();
            }
        });
        let steps = format!("udp=4 bind={RESOLVER} wait dns-answer=203.0.113.20 dns-answer=203.0.113.7");
        let mut resolver = Actor::start(&netns, steps.split_whitespace());
        resolver.report();
        resolver.go();
        let api = Listener::start(&netns, "", API, 8, "accept recv=1500 send=800 eof close");
        let socket = Listener::start(&netns, "", SOCKET, 8, "accept recv=310 send=90 pulse=26,18 close");
        Self { netns, _resolver: resolver, _api: api, _socket: socket }
    }

    /// The app: asks where the service is, connects, waits for a word, and then is heard at its times. It reports when it waits,
    /// and after the last beat.
    fn app(&self) -> Actor {
        let beats: Vec<String> = LADDER
            .iter()
            .flat_map(|&seconds| [seconds; 3])
            .chain([900; MORE])
            .map(|seconds| format!("beat={},26,18", seconds * 1000 / FASTER))
            .collect();
        self.app_with(&beats.join(" "))
    }

    fn app_with(&self, beats: &str) -> Actor {
        let ask = |host: &str| {
            let question = hello::dns(host);
            let answer = question.len() + hello::ADDRESS_RECORD;
            format!("udp=4 connect={RESOLVER} bytes={} recv={answer} close", to_hex(&question))
        };
        let steps = format!(
            "uid=10023 name=com.sonymobile.mx {} socket=4 connect={API} send=1500 recv=800 close \
             {} socket=4 connect={SOCKET} wait send=310 recv=90 {beats} wait close",
            ask("api3.tuisong.baidu.com"),
            ask("sa3.tuisong.baidu.com"),
        );
        Actor::start(&self.netns, steps.split_whitespace())
    }

    /// Another app with a channel of its own.
    fn other_app(&self, uid: u32) -> Actor {
        let steps = format!("uid={uid} socket=4 connect={SOCKET} wait send=310 recv=90 wait close");
        Actor::start(&self.netns, steps.split_whitespace())
    }
}

/// What a tracer said about the app.
struct Told {
    stream: Stream,
    netns: u64,
    channel: u64,
}

impl Told {
    fn by(tracer: Tracer, netns: &Netns, channel: u64) -> Self {
        Self { stream: tracer.stop(), netns: netns.inode(), channel }
    }

    fn of_app(&self) -> impl Iterator<Item = &Value> {
        let netns = self.netns;
        self.stream.records.iter().filter(move |record| {
            number(record, "flow.netns") == Some(netns) && at(record, "app.package") == &json!([PACKAGE])
        })
    }

    fn alerts<'a>(&'a self, rule: &'a str) -> impl Iterator<Item = &'a Value> {
        self.of_app().filter(move |record| action(record) == "alert" && text(record, "rule.id") == rule)
    }

    fn rules(&self) -> Vec<&str> {
        let alerts = self.of_app().filter(|record| action(record) == "alert");
        let mut rules: Vec<_> = alerts.map(|record| text(record, "rule.id")).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// A record of the channel.
    fn channel(&self, wanted: &str) -> &Value {
        let is_it = |record: &&Value| is_flow(record, self.channel) && action(record) == wanted;
        self.stream.records.iter().find(is_it).unwrap_or_else(|| panic!("no {wanted} of the channel"))
    }

    /// Seconds between the heartbeats as judging heard them.
    fn beats(&self) -> Vec<String> {
        let samples = self
            .stream
            .records
            .iter()
            .filter(|record| is_flow(record, self.channel) && action(record) == "sample");
        let at = |record: &Value| {
            let time =
                text(record, "@timestamp").rsplit(':').next().unwrap().trim_end_matches('Z').to_owned();
            time.parse::<f64>().unwrap() - number(record, "flow.silent_ms").unwrap_or_default() as f64 / 1e3
        };
        let times: Vec<f64> = samples.map(at).collect();
        times
            .windows(2)
            .map(|pair| format!("{:.0}", (pair[1] - pair[0]).rem_euclid(60.0) * FASTER as f64))
            .collect()
    }

    /// What every tracer away from China must say.
    fn must_be_told(&self) {
        println!("beats: {:?}", self.beats());
        let expected = ["outside-home", "persistent-channel", "preinstalled-app", "regular-cadence"];
        assert_eq!(self.rules(), expected);
        let told = self.alerts("preinstalled-app").next().unwrap();
        assert_eq!(text(told, "alert.severity"), "medium");
        assert_eq!(at(told, "destination.service.id"), "baidu-push");
        assert_eq!(at(told, "destination.service.owner"), "Baidu");
        assert_eq!(at(told, "destination.geo.country_iso_code"), "CN");
        assert_eq!(number(told, "destination.as.number"), Some(38_365));
        assert_eq!((at(told, "app.preinstalled"), at(told, "app.removable")), (&json!(true), &json!(false)));
        let cadence: Vec<_> =
            self.alerts("regular-cadence").map(|record| text(record, "alert.reason")).collect();
        let is_ladder = |reason: &&&str| reason.contains("on a ladder from ");
        println!("{cadence:#?}");
        assert!(cadence.iter().any(|reason| is_ladder(&reason)), "{cadence:#?}");
        assert!(self.alerts("regular-cadence").all(|record| is_flow(record, self.channel)));
    }
}

#[test]
fn a_preinstalled_app_that_keeps_a_push_channel_is_told_live_and_in_replay_and_at_home_it_is_not() {
    let _turn = live!(alone);
    let phone = Phone::new();
    let (abroad, at_home) = (phone.tracer("SE"), phone.tracer("CN"));
    let servers = Servers::start();
    let mut app = servers.app();
    let channel = app.report().cookie();
    // Long after the connect: nobody saw it, and nobody heard a name.
    let late = phone.tracer("SE");
    late.expect_flow(channel, "existing");
    app.go();
    let is_at_the_top = |record: &Value| {
        is_flow(record, channel)
            && action(record) == "sample"
            && number(record, "source.bytes") >= Some(310 + 21 * 26)
    };
    for tracer in [&abroad, &at_home, &late] {
        tracer.expect("a look at the top of the ladder", is_at_the_top);
    }
    for tracer in [&abroad, &late] {
        tracer.expect("an alert that it climbs a ladder", |record| {
            is_flow(record, channel) && text(record, "alert.reason").contains("on a ladder from ")
        });
    }
    let [abroad, at_home, late] =
        [abroad, at_home, late].map(|tracer| Told::by(tracer, &servers.netns, channel));

    abroad.must_be_told();
    let connect = abroad.channel("connect");
    assert_eq!(text(connect, "destination.domain"), "sa3.tuisong.baidu.com");
    assert_eq!(at(connect, "destination.service.match"), &json!(["name", "port", "as"]));

    late.must_be_told();
    let existing = late.channel("existing");
    assert_eq!(at(existing, "destination.domain"), &Value::Null);
    assert_eq!(at(existing, "destination.service.match"), &json!(["port", "as"]));

    assert_eq!(at_home.rules(), [] as [&str; 0]);
    assert!(at_home.of_app().count() > 20);
    assert_eq!(at_home.of_app().find(|record| !at(record, "flags").is_null()), None);

    for told in [abroad, at_home, late] {
        replay::twice(&told.stream, &["--geo".as_ref(), phone.geo.as_os_str()]);
    }
}

/// Apps that their user installed.
const OTHERS: [(u32, &str); 2] = [(10_100, "com.baidu.BaiduMap"), (10_101, "com.example.reader")];

/// What is said at once about the app that came with the system and about those that its user installed.
fn expect_all(tracer: &Tracer, channel: u64, cookies: &[u64]) {
    let told = tracer.expect("an alert of the app that came with the system", |record| {
        is_flow(record, channel) && text(record, "rule.id") == "preinstalled-app"
    });
    assert_eq!(at(&told, "destination.service.id"), "baidu-push");
    assert_eq!(at(&told, "destination.service.match"), &json!(["port", "as"]));
    assert_eq!(at(&told, "destination.domain"), &Value::Null);
    assert_eq!((text(&told, "alert.severity"), at(&told, "app.package")), ("medium", &json!([PACKAGE])));
    for (&cookie, (_, package)) in cookies.iter().zip(OTHERS) {
        let told = tracer.expect("an alert of an app that its user installed", |record| {
            is_flow(record, cookie) && text(record, "rule.id") == "service-outside-region"
        });
        assert_eq!((text(&told, "alert.severity"), at(&told, "app.package")), ("info", &json!([package])));
    }
}

#[test]
fn without_names_and_with_lost_events_each_app_on_the_service_is_told_as_what_it_is() {
    let _turn = live!(alone);
    let phone = Phone::new();
    let ledger = phone.files.path().join("tracer.db");
    let booked = ["--no-names", "--ledger", ledger.to_str().unwrap()];
    let (nameless, lossy) =
        (phone.tracer_with("SE", &booked), phone.tracer_with("SE", &["--ring-size", "16"]));
    let servers = Servers::start();
    // Its ring is full before anything of the story happens.
    lossy.freeze();
    let mut storm = Actor::start(&servers.netns, ["storm=203.0.113.7:6000,500,2"]);
    storm.report_within(DEADLINE);
    storm.done();
    let mut app = servers.app_with("");
    let mut others = OTHERS.map(|(uid, _)| servers.other_app(uid));
    let channel = app.report().cookie();
    let cookies = others.each_mut().map(|other| other.report().cookie());
    lossy.thaw();
    lossy.expect("a loss record", |record| action(record) == "loss");
    app.go();
    for other in &mut others {
        other.go();
    }
    for tracer in [&nameless, &lossy] {
        expect_all(tracer, channel, &cookies);
    }
    let [nameless, lossy] = [nameless, lossy].map(|tracer| Told::by(tracer, &servers.netns, channel));
    for told in [&nameless, &lossy] {
        let of_others = |record: &&Value| cookies.iter().any(|&cookie| is_flow(record, cookie));
        let mut rules = told.stream.records.iter().filter(of_others).map(|record| text(record, "rule.id"));
        assert!(!rules.any(|rule| rule == "preinstalled-app"), "of one that its user installed");
    }
    assert!(lossy.stream.counts("lost.kernel").values().sum::<u64>() > 0);
    let command = ["ledger", "service", "--json", "--ledger", ledger.to_str().unwrap()];
    let output = Command::new(programs::tracer()).args(command).stdin(Stdio::null()).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let services: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_push: Vec<_> = services.iter().filter(|line| line["service"] == "baidu-push").collect();
    assert_eq!(of_push.len(), 1, "{lines}");
    // Nothing but its name tells of the connection to the service's port 443.
    assert_eq!((&of_push[0]["apps"], &of_push[0]["connections"]), (&json!(3), &json!(3)), "{lines}");
    for told in [nameless, lossy] {
        replay::twice(&told.stream, &["--geo".as_ref(), phone.geo.as_os_str()]);
    }
}
