//! What one record says, as far as it is judged. Made from the record of a flow (live) or from a recorded line (replay), and
//! the same in both: judging sees nothing else, so that it comes to the same verdict.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::OnceLock;

use crate::clock::Timestamp;
use crate::enrich::app::Kind;
use crate::hash::Fnv;
use crate::record::{Action, Direction, End, FlowId, NameSource, PlaceText, Protocol, Transport};

/// Tells flows apart, as `flow.id` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowRef {
    /// First 32 bits of the kernel's boot id.
    pub boot: u32,
    pub cookie: u64,
    /// Of UDP.
    pub peer: Option<u32>,
}

impl FlowRef {
    /// From `flow.id`.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split('-');
        let boot = u32::from_str_radix(parts.next()?, 16).ok()?;
        let cookie = u64::from_str_radix(parts.next()?, 16).ok()?;
        let peer = parts.next().map(|peer| u32::from_str_radix(peer, 16)).transpose().ok()?;
        parts.next().is_none().then_some(Self { boot, cookie, peer })
    }
}

impl fmt::Display for FlowRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.boot, self.cookie)?;
        self.peer.map_or(Ok(()), |peer| write!(f, "-{peer:x}"))
    }
}

impl serde::Serialize for FlowRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl schemars::JsonSchema for FlowRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        FlowId::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        FlowId::json_schema(generator)
    }
}

/// What one record says.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    pub at: Timestamp,
    pub action: Action,
    pub flow: FlowRef,
    /// Milliseconds since it was opened, where that was seen.
    pub age_ms: Option<u64>,
    /// For how long the socket had neither sent nor received anything, milliseconds, where the kernel tells.
    pub silent_ms: Option<u64>,
    pub end: Option<End>,
    pub transport: Transport,
    pub protocol: Option<Protocol>,
    pub direction: Option<Direction>,
    pub source: Place<'a>,
    pub destination: Place<'a>,
    pub name: Option<Name<'a>>,
    pub who: &'a Who,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub at: &'a PlaceText,
    pub port: Option<u16>,
    /// What it has sent so far.
    pub bytes: Option<u64>,
    pub packets: Option<u64>,
}

/// The host that was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    /// Lower case, without a final dot.
    pub domain: &'a str,
    pub registered: Option<&'a str>,
    pub source: NameSource,
    pub is_ambiguous: bool,
}

/// Whose connection it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    pub uid: Option<u32>,
    pub user: Option<Box<str>>,
    /// Package names, with commas in between.
    pub packages: Box<str>,
    pub app_kind: Option<Kind>,
    pub android_user: Option<u32>,
    pub is_preinstalled: Option<bool>,
    pub is_removable: Option<bool>,
    pub process: Option<Box<str>>,
    pub executable: Option<Box<str>>,
    pub on_behalf_of: Option<Behalf>,
    pub derived: Derived,
}

/// What follows from an owner, once it was asked for: it is the same in all of its records.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    /// What keys of findings begin with: most rules' keys begin with the owner.
    pub key_begins: OnceLock<Fnv>,
    label: OnceLock<Box<str>>,
    hash: OnceLock<u64>,
}

/// Nothing but what follows: owners are the same whether it was asked for or not.
impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

/// For whom the owner works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behalf {
    pub uid: u32,
    /// As of [`Who`].
    pub packages: Box<str>,
    pub tag: Box<str>,
}

impl<'a> Observation<'a> {
    /// Whether somebody else opened it.
    #[must_use]
    pub fn is_incoming(&self) -> bool {
        self.direction == Some(Direction::Ingress)
    }

    /// The end that is not here.
    #[must_use]
    pub fn remote(&self) -> &Place<'a> {
        if self.is_incoming() { &self.source } else { &self.destination }
    }

    /// The end that is here.
    #[must_use]
    pub fn local(&self) -> &Place<'a> {
        if self.is_incoming() { &self.destination } else { &self.source }
    }

    /// Bytes both ways, so far.
    #[must_use]
    pub fn moved(&self) -> Option<u64> {
        match (self.source.bytes, self.destination.bytes) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or_default().saturating_add(other.unwrap_or_default())),
        }
    }

    /// Whether what it carries is not encrypted.
    #[must_use]
    pub fn is_cleartext(&self) -> bool {
        self.protocol == Some(Protocol::Http)
    }

    /// Whether nothing follows about this flow.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.action, Action::Close | Action::Failed)
    }
}

impl Who {
    /// The packages, one by one.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        names(&self.packages)
    }

    /// How a person calls the owner: packages, or process and user.
    #[must_use]
    pub fn label(&self) -> &str {
        self.derived.label.get_or_init(|| self.made_label().into())
    }

    fn made_label(&self) -> String {
        let mut packages = self.packages();
        if let Some(first) = packages.next() {
            return match (packages.next(), packages.count()) {
                (None, _) => first.to_owned(),
                (Some(second), 0) => format!("{first} and {second}"),
                (Some(_), more) => format!("{first} and {} more", more + 1),
            };
        }
        match (self.process.as_deref(), self.uid) {
            (Some(process), Some(uid)) => format!("{process} (uid {uid})"),
            (Some(process), None) => process.to_owned(),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "a process that is not known".to_owned(),
        }
    }

    /// Tells owners apart, as far as they are booked apart; of this run only.
    #[must_use]
    pub fn hash_by(&self, hasher: &impl BuildHasher) -> u64 {
        *self
            .derived
            .hash
            .get_or_init(|| hasher.hash_one((&self.packages, &self.executable, self.uid, self.android_user)))
    }
}

impl Behalf {
    /// The packages, one by one.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        names(&self.packages)
    }
}

/// The names in a text with commas in between.
pub(super) fn names(joined: &str) -> impl Iterator<Item = &str> {
    joined.split(',').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_ids_are_read_as_they_are_written() {
        for id in ["00c0ffee-2f31", "21ddcc29-0-0", "21ddcc29-ffffffffffffffff-abcdef"] {
            assert_eq!(FlowRef::parse(id).map(|flow| flow.to_string()).as_deref(), Some(id));
        }
        for wrong in ["", "x-1", "1", "1-2-3-4", "1-2-", "1--2", "1ffffffff-1"] {
            assert_eq!(FlowRef::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_owner_is_called_by_its_packages_else_by_process_and_uid() {
        let who = |packages: &str| {
            Who { packages: packages.into(), uid: Some(10), ..Who::default() }.label().to_owned()
        };
        assert_eq!(who("a.b"), "a.b");
        assert_eq!(who("a.b,c.d"), "a.b and c.d");
        assert_eq!(who("a.b,c.d,e.f"), "a.b and 2 more");
        assert_eq!(who(""), "uid 10");
        assert_eq!(
            Who { process: Some("curl".into()), uid: Some(0), ..Who::default() }.label(),
            "curl (uid 0)"
        );
        assert_eq!(Who::default().label(), "a process that is not known");
    }
}
