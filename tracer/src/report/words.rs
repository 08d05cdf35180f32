//! Numbers, times and amounts as a person reads them. Pure.

use crate::clock::Timestamp;
use crate::judge::book::Amounts;
use crate::judge::rules::value::Unit;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `22 Nov 2026`.
#[must_use]
pub fn date(at: Timestamp) -> String {
    let text = at.to_string();
    let mut parts = text.get(..10).unwrap_or_default().split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month
        .and_then(|month| month.parse::<usize>().ok())
        .and_then(|month| MONTHS.get(month.checked_sub(1)?));
    match (year, month, day) {
        (Some(year), Some(month), Some(day)) => format!("{} {month} {year}", day.trim_start_matches('0')),
        _ => text,
    }
}

/// `22 Nov`.
#[must_use]
pub fn day(at: Timestamp) -> String {
    let date = date(at);
    date.rsplit_once(' ').map_or(date.clone(), |(day, _)| day.to_owned())
}

/// `06:00`.
#[must_use]
pub fn clock(at: Timestamp) -> String {
    at.to_string().get(11..16).unwrap_or_default().to_owned()
}

/// `06:00:18`.
#[must_use]
pub fn clock_with_seconds(at: Timestamp) -> String {
    at.to_string().get(11..19).unwrap_or_default().to_owned()
}

/// `22 Nov 2026, 06:00:18`.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    format!("{}, {}", date(at), clock_with_seconds(at))
}

/// `22 Nov 2026, 06:00 to 13:57`.
#[must_use]
pub fn period(period: &super::material::Period) -> String {
    let (from, to) = (period.from, period.to);
    if date(from) == date(to) {
        format!("{}, {} to {}", date(from), clock(from), clock(to))
    } else {
        format!("{}, {} to {}, {}", date(from), clock(from), date(to), clock(to))
    }
}

/// `3.2 kB`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "for reading")]
pub fn bytes(bytes: u64) -> String {
    Unit::Bytes.show(bytes as f64)
}

/// `5 h 51 min`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "for reading")]
pub fn time(milliseconds: u64) -> String {
    Unit::Milliseconds.show(milliseconds as f64)
}

/// `1,234,567`.
#[must_use]
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 connection`, `12 connections`.
#[must_use]
pub fn count(many: u64, one: &str, more: &str) -> String {
    format!("{} {}", number(many), if many == 1 { one } else { more })
}

/// `4 connections, 1 of them failed`.
#[must_use]
pub fn connections(amounts: &Amounts) -> String {
    let all = count(amounts.connections, "connection", "connections");
    match (amounts.failures, amounts.connections) {
        (0, _) => all,
        (1, 1) => "1 connection, which failed".to_owned(),
        (failures, _) => format!("{all}, {} of them failed", number(failures)),
    }
}

/// `3.2 kB sent, 2.1 kB received`. Sums of nothing say so: nobody knows whether nothing was moved, or nothing was counted.
#[must_use]
pub fn amount(amounts: &Amounts) -> String {
    if amounts.sent == 0 && amounts.received == 0 {
        return "nothing counted".to_owned();
    }
    format!("{} sent, {} received", bytes(amounts.sent), bytes(amounts.received))
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list<T: AsRef<str>>(words: &[T]) -> String {
    match words {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// With a capital letter, unless a name stands first.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut text = text.trim().to_owned();
    if !text.is_empty() && !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

/// With a capital letter.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::material::Period;

    #[test]
    fn times_and_numbers_read_well() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(moment(at("2026-11-02T06:00:18.4Z")), "2 Nov 2026, 06:00:18");
        assert_eq!(day(at("2026-11-22T06:00:18Z")), "22 Nov");
        let of = |from, to| period(&Period { from: at(from), to: at(to) });
        assert_eq!(of("2026-11-22T06:00:18Z", "2026-11-22T13:57:00Z"), "22 Nov 2026, 06:00 to 13:57");
        assert_eq!(
            of("2026-11-22T06:00:18Z", "2026-11-23T13:57:00Z"),
            "22 Nov 2026, 06:00 to 23 Nov 2026, 13:57"
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(1, "app", "apps"), "1 app");
    }

    #[test]
    fn what_was_not_counted_is_no_zero() {
        assert_eq!(amount(&Amounts { connections: 3, ..Amounts::default() }), "nothing counted");
    }

    #[test]
    fn words_are_put_together() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(sentence("so it is"), "so it is.");
        assert_eq!(capital("so"), "So");
        let amounts = Amounts { connections: 4, failures: 1, sent: 3_200, received: 12 };
        assert_eq!(connections(&amounts), "4 connections, 1 of them failed");
        assert_eq!(amount(&amounts), "3.2 kB sent, 12 B received");
    }
}
