//! Copies of payload → [`What`]. Pure; the layouts are in `tracer_ebpf::abi`.

use std::net::{Ipv4Addr, Ipv6Addr};

use tracer_ebpf::abi::{
    DNS_BYTES, KIND_DNS, KIND_FIRST_BYTES, NAMES_DATAGRAM, NAMES_KPROBE, NAMES_RECEIVED, NAMES_RESOLVED,
    PIECE_BYTES, RESOLVER_BYTES,
};

use super::decode::{DecodeError, Reader, owner_if};
use super::udp::process_source;
use crate::event::{DnsCopy, FirstBytesCopy, ResolverCopy, Tuple, What};
use crate::record::{Method, Transport};

/// Reads what stands behind header and socket in an event of this kind.
pub(super) fn decode(kind: u16, reader: &mut Reader<'_>) -> Result<(Transport, Tuple, What), DecodeError> {
    match kind {
        KIND_DNS => dns(reader),
        KIND_FIRST_BYTES => first_bytes(reader),
        _ => resolver(reader),
    }
}

fn dns(reader: &mut Reader<'_>) -> Result<(Transport, Tuple, What), DecodeError> {
    let tuple = reader.tuple()?;
    let identity = reader.identity()?;
    let (flags, task) = (reader.u16()?, reader.u16()?);
    let (_length, copied, _pad) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let copy = DnsCopy {
        owner: owner_if(identity.known, identity.owner_uid),
        task: process_source(task).map(|source| (identity, source)),
        is_received: flags & NAMES_RECEIVED != 0,
        method: if flags & NAMES_KPROBE == 0 { Method::Cgroup } else { Method::Kprobe },
        bytes: bytes::<DNS_BYTES>(reader, copied)?,
    };
    Ok((Transport::Udp, tuple, What::Dns(Box::new(copy))))
}

fn first_bytes(reader: &mut Reader<'_>) -> Result<(Transport, Tuple, What), DecodeError> {
    let remote = Ipv6Addr::from(reader.take::<16>()?);
    let (remote_port, flags) = (reader.u16()?, reader.u16()?);
    let (offset, copied, _pad) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let transport = if flags & NAMES_DATAGRAM == 0 { Transport::Tcp } else { Transport::Udp };
    let copy = FirstBytesCopy {
        is_received: flags & NAMES_RECEIVED != 0,
        offset,
        bytes: bytes::<PIECE_BYTES>(reader, copied)?,
    };
    Ok((transport, Tuple { remote, remote_port, ..NOWHERE }, What::FirstBytes(Box::new(copy))))
}

fn resolver(reader: &mut Reader<'_>) -> Result<(Transport, Tuple, What), DecodeError> {
    let identity = reader.identity()?;
    let (flags, _pad, copied) = (reader.u16()?, reader.u16()?, reader.u32()?);
    let copy = ResolverCopy {
        identity,
        is_answer: flags & NAMES_RECEIVED != 0,
        is_resolved: flags & NAMES_RESOLVED != 0,
        bytes: bytes::<RESOLVER_BYTES>(reader, copied)?,
    };
    Ok((Transport::Tcp, NOWHERE, What::Resolver(Box::new(copy))))
}

/// Of what has no such ends.
const NOWHERE: Tuple = Tuple {
    local: Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
    remote: Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
    local_port: 0,
    remote_port: 0,
    netns: None,
};

/// Takes all `MOST` bytes, and keeps those that were written.
fn bytes<const MOST: usize>(reader: &mut Reader<'_>, copied: u32) -> Result<Box<[u8]>, DecodeError> {
    let (all, rest) = reader.bytes.split_at_checked(MOST).ok_or(DecodeError::Length)?;
    reader.bytes = rest;
    let copied = usize::try_from(copied).map_err(|_| DecodeError::Length)?;
    all.get(..copied).map(Into::into).ok_or(DecodeError::Length)
}

#[cfg(test)]
mod tests {
    use tracer_ebpf::abi::{ABI_VERSION, FirstBytes, Header, KIND_FIRST_BYTES};

    use super::super::decode;
    use super::*;

    fn event(copied: u32) -> Vec<u8> {
        let len = u32::try_from(size_of::<FirstBytes>()).unwrap();
        let mut bytes = [7; PIECE_BYTES];
        bytes[..4].copy_from_slice(b"GET ");
        let event = FirstBytes {
            header: Header { abi: ABI_VERSION, kind: KIND_FIRST_BYTES, len, boot_ns: 1 },
            socket: 9,
            remote: "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets(),
            remote_port: 443,
            flags: NAMES_DATAGRAM,
            offset: 3,
            copied,
            pad: 0,
            bytes,
        };
        // SAFETY: the ABI structs have no padding (pinned by const assertions).
        unsafe { std::slice::from_raw_parts((&raw const event).cast::<u8>(), size_of::<FirstBytes>()) }
            .to_vec()
    }

    #[test]
    fn only_what_was_copied_is_kept() {
        let decoded = decode::decode(&event(4)).unwrap();
        let What::FirstBytes(copy) = decoded.what else { panic!("another event") };
        assert_eq!((&*copy.bytes, copy.offset, copy.is_received), (&b"GET "[..], 3, false));
        assert_eq!((decoded.transport, decoded.tuple.remote_port), (Transport::Udp, 443));
    }

    #[test]
    fn a_count_beyond_the_event_is_an_error() {
        let most = u32::try_from(PIECE_BYTES).unwrap();
        assert!(decode::decode(&event(most)).is_ok());
        assert_eq!(decode::decode(&event(most + 1)), Err(DecodeError::Length));
    }
}
