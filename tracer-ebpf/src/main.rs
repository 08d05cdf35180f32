//! Program entry points only: each is a shell that names its hook and hands over.
//!
//! Built for `bpfel-unknown-none` by `tracer/build.rs`; never runs on the host.
#![no_std]
#![no_main]
// BPF is not among the architectures whose inline assembly is stable.
#![feature(asm_experimental_arch)]

mod calibrate;
mod emit;
mod identity;
mod maps;
mod message;
mod payload;
mod payload_hooks;
mod received;
mod tcp;
mod tcp_states;
mod tcp_unmarked;
mod udp;
mod udp_hooks;

use aya_ebpf::macros::{cgroup_skb, cgroup_sock, kprobe, raw_tracepoint, sock_ops};
use aya_ebpf::programs::{ProbeContext, RawTracePointContext, SkBuffContext, SockContext, SockOpsContext};

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
/// [`tracer_sock_ops`] did not see begin. Checked on 5.10, 6.1, 6.12 and 6.18.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn tracer_set_state(ctx: RawTracePointContext) -> i32 {
    tcp_unmarked::observe(&ctx);
    0
}

/// Hook: as [`tracer_set_state`]; instead of it and [`tracer_sock_ops`] where the kernel refuses the latter.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn tracer_states(ctx: RawTracePointContext) -> i32 {
    tcp_states::observe(&ctx);
    0
}

/// Hook: `BPF_CGROUP_INET_EGRESS` on the cgroup2 root, `ip_finish_output()` and `ip6_finish_output()`: before a datagram is
/// cut into fragments. Returns 1 always ("let it pass"), as all programs here.
#[cgroup_skb]
pub fn tracer_egress(ctx: SkBuffContext) -> i32 {
    udp_hooks::packet(&ctx, true);
    1
}

/// Hook: `BPF_CGROUP_INET_INGRESS` on the cgroup2 root, `sk_filter_trim_cap()`: before a datagram is queued at its socket.
#[cgroup_skb]
pub fn tracer_ingress(ctx: SkBuffContext) -> i32 {
    udp_hooks::packet(&ctx, false);
    1
}

/// Hook: `BPF_CGROUP_INET4_POST_BIND` on the cgroup2 root, `__inet_bind()`.
#[cgroup_sock(post_bind4)]
pub fn tracer_post_bind4(ctx: SockContext) -> i32 {
    udp_hooks::bound(&ctx);
    1
}

/// Hook: `BPF_CGROUP_INET6_POST_BIND` on the cgroup2 root, `__inet6_bind()`.
#[cgroup_sock(post_bind6)]
pub fn tracer_post_bind6(ctx: SockContext) -> i32 {
    udp_hooks::bound(&ctx);
    1
}

/// Hook: `BPF_CGROUP_INET_SOCK_RELEASE` on the cgroup2 root, `inet_release()`.
#[cgroup_sock(sock_release)]
pub fn tracer_sock_release(ctx: SockContext) -> i32 {
    udp_hooks::released(&ctx);
    1
}

/// Hook: kprobe `ip_send_skb(net, skb)`, in the call that sends the datagram.
#[kprobe]
pub fn tracer_send4(ctx: ProbeContext) -> u32 {
    udp_hooks::sends(ctx.arg(1));
    0
}

/// Hook: kprobe `ip6_send_skb(skb)`, in the call that sends the datagram.
#[kprobe]
pub fn tracer_send6(ctx: ProbeContext) -> u32 {
    udp_hooks::sends(ctx.arg(0));
    0
}

/// Hook: kprobe `skb_consume_udp(sk, skb, len)`, in the call that takes the datagram from the socket.
#[kprobe]
pub fn tracer_consume(ctx: ProbeContext) -> u32 {
    udp_hooks::takes(&ctx);
    0
}

/// Hook: kprobe `udp_destroy_sock(sk)` and `udpv6_destroy_sock(sk)`.
#[kprobe]
pub fn tracer_destroy(ctx: ProbeContext) -> u32 {
    udp_hooks::destroyed(&ctx);
    0
}

/// Hook: kprobe `tcp_sendmsg(sk, msg, size)`, in the call that sends.
#[kprobe]
pub fn tracer_tcp_send(ctx: ProbeContext) -> u32 {
    payload_hooks::tcp_sends(&ctx);
    0
}

/// Hook: kprobe `unix_stream_sendmsg(sock, msg, len)`, in the call that sends.
#[kprobe]
pub fn tracer_unix_send(ctx: ProbeContext) -> u32 {
    payload_hooks::unix_sends(&ctx);
    0
}

/// Hook: kprobes `udp_recvmsg(sk, msg, ...)`, `udpv6_recvmsg` and `tcp_recvmsg`, in the call that receives.
#[kprobe]
pub fn tracer_receive(ctx: ProbeContext) -> u32 {
    received::begins(&ctx);
    0
}

/// Hook: kprobe `tcp_cleanup_rbuf(sk, copied)`, in the call that has received.
#[kprobe]
pub fn tracer_tcp_taken(ctx: ProbeContext) -> u32 {
    received::stream_taken(&ctx);
    0
}

/// Run by hand (`BPF_PROG_TEST_RUN`), attached to nothing. This and the following are loaded on kernels without BTF, for
/// the moment in which user space finds out offsets.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn tracer_peek(ctx: RawTracePointContext) -> i32 {
    calibrate::peek(&ctx);
    0
}

/// Hook: as [`tracer_sock_ops`].
#[sock_ops]
pub fn tracer_meet(ctx: SockOpsContext) -> u32 {
    calibrate::meet_socket(&ctx);
    1
}

/// Hook: as [`tracer_send4`].
#[kprobe]
pub fn tracer_meet_send4(ctx: ProbeContext) -> u32 {
    if let Some(skb) = ctx.arg::<*const core::ffi::c_void>(1) {
        calibrate::meet_packet(skb as u64);
    }
    0
}

/// Hook: as [`tracer_unix_send`].
#[kprobe]
pub fn tracer_meet_unix(ctx: ProbeContext) -> u32 {
    let (socket, message) = (ctx.arg::<*const core::ffi::c_void>(0), ctx.arg::<*const core::ffi::c_void>(1));
    if let (Some(socket), Some(message)) = (socket, message) {
        calibrate::meet_message(socket as u64, message as u64);
    }
    0
}

/// Hook: as [`tracer_egress`].
#[cgroup_skb]
pub fn tracer_meet_egress(ctx: SkBuffContext) -> i32 {
    calibrate::meet_packet(identity::address_of(ctx.skb.skb.cast_const().cast()));
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
