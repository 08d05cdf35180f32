//! Host names → what is known of them: exact names, and suffixes that hold for everything under them. Pure.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

/// Names with a number each, in one piece of memory. For very many see [`super::many_hosts`].
#[derive(Clone, Default)]
pub struct HostTable {
    /// Each name behind its entry's fixed part: number, length.
    arena: Vec<u8>,
    /// Where entries begin in `arena`.
    entries: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// Number, whether it holds for the name alone, length of the name.
const FIXED: usize = 4;
/// Marks that an entry holds for the name alone.
const EXACT: u16 = 1 << 15;
/// Longest name of the DNS, without the final dot.
const LONGEST: usize = 253;

/// One entry.
#[derive(Clone, Copy)]
struct Entry<'a> {
    number: u16,
    is_exact: bool,
    name: &'a [u8],
}

impl HostTable {
    /// Numbers that an entry can have.
    pub const MOST_NUMBERS: u16 = EXACT;

    /// Adds a name; `is_exact`: without what is under it. `false`: it was there already with this number, or there is no room.
    pub fn insert(&mut self, name: &str, is_exact: bool, number: u16) -> bool {
        let name = name.as_bytes();
        let (Ok(at), Ok(length)) = (u32::try_from(self.arena.len()), u16::try_from(name.len())) else {
            return false;
        };
        let hash = self.hasher.hash_one(name);
        let arena = &self.arena;
        let is_same = |&at: &u32| {
            let entry = entry(arena, at);
            entry.name == name && entry.number == number && entry.is_exact == is_exact
        };
        if self.entries.find(hash, is_same).is_some() || number >= Self::MOST_NUMBERS {
            return false;
        }
        let mark = if is_exact { EXACT } else { 0 };
        self.arena.extend_from_slice(&(number | mark).to_le_bytes());
        self.arena.extend_from_slice(&length.to_le_bytes());
        self.arena.extend_from_slice(name);
        let (arena, hasher) = (&self.arena, &self.hasher);
        self.entries.insert_unique(hash, at, |&at| hasher.hash_one(entry(arena, at).name));
        true
    }

    /// What is known of a host, in lower case: the entries of its longest name that has any, with that name's length.
    pub fn find<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u16> + 'a {
        suffixes(host)
            .map(move |suffix| self.of(suffix, suffix.len() == host.len()))
            .find_map(|mut entries| {
                let first = entries.next()?;
                Some(std::iter::once(first).chain(entries))
            })
            .into_iter()
            .flatten()
    }

    fn of<'a>(&'a self, name: &'a str, is_whole: bool) -> impl Iterator<Item = u16> + 'a {
        let hash = self.hasher.hash_one(name.as_bytes());
        self.entries
            .iter_hash(hash)
            .map(|&at| entry(&self.arena, at))
            .filter(move |entry| entry.name == name.as_bytes() && (is_whole || !entry.is_exact))
            .map(|entry| entry.number)
    }

    /// Gives back memory that growing left over.
    pub fn shrink(&mut self) {
        self.arena.shrink_to_fit();
    }
}

/// The host, and each name that it is under.
pub fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, rest)| rest))
}

fn entry(arena: &[u8], at: u32) -> Entry<'_> {
    let rest = arena.get(at as usize..).unwrap_or_default();
    let Some((fixed, rest)) = rest.split_first_chunk::<FIXED>() else {
        return Entry { number: 0, is_exact: true, name: &[] };
    };
    let [n0, n1, l0, l1] = *fixed;
    let number = u16::from_le_bytes([n0, n1]);
    let name = rest.get(..usize::from(u16::from_le_bytes([l0, l1]))).unwrap_or_default();
    Entry { number: number & !EXACT, is_exact: number & EXACT != 0, name }
}

/// A host name as it is looked up: lower case, without a final dot. `None`: it is none.
#[must_use]
pub fn normal(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_host = host.len() <= LONGEST && host.split('.').all(is_label);
    is_host.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> HostTable {
        let mut table = HostTable::default();
        table.insert("push.example", false, 1);
        table.insert("sa.push.example", true, 2);
        table.insert("example", true, 3);
        table
    }

    fn found(host: &str) -> Vec<u16> {
        table().find(host).collect()
    }

    #[test]
    fn a_suffix_holds_for_what_is_under_it_and_an_exact_name_for_itself() {
        assert_eq!(found("push.example"), [1]);
        assert_eq!(found("a.b.push.example"), [1]);
        assert_eq!(found("sa.push.example"), [2]);
        assert_eq!(found("x.sa.push.example"), [1]);
        assert_eq!(found("example"), [3]);
        assert_eq!(found("other.example"), [] as [u16; 0]);
        assert_eq!(found("notpush.example"), [] as [u16; 0]);
    }

    #[test]
    fn a_name_may_belong_to_several_and_counts_once_for_each() {
        let mut table = table();
        assert!(table.insert("push.example", false, 4));
        assert!(!table.insert("push.example", false, 4));
        let mut found: Vec<_> = table.find("push.example").collect();
        found.sort_unstable();
        assert_eq!(found, [1, 4]);
        assert_eq!(table.entries.len(), 4);
    }

    #[test]
    fn names_are_brought_into_one_form_and_others_refused() {
        assert_eq!(normal("Push.Example.").as_deref(), Some("push.example"));
        assert_eq!(normal("_dns.example").as_deref(), Some("_dns.example"));
        for wrong in ["", ".", "a..b", "a b", "ä.example", "*.example", &"a.".repeat(200)] {
            assert_eq!(normal(wrong), None, "{wrong}");
        }
    }
}
