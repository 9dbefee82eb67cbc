//! What is said of a prediction beside its values: from which data, by which parameters, how well it would have done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calendar::day_text;
use super::holdout::{Ranking, Scores, Verdict};
use super::models::fit::Fitted;

/// A model card. Stored with the trait, so that a value can be judged long after it was computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelCard {
    /// Days as `2026-05-31`; empty without orders.
    pub first_order_on: String,
    pub last_order_on: String,
    /// The day on whose evening it was computed.
    pub end_on: String,
    pub buyers: u64,
    /// Days with orders.
    pub orders: u64,
    /// Of the values; empty where no model of values is fitted or no order has one.
    pub currency: String,
    /// Orders in other currencies: they count, their values are left out.
    pub orders_in_other_currencies: u64,
    pub horizon_days: u32,
    pub fits: Vec<FitCard>,
    pub holdout: Option<HoldoutCard>,
    /// Why there is no prediction.
    pub refusal: Option<String>,
    /// What a reader should know before trusting it.
    pub notes: Vec<String>,
}

/// One fitted model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FitCard {
    pub model: String,
    pub parameters: BTreeMap<String, f64>,
    pub ln_likelihood: f64,
    /// Customers that it looked at.
    pub customers: u64,
    pub evaluations: u64,
    pub has_converged: bool,
}

/// The model fitted to all but the last days, and judged by them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HoldoutCard {
    /// The last day that the model was shown.
    pub fitted_until: String,
    pub days: u32,
    pub customers: u64,
    pub buyers: u64,
    pub actual_orders: u64,
    pub predicted_orders: f64,
    pub mean_absolute_error: f64,
    /// AUC of who buys, ranked by the expected orders.
    pub auc_expected_orders: f64,
    /// Ranked by the probability of an order: churn is 1 minus it.
    pub auc_order_within: f64,
    /// Ranked by the last order alone, the latest first.
    pub auc_recency: f64,
    /// Whether the value of the trait ranks better than recency: `model_wins`, `naive_wins` or `too_few`.
    pub verdict: String,
}

impl FitCard {
    /// The card of a fit, with the names of its parameters in their order.
    #[must_use]
    pub fn new(model: &str, names: &[&str], fitted: &Fitted) -> Self {
        Self {
            model: model.to_owned(),
            parameters: names.iter().map(|name| (*name).to_owned()).zip(fitted.parameters.iter().copied()).collect(),
            ln_likelihood: fitted.ln_likelihood,
            customers: fitted.customers,
            evaluations: fitted.evaluations,
            has_converged: fitted.has_converged,
        }
    }
}

impl HoldoutCard {
    /// The card of scores over the `days` after `end_day`.
    #[must_use]
    pub fn new(scores: &Scores, end_day: i32, days: u32, ranking: Ranking) -> Self {
        let verdict = match scores.verdict(ranking) {
            Verdict::ModelWins => "model_wins",
            Verdict::NaiveWins => "naive_wins",
            Verdict::TooFew => "too_few",
        };
        Self {
            fitted_until: day_text(end_day),
            days,
            customers: scores.customers,
            buyers: scores.buyers,
            actual_orders: scores.actual_orders,
            predicted_orders: scores.model.predicted_orders,
            mean_absolute_error: scores.model.mean_absolute_error,
            auc_expected_orders: scores.model.auc_expected,
            auc_order_within: scores.model.auc_order_within,
            auc_recency: scores.naive.auc_recency,
            verdict: verdict.to_owned(),
        }
    }

    /// The verdict as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { days, auc_expected_orders, auc_order_within, auc_recency, .. } = self;
        let figures = format!(
            "AUC {auc_expected_orders:.3} by expected orders, {auc_order_within:.3} by the probability of one, {auc_recency:.3} by recency"
        );
        match self.verdict.as_str() {
            "model_wins" => format!("on the last {days} days it ranks who buys better than recency alone: {figures}"),
            "naive_wins" => format!("on the last {days} days recency alone ranks who buys at least as well: {figures}"),
            _ => format!("in the last {days} days too few customers bought, or did not, to judge it"),
        }
    }
}
