//! What an app asks Android's resolver over `/dev/socket/dnsproxyd`, and what it is told: written in the app's own context, so
//! that a name belongs to its app also when the question leaves the device encrypted.
//!
//! Source of the forms: Android, packages/modules/DnsResolver/DnsProxyListener.cpp, and bionic's `getaddrinfo.c`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use base64::Engine as _;

use super::dns::{self, Dns};
use super::host_name;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub name: String,
    /// DNS type, where the request names one.
    pub kind: Option<u16>,
    pub form: Form,
}

/// Which form the answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    AddrInfo,
    HostEnt,
    /// A DNS message.
    Message,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// More is to come.
    Incomplete,
    Addresses(Vec<IpAddr>),
    Message(Dns),
    /// There is no such name, the question could not be asked, or the answer has another form.
    None,
}

/// Longest request that is taken for one: `resnsend` with a question in Base64.
const LONGEST: usize = 1024;
/// Addresses of one answer that are looked at.
const MOST_ADDRESSES: usize = 64;
/// `ResponseCode::DnsProxyQueryResult`, ended by a zero byte.
const RESULT: &[u8] = b"222\0";

/// Reads one request: `getaddrinfo NAME SERVICE FLAGS FAMILY SOCKTYPE PROTOCOL NETID`, `gethostbyname NETID NAME FAMILY`
/// or `resnsend NETID FLAGS QUERY` (a DNS message in Base64), with `^` for what is not given, ended by a zero byte.
/// `None` for others, among them those that ask for the name of an address.
#[must_use]
pub fn request(bytes: &[u8]) -> Option<Request> {
    let end = bytes.iter().take(LONGEST).position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let words: Vec<&str> = text.split(' ').collect();
    match *words.first()? {
        "getaddrinfo" => Some(Request { name: host_name(words.get(1)?)?, kind: None, form: Form::AddrInfo }),
        "gethostbyname" => Some(Request { name: host_name(words.get(2)?)?, kind: None, form: Form::HostEnt }),
        "resnsend" => {
            let message = base64::engine::general_purpose::STANDARD.decode(words.get(3)?).ok()?;
            let question = dns::parse(&message)?.question;
            Some(Request { name: question.name, kind: Some(question.kind), form: Form::Message })
        }
        _ => None,
    }
}

/// Reads what was told so far.
#[must_use]
pub fn answer(form: Form, bytes: &[u8]) -> Answer {
    if form == Form::Message {
        return message(bytes);
    }
    match bytes.split_at_checked(RESULT.len()) {
        None => Answer::Incomplete,
        Some((RESULT, rest)) => {
            let mut reader = Reader(rest);
            let found = if form == Form::AddrInfo { reader.addr_info() } else { reader.host_ent() };
            found.map_or(Answer::Incomplete, Answer::Addresses)
        }
        Some(_) => Answer::None,
    }
}

/// A code, below zero when there is no message, and a message with its length.
fn message(bytes: &[u8]) -> Answer {
    let mut reader = Reader(bytes);
    match reader.number() {
        None => Answer::Incomplete,
        Some(code) if code > 0xffff => Answer::None,
        Some(_) => match reader.data() {
            None => Answer::Incomplete,
            Some(message) => dns::parse(message).map_or(Answer::None, Answer::Message),
        },
    }
}

/// Takes fields off the front. Numbers have four bytes, big-endian.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// A length, and so many bytes.
    fn data(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (data, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(data)
    }

    /// Each behind a 1: flags, family, type, protocol, address (`struct sockaddr`), canonical name. A 0 ends them.
    fn addr_info(&mut self) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        while self.number()? == 1 && found.len() < MOST_ADDRESSES {
            for _ in 0..4 {
                self.number()?;
            }
            let address = self.data()?;
            self.data()?;
            if let Some(ip) = of_sockaddr(address).filter(|ip| !found.contains(ip)) {
                found.push(ip);
            }
        }
        Some(found)
    }

    /// Name, aliases and an empty one, family, length of an address, addresses (16 bytes each) and an empty one.
    fn host_ent(&mut self) -> Option<Vec<IpAddr>> {
        self.data()?;
        while !self.data()?.is_empty() {}
        let family = self.number()?;
        self.number()?;
        let mut found = Vec::new();
        loop {
            let bytes = self.data()?;
            let Some(ip) = address(family, bytes) else { return Some(found) };
            if !found.contains(&ip) && found.len() < MOST_ADDRESSES {
                found.push(ip);
            }
        }
    }
}

/// `struct sockaddr_in` (address at 4) or `struct sockaddr_in6` (address at 8).
fn of_sockaddr(bytes: &[u8]) -> Option<IpAddr> {
    let family = u32::from(u16::from_ne_bytes(*bytes.first_chunk()?));
    address(family, bytes.get(if family == AF_INET { 4.. } else { 8.. })?)
}

/// include/linux/socket.h
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

fn address(family: u32, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        AF_INET6 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn sockaddr(ip: &str) -> Vec<u8> {
        match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                [&2u16.to_ne_bytes()[..], &443u16.to_be_bytes(), &ip.octets(), &[0; 8]].concat()
            }
            IpAddr::V6(ip) => {
                [&10u16.to_ne_bytes()[..], &443u16.to_be_bytes(), &[0; 4], &ip.octets(), &[0; 4]].concat()
            }
        }
    }

    fn addr_info(ips: &[&str]) -> Vec<u8> {
        let mut bytes = RESULT.to_vec();
        for ip in ips {
            bytes.extend([0, 0, 0, 1].into_iter().chain([0; 16]));
            bytes.extend(data(&sockaddr(ip)));
            bytes.extend(data(b"canonical.example\0"));
        }
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn a_getaddrinfo_request_names_its_host() {
        let request = request(b"getaddrinfo Push.Example.com 443 1024 2 1 6 100\0").unwrap();
        assert_eq!((request.name.as_str(), request.form), ("push.example.com", Form::AddrInfo));
        let any = super::request(b"getaddrinfo a.example ^ -1 -1 -1 -1 0\0rest").unwrap();
        assert_eq!(any.name, "a.example");
    }

    #[test]
    fn the_other_forms_of_a_request_are_read_too() {
        let old = request(b"gethostbyname 100 old.example 10\0").unwrap();
        assert_eq!((old.name.as_str(), old.form), ("old.example", Form::HostEnt));
        // A question for the type HTTPS of a.example.
        let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x07example\0\0\x41\0\x01";
        let text = base64::engine::general_purpose::STANDARD.encode(question);
        let sent = request(format!("resnsend 100 0 {text}\0").as_bytes()).unwrap();
        assert_eq!((sent.name.as_str(), sent.kind, sent.form), ("a.example", Some(65), Form::Message));
    }

    #[test]
    fn what_is_no_request_for_a_name_is_none() {
        for bytes in [
            &b""[..],
            b"\0",
            b"getaddrinfo",
            b"getaddrinfo \0",
            b"getaddrinfo ^ 443 0 0 0 0 0\0",
            b"getaddrinfo a.example 443",
            b"getaddrinfo 192.0.2.1 443 0 0 0 0 0\0",
            b"gethostbyaddr 192.0.2.1 4 2 100\0",
            b"getaddrinfo \xff\xfe 1 2 3 4 5 6\0",
            b"resnsend 100 0 !!!\0",
            b"resnsend 100 0 AAAA\0",
        ] {
            assert_eq!(request(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn an_answer_has_its_addresses_once_it_is_whole() {
        let bytes = addr_info(&["192.0.2.1", "2001:db8::1", "192.0.2.1"]);
        let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).to_vec();
        assert_eq!(answer(Form::AddrInfo, &bytes), Answer::Addresses(ips));
        for length in 0..bytes.len() {
            assert_eq!(answer(Form::AddrInfo, &bytes[..length]), Answer::Incomplete, "{length}");
        }
        let refused = [b"401\0".to_vec(), data(&[0, 0, 0, 7])].concat();
        assert_eq!(answer(Form::AddrInfo, &refused), Answer::None);
    }

    #[test]
    fn an_answer_in_the_older_form_is_read_too() {
        let mut bytes = [RESULT.to_vec(), data(b"a.example\0"), data(b"alias.example\0"), data(b"")].concat();
        bytes.extend([0, 0, 0, 2, 0, 0, 0, 4]);
        bytes.extend(data(&[192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
        bytes.extend(data(b""));
        assert_eq!(answer(Form::HostEnt, &bytes), Answer::Addresses(vec!["192.0.2.7".parse().unwrap()]));
    }

    #[test]
    fn an_answer_may_be_a_dns_message() {
        let message = b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x01a\x07example\0\0\x01\0\x01\
                        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x09";
        let bytes = [vec![0; 4], data(message)].concat();
        let Answer::Message(dns) = answer(Form::Message, &bytes) else { panic!("no message") };
        assert_eq!(dns.addresses[0].ip.to_string(), "192.0.2.9");
        assert_eq!(answer(Form::Message, &bytes[..20]), Answer::Incomplete);
        assert_eq!(answer(Form::Message, &(-110i32).to_be_bytes()), Answer::None);
    }
}
