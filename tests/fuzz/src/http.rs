//! The first bytes of an HTTP/1 request.

use tracer::names::http::{Asked, Request, request};

use crate::assert_host_name;
use crate::input::cut_of;

pub fn check(bytes: &[u8]) {
    let whole = request(bytes);
    assert_eq!(request(bytes), whole);
    if let Request::Http(Asked { host: Some(host), .. }) = &whole {
        assert_host_name(host);
    }
    let before = request(bytes.get(..cut_of(bytes)).unwrap_or_default());
    match &before {
        // What follows may show that it was no request after all, but no other host.
        Request::Http(Asked { host: Some(_), .. }) => {
            assert!(whole == before || whole == Request::Other, "{before:?} became {whole:?}")
        }
        Request::Other => assert_eq!(whole, before),
        Request::Http(Asked { host: None, .. }) | Request::Incomplete => {}
    }
}
