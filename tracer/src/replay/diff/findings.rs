//! Findings of one capture that the other one has not. Pure.

use super::side::{AppKey, Peer};
use super::{Change, Details, Difference, FindingText, Names, Side, What};
use crate::judge::findings::Finding;
use crate::text::visible;

/// A finding, and what it is about.
struct About<'a> {
    finding: &'a Finding,
    app: Option<&'a AppKey>,
    peer: Option<Peer>,
    country: Option<&'static str>,
}

impl<'a> About<'a> {
    fn all(side: &Side<'a>) -> Vec<Self> {
        let noticed = side.findings.all().iter().filter(|finding| finding.count > 0);
        noticed
            .map(|finding| {
                let (app, row) = finding.booked.unzip();
                let row = row.and_then(|row| side.book.rows.get(&row)).map(|row| &row.key);
                Self {
                    finding,
                    app: app.and_then(|app| side.book.apps.get(&app)).map(|app| &app.key),
                    peer: row.map(Peer::of),
                    country: row.and_then(|row| row.country),
                }
            })
            .collect()
    }

    /// On another device the same app has another uid, which many keys are made of.
    fn is_same_elsewhere(&self, other: &About<'_>) -> bool {
        let same_app = |one: &AppKey, other: &AppKey| {
            one.name == other.name && one.is_package == other.is_package && !one.name.is_empty()
        };
        self.finding.rule == other.finding.rule
            && self.app.zip(other.app).is_some_and(|(one, other)| same_app(one, other))
            && self.peer == other.peer
            && self.country == other.country
    }

    fn difference(&self, change: Change, details: Details, names: &Names<'_>) -> Difference {
        let Finding { rule, key, severity, reason, expected_if, .. } = self.finding;
        Difference {
            what: What::Finding {
                rule: rule.to_string(),
                key: key.to_string(),
                app: self.app.map(|app| names.app(app)),
                severity: *severity,
                reason: visible(reason).into_owned(),
                expected_if: expected_if.as_deref().map(|text| visible(text).into_owned()),
            },
            change,
            details,
        }
    }
}

/// New ones first, the most severe ones of these first.
pub(super) fn differences(before: &Side<'_>, after: &Side<'_>, names: &Names<'_>) -> Vec<Difference> {
    let mut gone = About::all(before);
    let mut new = About::all(after);
    let mut all = Vec::new();
    for is_same in [
        |one: &About<'_>, other: &About<'_>| one.finding.key == other.finding.key,
        |one: &About<'_>, other: &About<'_>| one.is_same_elsewhere(other),
    ] {
        new.retain(|about| {
            let Some(found) = gone.iter().position(|other| is_same(about, other)) else { return true };
            let other = gone.swap_remove(found);
            if has_changed(other.finding, about.finding) {
                let before = FindingText {
                    severity: other.finding.severity,
                    reason: visible(&other.finding.reason).into_owned(),
                };
                all.push(about.difference(Change::Changed, Details::Finding { before }, names));
            }
            false
        });
    }
    all.extend(new.iter().map(|about| about.difference(Change::New, Details::Nothing {}, names)));
    all.extend(gone.iter().map(|about| about.difference(Change::Gone, Details::Nothing {}, names)));
    all.sort_by(|one, other| order(one).cmp(&order(other)));
    all
}

fn has_changed(before: &Finding, after: &Finding) -> bool {
    before.severity != after.severity || before.changing != after.changing
}

fn order(
    difference: &Difference,
) -> (Change, std::cmp::Reverse<Option<crate::record::Severity>>, &str, &str) {
    let (severity, rule, key) = match &difference.what {
        What::Finding { severity, rule, key, .. } => (Some(*severity), rule.as_str(), key.as_str()),
        _ => (None, "", ""),
    };
    (difference.change, std::cmp::Reverse(severity), rule, key)
}
