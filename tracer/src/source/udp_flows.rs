//! The programs' maps of UDP flows, read from user space.

use std::collections::HashSet;
use std::net::Ipv6Addr;

use aya::maps::{HashMap, MapData};
use tracer_ebpf::abi::{UdpFlow, UdpKey, UdpSocket};

use super::decode::Reader;
use super::udp::Counted;
use crate::event::FlowKey;

/// Words of the maps' keys and values: aya takes arrays of integers, whose bytes are read one by one.
type KeyWords = [u64; size_of::<UdpKey>() / 8];
type FlowWords = [u64; size_of::<UdpFlow>() / 8];
type SocketWords = [u64; size_of::<UdpSocket>() / 8];

/// The maps `UDP_FLOWS` and `UDP_SOCKETS`.
pub struct UdpFlows {
    flows: HashMap<MapData, KeyWords, FlowWords>,
    sockets: HashMap<MapData, u64, SocketWords>,
}

impl UdpFlows {
    #[must_use]
    pub fn new(
        flows: HashMap<MapData, KeyWords, FlowWords>,
        sockets: HashMap<MapData, u64, SocketWords>,
    ) -> Self {
        Self { flows, sockets }
    }

    /// What a flow has moved so far; `None` when the map does not have it.
    #[must_use]
    pub fn get(&self, key: &FlowKey) -> Option<Counted> {
        let value = self.flows.get(&words_of(key)?, 0).ok()?;
        let bytes = bytes_of(&value);
        Counted::read(&mut Reader { bytes: &bytes }).ok()
    }

    /// Takes a flow out of the map, with what it moved. What it moves between these two steps begins a new flow without
    /// its first datagram, so this is for flows that are over, or have been silent for long.
    pub fn take(&mut self, key: &FlowKey) -> Option<Counted> {
        let counted = self.get(key)?;
        // Fails only when the programs took it out meanwhile: then they told of its end.
        self.flows.remove(&words_of(key)?).ok()?;
        Some(counted)
    }

    /// The keys of all flows in the map.
    #[must_use]
    pub fn keys(&self) -> Vec<FlowKey> {
        self.flows.keys().map_while(Result::ok).filter_map(|words| key_of(&words)).collect()
    }

    /// The sockets in the map, as flows name them: those that are open and had a flow.
    #[must_use]
    pub fn open_sockets(&self) -> HashSet<u64> {
        self.sockets.iter().map_while(Result::ok).map(|(_, [number, ..])| number).collect()
    }
}

fn bytes_of<const N: usize>(words: &[u64; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn words_of(key: &FlowKey) -> Option<KeyWords> {
    let (address, port) = key.peer?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
    Some([
        key.cookie,
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
        // The port in the first two bytes: every target is little-endian.
        u64::from(port),
    ])
}

fn key_of(words: &KeyWords) -> Option<FlowKey> {
    let bytes = bytes_of(words);
    let mut reader = Reader { bytes: &bytes };
    let cookie = reader.u64().ok()?;
    let address = Ipv6Addr::from(reader.take::<16>().ok()?);
    Some(FlowKey { cookie, peer: Some((address, reader.u16().ok()?)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_laid_out_as_the_programs_do() {
        let key = FlowKey { cookie: 7, peer: Some(("2001:db8::1".parse().unwrap(), 4433)) };
        let words = words_of(&key).unwrap();
        assert_eq!(key_of(&words), Some(key));
        let abi = UdpKey {
            socket: 7,
            remote: "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets(),
            remote_port: 4433,
            pad: [0; 3],
        };
        // SAFETY: the struct has no padding (pinned by const assertions).
        let raw = unsafe { std::slice::from_raw_parts((&raw const abi).cast::<u8>(), size_of::<UdpKey>()) };
        assert_eq!(bytes_of(&words), raw);
    }
}
