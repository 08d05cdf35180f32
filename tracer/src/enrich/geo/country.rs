//! Codes and names of countries.
//!
//! Flows in: a code as a database has it, and `data/countries.tsv`. Flows out: the code and its English name. A code
//! that is not in the table (`ZZ`, `EU`, `AP`, withdrawn ones) is no country: unknown is absent.

use std::sync::LazyLock;

const TABLE: &str = include_str!("../../../../data/countries.tsv");

/// A country of ISO 3166-1, or Kosovo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    /// Two capital letters.
    pub code: &'static str,
    /// English short name.
    pub name: &'static str,
}

/// One slot for every pair of letters.
static COUNTRIES: LazyLock<Vec<Option<Country>>> = LazyLock::new(|| {
    let mut countries = vec![None; 26 * 26];
    for (code, name) in TABLE.lines().filter_map(|line| line.split_once('\t')) {
        if let Some(slot) = slot(code).and_then(|slot| countries.get_mut(slot)) {
            *slot = Some(Country { code, name });
        }
    }
    countries
});

/// The country with this code, in capital or small letters.
#[must_use]
pub fn country(code: &str) -> Option<Country> {
    COUNTRIES.get(slot(code)?).copied().flatten()
}

fn slot(code: &str) -> Option<usize> {
    let [first, second]: [u8; 2] = code.as_bytes().try_into().ok()?;
    let letter = |byte: u8| byte.is_ascii_alphabetic().then(|| usize::from(byte.to_ascii_uppercase() - b'A'));
    Some(letter(first)? * 26 + letter(second)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_found_again() {
        let rows: Vec<_> = TABLE.lines().filter(|line| !line.starts_with('#')).collect();
        // 249 of ISO 3166-1, and Kosovo.
        assert_eq!(rows.len(), 250);
        for row in rows {
            let (code, name) = row.split_once('\t').unwrap();
            assert_eq!(country(code), Some(Country { code, name }));
        }
    }

    #[test]
    fn codes_are_found_in_either_case_and_what_is_no_country_is_not() {
        assert_eq!(country("CN").unwrap().name, "China");
        assert_eq!(country("xk").unwrap().code, "XK");
        for no in ["", "C", "CHN", "ZZ", "EU", "AP", "A1", "--", "ÅÅ"] {
            assert_eq!(country(no), None, "{no}");
        }
    }
}
