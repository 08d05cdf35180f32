//! JA4: a fingerprint of a TLS client, from its ClientHello (FoxIO, JA4 technical details; the TLS client part is under
//! BSD 3-Clause).

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What a fingerprint is made of. Values that clients make up to keep servers honest (GREASE, RFC 8701) are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub is_quic: bool,
    /// Highest version that is offered.
    pub version: u16,
    pub has_server_name: bool,
    pub ciphers: Vec<u16>,
    /// Types, in the order in which they came.
    pub extensions: Vec<u16>,
    pub signature_algorithms: Vec<u16>,
    /// The first protocol that is offered.
    pub alpn: Option<Vec<u8>>,
}

/// `server_name` and `application_layer_protocol_negotiation`: told apart before.
const TOLD_APART: [u16; 2] = [0, 16];

/// Whether the value is one that is made up (RFC 8701): `0x?a?a` with equal bytes.
#[must_use]
pub fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

impl Parts {
    /// The fingerprint, e.g. `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let ciphers: Vec<u16> = self.ciphers.iter().copied().filter(|value| !is_grease(*value)).collect();
        let extensions: Vec<u16> =
            self.extensions.iter().copied().filter(|value| !is_grease(*value)).collect();
        let mut text = String::new();
        let _ = write!(
            text,
            "{}{}{}{:02}{:02}{}",
            if self.is_quic { 'q' } else { 't' },
            version(self.version),
            if self.has_server_name { 'd' } else { 'i' },
            ciphers.len().min(99),
            extensions.len().min(99),
            self.alpn_ends(),
        );
        let mut sorted = extensions;
        sorted.retain(|kind| !TOLD_APART.contains(kind));
        sorted.sort_unstable();
        let mut sorted_ciphers = ciphers;
        sorted_ciphers.sort_unstable();
        let algorithms: Vec<u16> =
            self.signature_algorithms.iter().copied().filter(|value| !is_grease(*value)).collect();
        let mut rest = list(&sorted);
        if !algorithms.is_empty() {
            rest = format!("{rest}_{}", list(&algorithms));
        }
        let _ = write!(text, "_{}_{}", short_hash(&list(&sorted_ciphers)), short_hash(&rest));
        text
    }

    /// First and last character of the first protocol; of its hexadecimal form when one is not alphanumeric.
    fn alpn_ends(&self) -> String {
        let Some((first, last)) = self.alpn.as_ref().and_then(|name| Some((*name.first()?, *name.last()?)))
        else {
            return "00".to_owned();
        };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            return [first as char, last as char].into_iter().collect();
        }
        format!("{:x}{:x}", first >> 4, last & 0x0f)
    }
}

fn version(version: u16) -> &'static str {
    match version {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

fn list(values: &[u16]) -> String {
    values.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

fn short_hash(text: &str) -> String {
    if text.is_empty() {
        return "0".repeat(12);
    }
    Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification: Chrome, `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    #[test]
    fn the_example_of_the_specification_comes_out() {
        let parts = Parts {
            is_quic: false,
            version: 0x0304,
            has_server_name: true,
            ciphers: vec![
                0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
                0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
            ],
            extensions: vec![
                0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023,
                0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015,
            ],
            signature_algorithms: vec![0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601],
            alpn: Some(b"h2".to_vec()),
        };
        assert_eq!(parts.fingerprint(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn what_is_missing_has_its_own_form() {
        assert_eq!(Parts::default().fingerprint(), "t00i000000_000000000000_000000000000");
        let odd = Parts { alpn: Some(vec![0xab, 0xcd]), is_quic: true, version: 0x0303, ..Parts::default() };
        assert!(odd.fingerprint().starts_with("q12i0000ad_"), "{}", odd.fingerprint());
    }

    #[test]
    fn grease_is_recognised() {
        assert!(is_grease(0x0a0a) && is_grease(0xfafa));
        assert!(!is_grease(0x0a1a) && !is_grease(0x1301));
    }
}
