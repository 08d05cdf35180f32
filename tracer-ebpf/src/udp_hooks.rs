//! Where UDP datagrams are seen: in cgroup hooks, or in kprobes. Each finds packet and socket, and hands over to [`udp`].

use core::ffi::c_void;
use core::ptr::null_mut;

use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::programs::{ProbeContext, SkBuffContext, SockContext};

use crate::identity::{address_of, read};
use crate::maps::config;
use crate::payload_hooks;
use crate::udp::{self, Packet};

/// include/uapi/linux/in.h
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_UDPLITE: u32 = 136;

/// A cgroup hook for packets: most of them are TCP, and not for us.
#[inline(always)]
pub fn packet(ctx: &SkBuffContext, is_sent: bool) {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel hands a valid context, whose fields the verifier checks.
    let (data, end, sk) =
        unsafe { ((*skb).data as usize, (*skb).data_end as usize, (*skb).__bindgen_anon_2.sk) };
    if data + 20 <= end {
        let header = data as *const u8;
        // SAFETY: 20 bytes are there.
        let (version, protocol4, protocol6) = unsafe { (*header >> 4, *header.add(9), *header.add(6)) };
        let protocol = if version == 4 { protocol4 } else { protocol6 };
        if protocol == IPPROTO_TCP {
            if config!(names) == 1 {
                payload_hooks::segment(skb, is_sent);
            }
            return;
        }
    }
    let sk = sk.cast::<c_void>().cast_const();
    if sk.is_null() {
        return;
    }
    udp::datagram(&Packet {
        context: skb,
        skb: address_of(skb.cast_const().cast()),
        sk: address_of(sk),
        // SAFETY: the helper takes the context.
        cookie: unsafe { bpf_get_socket_cookie(skb.cast()) },
        is_sent,
        // A received packet is in softirq: the current task is anyone.
        is_in_call: is_sent,
    });
}

/// A cgroup hook: a socket was bound.
#[inline(always)]
pub fn bound(ctx: &SockContext) {
    if is_udp(ctx) {
        // SAFETY: the helper takes the context.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.sock.cast()) };
        udp::bound(address_of(ctx.sock.cast_const().cast()), cookie);
    }
}

/// A cgroup hook: a socket was released.
#[inline(always)]
pub fn released(ctx: &SockContext) {
    if is_udp(ctx) {
        udp::released(address_of(ctx.sock.cast_const().cast()));
    }
}

#[inline(always)]
fn is_udp(ctx: &SockContext) -> bool {
    // SAFETY: the kernel hands a valid context, whose fields the verifier checks.
    let protocol = unsafe { (*ctx.sock).protocol };
    protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE
}

/// A kprobe on a function that sends a packet with headers.
#[inline(always)]
pub fn sends(skb: Option<*const c_void>) {
    let Some(skb) = skb else { return };
    let skb = skb as u64;
    let sk = read::<u64>(skb, config!(offsets.skb_sk)).value;
    udp::datagram(&Packet { context: null_mut(), skb, sk, cookie: 0, is_sent: true, is_in_call: true });
}

/// The kprobe on `skb_consume_udp()`.
#[inline(always)]
pub fn takes(ctx: &ProbeContext) {
    let (Some(sk), Some(skb), Some(length)) =
        (ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1), ctx.arg::<i32>(2))
    else {
        return;
    };
    // Negative: it was only looked at (MSG_PEEK) and stays in the queue.
    if length >= 0 {
        udp::datagram(&Packet {
            context: null_mut(),
            skb: skb as u64,
            sk: sk as u64,
            cookie: 0,
            is_sent: false,
            is_in_call: true,
        });
    }
}

/// The kprobe on `udp_destroy_sock()` and `udpv6_destroy_sock()`.
#[inline(always)]
pub fn destroyed(ctx: &ProbeContext) {
    if let Some(sk) = ctx.arg::<*const c_void>(0) {
        udp::released(sk as u64);
    }
}
