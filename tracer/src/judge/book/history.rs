//! What is known about an app from before a record. Pure.

use std::net::IpAddr;
use std::time::Duration;

use super::{App, address_hash, day};
use crate::clock::Timestamp;

/// Days on which something must have been sent before a median of them is called usual.
const USUAL_FROM: usize = 5;

/// What is known about an app from before.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    pub(super) app: &'a App,
    pub(super) now: Timestamp,
    pub(super) known_for: Duration,
    pub(super) country: Option<&'static str>,
    pub(super) address: IpAddr,
    pub is_new_destination: bool,
    pub is_new_country: bool,
}

impl<'a> History<'a> {
    /// Since the app was seen first.
    #[must_use]
    pub fn known_for_ms(&self) -> u64 {
        u64::try_from(self.known_for.as_millis()).unwrap_or(u64::MAX)
    }

    /// Countries that the app had connected to before.
    pub fn earlier_countries(self) -> impl Iterator<Item = &'static str> + use<'a> {
        let new = self.country.filter(|_| self.is_new_country);
        self.app.countries.iter().copied().filter(move |&country| Some(country) != new)
    }

    /// Whether the app had a name for this address once.
    #[must_use]
    pub fn had_name(&self) -> bool {
        self.app.named.contains(&address_hash(self.address))
    }

    #[must_use]
    pub fn sent_today(&self) -> u64 {
        self.app.sent.get(&day(self.now)).copied().unwrap_or_default()
    }

    /// Median of the earlier days on which it sent something; `None` while there are few.
    #[must_use]
    pub fn sent_usually(&self) -> Option<u64> {
        let mut earlier: Vec<u64> = self.app.sent.range(..day(self.now)).map(|(_, &sent)| sent).collect();
        earlier.sort_unstable();
        (earlier.len() >= USUAL_FROM).then(|| earlier[earlier.len() / 2])
    }

    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn times_usual(&self) -> Option<f64> {
        self.sent_usually().filter(|&usual| usual > 0).map(|usual| self.sent_today() as f64 / usual as f64)
    }
}
