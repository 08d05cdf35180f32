//! Gets the source packages from the npm registry and takes files out of them.
//!
//! Flows in: name, version and integrity of a package. Flows out: bytes that were checked against the integrity. A
//! package with another checksum is never opened.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha512};

/// One published version of an npm package.
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    /// Subresource integrity as the registry states it: `sha512-` and base64.
    pub integrity: &'static str,
}

/// No file in a source package comes near: larger ones are not what we expect.
const FILE_LIMIT: u64 = 256 << 20;

impl Package {
    /// Name that `npm pack` gives the file.
    fn file_name(&self) -> String {
        let name = self.name.trim_start_matches('@').replace('/', "-");
        format!("{name}-{}.tgz", self.version)
    }

    /// The package's bytes, from `from` when given, else from `cache`, else from the registry by way of `cache`.
    pub fn bytes(&self, from: Option<&Path>, cache: &Path) -> Result<Vec<u8>> {
        let path = from.unwrap_or(cache).join(self.file_name());
        if from.is_none() && !self.is_there(&path) {
            self.download(cache)?;
        }
        let bytes = fs::read(&path).with_context(|| {
            format!(
                "read {}: put the output of `npm pack {}@{}` there",
                path.display(),
                self.name,
                self.version
            )
        })?;
        self.check(&bytes).with_context(|| format!("check {}", path.display()))?;
        Ok(bytes)
    }

    fn is_there(&self, path: &PathBuf) -> bool {
        fs::read(path).is_ok_and(|bytes| self.check(&bytes).is_ok())
    }

    fn download(&self, cache: &Path) -> Result<()> {
        fs::create_dir_all(cache).with_context(|| format!("make {}", cache.display()))?;
        let what = format!("{}@{}", self.name, self.version);
        println!("fetching {what} from the npm registry");
        let status = Command::new("npm")
            .args(["pack", &what, "--silent", "--pack-destination"])
            .arg(cache)
            // It prints the name of the file.
            .stdout(Stdio::null())
            .status()
            .context("run npm: install it (Debian: apt-get install npm) or use --from DIR")?;
        if !status.success() {
            bail!("`npm pack {what}` failed with {status}");
        }
        Ok(())
    }

    fn check(&self, bytes: &[u8]) -> Result<()> {
        let found = format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(bytes)));
        if found != self.integrity {
            bail!("its integrity is {found}, expected {}: fetch it again", self.integrity);
        }
        Ok(())
    }

    /// One file of the package.
    pub fn file(&self, package: &[u8], path: &str) -> Result<Vec<u8>> {
        self.find(package, path).with_context(|| format!("{path} in {}@{}", self.name, self.version))
    }

    fn find(&self, package: &[u8], path: &str) -> Result<Vec<u8>> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package));
        for entry in archive.entries()? {
            let entry = entry?;
            if entry.path()? == Path::new("package").join(path) {
                let mut bytes = Vec::new();
                entry.take(FILE_LIMIT).read_to_end(&mut bytes)?;
                return Ok(bytes);
            }
        }
        bail!("no such file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Package = Package { name: "@scope/name", version: "1.2.3", integrity: "sha512-AAAA" };

    #[test]
    fn a_package_with_another_checksum_is_refused_and_both_are_named() {
        let error = PACKAGE.check(b"abc").unwrap_err().to_string();
        // SHA-512 of "abc", FIPS 180-4 example.
        assert!(error.contains(
            "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="
        ));
        assert!(error.contains("sha512-AAAA"));
    }

    #[test]
    fn a_missing_package_says_which_command_gets_it() {
        let error = PACKAGE.bytes(Some(Path::new("/nonexistent")), Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/scope-name-1.2.3.tgz"), "{error}");
        assert!(error.to_string().contains("npm pack @scope/name@1.2.3"), "{error}");
    }
}
