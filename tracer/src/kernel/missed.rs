//! Runs of our programs that the kernel left out: a hook that is reached while another program of its kind runs on the same
//! processor runs nothing, and what it would have told is lost.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

use aya::Ebpf;
use aya::programs::Program;

/// Runs that were left out, by program; only those with any. Kernels before 5.12 count nothing, kprobes are counted from
/// 6.7 on.
#[must_use]
pub fn missed(ebpf: &Ebpf) -> BTreeMap<&'static str, u64> {
    let of = |name: &'static str| {
        let fd = ebpf.program(name).and_then(descriptor)?;
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
        Some((name, in_fdinfo(&text)?)).filter(|(_, runs)| *runs > 0)
    };
    super::tcp::PROGRAMS
        .into_iter()
        .chain(super::udp::PROGRAMS)
        .chain(super::names::PROGRAMS)
        .filter_map(of)
        .collect()
}

/// Of a program that is loaded.
fn descriptor(program: &Program) -> Option<i32> {
    Some(program.fd().ok()?.as_fd().as_raw_fd())
}

/// `bpf_prog_show_fdinfo()`, kernel/bpf/syscall.c.
fn in_fdinfo(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read_and_an_old_kernel_has_none() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t2\nrun_cnt:\t7\nrecursion_misses:\t42\nverified_insns:\t9\n";
        assert_eq!(in_fdinfo(text), Some(42));
        assert_eq!(in_fdinfo("pos:\t0\nprog_type:\t2\n"), None);
        assert_eq!(in_fdinfo("recursion_misses:\tmany\n"), None);
    }
}
