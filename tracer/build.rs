//! Makes what the binary embeds: the eBPF object (`$OUT_DIR/tracer-programs.o`) and the geo database
//! (`$OUT_DIR/geo.mmdb`).

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context;

#[path = "build/ebpf.rs"]
mod ebpf;
#[path = "build/geo.rs"]
mod geo;
// Unused parts serve `cargo xtask ebpf`.
#[allow(dead_code, reason = "shared with xtask")]
#[path = "build/prebuilt.rs"]
mod prebuilt;
#[path = "build/toolchain.rs"]
mod toolchain;

/// What the object is made from, relative to the workspace.
const WATCHED: [&str; 5] = ["tracer-ebpf", "Cargo.toml", "Cargo.lock", "tracer/build", "tracer/build.rs"];

fn main() -> anyhow::Result<()> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest_dir.parent().context("CARGO_MANIFEST_DIR has no parent")?;
    for path in WATCHED {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    let kernel_log = env::var_os("CARGO_FEATURE_KERNEL_LOG").is_some();
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let out_dir = variable("OUT_DIR")?;
    programs(Path::new(&out_dir), workspace, &arch, kernel_log)?;
    geo::unpack(Path::new(&out_dir))
}

/// Puts the programs of `arch` into `out_dir`: the prebuilt object if it matches the sources, otherwise a newly compiled one.
fn programs(out_dir: &Path, workspace: &Path, arch: &str, kernel_log: bool) -> anyhow::Result<()> {
    let reason = if kernel_log {
        "prebuilt programs have no debug prints".to_owned()
    } else {
        match prebuilt::check(workspace, arch) {
            Ok(()) => {
                let (from, to) = (prebuilt::object(workspace, arch), out_dir.join(ebpf::OBJECT));
                fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
                return Ok(());
            }
            Err(reason) => reason,
        }
    };
    // Print a line: the first build takes a minute.
    println!("cargo:warning=compiling the eBPF programs: {reason}");
    ebpf::build(out_dir, workspace, arch, kernel_log)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("cannot use the prebuilt eBPF programs: {reason}"))?;
    Ok(())
}

fn variable(name: &str) -> anyhow::Result<String> {
    env::var(name).with_context(|| format!("cargo did not set {name}"))
}
