//! Which app talks to which country, network and service.
//!
//! ```text
//!  kernel hooks ──ring buffer──▶ source ──▶ flow ──▶ enrich ──▶ judge ──▶ sink
//!  (tracer-ebpf)            (bytes→Event)  (table)  app         flags     JSON lines
//!                                                   process
//!                                                   geo
//! ```
//! One direction, no cycles. [`clock`] is the only source of time and [`record`] the only place that knows the names
//! of output fields.

pub mod clock;
pub mod enrich;
pub mod record;
pub mod text;
