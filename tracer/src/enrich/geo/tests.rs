//! Which answer is taken, reloading, age, and the lines of `tracer geo`.

use std::fs;
use std::path::Path;

use super::*;

/// 2026-11-22.
const NOW: Timestamp = Timestamp(20_779 * DAY);
const DAY: u64 = 86_400_000_000_000;

fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/mmdb/made").join(format!("{name}.mmdb"))
}

fn geo(names: &[&str]) -> Geo {
    let files: Vec<_> = names.iter().map(|name| made(name)).collect();
    Geo::load(&files, NOW).unwrap().0
}

fn place<'a>(geo: &'a Geo, address: &str) -> Place<'a> {
    geo.lookup(address.parse().unwrap())
}

fn code(geo: &Geo, address: &str) -> Option<&'static str> {
    place(geo, address).country_code()
}

/// A directory of its own for one test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("tracer-geo-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn copy(&self, from: &Path) -> PathBuf {
        let to = self.0.join("user.mmdb");
        fs::copy(from, &to).unwrap();
        to
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_global_address_has_country_and_network_from_the_built_in_database() {
    let geo = Geo::built_in().unwrap();
    let place = place(&geo, "180.101.50.188");
    assert_eq!((place.scope, place.country_code()), (Scope::Global, Some("CN")));
    assert_eq!(place.country.unwrap().name, "China");
    assert!(place.asn.is_some() && place.as_name.is_some());
    assert_eq!(place.country_source.unwrap().name, "built-in");
    assert_eq!(place.as_source.unwrap().name, "built-in");
}

#[test]
fn only_global_addresses_are_looked_up_even_if_a_file_knows_others() {
    let geo = geo(&["override"]);
    assert_eq!(code(&geo, "5.6.7.8"), Some("NO"));
    for address in
        ["10.1.2.3", "127.0.0.1", "100.64.0.1", "169.254.1.1", "::ffff:192.168.1.1", "64:ff9b::10.0.0.1"]
    {
        let place = place(&geo, address);
        assert_ne!(place.scope, Scope::Global, "{address}");
        assert!(place.country.is_none() && place.asn.is_none() && place.as_source.is_none(), "{address}");
    }
}

#[test]
fn documentation_addresses_are_looked_up_in_files_of_the_user_only() {
    assert!(place(&Geo::built_in().unwrap(), "203.0.113.7").asn.is_none());
    let geo = geo(&["documentation"]);
    let place = place(&geo, "203.0.113.7");
    assert_eq!(
        (place.scope, place.country_code(), place.asn),
        (Scope::Documentation, Some("CN"), Some(38_365))
    );
    assert_eq!(code(&geo, "2001:db8:8000::1"), Some("SE"));
}

#[test]
fn a_translated_address_is_located_by_the_address_inside() {
    let geo = geo(&["documentation"]);
    let translated = place(&geo, "64:ff9b::203.0.113.7");
    assert_eq!(translated.nat64, Some(Ipv4Addr::new(203, 0, 113, 7)));
    assert_eq!((translated.scope, translated.country_code()), (Scope::Documentation, Some("CN")));
    let mapped = place(&geo, "::ffff:203.0.113.7");
    assert_eq!((mapped.nat64, mapped.country_code()), (None, Some("CN")));
}

#[test]
fn an_anycast_address_has_a_network_and_no_country() {
    for geo in [Geo::built_in().unwrap(), geo(&["override"])] {
        for address in ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            let place = place(&geo, address);
            assert!(place.anycast, "{address}");
            assert!(place.asn.is_some(), "{address}");
            assert!(place.country.is_none() && place.country_source.is_none(), "{address}");
        }
    }
}

#[test]
fn a_file_of_the_user_comes_before_the_built_in_database_field_by_field() {
    let geo = geo(&["override"]);
    let place = place(&geo, "180.101.50.188");
    assert_eq!(
        (place.country_code(), place.asn, place.as_name),
        (Some("NO"), Some(64_502), Some("Override"))
    );
    assert!(place.country_source.unwrap().name.ends_with("override.mmdb"));
    // The file has no IPv6 networks: the built-in database answers.
    assert_eq!(code(&geo, "2001:4860:1::1"), Some("US"));
}

#[test]
fn a_file_with_networks_only_leaves_the_country_to_the_next() {
    for names in [["asn", "newer"], ["newer", "asn"]] {
        let geo = geo(&names);
        let place = place(&geo, "203.0.113.200");
        assert_eq!(
            (place.country_code(), place.asn, place.as_name),
            (Some("JP"), Some(64_501), Some("Example Carrier"))
        );
        assert!(place.country_source.unwrap().name.ends_with("newer.mmdb"));
        assert!(place.as_source.unwrap().name.ends_with("asn.mmdb"));
    }
}

#[test]
fn the_more_specific_network_wins_then_the_newer_file_then_the_one_given_first() {
    let all = geo(&["older", "newer", "specific"]);
    assert_eq!(code(&all, "203.0.113.7"), Some("FR"), "a /28 before two /24, though much older");
    assert_eq!(code(&all, "203.0.113.200"), Some("JP"), "the newer /24, though given later");
    // `documentation` and `flat-text` are of the same day and have the same network.
    assert_eq!(code(&geo(&["documentation", "flat-text"]), "203.0.113.7"), Some("CN"));
    assert_eq!(code(&geo(&["flat-text", "documentation"]), "203.0.113.7"), Some("JP"));
}

#[test]
fn databases_are_listed_most_important_first_and_paths_as_given() {
    let geo = geo(&["older", "newer"]);
    let names: Vec<_> = geo.databases().iter().map(|info| info.name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["newer.mmdb", "older.mmdb", "built-in"]);
    assert_eq!(geo.watch_paths(), [made("older"), made("newer")]);
    let first = serde_json::to_value(&geo.databases()[1]).unwrap();
    assert_eq!(first["type"], "older");
    assert_eq!(first["built"], "2026-09-02T00:00:00.000000000Z");
}

#[test]
fn a_file_given_twice_counts_once() {
    let geo = geo(&["newer", "newer"]);
    assert_eq!(geo.databases().len(), 2);
    assert_eq!(geo.watch_paths().len(), 1);
}

#[test]
fn a_bad_file_at_start_is_an_error_that_names_it() {
    let error = Geo::load(&[made("newer"), made("unknown-layout")], NOW).unwrap_err().to_string();
    assert!(error.contains("unknown-layout.mmdb"), "{error}");
}

#[test]
fn a_reload_takes_up_what_changed() {
    let directory = Directory::new("changed");
    let path = directory.copy(&made("older"));
    let (mut geo, _) = Geo::load(std::slice::from_ref(&path), NOW).unwrap();
    assert_eq!(code(&geo, "203.0.113.7"), Some("DE"));
    directory.copy(&made("newer"));
    assert_eq!(code(&geo, "203.0.113.7"), Some("DE"), "the old file is in memory");
    let reloaded = geo.reload();
    assert_eq!((reloaded.taken, reloaded.refused.len()), (1, 0));
    assert_eq!(code(&geo, "203.0.113.7"), Some("JP"));
    assert_eq!(geo.databases()[0].kind, "newer");
}

#[test]
fn a_bad_file_at_reload_is_refused_and_the_old_one_stays() {
    let directory = Directory::new("bad");
    let path = directory.copy(&made("older"));
    let (mut geo, _) = Geo::load(&[path.clone(), made("asn")], NOW).unwrap();
    for damage in ["truncated", "gone"] {
        match damage {
            "truncated" => fs::write(&path, &fs::read(made("newer")).unwrap()[..300]).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        let reloaded = geo.reload();
        assert_eq!((reloaded.taken, reloaded.refused.len()), (1, 1), "{damage}");
        assert!(reloaded.refused[0].to_string().contains("user.mmdb"), "{}", reloaded.refused[0]);
        assert_eq!(code(&geo, "203.0.113.7"), Some("DE"), "{damage}");
        assert_eq!(geo.watch_paths().len(), 2, "{damage}: watched further");
    }
}

#[test]
fn a_file_can_be_loaded_on_another_thread_and_put_in_place_here() {
    let mut geo = geo(&["newer"]);
    let loaded = std::thread::spawn(|| load_file(&made("newer"))).join().unwrap().unwrap();
    assert!(geo.replace(loaded));
    assert!(!geo.replace(load_file(&made("older")).unwrap()), "a file that was never given has no place");
    assert_eq!(code(&geo, "203.0.113.7"), Some("JP"));
}

#[test]
fn a_database_warns_from_the_ninety_first_day_on() {
    let geo = geo(&["documentation"]);
    let november = 20_758;
    let at = |day: u64| geo.age_warnings(Timestamp(day * DAY));
    assert_eq!(at(november + 90), [""; 0]);
    let warnings = geo.age_warnings(Timestamp((november + 90) * DAY + 1));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("documentation.mmdb") && warnings[0].contains("2026-11-01"), "{warnings:?}");
    assert!(warnings[1].contains("built-in") && warnings[1].contains("--geo FILE"), "{warnings:?}");
    // A phone without a set clock says 1970.
    assert_eq!(geo.age_warnings(Timestamp(0)), [""; 0]);
}

#[test]
fn an_old_built_in_database_is_mentioned_unless_fresh_files_cover_both_fields() {
    let warns = |names: &[&str]| geo(names).age_warnings(NOW).iter().any(|text| text.contains("built-in"));
    assert!(warns(&[]));
    assert!(warns(&["asn"]), "countries still come from the built-in one");
    assert!(warns(&["newer"]), "networks still come from the built-in one");
    assert!(!warns(&["asn", "newer"]));
    assert!(!warns(&["documentation"]));
}

#[test]
fn the_geo_command_answers_one_line_an_address_in_record_form() {
    let geo = geo(&["documentation"]);
    let addresses = ["203.0.113.7", "10.0.0.1", "64:ff9b::203.0.113.7", "8.8.8.8", "::ffff:10.0.0.1"];
    let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let mut out = Vec::new();
    answer(&geo, &addresses, &mut out).unwrap();
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let database = serde_json::to_value(&geo.databases()[0]).unwrap();
    assert_eq!(
        lines[0],
        serde_json::json!({
            "ip": "203.0.113.7", "scope": "documentation",
            "geo": {"country_iso_code": "CN", "country_name": "China"},
            "as": {"number": 38365, "organization": {"name": "Baidu, Inc."}},
            "databases": {"geo": database, "as": database},
        })
    );
    assert_eq!(lines[1], serde_json::json!({"ip": "10.0.0.1", "scope": "private"}));
    assert_eq!((&lines[2]["ip"], &lines[2]["nat64"]), (&"64:ff9b::cb00:7107".into(), &"203.0.113.7".into()));
    assert_eq!((&lines[3]["anycast"], &lines[3]["as"]["number"]), (&true.into(), &15169.into()));
    assert!(lines[3].get("geo").is_none());
    assert_eq!(lines[4], serde_json::json!({"ip": "10.0.0.1", "scope": "private"}));
}

#[test]
fn a_closed_pipe_is_an_error_of_that_kind() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = answer(&geo(&[]), &["1.1.1.1".parse().unwrap()], &mut Closed).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}
