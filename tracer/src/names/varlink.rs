//! What a process asks systemd-resolved over its Unix socket, and what it is told: Varlink, JSON objects that each end with a
//! zero byte.
//!
//! Source of the form: systemd, `io.systemd.Resolve(7)`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use super::host_name;
use super::resolver::Answer;

#[derive(Deserialize)]
struct Call {
    method: String,
    parameters: Option<CallParameters>,
}

#[derive(Deserialize)]
struct CallParameters {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Reply {
    parameters: Option<ReplyParameters>,
}

#[derive(Deserialize)]
struct ReplyParameters {
    #[serde(default)]
    addresses: Vec<ReplyAddress>,
}

#[derive(Deserialize)]
struct ReplyAddress {
    address: Vec<u8>,
}

/// The name that a call of `ResolveHostname` asks for.
#[must_use]
pub fn request(bytes: &[u8]) -> Option<String> {
    let call: Call = serde_json::from_slice(whole(bytes)?).ok()?;
    let is_meant = call.method == "io.systemd.Resolve.ResolveHostname";
    host_name(&call.parameters.filter(|_| is_meant)?.name?)
}

/// Reads what was told so far.
#[must_use]
pub fn answer(bytes: &[u8]) -> Answer {
    let Some(message) = whole(bytes) else { return Answer::Incomplete };
    let Ok(Reply { parameters: Some(parameters) }) = serde_json::from_slice(message) else {
        return Answer::None;
    };
    let address = |found: ReplyAddress| -> Option<IpAddr> {
        match found.address.len() {
            4 => found.address.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
            16 => found.address.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
            _ => None,
        }
    };
    let addresses: Vec<_> = parameters.addresses.into_iter().filter_map(address).collect();
    if addresses.is_empty() { Answer::None } else { Answer::Addresses(addresses) }
}

fn whole(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..bytes.iter().position(|byte| *byte == 0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_its_host() {
        let call =
            br#"{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"A.example","flags":0}}"#;
        assert_eq!(request(&[&call[..], b"\0"].concat()).as_deref(), Some("a.example"));
        assert_eq!(request(call), None, "not whole");
        assert_eq!(request(b"{\"method\":\"io.systemd.Resolve.ResolveAddress\",\"parameters\":{}}\0"), None);
        assert_eq!(request(b"\xff\0"), None);
    }

    #[test]
    fn a_reply_has_addresses() {
        let reply = b"{\"parameters\":{\"addresses\":[{\"ifindex\":2,\"family\":2,\"address\":[192,0,2,1]},{\"family\":10,\
                      \"address\":[32,1,13,184,0,0,0,0,0,0,0,0,0,0,0,1]},{\"address\":[1]}],\"name\":\"a.example\",\"flags\":1}}\0";
        let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec();
        assert_eq!(answer(reply), Answer::Addresses(ips));
        assert_eq!(answer(&reply[..40]), Answer::Incomplete);
        assert_eq!(
            answer(b"{\"error\":\"io.systemd.Resolve.NoSuchResourceRecord\",\"parameters\":{}}\0"),
            Answer::None
        );
    }
}
