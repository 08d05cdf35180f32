//! One row per open socket, for a person: `tracer snapshot`.

use std::fmt::Write;

use super::pretty::{address, fit};
use crate::record::{Action, Direction, Endpoint, Record, Transport};

/// Column widths: a package name, an IPv4 address with port, a network's name.
const OWNER: usize = 34;
const ADDRESS: usize = 24;
const NETWORK: usize = 28;

/// The heading of the rows.
#[must_use]
pub fn heading() -> String {
    row(&Columns {
        transport: "",
        state: "STATE",
        owner: "APP OR PROCESS",
        local: "LOCAL",
        remote: "REMOTE",
        country: "CC",
        network: "NETWORK",
        sent: "SENT",
        received: "RECEIVED",
    })
}

struct Columns<'a> {
    transport: &'a str,
    state: &'a str,
    owner: &'a str,
    local: &'a str,
    remote: &'a str,
    country: &'a str,
    network: &'a str,
    sent: &'a str,
    received: &'a str,
}

fn row(columns: &Columns<'_>) -> String {
    let mut text = String::with_capacity(180);
    let _ = write!(
        text,
        "{:<3} {:<6} {} {} {} {:<2} {} {:>9} {:>9}",
        columns.transport,
        columns.state,
        fit(columns.owner, OWNER),
        fit(columns.local, ADDRESS),
        fit(columns.remote, ADDRESS),
        columns.country,
        fit(columns.network, NETWORK),
        columns.sent,
        columns.received,
    );
    let length = text.trim_end().len();
    text.truncate(length);
    text.push('\n');
    text
}

/// Appends the row of a socket; nothing for other records.
pub fn render(record: &Record<'_>, line: &mut Vec<u8>) {
    let state = match record.event.action {
        Action::Existing => "open",
        Action::Listening => "listen",
        _ => return,
    };
    let is_ingress = record.network.as_ref().is_some_and(|n| n.direction == Some(Direction::Ingress));
    let (local, remote) = match (&record.source, &record.destination) {
        (Some(source), destination) if !is_ingress => (Some(source), destination.as_ref()),
        (source, destination) => (destination.as_ref(), source.as_ref()),
    };
    let bytes = |end: Option<&Endpoint<'_>>| end.and_then(|end| end.bytes).map_or(String::new(), human);
    let is_udp = record.network.as_ref().is_some_and(|network| network.transport == Transport::Udp);
    let text = row(&Columns {
        transport: if is_udp { "udp" } else { "tcp" },
        state,
        owner: record.who.map_or("unknown", |who| &who.label),
        local: &local.map_or(String::new(), address),
        remote: &remote.map_or(String::new(), address),
        country: remote.and_then(|end| end.place.country).map_or("", |country| country.code),
        network: remote.map_or("", |end| &end.place.network),
        sent: &bytes(local),
        received: &bytes(remote),
    });
    line.extend_from_slice(text.as_bytes());
}

/// Bytes with a binary unit and three digits at least.
fn human(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes, "B");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 10_000 {
            break;
        }
        (value, unit) = (value / 1024, next);
    }
    format!("{value} {unit}")
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_keep_their_leading_digits() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(9999), "9999 B");
        assert_eq!(human(10_240), "10 KiB");
        assert_eq!(human(5 << 30), "5120 MiB");
        assert_eq!(human(u64::MAX), "16777215 TiB");
    }
}
