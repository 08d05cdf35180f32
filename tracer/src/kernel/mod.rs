//! The kernel side of user space: what this kernel allows, loading and attaching, and saying so.
//!
//! In: nothing but the running kernel. Out: an [`attach::Attached`] with the ring buffer, and a [`plan::Plan`] that
//! says how each capability is got. Never replaces or detaches a program of somebody else.

pub mod attach;
pub mod btf;
pub mod calibrate;
pub mod counters;
pub mod doctor;
pub mod features;
pub mod holders;
pub mod hooks;
pub mod missed;
pub mod names;
pub mod offsets;
pub mod plan;
pub mod tcp;
pub mod udp;
