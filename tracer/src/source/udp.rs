//! UDP events and flows → [`What`]. Pure; the layouts are in `tracer_ebpf::abi`.

use std::net::{Ipv4Addr, Ipv6Addr};

use tracer_ebpf::abi::{
    KIND_UDP_CLOSE, KIND_UDP_OPEN, PAYLOAD_BYTES, TASK_BOUND, TASK_CALLED, UDP_INGRESS, UDP_KPROBE,
};

use super::decode::{DecodeError, Reader, owner_if, some_unless_zero};
use crate::clock::BootTime;
use crate::event::{Datagrams, FirstDatagram, LastDatagrams, Tuple, What};
use crate::record::{Direction, Method, ProcessSource, Protocol};

/// Reads what stands behind header and socket in an event of this kind.
pub(super) fn decode(kind: u16, reader: &mut Reader<'_>) -> Result<(Tuple, What), DecodeError> {
    match kind {
        KIND_UDP_OPEN => {
            let tuple = reader.tuple()?;
            Ok((tuple, What::FirstDatagram(Box::new(first_datagram(&tuple, reader)?))))
        }
        KIND_UDP_CLOSE => {
            let remote = Ipv6Addr::from(reader.take::<16>()?);
            let remote_port = reader.u16()?;
            reader.take::<6>()?;
            let flow = Counted::read(reader)?;
            Ok((flow.tuple(remote, remote_port), What::Released(flow.last())))
        }
        _ => {
            let nowhere = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
            let tuple = Tuple { local: nowhere, remote: nowhere, local_port: 0, remote_port: 0, netns: None };
            Ok((tuple, What::AllReleased))
        }
    }
}

fn first_datagram(tuple: &Tuple, reader: &mut Reader<'_>) -> Result<FirstDatagram, DecodeError> {
    let identity = reader.identity()?;
    let (flags, task) = (reader.u16()?, reader.u16()?);
    let length = reader.u32()?;
    let payload = reader.take::<PAYLOAD_BYTES>()?;
    let direction = direction(flags);
    let service_port = if direction == Direction::Egress { tuple.remote_port } else { tuple.local_port };
    Ok(FirstDatagram {
        owner: owner_if(identity.known, identity.owner_uid),
        task: process_source(task).map(|source| (identity, source)),
        direction,
        method: method(flags),
        protocol: protocol(service_port, length, &payload),
        so_far: None,
    })
}

/// A value of the programs' map of flows: figures and local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub moved: Datagrams,
    pub local: Ipv6Addr,
    pub local_port: u16,
    pub flags: u16,
    pub netns: Option<u32>,
    pub owner: Option<u32>,
}

impl Counted {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (first, last) = (BootTime(reader.u64()?), BootTime(reader.u64()?));
        let (bytes_sent, bytes_received) = (reader.u64()?, reader.u64()?);
        let (sent, received) = (reader.u64()?, reader.u64()?);
        let local = Ipv6Addr::from(reader.take::<16>()?);
        let (local_port, flags) = (reader.u16()?, reader.u16()?);
        let netns = some_unless_zero(reader.u32()?);
        let (owner, known, _pad) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let moved = Datagrams { bytes_sent, bytes_received, sent, received, first, last };
        Ok(Self { moved, local, local_port, flags, netns, owner: owner_if(known, owner) })
    }

    /// Both ends, with the remote one from the key.
    #[must_use]
    pub fn tuple(&self, remote: Ipv6Addr, remote_port: u16) -> Tuple {
        Tuple { local: self.local, remote, local_port: self.local_port, remote_port, netns: self.netns }
    }

    /// The figures as those of an end.
    #[must_use]
    pub fn last(&self) -> LastDatagrams {
        LastDatagrams {
            owner: self.owner,
            direction: direction(self.flags),
            method: method(self.flags),
            moved: self.moved,
        }
    }

    /// A flow whose first event was lost.
    #[must_use]
    pub fn found(&self) -> FirstDatagram {
        FirstDatagram {
            owner: self.owner,
            task: None,
            direction: direction(self.flags),
            method: method(self.flags),
            protocol: None,
            so_far: Some(self.moved),
        }
    }
}

fn direction(flags: u16) -> Direction {
    if flags & UDP_INGRESS == 0 { Direction::Egress } else { Direction::Ingress }
}

fn method(flags: u16) -> Method {
    if flags & UDP_KPROBE == 0 { Method::Cgroup } else { Method::Kprobe }
}

pub(super) fn process_source(task: u16) -> Option<ProcessSource> {
    match task {
        TASK_CALLED => Some(ProcessSource::Datagram),
        TASK_BOUND => Some(ProcessSource::Bind),
        _ => None,
    }
}

/// QUIC by the long header of its first packet (RFC 9000, 17.2; RFC 9369 for version 2), or, on port 443, by the fixed bit
/// of a later one.
fn protocol(service_port: u16, length: u32, payload: &[u8; PAYLOAD_BYTES]) -> Option<Protocol> {
    const LONG_AND_FIXED: u8 = 0xc0;
    const FIXED: u8 = 0x40;
    let [first, version @ ..] = payload.first_chunk::<5>()?;
    let version = u32::from_be_bytes(*version);
    // Version 1, version 2, and the drafts that were deployed.
    let is_known_version = matches!(version, 1 | 0x6b33_43cf) || version & 0xffff_ff00 == 0xff00_0000;
    let is_first_packet = first & LONG_AND_FIXED == LONG_AND_FIXED && is_known_version;
    let is_later_packet = service_port == 443 && length >= 21 && first & FIXED != 0;
    (is_first_packet || is_later_packet).then_some(Protocol::Quic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::decode::decode;
    use tracer_ebpf::abi::{ABI_VERSION, Header, Identity, KNOWN_OWNER, UdpClose, UdpOpen};

    fn bytes_of<T>(value: &T) -> &[u8] {
        // SAFETY: the ABI structs have no padding (pinned by const assertions).
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
    }

    fn header<T>(kind: u16) -> Header {
        Header { abi: ABI_VERSION, kind, len: u32::try_from(size_of::<T>()).unwrap(), boot_ns: 7 }
    }

    #[test]
    fn a_first_datagram_has_task_direction_and_protocol() {
        let mut open = UdpOpen { header: header::<UdpOpen>(KIND_UDP_OPEN), socket: 5, ..Default::default() };
        open.tuple.remote_port = 8443;
        open.identity = Identity { pid: 9, owner_uid: 10, known: KNOWN_OWNER, ..Default::default() };
        (open.task, open.payload_len) = (TASK_CALLED, 1200);
        open.payload[..5].copy_from_slice(&[0xc3, 0, 0, 0, 1]);
        let event = decode(bytes_of(&open)).unwrap();
        let What::FirstDatagram(first) = event.what else { panic!("{event:?}") };
        assert_eq!((event.cookie, first.owner, first.protocol), (5, Some(10), Some(Protocol::Quic)));
        assert_eq!(first.task, Some((open.identity, ProcessSource::Datagram)));
        assert_eq!((first.direction, first.method), (Direction::Egress, Method::Cgroup));
    }

    #[test]
    fn quic_is_told_by_its_first_packet_or_by_port_and_form() {
        let packet = |bytes: &[u8]| {
            let mut payload = [0; PAYLOAD_BYTES];
            payload[..bytes.len()].copy_from_slice(bytes);
            payload
        };
        let quic = Some(Protocol::Quic);
        assert_eq!(protocol(9999, 1200, &packet(&[0xc0, 0x6b, 0x33, 0x43, 0xcf])), quic, "version 2");
        assert_eq!(protocol(9999, 1200, &packet(&[0xc0, 0xff, 0, 0, 29])), quic, "a draft");
        assert_eq!(protocol(9999, 1200, &packet(&[0xc0, 1, 2, 3, 4])), None, "another version");
        assert_eq!(protocol(443, 60, &packet(&[0x41])), quic, "a short header");
        assert_eq!(protocol(443, 60, &packet(&[0x16, 0xfe, 0xfd])), None, "DTLS");
        assert_eq!(protocol(53, 60, &packet(&[0x41])), None);
    }

    #[test]
    fn an_end_has_the_figures_of_its_flow() {
        let mut close = UdpClose { header: header::<UdpClose>(KIND_UDP_CLOSE), ..Default::default() };
        close.key.remote = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        close.key.remote_port = 53;
        close.flow.bytes_sent = 40;
        close.flow.datagrams_received = 2;
        close.flow.flags = UDP_INGRESS | UDP_KPROBE;
        let event = decode(bytes_of(&close)).unwrap();
        let What::Released(last) = event.what else { panic!("{event:?}") };
        assert_eq!(
            (event.tuple.remote_ip().to_string(), event.tuple.remote_port),
            ("2001:db8::1".into(), 53)
        );
        assert_eq!((last.moved.bytes_sent, last.moved.received, last.owner), (40, 2, None));
        assert_eq!((last.direction, last.method), (Direction::Ingress, Method::Kprobe));
    }
}
