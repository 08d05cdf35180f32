//! The ABI between the eBPF programs and user space, and nothing else.
//!
//! The programs are this package's *binary* (feature `programs`, target `bpfel-unknown-none`); user space depends on
//! this *library*. Both sides therefore compile the same layouts, and the constants in [`abi`] pin every size and
//! offset at compile time.
#![no_std]

pub mod abi;
