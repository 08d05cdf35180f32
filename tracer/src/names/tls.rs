//! The first message of a TLS client (RFC 8446 section 4.1.2): which host it asks for, which protocols it offers, and its
//! fingerprint. Also when it is spread over several records and segments.

use super::host_name;
use super::ja4::{Parts, is_grease};
use super::reader::{Reader, numbers};

/// Content type of records that carry handshake messages.
const HANDSHAKE: u8 = 22;
/// Type of the message.
const CLIENT_HELLO: u8 = 1;
/// Record header: type, version, length. Message header: type, length.
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

/// Bytes of the client's random, and of its session id at most (RFC 8446 section 4.1.2).
const RANDOM: usize = 32;
const MAX_SESSION_ID: usize = 32;

/// Types of extensions, from IANA's registry.
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// What a client says first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host that it asks for. With `is_hidden`, that of the front that hides it.
    pub server_name: Option<String>,
    /// The name of the host proper is encrypted (ECH).
    pub is_hidden: bool,
    /// Protocols that it offers, e.g. `h2`.
    pub alpn: Vec<String>,
    /// Of what is in the clear.
    pub ja4: String,
}

/// What the first bytes of a stream are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stream {
    Hello(ClientHello),
    /// It begins like TLS; more is to come.
    Incomplete,
    Other,
}

/// Looks at the first bytes that a client sent over TCP.
#[must_use]
pub fn in_stream(bytes: &[u8]) -> Stream {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some((record, behind)) = rest.split_first_chunk::<RECORD_HEADER>() {
        let [kind, major, _, high, low] = *record;
        if kind != HANDSHAKE || major != 3 {
            return Stream::Other;
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        message.extend_from_slice(behind.get(..length).unwrap_or(behind));
        match in_message(&message, false) {
            Stream::Incomplete => {}
            done => return done,
        }
        match behind.get(length..) {
            Some(next) => rest = next,
            None => return Stream::Incomplete,
        }
    }
    let is_beginning =
        rest.first().is_none_or(|kind| *kind == HANDSHAKE) && rest.get(1).is_none_or(|major| *major == 3);
    if is_beginning { Stream::Incomplete } else { Stream::Other }
}

/// Looks at the beginning of the handshake, without records: as QUIC carries it.
#[must_use]
pub fn in_message(bytes: &[u8], is_quic: bool) -> Stream {
    let Some((header, body)) = bytes.split_first_chunk::<MESSAGE_HEADER>() else {
        let is_beginning = bytes.first().is_none_or(|kind| *kind == CLIENT_HELLO);
        return if is_beginning { Stream::Incomplete } else { Stream::Other };
    };
    let [kind, a, b, c] = *header;
    if kind != CLIENT_HELLO {
        return Stream::Other;
    }
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    let Some(body) = body.get(..length) else { return Stream::Incomplete };
    hello(body, is_quic).map_or(Stream::Other, Stream::Hello)
}

fn hello(body: &[u8], is_quic: bool) -> Option<ClientHello> {
    let mut body = Reader(body);
    let version = body.u16()?;
    body.take(RANDOM)?;
    if body.vector8()?.len() > MAX_SESSION_ID {
        return None;
    }
    let ciphers = body.vector16().filter(|ciphers| ciphers.len().is_multiple_of(2))?;
    // Methods of compression.
    body.vector8()?;
    let mut hello = ClientHello::default();
    let mut parts = Parts { is_quic, version, ciphers: numbers(ciphers).collect(), ..Parts::default() };
    // Before TLS 1.2 a hello may end here.
    let mut rest = Reader(body.vector16().unwrap_or_default());
    while let Some((kind, content)) = extension(&mut rest) {
        parts.extensions.push(kind);
        hello.is_hidden |= matches!(kind, ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME);
        // One that is broken does not hide the others.
        let _ = take(kind, content, &mut hello, &mut parts);
    }
    hello.ja4 = parts.fingerprint();
    Some(hello)
}

/// The next extension: type and content.
fn extension<'a>(rest: &mut Reader<'a>) -> Option<(u16, &'a [u8])> {
    Some((rest.u16()?, rest.vector16()?))
}

/// Takes what counts of an extension. `None`: it is broken, and nothing of it was taken.
fn take(kind: u16, content: &[u8], hello: &mut ClientHello, parts: &mut Parts) -> Option<()> {
    let mut content = Reader(content);
    match kind {
        SERVER_NAME => {
            // A server's answer is empty.
            let list = if content.0.is_empty() { &[] } else { content.vector16()? };
            parts.has_server_name = true;
            hello.server_name = first_host(list).and_then(host_name);
        }
        ALPN => {
            let protocols = vectors8(content.vector16()?);
            parts.alpn = protocols.first().map(|name| name.to_vec());
            let is_text = |name: &&&[u8]| name.iter().all(u8::is_ascii_graphic);
            hello.alpn = protocols
                .iter()
                .filter(is_text)
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect();
        }
        SUPPORTED_VERSIONS => {
            let versions = content.vector8()?;
            let offered = numbers(versions).filter(|version| !is_grease(*version));
            parts.version = offered.max().unwrap_or(parts.version);
        }
        SIGNATURE_ALGORITHMS => parts.signature_algorithms = numbers(content.vector16()?).collect(),
        _ => {}
    }
    Some(())
}

/// The first host name of a list of server names that is text (RFC 6066 section 3).
fn first_host(list: &[u8]) -> Option<&str> {
    /// There is no other type.
    const HOST_NAME: u8 = 0;
    let mut list = Reader(list);
    while let (Some(kind), Some(name)) = (list.u8(), list.vector16()) {
        if kind == HOST_NAME
            && let Ok(name) = std::str::from_utf8(name)
        {
            return Some(name);
        }
    }
    None
}

/// The vectors, each behind one byte with its length, up to one that is cut.
fn vectors8(bytes: &[u8]) -> Vec<&[u8]> {
    let mut bytes = Reader(bytes);
    std::iter::from_fn(|| bytes.vector8()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ClientHello message with these extensions: type and content.
    pub(in crate::names) fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        // Two ciphers and one that is made up; no compression.
        body.extend([0, 6, 0x1a, 0x1a, 0x13, 0x01, 0xc0, 0x2b, 1, 0]);
        let mut all = Vec::new();
        for (kind, content) in extensions {
            all.extend(kind.to_be_bytes());
            all.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            all.extend(content);
        }
        body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        body.extend(all);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO], &length[1..], &body[..]].concat()
    }

    pub(in crate::names) fn server_name(name: &str) -> (u16, Vec<u8>) {
        let length = |more: usize| u16::try_from(name.len() + more).unwrap().to_be_bytes();
        (0, [&length(3)[..], &[0], &length(0)[..], name.as_bytes()].concat())
    }

    pub(in crate::names) fn alpn(protocols: &[&str]) -> (u16, Vec<u8>) {
        let mut list = Vec::new();
        for protocol in protocols {
            list.push(u8::try_from(protocol.len()).unwrap());
            list.extend(protocol.bytes());
        }
        (16, [&u16::try_from(list.len()).unwrap().to_be_bytes()[..], &list].concat())
    }

    /// Cut into records of at most `most` bytes.
    fn records(message: &[u8], most: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1], &length[..], part].concat()
        };
        message.chunks(most).flat_map(record).collect()
    }

    fn hello_of(bytes: &[u8]) -> ClientHello {
        match in_stream(bytes) {
            Stream::Hello(hello) => hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn server_name_protocols_and_fingerprint_are_read() {
        let versions = (43, vec![4, 0x03, 0x04, 0x03, 0x03]);
        let bytes = message(&[server_name("Www.Example.org"), alpn(&["h2", "http/1.1"]), versions]);
        let hello = hello_of(&records(&bytes, 16384));
        assert_eq!(hello.server_name.as_deref(), Some("www.example.org"));
        assert_eq!(hello.alpn, ["h2", "http/1.1"]);
        assert!(!hello.is_hidden);
        assert!(hello.ja4.starts_with("t13d0203h2_"), "{}", hello.ja4);
    }

    #[test]
    fn a_hello_that_is_cut_is_whole_when_the_rest_has_come() {
        // As large as with a post-quantum key share.
        let bytes = message(&[(51, vec![0; 1700]), server_name("pq.example")]);
        let stream = records(&bytes, 600);
        for end in 0..stream.len() {
            assert_eq!(in_stream(&stream[..end]), Stream::Incomplete, "{end} bytes");
        }
        assert_eq!(hello_of(&stream).server_name.as_deref(), Some("pq.example"));
    }

    #[test]
    fn an_encrypted_hello_is_noted_as_hidden() {
        let hello = hello_of(&records(&message(&[server_name("front.example"), (0xfe0d, vec![0; 40])]), 900));
        assert_eq!((hello.server_name.as_deref(), hello.is_hidden), (Some("front.example"), true));
    }

    #[test]
    fn a_broken_extension_does_not_hide_the_others() {
        let hello = hello_of(&records(&message(&[(16, vec![0xff; 3]), server_name("a.example")]), 900));
        assert_eq!((hello.server_name.as_deref(), hello.alpn.len()), (Some("a.example"), 0));
    }

    #[test]
    fn other_streams_are_not_tls() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-x\r\n",
            &[HANDSHAKE, 9, 9],
            &[HANDSHAKE, 3, 1, 0, 4, 2, 0, 0, 0],
        ] {
            assert_eq!(in_stream(bytes), Stream::Other, "{bytes:?}");
        }
        assert_eq!(in_stream(b""), Stream::Incomplete);
    }
}
