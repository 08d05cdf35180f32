//! A tracer, a machine with apps, and a machine with servers: two network namespaces with a wire between them, which
//! nothing leaves.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tracer_tests::netlink;
use tracer_tests::netns::Netns;
use tracer_tests::temp::TempDir;
use tracer_tests::tracer::Tracer;

use crate::program::Program;

/// The DNS server, and hosts that anything can be served on.
pub const DNS: &str = "203.0.113.53";
pub const HOST: &str = "203.0.113.80";
pub const OTHER_HOST: &str = "203.0.113.81";
pub const HOST_V6: &str = "2001:db8::80";
const APPS: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// Where system programs are; the caller's own PATH may lead to others, which apps may not run.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// How a process asks for names: its `/etc/resolv.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// The server itself.
    Direct,
    /// The server itself, by TCP.
    OverTcp,
    /// A server on the apps' own machine.
    Stub,
}

impl Resolver {
    const ALL: [(Self, &str, &str); 3] = [
        (Self::Direct, "resolv.direct", "nameserver 203.0.113.53\n"),
        (Self::OverTcp, "resolv.tcp", "nameserver 203.0.113.53\noptions use-vc\n"),
        (Self::Stub, "resolv.stub", "nameserver 127.0.0.1\n"),
    ];
}

pub struct Stage {
    pub tracer: Arc<Tracer>,
    /// Where the apps are.
    pub apps: Netns,
    pub servers: Netns,
    pub files: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With these arguments for the tracer.
    pub fn with(arguments: &[&str]) -> Self {
        Self::before(Arc::new(Tracer::start(arguments)))
    }

    /// Another network beside this one, with the same addresses, before the same tracer.
    pub fn beside(&self) -> Self {
        Self::before(Arc::clone(&self.tracer))
    }

    fn before(tracer: Arc<Tracer>) -> Self {
        let servers = Netns::empty().unwrap();
        let apps = machine(&servers);
        for ip in [DNS, HOST, OTHER_HOST, HOST_V6] {
            add_address(&servers, ip);
        }
        let files = TempDir::new();
        // Apps have uids of their own.
        std::fs::set_permissions(files.path(), Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(files.path().join("empty")).unwrap();
        let stage = Self { tracer, apps, servers, files };
        for (_, name, content) in Resolver::ALL {
            stage.write(name, content);
        }
        stage.write("hosts", "127.0.0.1 localhost\n::1 localhost\n");
        stage.write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
        stage
    }

    /// A file that every app may read, whatever the caller's umask.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files.write(name, content.as_ref());
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A program with an environment of its own.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", PATH).env("HOME", self.path("empty")).env("LC_ALL", "C");
        command.current_dir("/");
        command
    }

    /// Starts a program on a machine, as an app or, without a uid, as a part of the system.
    pub fn start(&self, machine: &Netns, uid: Option<u32>, ask: Resolver, command: &mut Command) -> Program {
        if let Some(uid) = uid {
            command.uid(uid).gid(uid);
        }
        machine.enter(|| {
            self.see_own_files(ask);
            Program::start(command)
        })
    }

    /// Gives this thread, and what it starts, its own files that say how names are asked for.
    fn see_own_files(&self, ask: Resolver) {
        // SAFETY: only what this thread sees of the file system changes (it shares that with no other thread any more),
        // and the thread ends with the work of the caller.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        let (_, resolv, _) = Resolver::ALL.into_iter().find(|(which, ..)| *which == ask).unwrap();
        for (file, at) in [(resolv, "resolv.conf"), ("hosts", "hosts"), ("nsswitch.conf", "nsswitch.conf")] {
            mount_bind(self.path(file), Path::new("/etc").join(at)).unwrap();
        }
        // A cache of names that runs here is not in that network.
        if Path::new("/run/nscd").is_dir() {
            mount_bind(self.path("empty"), "/run/nscd").unwrap();
        }
    }

    /// Stops the tracer; what must hold for the names in every stream does.
    pub fn stop(self) {
        let tracer = Arc::into_inner(self.tracer).expect("no other network is before the tracer any more");
        let stream = tracer.stop();
        stream.records.iter().for_each(crate::expect::check_names);
    }
}

/// A machine with apps, with a wire to the servers.
fn machine(servers: &Netns) -> Netns {
    let apps = Netns::empty().unwrap();
    apps.wire_to(servers).unwrap();
    for ip in APPS {
        add_address(&apps, ip);
    }
    apps
}

fn add_address(netns: &Netns, ip: &str) {
    let prefix = if ip.contains(':') { 64 } else { 24 };
    netns.enter(|| netlink::add_address("wire", ip.parse().unwrap(), prefix)).unwrap();
}
