//! The flow table: what is known about every connection that is open.
//!
//! In: [`crate::event::Event`]s. Out: the flow that an event belongs to. Pure: no I/O, time comes with the events.

pub mod community_id;
pub mod end;
pub mod listeners;
pub mod numbers;
pub mod state;
pub mod table;

pub use numbers::Numbers;
pub use state::{Flow, Progress};
pub use table::FlowTable;
