//! First bytes of connections, in pieces.

use tracer::names::first_bytes::{FirstBytes, Told};

use crate::input::{number, part};
use crate::{assert_host_name, tls};

/// The first byte says how the rest is to be taken: as the pieces of a stream one after the other, as pieces with offsets, or
/// as datagrams.
pub fn check(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    match how % 3 {
        0 => check_in_order(rest),
        1 => check_told(FirstBytes::of_stream(), rest, |rest| usize::from(number(rest))),
        _ => check_told(FirstBytes::of_datagrams(), rest, |_| 0),
    }
}

fn check_told(mut first: FirstBytes, mut rest: &[u8], offset: impl Fn(&mut &[u8]) -> usize) {
    while !rest.is_empty() {
        let offset = offset(&mut rest);
        if let Some(told) = first.take(offset, part(&mut rest)) {
            check_form(&told);
        }
    }
}

/// In a few pieces, the stream tells what its bytes tell in one.
fn check_in_order(mut rest: &[u8]) {
    const MOST_PIECES: usize = 32;
    let mut first = FirstBytes::of_stream();
    let mut stream = Vec::new();
    for _ in 0..MOST_PIECES {
        let piece = part(&mut rest);
        let told = first.take(stream.len(), piece);
        stream.extend_from_slice(piece);
        assert_eq!(told, FirstBytes::of_stream().take(0, &stream));
        if let Some(told) = told {
            return check_form(&told);
        }
        if rest.is_empty() {
            return;
        }
    }
}

fn check_form(told: &Told) {
    match told {
        Told::Tls(hello) => tls::check_hello(hello, 't'),
        Told::Quic(hello) => tls::check_hello(hello, 'q'),
        Told::Http(asked) => asked.host.iter().for_each(|host| assert_host_name(host)),
        Told::Nothing => {}
    }
}
