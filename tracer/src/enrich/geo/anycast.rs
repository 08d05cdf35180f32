//! Addresses that are announced from many countries at once: a country would mean nothing for them.
//!
//! Flows in: `data/anycast.tsv`, which names a source for every row. Flows out: yes or no. Not on the list means
//! unknown, never "not anycast".

use std::net::IpAddr;
use std::sync::LazyLock;

const TABLE: &str = include_str!("../../../../data/anycast.tsv");

/// First and last address, sorted, without overlaps. IPv4 stands at its v4-mapped place.
static RANGES: LazyLock<Vec<(u128, u128)>> = LazyLock::new(|| {
    let mut ranges: Vec<_> = TABLE.lines().filter_map(range).collect();
    ranges.sort_unstable();
    ranges
});

/// Whether the address is one of the known anycast services. Unwrap it first ([`super::scope::unwrap`]).
#[must_use]
pub fn is_anycast(address: IpAddr) -> bool {
    let bits = bits(address);
    let after = RANGES.partition_point(|(first, _)| *first <= bits);
    after.checked_sub(1).and_then(|at| RANGES.get(at)).is_some_and(|(_, last)| *last >= bits)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// Range of one row. Comments have none.
fn range(line: &str) -> Option<(u128, u128)> {
    let (address, length) = line.split('\t').next()?.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let width: u32 = if address.is_ipv4() { 32 } else { 128 };
    let hosts = width.checked_sub(length.parse().ok()?)?;
    let mask = 1_u128.checked_shl(hosts)? - 1;
    let first = bits(address);
    (first & mask == 0).then_some((first, first | mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_names_operator_and_source() {
        let rows: Vec<_> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        for row in &rows {
            assert!(range(row).is_some(), "{row}");
            assert_eq!(row.split('\t').filter(|field| !field.is_empty()).count(), 3, "{row}");
        }
        assert_eq!(RANGES.len(), rows.len());
        assert!(RANGES.is_sorted_by(|a, b| a.1 < b.0), "rows overlap");
    }

    #[test]
    fn the_well_known_resolvers_are_anycast_and_their_neighbours_are_not() {
        let ask = |text: &str| is_anycast(text.parse().unwrap());
        for yes in [
            "1.1.1.1",
            "1.0.0.1",
            "8.8.8.8",
            "8.8.4.4",
            "9.9.9.9",
            "149.112.112.112",
            "208.67.222.222",
            "94.140.14.14",
        ] {
            assert!(ask(yes), "{yes}");
        }
        for yes in [
            "2606:4700:4700::1111",
            "2001:4860:4860::8844",
            "2620:fe::fe",
            "2a10:50c0::ad1:ff",
            "2620:119:35::35",
        ] {
            assert!(ask(yes), "{yes}");
        }
        for no in [
            "1.1.1.4",
            "8.8.8.7",
            "8.8.8.9",
            "9.9.9.8",
            "0.0.0.0",
            "255.255.255.255",
            "::",
            "2606:4700:4701::1111",
        ] {
            assert!(!ask(no), "{no}");
        }
    }
}
