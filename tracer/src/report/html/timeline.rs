//! Time lines as they are drawn: places in hundredths of the width, so that they are sharp at any width. Pure.

use hashbrown::HashMap;

use crate::clock::Timestamp;
use crate::judge::book::Amounts;
use crate::record::End;
use crate::report::build::bytes;
use crate::report::material::{Bar, Destination, Gap, Lane, Period, Tick, TickKind};
use crate::report::words;

/// Marks with words to them, where the pointer rests; more would only be heavy.
const MOST_TITLES: usize = 250;
/// Bands for missing records: the longest ones.
const MOST_GAPS: usize = 40;
/// Height of a row of sums, pixels.
const COLUMN: f64 = 30.0;

/// From moments to places.
#[derive(Clone, Debug)]
pub struct Scale {
    pub period: Period,
    pub axis: Vec<AxisMark>,
    pub gaps: Vec<Span>,
}

/// A line of the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisMark {
    pub x: String,
    pub text: String,
    /// Left out where there is little room.
    pub is_minor: bool,
}

/// From here to there.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub x: String,
    pub width: String,
    pub class: &'static str,
    pub title: String,
}

/// One moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    pub x: String,
    pub title: String,
}

/// A sum of an hour or a day.
#[derive(Clone, Debug)]
pub struct Column {
    pub x: String,
    pub width: String,
    pub y: String,
    pub height: String,
    pub class: &'static str,
    pub title: String,
}

/// One time line.
#[derive(Clone, Debug, Default)]
pub struct LaneView {
    pub label: String,
    pub detail: String,
    /// For those who do not see it.
    pub words: String,
    pub bars: Vec<Span>,
    pub beats: Vec<Mark>,
    pub connects: Vec<Mark>,
    pub failures: Vec<Mark>,
    pub resets: Vec<Mark>,
    pub columns: Vec<Column>,
}

impl Scale {
    /// `period`: what is drawn.
    #[must_use]
    pub fn new(period: Period, gaps: &[Gap]) -> Self {
        let mut scale = Self { period, axis: Vec::new(), gaps: Vec::new() };
        scale.axis = scale.marks();
        let mut longest: Vec<&Gap> = gaps.iter().collect();
        longest.sort_by_key(|gap| std::cmp::Reverse(gap.period.milliseconds()));
        let band = |gap: &&Gap| {
            let records = words::count(gap.records, "record is", "records are");
            let title = format!("{records} missing, {}", words::clock_with_seconds(gap.period.from));
            scale.span(gap.period, 0.25, "gap", title)
        };
        scale.gaps = longest.iter().take(MOST_GAPS).map(band).collect();
        scale
    }

    fn place(&self, at: Timestamp) -> f64 {
        0.6 + self.period.share(at) * 98.8
    }

    /// Where a moment is, in hundredths of the width.
    #[must_use]
    pub fn x(&self, at: Timestamp) -> String {
        short(self.place(at))
    }

    fn span(&self, period: Period, least: f64, class: &'static str, title: String) -> Span {
        let (from, to) = (self.place(period.from), self.place(period.to));
        Span { x: short(from), width: short((to - from).max(least)), class, title }
    }

    fn marks(&self) -> Vec<AxisMark> {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        const STEPS: [u64; 17] = [
            1,
            5,
            15,
            MINUTE,
            5 * MINUTE,
            10 * MINUTE,
            15 * MINUTE,
            30 * MINUTE,
            HOUR,
            2 * HOUR,
            3 * HOUR,
            6 * HOUR,
            12 * HOUR,
            DAY,
            2 * DAY,
            7 * DAY,
            30 * DAY,
        ];
        let seconds = self.period.milliseconds() / 1000;
        let step = STEPS.into_iter().find(|step| seconds / step <= 9).unwrap_or(seconds / 9 + 1);
        let first = (self.period.from.0 / 1_000_000_000).div_ceil(step) * step;
        let moments = (0..12).map(|number| Timestamp((first + number * step).saturating_mul(1_000_000_000)));
        let inside = moments.take_while(|at| *at <= self.period.to);
        let text = |at: Timestamp| match step {
            step if step >= DAY => words::day(at),
            step if step < MINUTE => words::clock_with_seconds(at),
            _ if at.0.is_multiple_of(DAY * 1_000_000_000) => words::day(at),
            _ => words::clock(at),
        };
        inside
            .zip(0_u8..)
            .map(|(at, number)| AxisMark { x: self.x(at), text: text(at), is_minor: number % 2 == 1 })
            .collect()
    }

    /// The time lines of destinations; those of one service, or of one host, on one port are one.
    #[must_use]
    pub fn lanes(&self, destinations: &[&Destination]) -> Vec<LaneView> {
        let mut merged: Vec<Destination> = Vec::new();
        let mut numbers = HashMap::new();
        for &destination in destinations {
            let country = destination.country.map(|country| country.code);
            let key = (
                destination.target(),
                destination.transport,
                destination.port,
                destination.direction,
                country,
            );
            let number = *numbers.entry(key).or_insert(merged.len());
            let rest = match merged.get_mut(number) {
                Some(known) => merge(known, destination),
                None => Some(destination.clone()),
            };
            merged.extend(rest);
        }
        merged.iter().map(|destination| self.lane(destination)).collect()
    }

    /// The time line of a destination.
    #[must_use]
    pub fn lane(&self, destination: &Destination) -> LaneView {
        let mut view = LaneView {
            label: destination.target(),
            detail: detail(destination),
            words: summary(destination),
            ..LaneView::default()
        };
        match &destination.lane {
            Lane::Empty => {}
            Lane::Each { bars, ticks } => {
                view.bars = self.bars(bars);
                let of = |kind| self.ticks(ticks, kind);
                view.beats = of(TickKind::Beat);
                view.connects = of(TickKind::Connect);
                view.failures = of(TickKind::Failed);
                view.resets = of(TickKind::Reset);
            }
            Lane::Sums { slot_ns, slots, .. } => view.columns = self.columns(*slot_ns, slots),
        }
        view
    }

    fn bars(&self, bars: &[Bar]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for bar in bars {
            let class = if bar.is_failed { "failed" } else { "open" };
            let title = if spans.len() < MOST_TITLES { bar_words(bar) } else { String::new() };
            let span = self.span(bar.seen, 0.12, class, title);
            // What cannot be told apart is drawn once.
            if spans.last().is_none_or(|last| (&last.x, &last.width) != (&span.x, &span.width)) {
                spans.push(span);
            }
        }
        spans
    }

    fn ticks(&self, ticks: &[Tick], kind: TickKind) -> Vec<Mark> {
        let word = match kind {
            TickKind::Connect => "connects",
            TickKind::Beat => "something is said",
            TickKind::Failed => "fails",
            TickKind::Reset => "is reset",
        };
        let mut marks: Vec<Mark> = Vec::new();
        for tick in ticks.iter().filter(|tick| tick.kind == kind) {
            let x = self.x(tick.at);
            if marks.last().is_none_or(|last| last.x != x) {
                let has_title = marks.len() < MOST_TITLES;
                let title = if has_title {
                    format!("{} {word}", words::clock_with_seconds(tick.at))
                } else {
                    String::new()
                };
                marks.push(Mark { x, title });
            }
        }
        marks
    }

    fn columns(&self, slot_ns: u64, slots: &[(Timestamp, Amounts)]) -> Vec<Column> {
        let most = slots.iter().map(|(_, amounts)| weight(amounts)).fold(0.0, f64::max).max(1e-9);
        let is_day = slot_ns >= 86_400_000_000_000;
        let mut columns = Vec::new();
        for (at, amounts) in slots {
            let end = Timestamp(at.0.saturating_add(slot_ns));
            let (from, to) = (self.place((*at).max(self.period.from)), self.place(end.min(self.period.to)));
            let height = (weight(amounts) / most * COLUMN).max(1.5);
            let when = if is_day {
                words::date(*at)
            } else {
                format!("{}, from {}", words::day(*at), words::clock(*at))
            };
            let title = if columns.len() < MOST_TITLES {
                format!("{when}: {}, {}", words::connections(amounts), words::amount(amounts))
            } else {
                String::new()
            };
            columns.push(Column {
                x: short(from),
                width: short(((to - from) * 0.86).max(0.2)),
                y: short(36.0 - height),
                height: short(height),
                class: if amounts.failures > 0 && amounts.failures == amounts.connections {
                    "failed"
                } else {
                    "sum"
                },
                title,
            });
        }
        columns
    }
}

/// Puts what happened with `other` to what happened with `known`; gives it back where that cannot be.
fn merge(known: &mut Destination, other: &Destination) -> Option<Destination> {
    let (Lane::Each { bars, ticks }, Lane::Each { bars: more_bars, ticks: more_ticks }) =
        (&mut known.lane, &other.lane)
    else {
        return Some(other.clone());
    };
    bars.extend(more_bars);
    bars.sort_by_key(|bar| bar.seen.from);
    ticks.extend(more_ticks);
    ticks.sort_unstable();
    known.amounts.add(&other.amounts);
    known.seen.reach(other.seen.from);
    known.seen.reach(other.seen.to);
    known.host = match (known.host.take(), &other.host) {
        (None, host) => host.clone(),
        (Some(host), None) => Some(host),
        (Some(host), Some(more)) if host == *more || host.ends_with(" and others") => Some(host),
        (Some(host), Some(_)) => Some(format!("{host} and others")),
    };
    None
}

/// A column's height before scaling: few bytes are to be seen beside many.
#[allow(clippy::cast_precision_loss, reason = "a height on paper")]
fn weight(amounts: &Amounts) -> f64 {
    (1.0 + amounts.connections as f64 + bytes(amounts) as f64 / 1000.0).ln()
}

/// `06:00:19 to 08:00:00, reset; 1.2 kB sent, 900 B received`.
fn bar_words(bar: &Bar) -> String {
    let from = words::clock_with_seconds(bar.seen.from);
    let before = if bar.has_start { "" } else { "since before " };
    let end = match (bar.has_end, bar.seen.from == bar.seen.to) {
        (true, true) => format!("; {}", ending(bar)),
        (true, false) => format!(" to {}, {}", words::clock_with_seconds(bar.seen.to), ending(bar)),
        (false, _) => ", open".to_owned(),
    };
    format!("{before}{from}{end}")
}

/// How a connection ended, or that it did not.
#[must_use]
pub fn ending(bar: &Bar) -> &'static str {
    match bar.end {
        _ if !bar.has_end => "still open when last seen",
        Some(End::Closed) => "closed in order",
        Some(End::Reset) => "reset",
        Some(End::Refused) => "refused",
        Some(End::TimedOut) => "timed out",
        Some(End::Unreachable) => "failed: no way there",
        Some(End::Aborted) => "given up",
        Some(End::Error) => "ended by this machine",
        Some(End::Idle) => "silent",
        Some(End::Unseen) => "ended unseen",
        Some(End::Evicted) => "watched no more",
        None if bar.is_failed => "failed",
        None => "ended",
    }
}

/// What a lane says in small letters.
fn detail(destination: &Destination) -> String {
    let mut parts = Vec::new();
    let target = destination.target();
    parts.extend(destination.host.clone().filter(|host| *host != target));
    let transport: &'static str = destination.transport.into();
    match destination.port {
        Some(port) if destination.is_incoming() => parts.push(format!("incoming, {transport} {port}")),
        Some(port) => parts.push(format!("{transport} {port}")),
        None => {}
    }
    parts.extend(destination.country.map(|country| country.name.to_owned()));
    parts.join(", ")
}

fn summary(destination: &Destination) -> String {
    let mut text = format!(
        "{}, {}: {}, {}, {}",
        destination.target(),
        detail(destination),
        words::connections(&destination.amounts),
        words::amount(&destination.amounts),
        words::period(&destination.seen)
    );
    if let Some(cadence) = &destination.cadence {
        text.push_str(", ");
        text.push_str(&cadence.rhythm());
    }
    text
}

/// A number with at most two decimals.
#[must_use]
pub fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn period(from: u64, to: u64) -> Period {
        Period { from: Timestamp(from * SECOND), to: Timestamp(to * SECOND) }
    }

    #[test]
    fn an_axis_has_few_marks_at_round_times() {
        let scale = Scale::new(period(18, 8 * 3600), &[]);
        let texts: Vec<&str> = scale.axis.iter().map(|mark| mark.text.as_str()).collect();
        assert_eq!(texts, ["01:00", "02:00", "03:00", "04:00", "05:00", "06:00", "07:00", "08:00"]);
        for length in [0, 1, 59, 3_000, 90_000, 5_000_000, 900_000_000] {
            assert!(Scale::new(period(1000, 1000 + length), &[]).axis.len() <= 12, "{length}");
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 1.5, 99.999, 12.345].map(short), ["0", "1.5", "100", "12.35"]);
    }
}
