//! Live tests of names: real servers and clients in network namespaces, and the name of every connection.
//!
//! Only on the host: the guests have no such programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod apps;
mod dns;
mod expect;
mod off;
mod program;
mod quic;
mod servers;
mod shared;
mod stage;
mod tls;
mod web;
