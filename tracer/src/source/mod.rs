//! Where events come from: the kernel's ring buffer, decoded with checks, the programs' map of UDP
//! flows, and the kernel's list of open sockets.

pub mod decode;
mod names;
pub mod snapshot;
pub mod udp;
pub mod udp_flows;
