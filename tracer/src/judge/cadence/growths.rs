//! What an open socket moved, look by look. Pure.
//!
//! Nothing is said of a rhythm before its sixth beat, and few connections come that far: until then only what was seen is kept.
//! [`Beats`] are made of it, in the same order, when the next look could tell something.

use super::model::SAID_FROM;
use super::stored::{LOOKS, Reader, Writer};
use super::{Beats, Cadence, Growth, MUCH_BYTES};

/// Looks that are kept as they are: one interval less, so that nothing can be said of them.
const FEW: usize = 5;
const _: () = assert!(FEW <= SAID_FROM as usize);

/// How a socket grew.
#[derive(Clone, Debug, Default)]
pub enum Growths {
    #[default]
    None,
    Few(Box<Few>),
    Beats(Box<Beats>),
}

/// The first looks at which it had grown.
#[derive(Clone, Debug, Default)]
pub struct Few {
    first_ms: u64,
    /// How often it was looked at.
    look_ms: u32,
    count: u8,
    /// One bit for each: [`Growth::is_much`].
    much: u8,
    /// When, after the first one, and for how long it had been silent.
    looks: [(u32, u32); FEW],
}

const _: () = assert!(size_of::<Few>() <= 56);

impl Growths {
    /// An open socket moved something; `look_ms`: how often it is looked at.
    pub fn grew(&mut self, growth: &Growth, look_ms: u64) {
        if let Self::None = self {
            *self = Self::Few(Box::default());
        }
        let mut beats = match self {
            Self::Beats(beats) => return beats.grew(growth, look_ms),
            Self::Few(few) => match few.add(growth, look_ms) {
                true => return,
                false => few.beats(),
            },
            Self::None => Beats::default(),
        };
        beats.grew(growth, look_ms);
        *self = Self::Beats(Box::new(beats));
    }

    /// `None` while there are too few.
    #[must_use]
    pub fn cadence(&self) -> Option<Cadence> {
        match self {
            Self::Beats(beats) => beats.cadence(),
            Self::None | Self::Few(_) => None,
        }
    }

    /// For a ledger, behind what is there already; nothing, if there is nothing to store.
    pub fn store(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Few(few) => few.store(bytes),
            Self::Beats(beats) => beats.store(bytes),
        }
    }

    /// What [`Growths::store`] wrote; what cannot be read is begun anew.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let restored = match bytes.first() {
            None => None,
            Some(&LOOKS) => Few::from_bytes(bytes).map(|few| Self::Few(Box::new(few))),
            Some(_) => Beats::from_bytes(bytes).map(|beats| Self::Beats(Box::new(beats))),
        };
        restored.unwrap_or_default()
    }
}

impl Few {
    /// Whether there was room for it, and all of it can be kept.
    fn add(&mut self, growth: &Growth, look_ms: u64) -> bool {
        let Ok(look_ms) = u32::try_from(look_ms) else { return false };
        if self.count == 0 {
            (self.first_ms, self.look_ms) = (growth.at_ms, look_ms);
        }
        let after = growth.at_ms.checked_sub(self.first_ms).and_then(|ms| u32::try_from(ms).ok());
        let silent = u32::try_from(growth.silent_ms).ok();
        let (Some(look), true) = (after.zip(silent), self.look_ms == look_ms) else { return false };
        let Some(free) = self.looks.get_mut(usize::from(self.count)) else { return false };
        *free = look;
        self.much |= u8::from(growth.is_much()) << self.count;
        self.count += 1;
        true
    }

    fn beats(&self) -> Beats {
        let mut beats = Beats::default();
        for (number, &(after_ms, silent_ms)) in (0..self.count).zip(&self.looks) {
            let is_much = self.much >> number & 1 != 0;
            let growth = Growth {
                at_ms: self.first_ms + u64::from(after_ms),
                silent_ms: silent_ms.into(),
                bytes: if is_much { MUCH_BYTES + 1 } else { 1 },
                packets: 1,
            };
            beats.grew(&growth, self.look_ms.into());
        }
        beats
    }

    fn store(&self, bytes: &mut Vec<u8>) {
        let mut to = Writer::new(bytes, LOOKS);
        to.bytes(self.first_ms.to_le_bytes());
        to.bytes(self.look_ms.to_le_bytes());
        to.bytes([self.count, self.much]);
        for (after_ms, silent_ms) in self.looks.iter().take(self.count.into()) {
            to.bytes(after_ms.to_le_bytes());
            to.bytes(silent_ms.to_le_bytes());
        }
        to.finish();
    }

    /// `None`: damaged.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, LOOKS)?;
        let mut few = Self { first_ms: from.u64()?, look_ms: from.u32()?, ..Self::default() };
        (few.count, few.much) = (from.u8()?, from.u8()?);
        for look in few.looks.get_mut(..few.count.into())? {
            *look = (from.u32()?, from.u32()?);
            few.first_ms.checked_add(look.0.into())?;
        }
        from.finish()?;
        (few.count > 0 && few.much >> few.count == 0).then_some(few)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: u64 = 1_795_305_600_000;

    fn growth(at_ms: u64, silent_ms: u64, packets: u64) -> Growth {
        Growth { at_ms, silent_ms, bytes: packets * 100, packets }
    }

    fn stored(growths: &Growths) -> Vec<u8> {
        let mut bytes = vec![7];
        growths.store(&mut bytes);
        bytes.split_off(1)
    }

    /// Looks of all kinds: regular ones, downloads, a clock that is set, a time that no short number holds, other looks.
    fn courses() -> Vec<Vec<(Growth, u64)>> {
        let each = |count: u64, growth: &dyn Fn(u64) -> Growth| -> Vec<(Growth, u64)> {
            (0..count).map(|look| (growth(look), 60_000)).collect()
        };
        let regular = each(30, &|look| growth(BEGIN + look * 300_000, 17_000, 4));
        let each_look = each(30, &|look| growth(BEGIN + look * 60_000, 40_000 + look * 7 % 300, 4));
        let download =
            each(30, &|look| growth(BEGIN + look * 60_000, look * 7, if look % 3 == 0 { 4 } else { 5_000 }));
        let set_back = each(12, &|look| growth(BEGIN + (12 - look) * 60_000, 10, 4));
        let slow = each(12, &|look| growth(BEGIN + look * 40 * 86_400_000, 10, 4));
        let silent = each(9, &|look| growth(BEGIN + look * 900_000, u64::MAX - look, 4));
        let other_looks =
            (0..12u64).map(|look| (growth(BEGIN + look * 60_000, 9, 30), 40_000 + look / 4)).collect();
        let rare_looks = (0..9u64).map(|look| (growth(BEGIN + look * 60_000, 9, 4), u64::MAX)).collect();
        vec![regular, each_look, download, set_back, slow, silent, other_looks, rare_looks]
    }

    #[test]
    fn what_is_said_is_what_beats_say_that_were_kept_from_the_first_look_on() {
        for course in courses() {
            let (mut growths, mut beats) = (Growths::default(), Beats::default());
            for (growth, look_ms) in &course {
                growths.grew(growth, *look_ms);
                beats.grew(growth, *look_ms);
                assert_eq!(growths.cadence(), beats.cadence());
                let made = match &growths {
                    Growths::None => Beats::default(),
                    Growths::Few(few) => few.beats(),
                    Growths::Beats(beats) => (**beats).clone(),
                };
                assert_eq!(made.to_bytes(), beats.to_bytes(), "{growth:?}");
            }
            assert!(matches!(growths, Growths::Beats(_)));
        }
    }

    #[test]
    fn what_was_stored_goes_on_as_if_nothing_had_been() {
        for course in courses() {
            for cut in 0..course.len() {
                let (before, after) = course.split_at(cut);
                let mut whole = Growths::default();
                before.iter().for_each(|(growth, look_ms)| whole.grew(growth, *look_ms));
                let mut restored = Growths::from_bytes(&stored(&whole));
                assert_eq!(stored(&restored), stored(&whole));
                for (growth, look_ms) in after {
                    whole.grew(growth, *look_ms);
                    restored.grew(growth, *look_ms);
                    assert_eq!(restored.cadence(), whole.cadence());
                }
                assert_eq!(stored(&restored), stored(&whole));
            }
        }
    }

    #[test]
    fn beats_of_older_ledgers_are_read() {
        let mut beats = Beats::default();
        for (growth, look_ms) in &courses()[0][..2] {
            beats.grew(growth, *look_ms);
        }
        assert_eq!(stored(&Growths::from_bytes(&beats.to_bytes())), beats.to_bytes());
    }

    #[test]
    fn what_cannot_be_read_is_begun_anew() {
        let mut growths = Growths::default();
        courses()[0][..3].iter().for_each(|(growth, look_ms)| growths.grew(growth, *look_ms));
        let bytes = stored(&growths);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(matches!(Growths::from_bytes(&damaged), Growths::None), "{at}");
            assert!(matches!(Growths::from_bytes(&bytes[..at]), Growths::None), "{at}");
        }
    }
}
