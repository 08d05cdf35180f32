//! One condition of a rule: a field, and what it must say. What is not known meets no condition but `known = false`: a
//! finding never rests on what was not seen.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeValue};
use wildmatch::WildMatch;

use super::field::{Case, Field};
use super::value::{Unit, Value};
use crate::judge::toml_input::{Complaint, Entry, Source, unknown};

/// The words that say how a field is compared.
const TESTS: &[&str] =
    &["is", "not", "one_of", "none_of", "above", "below", "at_least", "at_most", "like", "known"];

/// A field and what it must say.
#[derive(Clone, Debug)]
pub struct Condition {
    field: Field,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// It is one of these; of several texts, one of them is.
    OneOf(Vec<Operand>),
    /// It is none of these; of several texts, none of them is.
    NoneOf(Vec<Operand>),
    Compared(Comparison, Operand),
    /// It has one of these forms, with `*` and `?`.
    Like(Vec<WildMatch>),
    Known(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Above,
    Below,
    AtLeast,
    AtMost,
}

/// What a field is compared with.
#[derive(Clone, Debug)]
enum Operand {
    Text(String),
    Number(f64),
    Flag(bool),
    /// Another field of the same case, `$home` for example.
    Field(Field),
}

impl Condition {
    /// From `"field" = value`, `"field" = [values]` or `"field" = { test = value, … }`.
    ///
    /// # Errors
    /// Where something is wrong, and what.
    pub fn read(
        source: &Source<'_>,
        name: &Spanned<DeString<'_>>,
        value: &Entry<'_>,
    ) -> Result<Vec<Self>, Complaint> {
        let field = Field::named(name.get_ref()).map_err(|what| source.complaint(name.span(), what))?;
        let with = |test| Self { field: field.clone(), test };
        let DeValue::Table(tests) = value.get_ref() else {
            return Ok(vec![with(Test::OneOf(operands(source, field.unit(), value)?))]);
        };
        if tests.is_empty() {
            return Err(source.complaint(value.span(), format!("say how `{}` is compared", field.name())));
        }
        let mut conditions = Vec::new();
        for (word, value) in tests {
            conditions.push(with(test(source, field.unit(), word, value)?));
        }
        Ok(conditions)
    }

    /// Whether it is met.
    #[must_use]
    pub fn is_met(&self, case: &Case<'_>) -> bool {
        let value = self.field.of(case);
        if let Test::Known(wanted) = self.test {
            return value.is_known() == wanted;
        }
        if !value.is_known() {
            return false;
        }
        match &self.test {
            Test::Known(_) => false,
            Test::OneOf(operands) => {
                operands.iter().any(|operand| operand.is_among(&value, case) == Some(true))
            }
            // An operand that is not known proves nothing.
            Test::NoneOf(operands) => {
                operands.iter().all(|operand| operand.is_among(&value, case) == Some(false))
            }
            Test::Compared(comparison, operand) => {
                let (Value::Number(value), Some(operand)) = (value, operand.number(case)) else {
                    return false;
                };
                comparison.holds(value, operand)
            }
            Test::Like(forms) => value.any_text(|text| forms.iter().any(|form| form.matches(text))),
        }
    }
}

impl Comparison {
    fn holds(self, value: f64, operand: f64) -> bool {
        match self {
            Self::Above => value > operand,
            Self::Below => value < operand,
            Self::AtLeast => value >= operand,
            Self::AtMost => value <= operand,
        }
    }
}

impl Operand {
    /// Whether it is the value, or one of several; `None`: it is not known itself.
    fn is_among(&self, value: &Value<'_>, case: &Case<'_>) -> Option<bool> {
        match self {
            Self::Text(text) => Some(value.any_text(|one| one == text)),
            Self::Number(number) => Some(matches!(value, Value::Number(one) if one == number)),
            Self::Flag(flag) => Some(matches!(value, Value::Flag(one) if one == flag)),
            Self::Field(field) => is_same(value, &field.of(case)),
        }
    }

    fn number(&self, case: &Case<'_>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Field(field) => match field.of(case) {
                Value::Number(number) => Some(number),
                _ => None,
            },
            Self::Text(_) | Self::Flag(_) => None,
        }
    }
}

fn is_same(value: &Value<'_>, other: &Value<'_>) -> Option<bool> {
    Some(match (value, other) {
        (_, Value::Absent) => return None,
        (Value::Number(one), Value::Number(other)) => one == other,
        (Value::Flag(one), Value::Flag(other)) => one == other,
        (value, other) => value.any_text(|one| other.any_text(|text| text == one)),
    })
}

fn test(
    source: &Source<'_>,
    unit: Unit,
    word: &Spanned<DeString<'_>>,
    value: &Entry<'_>,
) -> Result<Test, Complaint> {
    let compared = |comparison| Ok(Test::Compared(comparison, single(source, unit, value)?));
    match word.get_ref().as_ref() {
        "is" | "one_of" => Ok(Test::OneOf(operands(source, unit, value)?)),
        "not" | "none_of" => Ok(Test::NoneOf(operands(source, unit, value)?)),
        "above" => compared(Comparison::Above),
        "below" => compared(Comparison::Below),
        "at_least" => compared(Comparison::AtLeast),
        "at_most" => compared(Comparison::AtMost),
        "like" => forms(source, value),
        "known" => match value.get_ref() {
            DeValue::Boolean(known) => Ok(Test::Known(*known)),
            _ => Err(source.complaint(value.span(), "write `known = true` or `known = false`")),
        },
        other => Err(source.complaint(word.span(), unknown("test", other, TESTS.iter().copied()))),
    }
}

fn forms(source: &Source<'_>, value: &Entry<'_>) -> Result<Test, Complaint> {
    let form = |value: &Entry<'_>| match value.get_ref() {
        DeValue::String(text) => Ok(WildMatch::new(text)),
        _ => Err(source.complaint(value.span(), "a text with `*` and `?` is wanted here")),
    };
    match value.get_ref() {
        DeValue::Array(items) => Ok(Test::Like(items.iter().map(form).collect::<Result<_, _>>()?)),
        _ => Ok(Test::Like(vec![form(value)?])),
    }
}

fn operands(source: &Source<'_>, unit: Unit, value: &Entry<'_>) -> Result<Vec<Operand>, Complaint> {
    match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| single(source, unit, item)).collect(),
        _ => Ok(vec![single(source, unit, value)?]),
    }
}

fn single(source: &Source<'_>, unit: Unit, value: &Entry<'_>) -> Result<Operand, Complaint> {
    let complain = |span: Range<usize>, what: String| Err(source.complaint(span, what));
    let wrong = || complain(value.span(), "a text, a number, true or false is wanted here".to_owned());
    match value.get_ref() {
        DeValue::Boolean(flag) => Ok(Operand::Flag(*flag)),
        DeValue::Integer(number) => number.to_string().parse().map(Operand::Number).or_else(|_| wrong()),
        DeValue::Float(number) => number.to_string().parse().map(Operand::Number).or_else(|_| wrong()),
        DeValue::String(text) => match text.strip_prefix('$') {
            Some(name) => Field::named(name).map(Operand::Field).or_else(|what| complain(value.span(), what)),
            None if unit == Unit::Plain => Ok(Operand::Text(text.clone().into_owned())),
            None => unit.read(text).map(Operand::Number).or_else(|what| complain(value.span(), what)),
        },
        _ => wrong(),
    }
}
