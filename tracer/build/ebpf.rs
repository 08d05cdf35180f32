//! Compiles the eBPF programs of `tracer-ebpf` and hands back the object file.
//!
//! In: the workspace, an output directory, the architecture of the kernel. Out: the path of a BPF ELF object with BTF.
//! A second cargo does the work, in its own target directory (sharing the outer one would dead-lock on cargo's lock),
//! with an environment cleared of everything that the outer cargo meant for the host. Must never write outside the
//! outer cargo's target directory.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::toolchain::{self, Compiler};

const PACKAGE: &str = "tracer-ebpf";
const BINARY: &str = "tracer-programs";
/// Name of the object in the output directory.
pub const OBJECT: &str = "tracer-programs.o";
/// Separator of `CARGO_ENCODED_RUSTFLAGS` (cargo reference, "Environment variables"): flags may contain spaces.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Variables of the outer cargo that would change the inner build. Variables that start with one of
/// [`LEAKING_PREFIXES`] go as well.
const LEAKING: [&str; 15] = [
    "CARGO",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "CLIPPY_CONF_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "TARGET",
];
const LEAKING_PREFIXES: [&str; 5] =
    ["CARGO_BUILD_", "CARGO_CFG_", "CARGO_FEATURE_", "CARGO_PROFILE_", "CARGO_TARGET_"];

/// What to do about anything missing.
const REMEDY: &str = "run `cargo xtask setup --for ebpf`";

/// A complete way to build the programs.
struct Toolchain {
    compiler: Compiler,
    linker: PathBuf,
}

/// The way to build the programs here, or everything that stands in the way.
fn find() -> Result<Toolchain, String> {
    match (toolchain::find_compiler(), toolchain::find_linker()) {
        (Some(compiler), Some(linker)) => Ok(Toolchain { compiler, linker }),
        (compiler, linker) => {
            let mut gaps = Vec::new();
            if compiler.is_none() {
                gaps.push(format!(
                    "there is no compiler for {} (neither a nightly with rust-src in rustup nor {} with a core for it)",
                    toolchain::TARGET,
                    toolchain::SYSTEM_RUSTC
                ));
            }
            if linker.is_none() {
                let bin = toolchain::cargo_home().join("bin");
                gaps.push(format!(
                    "there is no {} that starts, in {} or on PATH",
                    toolchain::LINKER,
                    bin.display()
                ));
            }
            Err(format!("the eBPF programs cannot be built here: {}; {REMEDY}", gaps.join("; ")))
        }
    }
}

/// Builds the programs for kernels of `target_arch` (`x86_64`, `aarch64`; decides where kprobe arguments lie) and
/// copies the object to `out_dir/tracer-programs.o`. With `kernel_log` the programs contain their debug prints.
///
/// # Errors
/// What is missing on this machine, or what the compiler said.
pub fn build(
    out_dir: &Path,
    workspace: &Path,
    target_arch: &str,
    kernel_log: bool,
) -> Result<PathBuf, String> {
    let toolchain = find()?;
    let target_dir = target_dir(out_dir, target_arch, kernel_log);
    let mut command = cargo(&toolchain, &target_dir, workspace, target_arch);
    command
        .args(["build", "--release", "--package", PACKAGE, "--bin", BINARY])
        .args(["--features", if kernel_log { "kernel-log" } else { "programs" }])
        .args(["--target", toolchain::TARGET, "--target-dir"])
        .arg(&target_dir)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"));
    if matches!(toolchain.compiler, Compiler::Nightly { .. }) {
        command.args(["-Z", "build-std=core"]);
    }
    let output =
        command.output().map_err(|e| format!("could not start {}: {e}", command.get_program().display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!(
            "compiling the eBPF programs with {} and {} failed ({}):\n{}",
            toolchain.compiler,
            toolchain.linker.display(),
            output.status,
            said.trim_end()
        ));
    }
    forward_warnings(&said);
    let built = target_dir.join(toolchain::TARGET).join("release").join(BINARY);
    let object = out_dir.join(OBJECT);
    fs::copy(&built, &object)
        .map_err(|e| format!("could not copy {} to {}: {e}", built.display(), object.display()))?;
    Ok(object)
}

/// The inner cargo's target directory: `ebpf/ARCH` in the outer one, so that debug and release builds share the work,
/// or inside `out_dir` if the outer one cannot be told (cargo marks it with a `CACHEDIR.TAG`).
///
/// One per variant: two cargos at the same time must not replace each other's object before it is copied.
fn target_dir(out_dir: &Path, target_arch: &str, kernel_log: bool) -> PathBuf {
    let outer = out_dir.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
    let variant = if kernel_log { format!("{target_arch}-kernel-log") } else { target_arch.to_owned() };
    outer.unwrap_or(out_dir).join("ebpf").join(variant)
}

/// The inner cargo with its environment.
fn cargo(toolchain: &Toolchain, target_dir: &Path, workspace: &Path, target_arch: &str) -> Command {
    let outer = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let program = match &toolchain.compiler {
        Compiler::Nightly { sysroot, .. } => sysroot.join("bin/cargo").into_os_string(),
        Compiler::System { .. } => outer,
    };
    let mut command = Command::new(program);
    command.current_dir(workspace);
    for (name, _) in env::vars_os() {
        let leaks = name.to_str().is_some_and(|name| {
            LEAKING.contains(&name) || LEAKING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        });
        if leaks {
            command.env_remove(name);
        }
    }
    match &toolchain.compiler {
        Compiler::Nightly { sysroot, .. } => {
            command.env("RUSTC", sysroot.join("bin/rustc"));
            // A bpf-linker that has no LLVM of its own loads the compiler's.
            command.env("LD_LIBRARY_PATH", sysroot.join("lib"));
        }
        Compiler::System { rustc } => {
            command.env("RUSTC", rustc);
            command.env("RUSTC_BOOTSTRAP", "1");
        }
    }
    command
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        // BTF is made from debug information, so it must reach the linker, whatever the host's profile strips.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        // Nothing of the workspace's own profile: it may change without a change of the object.
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false")
        .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false")
        // Proc macros and build scripts need none.
        .env("CARGO_PROFILE_RELEASE_BUILD_OVERRIDE_DEBUG", "0")
        // bpf-linker itself optimises across crates; a second pass by rustc only costs time.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&toolchain.compiler, workspace, target_dir, target_arch));
    command
}

/// Flags for the programs only: with `--target`, cargo keeps them from proc macros and build scripts.
fn rustflags(compiler: &Compiler, workspace: &Path, target_dir: &Path, target_arch: &str) -> String {
    let arch = format!("--cfg=bpf_target_arch=\"{target_arch}\"");
    // Source paths end up in BTF's line information: the same source gives the same object in any directory.
    let remap = |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    let mut flags = vec![
        "-Clink-arg=--btf".to_owned(),
        arch,
        remap(workspace, "tracer"),
        remap(target_dir, "target"),
        remap(&toolchain::cargo_home().join("registry/src"), "registry"),
    ];
    if let Compiler::Nightly { sysroot, .. } = compiler {
        // `core` is compiled from there.
        flags.push(remap(&sysroot.join("lib/rustlib/src/rust"), "rust"));
    }
    flags.join(FLAG_SEPARATOR)
}

/// Passes the inner compiler's warnings on; the lines about progress stay here.
fn forward_warnings(said: &str) {
    if said.contains("warning") {
        for line in said.lines().filter(|line| !is_progress(line)) {
            println!("cargo:warning={line}");
        }
    }
}

/// Cargo's status lines have a verb right-aligned to 12 columns.
fn is_progress(line: &str) -> bool {
    let verb = line.get(..12).unwrap_or(line);
    verb.starts_with(' ') && verb.trim_start().chars().all(char::is_alphabetic) && !verb.trim().is_empty()
}
