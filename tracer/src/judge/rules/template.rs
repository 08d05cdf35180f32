//! Sentences with values filled in: `{field}` is what the field says, `[…]` is left out when a field in it is not known.

use super::field::{Case, Field};

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

/// Bytes of most sentences: room that need not grow.
const USUAL: usize = 192;

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
        let mut out = String::with_capacity(USUAL);
        for part in &self.parts {
            if !part.fill(case, &mut out) {
                out.push_str("unknown");
            }
        }
        out
    }
}

impl Part {
    /// `false`: it is not known.
    fn fill(&self, case: &Case<'_>, out: &mut String) -> bool {
        match self {
            Self::Text(text) => {
                out.push_str(text);
                true
            }
            Self::Field(field) => field.of(case).show(field.unit(), out),
            Self::Optional(parts) => {
                let before = out.len();
                if !parts.iter().all(|part| part.fill(case, out)) {
                    out.truncate(before);
                }
                true
            }
        }
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
