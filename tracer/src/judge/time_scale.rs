//! Lets judging see time pass faster than it does (`--time-scale`, for tests: hours of a story in seconds). Pure.
//!
//! What judging is told is stretched as it comes in: times from the first record on, ages, silences. Records, and when a finding
//! was noticed, keep the time that it really was; what a reason says (`open for 2 h`) is the stretched one.

use std::borrow::Cow;
use std::time::Duration;

use super::observation::Observation;
use crate::clock::Timestamp;

/// How many times faster, and from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeScale {
    factor: u32,
    /// When the first record was.
    origin: Option<Timestamp>,
}

impl Default for TimeScale {
    fn default() -> Self {
        Self { factor: 1, origin: None }
    }
}

impl TimeScale {
    /// Sets how many times faster time passes; with another factor than before, from the next record on. 0 counts as 1.
    pub fn set(&mut self, factor: u32) {
        if self.factor != factor.max(1) {
            *self = Self { factor: factor.max(1), origin: None };
        }
    }

    #[must_use]
    pub fn factor(&self) -> u32 {
        self.factor
    }

    /// What judging is told of a record.
    pub fn stretch<'o, 'a>(&mut self, seen: &'o Observation<'a>) -> Cow<'o, Observation<'a>> {
        if self.factor == 1 {
            return Cow::Borrowed(seen);
        }
        let origin = self.origin.get_or_insert(seen.at).0;
        let times = |time: u64| time.saturating_mul(u64::from(self.factor));
        let at = match seen.at.0.checked_sub(origin) {
            Some(after) => origin.saturating_add(times(after)),
            None => origin.saturating_sub(times(origin - seen.at.0)),
        };
        Cow::Owned(Observation {
            at: Timestamp(at),
            age_ms: seen.age_ms.map(times),
            silent_ms: seen.silent_ms.map(times),
            ..*seen
        })
    }

    /// A time that the user gave in judging's time, as it really passes.
    #[must_use]
    pub fn real(&self, time: Duration) -> Duration {
        time / self.factor
    }

    /// A time that really passes, in judging's time.
    #[must_use]
    pub fn stretched(&self, time: Duration) -> Duration {
        time.saturating_mul(self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::observation::{FlowRef, Place, Who};
    use crate::record::{Action, PlaceText, Transport};

    const SECOND: u64 = 1_000_000_000;

    fn told(scale: &mut TimeScale, at: u64) -> (u64, Option<u64>, Option<u64>) {
        let place = crate::enrich::geo::Place {
            scope: crate::enrich::geo::Scope::Global,
            nat64: None,
            anycast: false,
            country: None,
            asn: None,
            as_name: None,
            country_source: None,
            as_source: None,
        };
        let place = PlaceText::of([192, 0, 2, 1].into(), &place);
        let end = Place { at: &place, port: None, bytes: None, packets: None };
        let seen = Observation {
            at: Timestamp(at * SECOND),
            action: Action::Sample,
            flow: FlowRef { boot: 1, cookie: 1, peer: None },
            age_ms: Some(20),
            silent_ms: None,
            end: None,
            transport: Transport::Tcp,
            protocol: None,
            direction: None,
            source: end,
            destination: end,
            name: None,
            who: &Who::default(),
        };
        let told = scale.stretch(&seen);
        (told.at.0 / SECOND, told.age_ms, told.silent_ms)
    }

    #[test]
    fn times_grow_from_the_first_record_on_and_ages_as_they_are() {
        let mut scale = TimeScale::default();
        assert_eq!(told(&mut scale, 5_000), (5_000, Some(20), None));
        scale.set(300);
        assert_eq!(told(&mut scale, 5_010), (5_010, Some(6_000), None));
        assert_eq!(told(&mut scale, 5_012), (5_610, Some(6_000), None));
        assert_eq!(told(&mut scale, 5_009).0, 4_710, "of another processor, a little earlier");
        assert_eq!(told(&mut scale, 0).0, 0, "a clock that was set back");
        scale.set(300);
        assert_eq!(told(&mut scale, 5_012).0, 5_610, "the same as before");
    }

    #[test]
    fn times_of_the_user_pass_faster() {
        let mut scale = TimeScale::default();
        scale.set(60);
        assert_eq!(scale.real(Duration::from_secs(3600)), Duration::from_secs(60));
        assert_eq!(scale.stretched(Duration::from_secs(1)), Duration::from_secs(60));
    }
}
