//! Densities, as logarithms, with all that does not depend on the interval computed beforehand.

use super::numbers::logarithm;

/// Half the logarithm of twice pi.
const HALF_LN_TAU: f64 = 0.918_938_533_204_672_8;

#[allow(clippy::cast_possible_truncation, reason = "digits that nobody needs")]
const fn short(number: f64) -> f32 {
    number as f32
}

/// Normally distributed.
pub struct Normal {
    by: f32,
    plus: f32,
}

impl Normal {
    pub const fn new(spread: f64) -> Self {
        Self { by: short(0.5 / (spread * spread)), plus: short(-logarithm(spread) - HALF_LN_TAU) }
    }

    pub const fn of(&self, off: f32) -> f32 {
        self.plus - self.by * off * off
    }
}

/// Evenly spread by a share to either side, with soft edges; `off` is a logarithm, the share is not.
pub struct Even {
    low: f32,
    high: f32,
    steep: f32,
    plus: f32,
}

impl Even {
    pub const fn new(share: f64) -> Self {
        Self {
            low: short(logarithm(1.0 - share)),
            high: short(logarithm(1.0 + share)),
            steep: short(1.0 / (0.06 * share)),
            plus: short(-logarithm(2.1 * share)),
        }
    }

    pub const fn of(&self, off: f32) -> f32 {
        let beyond = (self.low - off).max(off - self.high).max(0.0);
        self.plus + off - beyond * self.steep
    }

    pub const fn has(&self, off: f32) -> bool {
        self.low <= off && off <= self.high
    }
}

/// With long tails (Laplace).
pub struct Tailed {
    by: f32,
    plus: f32,
}

impl Tailed {
    pub const fn new(spread: f64) -> Self {
        Self { by: short(1.0 / spread), plus: short(-logarithm(2.0 * spread)) }
    }

    pub const fn of(&self, off: f32) -> f32 {
        self.plus - self.by * off.abs()
    }
}

/// Hardly less than something, and how much more falls with a power (Pareto); `behind` is from there.
pub struct Steep {
    spread: f32,
    by: f32,
    plus: f32,
}

/// What is less falls by this.
const EDGE: f64 = 0.1;

impl Steep {
    pub const fn new(spread: f64) -> Self {
        Self { spread: short(spread), by: short(1.0 / spread), plus: short(-logarithm(spread + EDGE)) }
    }

    pub const fn of(&self, behind: f32) -> f32 {
        self.plus - (behind * self.by).max(-behind * short(1.0 / EDGE))
    }

    /// From the beginning to the median.
    pub const fn to_median(&self) -> f32 {
        self.spread * std::f32::consts::LN_2
    }

    /// From the beginning to the mean.
    pub const fn to_mean(&self) -> f32 {
        self.spread
    }
}

/// How long until something that happens by chance, as a share of what is at most waited.
pub struct Silence {
    by: f32,
    plus: f32,
}

impl Silence {
    pub const fn new(mean: f64) -> Self {
        Self { by: short(1.0 / mean), plus: short(-logarithm(mean)) }
    }

    pub const fn of(&self, share: f32) -> f32 {
        self.plus - self.by * share
    }
}
