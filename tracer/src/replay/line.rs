//! One recorded line, read again: its members in their order as they stand there, and those that judging needs.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny};
use serde_json::Error;
use smallvec::SmallVec;

use super::split;
use crate::clock::Timestamp;
use crate::enrich::geo::Scope;
use crate::record::{Action, Direction, End, NameCandidate, NameSource, Protocol, Transport};

/// Members of a record that judging needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Seq,
    Timestamp,
    Event,
    Flow,
    Network,
    Source,
    Destination,
    Process,
    User,
    App,
    Attribution,
    Tracer,
}

const MEMBERS: usize = Member::Tracer as usize + 1;

impl Member {
    const NAMES: [(Self, &str); MEMBERS] = [
        (Self::Seq, "seq"),
        (Self::Timestamp, "@timestamp"),
        (Self::Event, "event"),
        (Self::Flow, "flow"),
        (Self::Network, "network"),
        (Self::Source, "source"),
        (Self::Destination, "destination"),
        (Self::Process, "process"),
        (Self::User, "user"),
        (Self::App, "app"),
        (Self::Attribution, "attribution"),
        (Self::Tracer, "tracer"),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(member, _)| *member)
    }

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(member, _)| *member == self).map_or("", |(_, name)| name)
    }
}

/// A member and the text of its value.
type Named<'a> = (Cow<'a, str>, &'a str);

/// The members of a record, in their order.
#[derive(Clone, Debug, Default)]
pub struct Members<'a> {
    /// On the stack: each line has some fifteen.
    pub all: SmallVec<[Named<'a>; 20]>,
    known: [Option<&'a str>; MEMBERS],
}

impl<'a> Members<'a> {
    /// Takes a line apart. What stands in the values is not looked at but for where they end: see [`Members::check`].
    ///
    /// # Errors
    /// When it is no object.
    pub fn of(line: &'a str) -> Result<Self, Error> {
        let mut members = Self::default();
        split::members(line, |key, value| {
            let key = if key.contains('\\') {
                Cow::Owned(serde_json::from_str(&format!("\"{key}\""))?)
            } else {
                Cow::Borrowed(key)
            };
            if let Some(known) = Member::named(&key)
                && let Some(place) = members.known.get_mut(known as usize)
            {
                *place = Some(value);
            }
            members.all.push((key, value));
            Ok(())
        })?;
        Ok(members)
    }

    /// Whether all values are JSON, but those for which `is_sure` is: these are read anyway, or are not written again.
    ///
    /// # Errors
    /// The first one that is none.
    pub fn check(&self, is_sure: impl Fn(&str) -> bool) -> Result<(), Error> {
        for (name, value) in self.all.iter().filter(|(name, _)| !is_sure(name)) {
            serde_json::from_str::<IgnoredAny>(value)
                .map_err(|error| Error::custom(format!("`{name}`: {error}")))?;
        }
        Ok(())
    }

    /// The text of a member.
    #[must_use]
    pub fn get(&self, member: Member) -> Option<&'a str> {
        self.known.get(member as usize).copied().flatten()
    }

    /// A member as a `T`; `None`: there is none.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read<T: Deserialize<'a>>(&self, member: Member) -> Result<Option<T>, Error> {
        let wrong = |error| Error::custom(format!("`{}`: {error}", member.name()));
        self.get(member).map(|text| serde_json::from_str(text).map_err(wrong)).transpose()
    }

    /// A member that must be there, as a `T`.
    ///
    /// # Errors
    /// When it is not, or has another form.
    pub fn need<T: Deserialize<'a>>(&self, member: Member) -> Result<T, Error> {
        self.read(member)?.ok_or_else(|| Error::custom(format!("no `{}`", member.name())))
    }
}

/// `event`.
#[derive(Debug, Deserialize)]
pub struct Event {
    pub action: Action,
}

/// `flow`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Flow<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub age_ms: Option<u64>,
    pub silent_ms: Option<u64>,
    pub end: Option<End>,
}

/// `network`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    pub transport: Transport,
    pub protocol: Option<Protocol>,
    pub direction: Option<Direction>,
}

/// `source` and `destination`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Endpoint<'a> {
    pub ip: IpAddr,
    pub port: Option<u16>,
    #[serde(borrow)]
    pub domain: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub registered_domain: Option<Cow<'a, str>>,
    pub name: Option<Name>,
    pub scope: Scope,
    pub nat64: Option<IpAddr>,
    #[serde(default)]
    pub anycast: bool,
    #[serde(borrow)]
    pub geo: Option<Geo<'a>>,
    #[serde(borrow, rename = "as")]
    pub network: Option<As<'a>>,
    pub bytes: Option<u64>,
    pub packets: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Name {
    pub source: NameSource,
    pub age_ms: Option<u64>,
    #[serde(default)]
    pub ambiguous: bool,
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Candidate {
    domain: String,
    source: NameSource,
}

impl Name {
    /// The names that were not taken.
    #[must_use]
    pub fn candidates(&self) -> Vec<NameCandidate> {
        let candidate =
            |one: &Candidate| NameCandidate { domain: Arc::from(&*one.domain), source: one.source };
        self.candidates.iter().map(candidate).collect()
    }
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Geo<'a> {
    #[serde(borrow)]
    pub country_iso_code: Cow<'a, str>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct As<'a> {
    pub number: u32,
    #[serde(borrow)]
    pub organization: Option<Organization<'a>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Organization<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
}

/// What a record of a connection says, as far as it is judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged<'a> {
    pub flow: Flow<'a>,
    pub network: Network,
    pub source: Endpoint<'a>,
    pub destination: Endpoint<'a>,
}

impl<'a> Judged<'a> {
    /// Of the members of a record.
    ///
    /// # Errors
    /// When one of them is missing or has another form.
    pub fn of(members: &Members<'a>) -> Result<Self, Error> {
        Ok(Self {
            flow: members.need(Member::Flow)?,
            network: members.need(Member::Network)?,
            source: members.need(Member::Source)?,
            destination: members.need(Member::Destination)?,
        })
    }

    /// The end that has a name.
    #[must_use]
    pub fn named_end(&self) -> Option<&Endpoint<'a>> {
        [&self.destination, &self.source].into_iter().find(|end| end.domain.is_some())
    }
}

/// `@timestamp`.
///
/// # Errors
/// When there is none.
pub fn timestamp(members: &Members<'_>) -> Result<Timestamp, Error> {
    let text: &str = members.need(Member::Timestamp)?;
    text.parse().map_err(|error| Error::custom(format!("`@timestamp`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_text() {
        let line = r#"{"seq":1.50,"app":{"x" : [1, 2]},"c\u0041":null}"#;
        let members = Members::of(line).unwrap();
        let all: Vec<_> = members.all.iter().map(|(name, value)| (&**name, *value)).collect();
        assert_eq!(all, [("seq", "1.50"), ("app", r#"{"x" : [1, 2]}"#), ("cA", "null")]);
        assert_eq!(members.get(Member::Seq), Some("1.50"));
        assert!(members.read::<u8>(Member::App).unwrap_err().to_string().starts_with("`app`: "));
        assert_eq!(members.need::<u8>(Member::User).unwrap_err().to_string(), "no `user`");
        assert!(members.check(|_| false).is_ok());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in
            ["", "[]", "1", "{", r#"{"a":}"#, "\u{feff}{}", "{}x", r#"{"a":1,}"#, r#"{"a" 1}"#, r#"{"a":"}"#]
        {
            assert!(Members::of(line).is_err(), "{line}");
        }
        for line in [r#"{"a":x}"#, r#"{"a":[1,]}"#, r#"{"a":"\x"}"#, r#"{"a":{"b"}}"#, r#"{"a":[}]}"#] {
            let members = Members::of(line);
            assert!(members.is_err() || members.unwrap().check(|_| false).is_err(), "{line}");
        }
    }
}
