//! Reads the two sources and merges them into ranges of one country and one network.
//!
//! Flows in: the MMDB file with countries and the CSV files with autonomous systems. Flows out: sorted ranges that do
//! not overlap. A row that cannot be read stops the build: the database is never silently smaller than its source.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail, ensure};
use maxminddb::Reader;
use serde::Deserialize;

use super::mmdb::Span;

/// Two capital letters.
pub type Country = [u8; 2];

/// The networks of the AS source.
#[derive(Debug, Default)]
pub struct Networks {
    pub spans: Vec<Span<u32>>,
    pub names: BTreeMap<u32, String>,
    /// Ranges that reached into the next one and were cut there.
    pub cut: usize,
}

/// IPv4 as `::a.b.c.d`, where the format keeps it.
pub fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The reverse of [`bits`].
pub fn address(bits: u128) -> IpAddr {
    match u32::try_from(bits) {
        Ok(v4) => Ipv4Addr::from(v4).into(),
        Err(_) => Ipv6Addr::from(bits).into(),
    }
}

#[derive(Deserialize)]
struct CountryRecord<'a> {
    country_code: &'a str,
}

/// Country at one address of the source.
pub fn country_at(reader: &Reader<&[u8]>, address: IpAddr) -> Result<Option<Country>> {
    let record = reader.lookup(address)?.decode::<CountryRecord<'_>>()?;
    record.map(|record| country_code(record.country_code)).transpose()
}

fn country_code(text: &str) -> Result<Country> {
    let code: Country = text.as_bytes().try_into().ok().with_context(|| format!("country code {text:?}"))?;
    ensure!(code.iter().all(u8::is_ascii_uppercase), "country code {text:?}");
    Ok(code)
}

/// All ranges of the country source, in order.
pub fn countries(reader: &Reader<&[u8]>) -> Result<Vec<Span<Country>>> {
    let mut spans: Vec<Span<Country>> = Vec::new();
    for found in reader.networks(maxminddb::WithinOptions::default())? {
        let found = found?;
        let Some(record) = found.decode::<CountryRecord<'_>>()? else { continue };
        let network = found.network()?;
        let width = u32::from(if network.is_ipv4() { 32 - network.prefix() } else { 128 - network.prefix() });
        let start = bits(network.network());
        let end = start | 1_u128.checked_shl(width).map_or(u128::MAX, |size| size - 1);
        push(&mut spans, Span { start, end, value: country_code(record.country_code)? })?;
    }
    Ok(spans)
}

/// Appends a range; one that touches the last and says the same prolongs it.
fn push<T: PartialEq>(spans: &mut Vec<Span<T>>, next: Span<T>) -> Result<()> {
    if let Some(last) = spans.last_mut() {
        ensure!(
            last.end < next.start,
            "{} comes after {}: the source is unsorted",
            address(next.start),
            address(last.end)
        );
        if last.end + 1 == next.start && last.value == next.value {
            last.end = next.end;
            return Ok(());
        }
    }
    spans.push(next);
    Ok(())
}

impl Networks {
    /// Adds a CSV file of `first,last,number,name` rows, sorted by address, after what is already there.
    ///
    /// A range that reaches into the next one loses that part: the later row starts nearer to the addresses.
    pub fn add_csv(&mut self, csv: &[u8]) -> Result<()> {
        let mut rows = csv::ReaderBuilder::new().has_headers(false).from_reader(csv);
        for (index, row) in rows.deserialize().enumerate() {
            let row = row.with_context(|| format!("row {}", index + 1))?;
            self.add_row(row).with_context(|| format!("row {}", index + 1))?;
        }
        Ok(())
    }

    fn add_row(&mut self, (first, last, number, name): (IpAddr, IpAddr, u32, String)) -> Result<()> {
        let (start, end) = (bits(first), bits(last));
        ensure!(first.is_ipv4() == last.is_ipv4() && start <= end, "{first} to {last} is not a range");
        ensure!(!name.is_empty(), "AS{number} has no name");
        if let Some(other) = self.names.get(&number) {
            ensure!(*other == name, "AS{number} is {other:?} and {name:?}");
        } else {
            self.names.insert(number, name);
        }
        if let Some(before) = self.spans.last_mut()
            && before.end >= start
        {
            if before.start >= start || before.end > end {
                bail!("{first} to {last} lies inside the range before it");
            }
            before.end = start - 1;
            self.cut += 1;
        }
        push(&mut self.spans, Span { start, end, value: number })
    }

    /// AS number at one address.
    pub fn at(&self, address: u128) -> Option<u32> {
        let after = self.spans.partition_point(|span| span.start <= address);
        let span = self.spans.get(after.checked_sub(1)?)?;
        (span.end >= address).then_some(span.value)
    }
}

/// What two sources say about the same addresses.
pub type Both<A, B> = (Option<A>, Option<B>);

/// Ranges in which both sources say one thing, without those of which neither says anything.
pub fn merge<A: Copy + PartialEq, B: Copy + PartialEq>(
    a: &[Span<A>],
    b: &[Span<B>],
) -> Result<Vec<Span<Both<A, B>>>> {
    let mut edges = Vec::with_capacity(2 * (a.len() + b.len()));
    for (start, end) in a.iter().map(|s| (s.start, s.end)).chain(b.iter().map(|s| (s.start, s.end))) {
        edges.extend([start, end.checked_add(1).context("a range up to the last address")?]);
    }
    edges.sort_unstable();
    edges.dedup();
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut merged = Vec::new();
    for window in edges.windows(2) {
        let (start, end) = (window[0], window[1] - 1);
        while a.next_if(|span| span.end < start).is_some() {}
        while b.next_if(|span| span.end < start).is_some() {}
        let value = (
            a.peek().filter(|span| span.start <= start).map(|span| span.value),
            b.peek().filter(|span| span.start <= start).map(|span| span.value),
        );
        if value != (None, None) {
            push(&mut merged, Span { start, end, value })?;
        }
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span<T>(start: u128, end: u128, value: T) -> Span<T> {
        Span { start, end, value }
    }

    #[test]
    fn merging_cuts_at_every_edge_and_joins_what_says_the_same() {
        let a = [span(10, 19, 'a'), span(20, 29, 'b')];
        let b = [span(5, 14, 1), span(15, 24, 1), span(40, 41, 2)];
        let expected = [
            span(5, 9, (None, Some(1))),
            span(10, 19, (Some('a'), Some(1))),
            span(20, 24, (Some('b'), Some(1))),
            span(25, 29, (Some('b'), None)),
            span(40, 41, (None, Some(2))),
        ];
        assert_eq!(merge(&a, &b).unwrap(), expected);
    }

    #[test]
    fn a_range_that_reaches_into_the_next_is_cut_there() {
        let mut networks = Networks::default();
        networks.add_csv(b"10.0.0.0,10.1.255.255,1,One\n10.1.0.0,10.2.0.255,2,\"Two, Inc.\"\n").unwrap();
        assert_eq!(networks.cut, 1);
        assert_eq!(networks.at(0x0a00_ffff), Some(1));
        assert_eq!(networks.at(0x0a01_0000), Some(2));
        assert_eq!(networks.at(0x0a02_0100), None);
        assert_eq!(networks.names[&2], "Two, Inc.");
    }

    #[test]
    fn rows_that_make_no_sense_stop_the_build_and_name_their_place() {
        for bad in [
            "10.0.0.9,10.0.0.1,1,x",
            "10.0.0.9,::1,1,x",
            "10.0.0.0,10.0.0.1,-1,x",
            "10.0.0.0,10.0.0.1,1,",
            "9.0.0.0,9.0.0.1,1,x",
            "10.0.0.0,10.0.0.1,3,Other name",
        ] {
            let csv = format!("9.9.9.9,9.9.9.9,3,Three\n{bad}\n");
            let error = Networks::default().add_csv(csv.as_bytes()).unwrap_err();
            assert!(format!("{error:#}").contains("row 2"), "{bad}: {error:#}");
        }
    }

    #[test]
    fn country_codes_are_two_capital_letters() {
        assert_eq!(country_code("SE").unwrap(), *b"SE");
        for bad in ["", "S", "SWE", "se", "1A"] {
            assert!(country_code(bad).is_err(), "{bad}");
        }
    }
}
