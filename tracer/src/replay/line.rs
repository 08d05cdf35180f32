//! One recorded line, read again: its members in their order as they stand there, and those that judging needs.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::enrich::geo::Scope;
use crate::record::{Action, Direction, End, NameCandidate, NameSource, Protocol, Transport};

/// The members of a record, in their order.
#[derive(Debug, Default)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut members = Vec::with_capacity(16);
                while let Some(Key(key)) = map.next_key()? {
                    members.push((key, map.next_value()?));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(InOrder).map(Members)
    }
}

/// A key, without a copy where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(Text).map(Key)
    }
}

impl<'a> Members<'a> {
    /// The text of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    /// A member as a `T`; `None`: there is none.
    ///
    /// # Errors
    /// When it has another form.
    pub fn read<T: Deserialize<'a>>(&self, name: &str) -> Result<Option<T>, serde_json::Error> {
        self.get(name)
            .map(|text| {
                serde_json::from_str(text)
                    .map_err(|error| serde_json::Error::custom(format!("`{name}`: {error}")))
            })
            .transpose()
    }
}

/// `event`.
#[derive(Debug, Deserialize)]
pub struct Event {
    pub action: Action,
}

/// `flow`.
#[derive(Debug, Deserialize)]
pub struct Flow<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    pub age_ms: Option<u64>,
    pub silent_ms: Option<u64>,
    pub end: Option<End>,
}

/// `network`.
#[derive(Debug, Deserialize)]
pub struct Network {
    pub transport: Transport,
    pub protocol: Option<Protocol>,
    pub direction: Option<Direction>,
}

/// `source` and `destination`.
#[derive(Debug, Deserialize)]
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
    pub geo: Option<Geo>,
    #[serde(rename = "as")]
    pub network: Option<As>,
    pub bytes: Option<u64>,
    pub packets: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct Name {
    pub source: NameSource,
    pub age_ms: Option<u64>,
    #[serde(default)]
    pub ambiguous: bool,
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug, Deserialize)]
struct Candidate {
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

#[derive(Debug, Deserialize)]
pub struct Geo {
    pub country_iso_code: String,
}

#[derive(Debug, Deserialize)]
pub struct As {
    pub number: u32,
    pub organization: Option<Organization>,
}

#[derive(Debug, Deserialize)]
pub struct Organization {
    pub name: String,
}

/// `@timestamp`.
///
/// # Errors
/// When there is none.
pub fn timestamp(members: &Members<'_>) -> Result<Timestamp, serde_json::Error> {
    let text: Cow<'_, str> =
        members.read("@timestamp")?.ok_or_else(|| serde_json::Error::custom("no `@timestamp`"))?;
    text.parse().map_err(|error| serde_json::Error::custom(format!("`@timestamp`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_text() {
        let line = r#"{"b":1.50,"a":{"x" : [1, 2]},"c\u0041":null}"#;
        let members: Members<'_> = serde_json::from_str(line).unwrap();
        let all: Vec<_> = members.0.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(all, [("b", "1.50"), ("a", r#"{"x" : [1, 2]}"#), ("cA", "null")]);
        assert_eq!(members.get("b"), Some("1.50"));
        assert!(members.read::<u8>("a").unwrap_err().to_string().starts_with("`a`: "));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in ["", "[]", "1", "{", r#"{"a":}"#, "\u{feff}{}"] {
            assert!(serde_json::from_str::<Members<'_>>(line).is_err(), "{line}");
        }
    }
}
