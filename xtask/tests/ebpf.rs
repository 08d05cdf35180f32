//! `ebpf --check` on a copy of what the objects are made from, with one file changed. That equal sources give equal bytes is
//! checked by `cargo xtask test --all`, which has the toolchain.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test may fail loudly; clippy.toml covers only #[test] functions"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

/// From the top of the repository.
const COPIED: [&str; 4] =
    ["Cargo.lock", "tracer-ebpf/Cargo.toml", "tracer/build/ebpf.rs", "tracer-ebpf/prebuilt/SHA256SUMS"];
const DIRECTORIES: [&str; 3] = ["tracer-ebpf/src", "tracer-ebpf/src/abi", "tracer-ebpf/prebuilt"];

fn copy_of_sources() -> TempDir {
    let (copy, root) = (TempDir::new().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let add = |path: &Path| {
        let place = copy.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(root.join(path), place).unwrap();
    };
    for directory in DIRECTORIES {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                add(&Path::new(directory).join(entry.file_name()));
            }
        }
    }
    COPIED.iter().for_each(|path| add(Path::new(path)));
    copy
}

fn check(copy: &TempDir) -> Output {
    // Where cargo would say that this package is.
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["ebpf", "--check"]).env("CARGO_MANIFEST_DIR", copy.path().join("xtask"));
    command.output().unwrap()
}

/// Appends bytes to a file of a copy; the check must fail and name it.
fn check_names(path: &str) {
    let copy = copy_of_sources();
    let mut bytes = fs::read(copy.path().join(path)).unwrap();
    bytes.extend(b"\n// changed\n");
    fs::write(copy.path().join(path), bytes).unwrap();
    let output = check(&copy);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(path) && said.contains("cargo xtask ebpf"), "{said}");
}

#[test]
fn edited_source_fails_the_check() {
    check_names("tracer-ebpf/src/abi/udp.rs");
}

#[test]
fn edited_flags_fail_the_check() {
    check_names("tracer/build/ebpf.rs");
}

#[test]
fn damaged_object_fails_the_check() {
    check_names("tracer-ebpf/prebuilt/aarch64.o");
}
