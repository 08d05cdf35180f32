//! Where a connection goes, and whether that is expected.

use serde_json::{Value, json};
use tracer_tests::actor::Report;
use tracer_tests::live;
use tracer_tests::record::{action, at, text};
use tracer_tests::temp::{TempDir, fixture};
use tracer_tests::tracer::Tracer;

use crate::scene::Scene;

fn with_database(more: &[&str]) -> Scene {
    let files = TempDir::new();
    let path = files.write("test.mmdb", fixture::GEO);
    let mut arguments = vec!["--geo".as_ref(), path.as_os_str()];
    arguments.extend(more.iter().map(std::ffi::OsStr::new));
    Scene::with_files(files, &arguments)
}

fn connect(scene: &Scene, to: &str) -> Report {
    let family = if to.starts_with('[') { 6 } else { 4 };
    scene.act(&format!("socket={family} connect={to} tell"))
}

#[test]
fn a_database_of_the_user_gives_country_and_network() {
    let _turn = live!();
    let scene = with_database(&[]);
    let start = scene.tracer.expect("start", |record| action(record) == "start");
    let databases = at(&start, "tracer.geo").as_array().unwrap();
    let name = |database: &Value| text(database, "name").to_owned();
    assert!(databases.iter().any(|database| name(database).ends_with("test.mmdb")), "{databases:?}");
    assert!(databases.iter().all(|database| text(database, "built").ends_with('Z')), "{databases:?}");
    for (to, country, network) in [
        ("203.0.113.7:5000", "CN", 38365),
        ("198.51.100.9:5000", "SE", 64500),
        ("[2001:db8::7]:5000", "CN", 38365),
    ] {
        // Refused, but it went there.
        let record = scene.expect(&connect(&scene, to), "failed");
        assert_eq!(text(&record, "destination.geo.country_iso_code"), country, "{record}");
        assert_eq!(at(&record, "destination.as.number"), &json!(network));
        assert_eq!(text(&record, "destination.scope"), "documentation");
        assert!(!text(&record, "destination.geo.country_name").is_empty());
    }
    scene.stop();
}

#[test]
fn a_global_address_has_country_and_network_from_the_built_in_data() {
    let _turn = live!();
    let scene = Scene::new();
    for to in ["193.0.6.139:5000", "[2001:67c:2e8:22::c100:68b]:5000"] {
        let ip = to.parse::<std::net::SocketAddr>().unwrap().ip();
        let prefix = if ip.is_ipv4() { 32 } else { 128 };
        scene.netns.enter(|| tracer_tests::netlink::add_address("lo", ip, prefix)).unwrap();
        let record = scene.expect(&connect(&scene, to), "failed");
        assert_eq!(text(&record, "destination.scope"), "global");
        // The network of the registry that gives out Europe's addresses.
        assert_eq!(text(&record, "destination.geo.country_iso_code"), "NL", "{record}");
        assert_eq!(at(&record, "destination.as.number"), &json!(3333), "{record}");
        assert!(text(&record, "destination.as.organization.name").contains("RIPE"), "{record}");
    }
    scene.stop();
}

#[test]
fn an_anycast_address_has_no_country() {
    let _turn = live!();
    let scene = Scene::new();
    let ip = "1.1.1.1".parse().unwrap();
    scene.netns.enter(|| tracer_tests::netlink::add_address("lo", ip, 32)).unwrap();
    let record = scene.expect(&connect(&scene, "1.1.1.1:5000"), "failed");
    assert_eq!(at(&record, "destination.anycast"), &json!(true));
    assert_eq!(at(&record, "destination.geo"), &Value::Null);
    assert!(at(&record, "destination.as.number").is_u64(), "{record}");
    scene.stop();
}

#[test]
fn a_bad_file_is_refused_with_its_reason_and_the_old_data_stay() {
    let _turn = live!();
    let scene = with_database(&[]);
    let country = |scene: &Scene| {
        let record = scene.expect(&connect(scene, "203.0.113.7:5000"), "failed");
        text(&record, "destination.geo.country_iso_code").to_owned()
    };
    assert_eq!(country(&scene), "CN");
    scene.files.write("test.mmdb", fixture::BAD_GEO);
    scene.tracer.expect("a warning that names the file", |record| {
        let message = text(record, "tracer.message");
        action(record) == "warning" && message.contains("test.mmdb") && message.contains("stays in use")
    });
    assert_eq!(country(&scene), "CN");
    scene.stop();
}

#[test]
fn a_new_file_takes_the_place_of_the_old_one() {
    let _turn = live!();
    let files = TempDir::new();
    let path = files.write("test.mmdb", fixture::OTHER_GEO);
    let scene = Scene::with_files(files, &["--geo".as_ref(), path.as_os_str()]);
    let before = scene.expect(&connect(&scene, "203.0.113.7:5000"), "failed");
    scene.files.write("test.mmdb", fixture::GEO);
    scene.tracer.expect("reload", |record| action(record) == "reload");
    let after = scene.expect(&connect(&scene, "203.0.113.7:5000"), "failed");
    assert_eq!(at(&after, "destination.as.number"), &json!(38365));
    assert_ne!(at(&before, "destination.as"), at(&after, "destination.as"));
    scene.stop();
}

#[test]
fn a_connection_to_a_country_outside_home_is_flagged_with_a_reason() {
    let _turn = live!();
    let files = TempDir::new();
    fixture::android_15(&files);
    let database = files.write("test.mmdb", fixture::GEO);
    let root = files.path().as_os_str().to_owned();
    let arguments = [
        "--home".as_ref(),
        "SE".as_ref(),
        "--geo".as_ref(),
        database.as_os_str(),
        "--android-root".as_ref(),
        &*root,
    ];
    let scene = Scene::with_files(files, &arguments);
    let mut listener = scene.listen("203.0.113.7:5000", "accept tell eof close");
    let abroad = scene.act("uid=10123 socket=4 connect=203.0.113.7:5000 tell");
    let accepted = listener.actor.report();
    for action in ["connect", "established", "close"] {
        let record = scene.expect(&abroad, action);
        assert_eq!(at(&record, "flags").as_array().map(Vec::len), Some(1), "{record}");
        let flag = &at(&record, "flags")[0];
        assert_eq!(text(flag, "id"), "outside-home");
        let reason = text(flag, "reason");
        for word in ["com.example.messenger", "China", "SE"] {
            assert!(reason.contains(word), "{word} is not in {reason:?}");
        }
    }
    for action in ["accept", "close"] {
        assert_eq!(at(&scene.expect(&accepted, action), "flags"), &Value::Null, "somebody else connected");
    }
    let at_home = scene.act("uid=10123 socket=4 connect=198.51.100.9:5000 tell");
    assert_eq!(at(&scene.expect(&at_home, "failed"), "flags"), &Value::Null);
    scene.stop();
}

#[test]
fn a_bad_file_at_the_start_ends_the_program_with_file_and_reason() {
    let _turn = live!();
    let files = TempDir::new();
    let path = files.write("bad.mmdb", fixture::BAD_GEO);
    let stream = Tracer::spawn(["--geo".as_ref(), path.as_os_str()]).end();
    assert_eq!(stream.status.code(), Some(2), "{}", stream.stderr);
    assert!(stream.records.is_empty());
    assert!(stream.stderr.contains(path.to_str().unwrap()), "{}", stream.stderr);
}
