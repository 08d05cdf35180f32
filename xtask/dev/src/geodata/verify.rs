//! Reads the finished database back and compares it with the sources, address by address.
//!
//! Flows in: the file's bytes and both sources. Flows out: how many addresses were compared, or the first that differs.
//! It asks the sources themselves, not the merged ranges, so that a mistake in merging shows too.

use anyhow::{Context, Result, ensure};
use maxminddb::Reader;
use serde::Deserialize;

use super::mmdb::Span;
use super::source::{Country, Networks, address, country_at};

/// Pseudo-random addresses compared besides all edges.
const RANDOM: usize = 500_000;

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Found<'a> {
    country_code: Option<&'a str>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
}

/// Compares both sides of both edges of every range of both sources, and random addresses between them.
pub fn verify(
    file: &[u8],
    country_source: &Reader<&[u8]>,
    countries: &[Span<Country>],
    networks: &Networks,
) -> Result<usize> {
    let reader = Reader::from_source(file)?;
    reader.verify().context("the file's own structure")?;
    let edges =
        countries.iter().map(|s| (s.start, s.end)).chain(networks.spans.iter().map(|s| (s.start, s.end)));
    let mut compared = 0;
    for (start, end) in edges.clone() {
        for at in [start.saturating_sub(1), start, end, end.saturating_add(1)] {
            compare(&reader, country_source, networks, at)?;
            compared += 1;
        }
    }
    let ranges: Vec<_> = edges.collect();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..RANDOM {
        let (start, end) = ranges[usize::try_from(random.below(ranges.len() as u128))?];
        compare(&reader, country_source, networks, start + random.below(end - start + 1))?;
        let v4 = random.below(1 << 32);
        compare(&reader, country_source, networks, v4)?;
        // 2000::/3, all that is given out so far.
        compare(&reader, country_source, networks, 1 << 125 | random.below(1 << 125))?;
        compared += 3;
    }
    Ok(compared)
}

fn compare(reader: &Reader<&[u8]>, countries: &Reader<&[u8]>, networks: &Networks, at: u128) -> Result<()> {
    let ip = address(at);
    let country = country_at(countries, ip)?;
    let number = networks.at(at);
    let expected = Found {
        country_code: country.as_ref().map(|code| std::str::from_utf8(code)).transpose()?,
        autonomous_system_number: number,
        autonomous_system_organization: number.and_then(|n| networks.names.get(&n)).map(String::as_str),
    };
    let found = reader.lookup(ip)?.decode::<Found<'_>>()?.unwrap_or_default();
    ensure!(found == expected, "{ip}: the file says {found:?}, the sources say {expected:?}");
    Ok(())
}

/// `xorshift128+`-like numbers: the same in every run, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u128) -> u128 {
        (u128::from(self.next()) << 64 | u128::from(self.next())) % limit
    }
}
