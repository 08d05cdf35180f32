//! The host in the first bytes of an HTTP/1 request (RFC 9110 section 7.2): sent without encryption.

use super::host_name;

/// Header fields that are looked at: browsers send about fifteen.
const MOST_FIELDS: usize = 64;

/// What the first bytes of a stream are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A request, as far as it is there.
    Http(Asked),
    /// It may still become one.
    Incomplete,
    Other,
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Where it has come.
    pub host: Option<String>,
    /// A proxy is asked, for another host than the one that is connected to.
    pub is_proxied: bool,
}

/// Looks at the first bytes that a client sent.
#[must_use]
pub fn request(bytes: &[u8]) -> Request {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => Request::Http(asked(&request)),
        Ok(httparse::Status::Partial) => match asked(&request) {
            // A method alone may be anything.
            Asked { host: None, .. } if request.version.is_none() => Request::Incomplete,
            asked => Request::Http(asked),
        },
        // More fields than we look at: those before are good.
        Err(httparse::Error::TooManyHeaders) => Request::Http(asked(&request)),
        Err(_) => Request::Other,
    }
}

fn asked(request: &httparse::Request<'_, '_>) -> Asked {
    // A proxy is asked for an authority, or for an absolute address.
    if let Some(path) = request.path.filter(|path| !path.starts_with('/')) {
        let authority = path.split_once("://").map_or(path, |(_, rest)| rest);
        if let Some(host) = authority.split('/').next().and_then(of_authority) {
            return Asked { host: Some(host), is_proxied: true };
        }
    }
    let is_host = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case("host");
    let field = request.headers.iter().find(is_host);
    let text = field.and_then(|field| std::str::from_utf8(field.value).ok());
    Asked { host: text.map(str::trim).and_then(of_authority), is_proxied: false }
}

/// Of `host:port`, without the port.
fn of_authority(authority: &str) -> Option<String> {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host_name(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(text: &str) -> Option<String> {
        match request(text.as_bytes()) {
            Request::Http(asked) => asked.host,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_host_of_a_request_is_its_host_field_without_the_port() {
        let text = "GET /a HTTP/1.1\r\nUser-Agent: x\r\nhOsT: Www.Example.org:8080\r\nAccept: */*\r\n\r\n";
        assert_eq!(host_of(text).as_deref(), Some("www.example.org"));
        assert_eq!(host_of("CONNECT example.net:443 HTTP/1.1\r\n\r\n").as_deref(), Some("example.net"));
        let proxied = request(b"GET http://example.com/x HTTP/1.1\r\n\r\n");
        let expected = Asked { host: Some("example.com".to_owned()), is_proxied: true };
        assert_eq!(proxied, Request::Http(expected));
        assert_eq!(
            host_of("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"),
            None,
            "an address is no name"
        );
    }

    #[test]
    fn a_host_that_has_come_is_told_before_the_request_is_whole() {
        assert_eq!(host_of("GET / HTTP/1.1\r\nHost: a.example\r\nCookie: xy").as_deref(), Some("a.example"));
        assert_eq!(request(b"GET / HTTP/1.1\r\nHost: a.exam"), Request::Http(Asked::default()));
        assert_eq!(request(b"GET /some/pa"), Request::Incomplete);
    }

    #[test]
    fn other_protocols_are_not_requests() {
        for bytes in [&b"\x16\x03\x01\x02\x00\x01"[..], b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\x00\x00\x00"] {
            assert_eq!(request(bytes), Request::Other, "{bytes:?}");
        }
    }
}
