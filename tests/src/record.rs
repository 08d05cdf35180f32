//! Reads fields of records.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

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

/// `OWN_NUMBER` of the programs' ABI: a number of their own, because they could not ask for the socket's cookie.
const OWN_NUMBER: u64 = 1 << 63;

/// Local and remote port of sockets, by cookie ([`know_by_ports`]).
static PORTS: Mutex<BTreeMap<u64, (u64, u64)>> = Mutex::new(BTreeMap::new());

/// Lets [`is_flow`] know an accepted socket by its ports, where the tracer numbers it itself.
pub fn know_by_ports(cookie: u64, local: u64, remote: u64) {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner).insert(cookie, (local, remote));
}

/// Whether the record is about the socket with this cookie.
#[must_use]
pub fn is_flow(record: &Value, cookie: u64) -> bool {
    // Of UDP, a third part tells the peer.
    let number = text(record, "flow.id").split('-').nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok());
    match number {
        Some(number) if number & OWN_NUMBER != 0 => {
            let ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner).get(&cookie).copied();
            text(record, "network.direction") == "ingress"
                && text(record, "network.transport") == "tcp"
                && ports.is_some()
                && at(record, "destination.port").as_u64().zip(at(record, "source.port").as_u64()) == ports
        }
        number => number == Some(cookie),
    }
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
