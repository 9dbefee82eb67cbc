//! How well a model foretold the orders of a period that it was not shown, beside rules that need no model.

use serde::Serialize;

use super::metrics::{count, ratio};
use super::models::Model;
use super::orders::History;
use super::summary::{Summary, summaries, weeks};

/// Customers who bought in the period, and who did not, below which the scores say nothing (Segment's public minimum).
pub const CUSTOMERS_MIN: u64 = 100;

/// Scores over all customers whose first order is before the period.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    pub customers: u64,
    /// Those who ordered in the period.
    pub buyers: u64,
    /// Days with orders in the period, of all of them.
    pub actual_orders: u64,
    pub model: ModelScores,
    pub naive: NaiveScores,
}

/// AUC: the probability that one who bought was ranked before one who did not; one half is chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ModelScores {
    pub predicted_orders: f64,
    /// Of expected days with orders per customer.
    pub mean_absolute_error: f64,
    pub root_mean_square_error: f64,
    /// Ranked by expected orders.
    pub auc_expected: f64,
    /// Ranked by the probability of an order in the period.
    pub auc_order_within: f64,
    /// Ranked by the probability of being alive.
    pub auc_alive: f64,
}

/// Rules that need no model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct NaiveScores {
    /// Ranked by the last order, the latest first.
    pub auc_recency: f64,
    /// Ranked by repeat orders.
    pub auc_frequency: f64,
    /// Everybody goes on at the rate until now.
    pub mean_absolute_error_rate: f64,
    /// Nobody buys.
    pub mean_absolute_error_zero: f64,
}

/// What a score says of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    ModelWins,
    /// The latest buyers first ranks at least as well.
    NaiveWins,
    /// Too few bought, or did not, to tell.
    TooFew,
}

/// What of a model customers are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ranking {
    ExpectedOrders,
    OrderWithin,
}

impl Scores {
    /// The model against recency alone, by who orders in the period.
    #[must_use]
    pub fn verdict(&self, ranking: Ranking) -> Verdict {
        let auc = match ranking {
            Ranking::ExpectedOrders => self.model.auc_expected,
            Ranking::OrderWithin => self.model.auc_order_within,
        };
        if self.buyers < CUSTOMERS_MIN || self.customers - self.buyers < CUSTOMERS_MIN {
            Verdict::TooFew
        } else if auc > self.naive.auc_recency {
            Verdict::ModelWins
        } else {
            Verdict::NaiveWins
        }
    }
}

/// Scores `model`, which was fitted to what was known on the evening of `end_day`, by the `days` after it.
#[must_use]
pub fn scores(history: &History, model: &Model, end_day: i32, days: u32) -> Scores {
    let last_day = end_day.saturating_add(i32::try_from(days).unwrap_or(i32::MAX));
    let actual: Vec<u64> = history
        .customers()
        .filter(|visits| visits.first().is_some_and(|first| first.day <= end_day))
        .map(|visits| {
            let until = |day: i32| visits.partition_point(|visit| visit.day <= day);
            u64::try_from(until(last_day) - until(end_day)).unwrap_or(u64::MAX)
        })
        .collect();
    let actual_orders = actual.iter().sum();
    let actual: Vec<f64> = actual.into_iter().map(count).collect();
    let known = summaries(history, end_day);
    let horizon = weeks(days);
    let of_model = |score: &dyn Fn(&Summary) -> f64| known.iter().map(score).collect::<Vec<f64>>();
    let expected = of_model(&|one| model.expected_orders(&one.pattern(), horizon));
    let has_bought: Vec<bool> = actual.iter().map(|orders| *orders > 0.0).collect();
    let rate = |one: &Summary| ratio(f64::from(one.repeats), weeks(one.age_days)) * horizon;
    Scores {
        customers: u64::try_from(known.len()).unwrap_or(u64::MAX),
        buyers: has_bought.iter().map(|bought| u64::from(*bought)).sum(),
        actual_orders,
        model: ModelScores {
            predicted_orders: expected.iter().sum(),
            mean_absolute_error: mean(&expected, &actual, f64::abs),
            root_mean_square_error: mean(&expected, &actual, |error| error * error).sqrt(),
            auc_expected: auc(&expected, &has_bought),
            auc_order_within: auc(&of_model(&|one| model.order_within(&one.pattern(), horizon)), &has_bought),
            auc_alive: auc(&of_model(&|one| model.alive(&one.pattern())), &has_bought),
        },
        naive: NaiveScores {
            auc_recency: auc(&of_model(&|one| f64::from(one.last_day)), &has_bought),
            auc_frequency: auc(&of_model(&|one| f64::from(one.repeats)), &has_bought),
            mean_absolute_error_rate: mean(&of_model(&rate), &actual, f64::abs),
            mean_absolute_error_zero: mean(&vec![0.0; actual.len()], &actual, f64::abs),
        },
    }
}

fn mean(predicted: &[f64], actual: &[f64], of_error: impl Fn(f64) -> f64) -> f64 {
    let sum: f64 = predicted.iter().zip(actual).map(|(predicted, actual)| of_error(predicted - actual)).sum();
    ratio(sum, count(u64::try_from(actual.len()).unwrap_or(u64::MAX)))
}

/// The area under the ROC curve, by ranks; equal scores share their mean rank. One half when all or none bought.
#[must_use]
pub fn auc(scores: &[f64], has_bought: &[bool]) -> f64 {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(has_bought.iter().copied()).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut before, mut buyers) = (0.0, 0_u64, 0_u64);
    for group in ranked.chunk_by(|a, b| a.0 == b.0) {
        let size = u64::try_from(group.len()).unwrap_or(u64::MAX);
        let bought = group.iter().map(|(_, bought)| u64::from(*bought)).sum();
        rank_sum += count(bought) * (count(before) + (count(size) + 1.0) / 2.0);
        before += size;
        buyers += bought;
    }
    let others = before - buyers;
    if buyers == 0 || others == 0 {
        return 0.5;
    }
    let (buyers, others) = (count(buyers), count(others));
    (rank_sum - buyers * (buyers + 1.0) / 2.0) / (buyers * others)
}
