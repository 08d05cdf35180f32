//! `dist`: per architecture an archive, a .deb and an .rpm with the binary, its licenses and its documentation, and the
//! checksums of all.
//!
//! The same source gives the same archives: entries are sorted, belong to root and carry the time of
//! `SOURCE_DATE_EPOCH` (reproducible-builds.org), 0 without it.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use flate2::{Compression, GzBuilder};

use crate::{
    arch::Arch,
    build::{self, Profile},
    packages, prebuilt,
    setup::{self, Group},
    shell, workspace,
};

/// What stands beside the binary, from the top of the repository.
const DOCUMENTS: [&str; 5] = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE", "README.md"];
const CHECKSUMS: &str = "SHA256SUMS";

#[derive(Args)]
pub struct DistArgs {
    /// Architectures, comma-separated
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Arch::ALL)]
    target: Vec<Arch>,
}

pub fn run(args: &DistArgs) -> Result<ExitCode> {
    setup::ensure(Group::Dist)?;
    for file in pack(&args.target)? {
        println!("{}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds and packs everything for these architectures; returns the files, their checksums last.
///
/// # Errors
/// When something does not build, or cannot be packed.
pub fn pack(targets: &[Arch]) -> Result<Vec<PathBuf>> {
    let epoch = source_date_epoch(env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    let binaries = targets.iter().map(|&arch| Ok((arch, build::tracer(arch, Profile::Dist)?)));
    let binaries = binaries.collect::<Result<Vec<_>>>()?;
    let native = binaries.iter().find(|(arch, _)| arch.is_native());
    let common = packages::common_files(native.map(|(_, binary)| binary.as_path()))?;
    let mut files = Vec::new();
    for (arch, binary) in binaries {
        shell::say(format!("sha256 {}  {}", sha256_of(&binary)?, binary.display()));
        files.push(pack_archive(arch, &binary, epoch)?);
        files.extend(packages::pack(arch, &binary, &common, epoch)?);
    }
    let mut sums = String::new();
    for file in &files {
        let name = file.file_name().context("a packed file has no name")?.to_string_lossy();
        writeln!(sums, "{}  {name}", sha256_of(file)?)?;
    }
    let path = workspace::dist().join(CHECKSUMS);
    fs::write(&path, &sums).with_context(|| format!("could not write {}", path.display()))?;
    files.push(path);
    Ok(files)
}

/// Seconds since 1970 for every entry.
fn source_date_epoch(value: Option<&str>) -> Result<u64> {
    value.map_or(Ok(0), |value| {
        value.parse().with_context(|| format!("SOURCE_DATE_EPOCH is {value:?}, not a number of seconds"))
    })
}

fn pack_archive(arch: Arch, binary: &Path, epoch: u64) -> Result<PathBuf> {
    let stem = format!("tracer-{}-linux-{arch}", workspace::version());
    let mut files = vec![("tracer".to_owned(), binary.to_path_buf(), 0o755)];
    files.extend(DOCUMENTS.map(|name| (name.to_owned(), workspace::root().join(name), 0o644)));
    files.sort();
    let mut entries = Vec::new();
    for (name, path, mode) in files {
        let content = fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
        entries.push((format!("{stem}/{name}"), content, mode));
    }
    let archive = workspace::dist().join(format!("{stem}.tar.gz"));
    let bytes = tar_gz(&entries, epoch)?;
    fs::write(&archive, bytes).with_context(|| format!("could not write {}", archive.display()))?;
    Ok(archive)
}

/// A compressed archive of `(name, content, mode)`.
fn tar_gz(entries: &[(String, Vec<u8>, u32)], epoch: u64) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content, mode) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(content.len())?);
        header.set_mode(*mode);
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        tar.append_data(&mut header, name, &content[..]).with_context(|| format!("could not pack {name}"))?;
    }
    let tar = tar.into_inner().context("could not end the archive")?;
    // No name and no time in gzip's own header.
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(&tar).and_then(|()| gzip.finish()).context("could not compress the archive")
}

/// The SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When it cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    Ok(prebuilt::sha256(&bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes_and_what_was_packed_comes_out() {
        let entries =
            [("t/LICENSE".to_owned(), b"text".to_vec(), 0o644), ("t/tracer".to_owned(), vec![7; 9], 0o755)];
        let packed = tar_gz(&entries, 5).unwrap();
        assert_eq!(packed, tar_gz(&entries, 5).unwrap());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
        for (entry, (name, content, mode)) in archive.entries().unwrap().zip(&entries) {
            let mut entry = entry.unwrap();
            assert_eq!(entry.path().unwrap().to_str(), Some(name.as_str()));
            assert_eq!((entry.header().mode().unwrap(), entry.header().mtime().unwrap()), (*mode, 5));
            let mut read = Vec::new();
            entry.read_to_end(&mut read).unwrap();
            assert_eq!(&read, content);
        }
    }

    #[test]
    fn the_time_comes_from_the_environment_or_is_zero() {
        assert_eq!(source_date_epoch(None).unwrap(), 0);
        assert_eq!(source_date_epoch(Some("1700000000")).unwrap(), 1_700_000_000);
        assert!(source_date_epoch(Some("yesterday")).unwrap_err().to_string().contains("yesterday"));
    }

    #[test]
    fn the_checksum_is_sha_256() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(file.path()).unwrap(), expected);
    }
}
