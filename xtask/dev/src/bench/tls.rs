//! The load that payload makes: one TLS connection over which much is sent. Watching names must cost it nothing, because
//! a name is said once, in the first bytes.
//!
//! As an app would: TLS 1.3 with AES-128-GCM, writes of 16 KiB, one thread at each end. The client sends: the hello that
//! carries the name goes the same way as the bulk, so nothing of the bulk can be told from it by its direction.

use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream};

use super::storm::{Gust, nanos, thread_cpu_ns};

/// Port of HTTPS: where everybody looks for names.
pub const PORT: u16 = 443;
/// The server's name in connections that are measured.
pub const NAME: &str = "bulk.bench.example";
/// The server's name in connections that only ask whether a tool sees them.
pub const PROBE_NAME: &str = "probe.bench.example";

/// What one write hands over: the most that a TLS record holds.
const WRITE: usize = 16 << 10;
const MIB: u64 = 1 << 20;
/// Neither end waits longer for the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends that many MiB to `to`, over one connection to a server of that name, from connect to close. The gust counts MiB.
///
/// # Errors
/// When anything fails or less arrives.
pub fn transfer(name: &'static str, to: Ipv4Addr, mebibytes: u64) -> Result<Gust> {
    let (server, client) = configurations(name)?;
    let name = ServerName::try_from(name)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))
        .with_context(|| format!("could not listen on port {PORT}"))?;
    let ready = Barrier::new(3);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| timed(&ready, || receive(server, &listener)));
        let client = scope.spawn(|| timed(&ready, || send(client, name, (to, PORT).into(), mebibytes)));
        ready.wait();
        let start = Instant::now();
        let (sent, client_ns) = client.join().map_err(|_| anyhow!("the TLS client panicked"))?;
        let (received, server_ns) = server.join().map_err(|_| anyhow!("the TLS server panicked"))?;
        let wall_ns = nanos(start.elapsed());
        sent.context("the TLS client failed")?;
        let received = received.context("the TLS server failed")?;
        ensure!(received == mebibytes * MIB, "{received} bytes of {mebibytes} MiB arrived over TLS");
        Ok(Gust { connections: mebibytes, failed: 0, wall_ns, cpu_ns: client_ns + server_ns })
    })
}

/// Runs one end once both are ready, and tells its processor time.
fn timed<T>(ready: &Barrier, end: impl FnOnce() -> T) -> (T, u64) {
    ready.wait();
    let before = thread_cpu_ns();
    let done = end();
    (done, thread_cpu_ns() - before)
}

fn send(config: Arc<ClientConfig>, name: ServerName<'static>, to: SocketAddr, mebibytes: u64) -> Result<()> {
    let mut tls = ClientConnection::new(config, name)?;
    let mut socket = Socket::new(TcpStream::connect(to)?)?;
    // Else a connection that carries nothing would close before it has said hello.
    tls.complete_io(&mut socket)?;
    let mut stream = Stream::new(&mut tls, &mut socket);
    let payload = [0x5a; WRITE];
    for _ in 0..mebibytes * MIB / WRITE as u64 {
        stream.write_all(&payload)?;
    }
    stream.conn.send_close_notify();
    // The server answers with its own end once it has read everything.
    ensure!(stream.read(&mut [0])? == 0, "the TLS server said something");
    Ok(())
}

/// Bytes received until the client said that there is no more.
fn receive(config: Arc<ServerConfig>, listener: &TcpListener) -> Result<u64> {
    let (socket, _) = listener.accept()?;
    let mut tls = ServerConnection::new(config)?;
    let mut socket = Socket::new(socket)?;
    let mut stream = Stream::new(&mut tls, &mut socket);
    let mut buffer = [0; WRITE];
    let mut received = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            length => received += length as u64,
        }
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(received)
}

/// A certificate for that name, and who trusts it. Made anew for each connection, outside of the time that is measured.
fn configurations(name: &str) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>)> {
    let signed = rcgen::generate_simple_self_signed([name.to_owned()])?;
    let certificate: CertificateDer<'static> = signed.cert.into();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).map_err(|why| anyhow!(why))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;

    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites = vec![rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    // Nobody comes back, and a client that only sends would close with tickets unread: a reset.
    server.send_tls13_tickets = 0;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(server), Arc::new(client)))
}

/// A socket that is read in large pieces: rustls asks for 4 KiB at a time, which would make the load one of system calls.
struct Socket(BufReader<TcpStream>);

impl Socket {
    fn new(socket: TcpStream) -> Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::with_capacity(4 * WRITE, socket)))
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.get_mut().write(buffer)
    }

    fn write_vectored(&mut self, buffers: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
        self.0.get_mut().write_vectored(buffers)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.get_mut().flush()
    }
}
