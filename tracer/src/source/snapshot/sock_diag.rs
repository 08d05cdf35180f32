//! The kernel's own list of sockets: netlink `sock_diag` (sock_diag(7), include/uapi/linux/inet_diag.h).
//!
//! Flows in: dumps of one network namespace, asked for on a socket made in it. Flows out: [`Socket`]s. Must never
//! destroy a socket: only `SOCK_DIAG_BY_FAMILY` dumps are sent.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags};
use netlink_packet_sock_diag::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SockDiagMessage};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};
use thiserror::Error;

use super::Socket;
use tracer_ebpf::abi::tcp_state;

use crate::event::{Counters, Fin, Tuple};
use crate::record::Transport;

/// The kernel fills messages of up to 32 KiB when the reader offers that much.
const BUFFER: usize = 32 << 10;
/// The kernel answers from memory; one that does not is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A dump that was disturbed by changes is asked for again so many times; after that what was seen counts.
const ATTEMPTS: usize = 3;

/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` have no socket that belongs to anybody, `TCP_CLOSE` is not connected.
fn tcp_states() -> StateFlags {
    StateFlags::all() - StateFlags::TIME_WAIT - StateFlags::CLOSE - StateFlags::SYN_RECV
}

#[derive(Debug, Error)]
pub enum DumpError {
    #[error("could not {0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("the kernel refused to list {0} sockets: {1}")]
    Refused(&'static str, #[source] io::Error),
    #[error("the kernel's list of {0} sockets could not be read: {1}")]
    Malformed(&'static str, String),
}

/// A dump: protocol, family, states.
struct Request {
    name: &'static str,
    transport: Transport,
    family: u8,
}

const REQUESTS: [Request; 4] = [
    Request { name: "TCP over IPv4", transport: Transport::Tcp, family: AF_INET },
    Request { name: "TCP over IPv6", transport: Transport::Tcp, family: AF_INET6 },
    Request { name: "UDP over IPv4", transport: Transport::Udp, family: AF_INET },
    Request { name: "UDP over IPv6", transport: Transport::Udp, family: AF_INET6 },
];

/// Lists the TCP and UDP sockets of the network namespace that the calling thread is in; `netns` is its inode.
///
/// # Errors
/// The first dump that the kernel refuses, with its reason.
pub fn dump(netns: Option<u32>) -> Result<Vec<Socket>, DumpError> {
    let fd = open().map_err(|error| DumpError::Io("open a sock_diag socket", error))?;
    let mut sockets = Vec::new();
    for request in &REQUESTS {
        let begin = sockets.len();
        for attempt in 1..=ATTEMPTS {
            sockets.truncate(begin);
            let is_whole = ask(&fd, request, netns, &mut sockets)?;
            if is_whole || attempt == ATTEMPTS {
                break;
            }
        }
    }
    Ok(sockets)
}

fn open() -> io::Result<OwnedFd> {
    let fd = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_WITHIN))?;
    Ok(fd)
}

/// Asks for one dump; `false` when sockets came or went meanwhile, so that some may be missing.
fn ask(
    fd: &OwnedFd,
    request: &Request,
    netns: Option<u32>,
    sockets: &mut Vec<Socket>,
) -> Result<bool, DumpError> {
    let io_error = |what| move |error: rustix::io::Errno| DumpError::Io(what, error.into());
    let message = request.message();
    rustix::net::sendto(fd, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))
        .map_err(io_error("ask for the list of sockets"))?;
    let mut buffer = vec![0; BUFFER];
    let mut is_whole = true;
    loop {
        let (length, _) =
            rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()))
                .map_err(io_error("read the list of sockets"))?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let malformed = |why: String| DumpError::Malformed(request.name, why);
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| malformed(error.to_string()))?;
            is_whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    sockets.extend(socket(&response, request.transport, netns));
                }
                NetlinkPayload::Done(_) => return Ok(is_whole),
                NetlinkPayload::Error(error) => {
                    return Err(DumpError::Refused(request.name, error.to_io()));
                }
                _ => {}
            }
            // Messages begin at multiples of four.
            let taken = (message.header.length as usize).next_multiple_of(4);
            if taken == 0 {
                return Err(malformed("a message without a length".to_owned()));
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// Set in messages of a dump that was disturbed, include/uapi/linux/netlink.h.
const NLM_F_DUMP_INTR: u16 = 0x10;

impl Request {
    fn message(&self) -> Vec<u8> {
        let is_tcp = self.transport == Transport::Tcp;
        let request = InetRequest {
            family: self.family,
            protocol: if is_tcp { IPPROTO_TCP } else { IPPROTO_UDP },
            extensions: if is_tcp { ExtensionFlags::INFO } else { ExtensionFlags::empty() },
            states: if is_tcp { tcp_states() } else { StateFlags::all() },
            socket_id: if self.family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
        };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }
}

fn socket(response: &InetResponse, transport: Transport, netns: Option<u32>) -> Option<Socket> {
    let header = &response.header;
    let id = &header.socket_id;
    let info = response.nlas.iter().find_map(|attribute| match attribute {
        Nla::TcpInfo(bytes) => Some(bytes.as_slice()),
        _ => None,
    });
    Some(Socket {
        cookie: cookie(id.cookie)?,
        transport,
        state: header.state.into(),
        tuple: Tuple {
            local: mapped(id.source_address),
            remote: mapped(id.destination_address),
            local_port: id.source_port,
            remote_port: id.destination_port,
            netns,
        },
        // A socket without an inode belongs to no process any more, and the kernel calls its owner 0.
        owner: (header.inode != 0).then_some(header.uid),
        inode: (header.inode != 0).then_some(header.inode),
        counters: info.and_then(|info| counters(info, header.state.into())),
    })
}

/// Two words in host byte order, the lower one first. A kernel that gives no cookie gives all ones.
fn cookie(words: [u8; 8]) -> Option<u64> {
    let [a, b, c, d, e, f, g, h] = words;
    let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
    let cookie = u64::from(high) << 32 | u64::from(low);
    (cookie != 0 && cookie != u64::MAX).then_some(cookie)
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Reads `struct tcp_info` (include/uapi/linux/tcp.h), which only ever grew: an older kernel's is shorter. Host byte
/// order.
fn counters(info: &[u8], state: u16) -> Option<Counters> {
    let word = |at: usize| Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(info.get(at..at + 8)?.try_into().ok()?));
    Some(Counters {
        unacked: word(24)?,
        silent_ms: Some(word(44)?.min(word(52)?)),
        rtt_us: word(68)?,
        retransmits: word(100)?,
        bytes_acked: long(120)?,
        bytes_received: long(128)?,
        segs_out: word(136)?,
        segs_in: word(140)?,
        fin: Fin {
            received: matches!(state, tcp_state::CLOSE_WAIT | tcp_state::LAST_ACK | tcp_state::CLOSING),
            acked: state == tcp_state::FIN_WAIT2,
        },
        // 4.19 and later.
        bytes_sent: long(200).zip(long(208)).map(|(sent, again)| sent.saturating_sub(again)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn find(sockets: &[Socket], transport: Transport, port: u16, state: u16) -> Option<&Socket> {
        let fits = |socket: &&Socket| {
            socket.transport == transport && socket.tuple.local_port == port && socket.state == state
        };
        sockets.iter().find(fits)
    }

    /// Needs no privilege: everybody may list the sockets of his network namespace.
    #[test]
    fn open_sockets_are_listed_with_owner_inode_and_counters() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let uid = rustix::process::getuid().as_raw();

        let sockets = dump(Some(7)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listening = find(&sockets, Transport::Tcp, port, tcp_state::LISTEN).unwrap();
        assert_eq!((listening.owner, listening.tuple.netns), (Some(uid), Some(7)));
        assert!(listening.inode.is_some());

        let connected =
            find(&sockets, Transport::Tcp, client.local_addr().unwrap().port(), tcp_state::ESTABLISHED);
        let connected = connected.unwrap();
        assert_eq!(
            (connected.tuple.remote_port, connected.tuple.remote_ip()),
            (port, "::1".parse().unwrap())
        );
        let counters = connected.counters.unwrap();
        assert_eq!((counters.bytes_acked, counters.bytes_sent, counters.bytes_received), (6, Some(5), 0));
        let accepted = find(&sockets, Transport::Tcp, port, tcp_state::ESTABLISHED).unwrap();
        assert_eq!(accepted.counters.unwrap().bytes_received, 5);
        assert_ne!(accepted.cookie, connected.cookie);

        let unconnected = find(&sockets, Transport::Udp, udp.local_addr().unwrap().port(), 7).unwrap();
        assert_eq!((unconnected.owner, unconnected.counters), (Some(uid), None));
    }

    #[test]
    fn a_short_tcp_info_of_an_old_kernel_is_used_as_far_as_it_goes() {
        let mut info = vec![0; 160];
        info[68..72].copy_from_slice(&1234u32.to_ne_bytes());
        info[120..128].copy_from_slice(&99u64.to_ne_bytes());
        let read = counters(&info, tcp_state::FIN_WAIT2).unwrap();
        assert_eq!((read.rtt_us, read.bytes_acked, read.bytes_sent), (1234, 99, None));
        assert_eq!(read.fin, Fin { received: false, acked: true });
        assert_eq!(counters(&info[..136], tcp_state::ESTABLISHED), None, "before 4.2");
    }

    #[test]
    fn a_cookie_is_two_words_and_none_is_no_cookie() {
        let words = |low: u32, high: u32| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&low.to_ne_bytes());
            bytes[4..].copy_from_slice(&high.to_ne_bytes());
            bytes
        };
        assert_eq!(cookie(words(2, 1)), Some(0x1_0000_0002));
        assert_eq!(cookie(words(u32::MAX, u32::MAX)), None);
        assert_eq!(cookie(words(0, 0)), None);
    }
}
