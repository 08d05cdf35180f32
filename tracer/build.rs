//! Makes what the program includes: the geo database.

use std::path::PathBuf;

use anyhow::Context;

#[path = "build/geo.rs"]
mod geo;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").context("OUT_DIR is not set: Cargo sets it")?);
    geo::unpack(&out_dir)
}
