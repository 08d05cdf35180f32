//! Rules: what is worth a word, why, and what would make it expected. Read from TOML, asked about every record. Pure.
//!
//! A rule holds when all conditions in `when` hold, at least one table in `any` (if there is one), and no table in `unless`.
//! docs/rules.md explains the form.

use std::fmt::Write;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::findings::hash_of_rule;
use super::toml_input::{Complaint, Entry, Source};
use crate::hash::Fnv;
use crate::record::Severity;

mod condition;
mod facts;
pub mod field;
mod template;
pub mod value;

use condition::Condition;
use facts::Facts;
use field::{Case, Field};
use template::Template;

const FIELDS: &[&str] = &[
    "id",
    "about",
    "enabled",
    "severity",
    "when",
    "any",
    "unless",
    "key",
    "changes",
    "reason",
    "expected_if",
];

/// What tells findings apart for a rule that does not say so.
const USUAL_KEY: [&str; 6] = [
    "app.package",
    "process.executable",
    "user.id",
    "destination.service.id",
    "destination.registered_domain",
    "destination.as.number",
];
/// So many of these, the first ones, are the owner's.
const OWNER: usize = 3;
/// The sentence of a rule that has none.
const USUAL_REASON: &str = "{who}{origin} talks to {target}[ in {place}]";

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Stable name, for filters.
    pub id: Arc<str>,
    /// [`hash_of_rule`] of it.
    pub hash: u64,
    pub about: String,
    pub severity: Severity,
    is_enabled: bool,
    when: Vec<Condition>,
    any: Vec<Vec<Condition>>,
    unless: Vec<Vec<Condition>>,
    /// Findings that say the same in these fields are one finding.
    key: Vec<Field>,
    /// These begin with the owner's.
    is_key_of_owner: bool,
    /// When a finding says something else in one of these, it is news.
    changes: Vec<Field>,
    reason: Template,
    expected_if: Template,
}

/// All rules in force.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// What each of them cannot hold without.
    needs: Vec<Facts>,
}

impl Rules {
    /// Those that come with the program.
    #[must_use]
    pub fn built_in() -> Self {
        let mut rules = Self::default();
        // A test proves that there is nothing to complain about.
        let _ = rules.load(&Source::new("rules.toml", include_str!("../../../../data/rules.toml")));
        rules
    }

    /// Adds the rules of a file; what it says of a known one replaces what was said there.
    ///
    /// # Errors
    /// Everything that is wrong. Nothing of the file is used then: a rule that is left out in silence would look like a
    /// clean device.
    pub fn load(&mut self, source: &Source<'_>) -> Result<(), Vec<Complaint>> {
        let (entries, mut complaints) = source.entries("rule", &[]);
        let mut rules = self.rules.clone();
        for (source, entry) in entries {
            if let Err(complaint) = take(&mut rules, &source, &entry) {
                complaints.push(complaint);
            }
        }
        if !complaints.is_empty() {
            return Err(complaints);
        }
        self.needs = rules.iter().map(|rule| Facts::needed(&rule.when, &rule.any)).collect();
        self.rules = rules;
        Ok(())
    }

    /// Those that hold in this case.
    pub fn that_hold<'r>(&'r self, case: &'r Case<'_>) -> impl Iterator<Item = (u16, &'r Rule)> {
        let facts = Facts::of(case);
        (0..).zip(&self.needs).zip(&self.rules).filter_map(move |((number, &needs), rule)| {
            let may_hold = facts.contains(needs);
            debug_assert!(may_hold || !rule.holds(case), "{} holds without {:?}", rule.id, needs - facts);
            (may_hold && rule.holds(case)).then_some((number, rule))
        })
    }

    /// What a rule is about, for a person.
    #[must_use]
    pub fn about(&self, id: &str) -> &str {
        self.rules.iter().find(|rule| &*rule.id == id).map_or("", |rule| &rule.about)
    }

    /// The number of a rule, as [`Rules::that_hold`] gives it; of this set only.
    #[must_use]
    pub fn number(&self, id: &str) -> Option<u16> {
        self.rules.iter().position(|rule| &*rule.id == id).and_then(|number| u16::try_from(number).ok())
    }

    /// The id of the rule with this number.
    #[must_use]
    pub fn id(&self, number: u16) -> Option<&str> {
        self.rules.get(usize::from(number)).map(|rule| &*rule.id)
    }

    #[must_use]
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// Names of the fields that tell findings of a rule apart.
    pub fn key_of(&self, id: &str) -> impl Iterator<Item = &str> {
        let rule = self.rules.iter().find(|rule| &*rule.id == id);
        rule.into_iter().flat_map(|rule| &rule.key).map(Field::name)
    }

    /// How many are in force.
    #[must_use]
    pub fn enabled(&self) -> usize {
        self.rules.iter().filter(|rule| rule.is_enabled).count()
    }
}

impl Rule {
    fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            hash: hash_of_rule(id),
            about: String::new(),
            severity: Severity::Info,
            is_enabled: true,
            when: Vec::new(),
            any: Vec::new(),
            unless: Vec::new(),
            key: USUAL_KEY.iter().filter_map(|name| Field::named(name).ok()).collect(),
            is_key_of_owner: true,
            changes: Vec::new(),
            reason: Template::read(USUAL_REASON).unwrap_or_default(),
            expected_if: Template::default(),
        }
    }

    fn holds(&self, case: &Case<'_>) -> bool {
        let all = |conditions: &[Condition]| conditions.iter().all(|condition| condition.is_met(case));
        self.is_enabled
            && all(&self.when)
            && (self.any.is_empty() || self.any.iter().any(|conditions| all(conditions)))
            && !self.unless.iter().any(|conditions| all(conditions))
    }

    /// The sentence about this case.
    #[must_use]
    pub fn reason(&self, case: &Case<'_>) -> String {
        self.reason.fill(case)
    }

    /// What would make it expected.
    #[must_use]
    pub fn expected_if(&self, case: &Case<'_>) -> String {
        self.expected_if.fill(case)
    }

    /// Hash of what tells findings of this rule apart.
    #[must_use]
    pub fn key(&self, case: &Case<'_>) -> Fnv {
        let begin = self.key.split_at_checked(OWNER).filter(|_| self.is_key_of_owner);
        let Some((owner, rest)) = begin else { return tell(&self.key, case, Fnv::new(), 0) };
        let hash = *case.seen.who.derived.key_begins.get_or_init(|| tell(owner, case, Fnv::new(), 0));
        tell(rest, case, hash, OWNER)
    }

    /// What makes a finding news when it changes.
    #[must_use]
    pub fn changing(&self, case: &Case<'_>) -> String {
        tell(&self.changes, case, String::new(), 0)
    }
}

fn is_owner(fields: &[Field]) -> bool {
    fields.iter().map(Field::name).eq(USUAL_KEY.into_iter().take(OWNER))
}

/// What fields say, one behind the other, behind what so many others said.
fn tell<W: Write>(fields: &[Field], case: &Case<'_>, mut out: W, others: usize) -> W {
    for (number, field) in (others..).zip(fields) {
        if number > 0 {
            // Neither texts nor hashes refuse anything.
            let _ = out.write_str("\u{1f}");
        }
        field.of(case).show(value::Unit::Plain, &mut out);
    }
    out
}

/// Puts a rule into its place: what an entry does not say stays as it was.
fn take(rules: &mut Vec<Rule>, source: &Source<'_>, entry: &Entry<'_>) -> Result<(), Complaint> {
    source.check_fields(entry, FIELDS)?;
    let table =
        entry.get_ref().as_table().ok_or_else(|| source.complaint(entry.span(), "a table is wanted"))?;
    let id =
        text(source, table, "id")?.ok_or_else(|| source.complaint(entry.span(), "a rule without `id`"))?;
    let known = rules.iter().position(|rule| *rule.id == *id);
    let mut rule = known.map_or_else(|| Rule::new(&id), |at| rules[at].clone());
    fill(&mut rule, source, table)?;
    if rule.when.is_empty() && rule.any.is_empty() {
        return Err(
            source.complaint(entry.span(), format!("rule `{id}` has no condition in `when` or `any`"))
        );
    }
    match known {
        Some(at) => rules[at] = rule,
        None => rules.push(rule),
    }
    Ok(())
}

fn fill(rule: &mut Rule, source: &Source<'_>, table: &DeTable<'_>) -> Result<(), Complaint> {
    if let Some(about) = text(source, table, "about")? {
        rule.about = about;
    }
    if let Some(value) = table.get("enabled") {
        rule.is_enabled = value
            .get_ref()
            .as_bool()
            .ok_or_else(|| source.complaint(value.span(), "write `enabled = true` or `enabled = false`"))?;
    }
    if let Some(value) = table.get("severity") {
        rule.severity = source.value("severity", value)?;
    }
    if let Some(value) = table.get("when") {
        rule.when = conditions(source, value)?;
    }
    for (name, tables) in [("any", &mut rule.any), ("unless", &mut rule.unless)] {
        if let Some(value) = table.get(name) {
            let items = value
                .get_ref()
                .as_array()
                .ok_or_else(|| source.complaint(value.span(), format!("write `{name} = [{{ … }}, …]`")))?;
            *tables = items.iter().map(|item| conditions(source, item)).collect::<Result<_, _>>()?;
        }
    }
    for (name, fields) in [("key", &mut rule.key), ("changes", &mut rule.changes)] {
        if let Some(value) = table.get(name) {
            *fields = names(source, value)?;
        }
    }
    rule.is_key_of_owner = rule.key.get(..OWNER).is_some_and(is_owner);
    for (name, template) in [("reason", &mut rule.reason), ("expected_if", &mut rule.expected_if)] {
        if let Some(sentence) = text(source, table, name)? {
            let span = table.get(name).map(toml::Spanned::span).unwrap_or_default();
            *template = Template::read(&sentence).map_err(|what| source.complaint(span, what))?;
        }
    }
    Ok(())
}

fn text(source: &Source<'_>, table: &DeTable<'_>, name: &str) -> Result<Option<String>, Complaint> {
    let Some(value) = table.get(name) else { return Ok(None) };
    match value.get_ref() {
        DeValue::String(text) => Ok(Some(text.clone().into_owned())),
        _ => Err(source.complaint(value.span(), format!("`{name}` wants a text"))),
    }
}

fn conditions(source: &Source<'_>, value: &Entry<'_>) -> Result<Vec<Condition>, Complaint> {
    let table = value.get_ref().as_table().ok_or_else(|| {
        source.complaint(value.span(), "a table of fields and what they must say is wanted here")
    })?;
    let mut all = Vec::new();
    for (name, value) in table {
        all.extend(Condition::read(source, name, value)?);
    }
    // All must be met, in whatever order: what is at hand is looked at first.
    all.sort_by_key(Condition::cost);
    Ok(all)
}

fn names(source: &Source<'_>, value: &Entry<'_>) -> Result<Vec<Field>, Complaint> {
    let items = value
        .get_ref()
        .as_array()
        .ok_or_else(|| source.complaint(value.span(), "a list of fields is wanted here"))?;
    let mut fields = Vec::new();
    for item in items.iter() {
        let field = item.get_ref().as_str().ok_or_else(|| "the name of a field is wanted here".to_owned());
        fields.push(field.and_then(Field::named).map_err(|what| source.complaint(item.span(), what))?);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;
