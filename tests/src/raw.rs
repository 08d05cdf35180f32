//! Sends a TCP segment that no socket made, inside the network namespace of the calling thread.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, ipproto};

/// Sends a lone SYN.
pub fn send_syn(from: (&str, u16), to: (&str, u16)) -> Result<()> {
    const SYN: u8 = 2;
    const TCP: u16 = 6;
    let (source, destination): (Ipv4Addr, Ipv4Addr) = (from.0.parse()?, to.0.parse()?);
    let mut segment = Vec::new();
    segment.extend_from_slice(&from.1.to_be_bytes());
    segment.extend_from_slice(&to.1.to_be_bytes());
    // Sequence number, acknowledgement, header of five words, SYN, window, checksum, urgent pointer.
    segment.extend_from_slice(&[0, 0, 4, 210, 0, 0, 0, 0, 5 << 4, SYN, 0xff, 0xff, 0, 0, 0, 0]);
    let mut summed = [source.octets(), destination.octets()].concat();
    summed.extend_from_slice(&TCP.to_be_bytes());
    summed.extend_from_slice(&u16::try_from(segment.len())?.to_be_bytes());
    summed.extend_from_slice(&segment);
    segment.splice(16..18, checksum(&summed).to_be_bytes());
    let socket =
        net::socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    net::sendto(&socket, &segment, SendFlags::empty(), &SocketAddrV4::new(destination, 0))?;
    Ok(())
}

/// Internet checksum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(u16::from_be_bytes([*high, 0])),
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}
