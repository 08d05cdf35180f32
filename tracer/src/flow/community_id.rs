//! Community ID v1 (github.com/corelight/community-id-spec), seed 0: one name for a flow in every tool.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// A Community ID, printed; or none. Within the flow, because each has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommunityId([u8; LENGTH]);

/// `1:`, and 20 bytes in Base64.
const LENGTH: usize = 2 + 28;

impl CommunityId {
    /// `None`: there is none.
    #[must_use]
    pub fn get(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok().filter(|id| id.starts_with('1'))
    }
}

/// The Community ID of a flow, `1:` and a hash in Base64. The order of the two ends does not matter. Addresses must not be
/// v4-mapped; `protocol` is IANA's number.
#[must_use]
pub fn of(one: SocketAddr, other: SocketAddr, protocol: u8) -> CommunityId {
    let (first, second) = if key(one) <= key(other) { (one, other) } else { (other, one) };
    let mut sha = Sha1::new();
    sha.update(0u16.to_be_bytes());
    for end in [first, second] {
        match end.ip() {
            IpAddr::V4(ip) => sha.update(ip.octets()),
            IpAddr::V6(ip) => sha.update(ip.octets()),
        }
    }
    sha.update([protocol, 0]);
    sha.update(first.port().to_be_bytes());
    sha.update(second.port().to_be_bytes());
    let mut text = [0; LENGTH];
    let (version, hash) = text.split_at_mut(2);
    version.copy_from_slice(b"1:");
    match STANDARD.encode_slice(sha.finalize(), hash) {
        Ok(_) => CommunityId(text),
        // It has always that length.
        Err(_) => CommunityId::default(),
    }
}

fn key(end: SocketAddr) -> (IpAddr, u16) {
    (end.ip(), end.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published vectors of the specification's baseline (corelight/community-id-spec), for every protocol with ports.
    #[test]
    fn the_published_vectors_hold_in_both_directions() {
        let vectors = [
            (6, "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
            (17, "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
            (132, "192.168.170.8:7", "192.168.170.56:7", "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs="),
            (
                6,
                "[2001:470:e5bf:dead:4957:2174:e82c:4887]:63943",
                "[2607:f8b0:400c:c03::1a]:25",
                "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
            ),
        ];
        for (protocol, one, other, expected) in vectors {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(of(one, other, protocol).get(), Some(expected));
            assert_eq!(of(other, one, protocol).get(), Some(expected));
        }
    }

    #[test]
    fn equal_addresses_are_ordered_by_port() {
        let low: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let high: SocketAddr = "127.0.0.1:40000".parse().unwrap();
        assert_eq!(of(low, high, 6), of(high, low, 6));
    }
}
