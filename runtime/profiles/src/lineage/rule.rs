//! By what the value of each attribute is chosen, for people who ask why a profile shows it.

use std::collections::BTreeMap;

use affluent_model::Result;
use affluent_model::survivorship::{Strategy, Survivorship};

use crate::attributes::attributes_of;
use crate::source::TableSource;

/// The rule of one attribute, as it works on the attribute's values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttributeRule {
    pub strategy: Strategy,
    /// Connections, best first.
    pub preferred: Vec<String>,
    /// Milliseconds.
    pub max_age_ms: Option<u64>,
}

/// The rules of all attributes that the sources give, by name.
///
/// # Errors
/// `E0761`, `E0762`, `E0767`, as of the snapshot.
pub fn attribute_rules(
    sources: &[TableSource],
    survivorship: &BTreeMap<String, Survivorship>,
) -> Result<BTreeMap<String, AttributeRule>> {
    let attributes = attributes_of(sources, survivorship, &BTreeMap::new())?;
    Ok(attributes.into_iter().map(|attribute| (attribute.name.to_owned(), attribute.rule())).collect())
}

/// The function of a query that gives, of a node, the place of its pin among those of an attribute, newest first from 0; null
/// where it has none.
#[must_use]
pub fn pin_function(attribute: &str) -> String {
    format!("pin_of/{attribute}")
}

impl AttributeRule {
    /// What decided for a value from this connection: `most_recent`, `prefer crm`, `prefer crm, longest`.
    #[must_use]
    pub fn decided_by(&self, connection: &str) -> String {
        let strategy = self.strategy.as_str();
        match (self.preference(connection), self.strategy) {
            (None, _) => strategy.to_owned(),
            (Some(_), Strategy::MostRecent) => format!("prefer {connection}"),
            (Some(_), _) => format!("prefer {connection}, {strategy}"),
        }
    }

    /// True when a record has a part in a value that is made of several: its connection is preferred as the one of the record
    /// that stands for all, and it was not too old by `now_us`.
    #[must_use]
    pub fn has_part(&self, connection: &str, at_us: i64, winner: &str, now_us: i64) -> bool {
        let age_us = self.max_age_ms.map(|age_ms| i64::try_from(age_ms).unwrap_or(i64::MAX).saturating_mul(1_000));
        let is_young = age_us.is_none_or(|age_us| at_us >= now_us.saturating_sub(age_us));
        self.strategy.combines() && is_young && self.preference(connection) == self.preference(winner)
    }

    /// Smaller is better.
    fn preference(&self, connection: &str) -> Option<usize> {
        self.preferred.iter().position(|preferred| preferred == connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(strategy: Strategy, preferred: &[&str]) -> AttributeRule {
        let preferred = preferred.iter().map(|name| (*name).to_owned()).collect();
        AttributeRule { strategy, preferred, max_age_ms: Some(1) }
    }

    #[test]
    fn a_preference_is_told_only_where_it_decided() {
        let cases = [
            (rule(Strategy::MostRecent, &[]), "most_recent"),
            (rule(Strategy::MostRecent, &["crm"]), "prefer crm"),
            (rule(Strategy::Longest, &["shop", "crm"]), "prefer crm, longest"),
            (rule(Strategy::Longest, &["shop"]), "longest"),
        ];
        for (rule, expected) in cases {
            assert_eq!(rule.decided_by("crm"), expected, "{rule:?}");
        }
    }

    #[test]
    fn only_young_records_of_equally_preferred_connections_have_a_part() {
        let cases = [
            (Strategy::Union, "shop", 9_000, true),
            (Strategy::Union, "shop", 8_999, false),
            (Strategy::Union, "crm", 9_500, false),
            (Strategy::Longest, "shop", 9_500, false),
        ];
        for (strategy, connection, at_us, expected) in cases {
            let found = rule(strategy, &["crm"]).has_part(connection, at_us, "web", 10_000);
            assert_eq!(found, expected, "{strategy:?} {connection} {at_us}");
        }
    }
}
