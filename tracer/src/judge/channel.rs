//! How long a connection has been open, and how much it carried in that time. Pure.

use crate::judge::rules::value::Unit;

const HOUR_MS: u64 = 3_600_000;

/// A connection over its life so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    pub open_ms: u64,
    /// It was open before it was seen: it is older than that, nothing tells how much.
    pub is_older: bool,
    /// Both ways, in that time.
    pub bytes: Option<u64>,
}

impl Channel {
    /// For a person.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn open_text(&self) -> String {
        let time = Unit::Milliseconds.show(self.open_ms as f64);
        if self.is_older { format!("at least {time}") } else { time }
    }

    #[must_use]
    pub fn bytes_per_hour(&self) -> Option<u64> {
        let bytes = self.bytes?;
        match bytes.checked_mul(HOUR_MS) {
            Some(scaled) => scaled.checked_div(self.open_ms),
            None => {
                u64::try_from((u128::from(bytes) * u128::from(HOUR_MS)).checked_div(self.open_ms.into())?)
                    .ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_by_the_hour_and_an_age_that_is_not_known_as_at_least() {
        let channel = Channel { open_ms: 7_200_000, is_older: true, bytes: Some(4000) };
        assert_eq!(channel.bytes_per_hour(), Some(2000));
        assert_eq!(channel.open_text(), "at least 2 h");
        assert_eq!(Channel { is_older: false, ..channel }.open_text(), "2 h");
        assert_eq!(Channel { bytes: None, ..channel }.bytes_per_hour(), None);
        let much = Channel { bytes: Some(u64::MAX / 2), ..channel };
        assert_eq!(much.bytes_per_hour(), Some(u64::MAX / 4));
        assert_eq!(Channel { open_ms: 0, ..channel }.bytes_per_hour(), None);
    }
}
