//! Small databases for the tests, in `tests/golden/mmdb/made/`: documentation addresses in every layout we accept.
//!
//! They name no real place of any address: 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 and 2001:db8::/32 belong to
//! nobody (RFC 5737, RFC 3849), and the program looks them up in files of the user only.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::mmdb::{About, IpVersion, Span, Value, write};
use super::source::bits;

struct Fixture {
    name: &'static str,
    /// Seconds since 1970.
    built: u64,
    ip_version: IpVersion,
    record_size: u16,
    /// First and last address, record.
    ranges: Vec<(&'static str, &'static str, Value)>,
}

const DAY: u64 = 86_400;
/// 2026-11-01.
const NOVEMBER: u64 = 20_758 * DAY;

/// Writes all of them into `directory`.
pub fn write_all(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    for (name, bytes) in all()? {
        let path = directory.join(name);
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// File names and contents.
fn all() -> Result<Vec<(String, Vec<u8>)>> {
    let fixtures = own_layout().into_iter().chain(foreign_layouts());
    fixtures.map(|fixture| Ok((format!("{}.mmdb", fixture.name), fixture.bytes()?))).collect()
}

impl Fixture {
    fn bytes(&self) -> Result<Vec<u8>> {
        let about = About {
            database_type: self.name,
            description: "documentation addresses, for tests of tracer",
            build_epoch: self.built,
            ip_version: self.ip_version,
            record_size: self.record_size,
        };
        let mut records = Vec::new();
        let mut spans = Vec::new();
        for (index, (first, last, record)) in self.ranges.iter().enumerate() {
            records.push(record.clone());
            let (start, end) = (bits(first.parse::<IpAddr>()?), bits(last.parse::<IpAddr>()?));
            spans.push(Span { start, end, value: u32::try_from(index)? });
        }
        write(&about, &records, &spans)
    }
}

/// The layout of our own database.
fn own(country: &str, number: u32, name: &str) -> Value {
    Value::Map(vec![
        ("country_code", Value::text(country)),
        ("autonomous_system_number", Value::U32(number)),
        ("autonomous_system_organization", Value::text(name)),
    ])
}

fn v6_tree(name: &'static str, built: u64, ranges: Vec<(&'static str, &'static str, Value)>) -> Fixture {
    Fixture { name, built, ip_version: IpVersion::V6, record_size: 24, ranges }
}

fn own_layout() -> Vec<Fixture> {
    let country = |code| Value::Map(vec![("country_code", Value::text(code))]);
    vec![
        // What the scenarios use: each documentation network a country and network of its own.
        v6_tree(
            "documentation",
            NOVEMBER,
            vec![
                ("192.0.2.0", "192.0.2.255", own("US", 64_496, "Example Content Network")),
                ("198.51.100.0", "198.51.100.255", own("SE", 64_500, "Example Access Network")),
                ("203.0.113.0", "203.0.113.255", own("CN", 38_365, "Baidu, Inc.")),
                ("2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", own("CN", 38_365, "Baidu, Inc.")),
                (
                    "2001:db8:8000::",
                    "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                    own("SE", 64_500, "Example Access Network"),
                ),
            ],
        ),
        // Of the story in tests/scenarios/xperia-2014.
        v6_tree(
            "xperia",
            NOVEMBER,
            vec![
                ("192.0.2.0", "192.0.2.255", own("SE", 64_500, "Example Access Network")),
                ("198.51.100.0", "198.51.100.255", own("US", 15_169, "Google LLC")),
                ("203.0.113.0", "203.0.113.255", own("CN", 38_365, "Baidu, Inc.")),
            ],
        ),
        v6_tree("older", NOVEMBER - 60 * DAY, vec![("203.0.113.0", "203.0.113.255", country("DE"))]),
        v6_tree("newer", NOVEMBER + 10 * DAY, vec![("203.0.113.0", "203.0.113.255", country("JP"))]),
        // Two thousand days old, yet it knows sixteen addresses better than the others.
        v6_tree("specific", NOVEMBER - 2_000 * DAY, vec![("203.0.113.0", "203.0.113.15", country("FR"))]),
        // Answers also for addresses of the built-in database.
        v6_tree("override", NOVEMBER, vec![("1.0.0.0", "223.255.255.255", own("NO", 64_502, "Override"))]),
    ]
}

/// What other makers of such files write.
fn foreign_layouts() -> Vec<Fixture> {
    let map = |pairs| Value::Map(pairs);
    let iso = |code| map(vec![("geoname_id", Value::U32(1)), ("iso_code", Value::text(code))]);
    let number = |value| map(vec![("autonomous_system_number", value)]);
    vec![
        Fixture {
            name: "nested-country",
            built: NOVEMBER,
            ip_version: IpVersion::V6,
            record_size: 28,
            ranges: vec![
                (
                    "203.0.113.0",
                    "203.0.113.127",
                    map(vec![("registered_country", iso("DE")), ("country", iso("SE"))]),
                ),
                ("203.0.113.128", "203.0.113.191", map(vec![("registered_country", iso("DE"))])),
                (
                    "203.0.113.192",
                    "203.0.113.255",
                    map(vec![("country", iso("ZZ")), ("traits", Value::Array(vec![]))]),
                ),
            ],
        },
        v6_tree(
            "asn",
            NOVEMBER,
            vec![(
                "203.0.113.0",
                "203.0.113.255",
                map(vec![
                    ("autonomous_system_number", Value::U32(64_501)),
                    ("autonomous_system_organization", Value::text("Example Carrier")),
                ]),
            )],
        ),
        v6_tree(
            "flat-text",
            NOVEMBER,
            vec![(
                "203.0.113.0",
                "203.0.113.255",
                map(vec![
                    ("country", Value::text("JP")),
                    ("country_name", Value::text("Japan")),
                    ("asn", Value::text("AS64511")),
                    ("as_name", Value::text("Example Hosting")),
                ]),
            )],
        ),
        Fixture {
            name: "integers-ipv4-only",
            built: NOVEMBER,
            ip_version: IpVersion::V4,
            record_size: 32,
            ranges: vec![
                ("203.0.113.0", "203.0.113.63", number(Value::U16(64_496))),
                ("203.0.113.64", "203.0.113.127", number(Value::U32(64_497))),
                ("203.0.113.128", "203.0.113.191", number(Value::U64(64_498))),
                ("203.0.113.192", "203.0.113.255", number(Value::U64(1 << 40))),
            ],
        },
        v6_tree(
            "unknown-layout",
            NOVEMBER,
            vec![("203.0.113.0", "203.0.113.255", map(vec![("colour", Value::text("red"))]))],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_in_the_repository_are_those_that_are_made_here() {
        let directory = crate::workspace::root().join("tests/golden/mmdb/made");
        let made = all().unwrap();
        for (name, bytes) in &made {
            assert!(
                fs::read(directory.join(name)).unwrap() == *bytes,
                "{name}: run `cargo xtask geodata --fixtures`"
            );
        }
        assert_eq!(fs::read_dir(directory).unwrap().count(), made.len());
    }
}
