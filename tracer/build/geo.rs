//! Unpacks the geo database at build time, so that the program maps it instead of unpacking it on a phone.
//!
//! Flows in: `data/geo.mmdb.xz`. Flows out: `geo.mmdb` in Cargo's output directory, which
//! `tracer/src/enrich/geo/database.rs` includes. It never downloads anything.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use lzma_rust2::XzReader;

/// From the package's directory, where Cargo runs build scripts.
const PACKED: &str = "../data/geo.mmdb.xz";

/// Unpacks the database into `out_dir`.
///
/// # Errors
/// The packed file is missing or damaged (its own CRC-64 says so), or `out_dir` cannot be written.
pub fn unpack(out_dir: &Path) -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed={PACKED}");
    let packed = File::open(PACKED).with_context(|| {
        format!("open {PACKED}: it is part of the repository, `cargo xtask geodata` makes it anew")
    })?;
    let path = out_dir.join("geo.mmdb");
    let mut file = BufWriter::new(File::create(&path).with_context(|| format!("create {}", path.display()))?);
    let mut reader = XzReader::new(BufReader::new(packed), false);
    std::io::copy(&mut reader, &mut file)
        .with_context(|| format!("unpack {PACKED} to {}", path.display()))?;
    file.flush().with_context(|| format!("write {}", path.display()))
}
