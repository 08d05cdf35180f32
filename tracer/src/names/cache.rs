//! Which names an address was given to, by whom they were asked for, and until when. Pure: time comes with the calls.
//!
//! The same address serves many names, and the same name is asked for by many apps. So an address has candidates, each
//! with the app that asked; the one that is taken for a connection is the one its own process asked for, else its own
//! app, else another one, and it says so.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use crate::clock::BootTime;
use crate::record::{NameCandidate, NameSource};

/// Addresses that are kept; the one that was of no use for the longest time makes room.
pub const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Names of one address that are kept; the one that was learnt first makes room.
const MOST_NAMES: usize = 16;
/// Answers live at least so long: apps use an address for some time, whatever the server says.
const SHORTEST: Duration = Duration::from_secs(60);
/// Answers live at most so long.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long after a request whose answer is not seen the next connections of an app are taken for its use.
const WAITING: Duration = Duration::from_secs(5);
/// Requests without an answer that are kept.
const MOST_WAITING: usize = 1024;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Where it is known.
    pub uid: Option<u32>,
    /// Where it is known.
    pub pid: Option<u32>,
    /// Its network namespace, where it is known: the same address may be another machine elsewhere.
    pub netns: Option<u32>,
}

impl Asker {
    fn is_process_of(&self, other: &Self) -> bool {
        self.uid.is_some() && self.uid == other.uid && self.pid.is_some() && self.pid == other.pid
    }

    fn is_in_network_of(&self, other: &Self) -> bool {
        self.netns.zip(other.netns).is_none_or(|(one, other)| one == other)
    }
}

/// How an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Dns,
    Mdns,
    /// The system's resolver.
    Resolver,
}

/// The name of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Arc<str>,
    pub source: NameSource,
    /// Since the answer, or the request.
    pub age: Duration,
    /// Another name is as likely.
    pub is_ambiguous: bool,
    /// Other names.
    pub others: Vec<NameCandidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    name: Arc<str>,
    by: Asker,
    via: Via,
    learnt: BootTime,
    /// By the answer itself.
    outdated: BootTime,
    /// When it is given up.
    expires: BootTime,
}

impl Candidate {
    fn source(&self, is_own: bool) -> NameSource {
        match self.via {
            Via::Mdns => NameSource::Mdns,
            _ if !is_own => NameSource::OtherDns,
            Via::Dns => NameSource::Dns,
            Via::Resolver => NameSource::Resolver,
        }
    }
}

/// A request whose answer is not seen.
#[derive(Clone, Debug)]
struct Waiting {
    name: Arc<str>,
    by: Asker,
    asked: BootTime,
}

/// Names by address.
pub struct Names {
    by_address: LruCache<IpAddr, Vec<Candidate>>,
    waiting: Vec<Waiting>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl Names {
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self { by_address: LruCache::new(capacity), waiting: Vec::new() }
    }

    /// Takes in an answer that this app got: addresses, each with the seconds that it lives.
    pub fn learn(
        &mut self,
        by: Asker,
        via: Via,
        name: &str,
        addresses: impl IntoIterator<Item = (IpAddr, u32)>,
        at: BootTime,
    ) {
        let name: Arc<str> = name.into();
        for (address, seconds) in addresses {
            let lifetime = Duration::from_secs(seconds.into());
            let candidate = Candidate {
                name: Arc::clone(&name),
                by,
                via,
                learnt: at,
                outdated: at.after(lifetime),
                expires: at.after(lifetime.clamp(SHORTEST, LONGEST)),
            };
            let known = self.by_address.get_or_insert_mut(address.to_canonical(), Vec::new);
            known.retain(|old| {
                !(old.name == candidate.name && old.by == by && old.via == via) && old.expires > at
            });
            if known.len() >= MOST_NAMES {
                known.remove(0);
            }
            known.push(candidate);
        }
        self.waiting.retain(|waiting| waiting.by.uid != by.uid || waiting.name != name);
    }

    /// Takes in a request of an app whose answer will not be seen.
    pub fn wait(&mut self, by: Asker, name: &str, at: BootTime) {
        self.waiting.retain(|waiting| at.since(waiting.asked) < WAITING);
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.remove(0);
        }
        self.waiting.push(Waiting { name: name.into(), by, asked: at });
    }

    /// The best name for a connection that this app makes to this address now.
    pub fn find(&mut self, by: Asker, address: IpAddr, at: BootTime) -> Option<Named> {
        let address = address.to_canonical();
        self.by_address.promote(&address);
        let known = self.by_address.peek(&address).map_or(&[][..], Vec::as_slice);
        let is_alive = |candidate: &&Candidate| {
            let is_meant = candidate.by.is_in_network_of(&by) || candidate.by.is_process_of(&by);
            is_meant && candidate.expires > at && candidate.learnt <= at
        };
        let is_own = |candidate: &Candidate| {
            by.uid.is_some() && candidate.by.uid == by.uid && candidate.via != Via::Mdns
        };
        let is_own_process = |candidate: &Candidate| is_own(candidate) && candidate.by.is_process_of(&by);
        let mut all: Vec<_> = known.iter().filter(is_alive).collect();
        // The app's own first, of these the process' own, and of these the latest.
        all.sort_by_key(|candidate| {
            (!is_own(candidate), !is_own_process(candidate), std::cmp::Reverse(candidate.learnt))
        });
        let best = all
            .first()
            .copied()
            .filter(|best| is_own(best))
            .or_else(|| self.is_waited_for(by, at).is_none().then(|| all.first().copied()).flatten());
        let Some(best) = best else { return self.waited_for(by, at) };
        let rank = |candidate: &Candidate| (is_own(candidate), is_own_process(candidate));
        let mut others: Vec<NameCandidate> = Vec::new();
        let mut is_ambiguous = false;
        for candidate in all {
            let is_known = |other: &NameCandidate| other.domain == candidate.name;
            // What its own answer calls outdated stands for nothing once there is something newer.
            if candidate.name == best.name || candidate.outdated <= at || others.iter().any(is_known) {
                continue;
            }
            is_ambiguous |= rank(candidate) == rank(best);
            let domain = Arc::clone(&candidate.name);
            others.push(NameCandidate { domain, source: candidate.source(is_own(candidate)) });
        }
        Some(Named {
            name: Arc::clone(&best.name),
            source: best.source(is_own(best)),
            age: at.since(best.learnt),
            is_ambiguous,
            others,
        })
    }

    fn is_waited_for(&self, by: Asker, at: BootTime) -> Option<&Waiting> {
        let is_meant = |waiting: &&Waiting| {
            by.uid.is_some()
                && waiting.by.uid == by.uid
                && waiting.asked <= at
                && at.since(waiting.asked) < WAITING
        };
        self.waiting.iter().rev().find(is_meant)
    }

    /// A guess, so never without a doubt.
    fn waited_for(&self, by: Asker, at: BootTime) -> Option<Named> {
        let latest = self.is_waited_for(by, at)?;
        Some(Named {
            name: Arc::clone(&latest.name),
            source: NameSource::ResolverNext,
            age: at.since(latest.asked),
            is_ambiguous: true,
            others: Vec::new(),
        })
    }

    /// Addresses with a name.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURL: Asker = Asker { uid: Some(10123), pid: Some(7), netns: Some(1) };
    const OTHER: Asker = Asker { uid: Some(10140), pid: Some(8), netns: Some(1) };

    fn seconds(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000_000)
    }

    impl Names {
        fn learn_one(&mut self, by: Asker, (name, ip, ttl): (&str, &str, u32), at: BootTime) {
            self.learn(by, Via::Dns, name, [(ip.parse().unwrap(), ttl)], at);
        }
    }

    fn found(names: &mut Names, by: Asker, ip: &str, at: u64) -> Option<(String, NameSource, bool)> {
        let named = names.find(by, ip.parse().unwrap(), seconds(at))?;
        Some((named.name.to_string(), named.source, named.is_ambiguous))
    }

    #[test]
    fn two_apps_that_ask_for_different_names_on_one_address_each_get_their_own() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        names.learn_one(CURL, ("a.example", "192.0.2.1", 300), seconds(10));
        names.learn_one(OTHER, ("b.example", "192.0.2.1", 300), seconds(11));
        assert_eq!(
            found(&mut names, CURL, "192.0.2.1", 12),
            Some(("a.example".into(), NameSource::Dns, false))
        );
        assert_eq!(
            found(&mut names, OTHER, "::ffff:192.0.2.1", 12),
            Some(("b.example".into(), NameSource::Dns, false))
        );
        let other = names.find(CURL, "192.0.2.1".parse().unwrap(), seconds(12)).unwrap().others;
        assert_eq!(other, [NameCandidate { domain: "b.example".into(), source: NameSource::OtherDns }]);
        let third = Asker { uid: Some(1), pid: None, netns: None };
        assert_eq!(
            found(&mut names, third, "192.0.2.1", 12),
            Some(("b.example".into(), NameSource::OtherDns, true))
        );
    }

    #[test]
    fn of_two_processes_of_one_user_each_gets_its_own() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        let second = Asker { pid: Some(9), ..CURL };
        names.learn_one(CURL, ("a.example", "192.0.2.1", 300), seconds(10));
        names.learn_one(second, ("b.example", "192.0.2.1", 300), seconds(11));
        assert_eq!(
            found(&mut names, CURL, "192.0.2.1", 12),
            Some(("a.example".into(), NameSource::Dns, false))
        );
        let child = Asker { pid: Some(10), ..CURL };
        assert_eq!(
            found(&mut names, child, "192.0.2.1", 12),
            Some(("b.example".into(), NameSource::Dns, true))
        );
    }

    #[test]
    fn in_another_network_the_same_address_is_another_machine() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        names.learn_one(CURL, ("a.example", "192.0.2.1", 300), seconds(10));
        let elsewhere = Asker { netns: Some(2), ..OTHER };
        assert_eq!(found(&mut names, elsewhere, "192.0.2.1", 11), None);
        let moved = Asker { netns: Some(2), ..CURL };
        assert!(found(&mut names, moved, "192.0.2.1", 11).is_some(), "the process itself asked");
    }

    #[test]
    fn an_answer_lives_as_long_as_it_says_but_a_minute_at_least() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        names.learn_one(CURL, ("short.example", "192.0.2.1", 0), seconds(10));
        names.learn_one(CURL, ("long.example", "192.0.2.2", 100), seconds(10));
        assert!(found(&mut names, CURL, "192.0.2.1", 69).is_some());
        assert_eq!(found(&mut names, CURL, "192.0.2.1", 70), None);
        assert!(found(&mut names, CURL, "192.0.2.2", 109).is_some());
        assert_eq!(found(&mut names, CURL, "192.0.2.2", 110), None);
    }

    #[test]
    fn an_address_that_is_used_again_has_the_new_name() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        names.learn_one(CURL, ("old.example", "192.0.2.1", 60), seconds(10));
        names.learn_one(CURL, ("new.example", "192.0.2.1", 60), seconds(80));
        assert_eq!(
            found(&mut names, CURL, "192.0.2.1", 81),
            Some(("new.example".into(), NameSource::Dns, false))
        );
        // Before the first answer ends, both may be meant.
        names.learn_one(CURL, ("newer.example", "192.0.2.1", 60), seconds(90));
        assert_eq!(
            found(&mut names, CURL, "192.0.2.1", 91),
            Some(("newer.example".into(), NameSource::Dns, true))
        );
        assert_eq!(
            found(&mut names, CURL, "192.0.2.1", 141),
            Some(("newer.example".into(), NameSource::Dns, false)),
            "the other one is outdated by its own answer"
        );
    }

    #[test]
    fn what_a_machine_nearby_announces_is_marked_so_whoever_heard_it() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        names.learn(CURL, Via::Mdns, "printer.local", [("192.0.2.1".parse().unwrap(), 120)], seconds(10));
        for app in [CURL, OTHER] {
            assert_eq!(
                found(&mut names, app, "192.0.2.1", 11),
                Some(("printer.local".into(), NameSource::Mdns, false))
            );
        }
    }

    #[test]
    fn a_request_without_an_answer_names_what_its_app_connects_to_next() {
        let mut names = Names::new(DEFAULT_CAPACITY);
        names.learn_one(OTHER, ("b.example", "192.0.2.1", 300), seconds(9));
        names.wait(CURL, "push.example", seconds(10));
        assert_eq!(
            found(&mut names, CURL, "192.0.2.1", 11),
            Some(("push.example".into(), NameSource::ResolverNext, true))
        );
        assert_eq!(found(&mut names, OTHER, "192.0.2.9", 11), None);
        names.wait(CURL, "second.example", seconds(11));
        assert_eq!(
            found(&mut names, CURL, "192.0.2.9", 12),
            Some(("second.example".into(), NameSource::ResolverNext, true))
        );
        assert_eq!(found(&mut names, CURL, "192.0.2.9", 17), None, "too late");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut names = Names::new(NonZeroUsize::new(2).unwrap());
        for (index, ip) in ["192.0.2.1", "192.0.2.2", "192.0.2.3"].into_iter().enumerate() {
            names.learn_one(CURL, ("a.example", ip, 300), seconds(index as u64));
        }
        assert_eq!(names.len(), 2);
        for index in 0..100 {
            names.learn_one(CURL, (&format!("{index}.example"), "192.0.2.3", 300), seconds(10));
            names.wait(CURL, "x.example", seconds(10));
        }
        let named = names.find(CURL, "192.0.2.3".parse().unwrap(), seconds(11)).unwrap();
        assert_eq!(named.others.len(), MOST_NAMES - 1);
    }
}
