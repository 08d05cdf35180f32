//! Steps with datagrams.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{GIVE_UP_AFTER, Result, State, Storm, address, number, set_option, text};

/// include/uapi/linux/udp.h
const UDP_SEGMENT: i32 = 103;
/// Version 1, in the long header of a first packet.
const QUIC_INITIAL: [u8; 5] = [0xc3, 0, 0, 0, 1];

impl State {
    /// `None`: not a step with datagrams.
    pub fn udp_step(&mut self, name: &str, value: &str) -> Option<Result<()>> {
        Some(match name {
            "udp" => self.open_udp(value),
            // ADDRESS:PORT,BYTES,TIMES
            "sendto" => self.send_to(value),
            // As sendto, but each to another port, counting up.
            "spray" => self.spray(value),
            "sendmmsg" => self.send_many(value),
            // As the first packet of a QUIC connection, to ADDRESS:PORT.
            "quic" => self.send_quic(value),
            // Answers one datagram with as many bytes.
            "answer" => self.answer(),
            // Answers for ever.
            "echo" => loop {
                if let Err(error) = self.answer() {
                    break Err(error);
                }
            },
            // Looks at a datagram and leaves it in the queue.
            "peek" => self.with_socket(|socket| {
                net::recv(socket, &mut [0u8; 65536][..], RecvFlags::PEEK).map(drop).map_err(text)
            }),
            // Sends with one call what the kernel cuts into datagrams of so many bytes.
            "segment" => number(value).and_then(|size| {
                self.with_socket(|socket| set_option(socket, libc::SOL_UDP, UDP_SEGMENT, size))
            }),
            "broadcast" => {
                self.with_socket(|socket| sockopt::set_socket_broadcast(socket, true).map_err(text))
            }
            // Receives what is sent to this group, on the interface of 127.0.0.1.
            "join" => self.join(value),
            "udpstorm" => self.udp_storm(value),
            _ => return None,
        })
    }

    fn with_socket(&self, work: impl FnOnce(&OwnedFd) -> Result<()>) -> Result<()> {
        work(self.current()?)
    }

    fn open_udp(&mut self, family: &str) -> Result<()> {
        let family = if family == "6" { AddressFamily::INET6 } else { AddressFamily::INET };
        self.socket = Some(udp_socket(family)?);
        Ok(())
    }

    fn send_to(&mut self, value: &str) -> Result<()> {
        let (to, bytes, times) = destination(value)?;
        for _ in 0..times {
            self.sent += net::sendto(self.current()?, &vec![b'x'; bytes], SendFlags::empty(), &to)
                .map_err(text)? as u64;
        }
        Ok(())
    }

    fn spray(&mut self, value: &str) -> Result<()> {
        let (mut to, bytes, times) = destination(value)?;
        for _ in 0..times {
            self.sent += net::sendto(self.current()?, &vec![b'x'; bytes], SendFlags::empty(), &to)
                .map_err(text)? as u64;
            to.set_port(to.port().wrapping_add(1));
        }
        Ok(())
    }

    fn send_quic(&mut self, value: &str) -> Result<()> {
        let mut packet = [0u8; 1200];
        packet.iter_mut().zip(QUIC_INITIAL).for_each(|(byte, of)| *byte = of);
        let to = address(value)?;
        self.sent += net::sendto(self.current()?, &packet, SendFlags::empty(), &to).map_err(text)? as u64;
        Ok(())
    }

    /// All with one call; the socket must be connected.
    fn send_many(&mut self, value: &str) -> Result<()> {
        let (to, bytes, times) = destination(value)?;
        net::connect(self.current()?, &to).map_err(text)?;
        let payload = vec![b'm'; bytes];
        let mut part = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
        // SAFETY: all zeros is a valid mmsghdr.
        let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        message.msg_hdr.msg_iov = &raw mut part;
        message.msg_hdr.msg_iovlen = 1;
        let mut messages = vec![message; usize::from(times)];
        // SAFETY: every message points to one iovec, and that to the payload; both live until the call is over.
        let sent = unsafe {
            libc::sendmmsg(self.current()?.as_raw_fd(), messages.as_mut_ptr(), u32::from(times), 0)
        };
        if sent != i32::from(times) {
            return Err(format!("{sent} of {times} datagrams were sent"));
        }
        self.sent += messages.iter().map(|message| u64::from(message.msg_len)).sum::<u64>();
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        let mut buffer = vec![0; 65536];
        let socket = self.current()?;
        let (length, _, peer) = net::recvfrom(socket, &mut *buffer, RecvFlags::empty()).map_err(text)?;
        let peer: SocketAddr = peer.and_then(|any| any.try_into().ok()).ok_or("no peer")?;
        let sent = net::sendto(socket, buffer.get(..length).unwrap_or_default(), SendFlags::empty(), &peer);
        let sent = sent.map_err(text)?;
        self.received += length as u64;
        self.sent += sent as u64;
        Ok(())
    }

    fn join(&mut self, group: &str) -> Result<()> {
        let group = group.parse().map_err(text)?;
        let interface = std::net::Ipv4Addr::LOCALHOST;
        self.with_socket(|socket| sockopt::set_ip_add_membership(socket, &group, &interface).map_err(text))?;
        self.with_socket(|socket| sockopt::set_ip_multicast_if(socket, &interface).map_err(text))
    }

    /// `ADDRESS:PORT,FLOWS,THREADS`: for every flow a socket that sends one datagram of 8 bytes and is closed.
    fn udp_storm(&mut self, value: &str) -> Result<()> {
        let (to, flows, threads) = destination(value)?;
        let each = flows / usize::from(threads);
        let workers: Vec<_> =
            (0..threads).map(|_| std::thread::spawn(move || send_from_new_sockets(to, each))).collect();
        let mut storm = Storm::default();
        for worker in workers {
            storm.connected += worker.join().map_err(|_| "a thread panicked")??;
        }
        self.storm = Some(storm);
        self.tell("storm")
    }
}

fn send_from_new_sockets(to: SocketAddr, times: usize) -> Result<u64> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut sent = 0;
    for _ in 0..times {
        let socket = net::socket(family, SocketType::DGRAM, None).map_err(text)?;
        net::sendto(&socket, b"datagram", SendFlags::empty(), &to).map_err(text)?;
        sent += 1;
    }
    Ok(sent)
}

/// `ADDRESS:PORT,BYTES,TIMES`
fn destination(value: &str) -> Result<(SocketAddr, usize, u16)> {
    let mut parts = value.split(',');
    let mut part = || parts.next().ok_or("give ADDRESS:PORT, and two numbers");
    Ok((address(part()?)?, number(part()?)?, number(part()?)?))
}

/// A socket that gives up by itself, so that a failed test leaves no process behind.
fn udp_socket(family: AddressFamily) -> Result<OwnedFd> {
    let socket = net::socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None).map_err(text)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(GIVE_UP_AFTER)).map_err(text)?;
    Ok(socket)
}
