//! What is new, gone or changed between two captures. Pure but for `command`: two judged books in, differences out.
//!
//! ```text
//!  capture ─▶ replay ─▶ book, findings ─┐
//!  capture ─▶ replay ─▶ book, findings ─┴▶ differences ─▶ text or JSON lines
//! ```
//! Apps are told apart by name and profile, never by process or address, which change with every boot.

mod command;
mod findings;
mod side;
mod text;
mod volume;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::enrich::geo;
use crate::judge::Expectations;
use crate::judge::book::{Amounts, App};
use crate::judge::services::Category;
use crate::record::{Severity, Transport};
use crate::text::visible;
use side::{AppKey, Destination, Peer, Seen};

pub use command::diff;
pub use side::Side;

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Change {
    New,
    Gone,
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    #[serde(flatten)]
    pub what: What,
    pub change: Change,
    #[serde(flatten)]
    pub details: Details,
}

/// What it is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum What {
    App {
        app: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        preinstalled: Option<bool>,
    },
    Country(CountryText),
    Service {
        service: ServiceText,
    },
    Destination(DestinationText),
    /// Others connect to the app.
    Incoming {
        transport: Transport,
        port: u16,
    },
    /// How much an app moves with a service or a destination.
    Volume {
        app: String,
        #[serde(flatten)]
        peer: PeerText,
    },
    Finding {
        rule: String,
        key: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        app: Option<String>,
        severity: Severity,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected_if: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CountryText {
    pub country_iso_code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_name: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceText {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Where its owner has its seat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_iso_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
}

/// The registered domain, else the network, else all that is known: the port.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DestinationText {
    Domain {
        registered_domain: String,
    },
    Network {
        as_number: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        as_name: Option<String>,
    },
    Port {
        transport: Transport,
        port: u16,
    },
}

/// Whom an app talks to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PeerText {
    Service { service: ServiceText },
    Destination(DestinationText),
}

/// What there is to say of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Details {
    /// Of something that is new or gone: by which apps (of an app: none), and how much.
    Used {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        apps: Vec<String>,
        #[serde(flatten)]
        amounts: AmountsText,
    },
    /// Other apps have to do with it.
    Users {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        apps_new: Vec<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        apps_gone: Vec<String>,
    },
    /// How much before and after, and which of it is more or less in the same time.
    Volume {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        more: Vec<&'static str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        less: Vec<&'static str>,
        before: VolumeText,
        after: VolumeText,
    },
    /// Of a finding: what was said before.
    Finding { before: FindingText },
    /// Nothing more.
    Nothing {},
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AmountsText {
    pub connections: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VolumeText {
    /// How long the capture is, seconds.
    pub watched_s: u64,
    #[serde(flatten)]
    pub amounts: AmountsText,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingText {
    pub severity: Severity,
    pub reason: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<Amounts> for AmountsText {
    fn from(amounts: Amounts) -> Self {
        Self {
            connections: amounts.connections,
            failures: amounts.failures,
            bytes_sent: amounts.sent,
            bytes_received: amounts.received,
        }
    }
}

/// Everything that differs, kind by kind, in the same order in every run.
#[must_use]
pub fn differences(before: &Side<'_>, after: &Side<'_>) -> Vec<Difference> {
    let names = Names::of(before, after);
    let (one, other) = (Seen::of(before), Seen::of(after));
    let mut all = apps(&one, &other, &names);
    all.extend(users(&one.countries, &other.countries, &names, |&code, _| What::Country(country(code))));
    all.extend(users(&one.services, &other.services, &names, |id, names| What::Service {
        service: names.service(id),
    }));
    all.extend(users(&one.destinations, &other.destinations, &names, |destination, names| {
        What::Destination(names.destination(destination))
    }));
    all.extend(users(&one.incoming, &other.incoming, &names, |&(transport, port), _| What::Incoming {
        transport,
        port,
    }));
    all.extend(volume::differences(&one, &other, &names));
    all.extend(findings::differences(before, after, &names));
    all
}

fn apps(one: &Seen, other: &Seen, names: &Names<'_>) -> Vec<Difference> {
    changes(&one.apps, &other.apps)
        .filter_map(|(app, known)| {
            let (change, amounts) = known.new_or_gone()?;
            Some(Difference {
                what: What::App { app: names.app(app), preinstalled: names.is_preinstalled(app) },
                change,
                details: Details::Used { apps: Vec::new(), amounts: (*amounts).into() },
            })
        })
        .collect()
}

/// Of something that apps have to do with: whether it is new or gone, or whether other apps do.
fn users<K: Ord>(
    one: &BTreeMap<K, side::Used>,
    other: &BTreeMap<K, side::Used>,
    names: &Names<'_>,
    what: impl Fn(&K, &Names<'_>) -> What,
) -> Vec<Difference> {
    let mut all = Vec::new();
    for (key, known) in changes(one, other) {
        let (change, details) = match known {
            Known::Before(used) => (Change::Gone, names.used(used)),
            Known::After(used) => (Change::New, names.used(used)),
            Known::Both(before, after) if before.apps != after.apps => {
                let without = |one: &side::Used, other: &side::Used| {
                    one.apps.difference(&other.apps).map(|app| names.app(app)).collect()
                };
                (
                    Change::Changed,
                    Details::Users { apps_new: without(after, before), apps_gone: without(before, after) },
                )
            }
            Known::Both(..) => continue,
        };
        all.push(Difference { what: what(key, names), change, details });
    }
    // New ones first.
    all.sort_by_key(|difference| difference.change);
    all
}

/// On which side something is.
enum Known<'a, V> {
    Before(&'a V),
    After(&'a V),
    Both(&'a V, &'a V),
}

impl<'a, V> Known<'a, V> {
    fn new_or_gone(&self) -> Option<(Change, &'a V)> {
        match self {
            Self::Before(value) => Some((Change::Gone, value)),
            Self::After(value) => Some((Change::New, value)),
            Self::Both(..) => None,
        }
    }
}

fn changes<'a, K: Ord, V>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, Known<'a, V>)> {
    let keys: BTreeSet<&K> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter_map(|key| {
        Some(match (one.get(key), other.get(key)) {
            (Some(before), Some(after)) => (key, Known::Both(before, after)),
            (Some(before), None) => (key, Known::Before(before)),
            (None, Some(after)) => (key, Known::After(after)),
            (None, None) => return None,
        })
    })
}

/// What things are called; the later capture knows best.
struct Names<'a> {
    expectations: &'a Expectations,
    apps: BTreeMap<&'a AppKey, &'a App>,
    networks: BTreeMap<u32, &'a str>,
}

impl<'a> Names<'a> {
    fn of(before: &'a Side<'_>, after: &'a Side<'_>) -> Self {
        let sides = [before, after];
        let apps = sides.iter().flat_map(|side| side.book.apps.values());
        let networks = sides.iter().flat_map(|side| side.networks);
        Self {
            expectations: after.expectations,
            apps: apps.map(|app| (&app.key, app)).collect(),
            networks: networks.map(|(&number, name)| (number, &**name)).collect(),
        }
    }

    fn used(&self, used: &side::Used) -> Details {
        Details::Used {
            apps: used.apps.iter().map(|app| self.app(app)).collect(),
            amounts: used.amounts.into(),
        }
    }

    fn app(&self, key: &AppKey) -> String {
        side::label(key, self.apps.get(key).copied())
    }

    fn is_preinstalled(&self, key: &AppKey) -> Option<bool> {
        self.apps.get(key)?.is_preinstalled
    }

    fn service(&self, id: &str) -> ServiceText {
        let known = self.expectations.services.all().iter().find(|service| service.id == id);
        ServiceText {
            id: id.to_owned(),
            name: known.map(|service| service.name.clone()),
            owner: known.and_then(|service| service.owner.clone()),
            country_iso_code: known.and_then(|service| service.country.clone()),
            category: known.map(|service| service.category),
        }
    }

    fn destination(&self, destination: &Destination) -> DestinationText {
        match destination {
            Destination::Domain(name) => DestinationText::Domain { registered_domain: name.to_string() },
            &Destination::Network(as_number) => DestinationText::Network {
                as_number,
                as_name: self.networks.get(&as_number).map(|name| visible(name).into_owned()),
            },
            &Destination::Port(transport, port) => DestinationText::Port { transport, port },
        }
    }

    fn peer(&self, peer: &Peer) -> PeerText {
        match peer {
            Peer::Service(id) => PeerText::Service { service: self.service(id) },
            Peer::Destination(destination) => PeerText::Destination(self.destination(destination)),
        }
    }
}

fn country(code: &'static str) -> CountryText {
    CountryText { country_iso_code: code, country_name: geo::country(code).map(|country| country.name) }
}

#[cfg(test)]
mod tests;
