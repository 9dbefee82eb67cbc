//! Maximum likelihood: the parameters of a model that make what was seen likeliest.

use std::convert::Infallible;

use basin::{CostFunction, Executor, NelderMead, SimplexProgress};
use serde::Serialize;

use super::{Model, ModelKind};
use crate::purchases::summary::{Summary, Weighted, weighted_patterns};

/// Customers that a fit looks at: of a larger base every n-th one is taken. The sample of the literature has 2,357, and
/// the error of a parameter shrinks with the root of the number.
pub const FIT_CUSTOMERS_MAX: usize = 25_000;
/// Steps of one search.
const STEPS_MAX: u64 = 2_000;
/// Searches from the best point so far, each with a fresh simplex: one alone may stop in a valley.
const SEARCHES_MAX: usize = 6;
/// A search that gains less ends the fit.
const GAIN_MIN: f64 = 1e-6;
/// The first simplex, in logarithms of the parameters.
const STEP: f64 = 0.5;
/// Parameters stay within `e^±LOGARITHM_MAX`; one at the edge says that the data do not tell it.
const LOGARITHM_MAX: f64 = 12.0;

/// Where a search ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fitted {
    pub parameters: Vec<f64>,
    pub ln_likelihood: f64,
    /// Customers that it looked at.
    pub customers: u64,
    /// Times that the likelihood of all of them was computed.
    pub evaluations: u64,
    /// The search came to rest, and no parameter is at the edge of what is tried.
    pub has_converged: bool,
}

/// Fits a model of repeat buying; `None` without customers or where no likelihood can be computed.
#[must_use]
pub fn fit(kind: ModelKind, summaries: &[Summary]) -> Option<(Model, Fitted)> {
    let sample = sample(summaries, |_| true);
    let fitted = fit_patterns(kind, &weighted_patterns(sample.iter()));
    fitted.map(|(model, fitted)| (model, Fitted { customers: u64::try_from(sample.len()).unwrap_or(u64::MAX), ..fitted }))
}

/// As [`fit`], from patterns sorted by repeats; the number of customers is left 0.
#[must_use]
pub fn fit_patterns(kind: ModelKind, patterns: &[Weighted]) -> Option<(Model, Fitted)> {
    let mean = |of: fn(&Weighted) -> f64| {
        let all: f64 = patterns.iter().map(|one| one.customers).sum();
        patterns.iter().map(|one| one.customers * of(one)).sum::<f64>() / all
    };
    let (age, repeats) = (mean(|one| one.pattern.age_weeks), mean(|one| one.pattern.repeats));
    let pace = (age / (repeats + 1.0)).max(1.0);
    let start = match kind {
        ModelKind::MbgNbd | ModelKind::BgNbd => [1.0, pace, 1.0, 2.0],
        ModelKind::ParetoNbd => [1.0, pace, 1.0, age.max(1.0)],
    };
    let model = |parameters: &[f64]| parameters.try_into().ok().map(|parameters| Model { kind, parameters });
    let cost = |parameters: &[f64]| model(parameters).map_or(f64::NAN, |model| -model.ln_likelihood(patterns));
    let fitted = minimise(&start, cost);
    let model = model(&fitted.parameters).filter(|_| fitted.ln_likelihood.is_finite() && !patterns.is_empty())?;
    Some((model, fitted))
}

/// The summaries that are asked for, of more than [`FIT_CUSTOMERS_MAX`] every n-th.
pub(super) fn sample(summaries: &[Summary], is_asked: impl Fn(&Summary) -> bool) -> Vec<Summary> {
    let asked: Vec<&Summary> = summaries.iter().filter(|one| is_asked(one)).collect();
    let step = asked.len().div_ceil(FIT_CUSTOMERS_MAX).max(1);
    asked.into_iter().step_by(step).copied().collect()
}

/// The positive parameters with the least cost, searched by Nelder and Mead among their logarithms.
pub(super) fn minimise(start: &[f64], cost: impl Fn(&[f64]) -> f64) -> Fitted {
    let objective = Objective { cost };
    let mut best: Vec<f64> = start.iter().map(|parameter| parameter.ln()).collect();
    let mut least = objective.at(&best);
    let (mut evaluations, mut rests) = (0, false);
    for search in 0..SEARCHES_MAX {
        let step = if search == 0 { STEP } else { STEP / 4.0 };
        let state = SimplexProgress::from_simplex(simplex(&best, step));
        let Ok(found) = Executor::new(&objective, NelderMead::new(), state).max_iter(STEPS_MAX).run();
        evaluations += found.cost_evals();
        let gain = least - found.best_cost();
        if gain > 0.0 {
            least = found.best_cost();
            best.clone_from(found.best_param());
        }
        if search > 0 && gain < GAIN_MIN {
            rests = true;
            break;
        }
    }
    let is_inside = best.iter().all(|parameter| parameter.abs() < LOGARITHM_MAX - STEP);
    Fitted {
        parameters: best.iter().map(|parameter| parameter.exp()).collect(),
        ln_likelihood: -least,
        customers: 0,
        evaluations,
        has_converged: rests && is_inside,
    }
}

fn simplex(around: &[f64], step: f64) -> Vec<Vec<f64>> {
    let moved = (0..around.len()).map(|moved| {
        let coordinates = around.iter().enumerate();
        coordinates.map(|(place, value)| if place == moved { value + step } else { *value }).collect()
    });
    std::iter::once(around.to_vec()).chain(moved).collect()
}

struct Objective<F> {
    cost: F,
}

impl<F: Fn(&[f64]) -> f64> Objective<F> {
    fn at(&self, logarithms: &[f64]) -> f64 {
        if logarithms.iter().any(|value| value.abs() > LOGARITHM_MAX) {
            return f64::INFINITY;
        }
        let parameters: Vec<f64> = logarithms.iter().map(|value| value.exp()).collect();
        let cost = (self.cost)(&parameters);
        if cost.is_finite() { cost } else { f64::INFINITY }
    }
}

impl<F: Fn(&[f64]) -> f64> CostFunction for &Objective<F> {
    type Param = Vec<f64>;
    type Output = f64;
    type Error = Infallible;

    fn cost(&self, logarithms: &Vec<f64>) -> Result<f64, Infallible> {
        Ok(self.at(logarithms))
    }
}
