//! The fields of a packet, found in datagrams that we send to ourselves over loopback. Nobody takes them from the socket
//! meanwhile, so that they stay where they are.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd;

use rustix::fs::{Gid, Uid, fchown};
use tracer_ebpf::abi::{Meeting, OFFSET_UNKNOWN, Offsets};

use super::pair::set;
use super::peek::{Met, Peeker};
use super::search::{Search, pointers, position, word};

/// Memory behind `sk_buff.head` in which headers and payload lie.
const HEAD_BYTES: usize = 1024;
/// More than `struct sock` has up to `sk_uid`.
const SOCK_BYTES: usize = 1280;
const UDP_HEADER: u32 = 8;
/// include/uapi/linux/udp.h
const UDP_SEGMENT: i32 = 103;
/// Three times "no operation" and "end of options", RFC 791: makes the IP header longer by four bytes.
const IP_OPTIONS: [u8; 4] = [1, 1, 1, 0];

#[derive(Default)]
struct Fields {
    sk: Search,
    head: Search,
    /// `transport_header` and `network_header`, which are neighbours.
    headers: Search,
}

/// Fills in what is found about packets. Needs the offsets of sockets.
///
/// # Errors
/// When datagrams over loopback cannot be sent or were not met.
pub fn find(peeker: &mut Peeker, offsets: &mut Offsets) -> io::Result<()> {
    let mut fields = Fields::default();
    let task = peeker.task().map_err(io::Error::other)?.address;
    for (number, options) in [&[][..], &IP_OPTIONS].into_iter().enumerate() {
        let (sender, _receiver, uid) = sockets(number)?;
        if !options.is_empty() {
            set(sender.as_fd(), libc::IPPROTO_IP, libc::IP_OPTIONS, options)?;
        }
        let payload: Vec<u8> = (13u8..).step_by(7 - number).take(33 - number * 8).collect();
        peeker.meet(&Meeting { task, ..Meeting::NONE }).map_err(io::Error::other)?;
        sender.send(&payload)?;
        let met = met(peeker)?;
        let header = 20 + u32::try_from(options.len()).unwrap_or_default();
        fields.headers(peeker, &met, &payload, header);
        let port = sender.local_addr()?.port();
        fields.owner(peeker, &met, offsets, (uid, port));
    }
    (offsets.skb_sk, offsets.skb_head) = (fields.sk.only(), fields.head.only());
    (offsets.skb_transport_header, offsets.skb_network_header) = match fields.headers.only() {
        OFFSET_UNKNOWN => (OFFSET_UNKNOWN, OFFSET_UNKNOWN),
        at => (at, at + 2),
    };
    if offsets.skb_head != OFFSET_UNKNOWN {
        // `end` is a number of 32 bits before the pointer `head`, with padding between them or without.
        for end in [4, 8].into_iter().filter_map(|back| offsets.skb_head.checked_sub(back)) {
            let gso_segs = segments(peeker, task, (offsets.skb_head, end))?.only();
            if gso_segs != OFFSET_UNKNOWN {
                (offsets.skb_end, offsets.shinfo_gso_segs) = (end, gso_segs);
                // The neighbour of `end`, of the same size.
                offsets.skb_tail = end - 4;
                break;
            }
        }
    }
    Ok(())
}

/// A sender of a known uid, and a receiver that takes nothing.
fn sockets(number: usize) -> io::Result<(UdpSocket, UdpSocket, u32)> {
    let number = u8::try_from(number).unwrap_or_default();
    let receiver = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::new(127, 29, 131, 9 + number), 0))?;
    let sender = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::new(127, 83, 29, 3 + number), 0))?;
    sender.connect(receiver.local_addr()?)?;
    let uid = 1_234_800_107 + u32::from(number) * 65_539;
    fchown(&sender, Some(Uid::from_raw(uid)), None::<Gid>)?;
    Ok((sender, receiver, uid))
}

fn met(peeker: &mut Peeker) -> io::Result<Met> {
    let met = peeker.met().map_err(io::Error::other)?;
    if met.found == 0 {
        return Err(io::Error::other("the hook did not meet the datagram that was sent"));
    }
    Ok(met)
}

impl Fields {
    fn headers(&mut self, peeker: &mut Peeker, met: &Met, payload: &[u8], header: u32) {
        let behind = |(at, address)| {
            let memory = peeker.memory(address, HEAD_BYTES);
            position(&memory, payload, 1).map(|payload| (at, payload))
        };
        // `head` comes right before `data`, which points to the IP header when it is sent.
        let found: Vec<(u32, u32)> = pointers(&met.bytes).filter_map(behind).collect();
        let head = found.windows(2).find_map(|pair| match pair {
            [(head, first), (data, second)] if head + 8 == *data && first > second => Some((*head, *first)),
            _ => None,
        });
        self.head.keep(head.map(|(at, _)| at).into_iter());
        let Some((_, payload)) = head else { return };
        let transport = payload.saturating_sub(UDP_HEADER);
        let network = transport.saturating_sub(header);
        let both: Vec<u8> = [transport, network]
            .into_iter()
            .flat_map(|at| u16::try_from(at).unwrap_or(u16::MAX).to_ne_bytes())
            .collect();
        self.headers.look(&met.bytes, &both, 2);
    }

    fn owner(&mut self, peeker: &mut Peeker, met: &Met, offsets: &Offsets, (uid, port): (u32, u16)) {
        let is_ours = |(at, address)| {
            let memory = peeker.memory(address, SOCK_BYTES);
            let port_at = usize::try_from(offsets.sock_num).ok()?;
            let is_port = memory.get(port_at..port_at.checked_add(2)?)? == port.to_ne_bytes();
            (is_port && word(&memory, offsets.sock_uid) == Some(uid)).then_some(at)
        };
        self.sk.keep(pointers(&met.bytes).filter_map(is_ours).collect::<Vec<_>>().into_iter());
    }
}

/// Where the number of datagrams is that the kernel makes of one later.
fn segments(peeker: &mut Peeker, task: u64, (head, end): (u32, u32)) -> io::Result<Search> {
    let mut gso_segs = Search::default();
    for (number, (size, count)) in [(101u16, 3u16), (57, 5)].into_iter().enumerate() {
        let (sender, _receiver, _) = sockets(number + 2)?;
        set(sender.as_fd(), libc::IPPROTO_UDP, UDP_SEGMENT, &i32::from(size).to_ne_bytes())?;
        let wanted = Meeting { task, pointer: head, distance: end, ..Meeting::NONE };
        peeker.meet(&wanted).map_err(io::Error::other)?;
        sender.send(&vec![0; usize::from(size) * usize::from(count) - 10])?;
        // `gso_size` lies before it.
        let both = [size, count].map(u16::to_ne_bytes).concat();
        gso_segs.keep(position(&met(peeker)?.behind_bytes, &both, 2).map(|at| at + 2).into_iter());
    }
    Ok(gso_segs)
}
