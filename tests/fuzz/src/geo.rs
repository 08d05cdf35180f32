//! Files given with `--geo`.

use std::net::IpAddr;

use tracer::enrich::geo::load_file;

use crate::files::Directory;

pub fn check(bytes: &[u8]) {
    let Some(directory) = Directory::new() else { return };
    let Some(path) = directory.write("geo.mmdb", bytes) else { return };
    let database = match load_file(&path) {
        Ok(database) => database,
        Err(why) => return assert_printable(&why.to_string()),
    };
    assert_printable(&database.info().kind);
    for text in ["203.0.113.7", "1.2.3.4", "255.255.255.255", "2001:db8::1", "2a02:d300::1", "::1.2.3.4"] {
        let Ok(address) = text.parse::<IpAddr>() else { continue };
        let Some(found) = database.lookup(address) else { continue };
        assert!(!found.fields.is_empty());
        assert!(found.prefix() <= if address.is_ipv6() { 128 } else { 32 }, "/{}", found.prefix());
    }
}

fn assert_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
