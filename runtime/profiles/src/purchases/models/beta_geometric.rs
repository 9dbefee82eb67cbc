//! BG/NBD and MBG/NBD. They differ in when a customer may stop: `stops_after_first` is 1 where she may after her first
//! order (MBG/NBD) and 0 where only a repeat order ends her (BG/NBD).

use super::special::{hypergeometric_scaled, ln_beta, ln_gamma};
use super::{Model, ModelKind};
use crate::purchases::summary::Pattern;

/// Next to `a = 1` the expectation is 0/0; the model is taken this far beside it.
const ONE_APART: f64 = 1e-6;

/// What customers with as many repeats share.
pub(super) struct Common {
    /// `ln(A1 · A2)`.
    ln_front: f64,
    /// `r + x`.
    shape: f64,
    alpha: f64,
    /// `ln(a / (b + x))` or `ln(a / (b + x − 1))`; minus infinity where nobody can have stopped.
    ln_stopped: f64,
}

impl Common {
    pub(super) fn new(model: &Model, repeats: f64) -> Self {
        let [r, alpha, a, b] = model.parameters;
        let survived = repeats + stops_after_first(model.kind);
        let ln_stopped = if survived > 0.0 { (a / (b + survived - 1.0)).ln() } else { f64::NEG_INFINITY };
        Self {
            ln_front: ln_gamma(r + repeats) - ln_gamma(r) + r * alpha.ln() + ln_beta(a, b + survived) - ln_beta(a, b),
            shape: r + repeats,
            alpha,
            ln_stopped,
        }
    }

    /// `ln L = ln(A1 A2) + ln(A3 + A4)`, with `A3` taken out of the sum.
    pub(super) fn ln_likelihood(&self, pattern: &Pattern) -> f64 {
        self.ln_front - self.shape * (self.alpha + pattern.age_weeks).ln() + ln_one_plus_exp(self.ln_odds(pattern))
    }

    /// `1 / (1 + A4 / A3)`.
    pub(super) fn alive(&self, pattern: &Pattern) -> f64 {
        1.0 / (1.0 + self.ln_odds(pattern).exp())
    }

    /// `ln(A4 / A3)`: how much likelier she has stopped than not.
    fn ln_odds(&self, pattern: &Pattern) -> f64 {
        self.ln_stopped + self.shape * ((self.alpha + pattern.age_weeks) / (self.alpha + pattern.recency_weeks)).ln()
    }
}

/// `E[Y(t)]` over the probability of being alive. With `z = t / (α + T + t)` the power of the formula is `(1 − z)^(r + x)`, and both models have
/// `(1 − z)^(r + x) · ₂F₁ = (1 − z)^(a − 1) · ₂F₁` after Euler.
pub(super) fn expected_if_alive(model: &Model, pattern: &Pattern, weeks: f64) -> f64 {
    let [r, alpha, a, b] = model.parameters;
    let a = if (a - 1.0).abs() < ONE_APART { 1.0 + ONE_APART } else { a };
    let shape = r + pattern.repeats;
    let first = stops_after_first(model.kind);
    let top = b + pattern.repeats + first;
    let bottom = a + top - 1.0;
    let z = weeks / (alpha + pattern.age_weeks + weeks);
    let scaled = (1.0 - z).powf(a - 1.0) * hypergeometric_scaled(shape, top, bottom, z);
    bottom / (a - 1.0) * (1.0 - scaled)
}

fn stops_after_first(kind: ModelKind) -> f64 {
    if kind == ModelKind::MbgNbd { 1.0 } else { 0.0 }
}

fn ln_one_plus_exp(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}
