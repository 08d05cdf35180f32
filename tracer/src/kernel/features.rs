//! What this kernel and this process bring along: release, BTF, cgroup2 root, capabilities, tracefs, kprobes.
//!
//! Only looks; changes nothing but the soft `RLIMIT_MEMLOCK` of this process.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;

use super::offsets::{self, Found};

/// First release whose `sock_ops` programs may use the ring buffer (5.8) and `bpf_probe_read_kernel` (5.10).
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// There since 4.17 where the kernel has kprobes.
pub const KPROBE_EVENTS: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Capabilities that the work needs, with what each is for.
pub const NEEDED_CAPABILITIES: &[(CapabilitySet, &str, &str)] = &[
    (CapabilitySet::BPF, "CAP_BPF", "load programs and maps"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "attach to the cgroup2 root"),
    (CapabilitySet::PERFMON, "CAP_PERFMON", "read kernel memory from the programs"),
];

/// Capabilities that are useful but not required.
pub const USEFUL_CAPABILITIES: &[(CapabilitySet, &str, &str)] = &[
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", "read the executable of processes of other users"),
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "list open connections of other network namespaces"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "read Android's package lists"),
];

/// Everything that decides how the work can be done.
#[derive(Debug)]
pub struct Features {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub architecture: String,
    /// First 32 bits of the boot id, hexadecimal.
    pub boot: String,
    /// Major and minor number of `kernel`.
    pub version: Option<(u32, u32)>,
    /// Offsets from the kernel's BTF, or why there are none.
    pub btf: Result<Found, String>,
    /// Mount point of the cgroup2 hierarchy, or why there is none.
    pub cgroup_root: Result<CgroupRoot, String>,
    /// Effective capabilities.
    pub capabilities: CapabilitySet,
    /// Soft limit of locked memory in bytes after we asked for more; `None` = unlimited. Kernels from 5.11 ignore it.
    pub memlock: Option<u64>,
    /// Where tracefs is mounted.
    pub tracefs: Option<PathBuf>,
    /// Whether the kernel has kprobe events.
    pub kprobes: bool,
    /// Whether the BPF JIT is on; `None` when the kernel does not say.
    pub jit: Option<bool>,
}

/// Where the cgroup2 hierarchy is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupRoot {
    pub path: PathBuf,
    /// `false` when the mount shows only a part of the hierarchy (inside a container): the rest is not seen.
    pub is_whole: bool,
}

impl Features {
    /// Looks at the running system.
    #[must_use]
    pub fn detect() -> Self {
        let uname = rustix::system::uname();
        let kernel = uname.release().to_string_lossy().into_owned();
        let tracefs = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.join("events").is_dir());
        Self {
            version: parse_version(&kernel),
            kernel,
            architecture: uname.machine().to_string_lossy().into_owned(),
            boot: boot(),
            btf: offsets::from_kernel(Path::new(offsets::BTF_PATH)),
            cgroup_root: find_cgroup_root(),
            capabilities: rustix::thread::capabilities(None)
                .map_or(CapabilitySet::empty(), |sets| sets.effective),
            memlock: raise_memlock(),
            kprobes: has_kprobes(tracefs.as_deref()),
            tracefs,
            jit: std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable")
                .ok()
                .map(|text| text.trim() != "0"),
        }
    }

    /// Whether this process has `capability`; `CAP_SYS_ADMIN` stands in for the finer BPF ones.
    #[must_use]
    pub fn has(&self, capability: CapabilitySet) -> bool {
        let splits = CapabilitySet::BPF | CapabilitySet::PERFMON;
        self.capabilities.contains(capability)
            || (splits.contains(capability) && self.capabilities.contains(CapabilitySet::SYS_ADMIN))
    }
}

/// First 32 bits of the boot id, hexadecimal: the first half of every flow id.
#[must_use]
pub fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.get(..8).unwrap_or("00000000").to_owned()
}

/// Major and minor number of a release such as `5.10.198-android12-9-g…`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn find_cgroup_root() -> Result<CgroupRoot, String> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    cgroup_root_in(&String::from_utf8_lossy(&text))
        .ok_or_else(|| "no cgroup2 file system is mounted".to_owned())
}

/// Finds the best cgroup2 mount in the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5)): one that shows the
/// whole hierarchy before one that shows a part.
fn cgroup_root_in(mountinfo: &str) -> Option<CgroupRoot> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let (root, point) = (fields.nth(3)?, fields.next()?);
        (kind.split(' ').next()? == "cgroup2")
            .then(|| CgroupRoot { path: PathBuf::from(unescape_octal(point)), is_whole: root == "/" })
    });
    mounts.max_by_key(|mount| mount.is_whole)
}

/// Undoes the `\040` form in which the kernel writes blanks in mount points.
fn unescape_octal(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

fn has_kprobes(tracefs: Option<&Path>) -> bool {
    Path::new(KPROBE_EVENTS).exists() || tracefs.is_some_and(|path| path.join("kprobe_events").exists())
}

/// Kernels before 5.11 account maps against this limit. Failing is fine: the load says so if it mattered.
fn raise_memlock() -> Option<u64> {
    let limit = getrlimit(Resource::Memlock);
    let unlimited = Rlimit { current: None, maximum: None };
    let at_most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Memlock, unlimited).or_else(|_| setrlimit(Resource::Memlock, at_most));
    getrlimit(Resource::Memlock).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_numbers_are_read_from_vendor_strings() {
        assert_eq!(parse_version("5.10.198-android12-9-gabc"), Some((5, 10)));
        assert_eq!(parse_version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(parse_version("android"), None);
    }

    #[test]
    fn the_whole_hierarchy_is_preferred_to_a_part_of_it() {
        let text = "\
30 23 0:26 /docker/abc /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw
31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
32 23 0:26 / /mnt/with\\040blank rw - cgroup2 cgroup2 rw
";
        let root = cgroup_root_in(text).unwrap();
        assert_eq!(root, CgroupRoot { path: "/mnt/with blank".into(), is_whole: true });
        assert_eq!(cgroup_root_in("31 23 0:27 / /x rw - cgroup cgroup rw,cpu\n"), None);
    }
}
