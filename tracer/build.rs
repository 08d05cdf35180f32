//! Builds what the binary embeds: the eBPF object (`$OUT_DIR/tracer-programs.o`).

#[path = "build/ebpf.rs"]
mod ebpf;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().ok_or("CARGO_MANIFEST_DIR has no parent")?;
    let watched = [
        "tracer-ebpf/src",
        "tracer-ebpf/Cargo.toml",
        "Cargo.toml",
        "Cargo.lock",
        "tracer/build",
        "tracer/build.rs",
    ];
    for path in watched {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    let kernel_log = env::var_os("CARGO_FEATURE_KERNEL_LOG").is_some();
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    ebpf::build(Path::new(&variable("OUT_DIR")?), workspace, &arch, kernel_log)?;
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|e| format!("cargo did not set {name}: {e}"))
}
