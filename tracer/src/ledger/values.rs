//! Values between Rust and SQLite.

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error, StrDeserializer};

use crate::clock::Timestamp;

/// Nanoseconds since 1970.
pub fn time(at: Timestamp) -> i64 {
    number(at.0)
}

/// Nanoseconds since 1970.
pub fn timestamp(stored: i64) -> Timestamp {
    Timestamp(amount(stored))
}

/// A count, or bytes.
pub fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count, or bytes.
pub fn amount(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or_default()
}

/// The word that a record has for this.
pub fn word<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    let text: StrDeserializer<'de, Error> = text.into_deserializer();
    T::deserialize(text).ok()
}

/// Numbers in a row, little-endian.
pub fn packed(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Takes them apart again.
pub fn unpacked(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Severity, Transport};

    #[test]
    fn words_of_records_are_read_again() {
        assert_eq!(word::<Transport>("udp"), Some(Transport::Udp));
        assert_eq!(word::<Severity>("medium"), Some(Severity::Medium));
        assert_eq!(word::<Severity>("dreadful"), None);
    }

    #[test]
    fn numbers_stay_the_same() {
        let numbers = [0, 1, u64::MAX, 0x0123_4567_89ab_cdef];
        assert_eq!(unpacked(&packed(&numbers)), numbers);
        assert_eq!(unpacked(&[1, 2, 3]), [0_u64; 0]);
    }
}
