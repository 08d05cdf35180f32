//! Reads the layouts that makers of MMDB files use for country and network.
//!
//! Flows in: one record of a file. Flows out: the country, AS number and AS name in it, borrowed from the file. A field
//! with a value that makes no sense is as good as absent; it never spoils the others.
//!
//! | field | found as |
//! |---|---|
//! | country | `country.iso_code`, else `country` as text, else `country_code`, else `registered_country.iso_code` |
//! | AS number | `autonomous_system_number` or `asn`: a number of any width, or text such as `AS15169` |
//! | AS name | `autonomous_system_organization` or `as_name` |

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::country::{Country, country};

/// What one record says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    pub country: Option<Country>,
    pub number: Option<u32>,
    pub name: Option<&'a str>,
}

impl Fields<'_> {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.country.is_none() && self.number.is_none()
    }
}

/// Longest name that is passed on, in bytes: the longest real one has 169.
const NAME_LIMIT: usize = 256;

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with a country or an AS number")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        // Best first: `country`, `country_code`, `registered_country`.
        let mut countries = [None; 3];
        let mut fields = Fields::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Country => countries[0] = map.next_value::<Loose<'_>>()?.country(),
                Key::CountryCode => countries[1] = map.next_value::<Loose<'_>>()?.country(),
                Key::RegisteredCountry => countries[2] = map.next_value::<Loose<'_>>()?.country(),
                Key::Number => fields.number = map.next_value::<Loose<'_>>()?.number().or(fields.number),
                Key::Name => fields.name = map.next_value::<Loose<'_>>()?.name().or(fields.name),
                Key::IsoCode | Key::Other => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        fields.country = countries.into_iter().flatten().next();
        Ok(fields)
    }
}

enum Key {
    Country,
    CountryCode,
    RegisteredCountry,
    Number,
    Name,
    IsoCode,
    Other,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Key, E> {
        self.visit_bytes(key.as_bytes())
    }

    /// What `maxminddb` calls: it does not check that a key is UTF-8.
    fn visit_bytes<E: serde::de::Error>(self, key: &[u8]) -> Result<Key, E> {
        Ok(match key {
            b"country" => Key::Country,
            b"country_code" => Key::CountryCode,
            b"registered_country" => Key::RegisteredCountry,
            b"autonomous_system_number" | b"asn" => Key::Number,
            b"autonomous_system_organization" | b"as_name" => Key::Name,
            b"iso_code" => Key::IsoCode,
            _ => Key::Other,
        })
    }
}

/// A value of whatever type, reduced to what can be meant.
enum Loose<'a> {
    Text(&'a str),
    Number(u64),
    /// A map with this `iso_code`.
    Country(Option<Country>),
    Other,
}

impl<'a> Loose<'a> {
    fn country(&self) -> Option<Country> {
        match self {
            Self::Text(code) => country(code),
            Self::Country(country) => *country,
            Self::Number(_) | Self::Other => None,
        }
    }

    /// AS number; 0 is reserved and means nothing (RFC 7607).
    fn number(&self) -> Option<u32> {
        let number = match self {
            Self::Number(number) => u32::try_from(*number).ok(),
            Self::Text(text) => {
                let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
                digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
            }
            Self::Country(_) | Self::Other => None,
        };
        number.filter(|number| *number != 0)
    }

    /// A name without control characters, cut at [`NAME_LIMIT`].
    fn name(&self) -> Option<&'a str> {
        let Self::Text(text) = *self else { return None };
        let text =
            if text.len() <= NAME_LIMIT { text } else { text.get(..text.floor_char_boundary(NAME_LIMIT))? };
        let text = text.trim_ascii();
        let plain = text.is_ascii() && !text.bytes().any(|c| c.is_ascii_control());
        (!text.is_empty() && (plain || !text.chars().any(char::is_control))).then_some(text)
    }
}

impl<'de> Deserialize<'de> for Loose<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor::<false>)
    }
}

/// `INNER`: already inside a map, where only plain values mean anything. So a file cannot make us recurse.
struct LooseVisitor<const INNER: bool>;

impl<'de, const INNER: bool> Visitor<'de> for LooseVisitor<INNER> {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Loose::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Loose::Other, Loose::Number))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::IsoCode if !INNER => found = map.next_value::<Inner<'_>>()?.0.country(),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Loose::Country(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }

    fn visit_u128<E>(self, number: u128) -> Result<Self::Value, E> {
        Ok(u64::try_from(number).map_or(Loose::Other, Loose::Number))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Self::Value, E> {
        Ok(Loose::Other)
    }
}

/// A value inside a map.
struct Inner<'a>(Loose<'a>);

impl<'de> Deserialize<'de> for Inner<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor::<true>).map(Inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// `(country, number, name)` of a record, given as JSON text: it offers the same types.
    fn read(record: &Value) -> (Option<&'static str>, Option<u32>, Option<String>) {
        let text = record.to_string();
        let fields: Fields<'_> = serde_json::from_str(&text).unwrap();
        (fields.country.map(|c| c.code), fields.number, fields.name.map(str::to_owned))
    }

    #[test]
    fn every_layout_gives_its_country() {
        for (record, expected) in [
            (json!({"country": {"iso_code": "SE", "names": {"en": "Sweden"}}}), Some("SE")),
            (json!({"registered_country": {"iso_code": "DE"}, "country": {"iso_code": "SE"}}), Some("SE")),
            (json!({"country": {"iso_code": "SE"}, "registered_country": {"iso_code": "DE"}}), Some("SE")),
            (json!({"registered_country": {"iso_code": "DE"}}), Some("DE")),
            (json!({"country": "JP", "country_code": "FR"}), Some("JP")),
            (json!({"country": "Japan", "country_code": "JP"}), Some("JP")),
            (json!({"country_code": "fr"}), Some("FR")),
            (json!({"country_code": "ZZ"}), None),
            (json!({"country": {"geoname_id": 1}}), None),
            (json!({"country": {"iso_code": 5}, "country_code": "SE"}), Some("SE")),
            (json!({"country": {"iso_code": {"iso_code": "FR"}}, "country_code": "SE"}), Some("SE")),
            (json!({"country": ["SE"], "country_code": 7}), None),
            (json!({}), None),
        ] {
            assert_eq!(read(&record).0, expected, "{record}");
        }
    }

    #[test]
    fn every_layout_gives_its_network() {
        for (record, number, name) in [
            (
                json!({"autonomous_system_number": 15169, "autonomous_system_organization": "Google"}),
                Some(15169),
                Some("Google"),
            ),
            (json!({"asn": "AS15169", "as_name": " Google "}), Some(15169), Some("Google")),
            (json!({"asn": "15169"}), Some(15169), None),
            (json!({"asn": 4_294_967_295_u64}), Some(u32::MAX), None),
            (json!({"asn": 4_294_967_296_u64, "as_name": 5}), None, None),
            (json!({"asn": "AS+5"}), None, None),
            (json!({"asn": "AS"}), None, None),
            (json!({"asn": 0}), None, None),
            (json!({"asn": -1, "as_name": ""}), None, None),
            (json!({"asn": {"iso_code": "SE"}, "as_name": [1, [2]]}), None, None),
            (json!({"asn": true, "as_name": 1.5}), None, None),
        ] {
            let found = read(&record);
            assert_eq!((found.1, found.2.as_deref()), (number, name), "{record}");
        }
    }

    #[test]
    fn a_name_with_control_characters_is_no_name_and_a_long_one_is_cut() {
        assert_eq!(read_name("Evil\u{1b}[31m"), None);
        assert_eq!(read_name("Evil\u{9b}31m"), None);
        assert_eq!(read_name("Société Générale"), Some("Société Générale".to_owned()));
        let cut = read_name(&"é".repeat(1_000)).unwrap();
        assert_eq!(cut.len(), NAME_LIMIT);
    }

    /// JSON text with escapes cannot be borrowed; a plain deserializer of one string can.
    fn read_name(name: &str) -> Option<String> {
        Loose::Text(name).name().map(str::to_owned)
    }
}
