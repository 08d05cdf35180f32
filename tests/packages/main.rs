//! Finished packages on a clean system: installed, started as the service starts them, removed without a trace.
//!
//! In: the directory of `cargo xtask dist` in `TRACER_PACKAGES`. The clean system is made by mmdebstrap from this machine's
//! own package sources, in a temporary directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tracer_tests::temp::TempDir;
use tracer_tests::{live, live::skip};

/// What a user downloads at most.
const MAX_PACKAGE: u64 = 12 << 20;

/// What package managers keep of every installation, below the root.
const KEPT_BY_MANAGERS: [&str; 6] =
    ["var/cache/apt", "var/lib/apt", "var/lib/dpkg", "var/lib/rpm", "var/log/apt", "var/log/dpkg.log"];

/// The package of this machine with this ending; `None` when the test cannot run, which was said then.
fn package(ending: &str) -> Option<PathBuf> {
    let Some(directory) = std::env::var_os("TRACER_PACKAGES") else {
        skip(ending, "TRACER_PACKAGES names no directory with packages");
        return None;
    };
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let file = files.into_iter().find(|path| path.to_string_lossy().ends_with(ending));
    Some(file.unwrap_or_else(|| panic!("no package *{ending}")))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A system with nothing but what every Debian has.
struct CleanSystem {
    directory: TempDir,
}

impl CleanSystem {
    fn make() -> Self {
        let directory = TempDir::new();
        let release = run(Command::new("sh").args(["-c", ". /etc/os-release && echo $VERSION_CODENAME"]));
        let release = release.trim();
        let sites = run(Command::new("apt-get").args(["indextargets", "--format", "$(RELEASE) $(SITE)"]));
        let mirror = sites.lines().find_map(|line| line.strip_prefix(&format!("{release} "))).unwrap();
        let root = directory.path().join("root");
        run(Command::new("mmdebstrap").args(["--quiet", "--variant=apt", release]).arg(&root).arg(mirror));
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Runs a shell's command inside, with the kernel's file systems mounted for as long as it runs.
    fn shell(&self, script: &str) -> String {
        const MOUNT: &str = "set -e; mount --bind \"$0\" \"$0\"; mount -t proc proc \"$0/proc\"; \
            mount --rbind /sys \"$0/sys\"; mount --rbind /dev \"$0/dev\"; exec chroot \"$0\" sh -ec \"$1\"";
        run(Command::new("unshare").args(["--mount", "sh", "-c", MOUNT]).arg(self.root()).arg(script))
    }

    /// Every path, without what package managers keep.
    fn paths(&self) -> BTreeSet<PathBuf> {
        let (root, mut found, mut waiting) = (self.root(), BTreeSet::new(), vec![PathBuf::new()]);
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(root.join(&directory)).unwrap() {
                let entry = entry.unwrap();
                let path = directory.join(entry.file_name());
                if KEPT_BY_MANAGERS.iter().any(|kept| path.starts_with(kept)) {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    waiting.push(path.clone());
                }
                found.insert(path);
            }
        }
        found
    }

    fn copy_in(&self, package: &Path) -> String {
        let name = package.file_name().unwrap().to_str().unwrap();
        fs::copy(package, self.root().join("tmp").join(name)).unwrap();
        format!("/tmp/{name}")
    }

    /// Starts what the unit starts, for some seconds, and returns its records.
    fn start_service(&self) -> Vec<Value> {
        let unit = fs::read_to_string(self.root().join("usr/lib/systemd/system/tracer.service")).unwrap();
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        // systemd makes the directory.
        let records = self.shell(&format!(
            "mkdir -p /var/lib/tracer /var/log/tracer; . /etc/default/tracer; {start} --duration 3s"
        ));
        records.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The program works, and the service's command gives a whole stream.
    fn check_installed(&self) {
        assert!(self.shell("tracer doctor").contains("tracer works here"));
        let records = self.start_service();
        let action = |record: &Value| record["event"]["action"].as_str().unwrap().to_owned();
        assert_eq!(records.first().map(action).as_deref(), Some("start"));
        assert_eq!(records.last().map(action).as_deref(), Some("stop"));
        for file in ["usr/share/man/man1/tracer.1", "usr/share/bash-completion/completions/tracer"] {
            assert!(self.root().join(file).is_file(), "{file}");
        }
    }
}

fn assert_same(before: &BTreeSet<PathBuf>, after: &BTreeSet<PathBuf>) {
    let left: Vec<_> = before.symmetric_difference(after).collect();
    assert!(left.is_empty(), "differs from before: {left:?}");
}

#[test]
fn packages_are_small_enough() {
    for ending in ["_amd64.deb", "_arm64.deb", ".x86_64.rpm", ".aarch64.rpm"] {
        let Some(package) = package(ending) else { return };
        let size = package.metadata().unwrap().len();
        assert!(size <= MAX_PACKAGE, "{}: {size} bytes", package.display());
    }
}

#[test]
fn deb_installs_runs_and_leaves_no_trace() {
    let ending = if cfg!(target_arch = "x86_64") { "_amd64.deb" } else { "_arm64.deb" };
    let Some(package) = package(ending) else { return };
    let _turn = live!();
    let system = CleanSystem::make();
    let before = system.paths();
    let file = system.copy_in(&package);
    system.shell(&format!("apt-get install --yes -qq {file}; rm {file}"));
    system.check_installed();
    // A removal keeps what was recorded.
    system.shell(
        "apt-get remove --yes -qq tracer; test ! -e /usr/bin/tracer; test -s /var/lib/tracer/tracer.db",
    );
    system.shell("apt-get purge --yes -qq tracer");
    assert_same(&before, &system.paths());
}

#[test]
fn rpm_installs_runs_and_is_removed() {
    let ending = if cfg!(target_arch = "x86_64") { ".x86_64.rpm" } else { ".aarch64.rpm" };
    let Some(package) = package(ending) else { return };
    let _turn = live!();
    let system = CleanSystem::make();
    let before = system.paths();
    let rpm = |words: &[&str]| run(Command::new("rpm").arg("--root").arg(system.root()).args(words));
    // The package manager of this root is another one: it has no database of what is there.
    rpm(&["--install", "--nodeps", package.to_str().unwrap()]);
    system.check_installed();
    rpm(&["--erase", "tracer"]);
    // Its ledger stays, as rpm has no purge.
    system.shell("test -s /var/lib/tracer/tracer.db; rm -r /var/lib/tracer /var/log/tracer");
    assert_same(&before, &system.paths());
}
