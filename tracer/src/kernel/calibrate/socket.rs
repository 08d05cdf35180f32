//! The fields of a socket, found in TCP sockets of our own: every value is known from the outside, and every field has
//! to be at the same place in several of them.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use tracer_ebpf::abi::{OFFSET_UNKNOWN, Offsets, tcp_state};

use super::pair::{self, Info, Marks, Pair};
use super::peek::Peeker;
use super::search::{Search, long, pointers, position};

/// More than `struct sock_common` has.
const COMMON_BYTES: usize = 160;
/// More than `struct sock` has.
const SOCK_BYTES: usize = 1280;
/// More than `struct tcp_sock` has.
const TCP_BYTES: usize = 3584;
/// More than `struct net` has up to `ns.inum`, and `struct socket` up to `sk`.
const NET_BYTES: usize = 512;
const SOCKET_BYTES: usize = 64;
/// More than `struct file` has.
const FILE_BYTES: usize = 512;

/// `SOCK_STREAM` and `IPPROTO_TCP`.
const STREAM: u16 = 1;
const TCP: u16 = 6;
/// `SOCK_KEEPOPEN` and `SOCK_URGINLINE`, `enum sock_flags`, include/net/sock.h.
const KEEPOPEN: u64 = 1 << 3;
const URGINLINE: u64 = 1 << 2;

#[derive(Default)]
struct Fields {
    cookie: Search,
    uid: Search,
    err: Search,
    flags: Search,
    net: Search,
    inum: Search,
    protocol: Search,
    protocol_first: Search,
    family: Search,
    state: Search,
    dport: Search,
    num: Search,
    sport: Search,
    daddr: Search,
    rcv_saddr: Search,
    v6_daddr: Search,
    v6_rcv_saddr: Search,
    socket: Search,
    file: Search,
    cb_flags: Search,
    write_seq: Search,
    snd_una: Search,
    bytes_received: Search,
    bytes_acked: Search,
    segs_in: Search,
    segs_out: Search,
    srtt: Search,
    retransmits: Search,
}

/// Fills in what is found about sockets.
///
/// # Errors
/// When connections over loopback cannot be made or looked at.
pub fn find(peeker: &mut Peeker, offsets: &mut Offsets) -> io::Result<()> {
    let mut fields = Fields::default();
    let mut pairs = Vec::new();
    for number in 0..4u8 {
        match Pair::connect(peeker, marks(number)) {
            Ok(pair) => pairs.push(pair),
            // Without IPv6 its fields are not needed.
            Err(_) if marks(number).is_v6 => {}
            Err(error) => return Err(error),
        }
    }
    for (number, pair) in pairs.iter_mut().enumerate() {
        pair.exchange(3 + number * 2, 1000 + number * 313)?;
        let (info, memory) = pair.still(peeker, TCP_BYTES)?;
        fields.identity(pair, &memory)?;
        fields.counters(&info, &memory);
        fields.pointers(peeker, pair, &memory);
    }
    if let Some(pair) = pairs.first_mut() {
        fields.stumble(peeker, pair)?;
        fields.toggle(peeker, pair)?;
    }
    if let Some(pair) = pairs.pop() {
        let sk = pair.sk;
        let client = pair.reset()?;
        wait_for_hangup(&client)?;
        fields.ended(&peeker.memory(sk, SOCK_BYTES), libc::ECONNRESET);
    }
    let (_refused, sk) = pair::refused(peeker, marks(4))?;
    fields.ended(&peeker.memory(sk, SOCK_BYTES), libc::ECONNREFUSED);
    let (_listening, sk) = pair::listening(peeker, marks(5))?;
    let listening = u8::try_from(tcp_state::LISTEN).unwrap_or_default();
    fields.state.look(common(&peeker.memory(sk, COMMON_BYTES)), &[listening], 1);
    fields.tell(offsets);
    Ok(())
}

/// What tells the sockets of the calibration apart. Every other one is IPv6 with v4-mapped addresses: loopback has only
/// one address of its own there.
fn marks(number: u8) -> Marks {
    Marks {
        is_v6: number % 2 == 1,
        local: Ipv4Addr::new(127, 83, 11, 17 + number),
        remote: Ipv4Addr::new(127, 29, 101 + number, 7),
        uid: 1_234_500_013 + u32::from(number) * 65_539,
        flags: [4, 2, 1, 6].get(usize::from(number)).copied().unwrap_or_default(),
    }
}

fn common(memory: &[u8]) -> &[u8] {
    memory.get(..COMMON_BYTES).unwrap_or(memory)
}

fn sock(memory: &[u8]) -> &[u8] {
    memory.get(..SOCK_BYTES).unwrap_or(memory)
}

/// Looks again and again. A segment is sent again within milliseconds, at worst after two timeouts of a second.
fn wait_until(is_so: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so()? {
        if Instant::now() > deadline {
            return Err(io::Error::other("a segment of our own was not sent again"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn wait_for_hangup(socket: &impl AsRawFd) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: the pointer is to one struct, as the count says.
    if unsafe { libc::poll(&raw mut poll, 1, 1000) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

impl Fields {
    /// Who it is: a socket at rest in state ESTABLISHED.
    fn identity(&mut self, pair: &Pair, memory: &[u8]) -> io::Result<()> {
        let marks = pair.marks;
        self.cookie.look(common(memory), &pair.cookie.to_ne_bytes(), 8);
        self.uid.look(sock(memory), &marks.uid.to_ne_bytes(), 4);
        self.dport.look(common(memory), &pair.remote_port()?.to_be_bytes(), 2);
        self.num.look(common(memory), &pair.local_port()?.to_ne_bytes(), 2);
        self.sport.look(memory, &pair.local_port()?.to_be_bytes(), 2);
        let family = if marks.is_v6 { libc::AF_INET6 } else { libc::AF_INET };
        self.family.look(common(memory), &u16::try_from(family).unwrap_or_default().to_ne_bytes(), 2);
        let established = u8::try_from(tcp_state::ESTABLISHED).unwrap_or_default();
        self.state.look(common(memory), &[established], 1);
        if marks.is_v6 {
            self.v6_daddr.look(common(memory), &marks.remote.to_ipv6_mapped().octets(), 4);
            self.v6_rcv_saddr.look(common(memory), &marks.local.to_ipv6_mapped().octets(), 4);
        } else {
            self.daddr.look(common(memory), &marks.remote.octets(), 4);
            self.rcv_saddr.look(common(memory), &marks.local.octets(), 4);
        }
        // `sk_type` and `sk_protocol` are neighbours; from 6.8 on the other way round.
        let neighbours = |first: u16, second: u16| [first, second].map(u16::to_ne_bytes).concat();
        self.protocol.look(sock(memory), &neighbours(STREAM, TCP), 2);
        self.protocol_first.look(sock(memory), &neighbours(TCP, STREAM), 2);
        self.err.look(sock(memory), &[0; 4], 4);
        Ok(())
    }

    fn counters(&mut self, info: &Info, memory: &[u8]) {
        self.write_seq.look(memory, &info.write_seq.to_ne_bytes(), 4);
        self.snd_una.look(memory, &info.snd_una.to_ne_bytes(), 4);
        self.bytes_received.look(memory, &info.bytes_received.to_ne_bytes(), 8);
        self.bytes_acked.look(memory, &info.bytes_acked.to_ne_bytes(), 8);
        self.segs_in.look(memory, &info.segs_in.to_ne_bytes(), 4);
        self.segs_out.look(memory, &info.segs_out.to_ne_bytes(), 4);
        self.srtt.look_for(memory, |srtt| srtt != 0 && srtt >> 3 == info.rtt_us);
        self.retransmits.look(memory, &info.retransmits.to_ne_bytes(), 4);
    }

    /// What it points to: its network namespace, its `struct socket`, and the file of that.
    fn pointers(&mut self, peeker: &mut Peeker, pair: &Pair, memory: &[u8]) {
        if let Ok(flags) = u8::try_from(pair.flags) {
            self.cb_flags.look(memory, &[flags], 1);
        }
        if let Some(inode) = own_netns() {
            let target = |(at, address)| {
                let net = peeker.memory(address, NET_BYTES);
                position(&net, &inode.to_ne_bytes(), 4).map(|inum| (at, inum))
            };
            let found = pointers(common(memory)).find_map(target);
            self.net.keep(found.map(|(at, _)| at).into_iter());
            self.inum.keep(found.map(|(_, inum)| inum).into_iter());
        }
        let target = |(at, address)| {
            let socket = peeker.memory(address, SOCKET_BYTES);
            // `file` comes before `sk`, and its `private_data` is the socket.
            let file_at = position(&socket, &pair.sk.to_ne_bytes(), 8)?.checked_sub(8)?;
            let file = peeker.memory(long(&socket, file_at)?, FILE_BYTES);
            position(&file, &u64::to_ne_bytes(address), 8).map(|_| (at, file_at))
        };
        let found: Vec<_> = pointers(sock(memory)).filter_map(target).collect();
        self.socket.keep(found.iter().map(|(at, _)| *at));
        self.file.keep(found.iter().map(|(_, file)| *file));
    }

    /// While a segment is missing: the sequence numbers differ, and something is sent again.
    fn stumble(&mut self, peeker: &mut Peeker, pair: &mut Pair) -> io::Result<()> {
        pair.stumble()?;
        wait_until(|| Ok(pair.info()?.retransmits > 0))?;
        let (info, memory) = pair.still(peeker, TCP_BYTES)?;
        self.write_seq.look(&memory, &info.write_seq.to_ne_bytes(), 4);
        self.snd_una.look(&memory, &info.snd_una.to_ne_bytes(), 4);
        self.retransmits.look(&memory, &info.retransmits.to_ne_bytes(), 4);
        pair.recover()?;
        wait_until(|| pair.info().map(|info| info.snd_una == info.write_seq))?;
        let (info, memory) = pair.still(peeker, TCP_BYTES)?;
        self.counters(&info, &memory);
        Ok(())
    }

    /// Flags that are switched on one after the other.
    fn toggle(&mut self, peeker: &mut Peeker, pair: &Pair) -> io::Result<()> {
        let before = peeker.memory(pair.sk, SOCK_BYTES);
        pair.set_option(libc::SO_KEEPALIVE)?;
        let alive = peeker.memory(pair.sk, SOCK_BYTES);
        pair.set_option(libc::SO_OOBINLINE)?;
        let inline = peeker.memory(pair.sk, SOCK_BYTES);
        for (before, after, bit) in [(&before, &alive, KEEPOPEN), (&alive, &inline, URGINLINE)] {
            let all = (0..u32::try_from(SOCK_BYTES).unwrap_or_default()).step_by(8);
            self.flags.keep(all.filter(|at| {
                long(before, *at).zip(long(after, *at)).is_some_and(|(before, after)| before ^ after == bit)
            }));
        }
        Ok(())
    }

    /// A socket in state CLOSE with an error that nobody took.
    fn ended(&mut self, memory: &[u8], error: i32) {
        self.err.look(memory, &error.to_ne_bytes(), 4);
        let closed = u8::try_from(tcp_state::CLOSE).unwrap_or_default();
        self.state.look(common(memory), &[closed], 1);
    }

    fn tell(&self, offsets: &mut Offsets) {
        offsets.sock_cookie = self.cookie.only();
        offsets.sock_uid = self.uid.first();
        offsets.sock_err = self.err.only();
        offsets.sock_flags = self.flags.only();
        (offsets.sock_net, offsets.net_inum) = (self.net.only(), self.inum.only());
        offsets.sock_protocol = match (self.protocol.only(), self.protocol_first.only()) {
            (OFFSET_UNKNOWN, at) => at,
            (at, OFFSET_UNKNOWN) => at + 2,
            _ => OFFSET_UNKNOWN,
        };
        offsets.sock_family = self.family.only();
        offsets.sock_state = self.state.only();
        offsets.sock_dport = self.dport.first();
        offsets.sock_num = self.num.first();
        // A copy in the flow of its route lies behind it.
        offsets.inet_sport = self.sport.first();
        offsets.sock_daddr = self.daddr.first();
        offsets.sock_rcv_saddr = self.rcv_saddr.first();
        offsets.sock_v6_daddr = self.v6_daddr.first();
        offsets.sock_v6_rcv_saddr = self.v6_rcv_saddr.first();
        (offsets.sock_socket, offsets.socket_file) = (self.socket.only(), self.file.only());
        offsets.tcp_cb_flags = self.cb_flags.only();
        offsets.tcp_write_seq = self.write_seq.only();
        offsets.tcp_snd_una = self.snd_una.only();
        offsets.tcp_bytes_received = self.bytes_received.only();
        offsets.tcp_bytes_acked = self.bytes_acked.only();
        offsets.tcp_segs_in = self.segs_in.only();
        offsets.tcp_segs_out = self.segs_out.only();
        offsets.tcp_srtt_us = self.srtt.only();
        // `lost` and what the congestion control counts lie before it.
        offsets.tcp_total_retrans = self.retransmits.last();
    }
}

/// Inode of our network namespace, which is also its number in the kernel.
fn own_netns() -> Option<u32> {
    let name = std::fs::read_link("/proc/self/ns/net").ok()?;
    name.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}
