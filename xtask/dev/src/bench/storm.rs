//! The load: TCP connections opened and closed as fast as this machine can, in a network namespace of its own.
//!
//! Two halves: [`Storm`] drives a child process over its stdin and stdout; [`serve`] is that child. Every worker
//! thread holds both ends of its connections: connect, accept, one byte there, one byte back, close, close. No
//! connection waits for another thread, so the rate is the highest that the machine can make, and nothing of it is
//! scheduling.
//!
//! In the namespace every address is local (a `local default` route on its loopback device), so that connections go to
//! addresses all over the world without leaving the machine: the tracer looks up real countries and networks. There
//! are no TIME_WAIT sockets there (`tcp_max_tw_buckets` 0): ports never run out, and the first round is like the last.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::tls;

/// Port of the connections that are counted.
const PORT: u16 = 5287;
/// Port of connections that only ask whether a tool sees them.
pub const PROBE_PORT: u16 = 9;
/// Connections that a worker takes from the common lot at once: short, so that all workers end together.
const PORTION: u64 = 32;
/// Addresses that connections go to: the hosts that a phone talks to in a day.
const DESTINATIONS: u32 = 1024;
/// A storm that takes longer than this ends early.
const LONGEST: Duration = Duration::from_secs(60);

/// Where connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// Addresses all over the world, all of them local in the storm's network namespace
    Global,
    /// 127.0.0.1 only
    Loopback,
}

/// What a storm consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// TCP connections.
    Connections,
    /// Datagrams of one UDP flow per worker.
    Datagrams,
    /// UDP flows of one datagram, each from a socket of its own.
    Flows,
    /// MiB over one TLS connection.
    Bulk,
    /// One TLS connection that says a name of its own and carries nothing: a probe.
    Hello,
    /// TCP connections that stay open until the child ends.
    Hold,
    /// A byte over each connection that is held.
    Beat,
}

/// What one storm did.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Gust {
    /// Connections, datagrams or MiB.
    pub connections: u64,
    pub failed: u64,
    pub wall_ns: u64,
    /// User and system time of the workers; what the kernel does for a connection (and eBPF programs with it) runs in
    /// their context.
    pub cpu_ns: u64,
}

/// One request to the child.
#[derive(Serialize, Deserialize)]
struct Order {
    load: Load,
    connections: u64,
    workers: usize,
    targets: Targets,
    port: u16,
}

/// A child process that makes storms on demand.
pub struct Storm {
    child: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
    pub targets: Targets,
}

impl Storm {
    /// Starts the child in its own network namespace.
    ///
    /// # Errors
    /// Without root, or where `unshare` (util-linux) or `ip` (iproute2) is missing.
    pub fn start(targets: Targets) -> Result<Self> {
        let prepare = "set -e; ip link set lo up; ip address add 10.0.2.16/32 dev lo; \
             ip route add local default dev lo src 10.0.2.16; echo 0 >/proc/sys/net/ipv4/tcp_max_tw_buckets; \
             echo '1024 65535' >/proc/sys/net/ipv4/ip_local_port_range; exec \"$0\" bench storm";
        let me = std::env::current_exe().context("could not find the path of this program")?;
        let mut child = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", prepare])
            .arg(me)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start unshare (package util-linux)")?;
        let orders = child.stdin.take().context("the storm has no stdin")?;
        let reports = BufReader::new(child.stdout.take().context("the storm has no stdout")?);
        let mut storm = Self { child, orders, reports, targets };
        storm.blow(Load::Connections, PROBE_PORT, 1, 1).context(
            "the storm could not be started in a network namespace of its own; that takes root and the package iproute2",
        )?;
        Ok(storm)
    }

    /// Makes that many connections with that many threads.
    ///
    /// # Errors
    /// When the child has ended.
    pub fn run(&mut self, connections: u64, workers: usize) -> Result<Gust> {
        self.run_load(Load::Connections, connections, workers)
    }

    /// As [`Self::run`], with any load.
    ///
    /// # Errors
    /// When the child has ended.
    pub fn run_load(&mut self, load: Load, connections: u64, workers: usize) -> Result<Gust> {
        let port = if load == Load::Bulk { tls::PORT } else { PORT };
        let gust = self.blow(load, port, connections, workers)?;
        ensure!(
            gust.failed == 0,
            "{} of {connections} connections or datagrams of the storm failed",
            gust.failed
        );
        Ok(gust)
    }

    /// Makes one connection to [`PROBE_PORT`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn probe(&mut self) -> Result<()> {
        self.blow(Load::Connections, PROBE_PORT, 1, 1).map(drop)
    }

    /// Makes one TLS connection under [`tls::PROBE_NAME`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn hello(&mut self) -> Result<()> {
        self.blow(Load::Hello, tls::PORT, 1, 1).map(drop)
    }

    /// The network namespace that the load is in, as a file.
    pub fn network(&self) -> String {
        format!("/proc/{}/ns/net", self.child.id())
    }

    fn blow(&mut self, load: Load, port: u16, connections: u64, workers: usize) -> Result<Gust> {
        let order = Order { load, connections, workers, targets: self.targets, port };
        writeln!(self.orders, "{}", serde_json::to_string(&order)?).context("the storm has ended")?;
        let mut line = String::new();
        self.reports.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the storm has ended");
        }
        serde_json::from_str(&line).with_context(|| format!("the storm answered {line:?}"))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child: one storm for each line of stdin, until its end.
///
/// # Errors
/// When a socket cannot be opened or an order cannot be read.
pub fn serve() -> Result<()> {
    let mut held = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let order: Order = serde_json::from_str(&line?)?;
        println!("{}", serde_json::to_string(&blow(&order, &mut held)?)?);
    }
    Ok(())
}

/// Both ends of a connection.
type Pair = (TcpStream, TcpStream);

fn blow(order: &Order, held: &mut Vec<Pair>) -> Result<Gust> {
    match order.load {
        Load::Hold => hold(order, held),
        Load::Beat => beat(held),
        Load::Bulk => tls::transfer(tls::NAME, destination(order.targets, 0), order.connections),
        Load::Hello => tls::transfer(tls::PROBE_NAME, destination(order.targets, 0), 0),
        Load::Connections | Load::Datagrams | Load::Flows => storm(order),
    }
}

fn storm(order: &Order) -> Result<Gust> {
    let left = AtomicU64::new(order.connections);
    let ready = Barrier::new(order.workers + 1);
    std::thread::scope(|scope| {
        let mut workers = Vec::new();
        for port in (order.port..).take(order.workers) {
            let mut once = once(order, port).with_context(|| format!("could not listen on port {port}"))?;
            let (left, ready) = (&left, &ready);
            workers.push(scope.spawn(move || {
                ready.wait();
                work(&mut once, left)
            }));
        }
        ready.wait();
        let start = Instant::now();
        let mut sum = Gust::default();
        for worker in workers {
            let gust = worker.join().map_err(|_| anyhow::anyhow!("a worker of the storm panicked"))?;
            sum.connections += gust.connections;
            sum.failed += gust.failed;
            sum.cpu_ns += gust.cpu_ns;
        }
        sum.wall_ns = nanos(start.elapsed());
        Ok(sum)
    })
}

fn hold(order: &Order, held: &mut Vec<Pair>) -> Result<Gust> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, order.port))?;
    for number in 0..order.connections {
        let client = TcpStream::connect((destination(order.targets, number), order.port))
            .with_context(|| format!("could not hold {number} connections open"))?;
        held.push((client, listener.accept()?.0));
    }
    Ok(Gust { connections: order.connections, ..Gust::default() })
}

fn beat(held: &mut [Pair]) -> Result<Gust> {
    for (client, server) in held.iter_mut() {
        client.write_all(b"?")?;
        server.read_exact(&mut [0])?;
    }
    Ok(Gust { connections: u64::try_from(held.len())?, ..Gust::default() })
}

/// One worker: takes portions of the common lot until nothing is left.
fn work(once: &mut Once, left: &AtomicU64) -> Gust {
    let start = Instant::now();
    let cpu_before = thread_cpu_ns();
    let mut gust = Gust::default();
    while start.elapsed() < LONGEST {
        let take = |left: u64| (left > 0).then(|| left.saturating_sub(PORTION));
        let Ok(before) = left.try_update(Ordering::Relaxed, Ordering::Relaxed, take) else { break };
        for number in before.saturating_sub(PORTION)..before {
            match once(number) {
                Ok(()) => gust.connections += 1,
                Err(_) => gust.failed += 1,
            }
        }
    }
    gust.cpu_ns = thread_cpu_ns() - cpu_before;
    gust
}

/// Makes the connection, or sends the datagram, of this number.
type Once = Box<dyn FnMut(u64) -> std::io::Result<()> + Send>;

/// What a worker repeats; opens what it needs.
fn once(order: &Order, port: u16) -> std::io::Result<Once> {
    let any = (Ipv4Addr::UNSPECIFIED, port);
    let targets = order.targets;
    Ok(match order.load {
        Load::Connections => {
            let listener = TcpListener::bind(any)?;
            Box::new(move |number| connect_and_close(&listener, (destination(targets, number), port).into()))
        }
        Load::Datagrams => {
            let receiver = UdpSocket::bind(any)?;
            let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            sender.connect((destination(targets, 0), port))?;
            Box::new(move |_| {
                sender.send(b"?")?;
                receiver.recv(&mut [0]).map(drop)
            })
        }
        Load::Flows => Box::new(move |number| {
            let receiver = UdpSocket::bind(any)?;
            let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            sender.send_to(b"?", (destination(targets, number), port))?;
            receiver.recv(&mut [0]).map(drop)
        }),
        Load::Bulk | Load::Hello | Load::Hold | Load::Beat => {
            return Err(std::io::Error::other("this is no load of workers"));
        }
    })
}

/// One connection from beginning to end; the side that opened it closes it first.
fn connect_and_close(listener: &TcpListener, to: SocketAddr) -> std::io::Result<()> {
    let mut client = TcpStream::connect(to)?;
    let (mut server, _) = listener.accept()?;
    let mut byte = [b'?'];
    client.write_all(&byte)?;
    server.read_exact(&mut byte)?;
    server.write_all(&byte)?;
    client.read_exact(&mut byte)?;
    drop(client);
    // The end of the stream is read, so that this close answers a FIN and is no reset.
    server.read(&mut byte).map(drop)
}

fn destination(targets: Targets, number: u64) -> Ipv4Addr {
    if targets == Targets::Loopback {
        return Ipv4Addr::LOCALHOST;
    }
    let number = u32::try_from(number % u64::from(DESTINATIONS)).unwrap_or_default();
    // Knuth's multiplicative hash spreads them over the whole space; then only ordinary global first octets.
    let mut octets = number.wrapping_mul(2_654_435_761).to_be_bytes();
    let [first, ..] = &mut octets;
    *first = 11 + *first % 80;
    Ipv4Addr::from(octets)
}

/// Processor time of the calling thread, user and system.
pub fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or_default()
}

pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
