//! Counts the segments that really cross an interface, with a packet socket inside a network namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use rustix::net::{self, AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};

use crate::netns::Netns;

/// `PACKET_IGNORE_OUTGOING`, include/uapi/linux/if_packet.h (4.20+): each packet on `lo` once, as it comes in.
const PACKET_IGNORE_OUTGOING: i32 = 23;
const ETHERNET_HEADER: usize = 14;
/// Enough for Ethernet, IPv6 and TCP headers.
const SNAP: usize = 128;

/// A running capture of everything that comes in over any interface of the namespace.
pub struct Capture {
    socket: OwnedFd,
}

/// One frame with TCP in it; with segmentation offload it stands for several segments.
#[derive(Clone, Debug)]
pub struct Frame {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub payload: u64,
    /// Sequence number of its first byte.
    pub sequence: u32,
    /// The next byte that its sender expects.
    pub acknowledgement: u32,
    /// `FIN`, `SYN`, `RST` and `ACK` as bits 0, 1, 2 and 4.
    pub flags: u8,
}

impl Frame {
    /// TCP segments in it, with `mss` bytes of payload each.
    #[must_use]
    pub fn segments(&self, mss: u64) -> u64 {
        self.payload.div_ceil(mss).max(1)
    }

    #[must_use]
    pub fn is_fin(&self) -> bool {
        self.flags & 1 != 0
    }

    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.flags & 4 != 0
    }

    /// Whether it is more than a bare acknowledgement or a reset.
    #[must_use]
    pub fn takes_sequence_numbers(&self) -> bool {
        self.payload > 0 || self.flags & 3 != 0
    }

    #[must_use]
    pub fn is_acknowledgement(&self) -> bool {
        self.flags & 16 != 0
    }

    /// Whether this frame tells that a FIN of the other end has arrived.
    #[must_use]
    pub fn acknowledges(&self, fin: &Self) -> bool {
        let after_fin =
            u64::from(fin.sequence).wrapping_add(fin.payload).wrapping_add(1) & u64::from(u32::MAX);
        self.source == fin.destination && u64::from(self.acknowledgement) == after_fin
    }
}

/// Payload bytes in frames of one direction; what was sent again counts once.
#[must_use]
pub fn payload<'a>(frames: impl Iterator<Item = &'a Frame> + Clone) -> u64 {
    let Some(first) = frames.clone().next() else { return 0 };
    let from = |frame: &Frame| u64::from(frame.sequence.wrapping_sub(first.sequence));
    let mut parts: Vec<(u64, u64)> = frames
        .filter(|frame| frame.payload > 0)
        .map(|frame| (from(frame), from(frame) + frame.payload))
        .collect();
    parts.sort_unstable();
    let (mut bytes, mut seen) = (0, 0);
    for (start, end) in parts {
        bytes += end.saturating_sub(start.max(seen));
        seen = seen.max(end);
    }
    bytes
}

impl Capture {
    /// Starts capturing.
    pub fn start(netns: &Netns) -> Result<Self> {
        let socket = netns.enter(|| {
            let all = u32::from(u16::to_be(u16::try_from(libc::ETH_P_ALL).unwrap_or_default()));
            let protocol = rustix::net::RawProtocol::new(all).map(Protocol::from_raw);
            net::socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
        });
        let socket = socket.context("packet socket")?;
        set(&socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)?;
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20)?;
        Ok(Self { socket })
    }

    /// Every TCP frame so far. Frames on `lo` are there as soon as the sender's call is over.
    pub fn frames(&self) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        let mut buffer = [0; SNAP];
        loop {
            match net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => frames.extend(buffer.get(..length).and_then(parse)),
                Err(rustix::io::Errno::AGAIN) => return Ok(frames),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn set(socket: &OwnedFd, level: i32, option: i32, value: i32) -> Result<()> {
    let size = libc::socklen_t::try_from(size_of::<i32>())?;
    // SAFETY: the option takes an int, and `value` lives until the call is over.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()).context("packet socket option") }
}

fn word(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn parse(frame: &[u8]) -> Option<Frame> {
    let packet = frame.get(ETHERNET_HEADER..)?;
    let (source, destination, header, length): (IpAddr, IpAddr, usize, usize) = match packet.first()? >> 4 {
        4 if *packet.get(9)? == 6 => {
            let ip =
                |from| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(from..from + 4)?).ok()?).into());
            (ip(12)?, ip(16)?, usize::from(packet.first()? & 15) * 4, word(packet, 2)?.into())
        }
        6 if *packet.get(6)? == 6 => {
            let ip =
                |from| Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(from..from + 16)?).ok()?).into());
            (ip(8)?, ip(24)?, 40, usize::from(word(packet, 4)?) + 40)
        }
        _ => return None,
    };
    let tcp = packet.get(header..)?;
    let tcp_header = usize::from(tcp.get(12)? >> 4) * 4;
    Some(Frame {
        source: (source, word(tcp, 0)?),
        destination: (destination, word(tcp, 2)?),
        sequence: tcp.get(4..8)?.try_into().ok().map(u32::from_be_bytes)?,
        acknowledgement: tcp.get(8..12)?.try_into().ok().map(u32::from_be_bytes)?,
        payload: u64::try_from(length.checked_sub(header + tcp_header)?).ok()?,
        flags: *tcp.get(13)?,
    })
}
