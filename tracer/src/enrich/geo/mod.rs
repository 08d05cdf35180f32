//! Where an address is: scope, country and network.
//!
//! Flows in: addresses, the built-in database and files given with `--geo`. Flows out: [`Place`], borrowed from the
//! databases. It never resolves a name, never asks the network, and never guesses: what no database says is absent.
//!
//! # Which answer is taken
//! The scope comes first. Only `global` addresses are looked up; `documentation` addresses only in the user's files,
//! because they belong to nobody and serve to try things out. v4-mapped and NAT64 addresses are looked up as the IPv4
//! address in them. Country and network (AS number and name together) are answered each by itself:
//!
//! 1. A file of the user comes before the built-in database.
//! 2. Among the user's files the one with the more specific network (longer prefix) for this address.
//! 3. Then the one that was built later; a file that does not say when counts as the oldest.
//! 4. Then the one given first.
//!
//! A file that does not know a field leaves it to the next. An anycast address has no country.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::record::{AsObject, GeoObject, OrganizationObject};

mod anycast;
mod command;
mod country;
mod database;
mod layout;
mod scope;

pub use anycast::is_anycast;
pub use command::answer;
pub use country::{Country, country};
pub use database::{
    BUILT_IN_NAME, Coverage, Database, DatabaseInfo, GeoError, SIZE_LIMIT, give_back_built_in, load_file,
};
pub use scope::{Scope, Unwrapped, unwrap};

/// Addresses change hands: a database older than this is worth a warning.
pub const STALE_AFTER: Duration = Duration::from_secs(90 * 86_400);

/// All databases in use.
#[derive(Debug)]
pub struct Geo {
    built_in: Database,
    /// As given with `--geo`.
    files: Vec<PathBuf>,
    /// The files' databases, those built later first, then as given.
    user: Vec<Database>,
    /// What `start` and `warning` records show: the user's databases, then the built-in one.
    infos: Vec<DatabaseInfo>,
}

/// What is known about an address.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub scope: Scope,
    /// The IPv4 address inside a NAT64 address; the rest of the place is about it.
    pub nat64: Option<Ipv4Addr>,
    /// Announced from many countries at once.
    pub anycast: bool,
    pub country: Option<Country>,
    /// AS number.
    pub asn: Option<u32>,
    pub as_name: Option<&'a str>,
    /// The database that knew the country.
    pub country_source: Option<&'a DatabaseInfo>,
    /// The database that knew the network.
    pub as_source: Option<&'a DatabaseInfo>,
}

/// What came of a reload.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Files now in use in their new form.
    pub taken: usize,
    /// Files that were refused; their old form stays in use.
    pub refused: Vec<GeoError>,
}

impl Geo {
    /// The built-in database alone.
    ///
    /// # Errors
    /// Only if the program was built with a damaged database.
    pub fn built_in() -> Result<Self, GeoError> {
        Self::with(Database::built_in()?, Vec::new())
    }

    /// The built-in database and the user's files, and what should be said about their age.
    ///
    /// # Errors
    /// The first file that cannot be used: at start that is bad input.
    pub fn load(files: &[PathBuf], now: Timestamp) -> Result<(Self, Vec<String>), GeoError> {
        let mut user = Vec::with_capacity(files.len());
        for (index, path) in files.iter().enumerate() {
            // A file given twice is one file.
            if !files.iter().take(index).any(|before| before == path) {
                user.push(load_file(path)?);
            }
        }
        let geo = Self::with(Database::built_in()?, user)?;
        let warnings = geo.age_warnings(now);
        Ok((geo, warnings))
    }

    fn with(built_in: Database, user: Vec<Database>) -> Result<Self, GeoError> {
        let files = user.iter().filter_map(|database| database.path().map(PathBuf::from)).collect();
        let mut geo = Self { built_in, files, user, infos: Vec::new() };
        geo.arrange();
        Ok(geo)
    }

    /// Reads all files of the user again. Those that cannot be used stay as they are.
    ///
    /// It takes as long as reading takes. To keep it away from the event loop, call [`load_file`] elsewhere and hand the
    /// result to [`Geo::replace`].
    pub fn reload(&mut self) -> Reloaded {
        let mut reloaded = Reloaded::default();
        for path in self.files.clone() {
            match load_file(&path) {
                Ok(database) => reloaded.taken += usize::from(self.replace(database)),
                Err(error) => reloaded.refused.push(error),
            }
        }
        reloaded
    }

    /// Puts a database in the place of the one with the same path. Returns whether there was one.
    pub fn replace(&mut self, database: Database) -> bool {
        let Some(old) = self.user.iter_mut().find(|old| old.path() == database.path()) else { return false };
        *old = database;
        self.arrange();
        true
    }

    fn arrange(&mut self) {
        let given =
            |database: &Database| self.files.iter().position(|path| Some(path.as_path()) == database.path());
        self.user.sort_by_key(|database| (std::cmp::Reverse(database.info().built), given(database)));
        self.infos =
            self.user.iter().chain([&self.built_in]).map(|database| database.info().clone()).collect();
    }

    /// Databases in use, most important first.
    #[must_use]
    pub fn databases(&self) -> &[DatabaseInfo] {
        &self.infos
    }

    /// Files to read again when they change, as given.
    #[must_use]
    pub fn watch_paths(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    /// A sentence for every database that is older than [`STALE_AFTER`]. The built-in one is not mentioned while fresh
    /// files of the user answer both country and network.
    #[must_use]
    pub fn age_warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings: Vec<_> =
            self.user.iter().filter_map(|database| age_warning(database, now)).collect();
        let fresh = || self.user.iter().filter(|database| age_warning(database, now).is_none());
        let covered = fresh().any(|d| d.coverage().country) && fresh().any(|d| d.coverage().network);
        if !covered {
            warnings.extend(age_warning(&self.built_in, now));
        }
        warnings
    }

    /// What is known about an address. Takes well under a microsecond and allocates nothing.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Place<'_> {
        let Unwrapped { target, nat64 } = unwrap(address);
        let mut place = Place::new(Scope::of(target), nat64);
        if !matches!(place.scope, Scope::Global | Scope::Documentation) {
            return place;
        }
        place.anycast = is_anycast(target);
        let (mut country_prefix, mut as_prefix) = (None, None);
        for database in &self.user {
            let Some(found) = database.lookup(target) else { continue };
            let prefix = Some(found.prefix());
            // `>`: of equal prefixes the first one stays, and that was built later or given first.
            if found.fields.country.is_some() && prefix > country_prefix {
                country_prefix = prefix;
                place.take_country(&found, database);
            }
            if found.fields.number.is_some() && prefix > as_prefix {
                as_prefix = prefix;
                place.take_network(&found, database);
            }
        }
        let complete = (place.country.is_some() || place.anycast) && place.asn.is_some();
        if place.scope == Scope::Global
            && !complete
            && let Some(found) = self.built_in.lookup(target)
        {
            if place.country.is_none() {
                place.take_country(&found, &self.built_in);
            }
            if place.asn.is_none() {
                place.take_network(&found, &self.built_in);
            }
        }
        place
    }
}

impl<'a> Place<'a> {
    fn new(scope: Scope, nat64: Option<Ipv4Addr>) -> Self {
        let (country, asn, as_name) = (None, None, None);
        Self { scope, nat64, anycast: false, country, asn, as_name, country_source: None, as_source: None }
    }

    fn take_country(&mut self, found: &database::Found<'a>, database: &'a Database) {
        if let Some(country) = found.fields.country.filter(|_| !self.anycast) {
            self.country = Some(country);
            self.country_source = Some(database.info());
        }
    }

    fn take_network(&mut self, found: &database::Found<'a>, database: &'a Database) {
        if let Some(number) = found.fields.number {
            self.asn = Some(number);
            self.as_name = found.fields.name;
            self.as_source = Some(database.info());
        }
    }

    /// Two capital letters.
    #[must_use]
    pub fn country_code(&self) -> Option<&'static str> {
        self.country.map(|country| country.code)
    }

    /// The `geo` object of a record.
    #[must_use]
    pub fn geo_object(&self) -> Option<GeoObject<'static>> {
        self.country.map(|c| GeoObject { country_iso_code: c.code, country_name: Some(c.name) })
    }

    /// The `as` object of a record.
    #[must_use]
    pub fn as_object(&self) -> Option<AsObject<'a>> {
        let organization = self.as_name.map(|name| OrganizationObject { name });
        self.asn.map(|number| AsObject { number, organization })
    }
}

fn age_warning(database: &Database, now: Timestamp) -> Option<String> {
    let info = database.info();
    let built = info.built?;
    let age = Duration::from_nanos(now.0.saturating_sub(built.0));
    if age <= STALE_AFTER {
        return None;
    }
    let days = age.as_secs() / 86_400;
    let text = built.to_string();
    let date = text.get(..10).unwrap_or(&text);
    Some(match database.path() {
        None => format!(
            "the built-in geo database is of {date}, {days} days old: some addresses have changed country or network \
             since; give a newer MMDB file with --geo FILE, or build tracer anew after `cargo xtask geodata`"
        ),
        Some(path) => format!(
            "geo file {} is of {date}, {days} days old: some addresses have changed country or network since; \
             fetch a newer one to the same path, it is taken up at once",
            path.display()
        ),
    })
}

#[cfg(test)]
mod tests;
