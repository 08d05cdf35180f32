//! Names of Android's fixed ids (AIDs), from `data/aid.tsv`, built in: Android has no `/etc/passwd` to ask.

use std::sync::LazyLock;

const TABLE: &str = include_str!("../../../../data/aid.tsv");

/// Fixed ids and their names, sorted by id.
static NAMES: LazyLock<Vec<(u32, &'static str)>> = LazyLock::new(|| {
    // bionic's getpwuid() names ids that are only used as groups, too.
    let mut names: Vec<_> =
        rows().filter(|row| matches!(row.kind, "uid" | "gid")).map(|row| (row.id, row.name)).collect();
    names.sort_unstable();
    names
});

struct Row {
    id: u32,
    name: &'static str,
    kind: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().filter_map(|line| {
        let mut fields = line.split('\t');
        // Comment lines and the header have no number in front.
        Some(Row { id: fields.next()?.parse().ok()?, name: fields.next()?, kind: fields.next()? })
    })
}

/// Name that `getpwuid()` gives a fixed id, e.g. `radio` for 1001.
#[must_use]
pub fn name(app_id: u32) -> Option<&'static str> {
    let at = NAMES.binary_search_by_key(&app_id, |&(id, _)| id).ok()?;
    NAMES.get(at).map(|&(_, name)| name)
}

/// Value of a range limit or constant of the table.
#[cfg(test)]
pub(super) fn limit(name: &str) -> Option<u32> {
    rows().find(|row| row.name == name && row.kind != "uid" && row.kind != "gid").map(|row| row.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ids_have_the_names_that_getpwuid_gives_them() {
        for (id, expected) in [(0, "root"), (1000, "system"), (1001, "radio"), (1051, "dns"), (2000, "shell")]
        {
            assert_eq!(name(id), Some(expected));
        }
        assert_eq!(name(10_000), None);
        assert_eq!(name(2900), None);
    }

    #[test]
    fn every_row_of_the_table_is_read_and_no_id_has_two_names() {
        let lines = TABLE.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count();
        assert_eq!(rows().count(), lines);
        assert!(NAMES.len() > 100);
        assert!(NAMES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
