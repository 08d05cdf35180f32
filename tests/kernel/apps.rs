//! Apps: the package list changes while the tracer runs, and what stands in where the uid does not tell the app.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use tracer_tests::bpf::TagMap;
use tracer_tests::live;
use tracer_tests::record::{action, at, text};
use tracer_tests::temp::{TempDir, fixture};

use crate::scene::Scene;

const CONNECT: &str = "uid=10123 socket=4 connect=203.0.113.7:5000 tell";
/// Android 15's list with another package behind uid 10123.
fn other_list() -> Vec<u8> {
    let list = String::from_utf8(fixture::PACKAGES_LIST_15.to_vec()).unwrap();
    list.replace("com.example.messenger", "org.example.successor").into_bytes()
}

/// Packages of a new connection of uid 10123.
fn packages(scene: &Scene) -> Value {
    let report = scene.act(CONNECT);
    at(&scene.expect(&report, "close"), "app.package").clone()
}

#[test]
fn a_replaced_package_list_names_new_connections_and_loses_none() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server("203.0.113.7:5000");
    assert_eq!(packages(&scene), json!(["com.example.messenger"]));
    let mut old = scene.actor("uid=10123 socket=4 connect=203.0.113.7:5000 wait close");
    let report = old.report();
    scene.expect(&report, "established");

    // As Android replaces it: written beside and renamed.
    scene.files.write("data/system/packages.list", &other_list());
    std::fs::remove_file(scene.files.path().join("data/system/packages.xml")).unwrap();
    let reload = scene.tracer.expect("reload", |record| action(record) == "reload");
    assert_eq!(at(&reload, "tracer.packages"), &json!(13));
    assert_eq!(packages(&scene), json!(["org.example.successor"]));

    old.go().done();
    scene.expect(&report, "close");
    let stream = scene.stop();
    assert_eq!(stream.actions(report.cookie()), ["connect", "established", "close"]);
}

#[test]
fn a_broken_package_list_gives_a_warning_that_names_it_and_the_stream_goes_on() {
    let _turn = live!();
    let scene = Scene::android();
    let _server = scene.server("203.0.113.7:5000");
    let path = scene.files.write("data/system/packages.list", b"\x00\x1b[2Jnot a list\n");
    let path = path.to_str().unwrap();
    let names_it =
        |record: &Value| action(record) == "warning" && text(record, "tracer.message").contains(path);
    scene.tracer.expect("a warning about the list", names_it);
    let report = scene.act(CONNECT);
    assert_eq!(text(&scene.expect(&report, "close"), "user.id"), "10123");
    let stream = scene.stop();
    assert_eq!(stream.records.iter().filter(|record| names_it(record)).count(), 1, "one warning");
}

#[test]
fn sighup_reads_the_package_list_again() {
    let _turn = live!();
    let scene = Scene::android();
    scene.tracer.signal(Signal::HUP);
    let reload = scene.tracer.expect("reload", |record| action(record) == "reload");
    assert_eq!(at(&reload, "tracer.packages"), &json!(13));
    scene.stop();
}

#[test]
fn a_device_without_package_lists_is_warned_about_and_watched_all_the_same() {
    let _turn = live!();
    let files = tracer_tests::temp::TempDir::new();
    let root = files.path().as_os_str().to_owned();
    let scene = Scene::with_files(files, &["--android-root".as_ref(), root.as_os_str()]);
    let _server = scene.server("203.0.113.7:5000");
    scene.tracer.expect("a warning", |record| {
        action(record) == "warning" && text(record, "tracer.message").contains("data/system")
    });
    let report = scene.act(CONNECT);
    let record = scene.expect(&report, "close");
    assert_eq!((text(&record, "user.id"), at(&record, "app")), ("10123", &Value::Null));
    scene.stop();
}

#[test]
fn only_connections_of_the_wanted_app_are_shown_and_the_others_are_counted() {
    let _turn = live!();
    let files = tracer_tests::temp::TempDir::new();
    fixture::android_15(&files);
    let root = files.path().as_os_str().to_owned();
    let arguments = ["--app", "com.example.suite.*", "--events", "connect,close", "--android-root"];
    let arguments: Vec<_> = arguments.iter().map(std::ffi::OsStr::new).chain([root.as_os_str()]).collect();
    let scene = Scene::with_files(files, &arguments);
    let _server = scene.server("203.0.113.7:5000");
    let other = scene.act(CONNECT);
    let wanted = scene.act("uid=10140 socket=4 connect=203.0.113.7:5000 tell");
    scene.expect(&wanted, "close");
    let stream = scene.stop();
    assert_eq!(stream.actions(wanted.cookie()), ["connect", "close"]);
    assert_eq!(stream.actions(other.cookie()), [] as [&str; 0]);
    let not_shown = stream.counts("totals.not_shown");
    assert!(not_shown["connect"] >= 1 && not_shown["established"] >= 2, "{not_shown:?}");
}

#[test]
fn only_connections_of_the_wanted_uid_are_shown() {
    let _turn = live!();
    let scene = Scene::with(&["--uid", "54321"]);
    let _server = scene.server("203.0.113.7:5000");
    let other = scene.act(CONNECT);
    let wanted = scene.act("uid=54321 socket=4 connect=203.0.113.7:5000 tell");
    scene.expect(&wanted, "close");
    let stream = scene.stop();
    assert_eq!(stream.actions(wanted.cookie()), ["connect", "established", "close"]);
    assert_eq!(stream.actions(other.cookie()), [] as [&str; 0]);
}

#[test]
fn an_isolated_process_is_credited_to_the_app_that_it_is_named_after() {
    let _turn = live!();
    let scene = Scene::android();
    let name = "com.example.messenger:sandboxed_process0";
    let mut child = scene.netns.enter(|| {
        // It waits for its standard input, so that /proc can be read.
        let mut command = Command::new(tracer_tests::programs::actor());
        command.arg0(name).args(["uid=99007", "socket=4", "connect=203.0.113.7:9", "wait"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    });
    let record = scene.expect_here("failed");
    assert_eq!(at(&record, "app.package"), &json!(["com.example.messenger"]));
    assert_eq!((text(&record, "app.kind"), text(&record, "user.id")), ("isolated", "99007"));
    assert_eq!(text(&record, "attribution.app"), "process_name");
    assert_eq!(text(&record, "attribution.confidence"), "likely");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    scene.stop();
}

#[test]
fn a_tagged_socket_names_whom_it_works_for() {
    let _turn = live!();
    let files = TempDir::new();
    fixture::android_15(&files);
    let tags = TagMap::pin(files.path()).unwrap();
    let root = files.path().as_os_str().to_owned();
    let scene = Scene::with_files(files, &["--android-root".as_ref(), root.as_os_str()]);
    let start = scene.tracer.expect("start", |record| action(record) == "start");
    let tier = at(&start, "tracer.capabilities").as_array().unwrap().iter();
    let tier = tier.filter(|capability| text(capability, "capability") == "on_behalf_of");
    assert_eq!(tier.map(|capability| text(capability, "tier")).collect::<Vec<_>>(), ["netd_cookie_tag_map"]);

    // A download by Google Play services for the messenger; the messenger itself with a tag of its own; and no tag.
    let cases = [
        (
            "10007",
            Some((10123, 0xffff_ff01)),
            json!({"uid": 10123, "package": ["com.example.messenger"], "tag": "download"}),
        ),
        (
            "10123",
            Some((10123, 0x2a)),
            json!({"uid": 10123, "package": ["com.example.messenger"], "tag": "0x2a"}),
        ),
        ("10123", None, Value::Null),
    ];
    for (uid, tag, expected) in cases {
        let mut actor = scene.actor(&format!("uid={uid} socket=4 wait connect=203.0.113.7:5000"));
        let report = actor.report();
        if let Some((uid, tag)) = tag {
            tags.set(report.cookie(), uid, tag).unwrap();
        }
        actor.go().done();
        let record = scene.expect(&report, "failed");
        assert_eq!(at(&record, "attribution.on_behalf_of"), &expected, "{record}");
        assert_eq!(text(&record, "user.id"), uid, "{record}");
    }
    // The file system must be unmounted before its directory is removed with the scene's files.
    drop(tags);
    scene.stop();
}
