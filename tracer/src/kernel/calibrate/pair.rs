//! TCP connections of our own over loopback, whose every number is known.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{Gid, Uid, fchown};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with};
use tracer_ebpf::abi::Meeting;

use super::peek::Peeker;
use super::search::{long, word};

/// Loopback answers at once; this only keeps us from waiting for ever where something swallows packets.
const PATIENCE: Duration = Duration::from_secs(1);
/// include/uapi/linux/tcp.h
const TCP_REPAIR: i32 = 19;
const TCP_REPAIR_QUEUE: i32 = 20;
const TCP_QUEUE_SEQ: i32 = 21;
const TCP_SEND_QUEUE: i32 = 2;
/// Ends the repair without a window probe.
const TCP_REPAIR_OFF_NO_WP: i32 = -1;
/// `SIOCOUTQ`, include/uapi/linux/sockios.h: bytes that were not acknowledged.
const SIOCOUTQ: u64 = 0x5411;

/// What tells one connection from the others.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    pub is_v6: bool,
    pub local: Ipv4Addr,
    pub remote: Ipv4Addr,
    pub uid: u32,
    /// `bpf_sock_ops_cb_flags` that are set on its socket.
    pub flags: u32,
}

/// A connection; the client's end is the one that is looked at.
pub struct Pair {
    pub marks: Marks,
    pub client: TcpStream,
    pub server: TcpStream,
    /// Address of the client's `struct sock`.
    pub sk: u64,
    pub cookie: u64,
    pub flags: u32,
}

/// What the kernel says about a connection, `struct tcp_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    pub rtt_us: u32,
    pub retransmits: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub segs_out: u32,
    pub segs_in: u32,
    /// Sequence number behind what was written, and of the first byte that was not acknowledged.
    pub write_seq: u32,
    pub snd_una: u32,
}

impl Pair {
    /// Connects, and meets the client's socket in the kernel.
    pub fn connect(peeker: &mut Peeker, marks: Marks) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddrV4::new(marks.remote, 0))?;
        set(listener.as_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeval(PATIENCE))?;
        let client = client(&marks)?;
        let port = port_of(client.as_fd())?;
        let wanted = Meeting { tcp_port: u32::from(port), cb_flags: marks.flags, ..Meeting::NONE };
        peeker.meet(&wanted).map_err(io::Error::other)?;
        connect(&client, &address(&marks, marks.remote, listener.local_addr()?.port()))?;
        let (server, _) = listener.accept()?;
        let client = TcpStream::from(client);
        let met = peeker.met().map_err(io::Error::other)?;
        let cookie = rustix::net::sockopt::socket_cookie(&client)?;
        if met.sk == 0 || met.cookie != cookie {
            return Err(io::Error::other("the hook did not meet the socket that was connected"));
        }
        for end in [&client, &server] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(Self { marks, client, server, sk: met.sk, cookie, flags: met.found_flags })
    }

    /// Sends some bytes each way, in so many portions, until all were acknowledged.
    pub fn exchange(&mut self, portions: usize, size: usize) -> io::Result<()> {
        let mut taken = vec![0; size + portions];
        for _ in 0..portions {
            self.client.write_all(taken.get(..size).unwrap_or_default())?;
            self.server.read_exact(taken.get_mut(..size).unwrap_or_default())?;
            self.server.write_all(&taken)?;
            self.client.read_exact(&mut taken)?;
        }
        Ok(())
    }

    /// What the kernel says, together with the memory of the socket at a moment when both did not change.
    pub fn still(&self, peeker: &mut Peeker, length: usize) -> io::Result<(Info, Vec<u8>)> {
        for _ in 0..200 {
            let before = self.info()?;
            let memory = peeker.memory(self.sk, length);
            if before == self.info()? {
                return Ok((before, memory));
            }
            // Delayed acknowledgements take 40 ms.
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::other("a connection of our own does not come to rest"))
    }

    pub fn info(&self) -> io::Result<Info> {
        let mut bytes = [0; 256];
        get(self.client.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut bytes)?;
        let word = |at| word(&bytes, at).unwrap_or_default();
        let long = |at| long(&bytes, at).unwrap_or_default();
        let write_seq = self.write_seq()?;
        Ok(Info {
            rtt_us: word(68),
            retransmits: word(100),
            bytes_acked: long(120),
            bytes_received: long(128),
            segs_out: word(136),
            segs_in: word(140),
            write_seq,
            snd_una: write_seq.wrapping_sub(self.unacknowledged()?),
        })
    }

    /// The sequence number behind the last byte that was written.
    fn write_seq(&self) -> io::Result<u32> {
        let socket = self.client.as_fd();
        set(socket, libc::IPPROTO_TCP, TCP_REPAIR, &1i32.to_ne_bytes())?;
        let mut bytes = [0; 4];
        let result = set(socket, libc::IPPROTO_TCP, TCP_REPAIR_QUEUE, &TCP_SEND_QUEUE.to_ne_bytes())
            .and_then(|()| get(socket, libc::IPPROTO_TCP, TCP_QUEUE_SEQ, &mut bytes));
        set(socket, libc::IPPROTO_TCP, TCP_REPAIR, &TCP_REPAIR_OFF_NO_WP.to_ne_bytes())?;
        result.map(|()| u32::from_ne_bytes(bytes))
    }

    fn unacknowledged(&self) -> io::Result<u32> {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the request writes an int, and the pointer is to one.
        let result = unsafe { libc::ioctl(self.client.as_raw_fd(), SIOCOUTQ as _, &raw mut bytes) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        u32::try_from(bytes).map_err(io::Error::other)
    }

    /// Makes the server's end drop the segment that begins with this sequence number; `None`: no longer.
    pub fn drop_segment(&self, sequence: Option<u32>) -> io::Result<()> {
        let server = self.server.as_fd();
        let Some(sequence) = sequence else {
            return set(server, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0i32.to_ne_bytes());
        };
        let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
        // Classic BPF, from the TCP header on: load the sequence number; is it this one? Keep nothing. Else keep all.
        let steps = [step(0x20, 0, 4), step(0x15, 1, sequence), step(0x06, 0, 0), step(0x06, 0, u32::MAX)];
        let filter = libc::sock_fprog { len: 4, filter: steps.as_ptr().cast_mut() };
        // SAFETY: the bytes of a struct that lives until the call is over, as what it points to; the kernel does not
        // read its padding.
        let bytes = unsafe {
            std::slice::from_raw_parts((&raw const filter).cast::<u8>(), size_of::<libc::sock_fprog>())
        };
        set(server, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, bytes)
    }

    /// Sends three segments of which the server drops the second one, an urgent byte, and what is not sent before
    /// [`Self::recover`]: then the sequence numbers that are equal on an idle connection differ.
    pub fn stumble(&mut self) -> io::Result<()> {
        let begin = self.write_seq()?;
        self.drop_segment(Some(begin.wrapping_add(701)))?;
        // The acknowledgement of the first one waits for the third.
        set(self.server.as_fd(), libc::IPPROTO_TCP, libc::TCP_QUICKACK, &0i32.to_ne_bytes())?;
        for size in [701, 503, 307] {
            self.client.write_all(&vec![0; size])?;
        }
        rustix::net::send(&self.client, &[0], rustix::net::SendFlags::OOB)?;
        rustix::net::send(&self.client, &[0; 97], rustix::net::SendFlags::MORE)?;
        Ok(())
    }

    /// Lets everything through again.
    pub fn recover(&self) -> io::Result<()> {
        self.drop_segment(None)?;
        // Sends what waits.
        self.client.set_nodelay(true)
    }

    /// Ends it with a reset from the server; the client's end stays.
    pub fn reset(self) -> io::Result<TcpStream> {
        let linger = [1i32, 0].map(i32::to_ne_bytes).concat();
        set(self.server.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, &linger)?;
        drop(self.server);
        Ok(self.client)
    }

    pub fn set_option(&self, option: i32) -> io::Result<()> {
        set(self.client.as_fd(), libc::SOL_SOCKET, option, &1i32.to_ne_bytes())
    }

    pub fn local_port(&self) -> io::Result<u16> {
        Ok(self.client.local_addr()?.port())
    }

    pub fn remote_port(&self) -> io::Result<u16> {
        Ok(self.client.peer_addr()?.port())
    }
}

/// A socket that was refused a connection: its address in the kernel. It does not block, so its error stays.
pub fn refused(peeker: &mut Peeker, marks: Marks) -> io::Result<(OwnedFd, u64)> {
    // Bound, but not listening: nobody else can take the port meanwhile.
    let taken = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&taken, &SocketAddrV4::new(marks.remote, 0))?;
    let client = client(&marks)?;
    rustix::io::ioctl_fionbio(&client, true)?;
    let wanted = Meeting { tcp_port: u32::from(port_of(client.as_fd())?), ..Meeting::NONE };
    peeker.meet(&wanted).map_err(io::Error::other)?;
    let target = address(&marks, marks.remote, port_of(taken.as_fd())?);
    match connect(&client, &target) {
        Err(rustix::io::Errno::INPROGRESS) => {}
        other => return Err(io::Error::other(format!("connect() to a closed port: {other:?}"))),
    }
    let mut fds = [rustix::event::PollFd::new(&client, rustix::event::PollFlags::OUT)];
    let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&second))?;
    let sk = peeker.met().map_err(io::Error::other)?.sk;
    Ok((client, sk))
}

/// A listening socket and its address in the kernel.
pub fn listening(peeker: &mut Peeker, marks: Marks) -> io::Result<(OwnedFd, u64)> {
    let socket = client(&marks)?;
    let wanted = Meeting { tcp_port: u32::from(port_of(socket.as_fd())?), ..Meeting::NONE };
    peeker.meet(&wanted).map_err(io::Error::other)?;
    listen(&socket, 1)?;
    let sk = peeker.met().map_err(io::Error::other)?.sk;
    Ok((socket, sk))
}

/// A socket with owner and local address.
fn client(marks: &Marks) -> io::Result<OwnedFd> {
    let family = if marks.is_v6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDTIMEO, &timeval(PATIENCE))?;
    fchown(&socket, Some(Uid::from_raw(marks.uid)), None::<Gid>)?;
    bind(&socket, &address(marks, marks.local, 0))?;
    Ok(socket)
}

fn address(marks: &Marks, ip: Ipv4Addr, port: u16) -> SocketAddr {
    if marks.is_v6 {
        let mapped: Ipv6Addr = ip.to_ipv6_mapped();
        return SocketAddrV6::new(mapped, port, 0, 0).into();
    }
    SocketAddrV4::new(ip, port).into()
}

fn port_of(socket: BorrowedFd<'_>) -> io::Result<u16> {
    let address = SocketAddr::try_from(getsockname(socket)?).map_err(io::Error::other)?;
    Ok(address.port())
}

fn timeval(duration: Duration) -> Vec<u8> {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or_default();
    let micros = i64::from(duration.subsec_micros());
    [seconds, micros].map(i64::to_ne_bytes).concat()
}

/// `setsockopt()` with the bytes of the option's value.
pub fn set(socket: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: pointer and length are of one slice that lives until the call is over.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.as_ptr().cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get(socket: BorrowedFd<'_>, level: i32, option: i32, value: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `length` bytes, which the slice has.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
