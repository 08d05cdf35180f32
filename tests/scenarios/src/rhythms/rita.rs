//! RITA's beacon score, as its version 5 computes it with the configuration it comes with: activecm/rita, analysis/beacons.go at
//! 0b6db7a and default_config.hjson at 3dcd4d1. Written anew after that; the names are theirs.

/// It looks at a day, in this many bars.
const BARS: usize = 24;
const DAY: u64 = 86_400;
/// Connections from which on there is a score.
const LEAST_CONNECTIONS: usize = 4;
const LEAST_INTERVALS: usize = 3;
/// Bars with anything in them, for a score of the duration; and in a row, for all of it.
const DURATION_LEAST_BARS: usize = 6;
const DURATION_IDEAL_RUN: f64 = 12.0;
/// For the fit of two modes: bars, width of a class as a share of the highest bar, and bars that may be left out.
const MODES_LEAST_BARS: usize = 11;
const MODE_WIDTH: f64 = 0.05;
const OUTLIERS: usize = 1;

/// What it is given: its score depends on how much of that time a stream fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A capture that began with the stream, at most a day of it: where it scores highest.
    Capture,
    /// The day before, as on a sensor that is always on.
    Day,
}

/// The highest score that a stream gets when it is looked at after every hour and at its end. Times in seconds, with sizes in bytes.
#[must_use]
pub fn highest(events: &[(u64, u64)], given: Given) -> f64 {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return 0.0 };
    let (begin, end) = (first.0, last.0 + 1);
    let hours = (begin + 3600..end).step_by(3600).chain([end]);
    let mut highest = 0.0f64;
    let (mut from, mut to) = (0, 0);
    for now in hours {
        let day = now.saturating_sub(DAY);
        let since = if given == Given::Day { day } else { day.max(begin) };
        let had = (from, to);
        from += events[from..].iter().take_while(|event| event.0 < since).count();
        to += events[to..].iter().take_while(|event| event.0 < now).count();
        // A day that moved on without a change in it only lowers what is said of its length.
        if had != (from, to) {
            highest = highest.max(score(&events[from..to], since, now));
        }
    }
    highest
}

/// The score of connections between two times.
fn score(events: &[(u64, u64)], since: u64, now: u64) -> f64 {
    let mut intervals: Vec<f64> = events
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0) as f64)
        .filter(|interval| *interval > 0.0)
        .collect();
    if events.len() < LEAST_CONNECTIONS || intervals.len() < LEAST_INTERVALS {
        return 0.0;
    }
    let mut sizes: Vec<f64> = events.iter().map(|event| event.1 as f64).collect();
    let bars = histogram(events, since, now);
    let covered = (events[events.len() - 1].0 - events[0].0) as f64 / (now - since) as f64;
    let scores = [
        statistical(&mut intervals, 1.0),
        statistical(&mut sizes, 0.0),
        duration(&bars, covered),
        f64::max(flatness(&bars), modes(&bars)),
    ];
    scores.iter().sum::<f64>() / 4.0
}

/// The mean of how symmetric (Bowley's skewness) and how narrow (median absolute deviation about the median) it is.
fn statistical(values: &mut [f64], of_tiny: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let (lower, upper) = (&values[..half], &values[values.len() - half..]);
    let (first, middle, third) = (median(lower), median(values), median(upper));
    let spread = third - first;
    let is_skewed = spread >= 10.0 && middle != first && middle != third;
    let skewness = if is_skewed { (first + third - 2.0 * middle) / spread } else { 0.0 };
    let mut offs: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    offs.sort_by(f64::total_cmp);
    let narrowness = if middle >= 1.0 { ((middle - median(&offs)) / middle).max(0.0) } else { of_tiny };
    f64::midpoint(1.0 - skewness.abs(), narrowness)
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 24")]
fn histogram(events: &[(u64, u64)], since: u64, now: u64) -> [u32; BARS] {
    let mut bars = [0; BARS];
    let width = (now - since) as f64 / BARS as f64;
    for event in events {
        bars[(((event.0 - since) as f64 / width) as usize).min(BARS - 1)] += 1;
    }
    bars
}

/// The better one of how much of the time is covered, and of the longest run of bars.
fn duration(bars: &[u32; BARS], covered: f64) -> f64 {
    if bars.iter().filter(|bar| **bar > 0).count() < DURATION_LEAST_BARS {
        return 0.0;
    }
    let (mut run, mut longest) = (0, 0);
    for bar in bars.iter().chain(bars) {
        run = if *bar > 0 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let consistency = longest.min(BARS) as f64 / DURATION_IDEAL_RUN;
    covered.max(consistency).min(1.0)
}

/// One less the coefficient of variation of the bars.
fn flatness(bars: &[u32; BARS]) -> f64 {
    let mean = bars.iter().sum::<u32>() as f64 / BARS as f64;
    let squares: f64 = bars.iter().map(|bar| (f64::from(*bar) - mean).powi(2)).sum();
    (1.0 - (squares / BARS as f64).sqrt() / mean).max(0.0)
}

/// Share of the bars that are of the two most frequent heights.
fn modes(bars: &[u32; BARS]) -> f64 {
    let highest = f64::from(bars.iter().copied().max().unwrap_or_default());
    let width = (highest * MODE_WIDTH).ceil();
    let mut classes: Vec<f64> =
        bars.iter().filter(|bar| **bar > 0).map(|bar| (f64::from(*bar) / width).floor()).collect();
    if classes.len() < MODES_LEAST_BARS {
        return 0.0;
    }
    classes.sort_by(f64::total_cmp);
    let mut sizes: Vec<usize> = classes.chunk_by(|one, other| one == other).map(<[f64]>::len).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    let both: usize = sizes.iter().take(2).sum();
    (both as f64 / (classes.len() - OUTLIERS).max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_beacon_of_a_day_has_the_highest_score() {
        let events: Vec<_> = (0..289).map(|beat| (beat * 300, 100)).collect();
        assert!(highest(&events, Given::Capture) > 0.99, "{}", highest(&events, Given::Capture));
    }

    #[test]
    fn symmetry_and_narrowness_are_those_of_the_source() {
        // Quartiles 15, 40, 43 (of 6, 7, 15, 36, 39, 40, 41, 42, 43, 47, 49): skewness -22/28, deviations' median 4.
        let mut values = [6.0, 7.0, 15.0, 36.0, 39.0, 40.0, 41.0, 42.0, 43.0, 47.0, 49.0];
        let expected = f64::midpoint(1.0 - 22.0 / 28.0, 36.0 / 40.0);
        assert!((statistical(&mut values, 1.0) - expected).abs() < 1e-9, "{}", statistical(&mut values, 1.0));
    }
}
