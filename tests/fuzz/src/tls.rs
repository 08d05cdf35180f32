//! The first message of a TLS client.

use tracer::names::tls::{ClientHello, Stream, in_message, in_stream};

use crate::assert_host_name;
use crate::input::cut_of;

pub fn check(bytes: &[u8]) {
    let cut = bytes.get(..cut_of(bytes)).unwrap_or_default();
    check_look(in_stream, bytes, cut, 't');
    check_look(|bytes| in_message(bytes, false), bytes, cut, 't');
    check_look(|bytes| in_message(bytes, true), bytes, cut, 'q');
}

/// Looks twice at all bytes and once at those before a cut: what is decided stays so when more comes.
fn check_look(look: impl Fn(&[u8]) -> Stream, bytes: &[u8], cut: &[u8], transport: char) {
    let stream = look(bytes);
    assert_eq!(look(bytes), stream);
    let before = look(cut);
    assert!(before == Stream::Incomplete || before == stream, "{before:?} became {stream:?}");
    if let Stream::Hello(hello) = &stream {
        check_hello(hello, transport);
    }
}

pub fn check_hello(hello: &ClientHello, transport: char) {
    if let Some(name) = &hello.server_name {
        assert_host_name(name);
    }
    for protocol in &hello.alpn {
        assert!(protocol.bytes().all(|byte| byte.is_ascii_graphic()), "{protocol:?}");
    }
    assert!(is_fingerprint(&hello.ja4, transport), "{}", hello.ja4);
}

/// `t13d1516h2_8daaf6152771_e5627efa2ab1`.
fn is_fingerprint(text: &str, transport: char) -> bool {
    let mut parts = text.split('_');
    let (Some(head), Some(ciphers), Some(rest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let is_hash =
        |part: &str| part.len() == 12 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    head.len() == 10
        && head.starts_with(transport)
        && head.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && head.bytes().skip(4).take(4).all(|byte| byte.is_ascii_digit())
        && is_hash(ciphers)
        && is_hash(rest)
}
