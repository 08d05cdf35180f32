//! Whether an app moves much more or much less with somebody than before. Pure.
//!
//! Captures are seldom equally long: both are brought to the length of the shorter one. What differs then by a factor of two, and
//! by more than what comes and goes by itself, has changed.

use std::time::Duration;

use super::side::Seen;
use super::{Change, Details, Difference, Known, Names, VolumeText, What, changes};
use crate::judge::book::Amounts;

/// So many times as much, or as little, is a change.
const TIMES: f64 = 2.0;
/// Less than this in the time of the shorter capture comes and goes by itself.
const LEAST_BYTES: f64 = 100_000.0;
const LEAST_CONNECTIONS: f64 = 10.0;
/// A capture that is shorter says nothing about how much is usual.
const SHORTEST: Duration = Duration::from_secs(60);

/// One amount of several.
type Of = fn(&Amounts) -> u64;

/// What is measured, and what of it does not count as a difference.
const MEASURES: [(&str, f64, Of); 4] = [
    ("connections", LEAST_CONNECTIONS, |amounts| amounts.connections),
    ("failures", LEAST_CONNECTIONS, |amounts| amounts.failures),
    ("bytes_sent", LEAST_BYTES, |amounts| amounts.sent),
    ("bytes_received", LEAST_BYTES, |amounts| amounts.received),
];

/// What apps move more or less with whom they talked to before and after.
pub(super) fn differences(one: &Seen, other: &Seen, names: &Names<'_>) -> Vec<Difference> {
    if one.watched < SHORTEST || other.watched < SHORTEST {
        return Vec::new();
    }
    let all = changes(&one.peers, &other.peers).filter_map(|((app, peer), known)| {
        let Known::Both(before, after) = known else { return None };
        let (more, less) = compare((before, one.watched), (after, other.watched));
        if more.is_empty() && less.is_empty() {
            return None;
        }
        let text = |amounts: &Amounts, seen: &Seen| VolumeText {
            watched_s: seen.watched.as_secs(),
            amounts: (*amounts).into(),
        };
        Some(Difference {
            what: What::Volume { app: names.app(app), peer: names.peer(peer) },
            change: Change::Changed,
            details: Details::Volume { more, less, before: text(before, one), after: text(after, other) },
        })
    });
    all.collect()
}

/// What is more and what is less in the same time.
#[allow(clippy::cast_precision_loss)]
fn compare(
    before: (&Amounts, Duration),
    after: (&Amounts, Duration),
) -> (Vec<&'static str>, Vec<&'static str>) {
    let shorter = before.1.min(after.1).as_secs_f64();
    let scaled = |(amounts, watched): (&Amounts, Duration), of: Of| {
        of(amounts) as f64 * shorter / watched.as_secs_f64()
    };
    let is_much = |much: f64, little: f64, least: f64| much >= TIMES * little && much - little >= least;
    let (mut more, mut less) = (Vec::new(), Vec::new());
    for (name, least, of) in MEASURES {
        let (was, is) = (scaled(before, of), scaled(after, of));
        if is_much(is, was, least) {
            more.push(name);
        } else if is_much(was, is, least) {
            less.push(name);
        }
    }
    (more, less)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn amounts(connections: u64, sent: u64) -> Amounts {
        Amounts { connections, sent, ..Amounts::default() }
    }

    #[test]
    fn twice_as_much_in_the_same_time_is_a_change_if_it_is_not_little() {
        let one = amounts(30, 1_000_000);
        let of = |other: Amounts, watched| compare((&one, HOUR), (&other, watched));
        assert_eq!(of(amounts(60, 1_900_000), HOUR), (vec!["connections"], vec![]));
        assert_eq!(of(amounts(30, 400_000), HOUR), (vec![], vec!["bytes_sent"]));
        assert_eq!(of(amounts(300, 10_000_000), 10 * HOUR), (vec![], vec![]), "ten times as long");
        assert_eq!(of(amounts(3, 100_000), HOUR / 10), (vec![], vec![]), "a tenth as long");
        assert_eq!(of(amounts(300, 10_000_000), HOUR), (vec!["connections", "bytes_sent"], vec![]));
        let little = compare((&amounts(1, 500), HOUR), (&amounts(9, 90_000), HOUR));
        assert_eq!(little, (vec![], vec![]));
    }
}
