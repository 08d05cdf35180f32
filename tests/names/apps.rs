//! The clients: curl, Python, Chromium and a small one of QUIC, each as an app with a uid of its own.

use std::os::unix::fs::chown;
use std::process::Command;

use serde_json::Value;
use tracer_tests::netns::Netns;

use crate::program::Program;
use crate::servers::{public_key_hash, quic};
use crate::stage::{Resolver, Stage};

/// An app: who it is, and how it asks for names.
#[derive(Clone, Copy)]
pub struct App<'a> {
    stage: &'a Stage,
    machine: &'a Netns,
    uid: u32,
    resolver: Resolver,
}

impl Stage {
    /// An app with this uid, which asks the DNS server itself.
    pub fn app(&self, uid: u32) -> App<'_> {
        App { stage: self, machine: &self.apps, uid, resolver: Resolver::Direct }
    }
}

impl<'a> App<'a> {
    pub fn asking(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    fn start(&self, command: &mut Command) -> Program {
        self.stage.start(self.machine, Some(self.uid), self.resolver, command)
    }

    /// Gets a page with curl; the local port that it came to.
    pub fn curl(&self, arguments: &[&str]) -> u16 {
        let mut command = self.stage.command("curl");
        // First: no configuration.
        command.args(["-q", "--silent", "--show-error", "--fail", "--max-time", "30", "--noproxy", "*"]);
        command.args(["--output", "/dev/null", "--write-out", "%{local_port}\n"]);
        command.arg("--cacert").arg(self.stage.path("certificate.pem")).args(arguments);
        self.start(&mut command).end().pop().unwrap().parse().unwrap()
    }

    /// A Python program that waits for steps.
    pub fn python(&self) -> Python {
        let script = self.stage.write("client.py", include_bytes!("client.py"));
        let mut command = self.stage.command("/usr/bin/python3");
        Python { program: self.start(command.arg(script)) }
    }

    /// Gets a page by HTTP/3, with a first message that offers so many bytes of protocols, whose datagrams go to the kernel
    /// `together` in one call or `apart`; the local port.
    pub fn quic(&self, to: &str, name: &str, length: usize, how: &str) -> u16 {
        let mut command = self.stage.command(quic(self.stage));
        command
            .args(["get", to, name])
            .arg(self.stage.path("certificate.pem"))
            .args([&length.to_string(), how]);
        let said = self.start(&mut command).end().pop().unwrap();
        said.split_once(' ').unwrap().0.parse().unwrap()
    }

    /// Opens a page with Chromium, which must show what our servers send.
    pub fn chromium(&self, browser: &str, arguments: &[&str], page: &str) {
        let home = self.stage.path(&format!("home-{}", self.uid));
        std::fs::create_dir_all(&home).unwrap();
        chown(&home, Some(self.uid), Some(self.uid)).unwrap();
        let mut command = self.stage.command(browser);
        command.env("HOME", &home).env("TMPDIR", &home).env("XDG_RUNTIME_DIR", &home);
        command.args([
            "--headless=new",
            "--no-sandbox",
            "--no-zygote",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        // Nothing on its own account, and names by plain DNS.
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--no-first-run", "--no-default-browser-check", "--no-pings", "--disable-breakpad"]);
        command.args(["--disable-features=DnsOverHttps,OptimizationHints,MediaRouter,Translate"]);
        command.arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.example.test");
        command.arg(format!("--user-data-dir={}", home.join("profile").display()));
        command.arg(format!("--ignore-certificate-errors-spki-list={}", public_key_hash(self.stage)));
        command.args(arguments).args(["--dump-dom", page]);
        let said = self.start(&mut command).end();
        assert!(said.iter().any(|line| line.contains("<title>here</title>")), "{}", said.join("\n"));
    }
}

/// A Python program that waits for steps (client.py).
pub struct Python {
    program: Program,
}

impl Python {
    /// Does a step; what it answered.
    pub fn step(&mut self, step: &str) -> Value {
        let answer = self.program.answer(step);
        serde_json::from_str(&answer)
            .unwrap_or_else(|_| panic!("{step}: {}", self.program.lines().join("\n")))
    }

    /// Does a step that connects; the local port.
    pub fn port(&mut self, step: &str) -> u16 {
        let answer = self.step(step);
        let port = answer.get("port").and_then(Value::as_u64).unwrap_or_else(|| panic!("{step}: {answer}"));
        u16::try_from(port).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}

/// The browser here, if there is one: not every distribution has a package of it.
pub fn browser() -> Option<&'static str> {
    let names = ["chromium", "google-chrome-stable"];
    let is_there = |name: &&str| std::path::Path::new("/usr/bin").join(name).exists();
    names.into_iter().find(is_there)
}
