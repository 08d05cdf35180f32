//! Which app talks to which country, network and service.
//!
//! ```text
//!  kernel hooks ──ring buffer──▶ source ──▶ flow ──▶ enrich ──▶ judge ──▶ sink
//!  (tracer-ebpf)            (bytes→Event)  (table)  app         flags     JSON lines
//!                                                   process
//!                                                   geo            ledger
//! ```
//! One direction, no cycles. [`clock`] is the only source of time and [`record`] the only place that knows the names
//! of output fields.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod enrich;
pub mod event;
pub mod failure;
pub mod flow;
pub mod hash;
pub mod json;
pub mod judge;
pub mod kernel;
pub mod ledger;
pub mod memory;
pub mod names;
pub mod pipeline;
pub mod record;
pub mod redact;
pub mod replay;
pub mod report;
pub mod run;
pub mod sink;
pub mod source;
pub mod tally;
pub mod text;
