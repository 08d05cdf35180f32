//! One MMDB file: read, checked, asked.
//!
//! Flows in: the built-in bytes or a path. Flows out: [`Fields`] of an address, borrowed from the file. Built-in and
//! user files go through the same code. A file is read whole and never mapped: somebody may overwrite it in place.
//! No file, however broken, may stop or hang the program: every lookup takes at most 128 steps, and the decoder of
//! `maxminddb` bounds what one record can unfold to.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use schemars::JsonSchema;
use serde::Serialize;

use super::layout::Fields;
use crate::clock::Timestamp;
use crate::memory;

/// Made by `build/geo.rs`. In the program's read-only data: the kernel loads the pages that lookups touch, no others.
static BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/geo.mmdb"));

/// Name of the built-in database in records and messages.
pub const BUILT_IN_NAME: &str = "built-in";

/// Larger files are refused: they are read into memory.
pub const SIZE_LIMIT: u64 = 512 << 20;

/// A database in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DatabaseInfo {
    /// Path as it was given, or `built-in`.
    pub name: String,
    /// What its maker calls this kind of database.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// When it was built. Absent when the file does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built: Option<Timestamp>,
}

/// Why a file is not used. Each message names the file, the reason and a remedy.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    #[error("cannot read geo file {path}: {source}; check the path given with --geo")]
    Read { path: String, source: std::io::Error },
    #[error("cannot use geo file {path}: it is no regular file; give an MMDB file")]
    NotAFile { path: String },
    #[error("cannot use geo file {path}: it has more than {} MiB; use a country or ASN database", SIZE_LIMIT >> 20)]
    TooLarge { path: String },
    #[error(
        "cannot use geo file {path}: {source}; it is damaged, incomplete or no MMDB file: fetch it again"
    )]
    Damaged { path: String, source: MaxMindDbError },
    #[error(
        "cannot use geo file {path}: no record in it has a country or an AS number (it calls itself {kind:?}); \
         use a country or ASN database"
    )]
    NothingKnown { path: String, kind: String },
}

/// Gives back the pages of the built-in database that lookups touched, with 64 KiB around each. Addresses that are talked to now
/// have been looked up.
pub fn give_back_built_in() {
    memory::give_back(BUILT_IN);
}

/// A checked database.
#[derive(Debug)]
pub struct Database {
    info: DatabaseInfo,
    /// Absent for the built-in one.
    path: Option<PathBuf>,
    reader: Reader<Cow<'static, [u8]>>,
    coverage: Coverage,
}

/// Which fields the checked records of a file have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub country: bool,
    pub network: bool,
}

/// A record of a file, not decoded yet.
type Hit<'a> = LookupResult<'a, Cow<'static, [u8]>>;

/// What a database says about an address.
#[derive(Debug)]
pub struct Found<'a> {
    pub fields: Fields<'a>,
    result: Hit<'a>,
    address: IpAddr,
}

/// Reads and checks a file of the user. Takes up to a second for a large file: call it away from the event loop.
///
/// # Errors
/// The file cannot be read, is too large, is damaged, or knows neither country nor network.
pub fn load_file(path: &Path) -> Result<Database, GeoError> {
    let name = || path.display().to_string();
    let read = |source| GeoError::Read { path: name(), source };
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(read)?.is_file() {
        return Err(GeoError::NotAFile { path: name() });
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes)).map_err(read)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(GeoError::TooLarge { path: name() });
    }
    bytes.shrink_to_fit();
    let mut database = Database::from_bytes(name(), Cow::Owned(bytes))?;
    database.coverage = database.check()?;
    database.path = Some(path.to_owned());
    Ok(database)
}

impl Database {
    /// The database in the program itself. It is not walked through: that would load all its pages, and a test does it.
    ///
    /// # Errors
    /// Only if the program was built with a damaged database.
    pub fn built_in() -> Result<Self, GeoError> {
        let mut database = Self::from_bytes(BUILT_IN_NAME.to_owned(), Cow::Borrowed(BUILT_IN))?;
        database.coverage = Coverage { country: true, network: true };
        Ok(database)
    }

    fn from_bytes(name: String, bytes: Cow<'static, [u8]>) -> Result<Self, GeoError> {
        let reader = match Reader::from_source(bytes) {
            Ok(reader) => reader,
            Err(source) => return Err(GeoError::Damaged { path: name, source }),
        };
        let metadata = reader.metadata();
        let kind = metadata.database_type.chars().filter(|c| !c.is_control()).take(100).collect();
        // 0 is what makers write who do not know.
        let built = metadata.build_epoch.checked_mul(1_000_000_000).filter(|n| *n != 0).map(Timestamp);
        let info = DatabaseInfo { name, kind, built };
        Ok(Self { info, path: None, reader, coverage: Coverage::default() })
    }

    #[must_use]
    pub fn info(&self) -> &DatabaseInfo {
        &self.info
    }

    /// Path of a user's file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.coverage
    }

    /// What the file says about an address: nothing for an unknown one, an IPv6 address in a file of IPv4 networks, or
    /// a record that is damaged.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<Found<'_>> {
        let result = self.ask(address).ok()??;
        let fields = result.decode::<Fields<'_>>().ok()??;
        (!fields.is_empty()).then_some(Found { fields, result, address })
    }

    fn ask(&self, address: IpAddr) -> Result<Option<Hit<'_>>, MaxMindDbError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        self.reader.lookup(address).map(|result| result.has_data().then_some(result))
    }

    /// Asks for a sample of the file's networks and for addresses all over both address spaces.
    ///
    /// A sample, because a whole walk through a large file takes seconds on a phone. Not `Reader::verify`: it refuses
    /// files that can be read well, for example for an empty description.
    fn check(&self) -> Result<Coverage, GeoError> {
        let damaged = |source| GeoError::Damaged { path: self.info.name.clone(), source };
        let mut records = Sample::default();
        // Empty networks too: else a tree made of nothing but knots could keep the iterator for ever.
        let all = WithinOptions::default().include_networks_without_data();
        for result in self.reader.networks(all).map_err(damaged)?.take(SAMPLED_NETWORKS) {
            records.add(&result.map_err(damaged)?).map_err(damaged)?;
        }
        for n in 0..SAMPLED_ADDRESSES {
            let v4 = Ipv4Addr::from(n << 20 | 0x0001_0101);
            // 2000::/3 in steps of a /15.
            let v6 = Ipv6Addr::from(1_u128 << 125 | u128::from(n) << 113 | 1 << 96);
            for address in [IpAddr::V4(v4), IpAddr::V6(v6)] {
                if let Some(result) = self.ask(address).map_err(damaged)? {
                    records.add(&result).map_err(damaged)?;
                }
            }
        }
        if records.coverage == Coverage::default() {
            let DatabaseInfo { name, kind, .. } = &self.info;
            return Err(GeoError::NothingKnown { path: name.clone(), kind: kind.clone() });
        }
        Ok(records.coverage)
    }
}

/// Networks looked at from the low end: all of a small file.
const SAMPLED_NETWORKS: usize = 20_000;
/// Addresses looked up in each family: one in each /12 of IPv4.
const SAMPLED_ADDRESSES: u32 = 4_096;
/// Records decoded at most: a hostile file can make each of them take milliseconds.
const SAMPLED_RECORDS: usize = 256;

/// Records decoded so far, each once.
#[derive(Default)]
struct Sample {
    seen: HashSet<usize>,
    coverage: Coverage,
}

impl Sample {
    fn add(&mut self, result: &Hit<'_>) -> Result<(), MaxMindDbError> {
        let Some(offset) = result.offset() else { return Ok(()) };
        if self.seen.len() < SAMPLED_RECORDS && self.seen.insert(offset) {
            let fields = match result.decode::<Fields<'_>>() {
                Ok(fields) => fields.unwrap_or_default(),
                // A sound value of another type, where we expect a map: a layout we do not know, not damage.
                Err(MaxMindDbError::Decoding { .. }) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.coverage.country |= fields.country.is_some();
            self.coverage.network |= fields.number.is_some();
        }
        Ok(())
    }
}

impl Found<'_> {
    /// Length of the prefix of the network that the record is for, in the address's own family. An IPv4 address found
    /// above the IPv4 part of the tree is found in something wider than all of IPv4: 0.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        match self.result.network() {
            Ok(network) if network.is_ipv4() == self.address.is_ipv4() => network.prefix(),
            _ => 0,
        }
    }
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
