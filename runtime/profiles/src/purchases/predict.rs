//! Predictions for all customers from their history: fit, judge, foretell; or say why not.

use std::collections::HashMap;

use super::calendar::day_text;
use super::card::{FitCard, HoldoutCard, ModelCard};
use super::gate::{self, Refusal};
use super::holdout::{Ranking, scores};
use super::models::fit::fit;
use super::models::gamma_gamma::{GammaGamma, correlation};
use super::models::{Model, ModelKind};
use super::next_order::{NextOrder, Rhythms, next_order};
use super::orders::{History, Visit};
use super::summary::{Pattern, Summary, summaries, weeks};

/// Weeks in a month, as the field's reference implementation of lifetime values counts them.
const MONTH_WEEKS: f64 = 4.345;

/// Customers that a model is judged by: of a larger base every n-th one.
const JUDGES_MAX: usize = 100_000;

/// What a customer is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Money in a month is worth `1 / (1 + d)` of money now.
    pub discount_monthly: f64,
    /// Part of the revenue that counts, 0 to 1.
    pub margin: f64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { discount_monthly: 0.01, margin: 1.0 }
    }
}

/// Which prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub kind: ModelKind,
    /// Also fit values, and give lifetime values.
    pub with_values: bool,
    /// Days from now on, at least 1.
    pub horizon_days: u32,
    pub terms: Terms,
    /// By which of its values the model is judged.
    pub ranking: Ranking,
}

/// What is expected of one customer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    pub customer: u32,
    /// Probability that she has not stopped.
    pub alive: f64,
    /// Days with orders within the horizon.
    pub expected_orders: f64,
    /// Probability of no order within the horizon.
    pub churn: f64,
    /// Discounted margin of the orders within the horizon, in the currency; `None` where values are not fitted.
    pub lifetime_value: Option<f64>,
    pub next_order: Option<NextOrder>,
}

/// Predictions by customer, none where the card has a refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    pub card: ModelCard,
    pub predictions: Vec<Prediction>,
}

/// Predicts from what was known on the evening of `end_day`; later visits are not looked at.
#[must_use]
pub fn predict(history: &History, end_day: i32, settings: &Settings) -> Predicted {
    predict_by_category(history, end_day, settings, &HashMap::new())
}

/// As [`predict`], where dates of next orders are drawn to the rhythm of the category that a customer buys most.
#[must_use]
pub fn predict_by_category(history: &History, end_day: i32, settings: &Settings, category_of: &HashMap<u32, u32>) -> Predicted {
    let history = history.clone().until(end_day).with_one_order_a_day();
    let mut card = card_of(&history, end_day, settings);
    match fit_all(&history, end_day, settings, &mut card) {
        Err(refusal) => {
            card.refusal = Some(refusal.to_string());
            Predicted { card, predictions: Vec::new() }
        }
        Ok(models) => {
            card.holdout = judge(&history, end_day, settings);
            note(&mut card);
            let rhythms = Rhythms::new(&history, category_of);
            if rhythms.categories() > 0 {
                let categories = rhythms.categories();
                card.notes.push(format!("dates of next orders are drawn to the rhythms of {categories} categories"));
            }
            Predicted { card, predictions: foretell(&history, end_day, settings, (&models, &rhythms)) }
        }
    }
}

/// The sum over months of expected orders, each month's discounted, times the margin: what a customer whose orders are
/// worth 1 is worth.
#[must_use]
pub fn discounted_orders(model: &Model, pattern: &Pattern, horizon_weeks: f64, terms: Terms) -> f64 {
    let (mut sum, mut before, mut month) = (0.0, 0.0, 0.0_f64);
    while month * MONTH_WEEKS < horizon_weeks {
        month += 1.0;
        let until = (month * MONTH_WEEKS).min(horizon_weeks);
        let expected = model.expected_if_alive(pattern, until);
        sum += (expected - before) / (1.0 + terms.discount_monthly).powf(until / MONTH_WEEKS);
        before = expected;
    }
    sum * terms.margin * model.alive(pattern)
}

struct Models {
    model: Model,
    values: Option<GammaGamma>,
}

fn card_of(history: &History, end_day: i32, settings: &Settings) -> ModelCard {
    let days = history.days();
    ModelCard {
        first_order_on: days.map_or_else(String::new, |(first, _)| day_text(first)),
        last_order_on: days.map_or_else(String::new, |(_, last)| day_text(last)),
        end_on: day_text(end_day),
        buyers: u64::try_from(history.customers().count()).unwrap_or(u64::MAX),
        orders: u64::try_from(history.visits().len()).unwrap_or(u64::MAX),
        horizon_days: settings.horizon_days,
        ..ModelCard::default()
    }
}

fn fit_all(history: &History, end_day: i32, settings: &Settings, card: &mut ModelCard) -> Result<Models, Refusal> {
    gate::admit(history, end_day)?;
    let known = summaries(history, end_day);
    let values = if settings.with_values { Some(fit_values(&known, card)?) } else { None };
    let (model, fitted) = fit(settings.kind, &known).ok_or(Refusal::NoFit)?;
    card.fits.insert(0, FitCard::new(settings.kind.as_str(), &settings.kind.parameter_names(), &fitted));
    Ok(Models { model, values })
}

fn fit_values(known: &[Summary], card: &mut ModelCard) -> Result<GammaGamma, Refusal> {
    let valued = known.iter().filter(|one| one.repeats > 0 && one.mean_repeat_value > 0.0).count();
    let buyers = u64::try_from(valued).unwrap_or(u64::MAX);
    if buyers < gate::VALUED_BUYERS_MIN {
        return Err(Refusal::FewValuedBuyers { buyers });
    }
    let correlation = correlation(known);
    if correlation.abs() >= gate::CORRELATION_MAX {
        return Err(Refusal::ValuesDependOnFrequency { correlation });
    }
    card.notes.push(format!("the correlation of frequency and value is {correlation:.3}; Gamma-Gamma takes it for 0"));
    let (values, fitted) = GammaGamma::fit(known).ok_or(Refusal::NoFit)?;
    card.fits.push(FitCard::new("gamma_gamma", &["p", "q", "gamma"], &fitted));
    if values.q <= 1.0 { Err(Refusal::HeavyValues) } else { Ok(values) }
}

/// Fits again without the last days and scores by them: as many as the horizon has, at most a third of the history.
fn judge(history: &History, end_day: i32, settings: &Settings) -> Option<HoldoutCard> {
    let (first, _) = history.days()?;
    let third = u32::try_from((end_day - first) / 3).ok()?;
    let days = settings.horizon_days.min(third).max(1);
    let until = end_day.checked_sub(i32::try_from(days).ok()?)?;
    let judges = history.sample(JUDGES_MAX);
    let (model, _) = fit(settings.kind, &summaries(&judges, until))?;
    Some(HoldoutCard::new(&scores(&judges, &model, until, days), until, days, settings.ranking))
}

fn note(card: &mut ModelCard) {
    if let Some(holdout) = &card.holdout {
        card.notes.push(holdout.sentence());
        if holdout.days < card.horizon_days {
            let (days, horizon) = (holdout.days, card.horizon_days);
            card.notes.push(format!("judged by {days} days only: the history is too short to judge all {horizon}"));
        }
    }
    for fit in card.fits.iter().filter(|fit| !fit.has_converged) {
        card.notes.push(format!("the data do not tell all parameters of {}: one is at its limit", fit.model));
    }
}

fn foretell(history: &History, end_day: i32, settings: &Settings, (models, rhythms): (&Models, &Rhythms)) -> Vec<Prediction> {
    let mut customers: Vec<(Summary, &[Visit])> =
        history.customers().filter_map(|visits| Some((Summary::of(visits, end_day)?, visits))).collect();
    let key = |one: &Summary| (one.repeats, one.recency_days, one.age_days);
    customers.sort_unstable_by_key(|(summary, _)| key(summary));
    let horizon = Horizon { models, settings, rhythms, end_day };
    let mut predictions = Vec::with_capacity(customers.len());
    for group in customers.chunk_by(|a, b| key(&a.0) == key(&b.0)) {
        horizon.foretell_group(group, &mut predictions);
    }
    predictions.sort_unstable_by_key(|one| one.customer);
    predictions
}

struct Horizon<'a> {
    models: &'a Models,
    settings: &'a Settings,
    rhythms: &'a Rhythms,
    end_day: i32,
}

impl Horizon<'_> {
    /// Customers of one pattern: what depends on it alone is computed once.
    fn foretell_group(&self, group: &[(Summary, &[Visit])], into: &mut Vec<Prediction>) {
        let Some(pattern) = group.first().map(|(summary, _)| summary.pattern()) else { return };
        let Models { model, values } = self.models;
        let horizon_weeks = weeks(self.settings.horizon_days);
        let alive = model.alive(&pattern);
        let expected_orders = model.expected_orders(&pattern, horizon_weeks);
        let churn = 1.0 - model.order_within(&pattern, horizon_weeks);
        let worth = values.map(|values| (values, discounted_orders(model, &pattern, horizon_weeks, self.settings.terms)));
        into.extend(group.iter().map(|(summary, visits)| Prediction {
            customer: summary.customer,
            alive,
            expected_orders,
            churn,
            lifetime_value:
                worth.and_then(|(values, orders)| {
                    Some(orders * values.expected_value(summary.repeats, summary.mean_repeat_value)?)
                }),
            next_order: next_order(visits, self.rhythms.of(summary.customer), alive, self.end_day),
        }));
    }
}
