//! Time: the wall clock of records and the boot clock of kernel events, and the way between them.
//!
//! Pure code gets [`BootTime`] and [`Timestamp`] as arguments; only [`Clock`] asks the system.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

/// Nanoseconds on `CLOCK_BOOTTIME`: suspend included, never jumps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Time that passed since `earlier`; zero when `earlier` is later (events of two CPUs may be out of order).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time that long afterwards.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time, nanoseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 UTC with nine digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

const SECOND_NS: u64 = 1_000_000_000;
const DAY_S: u64 = 86_400;

impl Timestamp {
    /// `2026-11-22T15:00:00.123456789Z`. Every record has at least one, so that it is made without the machinery of formats.
    fn text(self) -> [u8; 30] {
        let mut text = *b"0000-00-00T00:00:00.000000000Z";
        let (seconds, nanoseconds) = (self.0 / SECOND_NS, self.0 % SECOND_NS);
        let (year, month, day) = date(seconds / DAY_S);
        let of_day = seconds % DAY_S;
        let pairs = [
            (0, year / 100),
            (2, year % 100),
            (5, month),
            (8, day),
            (11, of_day / 3600),
            (14, of_day / 60 % 60),
            (17, of_day % 60),
            (20, nanoseconds / 10_000_000),
            (22, nanoseconds / 100_000 % 100),
            (24, nanoseconds / 1_000 % 100),
            (26, nanoseconds / 10 % 100),
        ];
        for (at, number) in pairs {
            put(&mut text, at, two_digits(number));
        }
        let [last, _] = two_digits(nanoseconds % 10 * 10);
        put(&mut text, 28, [last]);
        text
    }
}

fn put<const N: usize>(text: &mut [u8; 30], at: usize, digits: [u8; N]) {
    if let Some(place) = text.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<N>()) {
        *place = digits;
    }
}

/// All numbers of two digits: half as many divisions as for one digit after the other.
const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut all = [*b"00"; 100];
    let mut at = 0;
    let mut tens = b'0';
    while tens <= b'9' {
        let mut ones = b'0';
        while ones <= b'9' {
            all[at] = [tens, ones];
            (at, ones) = (at + 1, ones + 1);
        }
        tens += 1;
    }
    all
};

fn two_digits(number: u64) -> [u8; 2] {
    usize::try_from(number).ok().and_then(|number| TWO_DIGITS.get(number)).copied().unwrap_or(*b"??")
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, `civil_from_days`:
/// <https://howardhinnant.github.io/date_algorithms.html>).
fn date(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01: leap days are the last ones of their years then.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let since = humantime::parse_rfc3339(text)?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9}Z$"
        })
    }
}

/// Translates kernel time to wall-clock time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall clock minus boot clock, nanoseconds.
    offset: u64,
}

impl Clock {
    /// Reads both clocks. Cheap (vDSO): read it anew for every batch, so that a set wall clock is followed.
    ///
    /// What passes between the two readings is not a change: the same boot time stays the same wall time until they have
    /// drifted apart by a millisecond.
    #[must_use]
    pub fn read() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let wall = Self::wall().0;
        let last = LAST.load(Ordering::Relaxed);
        let clock = Self { offset: wall.saturating_sub(Self::boot().0) }.unless_near(last);
        LAST.store(clock.offset, Ordering::Relaxed);
        clock
    }

    const fn unless_near(self, last: u64) -> Self {
        if self.offset.abs_diff(last) < 1_000_000 { Self { offset: last } } else { self }
    }

    /// A fixed relation, for replay and tests.
    #[must_use]
    pub const fn fixed(offset: u64) -> Self {
        Self { offset }
    }

    #[must_use]
    pub fn at(self, boot: BootTime) -> Timestamp {
        Timestamp(self.offset.saturating_add(boot.0))
    }

    /// Now, wall clock.
    #[must_use]
    pub fn wall() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Now, boot clock.
    #[must_use]
    pub fn boot() -> BootTime {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
        BootTime(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_have_nine_digits_and_survive_the_end_of_time() {
        assert_eq!(Timestamp(1).to_string(), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(Timestamp(1_795_359_600_123_456_789).to_string(), "2026-11-22T15:00:00.123456789Z");
        assert_eq!(Timestamp(u64::MAX).to_string(), "2554-07-21T23:34:33.709551615Z");
        assert_eq!("2026-11-22T15:00:00.123456789Z".parse(), Ok(Timestamp(1_795_359_600_123_456_789)));
    }

    #[test]
    fn every_day_is_the_day_that_it_is() {
        for day in 0..213_503 {
            let time = UNIX_EPOCH + Duration::new(day * 86_400 + day % 86_400, 7);
            let timestamp =
                Timestamp(u64::try_from(time.duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap());
            assert_eq!(timestamp.to_string(), humantime::format_rfc3339_nanos(time).to_string());
        }
    }

    #[test]
    fn boot_time_becomes_wall_time() {
        assert_eq!(Clock::fixed(1_000).at(BootTime(234)), Timestamp(1_234));
        assert_eq!(BootTime(5).since(BootTime(9)), Duration::ZERO);
    }

    #[test]
    fn only_a_clock_that_was_set_changes_the_relation() {
        let near = |offset| Clock::fixed(offset).unless_near(5_000_000).offset;
        assert_eq!(near(5_000_300), 5_000_000);
        assert_eq!(near(4_000_001), 5_000_000);
        assert_eq!(near(6_000_000), 6_000_000);
    }
}
