//! Where events come from: the kernel's ring buffer, decoded with checks, and its list of open sockets.

pub mod decode;
pub mod snapshot;
pub mod udp;
pub mod udp_flows;
