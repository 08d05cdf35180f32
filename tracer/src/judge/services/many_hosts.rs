//! Host names → the lists that they stand on, for very many names: read first, then looked up. Pure.
//!
//! A million names take little more than their text: they stand one behind the other, and an index of two numbers for three names
//! is made when all are there. A hash table that grows would take twice as much, and more while it grows.

use std::hash::BuildHasher;
use std::ops::Range;

use hashbrown::DefaultHashBuilder;

use super::hosts::suffixes;

/// Names with a number each.
#[derive(Clone, Default)]
pub struct ManyHosts {
    /// Each entry: number with [`EXACT`], length, name.
    arena: Vec<u8>,
    /// Where the entries of each bucket begin in `entries`, and, last, where they end.
    starts: Vec<u32>,
    /// Where entries begin in `arena`, bucket by bucket.
    entries: Vec<u32>,
    hasher: DefaultHashBuilder,
}

/// Number and length.
const FIXED: usize = 3;
/// Marks that an entry holds for the name alone.
const EXACT: u16 = 1 << 15;
/// Entries in a bucket, on average at most.
const IN_BUCKET: usize = 3;

/// One entry.
#[derive(Clone, Copy, PartialEq)]
struct Entry<'a> {
    number: u16,
    is_exact: bool,
    name: &'a [u8],
}

impl ManyHosts {
    /// Numbers that an entry can have.
    pub const MOST_NUMBERS: u16 = EXACT;

    /// Adds a name; `is_exact`: without what is under it. It is found after [`Self::settle`]. What has no room is left out.
    pub fn push(&mut self, name: &str, is_exact: bool, number: u16) {
        let (Ok(_), Ok(length)) = (u32::try_from(self.arena.len()), u8::try_from(name.len())) else { return };
        let mark = if is_exact { EXACT } else { 0 };
        self.arena.extend_from_slice(&(number | mark).to_le_bytes());
        self.arena.push(length);
        self.arena.extend_from_slice(name.as_bytes());
    }

    /// Makes all names that were added so far ready to be found; tells how many different ones there are.
    pub fn settle(&mut self) -> usize {
        self.arena.shrink_to_fit();
        let count = all(&self.arena).count();
        (self.starts, self.entries) = (Vec::new(), vec![0; count]);
        self.starts = vec![0; (count / IN_BUCKET).next_power_of_two() + 1];
        for (_, entry) in all(&self.arena) {
            let bucket = self.bucket(entry.name);
            self.starts[bucket] += 1;
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        for (at, entry) in all(&self.arena) {
            let bucket = self.bucket(entry.name);
            self.starts[bucket] -= 1;
            self.entries[self.starts[bucket] as usize] = at;
        }
        self.forget_repeated();
        self.entries.len()
    }

    /// Takes repeated entries out of the index, and brings those of each bucket into the order in which they came.
    fn forget_repeated(&mut self) {
        let mut kept: usize = 0;
        for bucket in 0..self.starts.len().saturating_sub(1) {
            let found = self.range(bucket);
            let from = kept;
            self.entries[found.clone()].sort_unstable();
            for place in found {
                let at = self.entries[place];
                let one = entry(&self.arena, at);
                if !self.entries[from..kept].iter().any(|&other| entry(&self.arena, other) == one) {
                    self.entries[kept] = at;
                    kept += 1;
                }
            }
            self.starts[bucket] = u32::try_from(from).unwrap_or(u32::MAX);
        }
        if let Some(last) = self.starts.last_mut() {
            *last = u32::try_from(kept).unwrap_or(u32::MAX);
        }
        self.entries.truncate(kept);
    }

    /// All that is known of a host, in lower case: of itself, and of everything that it is under.
    pub fn find_all<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u16> + 'a {
        suffixes(host).flat_map(move |suffix| self.of(suffix, suffix.len() == host.len()))
    }

    fn of<'a>(&'a self, name: &'a str, is_whole: bool) -> impl Iterator<Item = u16> + 'a {
        let places = if self.entries.is_empty() { 0..0 } else { self.range(self.bucket(name.as_bytes())) };
        let found = self.entries.get(places).unwrap_or_default();
        found
            .iter()
            .map(|&at| entry(&self.arena, at))
            .filter(move |entry| entry.name == name.as_bytes() && (is_whole || !entry.is_exact))
            .map(|entry| entry.number)
    }

    /// Names that can be found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Of a table with buckets, the one of a name.
    fn bucket(&self, name: &[u8]) -> usize {
        let buckets = self.starts.len().saturating_sub(1) as u64;
        // The remainder is smaller than the length of a vector.
        #[allow(clippy::cast_possible_truncation)]
        let bucket = (self.hasher.hash_one(name) % buckets.max(1)) as usize;
        bucket
    }

    fn range(&self, bucket: usize) -> Range<usize> {
        self.starts[bucket] as usize..self.starts[bucket + 1] as usize
    }
}

/// The entries in the order in which they came, with where they begin.
fn all(arena: &[u8]) -> impl Iterator<Item = (u32, Entry<'_>)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = u32::try_from(next).ok().filter(|_| next < arena.len())?;
        let entry = entry(arena, at);
        next += FIXED + entry.name.len();
        Some((at, entry))
    })
}

fn entry(arena: &[u8], at: u32) -> Entry<'_> {
    let rest = arena.get(at as usize..).unwrap_or_default();
    let Some((&[n0, n1, length], rest)) = rest.split_first_chunk::<FIXED>() else {
        return Entry { number: 0, is_exact: true, name: &[] };
    };
    let number = u16::from_le_bytes([n0, n1]);
    let name = rest.get(..usize::from(length)).unwrap_or_default();
    Entry { number: number & !EXACT, is_exact: number & EXACT != 0, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(hosts: &ManyHosts, host: &str) -> Vec<u16> {
        hosts.find_all(host).collect()
    }

    #[test]
    fn what_was_added_is_found_with_everything_that_it_is_under() {
        let mut hosts = ManyHosts::default();
        assert_eq!((hosts.settle(), found(&hosts, "example")), (0, vec![]));
        hosts.push("push.example", false, 1);
        hosts.push("sa.push.example", true, 2);
        assert_eq!(found(&hosts, "push.example"), [] as [u16; 0], "not settled");
        assert_eq!(hosts.settle(), 2);
        assert_eq!(found(&hosts, "sa.push.example"), [2, 1]);
        assert_eq!(found(&hosts, "x.sa.push.example"), [1]);
        assert_eq!(found(&hosts, "example"), [] as [u16; 0]);
        hosts.push("example", true, 3);
        assert_eq!(hosts.settle(), 3);
        assert_eq!((found(&hosts, "example"), found(&hosts, "push.example")), (vec![3], vec![1]));
    }

    #[test]
    fn a_name_counts_once_for_each_number_in_the_order_in_which_they_came() {
        let mut hosts = ManyHosts::default();
        for number in [7, 4, 7, 9, 4] {
            hosts.push("a.example", false, number);
        }
        hosts.push("a.example", true, 4);
        assert_eq!((hosts.settle(), hosts.len()), (4, 4));
        assert_eq!(found(&hosts, "a.example"), [7, 4, 9, 4]);
        assert_eq!(found(&hosts, "under.a.example"), [7, 4, 9]);
    }

    #[test]
    fn each_of_many_names_is_found_and_no_other_one() {
        let mut hosts = ManyHosts::default();
        let name = |number: u16| format!("{number:x}.part{}.example", number % 37);
        (0..10_000).for_each(|number| hosts.push(&name(number), true, number));
        assert_eq!(hosts.settle(), 10_000);
        assert!((0..10_000).all(|number| found(&hosts, &name(number)) == [number]));
        assert!((10_000..20_000).all(|number| found(&hosts, &name(number)).is_empty()));
    }
}
