//! Steps in which names stand: requests with given bytes, and small servers that answer for resolvers.

use std::io::{IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{self, SendAncillaryBuffer, SendFlags};
use tracer_tests::hello;

use super::{GIVE_UP_AFTER, Result, State, text};

impl State {
    /// `None`: not one of these steps.
    pub fn naming_step(&mut self, name: &str, value: &str) -> Option<Result<()>> {
        Some(match name {
            // Sends these bytes (hexadecimal), of several parts with `+` between them in one call.
            "bytes" => self.send_bytes(value),
            // ADDRESS[,HOW]: takes one DNS question on the bound UDP socket and gives it this address, for 60 s. HOW: `parts`,
            // a datagram that lies in several pieces in the kernel; `other`, an answer to another question; `stream`,
            // on a connection that was accepted.
            "dns-answer" => self.answer_dns(value),
            // PATH,ADDRESS: listens there as Android's resolver does (or systemd-resolved, if it is its path), and gives one
            // request this address, or (`none`) no answer. Tells once it listens.
            "resolver" => self.be_resolver(value),
            // PATH,REQUEST (with `_` for a blank): asks there, and reads the answer.
            "resolve" => resolve(value),
            _ => return None,
        })
    }

    fn send_bytes(&mut self, value: &str) -> Result<()> {
        let parts: Vec<Vec<u8>> = value.split('+').map(from_hex).collect::<Result<_>>()?;
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut nothing = SendAncillaryBuffer::default();
        let sent = match &parts[..] {
            [only] => net::send(self.current()?, only, SendFlags::NOSIGNAL),
            _ => net::sendmsg(self.current()?, &slices, &mut nothing, SendFlags::NOSIGNAL),
        };
        self.sent += sent.map_err(text)? as u64;
        Ok(())
    }

    fn answer_dns(&mut self, value: &str) -> Result<()> {
        let (address, how) = value.split_once(',').unwrap_or((value, ""));
        let address: Ipv4Addr = address.parse().map_err(text)?;
        let mut question = [0; 512];
        let socket = self.current()?;
        let (length, _, from) =
            net::recvfrom(socket, &mut question[..], net::RecvFlags::empty()).map_err(text)?;
        let asked = question.get(..length).unwrap_or_default();
        if how == "stream" {
            let answer = answer(asked.get(2..).unwrap_or_default(), address);
            let length = u16::try_from(answer.len()).map_err(text)?.to_be_bytes();
            net::send(socket, &[&length, &answer[..]].concat(), SendFlags::NOSIGNAL).map_err(text)?;
            return Ok(());
        }
        let from = from.ok_or("a question from nowhere")?;
        let answer = match how {
            "other" => answer(&hello::dns("other.example"), address),
            _ => answer(asked, address),
        };
        // The kernel puts what follows beside what it has.
        let first = if how == "parts" { length } else { 0 };
        if let Some(first) = answer.get(..first).filter(|first| !first.is_empty()) {
            net::sendto(socket, first, SendFlags::MORE, &from).map_err(text)?;
        }
        net::sendto(socket, answer.get(first..).unwrap_or_default(), SendFlags::NOSIGNAL, &from)
            .map_err(text)?;
        Ok(())
    }

    fn be_resolver(&mut self, value: &str) -> Result<()> {
        let (path, address) = value.split_once(',').ok_or("give PATH,ADDRESS")?;
        let address: Option<IpAddr> =
            if address == "none" { None } else { Some(address.parse().map_err(text)?) };
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(text)?;
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(path, everybody).map_err(text)?;
        self.tell("listens")?;
        let (mut stream, _) = listener.accept().map_err(text)?;
        stream.set_read_timeout(Some(GIVE_UP_AFTER)).map_err(text)?;
        let mut request = [0; 1024];
        let length = stream.read(&mut request).map_err(text)?;
        if request.get(length.saturating_sub(1)) != Some(&0) {
            return Err("a request without an end".to_owned());
        }
        let Some(address) = address else { return Ok(()) };
        // In as many calls as netd makes.
        let is_systemd = path.ends_with("io.systemd.Resolve");
        let answer = if is_systemd { vec![varlink(address)] } else { addr_info(address) };
        for part in answer {
            stream.write_all(&part).map_err(text)?;
        }
        Ok(())
    }
}

fn resolve(value: &str) -> Result<()> {
    let (path, request) = value.split_once(',').ok_or("give PATH,REQUEST")?;
    let mut stream = UnixStream::connect(path).map_err(text)?;
    stream.set_read_timeout(Some(GIVE_UP_AFTER)).map_err(text)?;
    stream.write_all(format!("{}\0", request.replace('_', " ")).as_bytes()).map_err(text)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(text)?;
    Ok(())
}

/// The question with one address record, which names it by a pointer.
fn answer(question: &[u8], address: Ipv4Addr) -> Vec<u8> {
    let mut message = question.to_vec();
    for (at, byte) in [(2, 0x81), (3, 0x80), (7, 1)] {
        if let Some(place) = message.get_mut(at) {
            *place = byte;
        }
    }
    message.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(address.octets());
    message
}

/// As DnsProxyListener.cpp writes a result with one address.
fn addr_info(address: IpAddr) -> Vec<Vec<u8>> {
    let (family, sockaddr): (u16, Vec<u8>) = match address {
        IpAddr::V4(ip) => (2, [&[0, 0], &ip.octets()[..], &[0; 8]].concat()),
        IpAddr::V6(ip) => (10, [&[0; 6], &ip.octets()[..], &[0; 4]].concat()),
    };
    let sockaddr = [&family.to_ne_bytes()[..], &sockaddr].concat();
    let number = |number: u32| number.to_be_bytes().to_vec();
    let length = u32::try_from(sockaddr.len()).unwrap_or_default();
    let mut parts =
        vec![b"222\0".to_vec(), number(1), number(0), number(family.into()), number(1), number(6)];
    parts.extend([number(length), sockaddr, number(0), number(0)]);
    parts
}

/// As systemd-resolved writes a result with one address.
fn varlink(address: IpAddr) -> Vec<u8> {
    let (family, bytes) = match address {
        IpAddr::V4(ip) => (2, ip.octets().to_vec()),
        IpAddr::V6(ip) => (10, ip.octets().to_vec()),
    };
    let addresses = format!("[{{\"ifindex\":1,\"family\":{family},\"address\":{bytes:?}}}]");
    format!("{{\"parameters\":{{\"addresses\":{addresses},\"flags\":1}}}}\0").into_bytes()
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>().ok_or("no hexadecimal")?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("half a byte".to_owned());
    }
    pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).map_err(super::text)).collect()
}
