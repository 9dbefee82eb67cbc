//! `survivorship` of `profiles/identity.yaml` → [`Survivorship`] by attribute.

use std::collections::BTreeMap;

use affluent_model::survivorship::{Strategy, Survivorship};

use super::texts;
use crate::placed::Named;
use crate::raw::profiles::{RawSurvivorship, RawSurvivorshipWord};
use crate::scalar;

pub(super) fn lower(raw: Option<&Named<RawSurvivorship>>) -> BTreeMap<String, Survivorship> {
    let rules = raw.into_iter().flat_map(Named::iter);
    rules.map(|(name, rule)| (name.to_string(), rule_of(rule))).collect()
}

fn rule_of(raw: &RawSurvivorship) -> Survivorship {
    match raw {
        RawSurvivorship::Text(word) => Survivorship { strategy: strategy(*word), ..Survivorship::default() },
        RawSurvivorship::Map(raw) => Survivorship {
            strategy: raw.strategy.map(strategy).unwrap_or_default(),
            prefer: texts(raw.prefer.as_ref()),
            max_age_ms: raw.max_age.as_ref().and_then(|age| scalar::duration_ms(age).ok()),
        },
    }
}

fn strategy(word: RawSurvivorshipWord) -> Strategy {
    match word {
        RawSurvivorshipWord::MostRecent => Strategy::MostRecent,
        RawSurvivorshipWord::FirstSeen => Strategy::FirstSeen,
        RawSurvivorshipWord::MostFrequent => Strategy::MostFrequent,
        RawSurvivorshipWord::Longest => Strategy::Longest,
        RawSurvivorshipWord::Min => Strategy::Min,
        RawSurvivorshipWord::Max => Strategy::Max,
        RawSurvivorshipWord::AnyTrue => Strategy::AnyTrue,
        RawSurvivorshipWord::AllTrue => Strategy::AllTrue,
    }
}
