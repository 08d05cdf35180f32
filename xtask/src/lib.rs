//! Shared code of `xtask` and `xtask-dev`.
//!
//! Progress goes to stderr; stdout carries only what the command is asked for (the tracer's lines, test results).

pub mod arch;
pub mod build;
pub mod deploy;
pub mod dist;
pub mod ebpf;
pub mod elf;
pub mod packages;
pub mod run;
pub mod setup;
pub mod shell;
pub mod workspace;
pub mod zig;

// Modules of tracer's build script: it and these commands must agree on what can be built, and how.
#[path = "../../tracer/build/ebpf.rs"]
mod ebpf_build;
#[path = "../../tracer/build/prebuilt.rs"]
pub mod prebuilt;
#[path = "../../tracer/build/toolchain.rs"]
mod toolchain;
