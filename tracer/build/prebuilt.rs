//! The eBPF objects in `tracer-ebpf/prebuilt`, and the check that they match the sources in this tree.
//!
//! `SHA256SUMS` beside them has the hash of each object and of each source, in the format of `sha256sum`; comments record
//! packages of crates.io, compiler and linker. Included through `#[path]` by `tracer/build.rs`, which uses the objects,
//! and by `xtask`, which makes them. Changes nothing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// Where the objects are, from the top of the repository.
pub const DIRECTORY: &str = "tracer-ebpf/prebuilt";
/// Their hashes, from the top of the repository.
pub const SUMS: &str = "tracer-ebpf/prebuilt/SHA256SUMS";
/// Names of the architectures, as the kernel and Rust use them.
pub const ARCHITECTURES: [&str; 2] = ["x86_64", "aarch64"];

/// Sources and flags, from the top of the repository. Of directories: Rust files and `Cargo.toml`, without [`DIRECTORY`].
const INPUTS: [&str; 2] = ["tracer-ebpf", "tracer/build/ebpf.rs"];
/// Name prefixes of the packages that are compiled into the objects.
const PACKAGES: [&str; 2] = ["aya-ebpf", "tracer-ebpf"];

const HEAD: &str = "# eBPF objects and what they were made from. Written by `cargo xtask ebpf`; `sha256sum -c` at the top of \
                    the\n# repository checks the files, `cargo xtask ebpf --check` everything.\n";

/// What made the objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    /// Version of the Rust compiler and of its LLVM.
    pub compiler: String,
    /// Version of bpf-linker.
    pub linker: String,
}

impl std::fmt::Display for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} and {}", self.compiler, self.linker)
    }
}

/// The content of `SHA256SUMS`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub tools: Tools,
    /// Packages compiled into the objects: `NAME VERSION`, sorted, comma-separated.
    packages: String,
    /// SHA-256 in hexadecimal by path from the top of the repository, with `/` on every host.
    files: BTreeMap<String, String>,
}

/// The file of an architecture's object.
pub fn object(workspace: &Path, arch: &str) -> PathBuf {
    workspace.join(DIRECTORY).join(format!("{arch}.o"))
}

/// Checks the object of `arch`: it is the one that was recorded, and so is everything that it was made from.
///
/// # Errors
/// Names the first difference.
pub fn check(workspace: &Path, arch: &str) -> Result<(), String> {
    let recorded = Sums::read(workspace)?;
    let path = format!("{DIRECTORY}/{arch}.o");
    let mut now = inputs(workspace)?;
    now.insert(path.clone(), hash(workspace, &path)?);
    for (path, hash) in &now {
        match recorded.files.get(path) {
            Some(known) if known == hash => {}
            Some(_) => return Err(format!("{path} differs from {SUMS}")),
            None => return Err(format!("{path} is not in {SUMS}")),
        }
    }
    let is_object = |path: &str| path.starts_with(DIRECTORY);
    if let Some(gone) = recorded.files.keys().find(|path| !is_object(path) && !now.contains_key(*path)) {
        return Err(format!("{gone} is in {SUMS} and does not exist"));
    }
    let packages = packages(workspace)?;
    if packages != recorded.packages {
        return Err(format!("Cargo.lock differs from the packages in {SUMS}: {packages}"));
    }
    Ok(())
}

impl Sums {
    /// Describes the objects that are in the tree now, made by `tools`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(workspace: &Path, tools: Tools) -> Result<Self, String> {
        let mut files = inputs(workspace)?;
        for arch in ARCHITECTURES {
            let path = format!("{DIRECTORY}/{arch}.o");
            files.insert(path.clone(), hash(workspace, &path)?);
        }
        Ok(Self { tools, packages: packages(workspace)?, files })
    }

    /// Reads what is recorded.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(workspace: &Path) -> Result<Self, String> {
        let text =
            fs::read_to_string(workspace.join(SUMS)).map_err(|e| format!("cannot read {SUMS}: {e}"))?;
        let mut sums = Self::default();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                match comment.split_once(": ") {
                    Some(("compiler", value)) => sums.tools.compiler = value.to_owned(),
                    Some(("linker", value)) => sums.tools.linker = value.to_owned(),
                    Some(("packages", value)) => sums.packages = value.to_owned(),
                    _ => {}
                }
            } else if let Some((hash, path)) = line.split_once("  ") {
                sums.files.insert(path.to_owned(), hash.to_owned());
            }
        }
        Ok(sums)
    }

    /// The content of the file.
    pub fn text(&self) -> String {
        let Self { tools, packages, files } = self;
        let mut text = HEAD.to_owned();
        let _ = writeln!(
            text,
            "# compiler: {}\n# linker: {}\n# packages: {packages}",
            tools.compiler, tools.linker
        );
        for (path, hash) in files {
            let _ = writeln!(text, "{hash}  {path}");
        }
        text
    }
}

/// Hashes of everything in [`INPUTS`].
fn inputs(workspace: &Path) -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    let mut waiting: Vec<String> = INPUTS.map(str::to_owned).to_vec();
    while let Some(path) = waiting.pop() {
        let place = workspace.join(&path);
        if !place.is_dir() {
            files.insert(path.clone(), hash(workspace, &path)?);
            continue;
        }
        let entries = fs::read_dir(&place).map_err(|e| format!("cannot list {path}: {e}"))?;
        for entry in entries {
            let entry = entry.map_err(|e| format!("cannot list {path}: {e}"))?;
            let inner = format!("{path}/{}", entry.file_name().to_string_lossy());
            // Editors and desktops leave files of their own.
            let counts = inner.ends_with(".rs") || inner.ends_with("/Cargo.toml") || entry.path().is_dir();
            if counts && inner != DIRECTORY {
                waiting.push(inner);
            }
        }
    }
    Ok(files)
}

fn hash(workspace: &Path, path: &str) -> Result<String, String> {
    let bytes = fs::read(workspace.join(path)).map_err(|e| format!("cannot read {path}: {e}"))?;
    Ok(sha256(&bytes))
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The packages whose code is in the objects, with their versions, from Cargo.lock.
fn packages(workspace: &Path) -> Result<String, String> {
    let lock = fs::read_to_string(workspace.join("Cargo.lock"))
        .map_err(|e| format!("cannot read Cargo.lock: {e}"))?;
    let value = |block: &str, key: &str| {
        let text = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(text.trim_matches('"').to_owned())
    };
    let mut found = Vec::new();
    for block in lock.split("[[package]]") {
        let (Some(name), Some(version)) = (value(block, "name"), value(block, "version")) else { continue };
        if PACKAGES.iter().any(|prefix| name.starts_with(prefix)) {
            found.push(format!("{name} {version}"));
        }
    }
    found.sort();
    Ok(found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"aya-ebpf\"\nversion = \"0.2.1\"\n\n[[package]]\n\
        name = \"tracer-ebpf\"\nversion = \"0.1.0\"\ndependencies = [\n \"aya-ebpf\",\n]\n";

    /// A tree with what the objects are made from, and objects that are recorded.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("Cargo.lock", LOCK);
        write("tracer-ebpf/Cargo.toml", "[package]");
        write("tracer-ebpf/src/main.rs", "fn main() {}");
        write("tracer-ebpf/src/abi/mod.rs", "");
        write("tracer/build/ebpf.rs", "flags");
        for arch in ARCHITECTURES {
            write(&format!("{DIRECTORY}/{arch}.o"), arch);
        }
        let tools = Tools { compiler: "rustc 1".into(), linker: "bpf-linker 2".into() };
        write(SUMS, &Sums::of(tree.path(), tools).unwrap().text());
        tree
    }

    #[test]
    fn recorded_objects_pass_and_are_read_back() {
        let tree = tree();
        for arch in ARCHITECTURES {
            assert_eq!(check(tree.path(), arch), Ok(()));
        }
        let sums = Sums::read(tree.path()).unwrap();
        assert_eq!(sums, Sums::of(tree.path(), sums.tools.clone()).unwrap());
    }

    #[test]
    fn other_files_in_the_tree_do_not_count() {
        let tree = tree();
        for path in ["tracer-ebpf/src/.main.rs.swp", "tracer-ebpf/src/main.rs~", "tracer-ebpf/README.md"] {
            fs::write(tree.path().join(path), "other").unwrap();
        }
        assert_eq!(check(tree.path(), "x86_64"), Ok(()));
    }

    #[test]
    fn any_difference_is_named() {
        for (path, text) in [
            ("tracer-ebpf/src/main.rs", Some("fn main() { }")),
            ("tracer-ebpf/src/abi/mod.rs", None),
            ("tracer-ebpf/src/new.rs", Some("")),
            ("tracer-ebpf/build.rs", Some("fn main() {}")),
            ("tracer-ebpf/Cargo.toml", Some("[package] ")),
            ("tracer/build/ebpf.rs", Some("other flags")),
            ("tracer-ebpf/prebuilt/x86_64.o", Some("other")),
            ("Cargo.lock", Some(&LOCK.replace("0.2.1", "0.3.0"))),
        ] {
            let tree = tree();
            match text {
                Some(text) => fs::write(tree.path().join(path), text).unwrap(),
                None => fs::remove_file(tree.path().join(path)).unwrap(),
            }
            let why = check(tree.path(), "x86_64").unwrap_err();
            assert!(why.contains(path), "{why}");
        }
    }
}
