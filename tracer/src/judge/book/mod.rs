//! The book: what each app has done with each of its destinations. Pure: keeping it on storage is [`crate::ledger`]'s.
//!
//! In: what records say. Out: what was known before ([`History`]), for rules. Each flow is booked on one row; when its name is
//! learnt, what was booked moves with it.

mod amounts;
mod app;
mod connects;
mod history;
mod rows;
mod saving;
mod set_clock;
pub use amounts::Amounts;
pub use connects::Connects;
pub use history::History;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet};
use lru::LruCache;

use crate::clock::Timestamp;
use crate::hash::Fnv;
use crate::judge::observation::{Observation, Who};
use crate::judge::saved::SavedBooking;
use crate::record::{Action, Direction, Transport};
use saving::{Pending, Unsaved};
use set_clock::StreamClock;

/// 2020-01-01: what says that it is earlier is a clock that was not set.
const CLOCK_SET_NS: u64 = 1_577_836_800_000_000_000;
/// Nanoseconds of a day.
const DAY_NS: u64 = 86_400_000_000_000;
/// Days of an app that are looked back on for what is usual.
const LOOK_BACK: usize = 30;
/// Rows that are kept; the one that was silent longest makes room.
pub const MOST_ROWS: usize = 20_000;
/// Addresses of an app that are remembered to have had a name.
const MOST_NAMED: usize = 256;
/// Apps that are kept.
pub const MOST_APPS: usize = 4_000;

/// Of a flow that was restored.
const NO_FINGERPRINT: u64 = 0;

/// Number of an app; of a row. Never used twice.
pub type AppId = u64;
pub type RowId = u64;

/// What stays the same of an owner over reboots and updates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppKey {
    /// Packages with commas in between; else the program, or what its process is called. Empty: not known.
    pub name: Arc<str>,
    /// Android user (profile) of packages; uid of a program.
    pub user: Option<u32>,
    pub is_package: bool,
}

/// What a row is about: one app, and one destination of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    pub app: AppId,
    /// `None`: not known.
    pub direction: Option<Direction>,
    pub service: Option<Arc<str>>,
    /// Host name.
    pub name: Option<Arc<str>>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<&'static str>,
    pub asn: Option<u32>,
    pub transport: Transport,
    /// 0: not known.
    pub port: u16,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    pub key: RowKey,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub total: Amounts,
    /// When it was connected to.
    pub connects: Connects,
    unsaved: Unsaved,
}

/// One app.
#[derive(Clone, Debug)]
pub struct App {
    pub key: AppKey,
    /// How a person calls it.
    pub label: Box<str>,
    pub is_preinstalled: Option<bool>,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    /// That it connected to.
    pub countries: BTreeSet<&'static str>,
    /// Hashes of whom it talked to, see [`target`].
    targets: HashSet<u64>,
    /// Hashes of addresses that it had a name for, the one that was named first leaves first.
    named: LruCache<u64, ()>,
    /// What it sent, by day: the latest [`LOOK_BACK`] days with anything.
    pub sent: BTreeMap<u32, u64>,
    unsaved: Unsaved,
}

/// What of a flow is booked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booked {
    pub app: AppId,
    pub row: RowId,
    /// Hash of what the row is about: tells whether the flow belongs to another one by now.
    fingerprint: u64,
    pub amounts: Amounts,
    /// All of it was booked on this day.
    day: Option<u32>,
    /// Nobody had seen its app talk to this destination, this country, before.
    is_new_destination: bool,
    is_new_country: bool,
    /// Its country is one of those of its app.
    is_country_known: bool,
    /// What is known of whom its app talks to has this one, and nothing more will be known of it on this row.
    is_settled: bool,
}

/// All apps and rows.
pub struct Book {
    pub apps: HashMap<AppId, App>,
    app_ids: HashMap<AppKey, AppId>,
    pub rows: HashMap<RowId, Row>,
    row_ids: HashMap<RowKey, RowId>,
    next_id: u64,
    hasher: DefaultHashBuilder,
    /// `None`: nobody stores it.
    pending: Option<Pending>,
    clock: StreamClock,
}

impl Booked {
    /// As it was stored. The next record of the flow looks up its row anew.
    pub(in crate::judge) fn restored(saved: &SavedBooking) -> Self {
        let SavedBooking { app, row, amounts, day, is_new_destination, is_new_country } = *saved;
        Self {
            app,
            row,
            fingerprint: NO_FINGERPRINT,
            amounts,
            day,
            is_new_destination,
            is_new_country,
            is_country_known: false,
            is_settled: false,
        }
    }
}

impl From<&Booked> for SavedBooking {
    fn from(booked: &Booked) -> Self {
        let Booked { app, row, amounts, day, is_new_destination, is_new_country, .. } = *booked;
        Self { app, row, amounts, day, is_new_destination, is_new_country }
    }
}

impl Default for Book {
    fn default() -> Self {
        Self {
            apps: HashMap::new(),
            app_ids: HashMap::new(),
            rows: HashMap::new(),
            row_ids: HashMap::new(),
            next_id: 1,
            hasher: DefaultHashBuilder::default(),
            pending: None,
            clock: StreamClock::default(),
        }
    }
}

impl Book {
    /// Books what a record says. `booked` is what was booked of its flow before.
    pub fn observe(&mut self, seen: &Observation<'_>, service: Option<&str>, booked: &mut Option<Booked>) {
        self.hear_clock(seen.at);
        let fingerprint = self.fingerprint(seen, service);
        let day = day(seen.at);
        let mut now = match *booked {
            // Its row may have made room for others meanwhile.
            Some(known) if known.fingerprint == fingerprint && self.rows.contains_key(&known.row) => known,
            known => {
                let now = self.assign(seen, service, fingerprint, known);
                self.carry(known, &now, day);
                now
            }
        };
        let new = amounts(seen);
        let added = new.since(&now.amounts);
        now.day =
            if now.amounts == Amounts::default() { Some(day) } else { now.day.filter(|&same| same == day) };
        now.amounts = now.amounts.at_least(&new);
        let is_set_back = self.is_set_back();
        if let Some(app) = self.apps.get_mut(&now.app) {
            app.add(day, added.sent, seen.at, is_set_back);
            if !now.is_settled {
                app.settle(seen, service, &mut now);
            }
            if let Some(pending) = &mut self.pending {
                pending.touch_app(now.app, app);
            }
        }
        self.add(now.row, day, added, seen.at);
        *booked = Some(now);
    }

    /// What was known about the app of a flow before it.
    #[must_use]
    pub fn history(&self, seen: &Observation<'_>, booked: &Booked) -> Option<History<'_>> {
        let app = self.apps.get(&booked.app)?;
        Some(History {
            app,
            address: seen.remote().at.address,
            now: seen.at,
            known_for: self.known_for(booked.app, app, seen.at),
            country: country(seen),
            is_new_destination: booked.is_new_destination,
            is_new_country: booked.is_new_country,
        })
    }

    /// An app connected to one of its destinations; milliseconds since 1970.
    pub fn connected(&mut self, row: RowId, at_ms: u64) {
        if let Some(row) = self.rows.get_mut(&row) {
            row.connects.add(at_ms);
        }
    }

    fn fingerprint(&self, seen: &Observation<'_>, service: Option<&str>) -> u64 {
        let remote = seen.remote();
        self.hasher.hash_one((
            seen.who.hash_by(&self.hasher),
            (
                service,
                seen.name.map(|name| name.domain),
                remote.at.country.map(|it| it.code),
                remote.at.as_number,
            ),
            (seen.direction, seen.destination.port),
        ))
    }

    /// Finds or begins app and row of a flow.
    fn assign(
        &mut self,
        seen: &Observation<'_>,
        service: Option<&str>,
        fingerprint: u64,
        before: Option<Booked>,
    ) -> Booked {
        let app = self.app(seen);
        let remote = seen.remote();
        let is_asked = seen.name.map(|name| name.domain);
        let key = RowKey {
            app,
            direction: seen.direction,
            service: service.map(Into::into),
            name: is_asked.map(Into::into),
            country: remote.at.country.map(|country| country.code),
            asn: remote.at.as_number,
            transport: seen.transport,
            port: seen.destination.port.unwrap_or_default(),
        };
        let row = match self.row_ids.get(&key) {
            Some(&row) => row,
            None => self.begin_row(key, seen.at),
        };
        Booked {
            app,
            row,
            fingerprint,
            amounts: before.map_or(Amounts::default(), |before| before.amounts),
            day: before.and_then(|before| before.day),
            is_new_destination: before.is_some_and(|before| before.is_new_destination),
            is_new_country: before.is_some_and(|before| before.is_new_country),
            is_country_known: false,
            is_settled: false,
        }
    }

    fn app(&mut self, seen: &Observation<'_>) -> AppId {
        let key = app_key(seen.who);
        if let Some(&app) = self.app_ids.get(&key) {
            return app;
        }
        if self.apps.len() >= MOST_APPS {
            self.make_room_for_apps();
        }
        let id = self.next();
        self.apps.insert(
            id,
            App {
                key: key.clone(),
                label: seen.who.label().into(),
                is_preinstalled: seen.who.is_preinstalled,
                first_seen: seen.at,
                last_seen: seen.at,
                countries: BTreeSet::new(),
                targets: HashSet::new(),
                named: LruCache::unbounded(),
                sent: BTreeMap::new(),
                unsaved: Unsaved::default(),
            },
        );
        self.app_ids.insert(key, id);
        id
    }

    fn begin_row(&mut self, key: RowKey, at: Timestamp) -> RowId {
        if self.rows.len() >= MOST_ROWS {
            self.make_room_for_rows();
        }
        let id = self.next();
        self.row_ids.insert(key.clone(), id);
        let row = Row {
            key,
            first_seen: at,
            last_seen: at,
            total: Amounts::default(),
            connects: Connects::None,
            unsaved: Unsaved::default(),
        };
        self.rows.insert(id, row);
        id
    }

    fn next(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Moves what was booked of a flow to its new row. What was booked over several days stays where it is.
    fn carry(&mut self, from: Option<Booked>, to: &Booked, day: u32) {
        let Some(from) = from.filter(|from| from.row != to.row && from.day == Some(day)) else { return };
        let Some(last_seen) = self.rows.get(&from.row).map(|row| row.last_seen) else { return };
        self.subtract(from.row, day, from.amounts);
        self.add(to.row, day, from.amounts, last_seen);
    }
}

/// What a flow has come to so far.
fn amounts(seen: &Observation<'_>) -> Amounts {
    Amounts {
        connections: 1,
        failures: u64::from(seen.action == Action::Failed),
        sent: seen.local().bytes.unwrap_or_default(),
        received: seen.remote().bytes.unwrap_or_default(),
    }
}

fn country(seen: &Observation<'_>) -> Option<&'static str> {
    seen.remote().at.country.map(|country| country.code)
}

/// Days since 1970, UTC.
#[must_use]
pub fn day(at: Timestamp) -> u32 {
    u32::try_from(at.0 / DAY_NS).unwrap_or(u32::MAX)
}

/// The earlier of two times, but none from before the clock of a device was set, and none of a clock that was set back.
fn earliest(known: Timestamp, at: Timestamp, is_set_back: bool) -> Timestamp {
    match (known.0 >= CLOCK_SET_NS, at.0 >= CLOCK_SET_NS) {
        (false, true) => at,
        (true, false) => known,
        _ if is_set_back => known,
        _ => known.min(at),
    }
}

/// Tells apart whom an app talks to: service, else registered domain, else network.
fn target(service: Option<&str>, registered: Option<&str>, asn: Option<u32>) -> Option<u64> {
    match (service, registered, asn) {
        (Some(service), ..) => Some(Fnv::new().number(0).text(service).get()),
        (None, Some(name), _) => Some(Fnv::new().number(1).text(name).get()),
        (None, None, Some(asn)) => Some(Fnv::new().number(2).number(asn.into()).get()),
        (None, None, None) => None,
    }
}

fn address_hash(address: IpAddr) -> u64 {
    Fnv::new().address(address).get()
}

/// What stays the same of an owner.
#[must_use]
pub fn app_key(who: &Who) -> AppKey {
    if !who.packages.is_empty() {
        return AppKey { name: (*who.packages).into(), user: who.android_user, is_package: true };
    }
    let program = who.executable.as_deref().or(who.process.as_deref()).unwrap_or_default();
    AppKey { name: program.into(), user: who.uid, is_package: false }
}
