//! The servers: dnsmasq, and programs that say which name they were asked for.

use std::process::Command;

use tracer_tests::programs;

use crate::program::Program;
use crate::stage::{DNS, Resolver, Stage};

/// Seconds that an answer is good for, where that does not matter.
const TTL: u32 = 300;

/// A DNS server for everything below `test`, and what it has to say.
pub struct Dns {
    pub program: Program,
}

impl Dns {
    /// Answers with these options of dnsmasq, on the servers' machine.
    pub fn start(stage: &Stage, options: &[&str]) -> Self {
        Self::with_ttl(stage, TTL, options)
    }

    /// With answers that are good for so many seconds.
    pub fn with_ttl(stage: &Stage, ttl: u32, options: &[&str]) -> Self {
        let mut command = dnsmasq(stage, DNS);
        command.args(["--local=/test/", &format!("--local-ttl={ttl}")]).args(options);
        Self::started(stage.start(&stage.servers, None, Resolver::Direct, &mut command))
    }

    /// A stub on the apps' machine, which asks the server for everything and keeps nothing.
    pub fn stub(stage: &Stage) -> Self {
        let mut command = dnsmasq(stage, "127.0.0.1");
        command.args([&format!("--server={DNS}"), "--cache-size=0"]);
        Self::started(stage.start(&stage.apps, None, Resolver::Direct, &mut command))
    }

    fn started(program: Program) -> Self {
        program.expect("started, version");
        Self { program }
    }

    /// Waits until it was asked this: the type, and the name.
    pub fn expect_question(&self, kind: &str, name: &str) {
        self.program.expect(&format!("query[{kind}] {name} from"));
    }

    /// Whether it was asked for this name at all.
    pub fn was_asked(&self, name: &str) -> bool {
        self.program.lines().iter().any(|line| line.contains("query[") && line.contains(&format!(" {name} ")))
    }
}

fn dnsmasq(stage: &Stage, at: &str) -> Command {
    let mut command = stage.command("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file",
        "--user=root",
        "--group=root",
    ]);
    command.args(["--no-resolv", "--no-hosts", "--bind-interfaces", "--log-queries", "--log-facility=-"]);
    command.arg(format!("--listen-address={at}"));
    command
}

/// Servers of these kinds at these addresses, e.g. `tls=203.0.113.80:443` (server.py).
pub fn serve(stage: &Stage, endpoints: &[&str]) -> Program {
    certificate(stage);
    let script = stage.write("server.py", include_bytes!("server.py"));
    let mut command = stage.command("/usr/bin/python3");
    command.arg(script).args([stage.path("certificate.pem"), stage.path("key.pem")]).args(endpoints);
    let program = stage.start(&stage.servers, None, Resolver::Direct, &mut command);
    program.expect("ready");
    program
}

/// A server of HTTP/3.
pub fn serve_quic(stage: &Stage, at: &str) -> Program {
    certificate(stage);
    let mut command = stage.command(quic(stage));
    command.args(["serve", at]).args([stage.path("certificate.pem"), stage.path("key.pem")]);
    let program = stage.start(&stage.servers, None, Resolver::Direct, &mut command);
    program.expect("ready");
    program
}

/// The program of `tests/quic`, where apps may run it.
pub fn quic(stage: &Stage) -> std::path::PathBuf {
    let path = stage.path("quic");
    if !path.exists() {
        std::fs::copy(programs::quic(), &path).unwrap();
    }
    path
}

/// Makes a certificate for every name that the tests use.
fn certificate(stage: &Stage) {
    if stage.path("certificate.pem").exists() {
        return;
    }
    let mut command = stage.command("openssl");
    command.args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-days", "2", "-subj", "/CN=tests", "-addext", "basicConstraints=critical,CA:FALSE"]);
    command.args(["-addext", "subjectAltName=DNS:*.example.test,DNS:*.example.co.uk"]);
    command.arg("-keyout").arg(stage.path("key.pem")).arg("-out").arg(stage.path("certificate.pem"));
    Program::start(&mut command).end();
    stage.write("public.sh", include_bytes!("public.sh"));
}

/// The hash of the certificate's public key, by which Chromium is told to trust it.
pub fn public_key_hash(stage: &Stage) -> String {
    let mut command = stage.command("sh");
    command.arg(stage.path("public.sh")).arg(stage.path("certificate.pem"));
    Program::start(&mut command).end().pop().unwrap()
}
