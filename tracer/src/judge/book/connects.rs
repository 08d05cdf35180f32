//! When an app connected to one destination. Pure.

use crate::judge::cadence::{Beats, Cadence};

/// Connects this close to the first one belong to it, milliseconds: a client opens several connections at once.
const BURST_MS: u64 = 3_000;
/// What the bytes are, in their first byte.
const ONCE: u8 = 1;
const BEATS: u8 = 2;

/// Times of connects. Most destinations are connected to once: beats are kept from the second time on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Connects {
    #[default]
    None,
    /// Milliseconds since 1970.
    Once(u64),
    Beats(Box<Beats>),
}

impl Connects {
    /// The app connected; milliseconds since 1970.
    pub fn add(&mut self, at_ms: u64) {
        match self {
            Self::None => *self = Self::Once(at_ms),
            Self::Once(first) if at_ms.abs_diff(*first) <= BURST_MS => {}
            Self::Once(first) => {
                let mut beats = Box::<Beats>::default();
                beats.connected(*first);
                beats.connected(at_ms);
                *self = Self::Beats(beats);
            }
            Self::Beats(beats) => beats.connected(at_ms),
        }
    }

    /// `None` while there are too few.
    #[must_use]
    pub fn cadence(&self) -> Option<Cadence> {
        match self {
            Self::Beats(beats) => beats.cadence(),
            Self::None | Self::Once(_) => None,
        }
    }

    /// For a ledger, behind what is there already; nothing, if there is nothing to store.
    pub fn store(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Once(at_ms) => {
                bytes.push(ONCE);
                bytes.extend_from_slice(&at_ms.to_le_bytes());
            }
            Self::Beats(beats) => {
                bytes.push(BEATS);
                beats.store(bytes);
            }
        }
    }

    /// What [`Connects::store`] wrote; what cannot be read is begun anew.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let restored = match bytes.split_first() {
            Some((&ONCE, at)) => at.try_into().ok().map(|at| Self::Once(u64::from_le_bytes(at))),
            Some((&BEATS, beats)) => Beats::from_bytes(beats).map(|beats| Self::Beats(Box::new(beats))),
            _ => None,
        };
        restored.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connects_come_back_as_they_were_stored() {
        let mut connects = Connects::default();
        let stored = |connects: &Connects| {
            let mut bytes = Vec::new();
            connects.store(&mut bytes);
            bytes
        };
        assert!(stored(&connects).is_empty());
        for minute in 0..12 {
            connects.add(1_800_000_000_000 + minute * 60_000);
            let restored = Connects::from_bytes(&stored(&connects));
            assert_eq!(restored, connects);
        }
        assert!(connects.cadence().unwrap().score > 0.8);
    }

    #[test]
    fn what_cannot_be_read_is_begun_anew() {
        for bytes in [&[][..], &[1], &[1, 2, 3], &[2], &[2, 9, 9], &[7; 40]] {
            assert!(matches!(Connects::from_bytes(bytes), Connects::None), "{bytes:?}");
        }
    }
}
