//! What each purpose needs, and how to see whether it is there. Looking must never install or change anything.

use std::{path::Path, process::Command};

use clap::ValueEnum;

use crate::{arch::Arch, build, shell, toolchain};

/// What a machine is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Build and run for this machine
    Build,
    /// Build for the other architecture, too
    Cross,
    /// Try the parsers with libFuzzer
    Fuzz,
    /// Boot kernels in QEMU
    Vm,
    /// Everything `cargo xtask test --no-vm` uses
    Host,
    /// Everything `cargo xtask test` uses
    Test,
    /// The peers that `cargo xtask bench` compares with
    Bench,
    /// All of these
    All,
}

impl Group {
    /// The purpose that covers a build for `arch`.
    pub fn for_target(arch: Arch) -> Self {
        if arch == Arch::native() { Self::Build } else { Self::Cross }
    }
}

/// One thing that can be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    CLinker,
    CppCompiler,
    EbpfCompiler,
    BpfLinker,
    CrossCompiler,
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
    Tcplife,
    Bpftrace,
    Tshark,
}

/// Names of programs, the first of which is found by the tests of names (`tests/names/apps.rs`).
const BROWSERS: [&str; 2] = ["chromium", "google-chrome-stable"];

/// The needs of a purpose, in the order in which they are installed.
pub fn of(purpose: Group) -> Vec<Need> {
    const BUILD: [Need; 3] = [Need::CLinker, Need::EbpfCompiler, Need::BpfLinker];
    const PEERS: [Need; 3] = [Need::Tcplife, Need::Bpftrace, Need::Tshark];
    const VM: [Need; 3] = [Need::QemuX86, Need::QemuArm, Need::DebianKeyring];
    const HOST: [Need; 4] = [Need::CrossCompiler, Need::Rustfmt, Need::Clippy, Need::CppCompiler];
    /// Servers and clients of the tests of names.
    const NAMES: [Need; 5] = [Need::Dnsmasq, Need::Curl, Need::OpenSsl, Need::Python, Need::Chromium];
    let mut needs = BUILD.to_vec();
    match purpose {
        Group::Build => {}
        Group::Cross => needs.push(Need::CrossCompiler),
        Group::Fuzz => needs.push(Need::CppCompiler),
        Group::Vm => {
            needs.push(Need::CrossCompiler);
            needs.extend(VM);
        }
        Group::Bench => needs.extend(PEERS),
        Group::Host => {
            needs.extend(HOST);
            needs.extend(NAMES);
        }
        Group::Test | Group::All => {
            needs.extend(HOST);
            needs.extend(NAMES);
            needs.extend(VM);
        }
    }
    if purpose == Group::All {
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
            Self::CppCompiler => "C++ compiler".into(),
            Self::EbpfCompiler => format!("Rust compiler for {}", toolchain::TARGET),
            Self::BpfLinker => toolchain::LINKER.into(),
            Self::CrossCompiler => format!("static builds for {}", Arch::foreign()),
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
            Self::Tcplife => "tcplife of libbpf-tools".into(),
            Self::Bpftrace => "bpftrace".into(),
            Self::Tshark => "tshark".into(),
        }
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
            Self::CppCompiler => program("c++"),
            Self::EbpfCompiler => toolchain::find_compiler().map(|compiler| compiler.to_string()),
            Self::BpfLinker => toolchain::find_linker().map(|path| path.display().to_string()),
            Self::CrossCompiler => build::user_toolchain(Arch::foreign()).map(|found| found.to_string()),
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
            // Elsewhere it comes in ways of its own, and the tests that want it are skipped.
            Self::Chromium => BROWSERS
                .into_iter()
                .find_map(system)
                .or_else(|| (!super::apt::is_debian()).then(|| "no package here; tests do without".into())),
            Self::Tcplife => program("tcplife"),
            Self::Bpftrace => program("bpftrace"),
            Self::Tshark => program("tshark"),
        }
    }
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
    fn running_needs_no_virtual_machine_and_no_other_architecture() {
        assert_eq!(of(Group::Build), [Need::CLinker, Need::EbpfCompiler, Need::BpfLinker]);
    }

    #[test]
    fn the_benchmark_needs_every_peer_and_the_tests_need_none() {
        let peers = [Need::Tcplife, Need::Bpftrace, Need::Tshark];
        assert!(peers.iter().all(|peer| of(Group::Bench).contains(peer)));
        assert!(!peers.iter().any(|peer| of(Group::Test).contains(peer)));
    }

    #[test]
    fn tests_without_machines_need_the_programs_of_the_live_tests_and_no_emulator() {
        let host = of(Group::Host);
        assert!(host.contains(&Need::Dnsmasq) && host.contains(&Need::Chromium), "{host:?}");
        assert!(!host.contains(&Need::QemuX86), "{host:?}");
        assert!(host.iter().all(|need| of(Group::Test).contains(need)));
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
