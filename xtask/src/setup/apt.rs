//! Debian's package manager, as `setup` uses it: never interactive, never more than was asked for.

use std::{fs, process::Command, sync::OnceLock};

use anyhow::{Context, Result};

use crate::shell;

/// The keys that sign Debian's archive; the guests' kernels come from there also on Ubuntu.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// This machine has apt.
pub fn available() -> bool {
    shell::find_program("apt-get").is_some()
}

/// This machine is Debian itself, which has the packages `rustc-web` and its like.
pub fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| os_id(&text) == Some("debian"))
}

/// The `ID` of an os-release file (os-release(5): `ID=debian`, quotes allowed).
fn os_id(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(value.trim().trim_matches(['"', '\'']))
}

/// Installs packages.
///
/// # Errors
/// Without root and sudo, or with what apt said.
pub fn install(packages: &[String]) -> Result<()> {
    update_once()?;
    let mut command = apt_get()?;
    command.args(["install", "--yes", "--no-install-recommends", "-qq"]).args(packages);
    announce(&command);
    shell::run(&mut command)
}

/// Lets packages of another architecture be installed.
///
/// # Errors
/// Without root and sudo, or with what dpkg said.
pub fn add_architecture(debian_name: &str) -> Result<()> {
    let known = shell::capture(Command::new("dpkg").arg("--print-foreign-architectures"))?;
    if known.lines().any(|line| line == debian_name) {
        return Ok(());
    }
    let mut command = shell::as_root("dpkg")?;
    command.args(["--add-architecture", debian_name]);
    announce(&command);
    shell::run(&mut command)
}

/// Reads the package lists, once per process: a fresh machine has none. Lists that cannot be read are no error here:
/// a broken source of somebody else must not stand in the way, and what is really missing shows at the install.
fn update_once() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_some() {
        return Ok(());
    }
    let mut command = apt_get()?;
    command.args(["update", "--quiet"]);
    announce(&command);
    if let Err(why) = shell::capture(&mut command) {
        shell::say(format!("warning: {why:#}"));
    }
    DONE.get_or_init(|| ());
    Ok(())
}

fn apt_get() -> Result<Command> {
    let mut command = shell::as_root("env").context("installing packages")?;
    // Waits for another apt that is just running instead of failing.
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=300",
        "-o",
        "Dpkg::Use-Pty=0",
    ]);
    Ok(command)
}

fn announce(command: &Command) {
    shell::say(shell::show(command));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_is_read_with_and_without_quotes() {
        assert_eq!(os_id("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"), Some("debian"));
        assert_eq!(os_id("ID_LIKE=debian\nID=\"ubuntu\"\n"), Some("ubuntu"));
        assert_eq!(os_id("NAME=x\n"), None);
    }
}
