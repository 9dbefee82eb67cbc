//! Gamma-Gamma: what a customer spends at a visit, from what she spent and what all spend.

use serde::Serialize;

use super::fit::{Fitted, minimise, sample};
use super::special::ln_gamma;
use crate::purchases::metrics::number;
use crate::purchases::summary::Summary;

/// The model, with parameters of the currency it was fitted in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GammaGamma {
    pub p: f64,
    pub q: f64,
    pub gamma: f64,
}

impl GammaGamma {
    /// Fits the model to customers with repeat orders of positive value; `None` without any.
    #[must_use]
    pub fn fit(summaries: &[Summary]) -> Option<(Self, Fitted)> {
        let sample = sample(summaries, |one| repeat_value(one).is_some());
        let mut values: Vec<(f64, f64)> = sample.iter().filter_map(repeat_value).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean = values.iter().map(|(_, value)| value).sum::<f64>() / number(values.len());
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        let cost = |parameters: &[f64]| match *parameters {
            [p, q, gamma] => -Self { p, q, gamma }.ln_likelihood(&values),
            _ => f64::NAN,
        };
        let mut fitted = minimise(&[1.0, 2.0, mean], cost);
        fitted.customers = u64::try_from(values.len()).unwrap_or(u64::MAX);
        match *fitted.parameters.as_slice() {
            [p, q, gamma] => Some((Self { p, q, gamma }, fitted)),
            _ => None,
        }
    }

    /// Sum of the logarithms of the likelihoods of customers with `(x, m̄)`, sorted by `x`.
    fn ln_likelihood(&self, values: &[(f64, f64)]) -> f64 {
        let Self { p, q, gamma } = *self;
        let of_group = |group: &[(f64, f64)]| {
            let Some((x, _)) = group.first().copied() else { return 0.0 };
            let shape = p * x;
            let front = ln_gamma(shape + q) - ln_gamma(shape) - ln_gamma(q) + q * gamma.ln() + shape * x.ln();
            let each = |(_, m): &(f64, f64)| front + (shape - 1.0) * m.ln() - (shape + q) * x.mul_add(*m, gamma).ln();
            group.iter().map(each).sum::<f64>()
        };
        values.chunk_by(|a, b| a.0.to_bits() == b.0.to_bits()).map(of_group).sum()
    }

    /// `E[M | x, m̄]`, in the currency: the mean of all for a customer without repeat orders. `None` where that mean is
    /// not finite (`q ≤ 1`) and she has none.
    #[must_use]
    pub fn expected_value(&self, repeats: u32, mean_repeat_value: f64) -> Option<f64> {
        let Self { p, q, gamma } = *self;
        let x = if mean_repeat_value > 0.0 { f64::from(repeats) } else { 0.0 };
        let weight = p * x + q - 1.0;
        (weight > 0.0).then(|| p * (gamma + x * mean_repeat_value) / weight)
    }
}

fn repeat_value(summary: &Summary) -> Option<(f64, f64)> {
    (summary.repeats > 0 && summary.mean_repeat_value > 0.0).then(|| (f64::from(summary.repeats), summary.mean_repeat_value))
}

/// Pearson's correlation of `x` and `m̄` over customers with repeat orders of positive value: the model takes it for 0.
#[must_use]
pub fn correlation(summaries: &[Summary]) -> f64 {
    let values: Vec<(f64, f64)> = summaries.iter().filter_map(repeat_value).collect();
    let n = number(values.len());
    let mean_x = values.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_m = values.iter().map(|(_, m)| m).sum::<f64>() / n;
    let (mut xx, mut mm, mut xm) = (0.0, 0.0, 0.0);
    for (x, m) in values {
        xx += (x - mean_x).powi(2);
        mm += (m - mean_m).powi(2);
        xm += (x - mean_x) * (m - mean_m);
    }
    if xx * mm > 0.0 { xm / (xx * mm).sqrt() } else { 0.0 }
}
