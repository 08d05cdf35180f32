//! Steps that move data or sockets in unusual ways.

use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use io_uring::{IoUring, opcode, squeue, types};
use rustix::net::{
    self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::{Result, State, address, number, text};

/// Number of a descriptor that lives on over an exec.
const HEIR: i32 = 100;

impl State {
    /// `None`: not one of these steps.
    pub fn moving_step(&mut self, name: &str, value: &str) -> Option<Result<()>> {
        Some(match name {
            // TCP Fast Open, ADDRESS:PORT,BYTES: connects and sends with one call.
            "fastopen" => self.fast_open(value),
            "sendfile" => number(value).and_then(|count| self.send_file(count)),
            "splice" => number(value).and_then(|count| self.splice(count)),
            // MSG_MORE: more of the same datagram or segment follows.
            "more" => number(value).and_then(|count| self.send_flagged(count, SendFlags::MORE)),
            // A child takes the socket over a Unix socket and sends so many bytes on it.
            "pass" => number(value).and_then(|count| self.pass(count)),
            // Lets the socket live on over an exec; `adopt` takes it over there.
            "inherit" => self.inherit(),
            "adopt" => self.adopt(),
            // ADDRESS:PORT,BYTES: connects and sends with io_uring.
            "uring" => self.uring(value),
            _ => return None,
        })
    }

    fn send_flagged(&mut self, count: usize, flags: SendFlags) -> Result<()> {
        self.sent +=
            net::send(self.current()?, &vec![b'f'; count], flags | SendFlags::NOSIGNAL).map_err(text)? as u64;
        Ok(())
    }

    fn fast_open(&mut self, value: &str) -> Result<()> {
        let (to, count) = value.split_once(',').ok_or("give ADDRESS:PORT,BYTES")?;
        let to = address(to)?;
        let flags = SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
        let payload = vec![b'o'; number(count)?];
        self.sent += net::sendto(self.current()?, &payload, flags, &to).map_err(text)? as u64;
        Ok(())
    }

    fn send_file(&mut self, count: usize) -> Result<()> {
        let mut file = std::fs::File::from(
            rustix::fs::memfd_create("content", rustix::fs::MemfdFlags::CLOEXEC).map_err(text)?,
        );
        file.write_all(&vec![b's'; count]).map_err(text)?;
        let (mut offset, mut left) = (0, count);
        while left > 0 {
            let moved =
                rustix::fs::sendfile(self.current()?, &file, Some(&mut offset), left).map_err(text)?;
            left = left.checked_sub(moved).filter(|_| moved > 0).ok_or("sendfile moved nothing")?;
            self.sent += moved as u64;
        }
        Ok(())
    }

    fn splice(&mut self, count: usize) -> Result<()> {
        let (from, to) = rustix::pipe::pipe().map_err(text)?;
        std::fs::File::from(to).write_all(&vec![b'p'; count]).map_err(text)?;
        let flags = rustix::pipe::SpliceFlags::empty();
        let moved = rustix::pipe::splice(&from, None, self.current()?, None, count, flags).map_err(text)?;
        self.sent += moved as u64;
        Ok(())
    }

    fn pass(&mut self, count: u64) -> Result<()> {
        let (ours, theirs) =
            net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(text)?;
        let socket = self.socket.take().ok_or("no socket")?;
        // SAFETY: this process has one thread here, and the child only makes system calls and ends.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error().to_string()),
            0 => {
                drop(ours);
                drop(socket);
                let code = i32::from(take_and_send(&theirs, count).is_err());
                std::process::exit(code)
            }
            child => {
                hand_over(&ours, &socket)?;
                // The child alone holds it now.
                drop(socket);
                let mut status = 0;
                // SAFETY: waits for our own child and writes its status to a local.
                unsafe { libc::waitpid(child, &raw mut status, 0) };
                if status == 0 { Ok(()) } else { Err(format!("the child ended with status {status}")) }
            }
        }
    }

    fn inherit(&mut self) -> Result<()> {
        let socket = self.socket.take().ok_or("no socket")?;
        // SAFETY: nothing of this program uses that number; the exec that follows ends it anyway.
        let mut heir = unsafe { OwnedFd::from_raw_fd(HEIR) };
        let result = rustix::io::dup2(&socket, &mut heir).map_err(text);
        std::mem::forget(heir);
        result
    }

    fn adopt(&mut self) -> Result<()> {
        // SAFETY: `inherit` made it for us before the exec.
        self.socket = Some(unsafe { OwnedFd::from_raw_fd(HEIR) });
        Ok(())
    }

    fn uring(&mut self, value: &str) -> Result<()> {
        let (to, count) = value.split_once(',').ok_or("give ADDRESS:PORT,BYTES")?;
        let to = net::SocketAddrAny::from(address(to)?);
        let payload = vec![b'u'; number(count)?];
        let socket = types::Fd(self.current()?.as_raw_fd());
        let mut ring = IoUring::new(2).map_err(text)?;
        let connect = opcode::Connect::new(socket, to.as_ptr().cast(), to.addr_len());
        submit(&mut ring, &connect.build())?;
        let length = u32::try_from(payload.len()).map_err(text)?;
        let sent = submit(&mut ring, &opcode::Send::new(socket, payload.as_ptr(), length).build())?;
        self.sent += u64::from(sent);
        Ok(())
    }
}

/// Does one operation and gives its result.
fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> Result<u32> {
    // SAFETY: what the entry points to lives until the completion, which is waited for here.
    unsafe { ring.submission().push(entry) }.map_err(text)?;
    ring.submit_and_wait(1).map_err(text)?;
    let result = ring.completion().next().ok_or("no completion")?.result();
    u32::try_from(result).map_err(|_| std::io::Error::from_raw_os_error(-result).to_string())
}

fn hand_over(channel: &OwnedFd, socket: &OwnedFd) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
        return Err("the descriptor does not fit".to_owned());
    }
    net::sendmsg(channel, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::empty()).map_err(text)?;
    Ok(())
}

fn take_and_send(channel: &OwnedFd, count: u64) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    net::recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::empty())
        .map_err(text)?;
    let mut sockets = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let socket = sockets.next().and_then(|mut sockets| sockets.next()).ok_or("no descriptor came")?;
    super::send(&socket, count, &mut 0).map_err(text)
}
