//! `deploy` against a stand-in for adb: a script that runs "device" commands in a local shell, with the device's
//! directory mapped to a temporary one. It proves the order of steps, the quoting, the streams and that nothing is left
//! running; what a real device's adb and su do differently it cannot prove.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test may fail loudly; clippy.toml covers only #[test] functions"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const DEVICE_DIR: &str = "/data/local/tmp";

/// `DEVICE_ROOT`: shell, su, su0 or none. `DEVICE_ABI`, `DEVICE_LIST`: what the device answers.
const ADB: &str = r#"#!/bin/bash
set -u
here=$(dirname "$0")
echo "$*" >> "$here/calls"
if [ "$1" = devices ]; then printf 'List of devices attached\n%b\n' "$DEVICE_LIST"; exit; fi
[ "$1" = -s ] && shift 2
case $1 in
push) cp "$2" "$here/tracer"; echo "1 file pushed" ;;
shell)
    shift; [ "$1" = -T ] && shift
    command=${1//\/data\/local\/tmp/$here}
    export PATH="$here/device:$PATH"
    exec sh -c "$command" ;;
esac
"#;

const ID: &str = "#!/bin/sh\n[ \"$DEVICE_ROOT\" = shell ] || [ -n \"${IS_ROOT-}\" ] && echo 0 || echo 2000\n";
const GETPROP: &str = "#!/bin/sh\necho \"$DEVICE_ABI\"\n";
const SU: &str = r#"#!/bin/bash
case "$DEVICE_ROOT $1" in
"su -c") IS_ROOT=1 exec sh -c "$2" ;;
"su0 0") shift; IS_ROOT=1 exec "$@" ;;
*) echo "su: not allowed" >&2; exit 1 ;;
esac
"#;

/// Prints its arguments, then lives until it is asked to stop, unless its first argument says otherwise.
const TRACER: &str = r#"#!/bin/bash
for word; do printf '{"argument":"%s"}\n' "$word"; done
[ "${1-}" = --once ] && exit 3
trap 'echo "{\"event\":\"stop\"}"; exit 0' INT
[ "${1-}" = --stubborn ] && trap '' INT
echo '{"event":"start"}'
# A device whose tracer nobody stops ends the test, too, later than xtask gives up.
for _ in $(seq 600); do sleep 0.05; done
"#;

struct Stand {
    dir: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Stand {
    fn new() -> Self {
        let stand = Self {
            dir: TempDir::new().unwrap(),
            environment: vec![
                ("DEVICE_ROOT", "su".into()),
                ("DEVICE_ABI", "arm64-v8a".into()),
                ("DEVICE_LIST", r"A1\tdevice".into()),
            ],
        };
        stand.script("adb", ADB);
        stand.script("device/id", ID);
        stand.script("device/getprop", GETPROP);
        stand.script("device/su", SU);
        stand.script("built", TRACER);
        stand
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.into()));
        self
    }

    fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn deploy(&self, args: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["deploy", "--binary"]).arg(self.path("built")).args(args);
        command.env("PATH", format!("{}:{path}", self.dir.path().display()));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.deploy(args).output().unwrap()
    }

    fn refusal(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(!output.status.success());
        assert!(output.stdout.is_empty(), "stdout is for the tracer's lines");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A process whose command line names the pushed file.
    fn is_running(&self) -> bool {
        let pushed = self.path("tracer").display().to_string();
        let names_it = |process: PathBuf| {
            fs::read(process.join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&pushed))
        };
        fs::read_dir("/proc").unwrap().flatten().any(|entry| names_it(entry.path()))
    }
}

/// Reads lines until one contains the text.
fn read_until(child: &mut Child, text: &str) -> BufReader<std::process::ChildStdout> {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended before {text}");
    }
    reader
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn lines_arguments_and_exit_code_come_through_every_way_to_root() {
    for root in ["shell", "su", "su0"] {
        let stand = Stand::new().with("DEVICE_ROOT", root);
        let output = stand.output(&["--", "--once", "a b", "it's $HOME", "*"]);
        let printed = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = printed.lines().collect();
        let expected =
            ["--once", "a b", "it's $HOME", "*"].map(|word| format!("{{\"argument\":\"{word}\"}}"));
        assert_eq!(lines, expected, "{root}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{root}");
        assert!(!stand.path("tracer.pid").exists(), "{root}");
    }
}

#[test]
fn ctrl_c_lets_the_tracer_write_its_last_record_and_leaves_nothing_running() {
    let stand = Stand::new();
    let mut child = stand.deploy(&[]).spawn().unwrap();
    let reader = read_until(&mut child, "start");
    assert!(stand.is_running());
    signal(&child, Signal::INT);
    let rest: Vec<_> = reader.lines().map(Result::unwrap).collect();
    assert_eq!(rest, ["{\"event\":\"stop\"}"]);
    assert!(child.wait().unwrap().success());
    assert!(!stand.is_running());
    assert!(!stand.path("tracer.pid").exists());
}

#[test]
fn a_terminated_xtask_leaves_nothing_running_either() {
    let stand = Stand::new();
    let mut child = stand.deploy(&[]).spawn().unwrap();
    let _reader = read_until(&mut child, "start");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
    assert!(!stand.is_running());
}

#[test]
fn a_second_ctrl_c_ends_a_tracer_that_does_not_stop() {
    let stand = Stand::new();
    let mut child = stand.deploy(&["--", "--stubborn"]).spawn().unwrap();
    let _reader = read_until(&mut child, "start");
    signal(&child, Signal::INT);
    let deadline = Instant::now() + Duration::from_secs(8);
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "still there");
        signal(&child, Signal::INT);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!stand.is_running());
}

#[test]
fn without_adb_the_message_says_how_to_get_it() {
    let stand = Stand::new();
    let output = stand.deploy(&[]).env("PATH", "/nowhere").output().unwrap();
    // Where this machine has one in a system directory there is nothing to test.
    if !Path::new("/usr/sbin/adb").exists() {
        assert!(String::from_utf8(output.stderr).unwrap().contains("apt-get install adb"));
    }
}

#[test]
fn no_device_several_devices_and_an_unauthorized_one_are_told_apart() {
    assert!(Stand::new().with("DEVICE_LIST", "").refusal(&[]).contains("USB debugging"));
    let several = r"A1\tdevice\nB2\tdevice";
    assert!(Stand::new().with("DEVICE_LIST", several).refusal(&[]).contains("choose one with -s"));
    let output = Stand::new().with("DEVICE_LIST", several).output(&["-s", "B2", "--", "--once"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(Stand::new().with("DEVICE_LIST", r"A1\tunauthorized").refusal(&[]).contains("its screen"));
}

#[test]
fn without_root_nothing_is_pushed() {
    let stand = Stand::new().with("DEVICE_ROOT", "none");
    assert!(stand.refusal(&[]).contains("adb root"));
    let calls = fs::read_to_string(stand.path("calls")).unwrap();
    assert!(!calls.contains("push"), "{calls}");
    assert!(calls.contains("su -c"), "the way by su was tried: {calls}");
}

#[test]
fn a_32_bit_device_is_refused_by_its_abi() {
    assert!(Stand::new().with("DEVICE_ABI", "armeabi-v7a").refusal(&[]).contains("armeabi-v7a"));
}

#[test]
fn the_binary_goes_where_root_may_start_it() {
    let stand = Stand::new();
    stand.output(&["--", "--once"]);
    let calls = fs::read_to_string(stand.path("calls")).unwrap();
    assert!(calls.contains(&format!("{DEVICE_DIR}/tracer")), "{calls}");
}
