//! Values of fields, what they are measured in, and how a person reads them.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::enrich::geo::Country;
use crate::judge::observation::{Who, names};

/// What a field says in one case. Lent from there: rules are asked about every record, and most of them do not hold.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Nothing: it is not known.
    Absent,
    Text(Cow<'a, str>),
    Made(Made<'a>),
    Number(f64),
    Flag(bool),
    /// Several texts; at least one.
    Texts(Texts<'a>),
}

/// A text that is made when somebody wants to read it.
#[derive(Clone, Copy, Debug)]
pub enum Made<'a> {
    /// A number that is an identifier.
    Id(u32),
    /// How a person calls the owner.
    Owner(&'a Who),
    /// Name and code of a country.
    Place(Country),
}

/// Several texts.
#[derive(Clone, Debug)]
pub enum Texts<'a> {
    Strings(&'a [String]),
    Strs(&'a [&'a str]),
    /// With commas in between.
    Joined(&'a str),
    Each(Vec<Cow<'a, str>>),
}

impl Made<'_> {
    fn write(&self, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Id(id) => out.write_str(itoa::Buffer::new().format(*id)),
            Self::Owner(who) => out.write_str(who.label()),
            Self::Place(country) => {
                out.write_str(country.name)?;
                out.write_str(" (")?;
                out.write_str(country.code)?;
                out.write_str(")")
            }
        }
    }
}

impl Texts<'_> {
    /// Whether the test is true of any of them; none after that one is looked at.
    pub fn any(&self, test: impl FnMut(&str) -> bool) -> bool {
        let mut test = test;
        match self {
            Self::Strings(texts) => texts.iter().any(|text| test(text)),
            Self::Strs(texts) => texts.iter().any(|text| test(text)),
            Self::Joined(texts) => names(texts).any(test),
            Self::Each(texts) => texts.iter().any(|text| test(text)),
        }
    }
}

impl<'a> Value<'a> {
    pub fn text(text: Option<impl Into<Cow<'a, str>>>) -> Self {
        text.map_or(Self::Absent, |text| Self::Text(text.into()))
    }

    pub fn made(made: Option<Made<'a>>) -> Self {
        made.map_or(Self::Absent, Self::Made)
    }

    pub fn texts<T: Into<Cow<'a, str>>>(texts: impl IntoIterator<Item = T>) -> Self {
        let texts: Vec<_> = texts.into_iter().map(Into::into).collect();
        if texts.is_empty() { Self::Absent } else { Self::Texts(Texts::Each(texts)) }
    }

    pub fn strings(texts: Option<&'a [String]>) -> Self {
        texts
            .filter(|texts| !texts.is_empty())
            .map_or(Self::Absent, |texts| Self::Texts(Texts::Strings(texts)))
    }

    pub fn strs(texts: &'a [&'a str]) -> Self {
        if texts.is_empty() { Self::Absent } else { Self::Texts(Texts::Strs(texts)) }
    }

    /// With commas in between.
    pub fn joined(texts: &'a str) -> Self {
        if texts.bytes().all(|byte| byte == b',') { Self::Absent } else { Self::Texts(Texts::Joined(texts)) }
    }

    /// A value of a JSON record.
    #[must_use]
    pub fn of_json(value: &serde_json::Value) -> Value<'_> {
        match value {
            serde_json::Value::String(text) => Value::Text(text.as_str().into()),
            serde_json::Value::Bool(flag) => Value::Flag(*flag),
            serde_json::Value::Number(number) => number.as_f64().map_or(Value::Absent, Value::Number),
            serde_json::Value::Array(items) => Value::texts(items.iter().filter_map(|item| match item {
                serde_json::Value::String(text) => Some(Cow::Borrowed(text.as_str())),
                serde_json::Value::Number(number) => Some(Cow::Owned(number.to_string())),
                _ => None,
            })),
            _ => Value::Absent,
        }
    }

    #[must_use]
    pub fn is_known(&self) -> bool {
        !matches!(self, Self::Absent)
    }

    /// Whether it is a text, or has one, of which the test is true.
    pub fn any_text(&self, test: impl FnMut(&str) -> bool) -> bool {
        let mut test = test;
        match self {
            Self::Text(text) => test(text),
            Self::Texts(texts) => texts.any(test),
            Self::Made(made) => {
                let mut text = String::new();
                made.write(&mut text).is_ok() && test(&text)
            }
            Self::Absent | Self::Number(_) | Self::Flag(_) => false,
        }
    }

    /// Adds it as a person reads it; `false`: it is not known.
    pub fn show(&self, unit: Unit, out: &mut impl Write) -> bool {
        // Neither texts nor hashes refuse anything.
        let _ = match self {
            Self::Absent => return false,
            Self::Text(text) => out.write_str(text),
            Self::Made(made) => made.write(out),
            Self::Number(number) => unit.write(*number, out),
            Self::Flag(flag) => out.write_str(if *flag { "yes" } else { "no" }),
            Self::Texts(texts) => {
                let mut comma = "";
                texts.any(|text| {
                    let written = out.write_str(comma).and_then(|()| out.write_str(text));
                    comma = ", ";
                    written.is_err()
                });
                Ok(())
            }
        };
        true
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Plain,
    Bytes,
    Milliseconds,
    Nanoseconds,
    /// A share of 1.
    Share,
}

impl Unit {
    /// Reads a number with its unit, as `15min`, `1 MB` or `80%`.
    ///
    /// # Errors
    /// Says what is wanted.
    #[allow(clippy::cast_precision_loss)]
    pub fn read(self, text: &str) -> Result<f64, String> {
        let time = |per_second: f64| {
            let time =
                humantime::parse_duration(text).map_err(|_| format!("`{text}` is no time, as `15min`"))?;
            Ok(time.as_secs_f64() * per_second)
        };
        match self {
            Self::Milliseconds => time(1e3),
            Self::Nanoseconds => time(1e9),
            Self::Bytes => {
                let digits = text.trim_end_matches(|sign: char| !sign.is_ascii_digit());
                let factor = match text[digits.len()..].trim() {
                    "" | "B" => Some(1.0),
                    "kB" => Some(1e3),
                    "MB" => Some(1e6),
                    "GB" => Some(1e9),
                    _ => None,
                };
                let number: Option<f64> = digits.trim().parse().ok();
                number
                    .zip(factor)
                    .map(|(number, factor)| number * factor)
                    .ok_or_else(|| format!("`{text}` is no amount, as `10 MB`"))
            }
            Self::Share => text
                .strip_suffix('%')
                .and_then(|percent| percent.trim().parse::<f64>().ok())
                .map(|percent| percent / 100.0)
                .ok_or_else(|| format!("`{text}` is no share, as `80%`")),
            Self::Plain => Err(format!("a number is wanted, not `{text}`")),
        }
    }

    /// As a person reads it.
    #[must_use]
    pub fn show(self, number: f64) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(number, &mut text);
        text
    }

    fn write(self, number: f64, out: &mut impl Write) -> fmt::Result {
        match self {
            Self::Plain => plain(number, out),
            Self::Share => write!(out, "{:.0} %", number * 100.0),
            Self::Bytes => bytes(number, out),
            Self::Milliseconds => time(number / 1e3, out),
            Self::Nanoseconds => time(number / 1e9, out),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "whole numbers below 2^53")]
fn plain(number: f64, out: &mut impl Write) -> fmt::Result {
    // Much faster than the way for fractions.
    if number.fract() == 0.0 && number.abs() < 9e15 {
        out.write_str(itoa::Buffer::new().format(number as i64))
    } else {
        write!(out, "{number:.2}")
    }
}

fn bytes(number: f64, out: &mut impl Write) -> fmt::Result {
    let steps = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match steps.iter().find(|(step, _)| number >= *step) {
        Some((step, unit)) => write!(out, "{:.1} {unit}", number / step),
        None => write!(out, "{number:.0} B"),
    }
}

/// The two largest units that say something.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "whole seconds; what is too much becomes the most"
)]
fn time(seconds: f64, out: &mut impl Write) -> fmt::Result {
    if seconds < 1.0 {
        return write!(out, "{:.0} ms", seconds * 1e3);
    }
    let steps = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut rest = seconds.round() as u64;
    let mut parts = 0;
    for (step, unit) in steps {
        let count = rest / step;
        if count > 0 {
            let space = if parts > 0 { " " } else { "" };
            write!(out, "{space}{count} {unit}")?;
            rest -= count * step;
            parts += 1;
        } else if parts > 0 {
            break;
        }
        if parts == 2 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_with_their_units_and_shown_so() {
        assert_eq!(Unit::Milliseconds.read("15min"), Ok(900_000.0));
        assert_eq!(Unit::Bytes.read("10 MB"), Ok(1e7));
        assert_eq!(Unit::Bytes.read("12"), Ok(12.0));
        assert_eq!(Unit::Share.read("80%"), Ok(0.8));
        assert!(Unit::Bytes.read("10 MiB").is_err());
        assert!(Unit::Plain.read("10").is_err());
        assert_eq!(Unit::Bytes.show(4100.0), "4.1 kB");
        assert_eq!(Unit::Milliseconds.show(900_000.0), "15 min");
        assert_eq!(Unit::Milliseconds.show(7_560_000.0), "2 h 6 min");
        assert_eq!(Unit::Milliseconds.show(90_000_000.0), "1 d 1 h");
        assert_eq!(Unit::Milliseconds.show(3_600_500.0), "1 h");
        assert_eq!(Unit::Milliseconds.show(412.0), "412 ms");
        assert_eq!(Unit::Share.show(0.876), "88 %");
        assert_eq!(Unit::Plain.show(5287.0), "5287");
    }
}
