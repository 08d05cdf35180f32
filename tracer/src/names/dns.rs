//! DNS messages: which name was asked for, and which addresses the answer gave it.
//!
//! A copy of a long answer may be cut: what came before the cut is read. Answers follow aliases (CNAME, and the target of
//! HTTPS and SVCB records), so that an address belongs to the name that was asked for.

use std::net::IpAddr;

use domain::base::Message;
use domain::base::iana::{Rcode, Rtype};
use domain::base::name::ParsedName;
use domain::base::record::ParsedRecord;
use domain::rdata::svcb::{Https, Svcb, SvcbRdata};
use domain::rdata::{A, Aaaa, Cname};

use super::host_name;

/// Records of an answer that are looked at. A message of 4 KiB holds some 250.
const MOST_RECORDS: usize = 256;
/// Aliases that are followed.
const MOST_ALIASES: usize = 16;

/// A question or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    pub id: u16,
    pub is_answer: bool,
    /// RFC 1035 section 4.1.1: 0 is success, 3 NXDOMAIN.
    pub code: u8,
    /// The answer did not fit into its datagram.
    pub is_truncated: bool,
    pub question: Question,
    pub addresses: Vec<Address>,
}

impl Dns {
    /// Addresses, each with the seconds that it lives.
    pub fn lifetimes(&self) -> impl Iterator<Item = (IpAddr, u32)> + '_ {
        self.addresses.iter().map(|address| (address.ip, address.ttl))
    }

    /// Name of the code of an answer, e.g. `NXDOMAIN`.
    #[must_use]
    pub fn code_name(&self) -> String {
        Rcode::masked_from_int(self.code).to_string()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub name: String,
    /// As in the registry of types: 1 is A, 28 AAAA, 65 HTTPS.
    pub kind: u16,
}

impl Question {
    /// Name of the type, e.g. `AAAA`, or `TYPE` and its number.
    #[must_use]
    pub fn kind_name(&self) -> String {
        Rtype::from_int(self.kind).to_string()
    }
}

/// An address that the answer gives to the name in the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub ip: IpAddr,
    /// Seconds: the shortest on the way from the question.
    pub ttl: u32,
    /// A hint in an HTTPS or SVCB record, not an A or AAAA record.
    pub is_hint: bool,
}

/// What one record says about its name.
enum Fact {
    Alias { from: String, to: String, ttl: u32 },
    Address { of: String, ip: IpAddr, ttl: u32, is_hint: bool },
}

/// Reads a message as it lies in a datagram. `None` for what is no DNS message with a question about a host name.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Dns> {
    let message = Message::from_octets(bytes).ok()?;
    let header = message.header();
    // Anything may be sent to port 53.
    if header.opcode().to_int() != 0 || header.z() {
        return None;
    }
    let asked = message.question().next()?.ok()?;
    let name = text_of(asked.qname())?;
    let question = Question { name, kind: asked.qtype().to_int() };
    let facts = if header.qr() { facts(&message) } else { Vec::new() };
    Some(Dns {
        id: header.id(),
        is_answer: header.qr(),
        code: header.rcode().to_int(),
        is_truncated: header.tc(),
        addresses: addresses(&question.name, &facts),
        question,
    })
}

/// Names and addresses that a machine announces by multicast DNS: an answer without a question (RFC 6762 section 6).
#[must_use]
pub fn announced(bytes: &[u8]) -> Vec<(String, IpAddr, u32)> {
    let Ok(message) = Message::from_octets(bytes) else { return Vec::new() };
    if !message.header().qr() || message.header().opcode().to_int() != 0 {
        return Vec::new();
    }
    let address = |fact| match fact {
        Fact::Address { of, ip, ttl, .. } => Some((of, ip, ttl)),
        Fact::Alias { .. } => None,
    };
    facts(&message).into_iter().filter_map(address).collect()
}

/// The messages of a stream, each behind two bytes of length (RFC 1035 section 4.2.2), as far as they are whole; `None` for one that
/// is none.
pub fn in_stream(mut bytes: &[u8]) -> impl Iterator<Item = Option<Dns>> + '_ {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (message, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        bytes = rest;
        Some(parse(message))
    })
}

fn facts(message: &Message<&[u8]>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut section = message.answer().ok();
    for _ in 0..2 {
        let Some(records) = &mut section else { break };
        // An error is where a copy was cut.
        for record in records.by_ref().take(MOST_RECORDS).map_while(Result::ok) {
            facts_of(&record, &mut facts);
        }
        // Addresses of targets may stand behind the authorities, in the additional section.
        section = message.additional().ok();
    }
    facts
}

fn facts_of(record: &ParsedRecord<'_, &[u8]>, facts: &mut Vec<Fact>) {
    let ttl = record.ttl().as_secs();
    let Some(of) = text_of(record.owner()) else { return };
    match record.rtype() {
        Rtype::A => {
            if let Ok(Some(found)) = record.to_record::<A>() {
                facts.push(Fact::Address { of, ip: found.data().addr().into(), ttl, is_hint: false });
            }
        }
        Rtype::AAAA => {
            if let Ok(Some(found)) = record.to_record::<Aaaa>() {
                facts.push(Fact::Address { of, ip: found.data().addr().into(), ttl, is_hint: false });
            }
        }
        Rtype::CNAME => {
            if let Ok(Some(found)) = record.to_record::<Cname<ParsedName<&[u8]>>>()
                && let Some(to) = text_of(found.data().cname())
            {
                facts.push(Fact::Alias { from: of, to, ttl });
            }
        }
        Rtype::HTTPS => {
            if let Ok(Some(found)) = record.to_record::<Https<&[u8], ParsedName<&[u8]>>>() {
                service(of, ttl, found.data(), facts);
            }
        }
        Rtype::SVCB => {
            if let Ok(Some(found)) = record.to_record::<Svcb<&[u8], ParsedName<&[u8]>>>() {
                service(of, ttl, found.data(), facts);
            }
        }
        _ => {}
    }
}

/// RFC 9460: an alias (priority 0), or a target with hints for its addresses.
fn service<Variant>(
    of: String,
    ttl: u32,
    data: &SvcbRdata<Variant, &[u8], ParsedName<&[u8]>>,
    facts: &mut Vec<Fact>,
) {
    let v4 = data.params().ipv4hint();
    let v6 = data.params().ipv6hint();
    let v4 = v4.iter().flat_map(|hint| hint.iter()).map(IpAddr::from);
    let v6 = v6.iter().flat_map(|hint| hint.iter()).map(IpAddr::from);
    for ip in v4.chain(v6).take(MOST_RECORDS) {
        facts.push(Fact::Address { of: of.clone(), ip, ttl, is_hint: true });
    }
    // The root stands for the owner itself.
    if let Some(to) = text_of(data.target()) {
        facts.push(Fact::Alias { from: of, to, ttl });
    }
}

/// Addresses of `name` and of what it is an alias for.
fn addresses(name: &str, facts: &[Fact]) -> Vec<Address> {
    // Each name with the shortest time on the way to it.
    let mut names = vec![(name.to_owned(), u32::MAX)];
    let mut next = 0;
    while let Some((name, shortest)) = names.get(next).cloned() {
        next += 1;
        for fact in facts {
            if let Fact::Alias { from, to, ttl } = fact
                && *from == name
                && names.len() <= MOST_ALIASES
                && names.iter().all(|(known, _)| known != to)
            {
                names.push((to.clone(), shortest.min(*ttl)));
            }
        }
    }
    let mut found: Vec<Address> = Vec::new();
    for fact in facts {
        let Fact::Address { of, ip, ttl, is_hint } = fact else { continue };
        let Some((_, shortest)) = names.iter().find(|(name, _)| name == of) else { continue };
        let ttl = (*shortest).min(*ttl);
        match found.iter_mut().find(|address| address.ip == *ip) {
            Some(address) => address.is_hint &= *is_hint,
            None => found.push(Address { ip: *ip, ttl, is_hint: *is_hint }),
        }
    }
    found
}

fn text_of(name: impl std::fmt::Display) -> Option<String> {
    host_name(&name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with one question; names are written out, without compression.
    struct Builder(Vec<u8>);

    impl Builder {
        fn new(flags: u16, answers: u16, name: &str, kind: u16) -> Self {
            let mut bytes = vec![0x12, 0x34];
            bytes.extend(flags.to_be_bytes());
            bytes.extend([0, 1]);
            bytes.extend(answers.to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(wire(name));
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1]);
            Self(bytes)
        }

        fn record(mut self, name: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
            self.0.extend(wire(name));
            self.0.extend(kind.to_be_bytes());
            self.0.extend([0, 1]);
            self.0.extend(ttl.to_be_bytes());
            self.0.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            self.0.extend(data);
            self
        }
    }

    fn wire(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes
    }

    const QUESTION: u16 = 0x0100;
    const ANSWER: u16 = 0x8180;

    fn ips(dns: &Dns) -> Vec<(String, u32)> {
        dns.addresses.iter().map(|address| (address.ip.to_string(), address.ttl)).collect()
    }

    #[test]
    fn a_question_names_host_and_type() {
        let dns = parse(&Builder::new(QUESTION, 0, "WWW.example.org", 28).0).unwrap();
        assert_eq!((dns.id, dns.is_answer, dns.question.name.as_str()), (0x1234, false, "www.example.org"));
        assert_eq!(dns.question.kind_name(), "AAAA");
        assert!(dns.addresses.is_empty());
    }

    #[test]
    fn an_address_behind_aliases_belongs_to_the_name_that_was_asked_for() {
        let message = Builder::new(ANSWER, 3, "a.example", 1)
            .record("a.example", 5, 300, &wire("b.cdn.example"))
            .record("b.cdn.example", 5, 60, &wire("c.cdn.example"))
            .record("c.cdn.example", 1, 3600, &[203, 0, 113, 7])
            .0;
        let dns = parse(&message).unwrap();
        assert_eq!(ips(&dns), [("203.0.113.7".to_owned(), 60)]);
        assert_eq!(dns.code, 0);
    }

    #[test]
    fn addresses_of_other_names_are_not_taken() {
        let message = Builder::new(ANSWER, 2, "a.example", 28)
            .record("evil.example", 28, 300, &[0x20; 16])
            .record("a.example", 28, 5, &[0xfd; 16])
            .0;
        assert_eq!(
            ips(&parse(&message).unwrap()),
            [("fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd".to_owned(), 5)]
        );
    }

    #[test]
    fn aliases_that_run_in_a_circle_end() {
        let message = Builder::new(ANSWER, 3, "a.example", 1)
            .record("a.example", 5, 300, &wire("b.example"))
            .record("b.example", 5, 300, &wire("a.example"))
            .record("b.example", 1, 300, &[192, 0, 2, 1])
            .0;
        assert_eq!(parse(&message).unwrap().addresses.len(), 1);
    }

    #[test]
    fn hints_of_an_https_record_are_addresses() {
        // Priority 1, target ".", ipv4hint (4) and ipv6hint (6).
        let mut data = vec![0, 1, 0, 0, 4, 0, 4, 192, 0, 2, 5, 0, 6, 0, 16];
        data.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        let message = Builder::new(ANSWER, 1, "h.example", 65).record("h.example", 65, 120, &data).0;
        let dns = parse(&message).unwrap();
        assert_eq!(ips(&dns), [("192.0.2.5".to_owned(), 120), ("2001:db8::5".to_owned(), 120)]);
        assert!(dns.addresses.iter().all(|address| address.is_hint));
    }

    #[test]
    fn a_cut_answer_tells_what_came_before_the_cut() {
        let message = Builder::new(ANSWER, 2, "a.example", 1)
            .record("a.example", 1, 30, &[192, 0, 2, 1])
            .record("a.example", 1, 30, &[192, 0, 2, 2])
            .0;
        let dns = parse(&message[..message.len() - 2]).unwrap();
        assert_eq!(ips(&dns), [("192.0.2.1".to_owned(), 30)]);
    }

    #[test]
    fn no_such_name_is_an_answer_without_addresses() {
        let dns = parse(&Builder::new(0x8183, 0, "gone.example", 1).0).unwrap();
        assert_eq!((dns.is_answer, dns.code, dns.addresses.len()), (true, 3, 0));
        assert!(parse(&Builder::new(0x8380, 0, "big.example", 1).0).unwrap().is_truncated);
    }

    #[test]
    fn in_a_stream_a_length_stands_before_the_message() {
        let message = Builder::new(QUESTION, 0, "tcp.example", 1).0;
        let mut stream = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
        stream.extend(&message);
        stream.extend([0, 3, 1, 2, 3, 0, 9, 1, 2]);
        let messages: Vec<_> = in_stream(&stream).collect();
        assert_eq!(messages[0].as_ref().unwrap().question.name, "tcp.example");
        assert_eq!(messages[1..], [None], "three bytes are no message, and the last one is not whole");
        assert_eq!(in_stream(&[0]).count(), 0);
    }

    #[test]
    fn what_is_no_dns_message_is_none() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(&[0; 11]), None);
        assert_eq!(parse(&[0xff; 64]), None);
        assert_eq!(parse(&Builder::new(QUESTION, 0, "", 2).0), None, "the root is no host");
    }
}
