//! Makes what the binary embeds: the eBPF object (`$OUT_DIR/tracer-programs.o`) and the geo database
//! (`$OUT_DIR/geo.mmdb`).

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;

#[path = "build/ebpf.rs"]
mod ebpf;
#[path = "build/geo.rs"]
mod geo;
#[path = "build/toolchain.rs"]
mod toolchain;

/// What the object is made from, relative to the workspace.
const WATCHED: [&str; 6] = [
    "tracer-ebpf/src",
    "tracer-ebpf/Cargo.toml",
    "Cargo.toml",
    "Cargo.lock",
    "tracer/build",
    "tracer/build.rs",
];

fn main() -> anyhow::Result<()> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().context("CARGO_MANIFEST_DIR has no parent")?;
    for path in WATCHED {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    let kernel_log = env::var_os("CARGO_FEATURE_KERNEL_LOG").is_some();
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let out_dir = variable("OUT_DIR")?;
    ebpf::build(Path::new(&out_dir), workspace, &arch, kernel_log).map_err(anyhow::Error::msg)?;
    geo::unpack(Path::new(&out_dir))
}

fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("cargo did not set {name}"))
}
