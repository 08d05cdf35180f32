//! Makes `data/countries.tsv`: ISO 3166-1 alpha-2 code and English name.
//!
//! Flows in: the English list of the npm package `i18n-iso-countries`, which also has `XK` for Kosovo. Flows out: the
//! file's text. Where the list offers several names, the one to take is written down here, never the first that comes.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Deserialize)]
struct List {
    countries: BTreeMap<String, Names>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

/// Short names in common use, for the codes that have several in the source.
const CHOSEN: [(&str, &str); 20] = [
    ("AE", "United Arab Emirates"),
    ("AX", "Åland Islands"),
    ("CD", "Democratic Republic of the Congo"),
    ("CG", "Republic of the Congo"),
    ("CI", "Côte d'Ivoire"),
    ("CN", "China"),
    ("CZ", "Czechia"),
    ("GB", "United Kingdom"),
    ("GM", "Gambia"),
    ("IR", "Iran"),
    ("KR", "South Korea"),
    ("MK", "North Macedonia"),
    ("NL", "Netherlands"),
    ("PN", "Pitcairn"),
    ("PS", "Palestine"),
    ("RU", "Russia"),
    ("TR", "Türkiye"),
    ("TW", "Taiwan"),
    ("TZ", "Tanzania"),
    ("US", "United States"),
];

/// The file's text from the package's `langs/en.json`.
pub fn table(json: &[u8], source: &str) -> Result<String> {
    let list: List = serde_json::from_slice(json)?;
    let mut text = format!(
        "# ISO 3166-1 alpha-2 code, English short name; XK (Kosovo) is in common use and not in ISO 3166.\n\
         # Source: {source}, langs/en.json. Made by `cargo xtask geodata`.\n"
    );
    for (code, names) in &list.countries {
        ensure!(code.len() == 2 && code.bytes().all(|c| c.is_ascii_uppercase()), "country code {code:?}");
        let name = match names {
            Names::One(name) => name,
            Names::Several(names) => {
                let chosen = CHOSEN.iter().find(|(chosen, _)| chosen == code).map(|(_, name)| *name);
                let chosen =
                    chosen.with_context(|| format!("{code} has several names: choose one of {names:?}"))?;
                names
                    .iter()
                    .find(|name| *name == chosen)
                    .with_context(|| format!("{code}: {chosen} is gone"))?
            }
        };
        ensure!(!name.contains(['\t', '\n']), "{code}: name {name:?}");
        writeln!(text, "{code}\t{name}")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_name_is_taken_and_only_if_the_source_has_it() {
        let text =
            table(r#"{"countries":{"SE":"Sweden","CN":["People's Republic","China"]}}"#.as_bytes(), "test");
        let lines = text.unwrap();
        assert_eq!(lines.lines().skip(2).collect::<Vec<_>>(), ["CN\tChina", "SE\tSweden"]);
        assert!(table(br#"{"countries":{"CN":["Cathay","Middle Kingdom"]}}"#, "test").is_err());
        assert!(table(br#"{"countries":{"SE":["Sweden","Sverige"]}}"#, "test").is_err());
    }
}
