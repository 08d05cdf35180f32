//! Questions that wait for their answers. Pure: time comes with the calls.

use std::time::Duration;

use lru::LruCache;

use super::dns::{Dns, Question};
use crate::clock::BootTime;

/// Questions that wait at the same time; the oldest makes room and counts as unanswered.
const MOST: usize = 4096;
/// How long an answer is waited for. Resolvers give up after some five seconds and ask again.
const PATIENCE: Duration = Duration::from_secs(30);

/// What tells an answer's question: the socket, and what both have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    socket: u64,
    id: u16,
    name: String,
    kind: u16,
}

/// A question, and who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<T> {
    pub question: Question,
    pub by: T,
    pub at: BootTime,
}

/// Questions without an answer, oldest first.
pub struct Questions<T> {
    waiting: LruCache<Key, Asked<T>>,
}

impl<T> Default for Questions<T> {
    fn default() -> Self {
        Self { waiting: LruCache::unbounded() }
    }
}

impl<T> Questions<T> {
    /// Keeps a question. Returns another one that had to make room. One that is asked again keeps its first time.
    pub fn ask(&mut self, socket: u64, message: &Dns, by: T, at: BootTime) -> Option<Asked<T>> {
        let key = key(socket, message);
        if self.waiting.contains(&key) {
            return None;
        }
        self.waiting.put(key, Asked { question: message.question.clone(), by, at });
        if self.waiting.len() > MOST { self.waiting.pop_lru().map(|(_, asked)| asked) } else { None }
    }

    /// The question to this answer.
    pub fn answered(&mut self, socket: u64, message: &Dns) -> Option<Asked<T>> {
        self.waiting.pop(&key(socket, message))
    }

    /// A question that no answer will come to any more; with `all`, any question.
    pub fn unanswered(&mut self, at: BootTime, all: bool) -> Option<Asked<T>> {
        let (_, oldest) = self.waiting.peek_lru()?;
        if !all && at.since(oldest.at) < PATIENCE {
            return None;
        }
        self.waiting.pop_lru().map(|(_, asked)| asked)
    }
}

fn key(socket: u64, message: &Dns) -> Key {
    let Question { name, kind } = message.question.clone();
    Key { socket, id: message.id, name, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: u16, name: &str) -> Dns {
        Dns {
            id,
            is_answer: false,
            code: 0,
            is_truncated: false,
            question: Question { name: name.to_owned(), kind: 1 },
            addresses: Vec::new(),
        }
    }

    fn seconds(seconds: u64) -> BootTime {
        BootTime(seconds * 1_000_000_000)
    }

    #[test]
    fn an_answer_finds_its_question_once() {
        let mut questions = Questions::default();
        questions.ask(1, &question(7, "a.example"), "curl", seconds(1));
        questions.ask(2, &question(7, "a.example"), "wget", seconds(2));
        questions.ask(2, &question(7, "a.example"), "wget, again", seconds(5));
        assert_eq!(questions.answered(2, &question(8, "a.example")), None);
        assert_eq!(questions.answered(2, &question(7, "b.example")), None);
        let asked = questions.answered(2, &question(7, "a.example")).unwrap();
        assert_eq!((asked.by, asked.at), ("wget", seconds(2)));
        assert_eq!(questions.answered(2, &question(7, "a.example")), None);
    }

    #[test]
    fn what_stays_without_an_answer_is_handed_out() {
        let mut questions = Questions::default();
        questions.ask(1, &question(7, "a.example"), (), seconds(1));
        questions.ask(1, &question(8, "b.example"), (), seconds(20));
        assert!(questions.unanswered(seconds(30), false).is_none());
        assert_eq!(questions.unanswered(seconds(31), false).unwrap().question.name, "a.example");
        assert!(questions.unanswered(seconds(31), false).is_none());
        assert_eq!(questions.unanswered(seconds(31), true).unwrap().question.name, "b.example");
        for id in 0..2 * u16::try_from(MOST).unwrap() {
            let pushed_out = questions.ask(1, &question(id, "c.example"), (), seconds(40));
            assert_eq!(pushed_out.is_some(), usize::from(id) >= MOST);
        }
    }
}
