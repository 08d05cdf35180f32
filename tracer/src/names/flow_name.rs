//! The name of one connection: the best candidate, where it comes from, and the others.

use std::sync::Arc;
use std::time::Duration;

use super::cache::Named;
use crate::record::{NameCandidate, NameSource};
use crate::redact::Redactor;

/// Other names that are kept.
const MOST_CANDIDATES: usize = 8;

/// The name of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowName {
    pub domain: Arc<str>,
    /// What somebody registered, by the Public Suffix List.
    pub registered: Option<Arc<str>>,
    pub source: NameSource,
    /// From the answer to the connection.
    pub age: Option<Duration>,
    pub ambiguous: bool,
    pub candidates: Vec<NameCandidate>,
}

impl FlowName {
    /// From what resolvers were asked.
    #[must_use]
    pub fn found(named: Named) -> Self {
        let mut candidates = named.others;
        candidates.truncate(MOST_CANDIDATES);
        Self {
            registered: registered_domain(&named.name).map(Into::into),
            domain: named.name,
            source: named.source,
            age: Some(named.age),
            ambiguous: named.is_ambiguous,
            candidates,
        }
    }

    /// A copy in which no name can be read.
    #[must_use]
    pub fn redacted(&self, redactor: &Redactor) -> Self {
        let hashed = |name: &str| -> Arc<str> { redactor.name(name).into() };
        let candidate = |candidate: &NameCandidate| NameCandidate {
            domain: hashed(&candidate.domain),
            source: candidate.source,
        };
        Self {
            domain: hashed(&self.domain),
            registered: self.registered.as_deref().map(hashed),
            candidates: self.candidates.iter().map(candidate).collect(),
            ..self.clone()
        }
    }

    /// From the connection's own first bytes. What was found before stays as a candidate; `is_hidden`: these bytes may name
    /// only the front of who is meant.
    #[must_use]
    pub fn told(name: &str, source: NameSource, is_hidden: bool, before: Option<&Self>) -> Self {
        let mut candidates = Vec::new();
        if let Some(before) = before {
            candidates.push(NameCandidate { domain: Arc::clone(&before.domain), source: before.source });
            candidates.extend(before.candidates.iter().cloned());
        }
        let is_own = |candidate: &NameCandidate| candidate.source < NameSource::ResolverNext;
        candidates.retain(|candidate| *candidate.domain != *name);
        candidates.truncate(MOST_CANDIDATES);
        Self {
            domain: name.into(),
            registered: registered_domain(name).map(Into::into),
            source,
            age: None,
            ambiguous: is_hidden && candidates.iter().any(is_own),
            candidates,
        }
    }
}

/// What somebody registered: the public suffix and one label more. `None` for a public suffix itself.
#[must_use]
pub fn registered_domain(name: &str) -> Option<&str> {
    psl::domain_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> FlowName {
        FlowName::found(Named {
            name: name.into(),
            source: NameSource::Dns,
            age: Duration::from_millis(5),
            is_ambiguous: false,
            others: Vec::new(),
        })
    }

    #[test]
    fn the_registered_domain_follows_the_public_suffix_list() {
        assert_eq!(registered_domain("a.b.example.co.uk"), Some("example.co.uk"));
        assert_eq!(registered_domain("sa3.tuisong.baidu.com"), Some("baidu.com"));
        assert_eq!(registered_domain("user.github.io"), Some("user.github.io"));
        assert_eq!(registered_domain("co.uk"), None);
    }

    #[test]
    fn what_the_connection_says_wins_and_the_rest_stays_a_candidate() {
        let before = found("dns.example");
        let same = FlowName::told("dns.example", NameSource::Sni, true, Some(&before));
        assert_eq!((same.ambiguous, same.candidates.len(), same.age), (false, 0, None));
        let other = FlowName::told("sni.example", NameSource::Sni, false, Some(&before));
        assert_eq!((&*other.domain, other.ambiguous), ("sni.example", false));
        assert_eq!(&*other.candidates[0].domain, "dns.example");
    }

    #[test]
    fn a_front_that_may_hide_another_name_is_ambiguous() {
        let name = FlowName::told("front.example", NameSource::Sni, true, Some(&found("hidden.example")));
        assert!(name.ambiguous);
    }
}
