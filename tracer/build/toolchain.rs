//! Finds out how the eBPF programs can be compiled on this machine.
//!
//! In: what is installed (rustup's toolchains, `/usr/bin/rustc`, `bpf-linker`). Out: a [`Compiler`] and the path of a
//! linker, where there are any. Included through `#[path]` by `tracer/build.rs` and by `xtask`, so that what `cargo
//! xtask setup` calls ready is what the build accepts. Uses std only and must never install or change anything.

use std::{
    env,
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The compilation target of the programs. Little endian only: x86_64 and aarch64 both are.
pub const TARGET: &str = "bpfel-unknown-none";
/// Debian's compiler, whose package `libstd-rust-web-dev-bpf` adds a ready `core` for [`TARGET`].
pub const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
/// Nightlies that are tried, best first. The dated one has the LLVM (22) that the `bpf-linker` of `cargo xtask setup`
/// can read: a linker must not be older than the LLVM that wrote the bitcode.
pub const NIGHTLIES: [&str; 2] = ["nightly-2026-05-20", "nightly"];
/// The linker that turns LLVM bitcode into a BPF object.
pub const LINKER: &str = "bpf-linker";

/// The compiler of the programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compiler {
    /// A nightly of rustup with the component rust-src: `core` is built from source (`-Z build-std`).
    Nightly { name: String, sysroot: PathBuf },
    /// A stable compiler with a ready `core` for [`TARGET`], allowed unstable features by `RUSTC_BOOTSTRAP=1`.
    System { rustc: PathBuf },
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly { name, .. } => write!(f, "{name} with rust-src"),
            Self::System { rustc } => write!(f, "{} with core for {TARGET}", rustc.display()),
        }
    }
}

/// The compiler of the programs, best first: a nightly of rustup, else the system's.
pub fn find_compiler() -> Option<Compiler> {
    NIGHTLIES.iter().find_map(|name| find_nightly(name)).or_else(|| find_system(Path::new(SYSTEM_RUSTC)))
}

/// An installed nightly that has the sources of `core`. Looks only at files: asking rustup about a toolchain that is
/// not there would make it download one.
pub fn find_nightly(name: &str) -> Option<Compiler> {
    let toolchains = rustup_home().join("toolchains");
    let named = |found: &str| found.strip_prefix(name).is_some_and(is_host_suffix);
    let mut sysroots: Vec<PathBuf> = fs::read_dir(toolchains)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(named))
        .filter(|path| path.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file())
        .filter(|path| path.join("bin/cargo").is_file())
        .collect();
    sysroots.sort();
    Some(Compiler::Nightly { name: name.to_owned(), sysroot: sysroots.pop()? })
}

/// What may follow a toolchain's name in its directory: nothing, or `-` and the host triple. A date is not a host, so
/// that `nightly` never stands for `nightly-2024-01-01`.
fn is_host_suffix(rest: &str) -> bool {
    rest.is_empty()
        || rest.strip_prefix('-').is_some_and(|host| !host.starts_with(|c: char| c.is_ascii_digit()))
}

/// A compiler outside rustup, if it has a ready `core` for [`TARGET`].
pub fn find_system(rustc: &Path) -> Option<Compiler> {
    let output = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let libdir = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    let found = fs::read_dir(libdir).ok()?.flatten().any(|e| e.file_name().to_str().is_some_and(is_core));
    found.then(|| Compiler::System { rustc: rustc.to_owned() })
}

/// `bpf-linker` in cargo's bin directory (also when PATH lacks it) or on PATH. One that does not start, for example
/// because its LLVM was removed, is none.
pub fn find_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let starts = |linker: &PathBuf| {
        let mut command = Command::new(linker);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    [cargo_home().join("bin")]
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(LINKER))
        .find(starts)
}

/// Where cargo keeps what it downloads and installs.
pub fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_else(|| home_dir().join(".cargo"))
}

fn rustup_home() -> PathBuf {
    env::var_os("RUSTUP_HOME").map(PathBuf::from).unwrap_or_else(|| home_dir().join(".rustup"))
}

fn home_dir() -> PathBuf {
    env::home_dir().unwrap_or_default()
}
