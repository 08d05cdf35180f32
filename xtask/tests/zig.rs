//! With a real Zig: SQLite for the other architecture, as a musl build of tracer compiles it.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use xtask::{arch::Arch, zig::Zig};

/// The source of SQLite in the package libsqlite3-sys, where cargo unpacked it.
fn sqlite() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?;
    let packages = registries.flatten().filter_map(|registry| fs::read_dir(registry.path()).ok());
    let of_sqlite = |path: &PathBuf| path.display().to_string().contains("libsqlite3-sys-");
    packages
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(of_sqlite)
        .map(|package| package.join("sqlite3/sqlite3.c"))
        .find(|file| file.is_file())
}

/// What an object file says of its machine, ELF header bytes 18 and 19.
fn machine(object: &Path) -> u16 {
    let bytes = fs::read(object).unwrap_or_default();
    bytes.get(18..20).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
}

#[test]
fn zig_compiles_sqlite_for_the_other_architecture() {
    let (Some(zig), Some(source)) = (Zig::find(Arch::foreign()), sqlite()) else {
        // Not println!, which libtest would swallow: the line is counted.
        let _ = writeln!(std::io::stderr(), "skipped: no Zig, or no source of SQLite, here");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (object, archive) = (directory.path().join("a.o"), directory.path().join("a.a"));
    // The name of the target is LLVM's, as the crate `cc` passes it.
    let target = format!("--target={}", Arch::foreign().musl_triple());
    let mut compile = Command::new(zig.script("cc").unwrap());
    compile.args([target.as_str(), "-O1", "-DSQLITE_THREADSAFE=1", "-c"]).arg(&source).arg("-o").arg(&object);
    assert!(compile.status().unwrap().success());
    let expected =
        if Arch::foreign() == Arch::Aarch64 { object::elf::EM_AARCH64 } else { object::elf::EM_X86_64 };
    assert_eq!(machine(&object), expected);
    let mut pack = Command::new(zig.script("ar").unwrap());
    assert!(pack.arg("crs").arg(&archive).arg(&object).status().unwrap().success());
    assert!(archive.metadata().unwrap().len() > 500_000);
}
