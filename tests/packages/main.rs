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

/// All packages of the workspace have one version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Which of [`debs`] and [`rpms`] is for this machine.
const NATIVE: usize = if cfg!(target_arch = "x86_64") { 0 } else { 1 };

/// What package managers keep of every installation, below the root.
const KEPT_BY_MANAGERS: [&str; 7] = [
    "root/.rpmdb",
    "var/cache/apt",
    "var/lib/apt",
    "var/lib/dpkg",
    "var/lib/rpm",
    "var/log/apt",
    "var/log/dpkg.log",
];

/// The file of `cargo xtask dist` with this name; `None` if skipped: the reason was printed.
fn package(name: &str) -> Option<PathBuf> {
    let Some(directory) = std::env::var_os("TRACER_PACKAGES") else {
        skip(name, "TRACER_PACKAGES names no directory with packages");
        return None;
    };
    let file = PathBuf::from(directory).join(name);
    assert!(file.is_file(), "no package {}", file.display());
    Some(file)
}

/// The .deb for this machine's architecture and the other one.
fn debs() -> [String; 2] {
    ["amd64", "arm64"].map(|arch| format!("tracer_{VERSION}-1_{arch}.deb"))
}

/// The .rpm for this machine's architecture and the other one.
fn rpms() -> [String; 2] {
    ["x86_64", "aarch64"].map(|arch| format!("tracer-{VERSION}-1.{arch}.rpm"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|why| panic!("cannot start {command:?}: {why}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// A minimal Debian root.
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

    /// Starts what the unit starts, with the rights that it gives, and returns the records.
    fn start_service(&self) -> Vec<Value> {
        let unit = fs::read_to_string(self.root().join("usr/lib/systemd/system/tracer.service")).unwrap();
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        let (start, state) = (value("ExecStart="), value("Environment="));
        let capabilities: Vec<String> = value("CapabilityBoundingSet=")
            .split(' ')
            .map(|name| format!("+{}", &name[4..].to_lowercase()))
            .collect();
        let rights = format!("setpriv --bounding-set=-all,{} --no-new-privs", capabilities.join(","));
        // systemd makes the directory of the state after it opened the file of the records, which therefore has to be there.
        let records = "/var/log/tracer/records.jsonl";
        self.shell(&format!(
            "exec >> {records}; mkdir -m 700 /var/lib/tracer; . /etc/default/tracer; \
             exec env {state} {rights} {start} --duration 3s"
        ));
        let text = fs::read_to_string(self.root().join(&records[1..])).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
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
    for name in debs().into_iter().chain(rpms()) {
        let Some(package) = package(&name) else { return };
        let size = package.metadata().unwrap().len();
        assert!(size <= MAX_PACKAGE, "{}: {size} bytes", package.display());
    }
}

#[test]
fn deb_installs_runs_and_leaves_no_trace() {
    let Some(package) = package(&debs()[NATIVE]) else { return };
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
    let Some(package) = package(&rpms()[NATIVE]) else { return };
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
