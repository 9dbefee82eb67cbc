//! `survivorship` of `profiles/identity.yaml` → [`Survivorship`] by attribute.

use std::collections::BTreeMap;

use affluent_model::survivorship::{Strategy, Survivorship};

use super::texts;
use crate::mistake::{self, FileReport};
use crate::placed::Named;
use crate::raw::profiles::{RawPrefer, RawSurvivorship, RawSurvivorshipWord};
use crate::scalar;

pub(super) fn lower(raw: Option<&Named<RawSurvivorship>>, report: &mut FileReport) -> BTreeMap<String, Survivorship> {
    let rules = raw.into_iter().flat_map(Named::iter);
    rules
        .map(|(name, raw)| {
            let rule = rule_of(raw);
            if rule.strategy.hears_all() {
                check_hears_all(raw, rule.strategy, report);
            }
            if rule.counts_empty && !rule.strategy.chooses_a_record() {
                check_empty(raw, rule.strategy, report);
            }
            (name.to_string(), rule)
        })
        .collect()
}

/// Refuses what would pass a no over.
fn check_hears_all(raw: &RawSurvivorship, strategy: Strategy, report: &mut FileReport) {
    let RawSurvivorship::Map(raw) = raw else { return };
    let preferred = raw.prefer.iter().flatten().next().map(|name| ("prefer", name.place()));
    let aged = raw.max_age.as_ref().map(|age| ("max_age", age.place()));
    for (key, place) in preferred.into_iter().chain(aged) {
        let message = format!("`{key}` would pass over a record that says no, and `{}` hears all records", strategy.as_str());
        report.add_help(mistake::COMBINATION, place, message, format!("leave `{key}` out, or choose another strategy"));
    }
}

/// Refuses what has no value to weigh.
fn check_empty(raw: &RawSurvivorship, strategy: Strategy, report: &mut FileReport) {
    let RawSurvivorship::Map(RawPrefer { ignore_empty: Some(word), .. }) = raw else { return };
    let message = format!("`{}` looks at values, and a record that says nothing has none", strategy.as_str());
    report.add_help(
        mistake::COMBINATION,
        word.place(),
        message,
        "leave `ignore_empty` out, or choose `most_recent` or `most_complete_record`",
    );
}

fn rule_of(raw: &RawSurvivorship) -> Survivorship {
    match raw {
        RawSurvivorship::Text(word) => Survivorship { strategy: strategy(*word), ..Survivorship::default() },
        RawSurvivorship::Map(raw) => Survivorship {
            strategy: raw.strategy.map(strategy).unwrap_or_default(),
            prefer: texts(raw.prefer.as_ref()),
            max_age_ms: raw.max_age.as_ref().and_then(|age| scalar::duration_ms(age).ok()),
            counts_empty: raw.ignore_empty.as_deref() == Some(&false),
        },
    }
}

fn strategy(word: RawSurvivorshipWord) -> Strategy {
    match word {
        RawSurvivorshipWord::MostRecent => Strategy::MostRecent,
        RawSurvivorshipWord::FirstSeen => Strategy::FirstSeen,
        RawSurvivorshipWord::MostCompleteRecord => Strategy::MostCompleteRecord,
        RawSurvivorshipWord::MostFrequent => Strategy::MostFrequent,
        RawSurvivorshipWord::Longest => Strategy::Longest,
        RawSurvivorshipWord::Min => Strategy::Min,
        RawSurvivorshipWord::Max => Strategy::Max,
        RawSurvivorshipWord::AnyTrue => Strategy::AnyTrue,
        RawSurvivorshipWord::AllTrue => Strategy::AllTrue,
        RawSurvivorshipWord::Union => Strategy::Union,
        RawSurvivorshipWord::Sum => Strategy::Sum,
        RawSurvivorshipWord::ConsentStrictest => Strategy::ConsentStrictest,
    }
}
