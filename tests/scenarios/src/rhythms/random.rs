//! Random numbers that are the same everywhere for the same seed (SplitMix64; Steele, Lea, Flood 2014).

use std::f64::consts::TAU;

/// A source of numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.share()
    }

    /// A whole number, both ends included.
    pub fn count(&mut self, least: u32, most: u32) -> u32 {
        let numbers = u64::from(most - least) + 1;
        least + u32::try_from(self.bits() % numbers).unwrap_or_default()
    }

    pub fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.bits() % of.len() as u64).unwrap_or_default()]
    }

    pub fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let (length, angle) = (1.0 - self.share(), self.share());
        mean + deviation * (-2.0 * length.ln()).sqrt() * (TAU * angle).cos()
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.share()).ln()
    }

    pub fn log_normal(&mut self, median: f64, deviation: f64) -> f64 {
        median * self.normal(0.0, deviation).exp()
    }

    /// With a tail that falls with the power `steepness`.
    pub fn pareto(&mut self, least: f64, steepness: f64) -> f64 {
        least * (1.0 - self.share()).powf(-1.0 / steepness)
    }
}
