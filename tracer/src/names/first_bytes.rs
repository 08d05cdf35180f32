//! What a client sends first on a connection, looked at until it tells its host, or until it is known that it does not.

use super::http;
use super::pieces::Pieces;
use super::quic::{Beginning, Look};
use super::tls::{self, ClientHello, Stream};

/// What the first bytes told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Tls(ClientHello),
    Quic(ClientHello),
    /// A request without encryption.
    Http(http::Asked),
    /// None of these, or not within what is looked at.
    Nothing,
}

/// One connection's first bytes.
pub enum FirstBytes {
    Stream(Pieces),
    Datagrams(Box<Beginning>),
}

impl FirstBytes {
    #[must_use]
    pub fn of_stream() -> Self {
        Self::Stream(Pieces::default())
    }

    #[must_use]
    pub fn of_datagrams() -> Self {
        Self::Datagrams(Box::default())
    }

    /// Takes bytes that the client sent, of a stream with their offset. `None` while more is needed.
    pub fn take(&mut self, offset: usize, bytes: &[u8]) -> Option<Told> {
        match self {
            Self::Datagrams(beginning) => match beginning.take(bytes) {
                Look::Hello(hello) => Some(Told::Quic(hello)),
                Look::Incomplete => None,
                Look::Other => Some(Told::Nothing),
            },
            Self::Stream(pieces) => {
                pieces.keep(offset, bytes);
                let told = in_stream(&pieces.beginning());
                told.or_else(|| pieces.is_full().then_some(Told::Nothing))
            }
        }
    }
}

fn in_stream(bytes: &[u8]) -> Option<Told> {
    if bytes.is_empty() {
        return None;
    }
    match tls::in_stream(bytes) {
        Stream::Hello(hello) => return Some(Told::Tls(hello)),
        Stream::Incomplete => return None,
        Stream::Other => {}
    }
    match http::request(bytes) {
        http::Request::Http(asked) => {
            // The field may still come.
            let is_whole = asked.host.is_some() || bytes.windows(4).any(|end| end == b"\r\n\r\n");
            is_whole.then_some(Told::Http(asked))
        }
        http::Request::Incomplete => None,
        http::Request::Other => Some(Told::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_two_segments_tells_its_host() {
        let mut first = FirstBytes::of_stream();
        assert_eq!(first.take(0, b"GET / HTTP/1.1\r\nUser-Agent: x\r\n"), None);
        let told = first.take(31, b"Host: a.example\r\n\r\n");
        assert_eq!(
            told,
            Some(Told::Http(http::Asked { host: Some("a.example".to_owned()), is_proxied: false }))
        );
    }

    #[test]
    fn a_protocol_that_names_no_host_ends_the_look() {
        assert_eq!(FirstBytes::of_stream().take(0, b"SSH-2.0-OpenSSH_9.2\r\n"), Some(Told::Nothing));
        assert_eq!(FirstBytes::of_datagrams().take(0, &[0x40; 1200]), Some(Told::Nothing));
        let old = FirstBytes::of_stream().take(0, b"GET / HTTP/1.0\r\n\r\n");
        assert_eq!(old, Some(Told::Http(http::Asked::default())));
    }

    #[test]
    fn a_look_without_an_end_is_given_up() {
        let mut first = FirstBytes::of_stream();
        let header = b"GET / HTTP/1.1\r\nX: ";
        assert_eq!(first.take(0, header), None);
        let mut told = None;
        for round in 0..8 {
            told = told.or(first.take(header.len() + round * 1000, &[b'x'; 1000]));
        }
        assert_eq!(told, Some(Told::Nothing));
    }
}
