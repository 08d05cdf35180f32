//! One capture: what was seen in it, by what it is about. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::judge::Expectations;
use crate::judge::book::{Amounts, App, Book, RowKey};
use crate::judge::findings::Findings;
use crate::names::flow_name::registered_domain;
use crate::record::{Direction, Transport};
use crate::text::visible;

pub use crate::judge::book::AppKey;

/// A capture that was judged.
pub struct Side<'a> {
    pub book: &'a Book,
    pub findings: &'a Findings,
    pub expectations: &'a Expectations,
    /// Names of networks by their number.
    pub networks: &'a BTreeMap<u32, Box<str>>,
    /// How long its streams are.
    pub watched: Duration,
}

/// How a person calls an app.
pub fn label(key: &AppKey, known: Option<&App>) -> String {
    let label = known.map_or(&*key.name, |app| &app.label);
    let label = visible(label);
    match key.user.filter(|&user| key.is_package && user != 0) {
        Some(profile) => format!("{label} (Android user {profile})"),
        None => label.into_owned(),
    }
}

/// Where an app connects to, whatever service that is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// Registered domain.
    Domain(Box<str>),
    /// Number of the network.
    Network(u32),
    /// Nothing else is known: an address nearby.
    Port(Transport, u16),
}

/// Whom an app talks to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Service(Arc<str>),
    Destination(Destination),
}

impl Destination {
    /// Registered domain, else network, else port.
    pub fn of(row: &RowKey) -> Self {
        match (&row.name, row.asn) {
            (Some(name), _) => Self::Domain(visible(registered_domain(name).unwrap_or(name)).into()),
            (None, Some(number)) => Self::Network(number),
            (None, None) => Self::Port(row.transport, row.port),
        }
    }
}

impl Peer {
    /// The service, else the destination.
    pub fn of(row: &RowKey) -> Self {
        match &row.service {
            Some(service) => Self::Service(Arc::clone(service)),
            None => Self::Destination(Destination::of(row)),
        }
    }
}

/// Which apps have to do with something, and how much.
#[derive(Clone, Debug, Default)]
pub struct Used {
    pub apps: BTreeSet<AppKey>,
    pub amounts: Amounts,
}

/// What was seen in a capture.
#[derive(Debug, Default)]
pub struct Seen {
    pub apps: BTreeMap<AppKey, Amounts>,
    pub countries: BTreeMap<&'static str, Used>,
    pub services: BTreeMap<Arc<str>, Used>,
    pub destinations: BTreeMap<Destination, Used>,
    /// Ports that others connected to.
    pub incoming: BTreeMap<(Transport, u16), Used>,
    /// Of each app and peer.
    pub peers: BTreeMap<(AppKey, Peer), Amounts>,
    pub watched: Duration,
}

impl Seen {
    pub fn of(side: &Side<'_>) -> Self {
        let mut seen = Self { watched: side.watched, ..Self::default() };
        for row in side.book.rows.values() {
            if let Some(app) = side.book.apps.get(&row.key.app) {
                seen.add(&app.key, &row.key, &row.total);
            }
        }
        seen
    }

    fn add(&mut self, app: &AppKey, row: &RowKey, amounts: &Amounts) {
        self.apps.entry(app.clone()).or_default().add(amounts);
        let add = |used: &mut Used| {
            used.apps.insert(app.clone());
            used.amounts.add(amounts);
        };
        if row.direction == Some(Direction::Ingress) {
            add(self.incoming.entry((row.transport, row.port)).or_default());
            return;
        }
        if let Some(code) = row.country {
            add(self.countries.entry(code).or_default());
        }
        if let Some(service) = &row.service {
            add(self.services.entry(Arc::clone(service)).or_default());
        }
        add(self.destinations.entry(Destination::of(row)).or_default());
        self.peers.entry((app.clone(), Peer::of(row))).or_default().add(amounts);
    }
}
