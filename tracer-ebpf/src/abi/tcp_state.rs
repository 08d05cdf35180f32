//! `enum tcp_state`, include/net/tcp_states.h: how the kernel numbers the states of a TCP socket (UDP uses
//! [`ESTABLISHED`] for connected and [`CLOSE`] for not).

pub const ESTABLISHED: u16 = 1;
pub const SYN_SENT: u16 = 2;
/// Of an outgoing connection: both ends opened at the same time.
pub const SYN_RECV: u16 = 3;
pub const FIN_WAIT1: u16 = 4;
pub const FIN_WAIT2: u16 = 5;
pub const CLOSE: u16 = 7;
pub const CLOSE_WAIT: u16 = 8;
pub const LAST_ACK: u16 = 9;
pub const LISTEN: u16 = 10;
pub const CLOSING: u16 = 11;
