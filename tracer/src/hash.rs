//! A hash that stays the same over runs, versions and machines: for what is stored. Not against enemies.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Fnv {
    #[must_use]
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// An address; IPv4 as its IPv4-mapped IPv6 address.
    #[must_use]
    pub fn address(self, address: IpAddr) -> Self {
        let address: Ipv6Addr = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        self.bytes(&address.octets())
    }

    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Hashes a text that is written piece by piece.
impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        *self = self.text(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_definition() {
        assert_eq!(Fnv::new().get(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::new().text("a").get(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fnv::new().text("foobar").get(), 0x8594_4171_f739_67e8);
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        assert_eq!(Fnv::new().address(mapped).get(), Fnv::new().address("192.0.2.1".parse().unwrap()).get());
    }
}
