//! Medians and spread of repeated measurements.

use serde::{Deserialize, Serialize};

/// Repeated measurements of one figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub median: f64,
    /// The quarter of the measurements below this, and above `upper`, left out: what the spread is without outliers.
    pub lower: f64,
    pub upper: f64,
    pub count: usize,
}

impl Summary {
    /// `None` without measurements.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Some(Self {
            median: quantile(&values, 0.5)?,
            lower: quantile(&values, 0.25)?,
            upper: quantile(&values, 0.75)?,
            count: values.len(),
        })
    }

    /// From where to where the true median is, in 19 of 20 cases: the notches of McGill, Tukey and Larsen (1978).
    pub fn interval(&self) -> (f64, f64) {
        let reach = 1.57 * (self.upper - self.lower) / (self.count.max(1) as f64).sqrt();
        (self.median - reach, self.median + reach)
    }

    /// `median (lower–upper)` with so many digits behind the point.
    pub fn show(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}–{:.digits$})", self.median, self.lower, self.upper)
    }
}

/// Linear between the two nearest of the sorted values.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the length of a Vec"
    )]
    let below = place.floor() as usize;
    let (low, high) = (sorted.get(below)?, sorted.get(below + 1).or(sorted.last())?);
    Some(low + (high - low) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_and_one_outlier_moves_nothing() {
        let summary = Summary::of([3.0, 1.0, 1000.0, 2.0, 4.0]).unwrap();
        assert_eq!((summary.median, summary.lower, summary.upper, summary.count), (3.0, 2.0, 4.0, 5));
        assert_eq!(Summary::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Summary::of([]), None);
        assert_eq!(Summary::of([7.0]).unwrap().show(1), "7.0 (7.0–7.0)");
        let hundred = Summary { median: 5.0, lower: 0.0, upper: 10.0, count: 100 };
        assert_eq!(hundred.interval(), (5.0 - 1.57, 5.0 + 1.57));
    }
}
