//! Pareto/NBD. The likelihood has a difference of two hypergeometric values; Euler's transformation takes the powers out
//! of them, so that what is left is near 1 and the rest is added as logarithms.

use super::Model;
use super::special::{hypergeometric, ln_gamma};
use crate::purchases::summary::Pattern;

/// Beyond this, 1 is nothing beside `e` to it.
const EXPONENT_MAX: f64 = 500.0;
/// Next to `s = 1` the expectation is the limit.
const ONE_APART: f64 = 1e-9;

/// What customers with as many repeats share.
pub(super) struct Common {
    /// `ln(Γ(r + x) α^r β^s / Γ(r))`.
    ln_front: f64,
    /// `r + x`.
    shape: f64,
    alpha: f64,
    s: f64,
    beta: f64,
}

impl Common {
    pub(super) fn new(model: &Model, repeats: f64) -> Self {
        let [r, alpha, s, beta] = model.parameters;
        let ln_front = ln_gamma(r + repeats) - ln_gamma(r) + r * alpha.ln() + s * beta.ln();
        Self { ln_front, shape: r + repeats, alpha, s, beta }
    }

    pub(super) fn ln_likelihood(&self, pattern: &Pattern) -> f64 {
        self.ln_front + self.ln_alive_part(pattern.age_weeks) + self.ln_sum(pattern)
    }

    pub(super) fn alive(&self, pattern: &Pattern) -> f64 {
        (-self.ln_sum(pattern)).exp().clamp(0.0, 1.0)
    }

    /// `ln((α + t)^−(r + x) (β + t)^−s)`: alive until `t`.
    fn ln_alive_part(&self, weeks: f64) -> f64 {
        -self.shape * (self.alpha + weeks).ln() - self.s * (self.beta + weeks).ln()
    }

    /// The logarithm of the likelihood over its part of the living: `ln(1 + s / (r + s + x) · A0 / that part)`.
    fn ln_sum(&self, pattern: &Pattern) -> f64 {
        let (at_last, at_end) = (pattern.recency_weeks, pattern.age_weeks);
        let weight = (self.s / (self.shape + self.s)).ln();
        let alive = self.ln_alive_part(at_end);
        let stopped = |weeks: f64| weight + self.ln_stopped_part(weeks) - alive;
        let (last, end) = (stopped(at_last), stopped(at_end));
        if last > EXPONENT_MAX {
            return last + (-(end - last).exp()).ln_1p();
        }
        (last.exp() - end.exp()).max(0.0).ln_1p()
    }

    /// One of the two terms of `A0`, as a logarithm. Of the two forms the one is taken whose argument is in `[0, 1)`.
    fn ln_stopped_part(&self, weeks: f64) -> f64 {
        let (alpha, beta) = (self.alpha + weeks, self.beta + weeks);
        let bottom = self.shape + self.s + 1.0;
        if alpha >= beta {
            let z = (alpha - beta) / alpha;
            -self.shape * alpha.ln() - self.s * beta.ln() + hypergeometric(1.0, self.shape, bottom, z).ln()
        } else {
            let z = (beta - alpha) / beta;
            let series = hypergeometric(1.0, self.s + 1.0, bottom, z).ln();
            (1.0 - self.shape) * alpha.ln() - (self.s + 1.0) * beta.ln() + series
        }
    }
}

/// `E[Y(t)]` over the probability of being alive.
pub(super) fn expected_if_alive(model: &Model, pattern: &Pattern, weeks: f64) -> f64 {
    let [r, alpha, s, beta] = model.parameters;
    let age = pattern.age_weeks;
    let ln_ratio = ((beta + age) / (beta + age + weeks)).ln();
    let spent = if (s - 1.0).abs() < ONE_APART { -ln_ratio } else { -((s - 1.0) * ln_ratio).exp_m1() / (s - 1.0) };
    (r + pattern.repeats) * (beta + age) / (alpha + age) * spent
}
