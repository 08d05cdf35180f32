//! Adds what user space knows: app, process, place. Each part is bounded, and what is unknown stays absent.

pub mod app;
pub mod geo;
pub mod process;
