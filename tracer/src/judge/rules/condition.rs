//! One condition of a rule: a field, and what it must say. What is not known meets no condition but `known = false`: a
//! finding never rests on what was not seen.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeValue};
use wildmatch::WildMatch;

use super::facts::Facts;
use super::field::{Case, Field, Of};
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

    /// What it takes to look at it, compared with others.
    #[must_use]
    pub fn cost(&self) -> u8 {
        self.field.cost()
    }

    /// What must be the case for it to be met.
    #[must_use]
    pub fn needs(&self) -> Facts {
        let known = |field: &Field| Facts::of_known(field.at_hand());
        let field = known(&self.field);
        match &self.test {
            Test::Known(false) => Facts::of_unknown(self.field.at_hand()),
            Test::OneOf(operands) => match operands.as_slice() {
                [Operand::Flag(true)] => field | Facts::of_true(self.field.at_hand()),
                [Operand::Field(only)] => field | known(only),
                _ => field,
            },
            Test::NoneOf(operands) => {
                operands.iter().filter_map(Operand::field).map(known).fold(field, Facts::union)
            }
            Test::Compared(_, operand) => operand.field().map(known).map_or(field, |operand| field | operand),
            Test::Like(_) | Test::Known(true) => field,
        }
    }

    /// Whether it is met.
    #[must_use]
    pub fn is_met(&self, case: &Case<'_>) -> bool {
        // The same for each kind of value; most are asked for without making more of them than they are.
        match self.field.reader() {
            Some(Of::Text(of)) => self.test.is_passed(of(case), case),
            Some(Of::Number(of)) => self.test.is_passed(of(case), case),
            Some(Of::Flag(of)) => self.test.is_passed(of(case), case),
            Some(Of::Value(_)) | None => {
                self.test.is_passed(Some(self.field.of(case)).filter(Value::is_known), case)
            }
        }
    }
}

/// What a field says.
trait Said {
    /// Whether the operand is it, or one of several; `None`: the operand is not known.
    fn is(&self, operand: &Operand, case: &Case<'_>) -> Option<bool>;
    fn number(&self) -> Option<f64> {
        None
    }
    fn is_like(&self, _: &[WildMatch]) -> bool {
        false
    }
}

impl Said for &str {
    fn is(&self, operand: &Operand, case: &Case<'_>) -> Option<bool> {
        match operand {
            Operand::Text(text) => Some(text == self),
            Operand::Number(_) | Operand::Flag(_) => Some(false),
            Operand::Field(field) => match field.of(case) {
                Value::Absent => None,
                value => Some(value.any_text(|text| text == *self)),
            },
        }
    }
    fn is_like(&self, forms: &[WildMatch]) -> bool {
        forms.iter().any(|form| form.matches(self))
    }
}

impl Said for f64 {
    fn is(&self, operand: &Operand, case: &Case<'_>) -> Option<bool> {
        match operand {
            Operand::Number(number) => Some(number == self),
            Operand::Text(_) | Operand::Flag(_) => Some(false),
            Operand::Field(field) => match field.of(case) {
                Value::Absent => None,
                value => Some(matches!(value, Value::Number(number) if number == *self)),
            },
        }
    }
    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl Said for bool {
    fn is(&self, operand: &Operand, case: &Case<'_>) -> Option<bool> {
        match operand {
            Operand::Flag(flag) => Some(flag == self),
            Operand::Text(_) | Operand::Number(_) => Some(false),
            Operand::Field(field) => match field.of(case) {
                Value::Absent => None,
                value => Some(matches!(value, Value::Flag(flag) if flag == *self)),
            },
        }
    }
}

impl Said for Value<'_> {
    fn is(&self, operand: &Operand, case: &Case<'_>) -> Option<bool> {
        match operand {
            Operand::Text(text) => Some(self.any_text(|one| one == text)),
            Operand::Number(number) => Some(matches!(self, Value::Number(one) if one == number)),
            Operand::Flag(flag) => Some(matches!(self, Value::Flag(one) if one == flag)),
            Operand::Field(field) => match (self, field.of(case)) {
                (_, Value::Absent) => None,
                (Value::Number(one), Value::Number(other)) => Some(*one == other),
                (Value::Flag(one), Value::Flag(other)) => Some(*one == other),
                (value, other) => Some(value.any_text(|one| other.any_text(|text| text == one))),
            },
        }
    }
    fn number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }
    fn is_like(&self, forms: &[WildMatch]) -> bool {
        self.any_text(|text| forms.iter().any(|form| form.matches(text)))
    }
}

impl Test {
    /// Whether what a field says passes; `None`: it is not known.
    fn is_passed(&self, said: Option<impl Said>, case: &Case<'_>) -> bool {
        let said = match (self, said) {
            (Self::Known(wanted), said) => return said.is_some() == *wanted,
            (_, None) => return false,
            (_, Some(said)) => said,
        };
        match self {
            Self::Known(_) => false,
            Self::OneOf(operands) => operands.iter().any(|operand| said.is(operand, case) == Some(true)),
            // An operand that is not known proves nothing.
            Self::NoneOf(operands) => operands.iter().all(|operand| said.is(operand, case) == Some(false)),
            Self::Compared(comparison, operand) => said
                .number()
                .zip(operand.number(case))
                .is_some_and(|(number, operand)| comparison.holds(number, operand)),
            Self::Like(forms) => said.is_like(forms),
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
    fn field(&self) -> Option<&Field> {
        match self {
            Self::Field(field) => Some(field),
            Self::Text(_) | Self::Number(_) | Self::Flag(_) => None,
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
