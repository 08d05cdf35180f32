//! Differences for a person: a heading for each kind, a line for each difference.

use std::io::{self, Write};

use super::{
    AmountsText, CountryText, DestinationText, Details, Difference, PeerText, ServiceText, VolumeText, What,
};
use crate::judge::rules::value::Unit;
use crate::record::{Severity, Transport};

/// Writes all differences.
///
/// # Errors
/// When the output does not take it.
pub fn write(differences: &[Difference], out: &mut impl Write) -> io::Result<()> {
    if differences.is_empty() {
        return writeln!(out, "\nno differences");
    }
    let mut last = "";
    for difference in differences {
        let heading = heading(&difference.what);
        if heading != last {
            writeln!(out, "\n{heading}")?;
            last = heading;
        }
        let change: &'static str = difference.change.into();
        writeln!(out, "  {change:8} {}", line(difference))?;
    }
    Ok(())
}

fn heading(what: &What) -> &'static str {
    match what {
        What::App { .. } => "Apps",
        What::Country(_) => "Countries",
        What::Service { .. } => "Services",
        What::Destination(_) => "Destinations",
        What::Incoming { .. } => "Incoming",
        What::Volume { .. } => "Volumes",
        What::Finding { .. } => "Findings",
    }
}

fn line(difference: &Difference) -> String {
    let subject = subject(&difference.what);
    match &difference.details {
        Details::Used { apps, amounts } if apps.is_empty() => format!("{subject}: {}", moved(amounts)),
        Details::Used { apps, amounts } => format!("{subject}: {}; {}", apps.join(", "), moved(amounts)),
        Details::Users { apps_new, apps_gone } => {
            let parts = [("now also ", apps_new), ("no longer ", apps_gone)];
            let parts = parts.iter().filter(|(_, apps)| !apps.is_empty());
            let parts: Vec<String> = parts.map(|(word, apps)| format!("{word}{}", apps.join(", "))).collect();
            format!("{subject}: {}", parts.join("; "))
        }
        Details::Volume { more, less, before, after } => volume(&subject, more, less, before, after),
        Details::Finding { before } => {
            let severity = if severity(&difference.what) == Some(before.severity) {
                String::new()
            } else {
                format!("{}: ", word(before.severity))
            };
            format!("{subject}\n{:11}before: {severity}{}", "", before.reason)
        }
        Details::Nothing {} => subject,
    }
}

fn severity(what: &What) -> Option<Severity> {
    match what {
        What::Finding { severity, .. } => Some(*severity),
        _ => None,
    }
}

fn word(severity: Severity) -> &'static str {
    severity.into()
}

fn subject(what: &What) -> String {
    match what {
        What::App { app, preinstalled: Some(true) } => format!("{app}, which came with the system"),
        What::App { app, .. } => app.clone(),
        What::Country(country) => country_text(country),
        What::Service { service } => service_text(service),
        What::Destination(destination) => destination_text(destination),
        What::Incoming { transport, port } => format!("connections to {} here", port_text(*transport, *port)),
        What::Volume { app, peer: PeerText::Service { service } } => {
            format!("{app} with {}", service.name.as_ref().unwrap_or(&service.id))
        }
        What::Volume { app, peer: PeerText::Destination(destination) } => {
            format!("{app} with {}", destination_text(destination))
        }
        What::Finding { rule, severity, reason, .. } => format!("{} {rule}: {reason}", word(*severity)),
    }
}

fn country_text(country: &CountryText) -> String {
    match country.country_name {
        Some(name) => format!("{name} ({})", country.country_iso_code),
        None => country.country_iso_code.to_owned(),
    }
}

fn service_text(service: &ServiceText) -> String {
    let mut text = service.name.as_ref().unwrap_or(&service.id).clone();
    if let Some(owner) = &service.owner {
        text += &format!(" of {owner}");
    }
    if let Some(country) = &service.country_iso_code {
        text += &format!(" ({country})");
    }
    text
}

fn destination_text(destination: &DestinationText) -> String {
    match destination {
        DestinationText::Domain { registered_domain } => registered_domain.clone(),
        DestinationText::Network { as_number, as_name } => {
            let name = as_name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
            format!("AS{as_number}{name}, without a name")
        }
        DestinationText::Port { transport, port } => {
            format!("{} of addresses without name and network", port_text(*transport, *port))
        }
    }
}

fn port_text(transport: Transport, port: u16) -> String {
    let transport: &'static str = transport.into();
    format!("{transport} port {port}")
}

fn moved(amounts: &AmountsText) -> String {
    let AmountsText { connections, failures, bytes_sent, bytes_received } = *amounts;
    let plural = if connections == 1 { "" } else { "s" };
    let failed = if failures > 0 { format!(" ({failures} failed)") } else { String::new() };
    format!(
        "{connections} connection{plural}{failed}, {} up, {} down",
        bytes(bytes_sent),
        bytes(bytes_received)
    )
}

/// In an hour, so that captures of different length compare.
fn volume(subject: &str, more: &[&str], less: &[&str], before: &VolumeText, after: &VolumeText) -> String {
    let measures = more.iter().map(|name| ("more", name)).chain(less.iter().map(|name| ("less", name)));
    let parts: Vec<String> = measures
        .map(|(word, name)| {
            let of = |volume: &VolumeText| per_hour(volume, name);
            let (was, is) = (of(before), of(after));
            let show = |amount: f64| match *name {
                "connections" | "failures" => format!("{amount:.0}"),
                _ => Unit::Bytes.show(amount),
            };
            let what = match *name {
                "bytes_sent" => "up",
                "bytes_received" => "down",
                other => other,
            };
            format!("{word} {what}, {} → {} an hour", show(was), show(is))
        })
        .collect();
    format!("{subject}: {}", parts.join("; "))
}

#[allow(clippy::cast_precision_loss)]
fn per_hour(volume: &VolumeText, measure: &str) -> f64 {
    let amount = match measure {
        "connections" => volume.amounts.connections,
        "failures" => volume.amounts.failures,
        "bytes_sent" => volume.amounts.bytes_sent,
        _ => volume.amounts.bytes_received,
    };
    amount as f64 * 3600.0 / volume.watched_s.max(1) as f64
}

#[allow(clippy::cast_precision_loss)]
fn bytes(bytes: u64) -> String {
    Unit::Bytes.show(bytes as f64)
}

/// What a capture is, in a line.
#[must_use]
#[allow(clippy::cast_precision_loss)]
pub fn about(watched_ms: u64, apps: usize, records: u64, home: &[String]) -> String {
    let home = if home.is_empty() { String::new() } else { format!(", home {}", home.join(",")) };
    format!("{}, {records} records of {apps} apps{home}", Unit::Milliseconds.show(watched_ms as f64))
}
