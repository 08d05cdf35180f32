//! `/proc/PID/cgroup` → path in the cgroup2 hierarchy, and the container, where a name shows it. Pure.

/// Longest path in the output, in bytes.
const MAX_PATH: usize = 512;

/// Length of the ids that Docker, containerd, CRI-O and Podman give: a SHA-256 in hexadecimal.
const ID_LENGTH: usize = 64;

/// Where a process stands among the control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// In the cgroup2 hierarchy, printable; absent for the root.
    pub path: Option<String>,
    pub container: Option<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    /// Where the name tells: `docker`, `cri-containerd`, `crio`, `libpod`, `lxc`.
    pub runtime: Option<String>,
}

impl Cgroup {
    /// Reads the lines `HIERARCHY:CONTROLLERS:PATH` (cgroups(7)).
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let paths = || {
            text.split(|&b| b == b'\n').filter_map(|line| {
                let mut parts = line.splitn(3, |&b| b == b':');
                Some((parts.next()?, parts.nth(1)?))
            })
        };
        // 0 is the cgroup2 hierarchy.
        let path = paths().find(|(hierarchy, _)| *hierarchy == b"0").map(|(_, path)| path);
        Self {
            path: path
                .filter(|path| *path != b"/")
                .map(|path| crate::text::printable_within(path, MAX_PATH).into_owned()),
            // Older runtimes put containers into the other hierarchies only.
            container: paths().find_map(|(_, path)| container(std::str::from_utf8(path).ok()?)),
        }
    }
}

/// The innermost container of a path.
fn container(path: &str) -> Option<Container> {
    let mut parts = path.rsplit('/').peekable();
    while let Some(part) = parts.next() {
        if let Some(name) = part.strip_prefix("lxc.payload.") {
            return Some(Container { id: name.to_owned(), runtime: Some("lxc".to_owned()) });
        }
        let name = part.strip_suffix(".scope").unwrap_or(part);
        // RUNTIME-ID.scope of systemd, or a folder of the runtime with the id alone.
        let (runtime, id) =
            name.rsplit_once(['-', ':']).map_or((None, name), |(runtime, id)| (Some(runtime), id));
        if id.len() == ID_LENGTH && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            let folder = parts.peek().copied().filter(|folder| matches!(*folder, "docker" | "lxc"));
            let runtime = runtime.map(|name| name.rsplit(':').next().unwrap_or(name)).or(folder);
            return Some(Container { id: id.to_owned(), runtime: runtime.map(str::to_owned) });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4d9c3b2a1f0e4d9c3b2a1f0e4d9c3b2a1f0e4d9c3b2a1f0e4d9c3b2a1f0e4d9c";

    fn found(text: &str) -> (Option<String>, Option<(String, Option<String>)>) {
        let cgroup = Cgroup::parse(text.as_bytes());
        (cgroup.path, cgroup.container.map(|container| (container.id, container.runtime)))
    }

    #[test]
    fn containers_are_known_by_the_names_that_runtimes_give() {
        for (path, runtime) in [
            (format!("/system.slice/docker-{ID}.scope"), Some("docker")),
            (format!("/docker/{ID}"), Some("docker")),
            (
                format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"),
                Some("cri-containerd"),
            ),
            (format!("/machine.slice/libpod-{ID}.scope/container"), Some("libpod")),
            (format!("/kubepods/besteffort/pod1/{ID}"), None),
        ] {
            let wanted = (ID.to_owned(), runtime.map(str::to_owned));
            assert_eq!(found(&format!("0::{path}\n")), (Some(path.clone()), Some(wanted)), "{path}");
        }
        let lxc = Some(("web".to_owned(), Some("lxc".to_owned())));
        assert_eq!(found("0::/lxc.payload.web/init.scope\n").1, lxc);
    }

    #[test]
    fn a_container_in_another_hierarchy_counts_and_the_root_is_no_path() {
        let text = format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert_eq!(found(&text), (None, Some((ID.to_owned(), Some("docker".to_owned())))));
    }

    #[test]
    fn ordinary_groups_are_no_containers() {
        for path in ["/user.slice/user-1000.slice/session-3.scope", "/apps/uid_10123/pid_2817", "/a-deadbeef"]
        {
            assert_eq!(found(&format!("0::{path}\n")), (Some(path.to_owned()), None));
        }
        for text in ["", "0", "0:", "::", "\n\n", "0::", "x\u{0}y"] {
            let _ = found(text);
        }
    }
}
