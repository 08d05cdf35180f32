//! Sentences with values filled in: `{field}` is what the field says, `[…]` is left out when a field in it is not known.

use super::field::{Case, Field};
use super::value::{Unit, Value};

/// A sentence of a rule.
#[derive(Clone, Debug, Default)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Field(Field),
    /// Left out as a whole.
    Optional(Vec<Part>),
}

impl Template {
    /// Reads a sentence.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let parts = parts(&mut rest, false)?;
        Ok(Self { parts })
    }

    /// The sentence about a case. A field that is not known, outside of `[…]`, reads as "unknown".
    #[must_use]
    pub fn fill(&self, case: &Case<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            part.fill(case, &mut out);
        }
        out
    }
}

impl Part {
    fn fill(&self, case: &Case<'_>, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Field(field) => match show(&field.of(case), field.unit()) {
                Some(text) => out.push_str(&text),
                None => out.push_str("unknown"),
            },
            Self::Optional(parts) => {
                let is_known = |part: &Self| part.fields().iter().all(|field| field.of(case).is_known());
                if parts.iter().all(is_known) {
                    parts.iter().for_each(|part| part.fill(case, out));
                }
            }
        }
    }

    fn fields(&self) -> Vec<&Field> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Field(field) => vec![field],
            Self::Optional(parts) => parts.iter().flat_map(Self::fields).collect(),
        }
    }
}

/// A value as a person reads it.
#[must_use]
pub fn show(value: &Value<'_>, unit: Unit) -> Option<String> {
    match value {
        Value::Absent => None,
        Value::Text(text) => Some(text.clone().into_owned()),
        Value::Number(number) => Some(unit.show(*number)),
        Value::Flag(flag) => Some(if *flag { "yes" } else { "no" }.to_owned()),
        Value::Texts(texts) => Some(texts.join(", ")),
    }
}

fn parts(rest: &mut &str, is_inner: bool) -> Result<Vec<Part>, String> {
    let mut found = Vec::new();
    loop {
        let at = rest.find(['{', '[', ']']).unwrap_or(rest.len());
        let (text, behind) = rest.split_at(at);
        if !text.is_empty() {
            found.push(Part::Text(text.to_owned()));
        }
        let mut signs = behind.chars();
        let sign = signs.next();
        *rest = signs.as_str();
        match sign {
            None if is_inner => return Err("a `[` without `]`".to_owned()),
            None => return Ok(found),
            Some('{') => {
                let (name, behind) = rest.split_once('}').ok_or("a `{` without `}`")?;
                found.push(Part::Field(Field::named(name)?));
                *rest = behind;
            }
            Some('[') if !is_inner => found.push(Part::Optional(parts(rest, true)?)),
            Some(']') if is_inner => return Ok(found),
            Some(sign) => return Err(format!("a `{sign}` that does not belong there")),
        }
    }
}
