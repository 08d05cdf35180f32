//! Program entry points only: each is a shell that names its hook and hands over.
//!
//! Built for `bpfel-unknown-none` by `tracer/build.rs`; never runs on the host.
#![no_std]
#![no_main]
// BPF is not among the architectures whose inline assembly is stable.
#![feature(asm_experimental_arch)]

mod emit;
mod identity;
mod maps;
mod tcp;

use aya_ebpf::{macros::sock_ops, programs::SockOpsContext};

/// Hook: `BPF_CGROUP_SOCK_OPS` on the cgroup2 root, `tcp_call_bpf()` in include/net/tcp.h.
/// Checked on 5.10, 6.1, 6.12 and 6.18.
///
/// Returns 1 always ("go on"): this program only watches. It never writes `reply`, which other programs on the same
/// cgroup may have set.
#[sock_ops]
pub fn tracer_sock_ops(ctx: SockOpsContext) -> u32 {
    tcp::observe(&ctx);
    1
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier accepts no program that could get here.
    loop {}
}

/// `bpf_probe_read_kernel` is a GPL-only helper, so the licence must be GPL-compatible.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
