//! Bytes of one ring buffer entry → [`Event`].
//!
//! By length and kind, with checked reads, never by transmuting: an event of another version or a damaged one is an
//! error with its name, which the caller counts.

use std::net::Ipv6Addr;

use thiserror::Error;
use tracer_ebpf::abi::{
    ABI_VERSION, FIN_ACKED, FIN_RECEIVED, Identity, KIND_DNS, KIND_FIRST_BYTES, KIND_RESOLVER,
    KIND_TCP_ACCEPT, KIND_TCP_CLOSE, KIND_TCP_CONNECT, KIND_TCP_ESTABLISHED, KIND_TCP_FAILED,
    KIND_TCP_LISTEN, KIND_UDP_CLOSE, KIND_UDP_OPEN, KIND_UDP_RELEASE, KNOWN_ERROR, KNOWN_FIN, KNOWN_OWNER,
};

use crate::clock::BootTime;
use crate::event::{Ending, Event, Fin, Ready, Tuple, What};
use crate::record::Transport;
use crate::source::{names, udp};

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("event of ABI {0}, expected {ABI_VERSION}")]
    Abi(u16),
    #[error("event of unknown kind {0}")]
    Kind(u16),
    #[error("event whose length does not fit its kind")]
    Length,
}

impl DecodeError {
    /// Stable name, for counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Abi(_) => "abi",
            Self::Kind(_) => "kind",
            Self::Length => "length",
        }
    }
}

/// Reads one event.
///
/// # Errors
/// When the bytes are not an event of this ABI version.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let mut reader = Reader { bytes };
    let abi = reader.u16()?;
    if abi != ABI_VERSION {
        return Err(DecodeError::Abi(abi));
    }
    let kind = reader.u16()?;
    if reader.u32()? as usize != bytes.len() {
        return Err(DecodeError::Length);
    }
    let at = BootTime(reader.u64()?);
    let cookie = reader.u64()?;
    let (transport, tuple, what) = match kind {
        KIND_UDP_OPEN | KIND_UDP_CLOSE | KIND_UDP_RELEASE => {
            let (tuple, what) = udp::decode(kind, &mut reader)?;
            (Transport::Udp, tuple, what)
        }
        KIND_DNS | KIND_FIRST_BYTES | KIND_RESOLVER => names::decode(kind, &mut reader)?,
        _ => {
            let tuple = reader.tuple()?;
            (Transport::Tcp, tuple, tcp(kind, &mut reader)?)
        }
    };
    if !reader.bytes.is_empty() {
        return Err(DecodeError::Length);
    }
    Ok(Event { at, cookie, transport, tuple, what })
}

fn tcp(kind: u16, reader: &mut Reader<'_>) -> Result<What, DecodeError> {
    Ok(match kind {
        KIND_TCP_CONNECT => What::Connect(reader.identity()?),
        KIND_TCP_ESTABLISHED => What::Established(reader.ready()?),
        KIND_TCP_ACCEPT => What::Accept(reader.ready()?),
        KIND_TCP_FAILED => What::Failed(reader.ending()?),
        KIND_TCP_CLOSE => What::Close(reader.ending()?),
        KIND_TCP_LISTEN => What::Listen(reader.identity()?),
        other => return Err(DecodeError::Kind(other)),
    })
}

/// Takes fields off the front, in the order of the structs in `tracer_ebpf::abi`.
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl Reader<'_> {
    pub fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(DecodeError::Length)?;
        self.bytes = rest;
        Ok(*head)
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_ne_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_ne_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_ne_bytes)
    }

    pub fn tuple(&mut self) -> Result<Tuple, DecodeError> {
        Ok(Tuple {
            local: Ipv6Addr::from(self.take::<16>()?),
            remote: Ipv6Addr::from(self.take::<16>()?),
            local_port: self.u16()?,
            remote_port: self.u16()?,
            netns: some_unless_zero(self.u32()?),
        })
    }

    pub fn identity(&mut self) -> Result<Identity, DecodeError> {
        Ok(Identity {
            start_boot_ns: self.u64()?,
            exec_id: self.u64()?,
            pid: self.u32()?,
            tid: self.u32()?,
            owner_uid: self.u32()?,
            task_uid: self.u32()?,
            comm: self.take()?,
            known: self.u32()?,
            pad: self.u32()?,
        })
    }

    fn ready(&mut self) -> Result<Ready, DecodeError> {
        let (owner, rtt_us, known, _pad) = (self.u32()?, self.u32()?, self.u32()?, self.u32()?);
        Ok(Ready { owner: owner_if(known, owner), rtt_us: some_unless_zero(rtt_us) })
    }

    fn ending(&mut self) -> Result<Ending, DecodeError> {
        let (bytes_received, bytes_acked) = (self.u64()?, self.u64()?);
        let (segs_in, segs_out) = (self.u32()?, self.u32()?);
        let (rtt_us, retransmits) = (self.u32()?, self.u32()?);
        let (owner, error, known) = (self.u32()?, self.u32()?, self.u32()?);
        let (old_state, fin) = (self.u16()?, self.u16()?);
        Ok(Ending {
            owner: owner_if(known, owner),
            rtt_us: some_unless_zero(rtt_us),
            bytes_received,
            bytes_acked,
            segs_in,
            segs_out,
            retransmits,
            error: (known & KNOWN_ERROR != 0).then_some(error),
            fin: (known & KNOWN_FIN != 0)
                .then_some(Fin { received: fin & FIN_RECEIVED != 0, acked: fin & FIN_ACKED != 0 }),
            old_state,
        })
    }
}

pub(super) fn owner_if(known: u32, uid: u32) -> Option<u32> {
    (known & KNOWN_OWNER != 0).then_some(uid)
}

pub(super) fn some_unless_zero(value: u32) -> Option<u32> {
    (value != 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;
    use tracer_ebpf::abi::{Header, TcpEnd, TcpOpen, TcpReady};

    /// The bytes of an ABI struct, as the kernel writes them.
    fn bytes_of<T>(value: &T) -> Vec<u8> {
        // SAFETY: the ABI structs have no padding (pinned by const assertions).
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()).to_vec() }
    }

    fn header<T>(kind: u16) -> Header {
        Header { abi: ABI_VERSION, kind, len: u32::try_from(size_of::<T>()).unwrap(), boot_ns: 7 }
    }

    fn raw_tuple() -> tracer_ebpf::abi::Tuple {
        let mut tuple =
            tracer_ebpf::abi::Tuple { local_port: 40000, remote_port: 443, netns: 9, ..Default::default() };
        tuple.local = "::ffff:10.0.0.2".parse::<Ipv6Addr>().unwrap().octets();
        tuple.remote = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        tuple
    }

    #[test]
    fn a_connect_event_is_read_field_by_field() {
        let identity = Identity {
            pid: 5,
            tid: 6,
            owner_uid: 10123,
            known: 3,
            comm: *b"curl\0stale-bytes",
            ..Default::default()
        };
        let open =
            TcpOpen { header: header::<TcpOpen>(KIND_TCP_CONNECT), cookie: 11, tuple: raw_tuple(), identity };
        let event = decode(&bytes_of(&open)).unwrap();
        assert_eq!((event.at, event.cookie), (BootTime(7), 11));
        assert_eq!(event.tuple.local_ip().to_string(), "10.0.0.2");
        assert_eq!(event.tuple.remote_ip().to_string(), "2001:db8::1");
        assert_eq!(
            (event.tuple.local_port, event.tuple.remote_port, event.tuple.netns),
            (40000, 443, Some(9))
        );
        assert_eq!(event.what, What::Connect(identity));
    }

    #[test]
    fn unknown_values_are_absent() {
        let ready = TcpReady {
            header: header::<TcpReady>(KIND_TCP_ACCEPT),
            cookie: 1,
            tuple: raw_tuple(),
            owner_uid: 0,
            srtt_us: 0,
            known: 0,
            pad: 0,
        };
        assert_eq!(decode(&bytes_of(&ready)).unwrap().what, What::Accept(Ready::default()));
    }

    #[test]
    fn an_end_carries_the_kernels_figures() {
        let end = TcpEnd {
            header: header::<TcpEnd>(KIND_TCP_CLOSE),
            cookie: 1,
            tuple: raw_tuple(),
            bytes_received: 100,
            bytes_acked: 200,
            segs_in: 3,
            segs_out: 4,
            srtt_us: 50,
            retransmits: 1,
            owner_uid: 0,
            error: 104,
            known: KNOWN_OWNER | KNOWN_ERROR | KNOWN_FIN,
            old_state: 5,
            fin: FIN_ACKED,
        };
        let What::Close(ending) = decode(&bytes_of(&end)).unwrap().what else { panic!("not a close") };
        assert_eq!(ending.owner, Some(0), "root is a uid, not an absence");
        assert_eq!((ending.bytes_received, ending.bytes_acked, ending.error), (100, 200, Some(104)));
        assert_eq!(ending.fin, Some(Fin { received: false, acked: true }));
    }

    #[test]
    fn foreign_bytes_are_refused_by_name() {
        let good = bytes_of(&TcpOpen { header: header::<TcpOpen>(KIND_TCP_CONNECT), ..Default::default() });
        for length in 0..good.len() {
            assert_eq!(decode(&good[..length]).unwrap_err(), DecodeError::Length);
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(decode(&longer).unwrap_err(), DecodeError::Length);
        let mut other_kind = good.clone();
        other_kind[2] = 99;
        assert_eq!(decode(&other_kind).unwrap_err(), DecodeError::Kind(99));
        let mut other_abi = good;
        other_abi[0] = 200;
        assert_eq!(decode(&other_abi).unwrap_err(), DecodeError::Abi(200));
    }
}
