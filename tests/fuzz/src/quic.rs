//! QUIC's first packets.

use tracer::names::quic::{Beginning, Look};

use crate::input::{number, part};
use crate::seal::{Form, seal};
use crate::tls::check_hello;

/// Datagrams of one input: each that cannot be read costs the derivation of keys.
const MOST_DATAGRAMS: usize = 8;

/// Datagrams as they come.
pub fn check(bytes: &[u8]) {
    let (mut beginning, mut again) = (Beginning::default(), Beginning::default());
    let mut rest = bytes;
    for _ in 0..MOST_DATAGRAMS {
        let datagram = part(&mut rest);
        let look = beginning.take(datagram);
        assert_eq!(again.take(datagram), look);
        check_form(&look);
        if rest.is_empty() {
            break;
        }
    }
}

/// Contents of packets, which are then encrypted as a client does: random bytes are never a packet that can be read. Of each
/// packet there are a byte for its form, one for its number, and its content.
pub fn check_sealed(bytes: &[u8]) {
    /// As many as are looked at in one datagram.
    const MOST_PACKETS: usize = 4;
    let (mut one_by_one, mut together) = (Beginning::default(), Beginning::default());
    let mut look = Look::Incomplete;
    let mut datagram = Vec::new();
    let mut rest = bytes;
    for _ in 0..MOST_PACKETS {
        if rest.is_empty() {
            break;
        }
        let [form, packet_number] = number(&mut rest).to_be_bytes();
        let Some(packet) = seal(&Form::from_bits(form), packet_number, part(&mut rest)) else { return };
        look = one_by_one.take(&packet);
        check_form(&look);
        datagram.extend(packet);
    }
    if !datagram.is_empty() {
        assert_eq!(together.take(&datagram), look, "packets in one datagram tell the same");
    }
}

fn check_form(look: &Look) {
    if let Look::Hello(hello) = look {
        check_hello(hello, 'q');
    }
}
