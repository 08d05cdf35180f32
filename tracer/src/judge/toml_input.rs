//! TOML of a person: reads it entry by entry, and says what is wrong, where, and what may have been meant. Pure.

use std::fmt;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Similarity from which a word may have been meant, of 1.
const SIMILAR: f64 = 0.75;

/// What is wrong at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// As the user gave it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, what } = self;
        write!(f, "{file}:{line}:{column}: {what}")
    }
}

/// A TOML file and its name, or a part of it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    file: &'a str,
    /// The whole file.
    text: &'a str,
    /// Where in it the part begins that spans count from.
    base: usize,
}

/// One `[[entry]]` of a file.
pub type Entry<'a> = Spanned<DeValue<'a>>;

impl<'a> Source<'a> {
    #[must_use]
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, base: 0 }
    }

    /// What is wrong with the bytes in `span`.
    #[must_use]
    pub fn complaint(&self, span: Range<usize>, what: impl Into<String>) -> Complaint {
        let before = self.text.get(..self.base + span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Complaint {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            what: what.into(),
        }
    }

    /// The entries `[[name]]` of the file, each with where it stands, and what is wrong with its form. What is not an entry of
    /// this name or one of `others` is wrong, too. A line that is no TOML costs no more than the entry that it stands in.
    #[must_use]
    pub fn entries(&self, name: &str, others: &[&str]) -> (Vec<(Self, Entry<'a>)>, Vec<Complaint>) {
        let (mut entries, mut complaints) = (Vec::new(), Vec::new());
        if self.part(name, others, self.text, &mut entries, &mut complaints) {
            return (entries, complaints);
        }
        (entries, complaints) = (Vec::new(), Vec::new());
        for (base, part) in parts(self.text, name) {
            Self { base, ..*self }.part(name, others, part, &mut entries, &mut complaints);
        }
        (entries, complaints)
    }

    /// Takes the entries out of a part. `false`: it is no TOML, and nothing was taken.
    fn part(
        self,
        name: &str,
        others: &[&str],
        part: &'a str,
        entries: &mut Vec<(Self, Entry<'a>)>,
        complaints: &mut Vec<Complaint>,
    ) -> bool {
        let table = match DeTable::parse(part) {
            Ok(table) => table,
            Err(error) => {
                complaints.push(self.complaint(error.span().unwrap_or_default(), error.message()));
                return false;
            }
        };
        for (key, value) in table.into_inner() {
            let known = key.get_ref().as_ref();
            if others.contains(&known) {
                continue;
            }
            if known != name {
                let names = others.iter().copied().chain([name]);
                complaints.push(self.complaint(key.span(), unknown("entry", known, names)));
                continue;
            }
            let span = value.span();
            match value.into_inner() {
                DeValue::Array(array) => entries.extend(array.into_iter().map(|entry| (self, entry))),
                _ => {
                    complaints.push(self.complaint(span, format!("write [[{name}]] in front of each {name}")))
                }
            }
        }
        true
    }

    /// An entry as a `T`, whose fields are `known`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read<T: DeserializeOwned>(&self, entry: Entry<'a>, known: &[&str]) -> Result<T, Complaint> {
        self.check_fields(&entry, known)?;
        let span = entry.span();
        let fields = spans(&entry);
        T::deserialize(ValueDeserializer::from(entry)).map_err(|error| {
            let span = error.span().unwrap_or(span);
            let field = fields.iter().find(|(_, value)| value.contains(&span.start));
            self.complaint(span, wrong_value(field.map(|(name, _)| name.as_str()), error.message()))
        })
    }

    /// The value of a field as a `T`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn value<T: DeserializeOwned>(&self, name: &str, value: &Entry<'a>) -> Result<T, Complaint> {
        T::deserialize(ValueDeserializer::from(value.clone()))
            .map_err(|error| self.complaint(value.span(), wrong_value(Some(name), error.message())))
    }

    /// Whether a table has no other fields than these.
    ///
    /// # Errors
    /// Names the first other one, and the most similar of these.
    pub fn check_fields(&self, entry: &Entry<'a>, known: &[&str]) -> Result<(), Complaint> {
        let Some(table) = entry.get_ref().as_table() else {
            return Err(self.complaint(entry.span(), "a table is wanted here"));
        };
        match table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => {
                let what = unknown("field", key.get_ref(), known.iter().copied());
                Err(self.complaint(key.span(), what))
            }
            None => Ok(()),
        }
    }
}

/// The fields of a table, with where their values stand.
fn spans(entry: &Entry<'_>) -> Vec<(String, Range<usize>)> {
    let table = entry.get_ref().as_table().into_iter().flat_map(|table| table.iter());
    table.map(|(key, value)| (key.get_ref().to_string(), value.span())).collect()
}

/// What is wrong with the value of a field, in our words where they say more than those of the parser.
fn wrong_value(field: Option<&str>, message: &str) -> String {
    let what = wrong_word(message).unwrap_or_else(|| message.to_owned());
    field.map_or(what.clone(), |field| format!("`{field}`: {what}"))
}

/// serde says "unknown variant `a`, expected one of `b`, `c`".
fn wrong_word(message: &str) -> Option<String> {
    let (word, known) = message.strip_prefix("unknown variant `")?.split_once("`, expected ")?;
    // Every second piece stands between two of the marks.
    Some(unknown("word", word, known.split('`').skip(1).step_by(2)))
}

/// A file in pieces, cut in front of each line `[[name]]`, with where they begin.
fn parts<'a>(text: &'a str, name: &str) -> Vec<(usize, &'a str)> {
    let heading = format!("[[{name}]]");
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at > 0 && line.trim_start().starts_with(&heading) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().copied().zip(ends).filter_map(|(start, end)| Some((start, text.get(start..end)?))).collect()
}

/// That a word is not known, and which one may have been meant.
#[must_use]
pub fn unknown<'a>(kind: &str, word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("unknown {kind} `{word}`; did you mean `{near}`?"),
        None if known.len() <= 12 => format!("unknown {kind} `{word}`; known are {}", known.join(", ")),
        None => format!("unknown {kind} `{word}`"),
    }
}

/// The word that is most similar, if one is similar enough.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let by_likeness = known.into_iter().map(|known| (strsim::jaro_winkler(word, known), known));
    let (likeness, known) = by_likeness.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (likeness >= SIMILAR).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    struct Thing {
        name: String,
    }

    fn read(text: &str) -> (Vec<Thing>, Vec<String>) {
        let source = Source::new("things.toml", text);
        let (entries, mut complaints) = source.entries("thing", &["form"]);
        let mut things = Vec::new();
        for (source, entry) in entries {
            match source.read(entry, &["name"]) {
                Ok(thing) => things.push(thing),
                Err(complaint) => complaints.push(complaint),
            }
        }
        (things, complaints.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_wrong_word_is_named_with_its_place_and_the_nearest_right_one() {
        let (things, complaints) = read("form = 1\n[[thing]]\nname = \"a\"\n[[thing]]\n  nmae = \"b\"\n");
        assert_eq!(things[0].name, "a");
        assert_eq!(complaints, ["things.toml:5:3: unknown field `nmae`; did you mean `name`?"]);
        let (_, complaints) = read("[[thng]]\nname = 1\n");
        assert_eq!(complaints, ["things.toml:1:3: unknown entry `thng`; did you mean `thing`?"]);
    }

    #[test]
    fn a_wrong_value_and_a_broken_line_leave_the_other_entries() {
        let (things, complaints) = read("[[thing]]\nname = 1\n[[thing]]\nname = \"b\"\n");
        assert_eq!((things.len(), complaints.len()), (1, 1));
        assert!(complaints[0].starts_with("things.toml:2:8: "), "{complaints:?}");
        let (things, complaints) = read("[[thing]]\nname = \"a\"\nname b\n[[thing]]\nname = \"c\"\n");
        assert!(things.iter().any(|thing| thing.name == "c"), "{things:?} {complaints:?}");
        assert!(complaints[0].starts_with("things.toml:3:"), "{complaints:?}");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_field_and_the_nearest_right_word() {
        let message = "unknown variant `medum`, expected one of `info`, `low`, `medium`, `high`";
        let told = "`severity`: unknown word `medum`; did you mean `medium`?";
        assert_eq!(wrong_value(Some("severity"), message), told);
        assert_eq!(wrong_value(None, "unknown variant `x`, expected `a`"), "unknown word `x`; known are a");
        assert_eq!(wrong_value(Some("name"), "wants a text"), "`name`: wants a text");
        let (_, complaints) = read("[[thing]]\nname = 1\n");
        assert!(complaints[0].starts_with("things.toml:2:8: `name`: "), "{complaints:?}");
    }

    #[test]
    fn words_that_are_like_nothing_get_no_hint() {
        assert_eq!(nearest("zzz", ["severity", "reason"]), None);
        assert_eq!(unknown("field", "zzz", ["severity"]), "unknown field `zzz`; known are severity");
    }
}
