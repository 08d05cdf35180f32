//! What: UDP datagrams, counted per flow: socket, remote address and port. One path for IPv4, IPv6 and v4-mapped, and for
//! every hook: each hands over a packet and its socket, and everything is read from these at offsets of the running
//! kernel's BTF.
//!
//! A connect without data is no datagram and leaves no trace here.

use aya_ebpf::bindings::{__sk_buff, BPF_NOEXIST};
use tracer_ebpf::abi::{
    DATAGRAMS_LOOKED_AT, Identity, KIND_UDP_CLOSE, KIND_UDP_DATAGRAM, KIND_UDP_OPEN, KIND_UDP_RELEASE,
    KNOWN_OWNER, OFFSET_UNKNOWN, OWN_NUMBER, PAYLOAD_BYTES, TASK_BOUND, TASK_CALLED, Tuple, UDP_INGRESS,
    UDP_KPROBE, UdpClose, UdpFlow, UdpKey, UdpOpen, UdpRelease, UdpSocket, tcp_state,
};

use crate::emit::{add, lose, now, own_number, reserve, set, skip, submit};
use crate::identity::{owner, read, write_identity};
use crate::maps::{UDP_BINDERS, UDP_FLOWS, UDP_SOCKETS, config};
use crate::payload::{self, Part};
use crate::tcp::{Address, MAPPED, netns_of, unwanted};

/// include/uapi/linux/in.h
const IPPROTO_UDP: u16 = 17;
const IPPROTO_UDPLITE: u16 = 136;
/// Of the UDP header, which every datagram counts in its length.
const HEADER_BYTES: u16 = 8;

/// A packet at a hook.
#[derive(Clone, Copy)]
pub struct Packet {
    /// The context of a cgroup hook, else null.
    pub context: *mut __sk_buff,
    /// Address of the `struct sk_buff`, with IP and UDP header in place.
    pub skb: u64,
    /// Address of the `struct sock` that sends or receives it.
    pub sk: u64,
    /// Cookie of the socket; 0 at hooks that cannot ask for it.
    pub cookie: u64,
    pub is_sent: bool,
    /// Whether the current task sends it, or takes it from the socket.
    pub is_in_call: bool,
}

/// Both ends of a datagram, from the socket's side, and its size.
#[derive(Clone, Copy)]
pub struct Datagram {
    local: Address,
    pub remote: Address,
    pub local_port: u16,
    pub remote_port: u16,
    /// Payload of all segments.
    pub bytes: u64,
    /// More than one when the kernel cuts it later, or has put several together.
    segments: u64,
    /// Payload bytes of each segment but the last one; 0 when there is one.
    pub segment: u64,
    /// Address of the payload.
    pub payload: u64,
    is_known: bool,
}

/// A datagram is sent or received.
#[inline(always)]
pub fn datagram(packet: &Packet) {
    let protocol = read::<u16>(packet.sk, config!(offsets.sock_protocol)).value;
    if protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE {
        return;
    }
    let datagram = look(packet);
    if !datagram.is_known {
        return;
    }
    let has_names = config!(names) == 1;
    let is_dns = has_names && payload::is_dns(&datagram);
    let mut counted = Counted {
        number: if packet.cookie == 0 { OWN_NUMBER | packet.sk } else { packet.cookie },
        before: u64::MAX,
        is_new: false,
    };
    // Local resolvers listen at loopback addresses.
    if unwanted(datagram.remote) {
        skip(KIND_UDP_DATAGRAM);
    } else {
        account(packet, &datagram, &mut counted);
    }
    if counted.is_new {
        tell(packet, &datagram, counted.number);
    }
    if is_dns {
        payload::tell_dns(packet, &datagram, counted.number);
    } else if has_names && packet.is_sent && counted.before < DATAGRAMS_LOOKED_AT {
        payload::tell_datagrams(packet, &datagram, counted.number, counted.before);
    }
}

/// What was found of the flow of a datagram.
struct Counted {
    /// Of the socket.
    number: u64,
    /// Datagrams that the flow had sent before; much more when none is counted.
    before: u64,
    /// The flow begins.
    is_new: bool,
}

/// Counts a datagram. A function of its own, as those that tell of it: each has up to 512 bytes of stack together with its
/// caller.
#[inline(never)]
fn account(packet: &Packet, datagram: &Datagram, counted: &mut Counted) {
    let mut key =
        UdpKey { socket: packet.cookie, remote: [0; 16], remote_port: datagram.remote_port, pad: [0; 3] };
    set_address(&mut key.remote, datagram.remote);
    if packet.cookie == 0 {
        let Some(socket) = socket_of(packet, &key) else {
            lose(KIND_UDP_DATAGRAM);
            return;
        };
        // SAFETY: the verifier knows that a value of the map is there.
        key.socket = unsafe { (*socket).first.socket };
    }
    counted.number = key.socket;
    counted.before = count(packet, datagram, &key);
    if counted.before == COUNTED_NOT {
        begin(packet, datagram, &key, counted);
    }
}

/// [`count`]: the flow is not there.
const COUNTED_NOT: u64 = u64::MAX - 1;

/// Adds to a flow that is there; returns how many datagrams it had sent before.
#[inline(always)]
fn count(packet: &Packet, datagram: &Datagram, key: &UdpKey) -> u64 {
    let Some(flow) = UDP_FLOWS.get_ptr_mut(key) else { return COUNTED_NOT };
    // SAFETY: as below.
    let before = unsafe { (&raw const (*flow).datagrams_sent).read_volatile() };
    // SAFETY: only addresses of fields are taken; the value is aligned to eight bytes.
    unsafe {
        if packet.is_sent {
            add(&raw mut (*flow).bytes_sent, datagram.bytes);
            add(&raw mut (*flow).datagrams_sent, datagram.segments);
        } else {
            add(&raw mut (*flow).bytes_received, datagram.bytes);
            add(&raw mut (*flow).datagrams_received, datagram.segments);
        }
        (&raw mut (*flow).last_ns).write_volatile(now());
    }
    before
}

/// Puts a new flow into the map.
#[inline(always)]
fn begin(packet: &Packet, datagram: &Datagram, key: &UdpKey, counted: &mut Counted) {
    let now = now();
    let owner = owner(packet.sk);
    let (sent, received) = if packet.is_sent { (1, 0) } else { (0, 1) };
    let mut flow = UdpFlow {
        first_ns: now,
        last_ns: now,
        bytes_sent: datagram.bytes * sent,
        bytes_received: datagram.bytes * received,
        datagrams_sent: datagram.segments * sent,
        datagrams_received: datagram.segments * received,
        local: [0; 16],
        local_port: datagram.local_port,
        flags: flags_of(packet),
        netns: netns_of(packet.sk),
        owner_uid: owner.value,
        known: owner.bit(KNOWN_OWNER),
        pad: 0,
    };
    set_address(&mut flow.local, datagram.local);
    let Some(socket) = socket_of(packet, key) else {
        lose(KIND_UDP_DATAGRAM);
        return;
    };
    if UDP_FLOWS.insert(key, &flow, u64::from(BPF_NOEXIST)).is_err() {
        // Another CPU was faster, or there is no room.
        counted.before = count(packet, datagram, key);
        if counted.before == COUNTED_NOT {
            lose(KIND_UDP_DATAGRAM);
        }
        return;
    }
    // SAFETY: as in `count`.
    unsafe { add(&raw mut (*socket).flows, 1) };
    (counted.before, counted.is_new) = (0, true);
}

/// `UDP_*` bits.
#[inline(always)]
fn flags_of(packet: &Packet) -> u16 {
    let state = read::<u8>(packet.sk, config!(offsets.sock_state)).value;
    let is_connected = u16::from(state) == tcp_state::ESTABLISHED;
    let ingress = if packet.is_sent || is_connected { 0 } else { UDP_INGRESS };
    ingress | if packet.cookie == 0 { UDP_KPROBE } else { 0 }
}

/// Tells of a new flow. `number`: of the socket.
#[inline(never)]
fn tell(packet: &Packet, datagram: &Datagram, number: u64) {
    let Some(mut entry) = reserve::<UdpOpen>(KIND_UDP_OPEN) else { return };
    let out = entry.as_mut_ptr();
    set!(out.socket = number);
    // SAFETY: both are parts of the reserved entry.
    let (tuple, identity) = unsafe { (&raw mut (*out).tuple, &raw mut (*out).identity) };
    write_tuple(tuple, datagram, packet.sk);
    let task = write_task(identity, packet, number);
    set!(out.flags = flags_of(packet));
    set!(out.task = task);
    set!(out.payload_len = datagram.bytes as u32);
    // SAFETY: a part of the reserved entry.
    let payload = unsafe { &raw mut (*out).payload };
    set!(out.payload as [u64; 2] = [0, 0]);
    if datagram.bytes >= PAYLOAD_BYTES as u64 {
        let start = Part { index: 0, start: 0, length: PAYLOAD_BYTES as u64 };
        payload::copy_datagram::<{ PAYLOAD_BYTES as u64 }>(payload.cast(), packet, datagram, &start);
    }
    submit(KIND_UDP_OPEN, entry);
}

#[inline(always)]
pub fn write_tuple(out: *mut Tuple, datagram: &Datagram, sk: u64) {
    set!(out.local as Address = datagram.local);
    set!(out.remote as Address = datagram.remote);
    set!(out.local_port = datagram.local_port);
    set!(out.remote_port = datagram.remote_port);
    set!(out.netns = netns_of(sk));
}

/// Writes the task that calls, else the one that bound the socket, else only the owner.
#[inline(always)]
pub fn write_task(out: *mut Identity, packet: &Packet, number: u64) -> u16 {
    if packet.is_in_call && is_of_a_process(packet.sk) {
        write_identity(out, packet.sk);
        return TASK_CALLED;
    }
    let owner = owner(packet.sk);
    let (identity, task) = match UDP_BINDERS.get_ptr(&number) {
        // SAFETY: the verifier knows that a value of the map is there.
        Some(bound) => (unsafe { bound.read() }, TASK_BOUND),
        None => (Identity::default(), 0),
    };
    // SAFETY: `out` points into a reserved entry.
    unsafe { out.write(identity) };
    set!(out.owner_uid = owner.value);
    set!(out.known = (identity.known & !KNOWN_OWNER) | owner.bit(KNOWN_OWNER));
    task
}

/// Sockets of the kernel itself (tunnels, file systems) have no file, and whoever runs when they send is not their user.
#[inline(always)]
fn is_of_a_process(sk: u64) -> bool {
    let socket = read::<u64>(sk, config!(offsets.sock_socket));
    let file = read::<u64>(socket.value, config!(offsets.socket_file));
    // Without these offsets it is very probably a process.
    !socket.is_known() || file.value != 0
}

/// The map's entry of the socket, made when it is not there. `key` is its first flow then.
#[inline(always)]
fn socket_of(packet: &Packet, key: &UdpKey) -> Option<*mut UdpSocket> {
    if let Some(known) = UDP_SOCKETS.get_ptr_mut(&packet.sk) {
        // SAFETY: the verifier knows that a value of the map is there.
        if packet.cookie == 0 || unsafe { (*known).first.socket } == packet.cookie {
            return Some(known);
        }
        // A datagram came in while an earlier socket at this address was released.
        let _ = UDP_SOCKETS.remove(&packet.sk);
    }
    let mut number = packet.cookie;
    if number == 0 {
        number = read::<u64>(packet.sk, config!(offsets.sock_cookie)).value;
    }
    if number == 0 {
        number = own_number();
    }
    let new = UdpSocket { first: UdpKey { socket: number, ..*key }, flows: 0 };
    // Fails when another CPU was faster, or without room: the look-up tells.
    let _ = UDP_SOCKETS.insert(&packet.sk, &new, u64::from(BPF_NOEXIST));
    UDP_SOCKETS.get_ptr_mut(&packet.sk)
}

/// Remembers the task that bound a socket: it is who receives what nobody answered before.
#[inline(always)]
pub fn bound(sk: u64, cookie: u64) {
    let mut identity = Identity::default();
    write_identity(&raw mut identity, sk);
    // Fails never: the oldest entry makes room.
    let _ = UDP_BINDERS.insert(&cookie, &identity, 0);
}

/// The socket at address `sk` is released by its last user.
#[inline(always)]
pub fn released(sk: u64) {
    let Some(socket) = UDP_SOCKETS.get_ptr(&sk) else { return };
    // SAFETY: the verifier knows that a value of the map is there.
    let socket = unsafe { socket.read() };
    let _ = UDP_SOCKETS.remove(&sk);
    let _ = UDP_BINDERS.remove(&socket.first.socket);
    if socket.flows == 1 {
        close(&socket.first);
    } else if socket.flows > 1 {
        let Some(mut entry) = reserve::<UdpRelease>(KIND_UDP_RELEASE) else { return };
        let out = entry.as_mut_ptr();
        set!(out.socket = socket.first.socket);
        submit(KIND_UDP_RELEASE, entry);
    }
}

/// Tells of the end of the only flow. When the ring is full, the flow stays in the map, where user space finds it.
#[inline(always)]
fn close(key: &UdpKey) {
    let Some(flow) = UDP_FLOWS.get_ptr(key) else { return };
    let Some(mut entry) = reserve::<UdpClose>(KIND_UDP_CLOSE) else { return };
    let out = entry.as_mut_ptr();
    set!(out.key = *key);
    // SAFETY: the verifier knows that a value of the map is there.
    set!(out.flow = unsafe { flow.read() });
    submit(KIND_UDP_CLOSE, entry);
    let _ = UDP_FLOWS.remove(key);
}

/// Reads both headers.
#[inline(never)]
fn look(packet: &Packet) -> Datagram {
    let head = read::<u64>(packet.skb, config!(offsets.skb_head));
    let network = read::<u16>(packet.skb, config!(offsets.skb_network_header));
    let transport = read::<u16>(packet.skb, config!(offsets.skb_transport_header));
    let ip = head.value + u64::from(network.value);
    let udp = head.value + u64::from(transport.value);
    let version = read::<u8>(ip, 0);
    let version = version.value >> 4;
    // Source and destination: at 12 in an IPv4 header, at 8 in an IPv6 header.
    let (from, to) = if version == 4 {
        let [from, to] = read::<[u32; 2]>(ip, 12).value;
        ([0, 0, MAPPED, from], [0, 0, MAPPED, to])
    } else {
        let [a, b, c, d, e, f, g, h] = read::<[u32; 8]>(ip, 8).value;
        ([a, b, c, d], [e, f, g, h])
    };
    let header = read::<[u16; 4]>(udp, 0);
    let [from_port, to_port, length, _] = header.value;
    let bytes = u64::from(length.swap_bytes().saturating_sub(HEADER_BYTES));
    let end = read::<u32>(packet.skb, config!(offsets.skb_end));
    let segs_at = config!(offsets.shinfo_gso_segs);
    // Size and number of segments are neighbours. 0 unless the kernel cuts it or has put it together.
    let size_at = if segs_at == OFFSET_UNKNOWN { segs_at } else { segs_at - 2 };
    let [size, cut] = read::<[u16; 2]>(head.value + u64::from(end.value), size_at).value;
    let segments = u64::from(cut).max(1);
    let (local, remote, local_port, remote_port) =
        if packet.is_sent { (from, to, from_port, to_port) } else { (to, from, to_port, from_port) };
    Datagram {
        local,
        remote,
        local_port: local_port.swap_bytes(),
        remote_port: remote_port.swap_bytes(),
        bytes,
        segments,
        segment: if segments > 1 { u64::from(size) } else { 0 },
        payload: udp + u64::from(HEADER_BYTES),
        // What could not be read is 0.
        is_known: version == 4 || version == 6,
    }
}

/// The address as it lies in memory, where the struct has bytes.
#[inline(always)]
fn set_address(out: &mut [u8; 16], address: Address) {
    // SAFETY: the field lies at a multiple of eight bytes and has the size of the words.
    unsafe { core::ptr::from_mut(out).cast::<Address>().write(address) };
}
