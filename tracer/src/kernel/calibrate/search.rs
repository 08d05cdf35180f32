//! Which offset holds a field: where its known value lies in one look at the memory after the other.

use tracer_ebpf::abi::OFFSET_UNKNOWN;

/// The offsets that are still possible for one field.
#[derive(Clone, Debug, Default)]
pub struct Search {
    left: Option<Vec<u32>>,
    looks: u32,
}

impl Search {
    /// Keeps the offsets at which `value` lies in this memory, at multiples of `align`.
    pub fn look(&mut self, memory: &[u8], value: &[u8], align: usize) {
        self.keep(
            offsets(memory, value.len(), align).filter(|at| part(memory, *at, value.len()) == Some(value)),
        );
    }

    /// Keeps the offsets at which a 32-bit number lies that `is_right` takes.
    pub fn look_for(&mut self, memory: &[u8], is_right: impl Fn(u32) -> bool) {
        self.keep(offsets(memory, 4, 4).filter(|at| word(memory, *at).is_some_and(&is_right)));
    }

    /// Keeps what is among these.
    pub fn keep(&mut self, found: impl Iterator<Item = u32>) {
        let found: Vec<u32> = found.collect();
        match &mut self.left {
            None => self.left = Some(found),
            Some(left) => left.retain(|at| found.contains(at)),
        }
        self.looks += 1;
    }

    /// What is left, if it was confirmed at least once.
    #[must_use]
    pub fn left(&self) -> &[u32] {
        if self.looks < 2 { &[] } else { self.left.as_deref().unwrap_or_default() }
    }

    /// The only offset that is left.
    #[must_use]
    pub fn only(&self) -> u32 {
        match self.left() {
            [at] => *at,
            _ => OFFSET_UNKNOWN,
        }
    }

    /// The first offset that is left: for values that the kernel keeps again in a larger structure around.
    #[must_use]
    pub fn first(&self) -> u32 {
        self.left().first().copied().unwrap_or(OFFSET_UNKNOWN)
    }

    /// The last offset that is left.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.left().last().copied().unwrap_or(OFFSET_UNKNOWN)
    }

    /// The second of two neighbours, or the only one.
    #[must_use]
    pub fn later(&self, distance: u32) -> u32 {
        match self.left() {
            [at] => *at,
            [first, second] if first + distance == *second => *second,
            _ => OFFSET_UNKNOWN,
        }
    }
}

fn offsets(memory: &[u8], width: usize, align: usize) -> impl Iterator<Item = u32> + use<> {
    (0..=memory.len().saturating_sub(width)).step_by(align).filter_map(|at| u32::try_from(at).ok())
}

fn part(memory: &[u8], at: u32, width: usize) -> Option<&[u8]> {
    let at = usize::try_from(at).ok()?;
    memory.get(at..at.checked_add(width)?)
}

/// The 32-bit number at an offset.
#[must_use]
pub fn word(memory: &[u8], at: u32) -> Option<u32> {
    part(memory, at, 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The 64-bit number at an offset.
#[must_use]
pub fn long(memory: &[u8], at: u32) -> Option<u64> {
    part(memory, at, 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// Where `value` lies first.
#[must_use]
pub fn position(memory: &[u8], value: &[u8], align: usize) -> Option<u32> {
    offsets(memory, value.len(), align).find(|at| part(memory, *at, value.len()) == Some(value))
}

/// What may be pointers into the kernel, with their offsets: on both architectures these are in the upper half.
pub fn pointers(memory: &[u8]) -> impl Iterator<Item = (u32, u64)> {
    offsets(memory, 8, 8).filter_map(|at| {
        let value = long(memory, at)?;
        (value >> 63 == 1 && value < u64::MAX - 4096 && value % 4 == 0).then_some((at, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_counts_when_two_looks_agree_on_it_alone() {
        let mut search = Search::default();
        search.look(&[7, 0, 7, 0, 9, 0], &[7, 0], 2);
        assert_eq!(search.only(), OFFSET_UNKNOWN, "one look is no proof");
        search.look(&[1, 0, 8, 0, 8, 0], &[8, 0], 2);
        assert_eq!(search.only(), 2);
        search.look(&[1, 0, 8, 0, 8, 0], &[9, 0], 2);
        assert_eq!(search.only(), OFFSET_UNKNOWN, "what is not confirmed is not known");
    }

    #[test]
    fn of_two_neighbours_the_later_one_is_taken_and_of_strangers_none() {
        let twice = |offsets: &[u32]| {
            let mut search = Search::default();
            search.keep(offsets.iter().copied());
            search.keep(offsets.iter().copied());
            search
        };
        assert_eq!(twice(&[16, 24]).later(8), 24);
        assert_eq!(twice(&[16]).later(8), 16);
        assert_eq!(twice(&[16, 32]).later(8), OFFSET_UNKNOWN);
        assert_eq!(twice(&[16, 24]).only(), OFFSET_UNKNOWN);
        assert_eq!((twice(&[16, 24]).first(), twice(&[16, 24]).last()), (16, 24));
    }

    #[test]
    fn only_addresses_of_the_kernel_are_pointers() {
        let words = [0u64, 0x0000_7fff_0000_1000, 0xffff_8880_1234_5678, u64::MAX, 0xffff_8880_1234_5679];
        let memory: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(pointers(&memory).collect::<Vec<_>>(), [(16, 0xffff_8880_1234_5678)]);
    }

    #[test]
    fn memory_that_is_too_short_holds_nothing() {
        let mut search = Search::default();
        search.look(&[1], &[1, 2, 3, 4], 4);
        search.look(&[], &[1, 2, 3, 4], 4);
        assert!(search.left().is_empty());
        assert_eq!(word(&[1, 2, 3], 0), None);
        assert_eq!(long(&[0; 8], u32::MAX), None);
    }
}
