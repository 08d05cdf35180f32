//! Logarithms that are the same on every machine, in constants, too: a capture that is judged again elsewhere gives the same.

use std::f64::consts::{LN_2, SQRT_2};

/// Natural logarithm of a number from 1 on; the first twelve digits are right.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "digits that nobody needs")]
pub const fn ln(value: u64) -> f32 {
    logarithm(if value == 0 { 1.0 } else { value as f64 }) as f32
}

/// Natural logarithm of a positive number that is not tiny.
pub const fn logarithm(value: f64) -> f64 {
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    // 2 artanh((m - 1) / (m + 1)), of at most 0.172: what follows is below 1e-13.
    let part = (mantissa - 1.0) / (mantissa + 1.0);
    let square = part * part;
    let series = 1.0 / 11.0 + square * (1.0 / 13.0);
    let series = 1.0 / 7.0 + square * (1.0 / 9.0 + square * series);
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * series));
    exponent * LN_2 + 2.0 * part * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_the_library() {
        for value in (0..4000).map(|step| 1e-4 * 1.013f64.powi(step)) {
            let off = logarithm(value) - value.ln();
            assert!(off.abs() < 1e-11, "{value}: {off}");
        }
        assert_eq!((ln(0).to_bits(), ln(1).to_bits()), (0, 0));
    }
}
