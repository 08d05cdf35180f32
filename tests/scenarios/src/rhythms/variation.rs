//! The plain test: intervals are regular when their coefficient of variation (deviation by mean) is small.

/// Beats from which on it is asked, and the largest coefficient that counts as regular. Of all pairs these found the largest share
/// of beacons less the share of ordinary streams, on [`super::TUNING`].
pub const BEST: (u32, f64) = (20, 0.45);
/// Likewise, of those that noticed no more than 1 in 100 ordinary streams.
pub const STRICT: (u32, f64) = (20, 0.26);

/// The coefficient after each beat.
pub fn coefficients(times_ms: &[u64]) -> impl Iterator<Item = (u32, f64)> {
    let (mut mean, mut squares) = (0.0, 0.0);
    (1..).zip(times_ms.windows(2)).map(move |(intervals, pair)| {
        let interval = (pair[1] - pair[0]) as f64;
        // Welford's way.
        let off = interval - mean;
        mean += off / f64::from(intervals);
        squares += off * (interval - mean);
        (intervals + 1, (squares / f64::from(intervals)).sqrt() / mean)
    })
}

/// Whether it ever was regular.
#[must_use]
pub fn is_regular(times_ms: &[u64], (beats, most): (u32, f64)) -> bool {
    coefficients(times_ms).any(|(count, coefficient)| count >= beats && coefficient <= most)
}
