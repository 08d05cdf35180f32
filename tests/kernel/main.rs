//! Live tests against the running kernel. They run on the development machine as root and in the guests of
//! `cargo xtask vm`.

/// A line of `/proc/mounts` has the file system type third.
fn has_mount_of(mounts: &str, kind: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind))
}

#[test]
fn the_kernel_has_a_cgroup2_root() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    assert!(has_mount_of(&mounts, "cgroup2"), "no cgroup2 in /proc/mounts:\n{mounts}");
}
