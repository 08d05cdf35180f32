//! Live tests: the programs are really loaded, and real connections made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod apps;
mod behaviour;
mod bytes;
mod calibration;
mod crowd;
mod existing;
mod geo;
mod identity;
mod kinds;
mod ledger;
mod life;
mod names;
mod no_sock_ops;
mod push;
mod replay;
mod rights;
mod scene;
mod storm;
mod tiers;
mod udp;
