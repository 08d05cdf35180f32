//! Known services: whose hosts, ports, networks and apps they are, and from whom that is known. Pure.
//!
//! In: what is known of a connection ([`Subject`]). Out: which service it belongs to, and what spoke for that ([`Found`]).
//! A name decides; a port only together with the app or the network; a port alone makes a service possible, no more.

use hashbrown::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::hosts::HostTable;
pub use self::hosts::normal;
pub use self::lists::{Lists, Loaded};
use super::toml_input::{Complaint, Entry, Source};
use crate::enrich::geo;
use crate::record::Transport;

pub mod command;
mod hosts;
mod lists;
mod many_hosts;

/// Ports that everybody uses: they speak for nobody.
const COMMON_PORTS: [u16; 7] = [53, 80, 123, 443, 853, 8080, 8443];

const SERVICE_FIELDS: &[&str] = &["id", "name", "owner", "country", "category", "expected", "about", "fact"];
const FACT_FIELDS: &[&str] =
    &["hosts", "ports", "asns", "packages", "classes", "artefacts", "source", "confidence"];

/// What a service is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Category {
    /// Wakes apps up.
    Push,
    /// Reports how a device or an app is used to its maker.
    Telemetry,
    /// Brings new versions of the system or of firmware.
    Update,
    /// Brings apps.
    Store,
    Ads,
    /// Reports how an app is used to its developer.
    Analytics,
    /// Reports crashes.
    Crash,
    /// Tells whether there is a way to the Internet.
    Connectivity,
    Time,
    /// Helps to find out where a device is.
    Location,
    Account,
    Cloud,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Confidence {
    /// The operator's documentation.
    Vendor,
    /// Constants in the operator's code.
    Sdk,
    /// Lists that the public keeps.
    Community,
    /// Seen in traffic.
    Observed,
}

/// Things that are known of a service from one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// Names; each holds for everything under it, too. `=` in front: only itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// `tcp/5228`: ports that hardly anybody else uses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Networks that its servers stand in, among others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asns: Vec<u32>,
    /// Packages that use it, and all under them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Classes of its library in apps. For a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// What it leaves on shared storage. For a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artefacts: Vec<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub confidence: Option<Confidence>,
}

/// One service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where the operator has its seat, ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    pub category: Category,
    /// Countries whose devices are expected to use it. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    #[serde(default, rename = "fact")]
    pub facts: Vec<Fact>,
}

/// What spoke for a service.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Evidence {
    /// The name of the destination is one of its hosts.
    Name,
    /// The port is one that hardly anybody else uses.
    Port,
    /// The app that owns the connection is one of those that use it.
    App,
    /// The network is one that its servers stand in.
    As,
}

/// Everything that spoke for a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceSet(u8);

impl EvidenceSet {
    const ALL: [Evidence; 4] = [Evidence::Name, Evidence::Port, Evidence::App, Evidence::As];

    fn of(all: [(Evidence, bool); 4]) -> Self {
        Self(
            all.iter().filter(|(_, speaks)| *speaks).fold(0, |set, (evidence, _)| set | 1 << *evidence as u8),
        )
    }

    /// How many.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub fn iter(self) -> impl Iterator<Item = Evidence> {
        Self::ALL.into_iter().filter(move |&evidence| self.0 & 1 << evidence as u8 != 0)
    }

    /// As they are written.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Into::into)
    }
}

impl Serialize for EvidenceSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Lower case, without a final dot.
    pub domain: Option<&'a str>,
    pub transport: Transport,
    /// Of the end that was connected to. 0: unknown.
    pub port: u16,
    pub asn: Option<u32>,
    /// Package names, with commas in between.
    pub packages: &'a str,
}

/// The service of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Number of the service, see [`Services::get`].
    pub service: u16,
    pub evidence: EvidenceSet,
}

impl Found {
    /// Nothing but a port speaks for it.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.evidence.iter().eq([Evidence::Port])
    }
}

/// All services that are known.
#[derive(Clone, Default)]
pub struct Services {
    services: Vec<Service>,
    hosts: HostTable,
    ports: HashMap<(Transport, u16), Vec<u16>>,
}

impl Services {
    /// Those that come with the program.
    #[must_use]
    pub fn built_in() -> Self {
        let mut services = Self::default();
        // A test proves that there is nothing to complain about.
        let _ = services.load(&Source::new("services.toml", include_str!("../../../../data/services.toml")));
        services
    }

    /// Adds the services of a file; one with the id of a known one replaces it. What is wrong is left out and told.
    pub fn load(&mut self, source: &Source<'_>) -> Vec<Complaint> {
        let (entries, mut complaints) = source.entries("service", &["form"]);
        for (source, entry) in entries {
            let (service, more) = read(&source, entry);
            complaints.extend(more);
            if let Some(service) = service
                && let Err(complaint) = self.take(service)
            {
                complaints.push(source.complaint(0..0, complaint));
            }
        }
        self.index();
        complaints
    }

    fn take(&mut self, service: Service) -> Result<(), String> {
        if let Some(known) = self.services.iter_mut().find(|known| known.id == service.id) {
            *known = service;
            return Ok(());
        }
        if self.services.len() >= usize::from(HostTable::MOST_NUMBERS) {
            return Err(format!("more than {} services", HostTable::MOST_NUMBERS));
        }
        self.services.push(service);
        Ok(())
    }

    fn index(&mut self) {
        self.hosts = HostTable::default();
        self.ports = HashMap::new();
        for (number, service) in (0..).zip(&self.services) {
            for fact in &service.facts {
                for host in &fact.hosts {
                    let exact = host.strip_prefix('=');
                    self.hosts.insert(exact.unwrap_or(host), exact.is_some(), number);
                }
                for port in fact.ports.iter().filter_map(|port| parse_port(port)) {
                    let services = self.ports.entry(port).or_default();
                    if !services.contains(&number) {
                        services.push(number);
                    }
                }
            }
        }
        self.hosts.shrink();
    }

    #[must_use]
    pub fn get(&self, number: u16) -> Option<&Service> {
        self.services.get(usize::from(number))
    }

    #[must_use]
    pub fn all(&self) -> &[Service] {
        &self.services
    }

    /// The service that most speaks for.
    #[must_use]
    pub fn find(&self, subject: &Subject<'_>) -> Option<Found> {
        let by_port = self.ports.get(&(subject.transport, subject.port)).map_or(&[][..], Vec::as_slice);
        if let Some(domain) = subject.domain {
            let named = self.hosts.find(domain);
            let best = named.map(|number| self.weigh(number, true, by_port, subject)).max_by_key(weight);
            if best.is_some() {
                return best;
            }
        }
        let candidates = by_port.iter().map(|&number| self.weigh(number, false, by_port, subject));
        let mut best: Vec<Found> = Vec::new();
        for found in candidates {
            match best.first().map(weight).cmp(&Some(weight(&found))) {
                std::cmp::Ordering::Less => best = vec![found],
                std::cmp::Ordering::Equal => best.push(found),
                std::cmp::Ordering::Greater => {}
            }
        }
        // Two for which the same speaks: nothing tells which.
        if best.len() == 1 { best.pop() } else { None }
    }

    fn weigh(&self, number: u16, has_name: bool, by_port: &[u16], subject: &Subject<'_>) -> Found {
        let facts = self.get(number).map_or(&[][..], |service| &service.facts);
        let has_app = facts
            .iter()
            .flat_map(|fact| &fact.packages)
            .any(|known| subject.packages.split(',').any(|package| is_under(package, known)));
        let has_as = subject.asn.is_some_and(|asn| facts.iter().any(|fact| fact.asns.contains(&asn)));
        let evidence = EvidenceSet::of([
            (Evidence::Name, has_name),
            (Evidence::Port, by_port.contains(&number)),
            (Evidence::App, has_app),
            (Evidence::As, has_as),
        ]);
        Found { service: number, evidence }
    }
}

fn weight(found: &Found) -> u32 {
    found.evidence.count()
}

/// Whether a package is this one, or named under it.
fn is_under(package: &str, known: &str) -> bool {
    package.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// `tcp/5228`.
fn parse_port(text: &str) -> Option<(Transport, u16)> {
    let (transport, port) = text.split_once('/')?;
    let transport = match transport {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        _ => return None,
    };
    Some((transport, port.parse().ok().filter(|&port| port != 0)?))
}

/// One service of a file, without what is wrong of it; `None` when nothing is left.
fn read(source: &Source<'_>, entry: Entry<'_>) -> (Option<Service>, Vec<Complaint>) {
    let span = entry.span();
    let mut complaints = Vec::new();
    if let Some(facts) = entry.get_ref().get("fact").and_then(|facts| facts.get_ref().as_array()) {
        for fact in facts.iter() {
            complaints.extend(source.check_fields(fact, FACT_FIELDS).err());
        }
    }
    let mut service: Service = match source.read(entry, SERVICE_FIELDS) {
        Ok(service) => service,
        Err(complaint) => {
            complaints.push(complaint);
            return (None, complaints);
        }
    };
    let mut complain = |what: String| {
        complaints.push(source.complaint(span.clone(), format!("service `{}`: {what}", service.id)));
    };
    if let Some(country) = service.country.take() {
        match geo::country(&country) {
            Some(known) => service.country = Some(known.code.to_owned()),
            None => complain(not_a_country(&country)),
        }
    }
    service.expected.retain_mut(|country| match geo::country(country) {
        Some(known) => {
            known.code.clone_into(country);
            true
        }
        None => {
            complain(not_a_country(country));
            false
        }
    });
    for fact in &mut service.facts {
        check(fact, &mut complain);
    }
    (Some(service), complaints)
}

fn not_a_country(code: &str) -> String {
    format!("`{code}` is no country code; give ISO 3166-1 alpha-2 codes such as SE")
}

/// Brings names and ports into their form; leaves out what has none.
fn check(fact: &mut Fact, complain: &mut impl FnMut(String)) {
    fact.hosts.retain_mut(|host| {
        let (mark, name) = host.strip_prefix('=').map_or(("", host.as_str()), |name| ("=", name));
        match normal(name).map(|name| format!("{mark}{name}")) {
            Some(name) => {
                *host = name;
                true
            }
            None => {
                complain(format!("`{host}` is no host name"));
                false
            }
        }
    });
    fact.ports.retain(|port| match parse_port(port) {
        None => {
            complain(format!("`{port}` is no port; write tcp/5228 or udp/3478"));
            false
        }
        Some((_, number)) if COMMON_PORTS.contains(&number) => {
            complain(format!("port `{port}` speaks for nobody: everybody uses it"));
            false
        }
        Some(_) => true,
    });
}

#[cfg(test)]
mod tests;
