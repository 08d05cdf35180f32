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
mod tcp_unmarked;

use aya_ebpf::macros::{raw_tracepoint, sock_ops};
use aya_ebpf::programs::{RawTracePointContext, SockOpsContext};

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

/// Hook: the tracepoint `sock:inet_sock_set_state`, `inet_sk_state_store()` and `inet_sk_set_state()` in
/// net/ipv4/af_inet.c. As a raw tracepoint it needs no tracefs. Attached only while a connection is open that
/// [`tracer_sock_ops`] did not see begin. Checked on 6.1 and 6.18.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn tracer_set_state(ctx: RawTracePointContext) -> i32 {
    tcp_unmarked::observe(&ctx);
    0
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
