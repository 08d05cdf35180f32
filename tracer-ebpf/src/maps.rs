//! Every map and global, with its size and why.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use tracer_ebpf::abi::{
    Config, Counter, Identity, KIND_COUNT, Meeting, Peek, TcpNumber, UdpFlow, UdpKey, UdpSocket,
};

use crate::received::DnsSocket;

/// Set by user space before the load; constant for the verifier, which then drops the branches not taken.
#[unsafe(no_mangle)]
pub static CONFIG: Config = Config::EMPTY;

/// Events on their way to user space. The size here is a placeholder: user space sets it (`--ring-size`).
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// One counter per event kind and CPU, so that a full ring is never silent.
#[map]
pub static COUNTERS: PerCpuArray<Counter> = PerCpuArray::with_max_entries(KIND_COUNT as u32, 0);

/// UDP flows that are counted at the same time. Their memory is taken at the load (170 bytes each, 2.7 MiB), because
/// kprobes must not allocate; a phone has some hundred.
const UDP_FLOWS_MOST: u32 = 16_384;

/// What each UDP flow has moved.
#[map]
pub static UDP_FLOWS: HashMap<UdpKey, UdpFlow> = HashMap::with_max_entries(UDP_FLOWS_MOST, 0);

/// Sockets with UDP flows, by their address in the kernel: at their release, these are looked up. No more than flows.
#[map]
pub static UDP_SOCKETS: HashMap<u64, UdpSocket> = HashMap::with_max_entries(UDP_FLOWS_MOST, 0);

/// Tasks that bound a UDP socket, by its cookie. The oldest makes room: then a process is not named, no more.
#[map]
pub static UDP_BINDERS: LruHashMap<u64, Identity> = LruHashMap::with_max_entries(4096, 0);

/// Numbers of TCP sockets by their address in the kernel, where `sock_ops` programs cannot be attached. User space makes it
/// larger then (`TCP_NUMBERS_MOST`): its memory is taken at the load, because programs at tracepoints must not allocate.
#[map]
pub static TCP_NUMBERS: LruHashMap<u64, TcpNumber> = LruHashMap::with_max_entries(1, 0);

/// TCP connections whose first bytes are not all there yet, by number. The oldest makes room: then a name is missing.
#[map]
pub static FIRST_BYTES_WANTED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1024, 0);

/// Sockets that asked a DNS server, by their address in the kernel, where kprobes are used. The oldest makes room: then an
/// answer is missing.
#[map]
pub static DNS_SOCKETS: LruHashMap<u64, DnsSocket> = LruHashMap::with_max_entries(1024, 0);

/// What the calibrating programs have copied, on kernels without BTF.
#[map]
pub static PEEK: Array<Peek> = Array::with_max_entries(1, 0);

/// What the calibrating programs wait for.
#[map]
pub static MEETING: Array<Meeting> = Array::with_max_entries(1, 0);

/// Reads one field of [`CONFIG`], e.g. `config!(offsets.sock_uid)`.
///
/// Field by field, so that each read becomes one load at a constant address, whose value the verifier knows.
macro_rules! config {
    ($($path:tt)+) => {
        // SAFETY: CONFIG is initialised and never written. Volatile because user space replaces the bytes before the
        // load, so the compiler must not use the value that it sees here.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::CONFIG.$($path)+) }
    };
}
pub(crate) use config;
