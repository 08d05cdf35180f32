//! Which flow a socket of the kernel's list is, where the programs number sockets themselves: found by its ends. Pure.

use std::collections::HashMap;

use tracer_ebpf::abi::OWN_NUMBER;

use crate::event::{FlowKey, Tuple};
use crate::record::Transport;

use super::state::Flow;

/// Numbers of TCP connections by their ends.
#[derive(Debug, Default)]
pub struct Numbers {
    by_ends: HashMap<Tuple, u64>,
    /// Of connections whose local port was not known at their connect.
    connecting: HashMap<Tuple, Vec<u64>>,
}

impl Numbers {
    /// Of open flows, the latest first, and of some that have ended.
    pub fn of<'a>(open: impl Iterator<Item = &'a Flow>, ended: &HashMap<FlowKey, Tuple>) -> Self {
        let mut numbers = Self::default();
        for flow in open.filter(|flow| flow.transport == Transport::Tcp) {
            numbers.add(flow.cookie, flow.tuple);
        }
        for (key, tuple) in ended.iter().filter(|(key, _)| key.peer.is_none()) {
            numbers.add(key.cookie, *tuple);
        }
        numbers
    }

    fn add(&mut self, number: u64, tuple: Tuple) {
        if number & OWN_NUMBER == 0 {
            return;
        }
        if tuple.local_port == 0 {
            self.connecting.entry(tuple).or_default().push(number);
        } else {
            self.by_ends.entry(tuple).or_insert(number);
        }
    }

    /// The number of a socket with these ends. Of several that connect to the same place, and whose own port is not known
    /// yet, nothing tells which is which: any of them, each once.
    pub fn find(&mut self, tuple: &Tuple) -> Option<u64> {
        if let Some(number) = self.by_ends.get(tuple) {
            return Some(*number);
        }
        self.connecting.get_mut(&Tuple { local_port: 0, ..*tuple })?.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::BootTime;
    use crate::event::{Event, What};
    use crate::flow::FlowTable;
    use tracer_ebpf::abi::Identity;

    fn tuple(local_port: u16) -> Tuple {
        Tuple {
            local: "::ffff:10.0.0.2".parse().unwrap(),
            remote: "::ffff:203.0.113.7".parse().unwrap(),
            local_port,
            remote_port: 443,
            netns: Some(1),
        }
    }

    #[test]
    fn sockets_are_found_by_their_ends_and_connecting_ones_each_once() {
        let mut table = FlowTable::new(10);
        for (cookie, port) in [(OWN_NUMBER | 1, 40000), (OWN_NUMBER | 2, 0), (OWN_NUMBER | 3, 0), (4, 50000)]
        {
            let what = What::Connect(Identity::default());
            table.track(&Event {
                at: BootTime(1),
                cookie,
                transport: Transport::Tcp,
                tuple: tuple(port),
                what,
            });
        }
        let ended = HashMap::from([(FlowKey::tcp(OWN_NUMBER | 5), tuple(60000))]);
        let mut numbers = Numbers::of(table.all(), &ended);
        assert_eq!(numbers.find(&tuple(40000)), Some(OWN_NUMBER | 1));
        assert_eq!(numbers.find(&tuple(60000)), Some(OWN_NUMBER | 5));
        let both = [numbers.find(&tuple(41000)), numbers.find(&tuple(42000)), numbers.find(&tuple(43000))];
        assert!(both.contains(&Some(OWN_NUMBER | 2)) && both.contains(&Some(OWN_NUMBER | 3)), "{both:?}");
        assert!(both.contains(&None), "a socket with a cookie is known by it: {both:?}");
    }
}
