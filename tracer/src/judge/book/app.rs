//! Apps of the book: what is known of one as a whole. Pure.

use super::{App, Booked, LOOK_BACK, MOST_NAMED, address_hash, country, earliest, target};
use crate::clock::Timestamp;
use crate::judge::observation::Observation;
use crate::record::Action;

impl App {
    pub(super) fn add(&mut self, day: u32, sent: u64, at: Timestamp, is_set_back: bool) {
        self.last_seen = self.last_seen.max(at);
        self.first_seen = earliest(self.first_seen, at, is_set_back);
        if sent > 0 {
            *self.sent.entry(day).or_default() += sent;
            while self.sent.len() > LOOK_BACK {
                self.sent.pop_first();
            }
        }
    }

    /// Notes whom it talked to, once a flow had its chance to get a name.
    pub(super) fn settle(&mut self, seen: &Observation<'_>, service: Option<&str>, booked: &mut Booked) {
        if seen.is_incoming() {
            booked.is_settled = true;
            return;
        }
        if !std::mem::replace(&mut booked.is_country_known, true)
            && let Some(country) = country(seen)
            && self.countries.insert(country)
        {
            booked.is_new_country = true;
        }
        if seen.name.is_some() {
            self.note_named(address_hash(seen.remote().at.address));
        }
        booked.is_settled =
            seen.name.is_some() || !matches!(seen.action, Action::Connect | Action::Established);
        let registered = seen.name.map(|name| name.registered.unwrap_or(name.domain));
        if booked.is_settled
            && let Some(target) = target(service, registered, seen.remote().at.as_number)
            && self.targets.insert(target)
        {
            booked.is_new_destination = true;
        }
    }

    /// In the order in which they were first named: that of their last use would have to be stored with every batch.
    fn note_named(&mut self, address: u64) {
        if self.named.contains(&address) {
            return;
        }
        self.named.put(address, ());
        self.unsaved.has_named = true;
        if self.named.len() > MOST_NAMED {
            self.named.pop_lru();
        }
    }
}
