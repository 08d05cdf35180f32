//! What is noticed about a connection. Pure: facts in, [`Flag`]s with reasons out. Evidence, never accusation.
//!
//! Here is the room for services, rules, ledger and cadence; today there is one rule.

use crate::record::{Direction, Flag, Severity};

/// What the user wants to be judged by.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// Countries that connections are expected to go to, ISO 3166-1 alpha-2, upper case. Empty: no expectation.
    pub home: Vec<String>,
}

/// The facts of one connection that rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub direction: Option<Direction>,
    /// How a person calls the owner: package, or user name, or uid.
    pub who: &'a str,
    /// Came with the system image.
    pub preinstalled: bool,
    /// ISO 3166-1 alpha-2 of the remote end.
    pub country: Option<&'a str>,
    pub country_name: Option<&'a str>,
}

impl Expectations {
    /// Everything that is noticed about a connection, most severe first.
    #[must_use]
    pub fn judge(&self, facts: &Facts<'_>) -> Vec<Flag> {
        self.outside_home(facts).into_iter().collect()
    }

    fn outside_home(&self, facts: &Facts<'_>) -> Option<Flag> {
        let country = facts.country?;
        let is_outside = !self.home.is_empty() && !self.home.iter().any(|home| home == country);
        if !is_outside || facts.direction == Some(Direction::Ingress) {
            return None;
        }
        let place = match facts.country_name {
            Some(name) => format!("{name} ({country})"),
            None => country.to_owned(),
        };
        let origin = if facts.preinstalled { ", which came with the system," } else { "" };
        let home = self.home.join(", ");
        Some(Flag {
            id: "outside-home",
            severity: Severity::Low,
            reason: format!("{who}{origin} connects to {place}; home is {home}", who = facts.who),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'_> = Facts {
        direction: Some(Direction::Egress),
        who: "com.example.weather",
        preinstalled: false,
        country: Some("CN"),
        country_name: Some("China"),
    };

    fn home(countries: &[&str]) -> Expectations {
        Expectations { home: countries.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn a_country_outside_home_is_flagged_with_a_sentence() {
        let flags = home(&["SE", "NO"]).judge(&FACTS);
        assert_eq!(flags[0].id, "outside-home");
        assert_eq!(flags[0].reason, "com.example.weather connects to China (CN); home is SE, NO");
        let flags = home(&["SE"]).judge(&Facts { preinstalled: true, country_name: None, ..FACTS });
        assert_eq!(
            flags[0].reason,
            "com.example.weather, which came with the system, connects to CN; home is SE"
        );
    }

    #[test]
    fn home_unknown_countries_and_incoming_connections_are_not_flagged() {
        assert_eq!(home(&["SE", "CN"]).judge(&FACTS), []);
        assert_eq!(home(&[]).judge(&FACTS), []);
        assert_eq!(home(&["SE"]).judge(&Facts { country: None, ..FACTS }), []);
        assert_eq!(home(&["SE"]).judge(&Facts { direction: Some(Direction::Ingress), ..FACTS }), []);
    }
}
