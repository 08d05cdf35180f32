//! `ebpf`: the eBPF objects that every build of tracer embeds, made from their sources.
//!
//! Sources in `tracer-ebpf` → object of [`ebpf_build`] → without DWARF, which the kernel does not read →
//! `tracer-ebpf/prebuilt`. With these in the repository a stable Rust compiler builds tracer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Error, Result};
use clap::Args;
use object::{
    build::elf::{Builder, SectionData},
    elf,
};

use crate::{
    ebpf_build,
    prebuilt::{self, Sums, Tools},
    setup::{self, Group},
    shell,
    toolchain::{self, Compiler},
    workspace,
};

#[derive(Args)]
pub struct EbpfArgs {
    /// Compare only; exit code 1 if an object does not match its sources. With another compiler or linker than the recorded
    /// ones, only hashes are compared
    #[arg(long)]
    check: bool,
}

pub fn run(args: &EbpfArgs) -> Result<ExitCode> {
    let root = workspace::root();
    if args.check {
        return Ok(match check(&root)? {
            Check::Same | Check::HashesOnly => ExitCode::SUCCESS,
            Check::Different => ExitCode::FAILURE,
        });
    }
    setup::ensure(Group::Ebpf)?;
    let directory = root.join(prebuilt::DIRECTORY);
    workspace::create_dir(&directory)?;
    for arch in prebuilt::ARCHITECTURES {
        let place = prebuilt::object(&root, arch);
        let object = make(&root, arch)?;
        fs::write(&place, &object).with_context(|| format!("cannot write {}", place.display()))?;
        println!("{}", place.display());
    }
    let tools = tools()?;
    let sums = Sums::of(&root, tools).map_err(Error::msg)?;
    let place = root.join(prebuilt::SUMS);
    fs::write(&place, sums.text()).with_context(|| format!("cannot write {}", place.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Result of a comparison of objects and sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Byte for byte.
    Same,
    /// Hashes match; bytes were not compared, because the tools here are not the recorded ones.
    HashesOnly,
    Different,
}

/// Compares hashes first, which takes no toolchain; then the objects with newly compiled ones, byte for byte.
///
/// # Errors
/// When the toolchain cannot be installed, or the programs do not compile.
pub fn check(root: &Path) -> Result<Check> {
    const REMEDY: &str = "run `cargo xtask ebpf` and commit tracer-ebpf/prebuilt";
    for arch in prebuilt::ARCHITECTURES {
        if let Err(why) = prebuilt::check(root, arch) {
            shell::say(format!("{arch}: {why}; {REMEDY}"));
            return Ok(Check::Different);
        }
    }
    setup::ensure(Group::Ebpf)?;
    let recorded = Sums::read(root).map_err(Error::msg)?.tools;
    let tools = tools()?;
    if tools != recorded {
        shell::say(format!("hashes match; bytes not compared: built with {recorded}, found {tools}"));
        return Ok(Check::HashesOnly);
    }
    for arch in prebuilt::ARCHITECTURES {
        let place = prebuilt::object(root, arch);
        let committed = fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        if make(root, arch)? != committed {
            shell::say(format!("{arch}: {} does not match its sources; {REMEDY}", place.display()));
            return Ok(Check::Different);
        }
        shell::say(format!("{arch}: {} matches its sources", place.display()));
    }
    Ok(Check::Same)
}

/// The compiler and the linker that make objects here.
fn tools() -> Result<Tools> {
    let compiler = toolchain::find_compiler().context("there is no compiler for eBPF programs here")?;
    let linker = toolchain::find_linker().context("there is no bpf-linker here")?;
    let rustc = match compiler {
        Compiler::Nightly { sysroot, .. } => sysroot.join("bin/rustc"),
        Compiler::System { rustc } => rustc,
    };
    let version = shell::capture(Command::new(rustc).arg("-vV"))?;
    let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: ")).unwrap_or("unknown");
    let compiler = format!("{}, LLVM {llvm}", version.lines().next().unwrap_or_default());
    let linker = shell::capture(Command::new(linker).arg("--version"))?.trim().to_owned();
    Ok(Tools { compiler, linker })
}

/// Builds the object of `arch` and returns it without DWARF.
fn make(root: &Path, arch: &str) -> Result<Vec<u8>> {
    let directory: PathBuf = workspace::target().join("ebpf").join("out").join(arch);
    workspace::create_dir(&directory)?;
    let built = ebpf_build::build(&directory, root, arch, false).map_err(Error::msg)?;
    let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    strip(&bytes).with_context(|| format!("cannot remove the debug information of {}", built.display()))
}

/// The same ELF file without DWARF. BTF, which the kernel and the loader read, has sections of its own and stays.
fn strip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut file = Builder::read(bytes)?;
    for section in file.sections.iter_mut() {
        let name = section.name.as_slice();
        section.delete |= name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    file.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table; the writer has one for each.
    if !file.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = file.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    file.write(&mut stripped)?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

    use super::*;

    /// Sections with a name, and their content.
    fn sections(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        let file = object::File::parse(bytes).unwrap();
        let content = |section: &object::Section<'_, '_>| {
            (section.name().unwrap().to_owned(), section.data().unwrap().to_vec())
        };
        file.sections().map(|section| content(&section)).collect()
    }

    #[test]
    fn prebuilt_objects_have_btf_and_no_dwarf() {
        for arch in prebuilt::ARCHITECTURES {
            let bytes = fs::read(prebuilt::object(&workspace::root(), arch)).unwrap();
            let sections = sections(&bytes);
            let has = |name: &str| sections.iter().any(|section| section.0 == name);
            assert!(has(".BTF") && has(".BTF.ext") && has("license") && has("maps"), "{arch}");
            assert!(!sections.iter().any(|section| section.0.contains("debug_")), "{arch}");
        }
    }

    #[test]
    fn stripping_keeps_programs_maps_symbols_and_relocations() {
        let bytes = fs::read(prebuilt::object(&workspace::root(), "x86_64")).unwrap();
        let mut file = Builder::read(&bytes[..]).unwrap();
        for name in [".debug_info", ".debug_str"] {
            let section = file.sections.add();
            section.name = name.into();
            section.sh_type = elf::SHT_PROGBITS;
            section.sh_addralign = 1;
            section.data = SectionData::Data(vec![7; 4000].into());
        }
        let mut with_dwarf = Vec::new();
        file.write(&mut with_dwarf).unwrap();
        assert!(with_dwarf.len() > bytes.len() + 8000);
        let stripped = strip(&with_dwarf).unwrap();
        assert_eq!(sections(&stripped), sections(&bytes));
        let symbols = |bytes: &[u8]| -> Vec<(String, u64, u64)> {
            let file = object::File::parse(bytes).unwrap();
            file.symbols().map(|s| (s.name().unwrap().to_owned(), s.address(), s.size())).collect()
        };
        assert_eq!(symbols(&stripped), symbols(&bytes));
    }
}
