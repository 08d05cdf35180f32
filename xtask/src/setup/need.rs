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
    /// Boot kernels in QEMU
    Vm,
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
    EbpfCompiler,
    BpfLinker,
    CrossCompiler,
    Rustfmt,
    Clippy,
    QemuX86,
    QemuArm,
    DebianKeyring,
    Tcplife,
    Bpftrace,
}

/// The needs of a purpose, in the order in which they are installed.
pub fn of(purpose: Group) -> Vec<Need> {
    const BUILD: [Need; 3] = [Need::CLinker, Need::EbpfCompiler, Need::BpfLinker];
    const VM: [Need; 3] = [Need::QemuX86, Need::QemuArm, Need::DebianKeyring];
    let mut needs = BUILD.to_vec();
    match purpose {
        Group::Build => {}
        Group::Cross => needs.push(Need::CrossCompiler),
        Group::Vm => {
            needs.push(Need::CrossCompiler);
            needs.extend(VM);
        }
        Group::Bench => needs.extend([Need::Tcplife, Need::Bpftrace]),
        Group::Test | Group::All => {
            needs.extend([Need::CrossCompiler, Need::Rustfmt, Need::Clippy]);
            needs.extend(VM);
        }
    }
    if purpose == Group::All {
        needs.extend([Need::Tcplife, Need::Bpftrace]);
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
            Self::EbpfCompiler => format!("Rust compiler for {}", toolchain::TARGET),
            Self::BpfLinker => toolchain::LINKER.into(),
            Self::CrossCompiler => format!("static builds for {}", Arch::foreign()),
            Self::Rustfmt => "rustfmt".into(),
            Self::Clippy => "clippy".into(),
            Self::QemuX86 => "QEMU for x86_64".into(),
            Self::QemuArm => "QEMU for aarch64".into(),
            Self::DebianKeyring => "Debian's archive keys".into(),
            Self::Tcplife => "tcplife of libbpf-tools".into(),
            Self::Bpftrace => "bpftrace".into(),
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
        match self {
            Self::CLinker => program("cc"),
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
            Self::Tcplife => program("tcplife"),
            Self::Bpftrace => program("bpftrace"),
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
