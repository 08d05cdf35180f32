//! Checks that a finished binary is what a device can run: the right machine, static, segments aligned for big pages.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use object::{
    Endianness, elf,
    read::elf::{ElfFile64, ProgramHeader as _},
};

use crate::arch::Arch;

/// Devices with 16 KiB pages (Android 15 and later) refuse a segment aligned to less.
const PAGE: u64 = 16 * 1024;

/// Checks the file at `path`.
///
/// # Errors
/// Says what is wrong with it and why that matters.
pub fn check(path: &Path, arch: Arch) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    check_bytes(&bytes, arch).with_context(|| format!("{} cannot be shipped", path.display()))
}

fn check_bytes(bytes: &[u8], arch: Arch) -> Result<()> {
    let file = ElfFile64::<Endianness>::parse(bytes).context("it is not a 64-bit ELF file")?;
    let endian = file.endian();
    let machine = file.elf_header().e_machine.get(endian);
    let expected = match arch {
        Arch::X86_64 => elf::EM_X86_64,
        Arch::Aarch64 => elf::EM_AARCH64,
    };
    if machine != expected {
        bail!("it is for ELF machine {machine}, not for {arch} ({expected})");
    }
    for segment in file.elf_program_headers() {
        match segment.p_type(endian) {
            elf::PT_INTERP => {
                bail!("it is not static: it asks for a dynamic loader, and Android has none for it")
            }
            elf::PT_LOAD if arch == Arch::Aarch64 && segment.p_align(endian) < PAGE => bail!(
                "a LOAD segment is aligned to {} bytes; devices with 16 KiB pages need at least {PAGE}",
                segment.p_align(endian)
            ),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal ELF file: header and program headers only, each `(type, align)`.
    fn elf_file(machine: u16, segments: &[(u32, u64)]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        file.resize(16, 0);
        file.extend(2_u16.to_le_bytes()); // ET_EXEC
        file.extend(machine.to_le_bytes());
        file.extend(1_u32.to_le_bytes());
        file.extend(0_u64.to_le_bytes()); // entry
        file.extend(64_u64.to_le_bytes()); // program headers follow the file header
        file.extend(0_u64.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        let count = u16::try_from(segments.len()).unwrap();
        for half in [64, 56, count, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        for (kind, align) in segments {
            file.extend(kind.to_le_bytes());
            file.extend([0; 44]);
            file.extend(align.to_le_bytes());
        }
        file
    }

    fn refusal(bytes: &[u8], arch: Arch) -> String {
        format!("{:#}", check_bytes(bytes, arch).unwrap_err())
    }

    #[test]
    fn a_static_binary_with_wide_segments_passes() {
        let file = elf_file(elf::EM_AARCH64, &[(elf::PT_LOAD, 0x10000), (elf::PT_LOAD, 0x4000)]);
        check_bytes(&file, Arch::Aarch64).unwrap();
    }

    #[test]
    fn an_interpreter_means_not_static() {
        let file = elf_file(elf::EM_X86_64, &[(elf::PT_LOAD, 0x1000), (elf::PT_INTERP, 1)]);
        assert!(refusal(&file, Arch::X86_64).contains("not static"));
    }

    #[test]
    fn segments_for_4_kib_pages_are_refused_on_aarch64_only() {
        let narrow = [(elf::PT_LOAD, 0x1000)];
        assert!(refusal(&elf_file(elf::EM_AARCH64, &narrow), Arch::Aarch64).contains("16 KiB"));
        check_bytes(&elf_file(elf::EM_X86_64, &narrow), Arch::X86_64).unwrap();
    }

    #[test]
    fn a_binary_of_the_other_machine_is_refused() {
        let file = elf_file(elf::EM_X86_64, &[(elf::PT_LOAD, 0x10000)]);
        assert!(refusal(&file, Arch::Aarch64).contains("not for aarch64"));
    }

    #[test]
    fn a_script_is_refused() {
        assert!(refusal(b"#!/bin/sh\n", Arch::X86_64).contains("not a 64-bit ELF file"));
    }

    #[test]
    fn dynamic_binary_is_refused() {
        let text = format!("{:#}", check(Path::new("/bin/sh"), Arch::native()).unwrap_err());
        assert!(text.contains("not static"), "{text}");
    }
}
