//! Entries of the ring buffer.

use tracer::source::decode::decode;
use tracer_ebpf::abi::{
    ABI_VERSION, DnsMessage, FirstBytes, Header, KIND_DNS, KIND_FIRST_BYTES, KIND_RESOLVER, KIND_TCP_ACCEPT,
    KIND_TCP_CLOSE, KIND_TCP_CONNECT, KIND_TCP_ESTABLISHED, KIND_TCP_FAILED, KIND_TCP_LISTEN, KIND_UDP_CLOSE,
    KIND_UDP_OPEN, KIND_UDP_RELEASE, ResolverMessage, TcpEnd, TcpOpen, TcpReady, UdpClose, UdpOpen,
    UdpRelease,
};

pub fn check(bytes: &[u8]) {
    assert_eq!(decode(bytes), decode(bytes));
    // There are fewer than 32 kinds.
    let Some(kind) = bytes.get(2).map(|kind| u16::from(*kind % 32)) else { return };
    let right = with_right_header(kind, bytes);
    let event = decode(&right);
    assert_eq!(decode(&right), event);
    let is_right = length(kind).is_some() && !has_own_length(kind);
    assert!(event.is_ok() || !is_right, "{event:?} of the right form and length");
}

/// The same bytes as an event of this version: most inputs would end at the header, and with the next version all seeds.
fn with_right_header(kind: u16, bytes: &[u8]) -> Vec<u8> {
    let mut event = bytes.to_vec();
    event.resize(length(kind).unwrap_or(bytes.len()).max(size_of::<Header>()), 0);
    let length = u32::try_from(event.len()).unwrap_or_default();
    let header = [&ABI_VERSION.to_ne_bytes()[..], &kind.to_ne_bytes(), &length.to_ne_bytes()].concat();
    for (byte, right) in event.iter_mut().zip(header) {
        *byte = right;
    }
    event
}

/// Copies of payload say how much was copied, and may say too much.
fn has_own_length(kind: u16) -> bool {
    matches!(kind, KIND_DNS | KIND_FIRST_BYTES | KIND_RESOLVER)
}

/// Of the kinds that always have the same.
fn length(kind: u16) -> Option<usize> {
    match kind {
        KIND_TCP_CONNECT | KIND_TCP_LISTEN => Some(size_of::<TcpOpen>()),
        KIND_TCP_ESTABLISHED | KIND_TCP_ACCEPT => Some(size_of::<TcpReady>()),
        KIND_TCP_FAILED | KIND_TCP_CLOSE => Some(size_of::<TcpEnd>()),
        KIND_UDP_OPEN => Some(size_of::<UdpOpen>()),
        KIND_UDP_CLOSE => Some(size_of::<UdpClose>()),
        KIND_UDP_RELEASE => Some(size_of::<UdpRelease>()),
        KIND_DNS => Some(size_of::<DnsMessage>()),
        KIND_FIRST_BYTES => Some(size_of::<FirstBytes>()),
        KIND_RESOLVER => Some(size_of::<ResolverMessage>()),
        _ => None,
    }
}
