//! Debian's archive for guest kernels, through an apt of our own: its lists and state lie under `target/vm/apt`, the
//! machine's own sources and packages are neither used nor changed. Needs no root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{arch::Arch, shell, workspace};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where Debian is if this machine has no mirror of it.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// One Debian release as seen by apt.
pub struct Archive {
    directory: PathBuf,
}

impl Archive {
    /// Reads the package lists of a release.
    ///
    /// # Errors
    /// With what apt said.
    pub fn open(suite: &str) -> Result<Self> {
        let directory = workspace::target().join("vm/apt").join(suite);
        for below in ["lists/partial", "cache/archives/partial", "etc"] {
            workspace::create_dir(&directory.join(below))?;
        }
        let line = format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror());
        let list = directory.join("etc/sources.list");
        fs::write(&list, line).with_context(|| format!("could not write {}", list.display()))?;
        let archive = Self { directory };
        shell::capture(archive.apt("apt-get").args(["--quiet", "update"])).with_context(|| {
            format!("reading the package lists of {suite} (the mirror is in {})", list.display())
        })?;
        Ok(archive)
    }

    /// The package that a meta package stands for: the first of its `Depends` that starts with `prefix`.
    ///
    /// # Errors
    /// When there is no such package.
    pub fn resolve(&self, meta: &str, prefix: &str, arch: Arch) -> Result<Package> {
        let shown = shell::capture(self.apt("apt-cache").args([
            "show",
            "--no-all-versions",
            &format!("{meta}:{}", arch.debian()),
        ]))?;
        let depends = field(&shown, "Depends").with_context(|| format!("{meta} depends on nothing"))?;
        let found = parse_depends(depends).into_iter().find(|package| package.name.starts_with(prefix));
        found.with_context(|| format!("{meta} depends on no {prefix}*: {depends}"))
    }

    /// Fetches a package into `directory` and returns the file.
    ///
    /// # Errors
    /// With what apt said.
    pub fn download(&self, package: &Package, arch: Arch, directory: &Path) -> Result<PathBuf> {
        let mut what = format!("{}:{}", package.name, arch.debian());
        if let Some(version) = &package.version {
            what = format!("{what}={version}");
        }
        shell::capture(self.apt("apt-get").current_dir(directory).args(["--quiet", "download", &what]))?;
        let entries =
            fs::read_dir(directory).with_context(|| format!("could not list {}", directory.display()))?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
        let Some(file) = entries.flatten().map(|entry| entry.path()).find(is_package) else {
            bail!("apt-get download left no package {what} in {}", directory.display());
        };
        Ok(file)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let below = |name: &str| self.directory.join(name).display().to_string();
        for option in [
            format!("Dir::Etc::sourcelist={}", below("etc/sources.list")),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State::lists={}", below("lists")),
            format!("Dir::Cache={}", below("cache")),
            "APT::Architectures=amd64,arm64".into(),
            "Acquire::Languages=none".into(),
            // The lists of a release that is not updated any more are past their date.
            "Acquire::Check-Valid-Until=false".into(),
            // apt's own user cannot see a private directory.
            "APT::Sandbox::User=root".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// A package with the version that is wanted, if one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub name: String,
    pub version: Option<String>,
}

/// This machine's mirror of Debian.
fn mirror() -> String {
    let sites = shell::capture(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]));
    sites.ok().and_then(|sites| debian_site(&sites)).unwrap_or_else(|| DEFAULT_MIRROR.to_owned())
}

/// The first address that is a whole Debian archive, not security updates and not another distribution.
fn debian_site(sites: &str) -> Option<String> {
    let site =
        sites.lines().map(|line| line.trim().trim_end_matches('/')).find(|site| site.ends_with("/debian"))?;
    Some(site.to_owned())
}

/// A field of a control paragraph (deb822(5)); continuation lines are not needed here.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// `Depends: a (= 1.2), b | c, d:any (>= 3)`: every first alternative; the version only where it is an exact one.
fn parse_depends(value: &str) -> Vec<Package> {
    value.split(',').filter_map(|group| parse_dependency(group.split('|').next()?)).collect()
}

fn parse_dependency(text: &str) -> Option<Package> {
    let (name, condition) = text.split_once('(').unwrap_or((text, ""));
    let name = name.trim().split(':').next()?;
    if name.is_empty() {
        return None;
    }
    let version = condition.strip_prefix("= ").and_then(|rest| rest.split(')').next());
    Some(Package { name: name.to_owned(), version: version.map(|version| version.trim().to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_dependency_gives_name_and_version() {
        let packages = parse_depends(
            "linux-image-6.1.0-40-cloud-amd64 (= 6.1.153-1), kmod | module-init-tools, x:any (>= 2)",
        );
        let expected = [("linux-image-6.1.0-40-cloud-amd64", Some("6.1.153-1")), ("kmod", None), ("x", None)];
        let found: Vec<_> = packages.iter().map(|p| (p.name.as_str(), p.version.as_deref())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn an_empty_dependency_list_gives_nothing() {
        assert_eq!(parse_depends(""), []);
        assert_eq!(parse_depends(" , "), []);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "Package: linux\nPre-Depends: dpkg\nDepends: kmod\nDescription: x\n";
        assert_eq!(field(text, "Depends"), Some("kmod"));
        assert_eq!(field(text, "Recommends"), None);
    }

    #[test]
    fn the_mirror_is_the_one_of_debian_itself() {
        let sites = "https://example.org/node\nhttp://a.example/debian-security\nhttp://a.example/debian/\n";
        assert_eq!(debian_site(sites).as_deref(), Some("http://a.example/debian"));
        assert_eq!(debian_site("http://archive.example/ubuntu\n"), None);
    }
}
