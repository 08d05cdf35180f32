//! `tracer services`: lists, explains, and says which service a host or an address belongs to.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::Serialize;

use super::{Evidence, Fact, Found, Service, Services, Subject, normal};
use crate::enrich::geo::Geo;
use crate::judge::Expectations;
use crate::record::{ServiceObject, Transport, service_object};

/// What is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    end: End,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Host(String),
    Address(IpAddr),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let target = |end, port| Self { text: text.to_owned(), end, port };
        if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
            return Ok(target(End::Address(ip), None));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(target(End::Address(address.ip()), Some(address.port())));
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((host, port)) => (host, port.parse().ok()),
        };
        match (normal(host), text.contains(':') == port.is_some()) {
            (Some(host), true) => Ok(target(End::Host(host), port)),
            _ => Err(format!(
                "`{text}` is neither a host nor an address; give a.example, a.example:5228, 192.0.2.1:443 or [2001:db8::1]:443"
            )),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<ServiceObject<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lists: Vec<&'a str>,
}

/// Says which service each target belongs to.
///
/// # Errors
/// When the output does not take it.
pub fn check(
    expectations: &Expectations,
    geo: &Geo,
    targets: &[Target],
    app: Option<&str>,
    is_json: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    for target in targets {
        let domain = match &target.end {
            End::Host(host) => Some(host.as_str()),
            End::Address(_) => None,
        };
        let asn = match target.end {
            End::Host(_) => None,
            End::Address(ip) => geo.lookup(ip).asn,
        };
        let found = [Transport::Tcp, Transport::Udp].into_iter().find_map(|transport| {
            let port = target.port.unwrap_or_default();
            let subject = Subject { domain, transport, port, asn, packages: app.unwrap_or_default() };
            expectations.services.find(&subject)
        });
        let service = found.and_then(|found| expectations.service(found));
        let lists: Vec<u16> = domain.map(|host| expectations.lists.of(host).collect()).unwrap_or_default();
        let lists = expectations.list_names(&lists);
        if is_json {
            let service = service.map(|(service, found)| service_object(service, found));
            serde_json::to_writer(&mut *out, &Answer { target: &target.text, service, lists })?;
            writeln!(out)?;
            continue;
        }
        let service = service.map_or("no service that is known".to_owned(), |(service, found)| {
            format!("{}{}, by its {}", short(service), uncertain(found), reasons(found))
        });
        let lists = if lists.is_empty() { String::new() } else { format!("; on {}", lists.join(", ")) };
        writeln!(out, "{}: {service}{lists}", target.text)?;
    }
    Ok(())
}

fn uncertain(found: Found) -> &'static str {
    if found.is_possible() { " (possible)" } else { "" }
}

fn reasons(found: Found) -> String {
    let words = found.evidence.iter().map(|evidence| match evidence {
        Evidence::Name => "name",
        Evidence::Port => "port",
        Evidence::App => "app",
        Evidence::As => "network",
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// `baidu-push: Baidu Push, push of Baidu (CN)`.
fn short(service: &Service) -> String {
    let category: &str = service.category.into();
    let owner = service.owner.as_ref().map(|owner| format!(" of {owner}")).unwrap_or_default();
    let country = service.country.as_ref().map(|country| format!(" ({country})")).unwrap_or_default();
    format!("{}: {}, {category}{owner}{country}", service.id, service.name)
}

/// Lists services; explains the one that is left.
///
/// # Errors
/// When the output does not take it.
pub fn list(services: &Services, word: Option<&str>, is_json: bool, out: &mut impl Write) -> io::Result<()> {
    let chosen: Vec<&Service> = match word {
        None => services.all().iter().collect(),
        Some(word) => match services.all().iter().find(|service| service.id == word) {
            Some(service) => vec![service],
            None => services.all().iter().filter(|service| mentions(service, word)).collect(),
        },
    };
    if is_json {
        for service in chosen {
            serde_json::to_writer(&mut *out, service)?;
            writeln!(out)?;
        }
        return Ok(());
    }
    match chosen.as_slice() {
        [only] if word.is_some() => explain(only, out),
        [] => writeln!(out, "no service that is known has this in its id, name or owner"),
        several => several.iter().try_for_each(|service| writeln!(out, "{}", short(service))),
    }
}

fn mentions(service: &Service, word: &str) -> bool {
    let word = word.to_lowercase();
    let texts = [Some(service.id.as_str()), Some(service.name.as_str()), service.owner.as_deref()];
    texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&word))
}

fn explain(service: &Service, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", short(service))?;
    if let Some(about) = &service.about {
        writeln!(out, "{about}")?;
    }
    match service.expected.as_slice() {
        [] => writeln!(out, "Expected: everywhere")?,
        regions => writeln!(out, "Expected: in {}", regions.join(", "))?,
    }
    service.facts.iter().try_for_each(|fact| explain_fact(fact, out))
}

fn explain_fact(fact: &Fact, out: &mut impl Write) -> io::Result<()> {
    let confidence = fact.confidence.map(|confidence| format!(" ({})", Into::<&str>::into(confidence)));
    let source = fact.source.as_deref().unwrap_or("the user's file");
    writeln!(out, "\nFrom {source}{}:", confidence.unwrap_or_default())?;
    let asns: Vec<String> = fact.asns.iter().map(|asn| format!("AS{asn}")).collect();
    let lines = [
        ("hosts", &fact.hosts),
        ("ports", &fact.ports),
        ("networks", &asns),
        ("apps", &fact.packages),
        ("classes", &fact.classes),
        ("leaves on storage", &fact.artefacts),
    ];
    for (what, items) in lines.into_iter().filter(|(_, items)| !items.is_empty()) {
        writeln!(out, "  {what}: {}", items.join(", "))?;
    }
    Ok(())
}
