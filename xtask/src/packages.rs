//! The .deb and the .rpm: binary, service, manual pages and completions, packed by nfpm as `xtask/packages` describes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    arch::Arch,
    build::{self, Profile},
    setup, shell, workspace,
};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// A package format and its file name.
#[derive(Debug, Clone, Copy)]
enum Format {
    Deb,
    Rpm,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        }
    }

    /// By the conventions of each format.
    fn file(self, arch: Arch) -> String {
        let version = workspace::version();
        match self {
            Self::Deb => format!("tracer_{version}-1_{}.deb", arch.debian()),
            Self::Rpm => format!("tracer-{version}-1.{arch}.rpm"),
        }
    }
}

/// Writes what packages of every architecture share, manual pages and completions, into a directory. `tracer`: a binary of
/// this run for this machine; without it one is built.
///
/// # Errors
/// When tracer does not build or run here.
pub fn common_files(tracer: Option<&Path>) -> Result<PathBuf> {
    let directory = workspace::dist().join("common");
    let man = directory.join("man");
    if man.is_dir() {
        // Pages of commands that are gone must not stay.
        fs::remove_dir_all(&man).with_context(|| format!("cannot empty {}", man.display()))?;
    }
    workspace::create_dir(&man)?;
    let tracer = tracer.map_or_else(|| build::host_tracer(Profile::Dev), |path| Ok(path.to_owned()))?;
    shell::capture(Command::new(&tracer).arg("man").arg(&man))?;
    for shell in SHELLS {
        let text = shell::capture(Command::new(&tracer).args(["completions", shell]))?;
        let path = directory.join(format!("tracer.{shell}"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(directory)
}

/// Packs the binary of an architecture in both formats, and returns the files. `epoch`: seconds since 1970 for every entry.
///
/// # Errors
/// When nfpm is missing or fails.
pub fn pack(arch: Arch, binary: &Path, common: &Path, epoch: u64) -> Result<Vec<PathBuf>> {
    let nfpm = setup::tool("nfpm").context("nfpm is not installed; run `cargo xtask setup --for dist`")?;
    let mut files = Vec::new();
    for format in [Format::Deb, Format::Rpm] {
        let file = workspace::dist().join(format.file(arch));
        let mut command = Command::new(&nfpm);
        command.args(["package", "--config", "xtask/packages/nfpm.yaml", "--packager", format.name()]);
        command.arg("--target").arg(&file).current_dir(workspace::root());
        command.env("TRACER_VERSION", workspace::version()).env("TRACER_BINARY", binary);
        command.env("TRACER_ARCH", arch.debian()).env("TRACER_FILES", common);
        // The time of every entry, and of the package.
        command.env("SOURCE_DATE_EPOCH", epoch.to_string());
        shell::capture(&mut command)?;
        files.push(file);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_follow_each_format() {
        let version = workspace::version();
        assert_eq!(Format::Deb.file(Arch::Aarch64), format!("tracer_{version}-1_arm64.deb"));
        assert_eq!(Format::Rpm.file(Arch::X86_64), format!("tracer-{version}-1.x86_64.rpm"));
    }
}
