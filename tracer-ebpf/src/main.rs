//! Entry points of the eBPF programs. Each always answers "allow": a bug here must never cut a connection.
#![no_std]
#![no_main]

use aya_ebpf::{macros::sock_ops, programs::SockOpsContext};

/// `sock_ops` on the cgroup2 root. 1 is the answer that lets the kernel go on.
#[sock_ops]
pub fn tracer_sock_ops(_context: SockOpsContext) -> u32 {
    1
}

/// Most useful helpers are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
