//! One Android device, spoken to through the program `adb`.
//!
//! Every failure says what is missing and what to do about it. Commands for the device are single strings for its
//! shell: adb joins its arguments with spaces and quotes nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{arch::Arch, shell};

/// A place where root may start programs; `/sdcard` is mounted noexec.
const PLACE: &str = "/data/local/tmp/tracer";
/// Holds the process id while the tracer runs.
const PID_FILE: &str = "/data/local/tmp/tracer.pid";

/// How a command becomes root on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// adb's own shell is root (emulators, `adb root`).
    Shell,
    /// `su -c COMMAND`, as Magisk and KernelSU have it.
    SuC,
    /// `su 0 COMMAND`, as AOSP's userdebug builds have it.
    Su0,
}

impl Root {
    const ALL: [Self; 3] = [Self::Shell, Self::SuC, Self::Su0];

    /// The shell command that runs `script` as root.
    fn wrap(self, script: &str) -> String {
        match self {
            Self::Shell => script.to_owned(),
            Self::SuC => format!("su -c {}", shell::quote(script)),
            Self::Su0 => format!("su 0 sh -c {}", shell::quote(script)),
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shell => "adb's shell is root",
            Self::SuC => "su -c",
            Self::Su0 => "su 0",
        })
    }
}

pub struct Device {
    adb: PathBuf,
    serial: String,
}

impl Device {
    /// The device with that serial number, or the only one there is.
    ///
    /// # Errors
    /// Without adb, without a usable device, or when there are several and none was chosen.
    pub fn find(serial: Option<&str>) -> Result<Self> {
        let Some(adb) = shell::find_program("adb") else {
            bail!(
                "there is no adb on PATH; install Android's platform tools (Debian, Ubuntu: apt-get install adb)"
            );
        };
        let listing = shell::capture(Command::new(&adb).arg("devices"))?;
        let serial = choose(&parse_devices(&listing), serial)?;
        Ok(Self { adb, serial })
    }

    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// # Errors
    /// For an ABI that tracer is not built for.
    pub fn arch(&self) -> Result<Arch> {
        let abi = self.shell("getprop ro.product.cpu.abi")?;
        let abi = abi.trim();
        Arch::from_android_abi(abi).with_context(|| {
            format!("the device's ABI is {abi:?}; tracer is built for arm64-v8a and x86_64 only")
        })
    }

    /// A way to become root that works.
    ///
    /// # Errors
    /// When none does.
    pub fn root(&self) -> Result<Root> {
        let is_root = |root: &Root| self.shell(&root.wrap("id -u")).is_ok_and(|id| id.trim() == "0");
        Root::ALL.into_iter().find(is_root).with_context(|| {
            format!(
                "no root on {}: neither adb's shell nor su gave uid 0; on an emulator or a userdebug build run \
                 `adb root`, on a rooted phone allow su for the shell in the root manager",
                self.serial
            )
        })
    }

    /// Puts the binary into its place.
    ///
    /// # Errors
    /// With what adb said.
    pub fn push(&self, binary: &Path) -> Result<()> {
        let mut command = self.adb();
        command.arg("push").arg(binary).arg(PLACE);
        let said = shell::capture(&mut command)?;
        shell::say(said.trim());
        self.shell(&format!("chmod 755 {PLACE}")).map(drop)
    }

    /// The command that starts the tracer as root and stays until it ends.
    pub fn start(&self, root: Root, args: &[String]) -> Command {
        let words: Vec<_> = args.iter().map(|arg| shell::quote(arg)).collect();
        // The shell becomes the tracer, so its process id is the tracer's.
        let script = format!("echo $$ > {PID_FILE}; exec {PLACE} {}", words.join(" "));
        let mut command = self.adb();
        // -T: without a terminal stdout and stderr stay apart, and line ends stay as they are.
        command.args(["shell", "-T", &root.wrap(script.trim_end())]);
        command
    }

    /// Asks the tracer to end, as Ctrl-C would.
    pub fn interrupt(&self, root: Root) {
        self.try_as_root(root, &kill_script("INT"));
    }

    /// Makes sure that no tracer is left.
    pub fn stop(&self, root: Root) {
        self.try_as_root(root, &format!("{}; rm -f {PID_FILE}", kill_script("KILL")));
    }

    /// Runs a script as root; that it fails is said, not fatal: this is the way out.
    fn try_as_root(&self, root: Root, script: &str) {
        if let Err(why) = self.shell(&root.wrap(script)) {
            shell::say(format!("warning: {why:#}; a tracer may be left on {}", self.serial));
        }
    }

    fn shell(&self, command: &str) -> Result<String> {
        shell::capture(self.adb().args(["shell", command]))
    }

    fn adb(&self) -> Command {
        let mut command = Command::new(&self.adb);
        command.args(["-s", &self.serial]);
        command
    }
}

/// Sends a signal to the process of the pid file, if that still is the tracer: ids are used again.
fn kill_script(signal: &str) -> String {
    format!(
        "p=$(cat {PID_FILE} 2>/dev/null); \
         if [ -n \"$p\" ] && grep -q tracer /proc/$p/cmdline 2>/dev/null; then kill -{signal} $p; fi; true"
    )
}

/// The lines of `adb devices`: `(serial, state)`.
fn parse_devices(listing: &str) -> Vec<(String, String)> {
    let lines = listing.lines().skip_while(|line| !line.starts_with("List of devices")).skip(1);
    lines.filter_map(|line| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.trim().to_owned()))).collect()
}

fn choose(devices: &[(String, String)], wanted: Option<&str>) -> Result<String> {
    let shown =
        || devices.iter().map(|(serial, state)| format!("{serial} ({state})")).collect::<Vec<_>>().join(", ");
    let candidates: Vec<_> =
        devices.iter().filter(|(serial, _)| wanted.is_none_or(|w| w == serial)).collect();
    let (serial, state) = match (&candidates[..], wanted) {
        ([one], _) => one,
        ([], Some(wanted)) if !devices.is_empty() => {
            bail!("adb knows no device {wanted}; it sees {}", shown())
        }
        ([], _) => bail!(
            "adb sees no device; connect one with USB debugging switched on (or start an emulator) and check with `adb devices`"
        ),
        (_, _) => bail!("adb sees several devices; choose one with -s: {}", shown()),
    };
    match state.as_str() {
        "device" => Ok(serial.clone()),
        "unauthorized" => {
            bail!("{serial} has not accepted this computer; confirm the question on its screen and try again")
        }
        state => bail!("{serial} is {state}; reconnect it or restart adb with `adb kill-server`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "* daemon started successfully\nList of devices attached\nemulator-5554\tdevice\nR58\tunauthorized\n\n";

    fn refusal(listing: &str, wanted: Option<&str>) -> String {
        choose(&parse_devices(listing), wanted).unwrap_err().to_string()
    }

    #[test]
    fn the_only_device_needs_no_serial() {
        assert_eq!(choose(&parse_devices("List of devices attached\nA1\tdevice\n"), None).unwrap(), "A1");
    }

    #[test]
    fn one_of_several_is_chosen_by_its_serial() {
        assert_eq!(choose(&parse_devices(LISTING), Some("emulator-5554")).unwrap(), "emulator-5554");
        assert!(
            refusal(LISTING, None).contains("choose one with -s: emulator-5554 (device), R58 (unauthorized)")
        );
    }

    #[test]
    fn an_unusable_or_unknown_device_is_refused_with_the_remedy() {
        assert!(refusal(LISTING, Some("R58")).contains("confirm the question"));
        assert!(refusal(LISTING, Some("X")).contains("no device X"));
        assert!(refusal("List of devices attached\n\n", None).contains("USB debugging"));
        assert!(refusal("List of devices attached\nA\toffline\n", None).contains("offline"));
    }

    #[test]
    fn arguments_survive_both_shells() {
        let script = format!("printf '%s|' {}", shell::quote("a b's $HOME"));
        for root in [Root::Shell, Root::SuC] {
            // A su that only runs its command stands in for the device's.
            let command = format!("su() {{ sh -c \"$2\"; }}; {}", root.wrap(&script));
            let printed = shell::capture(Command::new("sh").args(["-c", &command])).unwrap();
            assert_eq!(printed, "a b's $HOME|", "{root}");
        }
    }
}
