//! One aligned line per connection, for a person at a terminal; and the stream's own news.
//!
//! A connection is written once its outcome is known (established, failed, accepted), a UDP flow with its first datagram.
//! Everything that comes from a process or a file was made printable by `enrich` already.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::record::{Action, Direction, DnsKind, Endpoint, Protocol, Record, Transport};

/// Colours on or off.
pub struct Pretty {
    pub colour: bool,
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Column widths: a package name, an IPv4 address with port, a network's name.
const WHO: usize = 32;
const REMOTE: usize = 24;
const NETWORK: usize = 30;

impl Pretty {
    /// Appends the line of `record`, or nothing when this record says nothing new to a person.
    pub fn render(&self, record: &Record<'_>, line: &mut Vec<u8>) {
        let network = record.network.as_ref();
        let is_udp = network.is_some_and(|network| network.transport == Transport::Udp);
        let text = match record.event.action {
            Action::Connect if is_udp => self.connection(record),
            Action::Established | Action::Failed | Action::Accept | Action::Existing => {
                self.connection(record)
            }
            Action::Start
            | Action::Reload
            | Action::Stats
            | Action::Loss
            | Action::Warning
            | Action::Stop => self.stream(record),
            Action::Named => self.connection(record),
            Action::Alert => self.alert(record),
            Action::Dns => self.question(record),
            Action::Connect | Action::Close | Action::Sample | Action::Listening => return,
        };
        line.extend_from_slice(text.as_bytes());
        line.push(b'\n');
    }

    fn connection(&self, record: &Record<'_>) -> String {
        let is_ingress = record.network.as_ref().is_some_and(|n| n.direction == Some(Direction::Ingress));
        let remote = if is_ingress { &record.source } else { &record.destination };
        let (arrow, local_port) = if is_ingress {
            ("←", record.destination.as_ref().and_then(|end| end.port))
        } else {
            ("→", None)
        };
        let mut text = String::with_capacity(160);
        let time = record.timestamp.to_string();
        self.paint(&mut text, DIM, time.get(11..23).unwrap_or(&time));
        text.push(' ');
        self.paint(&mut text, BOLD, &fit(record.who.map_or("unknown", |who| &who.label), WHO));
        let _ = write!(text, " {arrow} ");
        if let Some(remote) = remote {
            remote_columns(&mut text, remote);
        }
        let (colour, outcome) = outcome(record);
        text.push(' ');
        self.paint(&mut text, colour, &outcome);
        if let Some(port) = local_port {
            let _ = write!(text, " on port {port}");
        }
        if let Some((domain, source)) = name_of(remote.as_ref()) {
            text.push_str("  ");
            self.paint(&mut text, BOLD, domain);
            self.paint(&mut text, DIM, &format!(" ({source})"));
        }
        for flag in record.flags {
            text.push_str("  ");
            self.paint(&mut text, YELLOW, &flag.id);
        }
        text
    }

    /// What was noticed; the lines of connections only name it.
    fn alert(&self, record: &Record<'_>) -> String {
        let mut text = String::with_capacity(240);
        let time = record.timestamp.to_string();
        self.paint(&mut text, DIM, time.get(11..23).unwrap_or(&time));
        let (Some(alert), Some(rule)) = (&record.alert, &record.rule) else { return text };
        text.push_str(" ! ");
        let severity: &str = alert.severity.into();
        self.paint(&mut text, YELLOW, &format!("{severity} {}", rule.id));
        let _ = write!(text, ": {}", alert.reason);
        if let Some(expected_if) = alert.expected_if {
            self.paint(&mut text, DIM, &format!(" (expected if {expected_if})"));
        }
        text
    }

    fn question(&self, record: &Record<'_>) -> String {
        let mut text = String::with_capacity(160);
        let time = record.timestamp.to_string();
        self.paint(&mut text, DIM, time.get(11..23).unwrap_or(&time));
        text.push(' ');
        self.paint(&mut text, BOLD, &fit(record.who.map_or("unknown", |who| &who.label), WHO));
        let Some(dns) = &record.dns else { return text };
        let _ = write!(text, " ? {} {}", dns.question.name, dns.question.kind.unwrap_or("address"));
        match (dns.kind, dns.response_code) {
            (DnsKind::Query, _) => text.push_str(": no answer seen"),
            (DnsKind::Answer, Some(code)) if code != "NOERROR" => {
                let _ = write!(text, ": {code}");
            }
            (DnsKind::Answer, _) => {
                let addresses: Vec<String> = dns.resolved_ip.iter().map(ToString::to_string).collect();
                let _ = write!(text, ": {}", addresses.join(", "));
            }
        }
        if let Some(server) = &record.destination {
            self.paint(&mut text, DIM, &format!(" (from {})", address(server)));
        }
        text
    }

    fn stream(&self, record: &Record<'_>) -> String {
        let mut text = String::new();
        let time = record.timestamp.to_string();
        self.paint(&mut text, DIM, time.get(11..23).unwrap_or(&time));
        let Some(stream) = &record.tracer else { return text };
        let (colour, what) = match record.event.action {
            Action::Start => (DIM, "start"),
            Action::Reload => (DIM, "reload"),
            Action::Stats => (DIM, "stats"),
            Action::Stop => (DIM, "stop"),
            Action::Loss => (RED, "LOST"),
            _ => (YELLOW, "warning"),
        };
        text.push(' ');
        self.paint(&mut text, colour, what);
        if let Some(message) = stream.message {
            let _ = write!(text, " {message}");
        }
        if let Some(flows) = &stream.flows {
            let _ = write!(text, " {} of {} connections in the table", flows.open, flows.most);
        }
        if let Some(lost) = &stream.lost {
            let kernel: u64 = lost.kernel.values().sum();
            let decode: u64 = lost.decode.values().sum();
            let output: u64 = lost.output.values().sum();
            let _ = write!(text, " {kernel} events in the kernel, {decode} unreadable, {output} not written");
        }
        text
    }

    fn paint(&self, text: &mut String, colour: &str, part: &str) {
        if self.colour {
            let _ = write!(text, "{colour}{part}{RESET}");
        } else {
            text.push_str(part);
        }
    }
}

fn remote_columns(text: &mut String, remote: &Endpoint<'_>) {
    let place = remote.place;
    let country = place.country.map_or("  ", |country| country.code);
    let _ = write!(text, "{} {country} {}", fit(&address(remote), REMOTE), fit(&place.network, NETWORK));
}

/// The name of an end, and in a word where it comes from.
fn name_of<'a>(end: Option<&'a Endpoint<'_>>) -> Option<(&'a str, String)> {
    let end = end?;
    let source = serde_json::to_value(end.name.as_ref()?.source).ok()?;
    Some((end.domain?, source.as_str().unwrap_or_default().replace('_', " ")))
}

/// Address and port of an end.
pub fn address(end: &Endpoint<'_>) -> String {
    match (end.place.address, end.port) {
        (std::net::IpAddr::V6(ip), Some(port)) => format!("[{ip}]:{port}"),
        (ip, Some(port)) => format!("{ip}:{port}"),
        (ip, None) => ip.to_string(),
    }
}

fn outcome(record: &Record<'_>) -> (&'static str, String) {
    let rtt = record.network.as_ref().and_then(|network| network.rtt_us);
    let rtt = rtt.map_or(String::new(), |us| format!(" {}.{} ms", us / 1000, us % 1000 / 100));
    let network = record.network.as_ref();
    let protocol = match network.and_then(|network| network.protocol) {
        Some(Protocol::Quic) => "QUIC",
        Some(Protocol::Dns) => "DNS",
        _ => "UDP",
    };
    match record.event.action {
        Action::Connect => (GREEN, format!("sent {protocol}")),
        Action::Accept if network.is_some_and(|network| network.transport == Transport::Udp) => {
            (GREEN, format!("received {protocol}"))
        }
        Action::Accept => (GREEN, format!("accepted{rtt}")),
        Action::Existing => (GREEN, format!("open{rtt}")),
        Action::Named => (GREEN, "is".to_owned()),
        Action::Failed => {
            let end = record.flow.as_ref().and_then(|flow| flow.end);
            let end = end.and_then(|end| serde_json::to_value(end).ok());
            let end = end.as_ref().and_then(|end| end.as_str()).unwrap_or("failed");
            (RED, end.replace('_', " "))
        }
        _ => (GREEN, format!("connected{rtt}")),
    }
}

/// Pads to `width` columns of a terminal, or cuts there with a mark. A Chinese character has two columns, a combining one none.
pub fn fit(text: &str, width: usize) -> String {
    let mut fitted = text.to_owned();
    let mut columns = text.width();
    if columns > width {
        // One column is the mark's.
        let mut end = 0;
        columns = 1;
        for (at, character) in text.char_indices() {
            let wider = columns + character.width().unwrap_or(0);
            if wider > width {
                break;
            }
            (columns, end) = (wider, at + character.len_utf8());
        }
        fitted.truncate(end);
        fitted.push('…');
    }
    fitted.extend(std::iter::repeat_n(' ', width.saturating_sub(columns)));
    fitted
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn columns_keep_their_width_whatever_the_text() {
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(fit("abcdef", 4), "abc…");
        assert_eq!(fit("äöüß", 4), "äöüß");
        assert_eq!(fit("", 2), "  ");
    }

    #[test]
    fn wide_characters_take_two_columns() {
        assert_eq!(fit("百度", 6), "百度  ");
        assert_eq!(fit("百度地图", 8), "百度地图");
        assert_eq!(fit("百度地图", 7), "百度地…");
        // The mark follows three columns; half a character cannot be shown.
        assert_eq!(fit("百度地图", 6), "百度… ");
        assert_eq!(fit("a\u{301}bc", 4), "a\u{301}bc ");
    }
}
