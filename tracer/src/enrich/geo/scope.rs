//! What kind of address an address is, before any database is asked.
//!
//! Pure. Flows in: an address. Flows out: its [`Scope`] by the IANA special-purpose address registries
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `iana-ipv6-special-registry`), and the IPv4
//! address inside a translated one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

/// What kind of address this is, by the IANA special-purpose registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Reachable from everywhere: only these have a country and a network.
    Global,
    /// This machine: 127.0.0.0/8, ::1.
    Loopback,
    /// A local network: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918).
    Private,
    /// Between customers and a provider's address translation: 100.64.0.0/10 (RFC 6598).
    Cgnat,
    /// The same link: 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// A group of receivers: 224.0.0.0/4, ff00::/8.
    Multicast,
    /// Everybody on the link: 255.255.255.255.
    Broadcast,
    /// Examples in texts: 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32, 3fff::/20.
    Documentation,
    /// A local IPv6 network: fc00::/7 (RFC 4193).
    UniqueLocal,
    /// No address: 0.0.0.0, ::.
    Unspecified,
    /// Measurements of network devices: 198.18.0.0/15, 2001:2::/48.
    Benchmarking,
    /// Thrown away by routers on purpose: 100::/64 (RFC 6666).
    Discard,
    /// Translation between IPv4 and IPv6 inside one network: 64:ff9b:1::/48 (RFC 8215).
    LocalTranslation,
    /// For protocols and for later: not to be seen as a peer on the internet.
    Reserved,
}

/// Bits of the network, length of its prefix, what it is.
type Row<T> = (T, u32, Scope);

/// Longer prefixes first: the first row that matches is the answer.
const V4: [Row<Ipv4Addr>; 20] = [
    (Ipv4Addr::new(0, 0, 0, 0), 32, Scope::Unspecified),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Scope::Broadcast),
    // Globally reachable by RFC 7723 and RFC 8155, unlike the /24 around them.
    (Ipv4Addr::new(192, 0, 0, 9), 32, Scope::Global),
    (Ipv4Addr::new(192, 0, 0, 10), 32, Scope::Global),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Scope::Reserved),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Scope::Documentation),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Scope::Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Scope::Documentation),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Scope::Private),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Scope::LinkLocal),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Scope::Benchmarking),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Scope::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Scope::Cgnat),
    // "This network", RFC 791.
    (Ipv4Addr::new(0, 0, 0, 0), 8, Scope::Reserved),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Scope::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Scope::Loopback),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Scope::Multicast),
    // RFC 1112.
    (Ipv4Addr::new(240, 0, 0, 0), 4, Scope::Reserved),
    (Ipv4Addr::new(0, 0, 0, 0), 1, Scope::Global),
    (Ipv4Addr::new(128, 0, 0, 0), 1, Scope::Global),
];

/// Longer prefixes first. What no row names is not given out yet: reserved.
const V6: [Row<Ipv6Addr>; 24] = [
    (Ipv6Addr::UNSPECIFIED, 128, Scope::Unspecified),
    (Ipv6Addr::LOCALHOST, 128, Scope::Loopback),
    // Parts of 2001::/23 that are globally reachable, unlike the rest: PCP, TURN and SRP anycast, AMT, AS112, ORCHIDv2,
    // drone identities; and the deprecated ones that routers do not refuse: Teredo, ORCHID.
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 1), 128, Scope::Global),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2), 128, Scope::Global),
    (Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 3), 128, Scope::Global),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, Scope::Discard),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, Scope::Benchmarking),
    (Ipv6Addr::new(0x2001, 4, 0x112, 0, 0, 0, 0, 0), 48, Scope::Global),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, Scope::LocalTranslation),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, Scope::Global),
    (Ipv6Addr::new(0x2001, 3, 0, 0, 0, 0, 0, 0), 32, Scope::Global),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Scope::Documentation),
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28, Scope::Reserved),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28, Scope::Global),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28, Scope::Global),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Scope::Reserved),
    // RFC 9637.
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Scope::Documentation),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Scope::LinkLocal),
    // The old site-local network, deprecated by RFC 3879.
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, Scope::Reserved),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, Scope::Multicast),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Scope::UniqueLocal),
    // All that is given out so far, RFC 4291.
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Scope::Global),
    (Ipv6Addr::UNSPECIFIED, 1, Scope::Reserved),
    (Ipv6Addr::new(0x8000, 0, 0, 0, 0, 0, 0, 0), 1, Scope::Reserved),
];

/// 64:ff9b::/96 (RFC 6052): the last 32 bits are the IPv4 address.
const NAT64: u128 = 0x0064_ff9b << 96;

/// An address without its wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwrapped {
    /// The address that traffic goes to in the end: v4-mapped and NAT64 addresses as their IPv4 address.
    pub target: IpAddr,
    /// That address, when it was wrapped as NAT64.
    pub nat64: Option<Ipv4Addr>,
}

/// Takes an IPv4 address out of a v4-mapped (`::ffff:0:0/96`) or NAT64 (`64:ff9b::/96`) one.
#[must_use]
pub fn unwrap(address: IpAddr) -> Unwrapped {
    let IpAddr::V6(v6) = address else { return Unwrapped { target: address, nat64: None } };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return Unwrapped { target: v4.into(), nat64: None };
    }
    match u32::try_from(u128::from(v6) ^ NAT64) {
        Ok(v4) => {
            let v4 = Ipv4Addr::from(v4);
            Unwrapped { target: v4.into(), nat64: Some(v4) }
        }
        Err(_) => Unwrapped { target: address, nat64: None },
    }
}

impl Scope {
    /// Scope of an address. A v4-mapped or NAT64 address has the scope of the IPv4 address in it.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match unwrap(address).target {
            IpAddr::V4(v4) => {
                first(&V4, |(net, bits, _)| (u32::from(v4) ^ u32::from(*net)) >> (32 - bits) == 0)
            }
            IpAddr::V6(v6) => {
                first(&V6, |(net, bits, _)| (u128::from(v6) ^ u128::from(*net)) >> (128 - bits) == 0)
            }
        }
    }
}

fn first<T>(rows: &[Row<T>], matches: impl FnMut(&&Row<T>) -> bool) -> Scope {
    rows.iter().find(matches).map_or(Scope::Reserved, |row| row.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::of(text.parse().unwrap())
    }

    #[test]
    fn first_and_last_address_of_every_special_network_and_their_neighbours() {
        use Scope::{
            Benchmarking, Broadcast, Cgnat, Discard, Documentation, Global, LinkLocal, LocalTranslation,
            Loopback, Multicast, Private, Reserved, UniqueLocal, Unspecified,
        };
        for (before, first, last, after, expected) in [
            ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0", Private),
            ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0", Cgnat),
            ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0", Loopback),
            ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0", LinkLocal),
            ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0", Private),
            ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0", Documentation),
            ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0", Private),
            ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0", Benchmarking),
            ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0", Documentation),
            ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0", Documentation),
            (
                "2001:1ff::",
                "2001:db8::",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                "2001:db9::",
                Documentation,
            ),
            ("3ffe::", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", Documentation),
        ] {
            assert_eq!((scope(first), scope(last)), (expected, expected), "{first} to {last}");
            assert_ne!(scope(before), expected, "{before}");
            assert_eq!(scope(after), Global, "{after}");
        }
        for (address, expected) in [
            ("0.0.0.0", Unspecified),
            ("0.0.0.1", Reserved),
            ("1.1.1.1", Global),
            ("192.0.0.1", Reserved),
            ("192.0.0.9", Global),
            ("192.0.0.170", Reserved),
            ("223.255.255.255", Global),
            ("224.0.0.1", Multicast),
            ("239.255.255.250", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.254", Reserved),
            ("255.255.255.255", Broadcast),
            ("::", Unspecified),
            ("::1", Loopback),
            ("::2", Reserved),
            ("100::1", Discard),
            ("100:0:0:1::", Reserved),
            ("64:ff9b:1::1", LocalTranslation),
            ("2001::1", Global),
            ("2001:1::1", Global),
            ("2001:1::4", Reserved),
            ("2001:2::1", Benchmarking),
            ("2001:2:1::1", Reserved),
            ("2001:4:112::1", Global),
            ("2001:20::1", Global),
            ("2001:10::1", Reserved),
            ("2001:200::1", Global),
            ("2a00:1450:4001:831::200e", Global),
            ("4000::", Reserved),
            ("5f00::1", Reserved),
            ("fbff::1", Reserved),
            ("fc00::1", UniqueLocal),
            ("fdff::1", UniqueLocal),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", Reserved),
            ("ff02::1", Multicast),
        ] {
            assert_eq!(scope(address), expected, "{address}");
        }
    }

    #[test]
    fn tables_go_from_longer_to_shorter_prefixes() {
        assert!(V4.is_sorted_by(|a, b| a.1 >= b.1));
        assert!(V6.is_sorted_by(|a, b| a.1 >= b.1));
    }

    #[test]
    fn mapped_and_translated_addresses_are_those_inside() {
        assert_eq!(scope("::ffff:10.1.2.3"), Scope::Private);
        assert_eq!(scope("64:ff9b::127.0.0.1"), Scope::Loopback);
        let unwrapped = unwrap("64:ff9b::203.0.113.7".parse().unwrap());
        assert_eq!(unwrapped.nat64, Some(Ipv4Addr::new(203, 0, 113, 7)));
        assert_eq!(unwrapped.target, IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)));
        let mapped = unwrap("::ffff:203.0.113.7".parse().unwrap());
        assert_eq!((mapped.nat64, mapped.target.to_string().as_str()), (None, "203.0.113.7"));
        // One bit off the translation prefix is an address like any other.
        assert_eq!(unwrap("64:ff9b::1:203.0.113.7".parse().unwrap()).nat64, None);
    }
}
