//! The guest's first process (`cargo xtask vm`): makes a bare kernel into a place where the live tests can run.
//!
//! In: `/modules/NN-*.ko` and the manifest `/etc/tests`. Out: on the console, the tests' output between the line
//! `tracer-guest: up …` and the line `tracer-guest: exit CODE`, which the host watches for. It ends by powering the
//! machine off, whatever happened; it must never return, because the kernel panics if process 1 does.

use std::{
    ffi::CString,
    fs,
    os::fd::AsRawFd as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use anyhow::{Context, Result, bail};
use rustix::{
    mount::{MountFlags, mount},
    net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, netlink},
    process::{WaitOptions, wait},
    system::{RebootCommand, finit_module, reboot},
};
use tracer_tests::bpf::TagMap;
use tracer_tests::netd::Netd;

/// `(file system, where)`; in the order in which they are mounted.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("cgroup2", "/sys/fs/cgroup"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
];
const MANIFEST: &str = "/etc/tests";

fn main() {
    if std::process::id() != 1 {
        eprintln!("init: this is the first process of a test guest; start it with `cargo xtask vm`");
        std::process::exit(2);
    }
    let code = run().unwrap_or_else(|why| {
        println!("init: {why:#}");
        125
    });
    println!("tracer-guest: exit {code}");
    rustix::fs::sync();
    if let Err(why) = reboot(RebootCommand::PowerOff) {
        println!("init: could not power off: {why}");
    }
    loop {
        std::thread::park();
    }
}

fn run() -> Result<i32> {
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("could not create {place}"))?;
        mount(kind, place, kind, MountFlags::empty(), None)
            .with_context(|| format!("could not mount {kind} on {place}"))?;
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Firmware may have left its text without a line end.
    println!("\ntracer-guest: up {}", release.trim());
    seed_random().context("could not seed the kernel's random numbers")?;
    load_modules(Path::new("/modules"))?;
    bring_loopback_up().context("could not bring the loopback interface up")?;
    let text = fs::read_to_string(MANIFEST).with_context(|| format!("could not read {MANIFEST}"))?;
    let is_scenario = |name: &str| text.lines().any(|line| line == format!("TRACER_SCENARIO={name}"));
    if is_scenario("no-btf") {
        let place = "/sys/kernel/btf";
        mount("tmpfs", place, "tmpfs", MountFlags::empty(), None).context("could not hide the BTF")?;
    }
    // As long as this process lives, and it never ends.
    let _held = if is_scenario("android-like") {
        let netd = Netd::hold().context("could not hold the hooks that netd takes")?;
        Some((netd, TagMap::pin(Path::new("/")).context("could not pin a map of tags as netd does")?))
    } else {
        None
    };
    let mut code = 0;
    for mut command in commands(&text) {
        let status = run_to_end(&mut command)?;
        // Every command runs; the first failure is the result.
        if code == 0 {
            code = status.code().unwrap_or(128 + status.signal().unwrap_or(0));
        }
    }
    Ok(code)
}

/// Tells the kernel that its random numbers are good, with bytes that are not random: nothing here is secret.
///
/// An emulated processor without RDRAND collects no entropy for minutes, and static programs wait for it in `poll(2)` on
/// /dev/random (crate getrandom: without a dynamic linker it does not find `getrandom(2)`).
fn seed_random() -> Result<()> {
    /// `RNDADDENTROPY`, include/uapi/linux/random.h: `_IOW('R', 0x03, int [2])`.
    const RNDADDENTROPY: u64 = 0x4008_5203;
    /// `struct rand_pool_info`.
    #[repr(C)]
    struct Pool {
        bits: i32,
        bytes: i32,
        data: [u8; 64],
    }
    let pool = Pool { bits: 512, bytes: 64, data: [0x5a; 64] };
    let device = fs::File::open("/dev/random").context("could not open /dev/random")?;
    // SAFETY: the request reads one rand_pool_info, which `pool` is.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), RNDADDENTROPY as _, &raw const pool) };
    if result != 0 {
        bail!(std::io::Error::last_os_error());
    }
    Ok(())
}

/// Inserts every file of a directory in the order of their names.
fn load_modules(directory: &Path) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("could not list {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let file = fs::File::open(&path).with_context(|| format!("could not open {}", path.display()))?;
        finit_module(&file, &CString::default(), 0)
            .with_context(|| format!("could not load {}", path.display()))?;
    }
    Ok(())
}

/// Asks the kernel by rtnetlink(7) to set `IFF_UP` on interface 1, which is always `lo`.
fn bring_loopback_up() -> Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_ACK: u16 = 1 | 4;
    const IFF_UP: u32 = 1;
    let mut request = Vec::with_capacity(32);
    request.extend(32_u32.to_ne_bytes());
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(NLM_F_REQUEST_ACK.to_ne_bytes());
    request.extend([0; 8]); // sequence number and port
    request.extend([0; 4]); // struct ifinfomsg: family, padding, type
    request.extend(1_i32.to_ne_bytes()); // index
    request.extend(IFF_UP.to_ne_bytes()); // flags
    request.extend(IFF_UP.to_ne_bytes()); // which flags to change
    // Protocol 0, the default, is NETLINK_ROUTE.
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    net::sendto(&socket, &request, SendFlags::empty(), &netlink::SocketAddrNetlink::new(0, 0))?;
    let mut answer = [0_u8; 256];
    let (length, _) = net::recv(&socket, &mut answer, net::RecvFlags::empty())?;
    // An acknowledgement is struct nlmsgerr behind the 16 bytes of the header: 0 or a negative errno.
    let error =
        answer.get(..length).and_then(|answer| answer.get(16..20)).context("the answer is too short")?;
    match i32::from_ne_bytes(error.try_into()?) {
        0 => Ok(()),
        error => bail!(std::io::Error::from_raw_os_error(-error)),
    }
}

/// The commands of the manifest, with the environment that stands in front of them.
fn commands(manifest: &str) -> Vec<Command> {
    let is_variable = |line: &str| line.split('\t').next().is_some_and(|word| word.contains('='));
    let (variables, lines): (Vec<_>, Vec<_>) =
        manifest.lines().filter(|line| !line.is_empty()).partition(|line| is_variable(line));
    let build = |line: &str| {
        let mut words = line.split('\t');
        let program = words.next().unwrap_or_default();
        let program = if program.contains('/') { program.to_owned() } else { format!("/bin/{program}") };
        let mut command = Command::new(program);
        command.args(words).env_clear().env("PATH", "/bin").env("HOME", "/tmp").env("TERM", "dumb");
        command.envs(variables.iter().filter_map(|line| line.split_once('='))).current_dir("/tmp");
        command
    };
    lines.into_iter().map(build).collect()
}

/// Starts a command and waits for it, collecting on the way every orphan that process 1 inherits.
fn run_to_end(command: &mut Command) -> Result<ExitStatus> {
    let child =
        command.spawn().with_context(|| format!("could not start {}", command.get_program().display()))?;
    loop {
        let (pid, status) = wait(WaitOptions::empty())?.context("no child to wait for")?;
        if i32::try_from(child.id()) == Ok(pid.as_raw_nonzero().get()) {
            return Ok(ExitStatus::from_raw(status.as_raw()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_apply_to_every_command_and_tabs_separate_words() {
        let commands = commands("A=1\nB=x=y\n/tests/kernel\t--test-threads=1\ntracer\tdoctor now\n");
        assert_eq!(commands.len(), 2);
        let words =
            |index: usize| -> Vec<_> { commands[index].get_args().map(|w| w.to_str().unwrap()).collect() };
        assert_eq!(words(0), ["--test-threads=1"]);
        assert_eq!((commands[1].get_program().to_str(), words(1)), (Some("/bin/tracer"), vec!["doctor now"]));
        for command in &commands {
            let value =
                |name: &str| command.get_envs().find(|(key, _)| *key == name).unwrap().1.unwrap().to_owned();
            assert_eq!((value("A"), value("B")), ("1".into(), "x=y".into()));
        }
    }

    #[test]
    fn the_harness_does_not_take_an_argument_for_a_variable() {
        assert_eq!(commands("/bin/x\t--name=1\n").len(), 1);
    }

    #[test]
    fn an_empty_manifest_runs_nothing() {
        assert!(commands("\n").is_empty());
    }
}
