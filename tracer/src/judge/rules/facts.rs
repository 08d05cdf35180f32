//! What a rule cannot hold without, as bits: most rules are about what few records have, and need not be asked about the others.

use super::condition::Condition;
use super::field::Case;
use super::value::Value;

bitflags::bitflags! {
    /// What is the case.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Facts: u16 {
        const HAS_SERVICE = 1;
        /// It is meant for some countries.
        const HAS_REGION = 1 << 1;
        const HAS_HOME = 1 << 2;
        const HAS_NAME = 1 << 3;
        const HAS_NO_NAME = 1 << 4;
        const HAS_NO_PACKAGE = 1 << 5;
        const HAS_NO_PROCESS = 1 << 6;
        const IS_PREINSTALLED = 1 << 7;
        const IS_ON_BEHALF = 1 << 8;
        const HAS_PROTOCOL = 1 << 9;
        const IS_CLEARTEXT = 1 << 10;
        const HAS_CADENCE = 1 << 11;
        const IS_NEW_DESTINATION = 1 << 12;
        const IS_NEW_COUNTRY = 1 << 13;
    }
}

impl Facts {
    /// Of one case.
    pub fn of(case: &Case<'_>) -> Self {
        let who = case.seen.who;
        let mut facts = Self::empty();
        facts.set(Self::HAS_SERVICE, case.service.is_some());
        facts.set(Self::HAS_REGION, case.service.is_some_and(|(service, _)| !service.expected.is_empty()));
        facts.set(Self::HAS_HOME, !case.home.is_empty());
        facts.set(Self::HAS_NAME, case.seen.name.is_some());
        facts.set(Self::HAS_NO_NAME, case.seen.name.is_none());
        facts.set(Self::HAS_NO_PACKAGE, !Value::joined(&who.packages).is_known());
        facts.set(Self::HAS_NO_PROCESS, who.process.is_none());
        facts.set(Self::IS_PREINSTALLED, who.is_preinstalled == Some(true));
        facts.set(Self::IS_ON_BEHALF, who.on_behalf_of.is_some());
        facts.set(Self::HAS_PROTOCOL, case.seen.protocol.is_some());
        facts.set(Self::IS_CLEARTEXT, case.seen.is_cleartext());
        facts.set(Self::HAS_CADENCE, case.cadence.is_some());
        facts.set(Self::IS_NEW_DESTINATION, case.history.is_some_and(|it| it.is_new_destination));
        facts.set(Self::IS_NEW_COUNTRY, case.history.is_some_and(|it| it.is_new_country));
        facts
    }

    /// What must be the case for a field to be known.
    pub fn of_known(field: &str) -> Self {
        match field {
            "destination.service.expected" => Self::HAS_REGION,
            "destination.domain" | "destination.registered_domain" => Self::HAS_NAME,
            "network.protocol" => Self::HAS_PROTOCOL,
            "home" => Self::HAS_HOME,
            _ if field.starts_with("destination.service.") => Self::HAS_SERVICE,
            _ if field.starts_with("destination.name.") => Self::HAS_NAME,
            _ if field.starts_with("attribution.on_behalf_of.") => Self::IS_ON_BEHALF,
            _ if field.starts_with("cadence.") => Self::HAS_CADENCE,
            _ => Self::empty(),
        }
    }

    /// For it not to be known.
    pub fn of_unknown(field: &str) -> Self {
        match field {
            "destination.domain" => Self::HAS_NO_NAME,
            "app.package" => Self::HAS_NO_PACKAGE,
            "process.name" => Self::HAS_NO_PROCESS,
            _ => Self::empty(),
        }
    }

    /// For it to be true.
    pub fn of_true(field: &str) -> Self {
        match field {
            "network.cleartext" => Self::IS_CLEARTEXT,
            "app.preinstalled" => Self::IS_PREINSTALLED,
            "ledger.new_destination" => Self::IS_NEW_DESTINATION,
            "ledger.new_country" => Self::IS_NEW_COUNTRY,
            _ => Self::empty(),
        }
    }

    /// What must be the case for all conditions in `when`, and those of one table in `any`, to be met.
    pub fn needed(when: &[Condition], any: &[Vec<Condition>]) -> Self {
        let all = |conditions: &[Condition]| {
            conditions.iter().map(Condition::needs).fold(Self::empty(), Self::union)
        };
        let of_any = any.iter().map(|conditions| all(conditions)).reduce(Self::intersection);
        all(when) | of_any.unwrap_or(Self::empty())
    }
}
