//! Packs the guest's root file system: a cpio archive in the `newc` form that the kernel unpacks into its rootfs
//! (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! The same inputs give the same bytes: times are 0 and entries come in a fixed order.

use std::{fs, io::Write as _, path::Path};

use anyhow::{Context, Result};
use cpio::newc::{self, ModeFileType};

use super::{Programs, kernel::Kernel};

const EXECUTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;
const DIRECTORIES: [&str; 9] = ["bin", "dev", "etc", "modules", "proc", "run", "sys", "tests", "tmp"];

/// The archive with everything a guest needs; `manifest` is what its init reads.
///
/// # Errors
/// When one of the files cannot be read.
pub fn pack(kernel: &Kernel, programs: &Programs, manifest: &str) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    // The kernel opens it for init before anything is mounted.
    archive.device("dev/console", 5, 1)?;
    archive.copy("init", &programs.init)?;
    archive.copy("bin/tracer", &programs.tracer)?;
    for (name, path) in &programs.helpers {
        archive.copy(&format!("bin/{name}"), path)?;
    }
    archive.copy("tests/kernel", &programs.tests)?;
    // Numbered, so that their order of insertion is the order of their names.
    for (index, path) in kernel.modules.iter().enumerate() {
        let name = path.file_name().context("a module has no name")?.to_string_lossy();
        archive.copy(&format!("modules/{index:02}-{name}"), path)?;
    }
    archive.file("etc/tests", manifest.as_bytes(), READABLE)?;
    archive.finish()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, name: &str) -> Result<()> {
        let entry = self.entry(name, ModeFileType::Directory, EXECUTABLE).nlink(2);
        self.add(name, entry, &[])
    }

    fn device(&mut self, name: &str, major: u32, minor: u32) -> Result<()> {
        let entry = self.entry(name, ModeFileType::Char, 0o600).rdev_major(major).rdev_minor(minor);
        self.add(name, entry, &[])
    }

    fn copy(&mut self, name: &str, path: &Path) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        self.file(name, &content, EXECUTABLE)
    }

    fn file(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let entry = self.entry(name, ModeFileType::Regular, mode);
        self.add(name, entry, content)
    }

    /// A fresh inode number each: entries that share one would be links to each other.
    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32) -> newc::Builder {
        self.entries += 1;
        newc::Builder::new(name).ino(self.entries).mode(mode).set_mode_file_type(kind)
    }

    fn add(&mut self, name: &str, entry: newc::Builder, content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too big for cpio"))?;
        let mut writer = entry.write(&mut self.bytes, size);
        let written = writer.write_all(content).and_then(|()| writer.finish().map(drop));
        written.with_context(|| format!("could not pack {name}"))
    }

    fn finish(self) -> Result<Vec<u8>> {
        newc::trailer(self.bytes).context("could not end the archive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(name, mode, ino, size)` of every entry.
    fn list(bytes: &[u8]) -> Vec<(String, u32, u32, u32)> {
        let mut rest = bytes;
        let mut found = Vec::new();
        loop {
            let reader = newc::Reader::new(rest).unwrap();
            let entry = reader.entry();
            if entry.is_trailer() {
                return found;
            }
            found.push((entry.name().to_owned(), entry.mode(), entry.ino(), entry.file_size()));
            rest = reader.finish().unwrap();
        }
    }

    fn packed() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let kernel =
            Kernel { package: "k".into(), image: file("image"), modules: vec![file("z.ko"), file("a.ko")] };
        let programs = Programs {
            arch: crate::arch::Arch::X86_64,
            tracer: file("tracer"),
            init: file("init"),
            helpers: vec![("actor".into(), file("actor"))],
            tests: file("kernel"),
        };
        pack(&kernel, &programs, "A=1\nrun\n").unwrap()
    }

    #[test]
    fn the_kernel_finds_an_executable_init_and_a_console_device() {
        let entries = list(&packed());
        let mode_of = |name: &str| entries.iter().find(|entry| entry.0 == name).unwrap().1;
        assert_eq!(mode_of("init"), 0o100_755);
        assert_eq!(mode_of("dev/console"), 0o020_600);
        assert_eq!(mode_of("etc/tests"), 0o100_644);
        assert_eq!(mode_of("proc"), 0o040_755);
    }

    #[test]
    fn a_directory_comes_before_what_is_in_it() {
        let names: Vec<_> = list(&packed()).into_iter().map(|entry| entry.0).collect();
        for (index, name) in names.iter().enumerate() {
            if let Some((directory, _)) = name.rsplit_once('/') {
                assert!(names[..index].iter().any(|earlier| earlier == directory), "{name} in {names:?}");
            }
        }
    }

    #[test]
    fn modules_keep_their_order_of_insertion_in_their_names() {
        let names: Vec<_> = list(&packed()).into_iter().map(|entry| entry.0).collect();
        assert!(names.contains(&"modules/00-z.ko".to_owned()), "{names:?}");
        assert!(names.contains(&"modules/01-a.ko".to_owned()), "{names:?}");
    }

    #[test]
    fn no_two_entries_are_links_to_each_other() {
        let mut numbers: Vec<_> = list(&packed()).into_iter().map(|entry| entry.2).collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes() {
        assert_eq!(packed(), packed());
    }
}
