//! Published and measured values of the CDNOW sample (Fader, Hardie and Lee 2005; `lifetimes` 0.11.3).

use super::{day, rows_as_orders, sample};
use crate::purchases::cohorts::cohorts;
use crate::purchases::holdout::{Ranking, Scores, Verdict, scores};
use crate::purchases::metrics::{gaps, totals};
use crate::purchases::models::fit::{fit, fit_patterns};
use crate::purchases::models::gamma_gamma::{GammaGamma, correlation};
use crate::purchases::models::{Model, ModelKind};
use crate::purchases::predict::{Terms, discounted_orders};
use crate::purchases::summary::{Pattern, Summary, Weighted, summaries, weighted_patterns};

const BG: ModelKind = ModelKind::BgNbd;
const MBG: ModelKind = ModelKind::MbgNbd;
const PARETO: ModelKind = ModelKind::ParetoNbd;

fn calibration() -> Vec<Summary> {
    summaries(&sample(), day(1997, 9, 30))
}

fn fitted(kind: ModelKind) -> Model {
    let parameters = match kind {
        ModelKind::BgNbd => [0.242593, 4.413532, 0.792886, 2.425752],
        ModelKind::MbgNbd => [0.524838, 6.182988, 0.891356, 1.614000],
        ModelKind::ParetoNbd => [0.553280, 10.577687, 0.606182, 11.666671],
    };
    Model { kind, parameters }
}

#[track_caller]
fn near(value: f64, expected: f64, part: f64) {
    assert!((value - expected).abs() <= part * expected.abs(), "{value} is not {expected}");
}

fn pattern(repeats: f64, recency_weeks: f64, age_weeks: f64) -> Pattern {
    Pattern { repeats, recency_weeks, age_weeks }
}

#[test]
fn the_calibration_period_has_the_known_summary() {
    let all = calibration();

    assert_eq!(all.len(), 2357);
    assert_eq!(all.iter().map(|one| one.repeats).sum::<u32>(), 2457);
    assert_eq!(all.iter().filter(|one| one.repeats == 0).count(), 1411);
    let holdout = sample().visits().iter().filter(|visit| visit.day > day(1997, 9, 30)).count();
    assert_eq!(holdout, 1882);
}

/// The published summary has weeks of two decimals.
fn published() -> Vec<Weighted> {
    let round = |weeks: f64| (weeks * 100.0).round() / 100.0;
    let mut patterns = weighted_patterns(calibration().iter());
    for Weighted { pattern, .. } in &mut patterns {
        pattern.recency_weeks = round(pattern.recency_weeks);
        pattern.age_weeks = round(pattern.age_weeks);
    }
    patterns
}

#[test]
fn the_models_are_fitted_to_the_known_parameters() {
    for (kind, ln_likelihood) in [(BG, -9582.4256), (MBG, -9582.1327), (PARETO, -9594.9739)] {
        let (model, by) = fit_patterns(kind, &published()).unwrap();

        for (value, expected) in model.parameters.into_iter().zip(fitted(kind).parameters) {
            near(value, expected, 0.005);
        }
        assert!((by.ln_likelihood - ln_likelihood).abs() <= 1e-3, "{kind:?}: {}", by.ln_likelihood);
        assert!(by.has_converged, "{kind:?}");
    }
}

#[test]
fn whole_days_instead_of_rounded_weeks_change_no_parameter() {
    for kind in [BG, MBG, PARETO] {
        let (model, by) = fit(kind, &calibration()).unwrap();

        for (value, expected) in model.parameters.into_iter().zip(fitted(kind).parameters) {
            near(value, expected, 0.005);
        }
        assert_eq!(by.customers, 2357);
    }
}

#[test]
fn gamma_gamma_is_fitted_to_the_known_parameters() {
    let all = calibration();

    let (model, fitted_by) = GammaGamma::fit(&all).unwrap();

    near(model.p, 6.248802, 0.005);
    near(model.q, 3.744588, 0.005);
    near(model.gamma, 15.447748, 0.005);
    assert!((fitted_by.ln_likelihood + 4055.92).abs() <= 5e-3, "{}", fitted_by.ln_likelihood);
    assert_eq!(fitted_by.customers, 946);
    near(correlation(&all), 0.1139, 0.005);
}

#[test]
fn expected_orders_of_39_weeks_are_the_known_ones() {
    let cases = [
        (pattern(2.0, 30.43, 38.86), 1.225910),
        (pattern(0.0, 0.0, 38.86), 0.194781),
        (pattern(1.0, 6.0, 30.0), 0.477021),
        (pattern(10.0, 35.0, 38.0), 6.447987),
    ];
    for (pattern, expected) in cases {
        near(fitted(BG).expected_orders(&pattern, 39.0), expected, 1e-4);
    }
}

#[test]
fn the_probability_of_being_alive_is_the_known_one() {
    let cases = [(BG, 0.72661, 1.0), (MBG, 0.70613, 0.38972), (PARETO, 0.86912, 0.29509)];
    for (kind, twice, once) in cases {
        near(fitted(kind).alive(&pattern(2.0, 30.43, 38.86)), twice, 1e-4);
        near(fitted(kind).alive(&pattern(0.0, 0.0, 38.86)), once, 1e-4);
    }
}

/// `x`, `t_x`, `T`, `m̄` of the first three customers in the published summary.
const FIRST_THREE: [(u32, f64, f64, f64); 3] = [(2, 30.43, 38.86, 22.35), (1, 1.71, 38.86, 11.77), (0, 0.0, 38.86, 0.0)];

fn gamma_gamma() -> GammaGamma {
    GammaGamma { p: 6.248802, q: 3.744588, gamma: 15.447748 }
}

#[test]
fn the_expected_value_of_an_order_is_the_known_one() {
    for ((x, _, _, mean), expected) in FIRST_THREE.into_iter().zip([24.6586, 18.9115, 35.1710]) {
        near(gamma_gamma().expected_value(x, mean).unwrap(), expected, 1e-4);
    }
}

#[test]
fn the_lifetime_value_of_12_months_is_the_known_one() {
    let terms = Terms { discount_monthly: 0.01, margin: 1.0 };
    for ((x, t_x, age, mean), expected) in FIRST_THREE.into_iter().zip([36.2785, 4.6375, 8.3441]) {
        let value = gamma_gamma().expected_value(x, mean).unwrap();
        let pattern = pattern(f64::from(x), t_x, age);

        near(value * discounted_orders(&fitted(BG), &pattern, 12.0 * 4.345, terms), expected, 1e-3);
    }
}

#[test]
fn the_holdout_scores_are_the_known_ones() {
    let cases = [
        (BG, [1653.4, 0.7855, 1.6080, 0.7725, 0.3158]),
        (MBG, [1576.7, 0.7648, 1.6072, 0.7728, 0.6867]),
        (PARETO, [1665.6, 0.7545, 1.6029, 0.7787, 0.7262]),
    ];
    for (kind, [predicted, mae, rmse, auc, auc_alive]) in cases {
        let Scores { model, naive, actual_orders, .. } = scores(&sample(), &fitted(kind), day(1997, 9, 30), 273);

        assert_eq!(actual_orders, 1882);
        near(model.predicted_orders, predicted, 1e-4);
        near(model.mean_absolute_error, mae, 2e-4);
        near(model.root_mean_square_error, rmse, 2e-4);
        near(model.auc_expected, auc, 2e-4);
        near(model.auc_alive, auc_alive, 3e-4);
        near(naive.auc_recency, 0.7714, 2e-4);
        near(naive.auc_frequency, 0.7576, 2e-4);
        near(naive.mean_absolute_error_rate, 1.0237, 2e-4);
        near(naive.mean_absolute_error_zero, 0.7985, 2e-4);
    }
}

#[test]
fn the_expectation_beats_recency_and_the_probability_of_an_order_does_not() {
    for kind in [MBG, PARETO] {
        let scores = scores(&sample(), &fitted(kind), day(1997, 9, 30), 273);

        assert_eq!(scores.verdict(Ranking::ExpectedOrders), Verdict::ModelWins);
        assert_eq!(scores.verdict(Ranking::OrderWithin), Verdict::NaiveWins);
    }
}

#[test]
fn the_totals_are_the_known_ones() {
    let rows = totals(&rows_as_orders());
    assert_eq!((rows.orders, rows.buyers), (6919, 2357));
    near(rows.revenue, 244_091.94, 1e-9);
    near(rows.average_order_value, 35.2785, 1e-5);
    near(rows.purchase_frequency, 2.935511, 1e-6);
    near(rows.repeat_rate, 0.488757, 1e-5);
    near(rows.customer_value, 103.560433, 1e-6);

    let days = totals(&sample());
    assert_eq!(days.orders, 6696);
    near(days.average_order_value, 36.453396, 1e-6);
    near(days.purchase_frequency, 2.840899, 1e-6);
    near(days.repeat_rate, 0.483241, 1e-5);
}

#[test]
fn the_gaps_are_the_known_ones() {
    let gaps = gaps(&sample());

    assert_eq!(gaps.gaps, 4339);
    near(gaps.mean_days, 70.8606, 1e-5);
    near(gaps.median_days, 34.0, 1e-9);
}

#[test]
fn the_cohorts_are_the_known_ones() {
    let known: [(u64, [u64; 12]); 3] = [
        (781, [124, 95, 70, 65, 77, 65, 53, 52, 45, 62, 59, 45]),
        (857, [134, 110, 75, 77, 75, 61, 61, 74, 70, 59, 57, 59]),
        (719, [87, 84, 78, 63, 64, 55, 57, 73, 65, 47, 51, 78]),
    ];

    let cohorts = cohorts(&sample(), day(1998, 6, 30));

    let found: Vec<(u64, Vec<u64>)> =
        cohorts.iter().map(|one| (one.size, one.ordering.iter().copied().take(12).collect())).collect();
    assert_eq!(found, known.map(|(size, months)| (size, months.to_vec())));
}

#[test]
fn a_fit_needs_few_evaluations() {
    let (_, fitted_by) = fit(MBG, &calibration()).unwrap();

    assert!(fitted_by.evaluations < 2_000, "{} evaluations", fitted_by.evaluations);
}
