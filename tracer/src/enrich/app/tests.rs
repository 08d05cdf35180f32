//! Whole roots: those of three Android releases, and hostile ones.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use android_abx::{AbxWriter, Attribute, AttributeValue, Event as AbxEvent};
use quick_xml::events::{BytesStart, Event};

use super::*;

/// A directory that goes away with the test.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tracer-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, making its directories.
    pub fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The root of a recorded release.
pub fn golden(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/android").join(release)
}

/// Binary XML with the types that Android's own writer gives these attributes.
pub fn abx_of(xml: &str) -> Vec<u8> {
    let mut writer = AbxWriter::new(Vec::new()).unwrap();
    let mut put = |event: AbxEvent| writer.write_event(&event).unwrap();
    put(AbxEvent::StartDocument);
    let mut reader = quick_xml::reader::Reader::from_str(xml);
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) => put(start_of(&tag)),
            Event::Empty(tag) => {
                put(start_of(&tag));
                put(AbxEvent::EndTag { name: tag.name().as_ref().into() });
            }
            Event::End(tag) => put(AbxEvent::EndTag { name: tag.name().as_ref().into() }),
            Event::Eof => break,
            _ => {}
        }
    }
    put(AbxEvent::EndDocument);
    writer.into_inner()
}

fn start_of(tag: &BytesStart<'_>) -> AbxEvent {
    let attributes = tag.attributes().map(|attribute| {
        let attribute = attribute.unwrap();
        let text = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap();
        let string = || AttributeValue::String(text.clone().into_owned());
        let name = attribute.key.as_ref();
        let value = match name {
            "userId" | "sharedUserId" | "publicFlags" | "privateFlags" | "count" | "index"
            | "schemeVersion" => text.parse().map_or_else(|_| string(), AttributeValue::Int),
            "version" | "identifier" => text.parse().map_or_else(|_| string(), AttributeValue::Long),
            "ft" | "it" | "ut" => {
                u64::from_str_radix(&text, 16).map_or_else(|_| string(), AttributeValue::LongHex)
            }
            "loadingProgress" => text.parse().map_or_else(|_| string(), AttributeValue::Float),
            _ => string(),
        };
        Attribute { name: name.into(), value }
    });
    AbxEvent::StartTag { name: tag.name().as_ref().into(), attributes: attributes.collect() }
}

fn load(root: &Path) -> (AppTable, Vec<String>) {
    AppTable::load(root, true)
}

fn clean(release: &str) -> AppTable {
    let (table, warnings) = load(&golden(release));
    assert_eq!(warnings, [""; 0], "{release}");
    table
}

fn json(table: &AppTable, uid: u32) -> serde_json::Value {
    serde_json::to_value(table.lookup(uid).unwrap().object()).unwrap()
}

#[test]
fn golden_binary_files_are_what_their_sources_say() {
    for release in ["12", "15"] {
        let source = std::fs::read_to_string(golden(release).join("packages.source.xml")).unwrap();
        let path = golden(release).join("data/system/packages.xml");
        let binary = abx_of(&source);
        if std::env::var_os("TRACER_BLESS").is_some() {
            std::fs::write(&path, &binary).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == binary, "{release}: see tests/golden/android/README.md");
    }
}

#[test]
fn every_release_gives_the_same_answers() {
    for release in ["9", "12", "15"] {
        let table = clean(release);
        assert_eq!(
            json(&table, 10_123),
            serde_json::json!({
                "package": ["com.example.messenger"], "uid": 10123, "android_user": 0, "app_id": 10123, "kind": "app",
                "preinstalled": false, "removable": true, "updated": false, "version": 2417,
                "installer": "com.android.vending",
            }),
            "{release}"
        );
        assert_eq!(
            json(&table, 10_023),
            serde_json::json!({
                "package": ["com.sonymobile.mx.android"], "uid": 10023, "android_user": 0, "app_id": 10023,
                "kind": "system", "preinstalled": true, "removable": false, "updated": false, "version": 4211,
            }),
            "{release}"
        );
    }
}

#[test]
fn a_uid_of_another_user_has_the_same_packages_and_its_own_user() {
    let table = clean("15");
    let app = json(&table, 1_010_123);
    assert_eq!(app["package"], serde_json::json!(["com.example.messenger"]));
    assert_eq!((app["android_user"].as_u64(), app["app_id"].as_u64()), (Some(10), Some(10_123)));
    assert_eq!(app["uid"], 1_010_123);
    assert_eq!(table.users(), [0, 10]);
    assert_eq!(clean("9").users(), [0]);
}

#[test]
fn all_packages_of_a_shared_uid_are_there_each_with_its_own_facts() {
    for release in ["9", "12", "15"] {
        let app = json(&clean(release), 10_140);
        assert_eq!(
            app["package"],
            serde_json::json!(["com.example.suite.calendar", "com.example.suite.mail"])
        );
        assert!(app.get("version").is_none() && app.get("installer").is_none());
        assert_eq!(
            app["members"],
            serde_json::json!([
                {"package": "com.example.suite.calendar", "preinstalled": false, "removable": true, "updated": false,
                 "version": 5_000_000_001_u64},
                {"package": "com.example.suite.mail", "preinstalled": false, "removable": true, "updated": false,
                 "version": 77, "installer": "org.fdroid.fdroid"},
            ])
        );
    }
}

#[test]
fn a_brief_object_names_all_packages_and_leaves_out_their_single_facts() {
    let table = clean("15");
    let mut full = json(&table, 10_140);
    full.as_object_mut().unwrap().remove("members");
    assert_eq!(serde_json::to_value(table.lookup(10_140).unwrap().brief()).unwrap(), full);
}

#[test]
fn an_updated_system_app_stays_preinstalled_and_not_removable() {
    for release in ["9", "12", "15"] {
        let table = clean(release);
        let app = json(&table, 10_031);
        assert_eq!(app["package"][0], "com.android.chrome");
        for (key, expected) in [("preinstalled", true), ("removable", false), ("updated", true)] {
            assert_eq!(app[key], expected, "{release} {key}");
        }
        assert_eq!(app["kind"], "system");
        // Shared by an updated and an untouched package.
        let app = json(&table, 10_007);
        assert_eq!((&app["updated"], &app["kind"]), (&true.into(), &"system".into()));
        assert_eq!(
            (&app["members"][0]["updated"], &app["members"][1]["updated"]),
            (&true.into(), &false.into())
        );
    }
}

#[test]
fn an_app_on_adopted_storage_is_not_preinstalled() {
    assert_eq!(json(&clean("15"), 10_151)["preinstalled"], false);
}

#[test]
fn every_range_of_uids_has_its_kind() {
    let table = clean("12");
    let expected = [
        (0, Some(Kind::Root)),
        (1000, Some(Kind::System)),
        (1001, Some(Kind::System)),
        (1_001_001, Some(Kind::System)),
        (1002, Some(Kind::System)),
        (1021, Some(Kind::Service)),
        (1051, Some(Kind::Service)),
        (2000, Some(Kind::Shell)),
        (2950, Some(Kind::Service)),
        (3100, None),
        (9999, Some(Kind::Service)),
        (10_023, Some(Kind::System)),
        (10_123, Some(Kind::App)),
        (10_999, Some(Kind::App)),
        (20_123, Some(Kind::SdkSandbox)),
        (30_000, None),
        (90_000, Some(Kind::Isolated)),
        (1_099_999, Some(Kind::Isolated)),
        (1_000_000, None),
        (u32::MAX, None),
    ];
    for (uid, kind) in expected {
        assert_eq!(table.lookup(uid).map(|app| app.kind), kind, "{uid}");
    }
}

#[test]
fn a_sandbox_has_the_packages_of_its_app_and_an_isolated_process_none() {
    let table = clean("15");
    let app = json(&table, 1_020_123);
    assert_eq!(app["package"], serde_json::json!(["com.example.messenger"]));
    assert_eq!((&app["app_id"], &app["uid"]), (&10_123.into(), &1_020_123.into()));
    let isolated = json(&table, 99_007);
    assert_eq!(
        isolated,
        serde_json::json!({"uid": 99_007, "android_user": 0, "app_id": 99_007, "kind": "isolated"})
    );
}

#[test]
fn an_isolated_process_is_credited_to_the_package_that_it_is_named_after() {
    let table = clean("15");
    let isolated = table.lookup(1_099_007).unwrap();
    let name = "com.example.messenger:sandboxed_process0:org.example.Service0:0";
    let app = table.named_by_process(&isolated, name).unwrap();
    assert_eq!(
        (app.packages(), app.uid, app.app_id),
        (&["com.example.messenger".to_owned()][..], 1_099_007, 10_123)
    );
    assert_eq!((app.kind, app.is_by_name, app.android_user), (Kind::Isolated, true, 10));
    for other in ["com.example.messenger", "com.example.nobody:x", "", ":", "/system/bin/sh -c a:b"] {
        assert!(table.named_by_process(&isolated, other).is_none(), "{other}");
    }
    let ordinary = table.lookup(10_123).unwrap();
    assert!(table.named_by_process(&ordinary, name).is_none(), "the uid tells");
}

#[test]
fn user_names_are_those_that_the_device_itself_would_give() {
    let table = clean("15");
    for (uid, name) in [
        (0, Some("root")),
        (1000, Some("system")),
        (1051, Some("dns")),
        (2000, Some("shell")),
        (2901, Some("vendor_qti_diag")),
        (2902, Some("oem_2902")),
        (10_123, Some("u0_a123")),
        (1_010_123, Some("u10_a123")),
        (1_001_001, Some("u10_radio")),
        (99_005, Some("u0_i9005")),
        (1_090_005, Some("u10_i5")),
        (3100, None),
        (60_000, None),
        (u32::MAX, None),
    ] {
        assert_eq!(table.user_name(uid).as_deref(), name, "{uid}");
    }
}

#[test]
fn a_plain_linux_has_user_names_and_no_apps_and_nothing_to_warn_about() {
    let dir = TempDir::new();
    dir.write("etc/passwd", b"root:x:0:0::/:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n");
    let (table, warnings) = AppTable::load(dir.path(), false);
    assert_eq!(warnings, [""; 0]);
    assert!(!table.is_android());
    assert_eq!(table.user_name(1000).as_deref(), Some("alice"));
    assert_eq!(table.user_name(1001), None);
    assert!(table.lookup(1000).is_none());
    assert_eq!(table.package_count(), None);
}

#[test]
fn a_root_named_as_android_that_is_none_is_one_warning() {
    let dir = TempDir::new();
    let (table, warnings) = AppTable::load(dir.path(), true);
    assert!(!table.is_android());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("data/system") && warnings[0].contains("--android-root"), "{warnings:?}");
}

#[test]
fn a_missing_file_is_one_warning_that_names_it_and_the_other_file_still_counts() {
    let list = std::fs::read(golden("15").join("data/system/packages.list")).unwrap();
    let xml = std::fs::read(golden("15").join("data/system/packages.xml")).unwrap();

    let dir = TempDir::new();
    dir.write("data/system/packages.list", &list);
    let (table, warnings) = load(dir.path());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("data/system/packages.xml: cannot open it: No such file"), "{warnings:?}");
    let app = json(&table, 10_123);
    assert_eq!((&app["version"], &app["installer"]), (&2417.into(), &"com.android.vending".into()));
    assert_eq!(app["preinstalled"], false);
    // The list does not tell whether a preinstalled app was updated.
    assert!(json(&table, 10_023).get("updated").is_none());

    let dir = TempDir::new();
    dir.write("data/system/packages.xml", &xml);
    let (table, warnings) = load(dir.path());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("data/system/packages.list: cannot open it: No such file"), "{warnings:?}");
    assert_eq!(json(&table, 10_123)["package"], serde_json::json!(["com.example.messenger"]));
    assert_eq!(table.lookup(10_140).unwrap().packages().len(), 2);
}

#[test]
fn a_package_that_only_packages_xml_knows_has_no_uid_while_the_list_is_whole() {
    let dir = TempDir::new();
    dir.write("data/system/packages.list", b"com.a 10001 0 /d default none\n");
    dir.write(
        "data/system/packages.xml",
        b"<packages><package name=\"com.a\" userId=\"10001\"/><package name=\"com.gone\" userId=\"10002\"/></packages>",
    );
    let (table, warnings) = load(dir.path());
    assert_eq!(warnings, [""; 0]);
    assert!(table.lookup(10_002).unwrap().packages().is_empty());
}

#[test]
fn lines_that_stand_twice_count_once() {
    let dir = TempDir::new();
    let line = "com.a 10001 0 /d default none\n";
    dir.write("data/system/packages.list", line.repeat(3).as_bytes());
    dir.write("data/system/packages.xml", b"<packages/>");
    let (table, warnings) = load(dir.path());
    assert_eq!(warnings, [""; 0]);
    assert_eq!(table.lookup(10_001).unwrap().packages(), ["com.a"]);
    assert_eq!(table.package_count(), Some(1));
}

#[test]
fn a_table_can_be_loaded_on_another_thread() {
    fn sendable<T: Send + Sync + 'static>(_: &T) {}
    sendable(&clean("9"));
}

#[test]
fn watched_paths_are_below_the_root() {
    let paths = watch_paths(Path::new("/x"));
    assert!(paths.contains(&PathBuf::from("/x/data/system/packages.list")));
    assert!(paths.contains(&PathBuf::from("/x/data/system/packages.xml")));
    assert!(paths.iter().all(|path| path.starts_with("/x")));
}

fn printed(table: &AppTable, json: bool) -> (String, String) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    print(table, json, &mut out, &mut notes).unwrap();
    (String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
}

#[test]
fn the_printed_table_lines_up_and_names_every_package() {
    let (out, notes) = printed(&clean("15"), false);
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 1 + 13);
    let column = lines[0].find("PACKAGE").unwrap();
    assert!(lines.iter().skip(1).all(|line| line[column..].starts_with("com.")), "{out}");
    assert!(out.contains("yes, updated") && out.contains("org.fdroid.fdroid"), "{out}");
    assert!(notes.contains("Android users: 0, 10"), "{notes}");
}

#[test]
fn the_json_table_has_one_record_object_a_line() {
    let table = clean("15");
    let (out, notes) = printed(&table, true);
    assert!(notes.is_empty());
    let objects: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), table.apps().count());
    assert!(objects.contains(&json(&table, 10_140)));
}

#[test]
fn the_table_of_a_plain_linux_says_that_it_is_one() {
    let dir = TempDir::new();
    dir.write("etc/passwd", b"alice:x:1000:1000::/:/bin/sh\n");
    let (table, _) = AppTable::load(dir.path(), false);
    let (out, notes) = printed(&table, false);
    assert!(notes.contains("no Android package list"), "{notes}");
    assert_eq!(out, " UID  USER\n1000  alice\n");
    assert_eq!(printed(&table, true).0, "{\"id\":\"1000\",\"name\":\"alice\"}\n");
}

/// Loads a root of these two files and asserts what must hold for any content.
fn must_hold(dir: &TempDir, list: &[u8], xml: &[u8], what: &str) {
    dir.write("data/system/packages.list", list);
    dir.write("data/system/packages.xml", xml);
    let begin = Instant::now();
    let (table, warnings) = load(dir.path());
    assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
    assert!(warnings.len() <= 2, "{what}: {warnings:?}");
    let hostile = |c: char| c.is_control();
    assert!(!warnings.iter().any(|warning| warning.contains(hostile)), "{what}: {warnings:?}");
    let (out, _) = printed(&table, true);
    assert!(!out.contains(|c: char| hostile(c) && c != '\n'), "{what}");
    for line in out.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{what}: {line}");
    }
}

#[test]
fn no_damage_to_a_file_makes_loading_fail_or_hang() {
    let dir = TempDir::new();
    for release in ["9", "12", "15"] {
        let list = std::fs::read(golden(release).join("data/system/packages.list")).unwrap();
        let xml = std::fs::read(golden(release).join("data/system/packages.xml")).unwrap();
        // A stride that is coprime to the usual sizes of things reaches every kind of place.
        for place in (0..list.len()).step_by(23) {
            must_hold(&dir, &list[..place], &xml, "cut list");
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = list.clone();
                bad[place] ^= flip;
                must_hold(&dir, &bad, &xml, "flipped list");
            }
        }
        for place in (0..xml.len()).step_by(41) {
            must_hold(&dir, &list, &xml[..place], "cut xml");
            for flip in [0x01, 0x80, 0xff] {
                let mut bad = xml.clone();
                bad[place] ^= flip;
                must_hold(&dir, &list, &bad, "flipped xml");
            }
        }
    }
}

#[test]
fn every_cut_of_packages_xml_is_noticed_and_loses_only_what_was_cut() {
    for release in ["9", "12", "15"] {
        let xml = std::fs::read(golden(release).join("data/system/packages.xml")).unwrap();
        let mut most = 0;
        // The last bytes close the document (and a line), or are the binary form's own end mark.
        for place in (4..xml.len() - 12).step_by(17) {
            let mut trouble = file::Trouble::new(Path::new("packages.xml"));
            let packages = packages_xml::parse(&xml[..place], &mut trouble);
            assert!(trouble.is_some(), "{release}: cut at {place} was not noticed");
            assert!(packages.len() >= most, "{release}: cut at {place} lost packages that stand before it");
            most = packages.len();
        }
        assert!(most >= 12, "{release}: {most}");
    }
}

#[test]
fn a_whole_line_that_is_damaged_does_not_touch_its_neighbours() {
    let list = std::fs::read_to_string(golden("12").join("data/system/packages.list")).unwrap();
    let xml = std::fs::read(golden("12").join("data/system/packages.xml")).unwrap();
    let dir = TempDir::new();
    dir.write("data/system/packages.xml", &xml);
    let mut text = list.replace("com.example.messenger 10123", "com.example.messenger 99999999999");
    text.push_str("com.\u{1b}[2Jevil 10200 0 /d default none\n");
    dir.write("data/system/packages.list", text.as_bytes());
    let (table, warnings) = load(dir.path());
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("packages.list: line 10: \"99999999999\" is not a uid (and 1 more such place)"),
        "{warnings:?}"
    );
    assert_eq!(table.lookup(10_140).unwrap().packages().len(), 2);
    // The list is damaged, so the other file fills in.
    assert_eq!(table.lookup(10_123).unwrap().packages(), ["com.example.messenger"]);
}
