//! Shares the rendered owner between connections: most connections of a process say the same.

use std::sync::Arc;

use lru::LruCache;
use tracer_ebpf::abi::Identity;

use crate::clock::Clock;
use crate::enrich::Enricher;
use crate::enrich::process::Process;
use crate::enrich::tags::Tag;
use crate::event::Candidate;
use crate::flow::Flow;
use crate::record::{Method, OwnerSource, ProcessSource, WhoText};

/// Owners remembered; some 600 bytes each.
const CAPACITY: usize = 1024;

/// Everything that [`WhoText`] is made from, but the tables.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    identity: Option<Identity>,
    candidates: Option<Arc<[Candidate]>>,
    owner: Option<u32>,
    owner_source: Option<OwnerSource>,
    process_source: Option<ProcessSource>,
    method: Method,
    tag: Option<Tag>,
}

struct Entry {
    /// The very process that was rendered: the process table makes a new one when it learns more.
    process: Option<Arc<Process>>,
    text: Arc<WhoText>,
}

/// Rendered owners, the least recently used one given up first.
pub struct WhoCache {
    entries: LruCache<Key, Entry>,
}

impl Default for WhoCache {
    fn default() -> Self {
        Self { entries: LruCache::unbounded() }
    }
}

impl WhoCache {
    /// The rendered owner of `flow`.
    pub fn of(&mut self, flow: &Flow, clock: Clock, enricher: &Enricher) -> Arc<WhoText> {
        let key = Key {
            identity: flow.identity,
            candidates: flow.candidates.clone(),
            owner: flow.owner,
            owner_source: flow.owner_source,
            process_source: flow.process_source,
            method: flow.method,
            tag: flow.tag,
        };
        let same = |one: &Option<Arc<Process>>| match (one, &flow.process) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if let Some(entry) = self.entries.get(&key).filter(|entry| same(&entry.process)) {
            return Arc::clone(&entry.text);
        }
        let text = Arc::new(WhoText::of(flow, clock, enricher));
        self.entries.put(key, Entry { process: flow.process.clone(), text: Arc::clone(&text) });
        if self.entries.len() > CAPACITY {
            self.entries.pop_lru();
        }
        text
    }

    /// Forgets everything: the tables behind it were read again.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
