//! What a process hands over to be sent, and the fields of Unix sockets: found in messages that we send to ourselves over
//! Unix sockets with abstract names, which leave nothing in the file system.

use std::io::{self, IoSlice, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use tracer_ebpf::abi::{BEHIND_BYTES, Meeting, OFFSET_UNKNOWN, Offsets};

use super::peek::{Met, Peeker};
use super::search::{Search, long, pointers, position};

/// What `struct msghdr` has at least; what follows on the kernel's stack may be anything.
const MESSAGE_BYTES: usize = 80;
/// More than `struct socket` has up to `sk`.
const SOCKET_BYTES: usize = 64;
/// More than `struct unix_sock` has up to `peer`.
const UNIX_BYTES: usize = 2048;
/// More than `struct unix_address` has up to the end of our names.
const ADDRESS_BYTES: usize = 128;
/// `struct iov_iter`, since 4.20: type, `iov_offset` at 8, then `count` and `iov`, or the other way round.
const ITER_OFFSET: u32 = 8;
const ITER_FIRST: u32 = 16;
/// `ITER_IOVEC | WRITE` before 5.14. The program looks at the type without the direction there.
const IOVEC_TO_SEND: u8 = 5;
/// `sa_family_t`
const AF_UNIX: [u8; 2] = 1u16.to_ne_bytes();

#[derive(Default)]
struct Fields {
    count: Search,
    iov: Search,
    segments: Search,
    /// First bytes of the iterators of lists, and of single parts where these are no lists.
    list_kinds: Vec<u8>,
    single_kinds: Vec<u8>,
    socket_sk: Search,
    peer: Search,
    addr: Search,
    name: Search,
}

/// Two connected sockets, of which the server's has a name.
struct Pair {
    client: UnixStream,
    server: UnixStream,
    /// As `struct sockaddr_un` has it.
    name: Vec<u8>,
}

/// Fills in what is found about messages and Unix sockets. Needs the offsets of sockets.
///
/// # Errors
/// When Unix sockets cannot be connected, or nothing that was sent was met.
pub fn find(peeker: &mut Peeker, offsets: &mut Offsets) -> io::Result<()> {
    let task = peeker.task().map_err(io::Error::other)?.address;
    let mut fields = Fields::default();
    for number in 0..2 {
        let mut pair = Pair::connect(number)?;
        let sizes: &[usize] = if number == 0 { &[101, 7, 1300] } else { &[59, 1201, 13, 470, 83] };
        let client = fields.list(peeker, task, &mut pair.client, sizes)?;
        let server = fields.list(peeker, task, &mut pair.server, sizes)?;
        fields.single(peeker, task, &mut pair.client, 700 + number)?;
        fields.sockets(peeker, offsets, (client, server), &pair.name);
    }
    fields.tell(offsets);
    Ok(())
}

impl Pair {
    fn connect(number: usize) -> io::Result<Self> {
        let name = format!("tracer-calibrates-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let client = UnixStream::connect_addr(&address)?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server, name: [&AF_UNIX, &[0][..], name.as_bytes()].concat() })
    }
}

/// Sends, and returns what was met of it.
fn sent(peeker: &mut Peeker, wanted: &Meeting, send: impl FnOnce() -> io::Result<usize>) -> io::Result<Met> {
    peeker.meet(wanted).map_err(io::Error::other)?;
    send()?;
    let met = peeker.met().map_err(io::Error::other)?;
    if met.found == 0 {
        return Err(io::Error::other("the hook did not meet the message that was sent"));
    }
    Ok(met)
}

impl Fields {
    /// Sends several parts in one call. Returns the address of the socket (`struct socket`).
    fn list(
        &mut self,
        peeker: &mut Peeker,
        task: u64,
        stream: &mut UnixStream,
        sizes: &[usize],
    ) -> io::Result<u64> {
        let parts: Vec<Vec<u8>> = sizes.iter().map(|size| vec![0x2e; *size]).collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let wanted = Meeting { task, ..Meeting::NONE };
        let met = sent(peeker, &wanted, || stream.write_vectored(&slices))?;
        let message = met.bytes.get(..MESSAGE_BYTES).unwrap_or_default();
        self.count.look(message, &sizes.iter().sum::<usize>().to_ne_bytes(), 8);
        self.segments.look(message, &sizes.len().to_ne_bytes(), 8);
        // The list of `struct iovec`, pointer and length of each part, is there only while it is sent.
        let list: Vec<u8> = parts
            .iter()
            .flat_map(|part| [part.as_ptr().addr(), part.len()])
            .flat_map(usize::to_ne_bytes)
            .take(BEHIND_BYTES)
            .collect();
        let mut found = Vec::new();
        for (at, _) in pointers(message) {
            let met = sent(peeker, &Meeting { pointer: at, ..wanted }, || stream.write_vectored(&slices))?;
            if met.behind_bytes.starts_with(&list) {
                found.push(at);
            }
        }
        self.iov.keep(found.into_iter());
        self.list_kinds.extend(self.kind(message));
        Ok(met.sk)
    }

    /// Sends one part.
    fn single(
        &mut self,
        peeker: &mut Peeker,
        task: u64,
        stream: &mut UnixStream,
        size: usize,
    ) -> io::Result<()> {
        let part = vec![0x2e; size];
        let met = sent(peeker, &Meeting { task, ..Meeting::NONE }, || stream.write(&part))?;
        let at_part = part.as_ptr().addr() as u64;
        // Before 6.0 this is a list, too.
        if long(&met.bytes, self.iov.only()) == Some(at_part) {
            self.single_kinds.extend(self.kind(&met.bytes));
        }
        Ok(())
    }

    /// Where the iterator begins.
    fn start(&self) -> u32 {
        self.count.only().min(self.iov.only()).checked_sub(ITER_FIRST).unwrap_or(OFFSET_UNKNOWN)
    }

    /// Type of the iterator of a message. Not while it is not known where it lies.
    fn kind(&self, message: &[u8]) -> Option<u8> {
        let start = self.start();
        // Of what begins, nothing is done with.
        let is_begun = long(message, start.checked_add(ITER_OFFSET)?) != Some(0);
        message.get(usize::try_from(start).ok()?).copied().filter(|_| !is_begun)
    }

    fn sockets(&mut self, peeker: &mut Peeker, offsets: &Offsets, (client, server): (u64, u64), name: &[u8]) {
        let mut sock_of = |socket: u64| {
            let memory = peeker.memory(socket, SOCKET_BYTES);
            let is_sock = |&(_, sk): &(u32, u64)| {
                let back = usize::try_from(offsets.sock_socket).unwrap_or(usize::MAX);
                let memory = peeker.memory(sk, back.saturating_add(8).min(UNIX_BYTES));
                long(&memory, offsets.sock_socket) == Some(socket)
            };
            let found: Vec<(u32, u64)> = pointers(&memory).filter(is_sock).collect();
            self.socket_sk.keep(found.iter().map(|(at, _)| *at));
            found.first().map_or(0, |(_, sk)| *sk)
        };
        let (client, server) = (sock_of(client), sock_of(server));
        let mut peers = Vec::new();
        for (one, other) in [(client, server), (server, client)] {
            let memory = peeker.memory(one, UNIX_BYTES);
            peers =
                pointers(&memory).filter(|(_, to)| *to == other && other != 0).map(|(at, _)| at).collect();
            self.peer.keep(peers.iter().copied());
        }
        // Up to `peer`, which stands behind `addr` in `struct unix_sock` (include/net/af_unix.h): behind the end of the structure
        // may lie the socket that listens, and it has the same address.
        let length = peers.first().and_then(|at| usize::try_from(*at).ok()).unwrap_or_default();
        let memory = peeker.memory(server, length);
        let named: Vec<(u32, u32)> = pointers(&memory)
            .filter_map(|(at, to)| Some((at, position(&peeker.memory(to, ADDRESS_BYTES), name, 2)?)))
            .collect();
        self.addr.keep(named.iter().map(|(at, _)| *at));
        self.name.keep(named.iter().map(|(_, name)| *name));
    }

    fn tell(&self, offsets: &mut Offsets) {
        offsets.socket_sk = self.socket_sk.only();
        offsets.unix_peer = self.peer.only();
        (offsets.unix_addr, offsets.unix_name) = (self.addr.only(), self.name.only());
        let start = self.start();
        let within = |found: u32| found.checked_sub(start).filter(|_| found != OFFSET_UNKNOWN);
        let fields = (within(self.count.only()), within(self.iov.only()), within(self.segments.only()));
        let (Some(count), Some(iov), Some(segments)) = fields else { return };
        let Some(list) = all_same(&self.list_kinds) else { return };
        (offsets.msg_iter, offsets.iter_kind, offsets.iter_offset) = (start, 0, ITER_OFFSET);
        (offsets.iter_count, offsets.iter_iov, offsets.iter_segments) = (count, iov, segments);
        offsets.iter_iovec = u32::from(if list == IOVEC_TO_SEND { IOVEC_TO_SEND & !1 } else { list });
        offsets.iter_ubuf = all_same(&self.single_kinds).map_or(OFFSET_UNKNOWN, u32::from);
    }
}

/// The value that all have, when there are at least two.
fn all_same(kinds: &[u8]) -> Option<u8> {
    let (first, rest) = kinds.split_first()?;
    (!rest.is_empty() && rest.iter().all(|kind| kind == first)).then_some(*first)
}
