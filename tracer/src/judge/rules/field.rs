//! The fields that rules speak of: those of a record, by the names that they have there, and what judging adds (`who`,
//! `channel`, `ledger`, `cadence`, `home`).

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::value::{Made, Texts, Unit, Value};
use crate::judge::book::History;
use crate::judge::cadence::Cadence;
use crate::judge::channel::Channel;
use crate::judge::observation::Observation;
use crate::judge::services::{Found, Service};
use crate::judge::toml_input::unknown;

/// What rules are asked about.
pub struct Case<'a> {
    pub seen: &'a Observation<'a>,
    pub service: Option<(&'a Service, Found)>,
    pub lists: &'a [&'a str],
    pub home: &'a [String],
    pub channel: Option<Channel>,
    pub history: Option<History<'a>>,
    pub cadence: Option<Cadence>,
    /// The record itself, for fields that hardly any rule asks for.
    pub record: &'a dyn Fn() -> Json,
}

/// A field by its name.
#[derive(Clone)]
pub enum Field {
    Known(&'static KnownField),
    /// A member of the record, by its path.
    Member(Box<str>),
}

/// A field that is at hand without looking into the record.
pub struct KnownField {
    name: &'static str,
    unit: Unit,
    of: Of,
}

/// How to find out what a field says; `None`: it is not known.
pub enum Of {
    Text(for<'c> fn(&'c Case<'c>) -> Option<&'c str>),
    Number(fn(&Case<'_>) -> Option<f64>),
    Flag(fn(&Case<'_>) -> Option<bool>),
    Value(for<'c> fn(&'c Case<'c>) -> Value<'c>),
}

impl Field {
    /// The field of this name.
    ///
    /// # Errors
    /// That there is none, and which may have been meant.
    pub fn named(name: &str) -> Result<Self, String> {
        if let Some(field) = KNOWN.iter().find(|field| field.name == name) {
            return Ok(Self::Known(field));
        }
        if MEMBERS.iter().any(|member| member == name) {
            return Ok(Self::Member(name.into()));
        }
        let names = KNOWN.iter().map(|field| field.name).chain(MEMBERS.iter().map(String::as_str));
        Err(unknown("field", name, names))
    }

    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Known(field) => field.name,
            Self::Member(path) => path,
        }
    }

    /// The name of one that is at hand; empty: it is not.
    #[must_use]
    pub fn at_hand(&self) -> &str {
        match self {
            Self::Known(field) => field.name,
            Self::Member(_) => "",
        }
    }

    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Known(field) => field.unit,
            Self::Member(path) if path.ends_with("_ms") => Unit::Milliseconds,
            Self::Member(_) => Unit::Plain,
        }
    }

    /// What it takes to find out, compared with others.
    #[must_use]
    pub fn cost(&self) -> u8 {
        match self {
            Self::Known(field)
                if field.name.starts_with("ledger.") || field.name == "channel.bytes_per_hour" =>
            {
                1
            }
            Self::Known(_) => 0,
            // The whole record is made for it.
            Self::Member(_) => 2,
        }
    }

    /// What it says.
    #[must_use]
    pub fn of<'c>(&self, case: &'c Case<'c>) -> Value<'c> {
        match self {
            Self::Known(field) => match &field.of {
                Of::Text(of) => Value::text(of(case)),
                Of::Number(of) => of(case).map_or(Value::Absent, Value::Number),
                Of::Flag(of) => of(case).map_or(Value::Absent, Value::Flag),
                Of::Value(of) => of(case),
            },
            Self::Member(path) => member(&(case.record)(), path),
        }
    }

    /// How it is found out, of one that is at hand.
    #[must_use]
    pub fn reader(&self) -> Option<&'static Of> {
        match self {
            Self::Known(field) => Some(&field.of),
            Self::Member(_) => None,
        }
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A member of a record by its path; of lists (`[]`), of all their items.
fn member<'c>(record: &Json, path: &str) -> Value<'c> {
    let mut found = vec![record];
    for step in path.split('.') {
        let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        found = found.into_iter().filter_map(|value| value.get(name)).collect();
        if is_list {
            found = found.into_iter().filter_map(Json::as_array).flatten().collect();
        }
    }
    match found.as_slice() {
        [only] if !path.contains("[]") => owned(Value::of_json(only)),
        several => Value::texts(several.iter().filter_map(|value| value.as_str()).map(str::to_owned)),
    }
}

fn owned<'c>(value: Value<'_>) -> Value<'c> {
    match value {
        Value::Number(number) => Value::Number(number),
        Value::Flag(flag) => Value::Flag(flag),
        Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
        Value::Texts(Texts::Each(texts)) => Value::texts(texts.into_iter().map(Cow::into_owned)),
        // JSON has no others.
        Value::Absent | Value::Made(_) | Value::Texts(_) => Value::Absent,
    }
}

/// Paths of all members of a record, from its schema.
static MEMBERS: LazyLock<Vec<String>> = LazyLock::new(crate::record::member_paths);

/// An enum as it is written.
fn word(value: Option<impl Into<&'static str>>) -> Option<&'static str> {
    value.map(Into::into)
}

/// Whole numbers stay exact below 2^53, as everything in a record does.
#[allow(clippy::cast_precision_loss)]
fn number(number: Option<impl Into<u64>>) -> Option<f64> {
    number.map(|number| number.into() as f64)
}

fn service<'c, T: 'c>(case: &Case<'c>, of: impl Fn(&'c Service) -> Option<T>) -> Option<T> {
    case.service.and_then(|(service, _)| of(service))
}

macro_rules! fields {
    ($($name:literal $unit:ident $kind:ident $of:expr;)*) => {
        &[$(KnownField { name: $name, unit: Unit::$unit, of: Of::$kind($of) }),*]
    };
}

/// In the order of docs/schema.md.
static KNOWN: &[KnownField] = fields! {
    "event.action" Plain Text |case| word(Some(case.seen.action));
    "flow.age_ms" Milliseconds Number |case| number(case.seen.age_ms);
    "flow.silent_ms" Milliseconds Number |case| number(case.seen.silent_ms);
    "flow.end" Plain Text |case| word(case.seen.end);
    "network.transport" Plain Text |case| word(Some(case.seen.transport));
    "network.protocol" Plain Text |case| word(case.seen.protocol);
    "network.cleartext" Plain Flag |case| Some(case.seen.is_cleartext());
    "network.direction" Plain Text |case| word(case.seen.direction);
    "source.ip" Plain Text |case| Some(case.seen.source.at.ip_text());
    "source.port" Plain Number |case| number(case.seen.source.port);
    "source.scope" Plain Text |case| word(Some(case.seen.source.at.scope));
    "source.geo.country_iso_code" Plain Text |case| case.seen.source.at.country.map(|it| it.code);
    "source.geo.country_name" Plain Text |case| case.seen.source.at.country.map(|it| it.name);
    "source.as.number" Plain Number |case| number(case.seen.source.at.as_number);
    "source.as.organization.name" Plain Text |case| case.seen.source.at.as_name.as_deref();
    "source.bytes" Bytes Number |case| number(case.seen.source.bytes);
    "source.packets" Plain Number |case| number(case.seen.source.packets);
    "destination.ip" Plain Text |case| Some(case.seen.destination.at.ip_text());
    "destination.port" Plain Number |case| number(case.seen.destination.port);
    "destination.scope" Plain Text |case| word(Some(case.seen.destination.at.scope));
    "destination.anycast" Plain Flag |case| Some(case.seen.destination.at.anycast);
    "destination.geo.country_iso_code" Plain Text |case| case.seen.destination.at.country.map(|it| it.code);
    "destination.geo.country_name" Plain Text |case| case.seen.destination.at.country.map(|it| it.name);
    "destination.as.number" Plain Number |case| number(case.seen.destination.at.as_number);
    "destination.as.organization.name" Plain Text |case| case.seen.destination.at.as_name.as_deref();
    "destination.bytes" Bytes Number |case| number(case.seen.destination.bytes);
    "destination.packets" Plain Number |case| number(case.seen.destination.packets);
    "destination.domain" Plain Text |case| case.seen.name.map(|name| name.domain);
    "destination.registered_domain" Plain Text |case| case.seen.name.and_then(|name| name.registered);
    "destination.name.source" Plain Text |case| word(case.seen.name.map(|name| name.source));
    "destination.name.ambiguous" Plain Flag |case| case.seen.name.map(|name| name.is_ambiguous);
    "destination.service.id" Plain Text |case| service(case, |it| Some(it.id.as_str()));
    "destination.service.name" Plain Text |case| service(case, |it| Some(it.name.as_str()));
    "destination.service.owner" Plain Text |case| service(case, |it| it.owner.as_deref());
    "destination.service.country_iso_code" Plain Text |case| service(case, |it| it.country.as_deref());
    "destination.service.category" Plain Text |case| word(service(case, |it| Some(it.category)));
    "destination.service.expected" Plain Value
        |case| Value::strings(service(case, |it| Some(it.expected.as_slice())));
    "destination.service.match" Plain Value
        |case| Value::texts(case.service.into_iter().flat_map(|(_, found)| found.evidence.names()));
    "destination.service.possible" Plain Flag |case| case.service.map(|(_, found)| found.is_possible());
    "destination.lists" Plain Value |case| Value::strs(case.lists);
    "user.id" Plain Value |case| Value::made(case.seen.who.uid.map(Made::Id));
    "user.name" Plain Text |case| case.seen.who.user.as_deref();
    "app.package" Plain Value |case| Value::joined(&case.seen.who.packages);
    "app.kind" Plain Text |case| word(case.seen.who.app_kind);
    "app.android_user" Plain Number |case| number(case.seen.who.android_user);
    "app.preinstalled" Plain Flag |case| case.seen.who.is_preinstalled;
    "app.removable" Plain Flag |case| case.seen.who.is_removable;
    "process.name" Plain Text |case| case.seen.who.process.as_deref();
    "process.executable" Plain Text |case| case.seen.who.executable.as_deref();
    "attribution.on_behalf_of.uid" Plain Number |case| number(case.seen.who.on_behalf_of.as_ref().map(|it| it.uid));
    "attribution.on_behalf_of.package" Plain Value
        |case| case.seen.who.on_behalf_of.as_ref().map_or(Value::Absent, |it| Value::joined(&it.packages));
    "attribution.on_behalf_of.tag" Plain Text |case| case.seen.who.on_behalf_of.as_ref().map(|it| &*it.tag);
    // What judging adds.
    "home" Plain Value |case| Value::strings(Some(case.home));
    "who" Plain Value |case| Value::Made(Made::Owner(case.seen.who));
    "origin" Plain Text |case| Some(match case.seen.who.is_preinstalled {
        Some(true) => ", which came with the system,",
        _ => "",
    });
    "target" Plain Text |case| Some(target(case));
    "place" Plain Value |case| Value::made(case.seen.destination.at.country.map(Made::Place));
    "user.uid" Plain Number |case| number(case.seen.who.uid);
    "channel.open_ms" Milliseconds Number |case| number(case.channel.map(|it| it.open_ms));
    "channel.open" Plain Value |case| Value::text(case.channel.map(|it| it.open_text()));
    "channel.bytes" Bytes Number |case| number(case.channel.and_then(|it| it.bytes));
    "channel.bytes_per_hour" Bytes Number |case| number(case.channel.and_then(|it| it.bytes_per_hour()));
    "ledger.new_destination" Plain Flag |case| case.history.map(|it| it.is_new_destination);
    "ledger.new_country" Plain Flag |case| case.history.map(|it| it.is_new_country);
    "ledger.had_name" Plain Flag |case| case.history.map(|it| it.had_name());
    "ledger.known_for_ms" Milliseconds Number |case| number(case.history.map(|it| it.known_for_ms()));
    "ledger.countries" Plain Value
        |case| Value::texts(case.history.into_iter().flat_map(|it| it.earlier_countries()));
    "ledger.sent_today" Bytes Number |case| number(case.history.map(|it| it.sent_today()));
    "ledger.sent_usually" Bytes Number |case| number(case.history.and_then(|it| it.sent_usually()));
    "ledger.times_usual" Plain Number |case| case.history.and_then(|it| it.times_usual());
    "cadence.score" Share Number |case| case.cadence.map(|it| it.score);
    "cadence.kind" Plain Text |case| word(case.cadence.map(|it| it.kind()));
    "cadence.rhythm" Plain Value |case| Value::text(case.cadence.map(|it| it.rhythm()));
    "cadence.interval_ms" Milliseconds Number |case| number(case.cadence.map(|it| it.interval_ms));
    "cadence.beats" Plain Number |case| number(case.cadence.map(|it| it.beats));
    "cadence.duration_ms" Milliseconds Number |case| number(case.cadence.map(|it| it.duration_ms));
    "cadence.regularity" Share Number |case| case.cadence.map(|it| it.regularity);
};

/// How a person calls what is talked to: service, else name, else address.
fn target<'c>(case: &Case<'c>) -> &'c str {
    let name = service(case, |it| Some(it.name.as_str())).or(case.seen.name.map(|name| name.domain));
    name.unwrap_or_else(|| case.seen.destination.at.ip_text())
}

/// The names of all fields that are at hand, with what they are measured in.
pub fn known() -> impl Iterator<Item = (&'static str, Unit)> {
    KNOWN.iter().map(|field| (field.name, field.unit))
}
