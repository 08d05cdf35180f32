//! Conversations of apps with their system's resolver: a request, and an answer in pieces.

use std::net::IpAddr;

use lru::LruCache;

use super::dns::Dns;
use super::resolver::{self, Answer, Form};
use super::varlink;
use crate::clock::BootTime;

/// Conversations that are kept; the one that was silent longest makes room.
const MOST: usize = 1024;
/// Bytes of an answer that are kept.
const MOST_BYTES: usize = 4096;

/// A request, and who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<T> {
    pub name: String,
    /// DNS type, where the request names one.
    pub kind: Option<u16>,
    pub by: T,
    pub at: BootTime,
}

/// What came to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    pub asked: Asked<T>,
    /// Nothing: there is no such name, or it could not be asked for.
    pub addresses: Vec<(IpAddr, u32)>,
    /// Where a DNS message was asked for.
    pub message: Option<Dns>,
}

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Android(Form),
    Varlink,
}

struct Conversation<T> {
    asked: Asked<T>,
    language: Language,
    answer: Vec<u8>,
}

/// Conversations by their number.
pub struct Conversations<T> {
    open: LruCache<u64, Conversation<T>>,
}

impl<T> Default for Conversations<T> {
    fn default() -> Self {
        Self { open: LruCache::unbounded() }
    }
}

/// An answer of a resolver says nothing of how long it lives.
const SECONDS: u32 = 60;

impl<T> Conversations<T> {
    /// Takes what an app sent. Returns the name that it asks for.
    pub fn ask(&mut self, number: u64, is_varlink: bool, bytes: &[u8], by: T, at: BootTime) -> Option<&str> {
        let (name, kind, language) = if is_varlink {
            (varlink::request(bytes)?, None, Language::Varlink)
        } else {
            let request = resolver::request(bytes)?;
            (request.name, request.kind, Language::Android(request.form))
        };
        let asked = Asked { name, kind, by, at };
        self.open.put(number, Conversation { asked, language, answer: Vec::new() });
        if self.open.len() > MOST {
            self.open.pop_lru();
        }
        self.open.peek(&number).map(|conversation| conversation.asked.name.as_str())
    }

    /// Takes a piece of what the resolver sent.
    pub fn answer(&mut self, number: u64, bytes: &[u8]) -> Option<Answered<T>> {
        let conversation = self.open.get_mut(&number)?;
        let room = MOST_BYTES.saturating_sub(conversation.answer.len());
        conversation.answer.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let answer = match conversation.language {
            Language::Android(form) => resolver::answer(form, &conversation.answer),
            Language::Varlink => varlink::answer(&conversation.answer),
        };
        let (addresses, message) = match answer {
            Answer::Incomplete if conversation.answer.len() < MOST_BYTES => return None,
            Answer::Incomplete | Answer::None => (Vec::new(), None),
            Answer::Addresses(all) => (all.into_iter().map(|ip| (ip, SECONDS)).collect(), None),
            Answer::Message(dns) => (dns.lifetimes().collect(), Some(dns)),
        };
        let Conversation { asked, .. } = self.open.pop(&number)?;
        Some(Answered { asked, addresses, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"getaddrinfo a.example 443 0 0 1 0 0\0";

    #[test]
    fn an_answer_in_pieces_belongs_to_the_request_of_its_conversation() {
        let mut conversations = Conversations::default();
        assert_eq!(conversations.ask(1, false, REQUEST, "app", BootTime(5)), Some("a.example"));
        assert_eq!(
            conversations.ask(2, false, b"getaddrinfo b.example 0 0 0 0 0 0\0", "other", BootTime(6)),
            Some("b.example")
        );
        assert_eq!(conversations.answer(3, b"222\0"), None);
        assert_eq!(conversations.answer(1, b"222\0"), None);
        for piece in [&[0, 0, 0, 1][..], &[0; 4], &[0; 4], &[0; 4], &[0; 4], &[0, 0, 0, 16]] {
            assert_eq!(conversations.answer(1, piece), None);
        }
        assert_eq!(conversations.answer(1, &[2, 0, 1, 187, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(conversations.answer(1, &[0; 4]), None);
        let answered = conversations.answer(1, &[0; 4]).unwrap();
        assert_eq!((answered.asked.by, answered.asked.at), ("app", BootTime(5)));
        assert_eq!(answered.addresses, [("192.0.2.1".parse().unwrap(), SECONDS)]);
        assert_eq!(conversations.answer(1, &[0; 4]), None, "it is over");
    }

    #[test]
    fn a_refusal_and_an_endless_answer_have_no_addresses() {
        let mut conversations = Conversations::default();
        conversations.ask(1, false, REQUEST, (), BootTime(5));
        assert!(conversations.answer(1, b"401\0").unwrap().addresses.is_empty());
        conversations.ask(1, false, REQUEST, (), BootTime(5));
        conversations.answer(1, b"222\0\0\0\0\x01");
        let mut answered = None;
        for _ in 0..10 {
            answered = answered.or(conversations.answer(1, &[0x7f; 1024]));
        }
        assert!(answered.unwrap().addresses.is_empty());
    }
}
