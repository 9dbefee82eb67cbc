//! `profiles/traits.yaml` → [`ComputedTrait`]s.

use affluent_model::plan::{ComputedTrait, Measure};
use affluent_model::prediction::{PredictPlan, PredictedValue, RepeatModel};

use super::expression;
use super::profiles::check_column_name;
use crate::mistake::{self, FileReport};
use crate::placed::Placed;
use crate::raw::profiles::{RawModel, RawPredict, RawPredictedValue, RawTrait, RawTraits};
use crate::scalar;

/// Bins of each RFM measure, when the file does not say: the field's custom.
const BINS: u8 = 5;
/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Days ahead, when the file does not say.
const HORIZON_DAYS: u32 = 90;
/// Days ahead at most: beyond, no history of a shop says anything.
const HORIZON_DAYS_MAX: u32 = 1_826;
/// What money loses in a month, when the file does not say.
const DISCOUNT_MONTHLY: f64 = 0.01;

pub(crate) fn traits(raw: &RawTraits, report: &mut FileReport) -> Vec<ComputedTrait> {
    raw.traits.iter().filter_map(|(name, raw)| computed_trait(name, raw, report)).collect()
}

fn computed_trait(name: &Placed<String>, raw: &Placed<RawTrait>, report: &mut FileReport) -> Option<ComputedTrait> {
    check_column_name(name, report);
    let Some(measure) = measure(raw, report) else {
        let keys = "sql, most_frequent, recommend, rfm, predict";
        let message = format!("the trait `{}` must have exactly one of the keys {keys}", name.as_str());
        report.add(mistake::COMBINATION, name.place(), message);
        return None;
    };
    if let (Measure::Recommend(_), Some(window)) = (&measure, &raw.window) {
        let message = format!("`window` does not go with recommend: the trait `{}` is made of all records", name.as_str());
        report.add_help(mistake::COMBINATION, window.place(), message, "leave `window` out");
        return None;
    }
    let is_of_orders = matches!(measure, Measure::Rfm { .. } | Measure::Predict(_));
    let fits = if is_of_orders { has_no_stream(name, raw, report) } else { has_stream(name, raw, report) };
    fits.then(|| ComputedTrait {
        name: name.to_string(),
        from: raw.from.as_ref().map_or_else(String::new, |from| from.to_string()),
        measure,
        window_ms: raw.window.as_ref().and_then(|window| scalar::duration_ms(window).ok()),
        at: report.location(name.place()),
    })
}

/// What a trait computes; `None` unless exactly one key says it.
fn measure(raw: &RawTrait, report: &mut FileReport) -> Option<Measure> {
    let mut said: Vec<Measure> = Vec::new();
    said.extend(raw.sql.iter().map(|sql| Measure::Sql(expression(sql, report))));
    said.extend(raw.most_frequent.iter().map(|column| Measure::MostFrequent(expression(column, report))));
    said.extend(raw.recommend.iter().map(|column| Measure::Recommend(expression(column, report))));
    said.extend(raw.rfm.iter().map(|rfm| {
        let bins = rfm.bins.and_then(|bins| u8::try_from(bins).ok()).unwrap_or(BINS);
        Measure::Rfm { bins }
    }));
    match (&raw.predict, said.len()) {
        (Some(predict), 0) => Some(Measure::Predict(prediction(predict, report))),
        (None, 1) => said.pop(),
        _ => None,
    }
}

fn has_stream(name: &Placed<String>, raw: &RawTrait, report: &mut FileReport) -> bool {
    if raw.from.is_none() {
        let message = format!("the trait `{}` lacks `from`, the stream whose records it counts", name.as_str());
        report.add_help(mistake::MISSING_KEY, name.place(), message, "such as `from: orders`");
    }
    raw.from.is_some()
}

fn has_no_stream(name: &Placed<String>, raw: &RawTrait, report: &mut FileReport) -> bool {
    for (key, value) in [("from", &raw.from), ("window", &raw.window)] {
        if let Some(value) = value {
            let message =
                format!("`{key}` does not go with rfm and predict: the trait `{}` is made of all orders", name.as_str());
            report.add_help(mistake::COMBINATION, value.place(), message, format!("leave `{key}` out"));
        }
    }
    raw.from.is_none() && raw.window.is_none()
}

fn prediction(raw: &Placed<RawPredict>, report: &mut FileReport) -> PredictPlan {
    let default = [RawModel::MbgNbd];
    let models: &[RawModel] = raw.model.as_deref().unwrap_or(&default);
    let has_values = models.contains(&RawModel::GammaGamma);
    let repeat: Vec<RepeatModel> = models.iter().filter_map(repeat_model).collect();
    let value = match raw.value {
        Some(value) => predicted_value(value),
        None if has_values => PredictedValue::LifetimeValue,
        None => PredictedValue::ExpectedOrders,
    };
    let mut refuse = |message: &str, help: &str| report.add_help(mistake::COMBINATION, raw.place(), message, help);
    if repeat.len() > 1 || models.len() - repeat.len() > 1 {
        refuse("a prediction has one model of repeat buying", "write one trait for each model");
    }
    let wants_values = value == PredictedValue::LifetimeValue;
    if wants_values && raw.model.is_some() && !has_values {
        refuse("a lifetime value needs a model of values", "add `gamma_gamma` to `model`");
    }
    if has_values && !wants_values {
        refuse("`gamma_gamma` is for lifetime values only", "leave it out, or write `value: lifetime_value`");
    }
    let model = repeat.first().copied().unwrap_or(RepeatModel::MbgNbd);
    if model == RepeatModel::BgNbd && value == PredictedValue::Alive {
        refuse("under `bg_nbd` whoever bought once is alive by construction", "use `mbg_nbd`");
    }
    let share =
        |text: &Option<Placed<String>>, default: f64| text.as_ref().and_then(|text| scalar::share(text).ok()).unwrap_or(default);
    PredictPlan {
        value,
        model,
        horizon_days: raw.horizon.as_ref().map_or(HORIZON_DAYS, |horizon| horizon_days(horizon, report)),
        margin: share(&raw.margin, 1.0),
        discount_monthly: share(&raw.discount_monthly, DISCOUNT_MONTHLY),
    }
}

fn horizon_days(horizon: &Placed<String>, report: &mut FileReport) -> u32 {
    let Ok(ms) = scalar::duration_ms(horizon) else { return HORIZON_DAYS };
    let days = u32::try_from(ms / DAY_MS).unwrap_or(u32::MAX);
    if ms % DAY_MS != 0 || !(1..=HORIZON_DAYS_MAX).contains(&days) {
        let message = format!("a horizon is 1 to {HORIZON_DAYS_MAX} whole days, this is `{}`", horizon.as_str());
        report.add_help(mistake::OUT_OF_RANGE, horizon.place(), message, "such as `90d` or `365d`");
        return HORIZON_DAYS;
    }
    days
}

fn repeat_model(model: &RawModel) -> Option<RepeatModel> {
    match model {
        RawModel::MbgNbd => Some(RepeatModel::MbgNbd),
        RawModel::BgNbd => Some(RepeatModel::BgNbd),
        RawModel::ParetoNbd => Some(RepeatModel::ParetoNbd),
        RawModel::GammaGamma => None,
    }
}

fn predicted_value(value: RawPredictedValue) -> PredictedValue {
    match value {
        RawPredictedValue::ExpectedOrders => PredictedValue::ExpectedOrders,
        RawPredictedValue::LifetimeValue => PredictedValue::LifetimeValue,
        RawPredictedValue::Churn => PredictedValue::Churn,
        RawPredictedValue::Alive => PredictedValue::Alive,
        RawPredictedValue::NextOrder => PredictedValue::NextOrder,
    }
}
