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
    of: for<'c> fn(&'c Case<'c>) -> Value<'c>,
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

    #[must_use]
    pub fn unit(&self) -> Unit {
        match self {
            Self::Known(field) => field.unit,
            Self::Member(path) if path.ends_with("_ms") => Unit::Milliseconds,
            Self::Member(_) => Unit::Plain,
        }
    }

    /// What it says.
    #[must_use]
    pub fn of<'c>(&self, case: &'c Case<'c>) -> Value<'c> {
        match self {
            Self::Known(field) => (field.of)(case),
            Self::Member(path) => member(&(case.record)(), path),
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
fn word<'c>(value: Option<impl Into<&'static str>>) -> Value<'c> {
    Value::text(value.map(Into::into))
}

fn service<'c, T: 'c>(case: &Case<'c>, of: impl Fn(&'c Service) -> Option<T>) -> Option<T> {
    case.service.and_then(|(service, _)| of(service))
}

macro_rules! fields {
    ($($name:literal $unit:ident $of:expr;)*) => {
        &[$(KnownField { name: $name, unit: Unit::$unit, of: $of }),*]
    };
}

/// In the order of docs/schema.md.
static KNOWN: &[KnownField] = fields! {
    "event.action" Plain |case| word(Some(case.seen.action));
    "flow.age_ms" Milliseconds |case| Value::number(case.seen.age_ms);
    "flow.silent_ms" Milliseconds |case| Value::number(case.seen.silent_ms);
    "flow.end" Plain |case| word(case.seen.end);
    "network.transport" Plain |case| word(Some(case.seen.transport));
    "network.protocol" Plain |case| word(case.seen.protocol);
    "network.cleartext" Plain |case| Value::Flag(case.seen.is_cleartext());
    "network.direction" Plain |case| word(case.seen.direction);
    "source.ip" Plain |case| Value::text(Some(case.seen.source.at.ip_text()));
    "source.port" Plain |case| Value::number(case.seen.source.port);
    "source.scope" Plain |case| word(Some(case.seen.source.at.scope));
    "source.geo.country_iso_code" Plain |case| Value::text(case.seen.source.at.country.map(|it| it.code));
    "source.geo.country_name" Plain |case| Value::text(case.seen.source.at.country.map(|it| it.name));
    "source.as.number" Plain |case| Value::number(case.seen.source.at.as_number);
    "source.as.organization.name" Plain |case| Value::text(case.seen.source.at.as_name.as_deref());
    "source.bytes" Bytes |case| Value::number(case.seen.source.bytes);
    "source.packets" Plain |case| Value::number(case.seen.source.packets);
    "destination.ip" Plain |case| Value::text(Some(case.seen.destination.at.ip_text()));
    "destination.port" Plain |case| Value::number(case.seen.destination.port);
    "destination.scope" Plain |case| word(Some(case.seen.destination.at.scope));
    "destination.anycast" Plain |case| Value::Flag(case.seen.destination.at.anycast);
    "destination.geo.country_iso_code" Plain |case| Value::text(case.seen.destination.at.country.map(|it| it.code));
    "destination.geo.country_name" Plain |case| Value::text(case.seen.destination.at.country.map(|it| it.name));
    "destination.as.number" Plain |case| Value::number(case.seen.destination.at.as_number);
    "destination.as.organization.name" Plain |case| Value::text(case.seen.destination.at.as_name.as_deref());
    "destination.bytes" Bytes |case| Value::number(case.seen.destination.bytes);
    "destination.packets" Plain |case| Value::number(case.seen.destination.packets);
    "destination.domain" Plain |case| Value::text(case.seen.name.map(|name| name.domain));
    "destination.registered_domain" Plain |case| Value::text(case.seen.name.and_then(|name| name.registered));
    "destination.name.source" Plain |case| word(case.seen.name.map(|name| name.source));
    "destination.name.ambiguous" Plain |case| Value::flag(case.seen.name.map(|name| name.is_ambiguous));
    "destination.service.id" Plain |case| Value::text(service(case, |it| Some(it.id.as_str())));
    "destination.service.name" Plain |case| Value::text(service(case, |it| Some(it.name.as_str())));
    "destination.service.owner" Plain |case| Value::text(service(case, |it| it.owner.as_deref()));
    "destination.service.country_iso_code" Plain |case| Value::text(service(case, |it| it.country.as_deref()));
    "destination.service.category" Plain |case| word(service(case, |it| Some(it.category)));
    "destination.service.expected" Plain
        |case| Value::strings(service(case, |it| Some(it.expected.as_slice())));
    "destination.service.match" Plain
        |case| Value::texts(case.service.into_iter().flat_map(|(_, found)| found.evidence.names()));
    "destination.service.possible" Plain |case| Value::flag(case.service.map(|(_, found)| found.is_possible()));
    "destination.lists" Plain |case| Value::strs(case.lists);
    "user.id" Plain |case| Value::made(case.seen.who.uid.map(Made::Id));
    "user.name" Plain |case| Value::text(case.seen.who.user.as_deref());
    "app.package" Plain |case| Value::joined(&case.seen.who.packages);
    "app.kind" Plain |case| word(case.seen.who.app_kind);
    "app.android_user" Plain |case| Value::number(case.seen.who.android_user);
    "app.preinstalled" Plain |case| Value::flag(case.seen.who.is_preinstalled);
    "app.removable" Plain |case| Value::flag(case.seen.who.is_removable);
    "process.name" Plain |case| Value::text(case.seen.who.process.as_deref());
    "process.executable" Plain |case| Value::text(case.seen.who.executable.as_deref());
    "attribution.on_behalf_of.uid" Plain |case| Value::number(case.seen.who.on_behalf_of.as_ref().map(|it| it.uid));
    "attribution.on_behalf_of.package" Plain
        |case| case.seen.who.on_behalf_of.as_ref().map_or(Value::Absent, |it| Value::joined(&it.packages));
    "attribution.on_behalf_of.tag" Plain |case| Value::text(case.seen.who.on_behalf_of.as_ref().map(|it| &*it.tag));
    // What judging adds.
    "home" Plain |case| Value::strings(Some(case.home));
    "who" Plain |case| Value::Made(Made::Owner(case.seen.who));
    "origin" Plain |case| Value::text(Some(match case.seen.who.is_preinstalled {
        Some(true) => ", which came with the system,",
        _ => "",
    }));
    "target" Plain |case| Value::text(Some(target(case)));
    "place" Plain |case| Value::made(case.seen.destination.at.country.map(Made::Place));
    "user.uid" Plain |case| Value::number(case.seen.who.uid);
    "channel.open_ms" Milliseconds |case| Value::number(case.channel.map(|it| it.open_ms));
    "channel.open" Plain |case| Value::text(case.channel.map(|it| it.open_text()));
    "channel.bytes" Bytes |case| Value::number(case.channel.and_then(|it| it.bytes));
    "channel.bytes_per_hour" Bytes |case| Value::number(case.channel.and_then(|it| it.bytes_per_hour()));
    "ledger.new_destination" Plain |case| Value::flag(case.history.map(|it| it.is_new_destination));
    "ledger.new_country" Plain |case| Value::flag(case.history.map(|it| it.is_new_country));
    "ledger.had_name" Plain |case| Value::flag(case.history.map(|it| it.had_name()));
    "ledger.known_for_ms" Milliseconds |case| Value::number(case.history.map(|it| it.known_for_ms()));
    "ledger.countries" Plain |case| Value::texts(case.history.into_iter().flat_map(|it| it.earlier_countries()));
    "ledger.sent_today" Bytes |case| Value::number(case.history.map(|it| it.sent_today()));
    "ledger.sent_usually" Bytes |case| Value::number(case.history.and_then(|it| it.sent_usually()));
    "ledger.times_usual" Plain |case| case.history.and_then(|it| it.times_usual()).map_or(Value::Absent, Value::Number);
    "cadence.score" Share |case| case.cadence.map_or(Value::Absent, |it| Value::Number(it.score));
    "cadence.kind" Plain |case| word(case.cadence.map(|it| it.kind()));
    "cadence.rhythm" Plain |case| Value::text(case.cadence.map(|it| it.rhythm()));
    "cadence.interval_ms" Milliseconds |case| Value::number(case.cadence.map(|it| it.interval_ms));
    "cadence.beats" Plain |case| Value::number(case.cadence.map(|it| it.beats));
    "cadence.duration_ms" Milliseconds |case| Value::number(case.cadence.map(|it| it.duration_ms));
    "cadence.regularity" Share |case| case.cadence.map_or(Value::Absent, |it| Value::Number(it.regularity));
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
