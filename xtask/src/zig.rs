//! Zig as a C compiler for the musl targets, where there is no cross compiler: it brings the headers of every libc.
//!
//! `cc` and `ar` have to be one program each, and Zig's names of targets are not LLVM's, so scripts under `target/tools/zig`
//! translate.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{arch::Arch, shell, workspace};

/// A Zig that was found here, and what it is to compile for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zig {
    program: PathBuf,
    arch: Arch,
}

impl Zig {
    /// The one that `setup` installed, else the one on PATH.
    pub fn find(arch: Arch) -> Option<Self> {
        let own = workspace::tool("zig").join("ziglang/zig");
        let program = Some(own).filter(|path| path.is_file()).or_else(|| shell::find_program("zig"))?;
        Some(Self { program, arch })
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Writes a script that calls `zig cc` or `zig ar`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn script(&self, tool: &str) -> Result<PathBuf> {
        let directory = workspace::tool("zig");
        workspace::create_dir(&directory)?;
        let path = directory.join(format!("zig-{tool}-{}", self.arch));
        // By a rename: another cargo may run it now.
        let fresh = directory.join(format!("zig-{tool}-{}.{}", self.arch, std::process::id()));
        fs::write(&fresh, self.text(tool)).with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {} executable", fresh.display()))?;
        fs::rename(&fresh, &path).with_context(|| format!("cannot rename {}", fresh.display()))?;
        Ok(path)
    }

    fn text(&self, tool: &str) -> String {
        let zig = shell::quote(&self.program.display().to_string());
        if tool != "cc" {
            return format!("#!/bin/sh\nexec {zig} {tool} \"$@\"\n");
        }
        let target = format!("{}-linux-musl", self.arch);
        // Checks of undefined behavior call a runtime library that Rust's linker does not have.
        format!(
            "#!/bin/sh\nfor word do\n    shift\n    case $word in\n    --target=*) ;;\n    *) set -- \"$@\" \"$word\" ;;\n    \
             esac\ndone\nexec {zig} cc -target {target} -fno-sanitize=undefined \"$@\"\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn script_replaces_the_target_and_keeps_every_other_word() {
        let directory = tempfile::tempdir().unwrap();
        let zig = Zig { program: "echo".into(), arch: Arch::Aarch64 };
        let script = directory.path().join("cc");
        fs::write(&script, zig.text("cc")).unwrap();
        let words = ["-O3", "--target=aarch64-unknown-linux-musl", "-DA=b c", "-c"];
        let printed = shell::capture(Command::new("sh").arg(script).args(words)).unwrap();
        assert_eq!(printed, "cc -target aarch64-linux-musl -fno-sanitize=undefined -O3 -DA=b c -c\n");
    }
}
