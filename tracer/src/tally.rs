//! Counts by event kind: the arithmetic behind "loss is never silent". Pure.

use std::collections::BTreeMap;
use std::ops::{AddAssign, Index, IndexMut};

use tracer_ebpf::abi::{
    KIND_COUNT, KIND_DNS, KIND_FIRST_BYTES, KIND_RESOLVER, KIND_TCP_ACCEPT, KIND_TCP_CLOSE, KIND_TCP_CONNECT,
    KIND_TCP_ESTABLISHED, KIND_TCP_FAILED, KIND_TCP_LISTEN, KIND_UDP_CLOSE, KIND_UDP_DATAGRAM, KIND_UDP_OPEN,
    KIND_UDP_RELEASE,
};

/// What is counted apart: the kinds of kernel events, and records that no kernel event stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    Evicted = 0,
    Connect = KIND_TCP_CONNECT,
    Established = KIND_TCP_ESTABLISHED,
    Accept = KIND_TCP_ACCEPT,
    Failed = KIND_TCP_FAILED,
    Close = KIND_TCP_CLOSE,
    Listen = KIND_TCP_LISTEN,
    /// A UDP flow began.
    UdpOpen = KIND_UDP_OPEN,
    /// A UDP flow ended with its socket.
    UdpClose = KIND_UDP_CLOSE,
    /// A socket with several UDP flows was released.
    UdpRelease = KIND_UDP_RELEASE,
    /// Single datagrams, that no flow counts.
    Datagram = KIND_UDP_DATAGRAM,
    /// A copy of a DNS message.
    Dns = KIND_DNS,
    /// A copy of a piece of a connection.
    FirstBytes = KIND_FIRST_BYTES,
    /// A copy of a message to or from a resolver.
    Resolver = KIND_RESOLVER,
    Existing,
    Sample,
    Unseen,
    /// A UDP flow ended, as the map of flows showed.
    UdpEnded,
    /// The name of a flow was learnt.
    Named,
    /// A question to a resolver.
    Question,
    /// Something was noticed.
    Alert,
}

/// Number of kinds.
const COUNT: usize = Kind::Alert as usize + 1;

/// Names in the order of the kinds.
const NAMES: [&str; COUNT] = [
    "evicted",
    "connect",
    "established",
    "accept",
    "failed",
    "close",
    "listen",
    "udp_open",
    "udp_close",
    "udp_release",
    "datagram",
    "dns_message",
    "first_bytes",
    "resolver_message",
    "existing",
    "sample",
    "unseen",
    "udp_ended",
    "named",
    "dns",
    "alert",
];

/// One count per kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; COUNT]);

impl Tally {
    /// From the counts of kernel events, in the order of their kinds.
    #[must_use]
    pub fn from_kinds(kernel: [u64; KIND_COUNT]) -> Self {
        let mut counts = [0; COUNT];
        for (count, of_kernel) in counts.iter_mut().zip(kernel) {
            *count = of_kernel;
        }
        Self(counts)
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; COUNT]
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.0;
        for (count, before) in counts.iter_mut().zip(earlier.0) {
            *count = count.saturating_sub(before);
        }
        Self(counts)
    }

    /// The counts that are not zero, by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&'static str, u64> {
        NAMES.into_iter().zip(self.0).filter(|(_, count)| *count > 0).collect()
    }
}

impl Index<Kind> for Tally {
    type Output = u64;
    fn index(&self, kind: Kind) -> &u64 {
        &self.0[kind as usize]
    }
}

impl IndexMut<Kind> for Tally {
    fn index_mut(&mut self, kind: Kind) -> &mut u64 {
        &mut self.0[kind as usize]
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_kinds_and_zeros_are_left_out() {
        let mut tally = Tally::default();
        tally[Kind::Close] += 2;
        tally[Kind::Listen] += 1;
        assert_eq!(tally.by_name(), BTreeMap::from([("close", 2), ("listen", 1)]));
        let mut more = tally;
        more[Kind::Close] += 3;
        assert_eq!(more.since(&tally).by_name(), BTreeMap::from([("close", 3)]));
    }
}
