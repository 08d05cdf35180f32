//! Names and addresses as keyed hashes (`--redact`), so that a capture can be shared: the same name is the same hash within
//! one run, and nobody without the key of that run, which is never written, can try out names.

use std::net::{IpAddr, Ipv6Addr};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Hashes with the key of one run.
pub struct Redactor(Hmac<Sha256>);

impl Redactor {
    /// With a key of its own, as long as the hash takes in at a time.
    ///
    /// # Errors
    /// When the kernel gives no random numbers.
    pub fn new() -> std::io::Result<Self> {
        let mut key = [0; 64];
        let mut filled = 0;
        while filled < key.len() {
            let rest = key.get_mut(filled..).unwrap_or_default();
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self::with_key(key))
    }

    fn with_key(key: [u8; 64]) -> Self {
        Self(Hmac::new(&key.into()))
    }

    fn hash(&self, domain: u8, bytes: &[u8]) -> [u8; 32] {
        let mut hash = self.0.clone();
        hash.update(&[domain]);
        hash.update(bytes);
        hash.finalize().into_bytes().into()
    }

    /// A name that stands for this one, under the reserved domain `.invalid`.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        let mut text = String::from("h");
        for byte in self.hash(0, name.as_bytes()).iter().take(8) {
            text.extend(
                [byte >> 4, byte & 15].into_iter().filter_map(|digit| char::from_digit(digit.into(), 16)),
            );
        }
        text.push_str(".invalid");
        text
    }

    /// An address that stands for this one, within the prefix for documentation, 2001:db8::/32.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> IpAddr {
        let octets = match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        let mut hashed = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for (byte, hash) in hashed.iter_mut().skip(4).zip(self.hash(1, &octets)) {
            *byte = hash;
        }
        Ipv6Addr::from(hashed).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_stays_the_same_within_a_run_and_nothing_of_it_shows() {
        let redactor = Redactor::with_key([7; 64]);
        let name = redactor.name("secret.example");
        assert_eq!(name, redactor.name("secret.example"));
        assert_ne!(name, redactor.name("other.example"));
        assert!(name.ends_with(".invalid") && !name.contains("secret"), "{name}");
        assert!(crate::names::host_name(&name).is_some());
        let ip = redactor.address("192.0.2.1".parse().unwrap());
        assert_eq!(ip, redactor.address("::ffff:192.0.2.1".parse().unwrap()));
        assert!(ip.to_string().starts_with("2001:db8:"), "{ip}");
    }

    #[test]
    fn every_run_has_a_key_of_its_own() {
        let names = [(); 2].map(|()| Redactor::new().unwrap().name("secret.example"));
        assert_ne!(names[0], names[1]);
    }
}
