//! Good, bad and deliberately broken files.

use std::fs;

use super::*;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/mmdb").join(name)
}

fn golden_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(golden(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{directory}: {files:?}");
    files
}

fn ask<'a>(database: &'a Database, address: &str) -> Option<Found<'a>> {
    database.lookup(address.parse().unwrap())
}

fn country(database: &Database, address: &str) -> Option<&'static str> {
    ask(database, address).and_then(|found| found.fields.country).map(|country| country.code)
}

/// Xorshift: the same numbers in every run, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Reads and asks whatever the bytes are. Returns whether they were taken.
fn exercise(bytes: Vec<u8>) -> bool {
    let Ok(database) = Database::from_bytes("test".to_owned(), Cow::Owned(bytes)) else { return false };
    let checked = database.check().is_ok();
    for address in
        ["203.0.113.7", "1.2.3.4", "89.160.20.128", "255.255.255.255", "2001:db8::1", "2a02:d300::1"]
    {
        if let Some(found) = ask(&database, address) {
            assert!(!found.fields.is_empty());
            assert!(found.prefix() <= if address.contains(':') { 128 } else { 32 });
        }
    }
    checked
}

#[test]
fn the_built_in_database_reads_back_whole() {
    let mut database = Database::built_in().unwrap();
    assert_eq!(database.info().name, "built-in");
    assert_eq!(database.info().kind, "tracer-country-asn");
    assert!(database.info().built.unwrap().to_string().starts_with("2026-06-17T"));
    database.coverage = Coverage::default();
    assert_eq!(database.check().unwrap(), Database::built_in().unwrap().coverage());
}

#[test]
fn the_built_in_database_knows_country_and_network_of_both_families() {
    let database = Database::built_in().unwrap();
    for (address, code, number, name) in [
        ("180.101.50.188", "CN", 134_756, "China Telecom"),
        ("8.8.8.8", "US", 15_169, "Google LLC"),
        ("2001:4860:4860::8888", "US", 15_169, "Google LLC"),
    ] {
        let fields = ask(&database, address).unwrap().fields;
        assert_eq!((fields.country.unwrap().code, fields.number), (code, Some(number)), "{address}");
        assert!(fields.name.unwrap().starts_with(name), "{address}: {fields:?}");
    }
}

#[test]
fn every_layout_is_read_from_a_real_file() {
    let nested = load_file(&golden("made/nested-country.mmdb")).unwrap();
    assert_eq!(country(&nested, "203.0.113.1"), Some("SE"));
    assert_eq!(country(&nested, "203.0.113.129"), Some("DE"));
    assert!(ask(&nested, "203.0.113.193").is_none(), "ZZ is no country");
    assert_eq!(nested.coverage(), Coverage { country: true, network: false });

    let flat = load_file(&golden("made/flat-text.mmdb")).unwrap();
    let fields = ask(&flat, "203.0.113.1").unwrap().fields;
    assert_eq!(
        (fields.country.unwrap().code, fields.number, fields.name),
        ("JP", Some(64_511), Some("Example Hosting"))
    );

    let numbers = load_file(&golden("made/integers-ipv4-only.mmdb")).unwrap();
    let number = |address| ask(&numbers, address).and_then(|found| found.fields.number);
    assert_eq!(number("203.0.113.0"), Some(64_496), "u16");
    assert_eq!(number("203.0.113.64"), Some(64_497), "u32");
    assert_eq!(number("203.0.113.128"), Some(64_498), "u64");
    assert_eq!(number("203.0.113.192"), None, "no AS number has 40 bits");
    assert_eq!(numbers.coverage(), Coverage { country: false, network: true });
}

#[test]
fn an_ipv6_address_in_a_file_of_ipv4_networks_has_no_answer() {
    let database = load_file(&golden("made/integers-ipv4-only.mmdb")).unwrap();
    assert!(ask(&database, "2001:db8::1").is_none());
    assert!(ask(&database, "203.0.113.0").is_some());
}

#[test]
fn the_prefix_is_that_of_the_addresss_own_family() {
    for (file, address, prefix) in [
        ("made/documentation.mmdb", "203.0.113.7", 24),
        ("made/documentation.mmdb", "2001:db8::7", 33),
        ("made/specific.mmdb", "203.0.113.7", 28),
        ("made/integers-ipv4-only.mmdb", "203.0.113.7", 26),
    ] {
        let database = load_file(&golden(file)).unwrap();
        assert_eq!(ask(&database, address).unwrap().prefix(), prefix, "{file} {address}");
    }
}

#[test]
fn files_of_the_large_makers_are_read() {
    let city = load_file(&golden("good/GeoIP2-City-Test.mmdb")).unwrap();
    assert_eq!(country(&city, "89.160.20.128"), Some("SE"));
    let countries = load_file(&golden("good/GeoIP2-Country-Test.mmdb")).unwrap();
    assert_eq!(country(&countries, "2a02:d300::1"), Some("UA"));
    let networks = load_file(&golden("good/GeoLite2-ASN-Test.mmdb")).unwrap();
    let fields = ask(&networks, "1.128.0.1").unwrap().fields;
    assert_eq!((fields.number, fields.name), (Some(1221), Some("Telstra Pty Ltd")));
}

#[test]
fn a_readable_file_that_knows_neither_country_nor_network_is_refused_with_its_type() {
    for name in [
        "good/GeoIP2-Anonymous-IP-Test.mmdb",
        "good/MaxMind-DB-test-ipv4-24.mmdb",
        "made/unknown-layout.mmdb",
    ] {
        let error = load_file(&golden(name)).unwrap_err();
        assert!(matches!(error, GeoError::NothingKnown { .. }), "{name}: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = load_file(&golden("good/GeoIP2-Anonymous-IP-Test.mmdb")).unwrap_err();
    assert!(error.to_string().contains("GeoIP2-Anonymous-IP"), "{error}");
}

#[test]
fn no_bad_file_stops_or_hangs_us_and_each_refusal_names_the_file() {
    let mut refused = 0;
    for path in golden_files("bad").iter().chain(&golden_files("good")) {
        exercise(fs::read(path).unwrap());
        if let Err(error) = load_file(path) {
            refused += 1;
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
    // All that are bad, and the eight good ones that know neither country nor network.
    assert_eq!(refused, golden_files("bad").len() + 8);
}

#[test]
fn what_cannot_be_a_database_is_refused_with_path_and_reason() {
    for (path, expected) in [
        (PathBuf::from("/nonexistent/geo.mmdb"), "No such file"),
        (PathBuf::from("/dev/null"), "no regular file"),
        (golden("made"), "no regular file"),
        (golden("README.md"), "no MMDB file"),
    ] {
        let error = load_file(&path).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_never_taken() {
    for name in ["made/documentation.mmdb", "made/nested-country.mmdb", "made/integers-ipv4-only.mmdb"] {
        let whole = fs::read(golden(name)).unwrap();
        assert!(exercise(whole.clone()), "{name}");
        for length in 0..whole.len() {
            assert!(!exercise(whole[..length].to_vec()), "{name} cut to {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn random_damage_never_stops_us() {
    let names = [
        "made/documentation.mmdb",
        "made/integers-ipv4-only.mmdb",
        "made/nested-country.mmdb",
        "made/asn.mmdb",
    ];
    let mut random = Random(0x1234_5678_9abc_def1);
    let (mut taken, mut refused) = (0, 0);
    for name in names {
        let whole = fs::read(golden(name)).unwrap();
        for _ in 0..rounds() {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(bytes.len());
                bytes[at] = u8::try_from(random.below(256)).unwrap();
            }
            *(if exercise(bytes) { &mut taken } else { &mut refused }) += 1;
        }
    }
    // Both happen, or the damage is too small or too large to prove anything.
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

/// Enough for every run of the tests; `TRACER_FUZZ_ROUNDS` for a long one.
fn rounds() -> usize {
    std::env::var("TRACER_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}
