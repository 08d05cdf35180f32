//! Does one thing on the network, as some uid, step by step as its arguments say; the tests compare its reports with
//! the tracer's records.
//!
//! In: steps (`actor uid=10123 socket=4 connect=203.0.113.7:5000 tell close`) and, for the step `wait`, lines on
//! standard input. Out: one JSON object per `tell`, `wait` and at the end of `storm`, on standard output. A step that
//! cannot be done ends it with exit code 1 and the reason on standard error; what the network answers (`connect`,
//! `send`, `recv`, `eof`) is no failure but goes into the report as `errno`. It never leaves the network namespace
//! that it was started in.

mod beats;
mod moves;
mod names;
mod udp;

use std::ffi::CString;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType};

/// A socket that waits longer was forgotten by a test that failed.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let steps: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    match run(&steps, State::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("actor: {message}");
            ExitCode::FAILURE
        }
    }
}

/// What the steps before have left.
#[derive(Default)]
struct State {
    socket: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    /// Sockets put aside by `keep`.
    kept: Vec<OwnedFd>,
    /// Opened by `open`, run by `exec`.
    program: Option<OwnedFd>,
    /// What the network said last; 0 for success.
    errno: i32,
    sent: u64,
    received: u64,
    storm: Option<Storm>,
    /// When the last beat was due.
    beat_due: Option<Instant>,
}

#[derive(Default)]
struct Storm {
    connected: u64,
    failed: u64,
}

fn run(steps: &[std::ffi::OsString], mut state: State) -> Result<()> {
    for (index, step) in steps.iter().enumerate() {
        let rest = steps.get(index + 1..).unwrap_or_default();
        let text = step.to_string_lossy();
        let (name, value) = text.split_once('=').unwrap_or((&text, ""));
        match name {
            // Whatever follows is done by another thread of this process.
            "thread" => {
                let rest = rest.to_vec();
                let thread = std::thread::spawn(move || run(&rest, state));
                return thread.join().map_err(|_| "the thread panicked".to_owned())?;
            }
            // The rest is not for us: it only lengthens the command line.
            "ignore" => return Ok(()),
            "exec" => return exec(state.program, rest),
            "exit" => std::process::exit(0),
            _ => state.step(name, value).map_err(|error| format!("{text}: {error}"))?,
        }
    }
    Ok(())
}

/// Makes a child that holds everything that this process holds, for as long as this process lives.
fn share() -> Result<()> {
    // SAFETY: the child only makes system calls.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error().to_string()),
        0 => loop {
            // SAFETY: neither call takes a pointer.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::pause();
            }
        },
        _ => Ok(()),
    }
}

/// Runs the opened program with these arguments; its path need not be reachable for the uid that we have now.
fn exec(program: Option<OwnedFd>, arguments: &[std::ffi::OsString]) -> Result<()> {
    let program = program.ok_or("exec without open")?;
    let error = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd())).args(arguments).exec();
    Err(format!("exec: {error}"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number that fits"))
}

fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| format!("{text:?} is not ADDRESS:PORT"))
}

impl State {
    fn step(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "name" => {
                let name = CString::new(value.replace("\\e", "\x1b").replace("\\n", "\n"));
                rustix::thread::set_name(&name.map_err(text)?).map_err(text)
            }
            "uid" => become_user(number(value)?),
            "capdrop" => drop_capability(number(value)?),
            "open" => {
                // Without close-on-exec: it is to be run.
                let flags = rustix::fs::OFlags::RDONLY;
                self.program = Some(rustix::fs::open(value, flags, rustix::fs::Mode::empty()).map_err(text)?);
                Ok(())
            }
            "tell" => self.tell(value),
            "wait" => {
                self.tell(value)?;
                wait_for_line();
                Ok(())
            }
            "fork" => self.fork(),
            "share" => share(),
            "storm" => self.storm(value),
            // Takes connections for ever, one after the other, reads each to its end and closes it.
            "serve" => loop {
                self.socket_step("accept", "")?;
                self.network_step("eof", "")?;
                self.socket = None;
            },
            "keep" => {
                self.kept.extend(self.socket.take());
                Ok(())
            }
            _ => self
                .udp_step(name, value)
                .or_else(|| self.moving_step(name, value))
                .or_else(|| self.naming_step(name, value))
                .or_else(|| self.beating_step(name, value))
                .unwrap_or_else(|| self.socket_step(name, value)),
        }
    }

    fn socket_step(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "socket" => {
                let family = if value == "6" { AddressFamily::INET6 } else { AddressFamily::INET };
                self.socket = Some(tcp_socket(family).map_err(text)?);
                Ok(())
            }
            "dual" => sockopt::set_ipv6_v6only(self.current()?, false).map_err(text),
            "fchown" => {
                let uid = rustix::fs::Uid::from_raw(number(value)?);
                rustix::fs::fchown(self.current()?, Some(uid), None).map_err(text)
            }
            "bind" => {
                sockopt::set_socket_reuseaddr(self.current()?, true).map_err(text)?;
                net::bind(self.current()?, &address(value)?).map_err(text)
            }
            "listen" => {
                net::listen(self.current()?, number(value)?).map_err(text)?;
                self.listener = self.socket.take();
                Ok(())
            }
            "accept" => {
                let listener = self.listener.as_ref().ok_or("accept without listen")?;
                self.socket = Some(net::accept(listener).map_err(text)?);
                Ok(())
            }
            "unlisten" => {
                self.listener = None;
                Ok(())
            }
            "close" => {
                self.socket = None;
                Ok(())
            }
            "linger0" => sockopt::set_socket_linger(self.current()?, Some(Duration::ZERO)).map_err(text),
            "nodelay" => sockopt::set_tcp_nodelay(self.current()?, true).map_err(text),
            "syncnt" => set_option(self.current()?, libc::IPPROTO_TCP, libc::TCP_SYNCNT, number(value)?),
            "user-timeout" => sockopt::set_tcp_user_timeout(self.current()?, number(value)?).map_err(text),
            "nonblock" => rustix::io::ioctl_fionbio(self.current()?, true).map_err(text),
            "block" => rustix::io::ioctl_fionbio(self.current()?, false).map_err(text),
            "shut" => net::shutdown(self.current()?, Shutdown::Write).map_err(text),
            _ => self.network_step(name, value),
        }
    }

    /// Steps whose failure is what the test is about.
    fn network_step(&mut self, name: &str, value: &str) -> Result<()> {
        let socket = self.socket.as_ref().ok_or("no socket")?;
        let result = match name {
            "connect" => net::connect(socket, &address(value)?),
            // Waits for the outcome of a non-blocking connect.
            "outcome" => poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)
                .and_then(|_| sockopt::socket_error(socket))
                .and_then(|error| error),
            // Waits until something can be read, and leaves it unread.
            "readable" => poll(&mut [PollFd::new(socket, PollFlags::IN)], None).map(drop),
            "send" => send(socket, number(value)?, &mut self.sent),
            "recv" => receive(socket, Some(number(value)?), &mut self.received),
            "eof" => receive(socket, None, &mut self.received),
            _ => return Err("no such step".to_owned()),
        };
        self.errno = result.err().map_or(0, Errno::raw_os_error);
        Ok(())
    }

    fn current(&self) -> Result<&OwnedFd> {
        self.socket.as_ref().ok_or_else(|| "no socket".to_owned())
    }

    /// Prints what the tests compare with.
    fn tell(&self, label: &str) -> Result<()> {
        use std::fmt::Write as _;
        let mut line = format!(
            "{{\"label\":\"{label}\",\"pid\":{},\"tid\":{},\"ppid\":{},\"errno\":{},\"sent\":{},\"received\":{}",
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero(),
            rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()),
            self.errno,
            self.sent,
            self.received,
        );
        let socket = self.socket.as_ref().or(self.listener.as_ref());
        if let Some(socket) = socket {
            let local: Option<SocketAddr> = net::getsockname(socket).ok().and_then(|any| any.try_into().ok());
            let _ = write!(line, ",\"port\":{}", local.map_or(0, |local| local.port()));
            let peer: Option<SocketAddr> = net::getpeername(socket).ok().and_then(|any| any?.try_into().ok());
            let _ = write!(line, ",\"peer_port\":{}", peer.map_or(0, |peer| peer.port()));
            let _ = write!(line, ",\"cookie\":{}", sockopt::socket_cookie(socket).map_err(text)?);
            if let Some((segments_in, segments_out, mss)) = tcp_info(socket) {
                let _ = write!(line, ",\"segs_in\":{segments_in},\"segs_out\":{segments_out},\"mss\":{mss}");
            }
        }
        if let Some(storm) = &self.storm {
            let _ = write!(line, ",\"connected\":{},\"failed\":{}", storm.connected, storm.failed);
        }
        line.push_str("}\n");
        std::io::stdout().write_all(line.as_bytes()).map_err(text)
    }

    /// The parent ends at once and closes nothing by itself; the child goes on with the steps.
    fn fork(&mut self) -> Result<()> {
        // SAFETY: this process has one thread here, and the child only goes on where the parent stopped.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error().to_string()),
            0 => Ok(()),
            _ => std::process::exit(0),
        }
    }

    /// `ADDRESS:PORT,CONNECTIONS,THREADS`: every thread listens on a port of its own, connects to itself, and resets
    /// the connection, so that no TIME_WAIT holds ports.
    fn storm(&mut self, value: &str) -> Result<()> {
        let mut parts = value.split(',');
        let mut part = || parts.next().ok_or("give ADDRESS:PORT,CONNECTIONS,THREADS");
        let (first, connections, threads) =
            (address(part()?)?, number::<u64>(part()?)?, number::<u16>(part()?)?);
        let each = connections / u64::from(threads);
        let workers: Vec<_> = (0..threads)
            .map(|index| {
                let mut at = first;
                at.set_port(first.port() + index);
                std::thread::spawn(move || connect_to_itself(at, each))
            })
            .collect();
        let mut storm = Storm::default();
        for worker in workers {
            let (connected, failed) = worker.join().map_err(|_| "a thread panicked")??;
            storm.connected += connected;
            storm.failed += failed;
        }
        self.storm = Some(storm);
        self.tell("storm")
    }
}

fn connect_to_itself(at: SocketAddr, times: u64) -> Result<(u64, u64)> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let listener = tcp_socket(family).map_err(text)?;
    sockopt::set_socket_reuseaddr(&listener, true).map_err(text)?;
    net::bind(&listener, &at).map_err(text)?;
    net::listen(&listener, 16).map_err(text)?;
    let (mut connected, mut failed) = (0, 0);
    for _ in 0..times {
        let client = tcp_socket(family).map_err(text)?;
        if net::connect(&client, &at).is_err() {
            failed += 1;
            continue;
        }
        connected += 1;
        let _server = net::accept(&listener).map_err(text)?;
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).map_err(text)?;
    }
    Ok((connected, failed))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A socket that gives up by itself, so that a failed test leaves no process behind.
fn tcp_socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(GIVE_UP_AFTER))?;
    if std::env::var_os("TRACER_EARLY_COOKIES").is_some() {
        sockopt::socket_cookie(&socket)?;
    }
    Ok(socket)
}

fn send(socket: &OwnedFd, count: u64, sent: &mut u64) -> rustix::io::Result<()> {
    let chunk = vec![b'x'; 65536];
    let end = *sent + count;
    while *sent < end {
        let length = usize::try_from(end - *sent).unwrap_or(usize::MAX).min(chunk.len());
        let part = chunk.get(..length).unwrap_or_default();
        *sent += net::send(socket, part, SendFlags::NOSIGNAL)? as u64;
    }
    Ok(())
}

/// Receives exactly `count` bytes, or everything until the peer's FIN.
fn receive(socket: &OwnedFd, count: Option<u64>, received: &mut u64) -> rustix::io::Result<()> {
    let mut chunk = vec![0; 65536];
    let end = count.map(|count| *received + count);
    while end.is_none_or(|end| *received < end) {
        let wanted = end.map_or(u64::MAX, |end| end - *received);
        let length = usize::try_from(wanted).unwrap_or(usize::MAX).min(chunk.len());
        let part = chunk.get_mut(..length).unwrap_or_default();
        match rustix::io::read(socket, part)? {
            0 => break,
            more => *received += more as u64,
        }
    }
    Ok(())
}

/// A line on standard input, or its end.
fn wait_for_line() {
    let _ = std::io::stdin().lock().read_line(&mut String::new());
}

fn become_user(uid: u32) -> Result<()> {
    let gid = rustix::thread::Gid::from_raw(uid);
    let uid = rustix::thread::Uid::from_raw(uid);
    rustix::thread::set_thread_groups(&[]).map_err(text)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(text)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(text)
}

/// Takes a capability out of the bounding set, so that a later exec as root lacks it.
fn drop_capability(capability: u64) -> Result<()> {
    // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().to_string()),
    }
}

fn set_option(socket: &OwnedFd, level: i32, option: i32, value: i32) -> Result<()> {
    let size = libc::socklen_t::try_from(size_of::<i32>()).map_err(text)?;
    // SAFETY: the option takes an int, and `value` lives until the call is over.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}

/// `segs_in`, `segs_out` and the segment size of `struct tcp_info` (include/uapi/linux/tcp.h).
fn tcp_info(socket: &OwnedFd) -> Option<(u32, u32, u32)> {
    let mut info = [0u8; 256];
    let mut length = libc::socklen_t::try_from(info.len()).ok()?;
    // SAFETY: the kernel writes at most `length` bytes into `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let word = |offset: usize| info.get(offset..offset + 4)?.try_into().ok().map(u32::from_ne_bytes);
    (result == 0).then_some((word(140)?, word(136)?, word(16)?))
}
