//! Reads fields of records.

use std::net::IpAddr;

use base64::Engine as _;
use serde_json::Value;
use sha1::{Digest, Sha1};

/// The field at a dotted path, e.g. `destination.ip`; `Null` when it is absent.
#[must_use]
pub fn at<'a>(record: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(record, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// A string field; empty when absent.
#[must_use]
pub fn text<'a>(record: &'a Value, path: &str) -> &'a str {
    at(record, path).as_str().unwrap_or_default()
}

/// A number field.
#[must_use]
pub fn number(record: &Value, path: &str) -> Option<u64> {
    at(record, path).as_u64()
}

#[must_use]
pub fn action(record: &Value) -> &str {
    text(record, "event.action")
}

/// Whether the record is about the socket with this cookie.
#[must_use]
pub fn is_flow(record: &Value, cookie: u64) -> bool {
    // Of UDP, a third part tells the peer.
    text(record, "flow.id").split('-').nth(1).is_some_and(|hex| hex == format!("{cookie:x}"))
}

/// Community ID v1, seed 0, worked out from its specification
/// (<https://github.com/corelight/community-id-spec>), independently of the program.
#[must_use]
pub fn community_id(protocol: u8, source: (IpAddr, u16), destination: (IpAddr, u16)) -> String {
    let bytes = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut ends = [(bytes(source.0), source.1), (bytes(destination.0), destination.1)];
    ends.sort();
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for (ip, _) in &ends {
        hash.update(ip);
    }
    hash.update([protocol, 0]);
    for (_, port) in &ends {
        hash.update(port.to_be_bytes());
    }
    format!("1:{}", base64::engine::general_purpose::STANDARD.encode(hash.finalize()))
}
