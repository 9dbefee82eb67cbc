//! Values that a steward pinned: of an attribute that a profile has from several records, the record that wins whatever
//! rules say. A pin names the record, never a value: what it says stays sealed where it is, follows the source, and goes with
//! the record when profiles split. Of several pins in one profile the newest counts; where the record says nothing any more,
//! rules decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use affluent_lake::Lookup;
use affluent_ledger::{Decided, DecisionChange, DecisionRow};
use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::{Error, Result};
use affluent_profiles::lineage::rule::{attribute_rules, pin_function};

use super::{DecisionOutcome, Steward};
use crate::engine::Engine;
use crate::lineage::candidates;
use crate::tables::profile_tables;

/// The pins that stand.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// By attribute, newest first.
    of: BTreeMap<String, Vec<Pin>>,
}

/// One pin.
#[derive(Debug)]
pub(crate) struct Pin {
    node: NodeId,
    decision: i64,
    by: String,
}

impl Pins {
    /// # Errors
    /// What the ledger reports.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        Ok(Self::of_rows(engine.ledger.decisions()?))
    }

    fn of_rows(rows: Vec<DecisionRow>) -> Self {
        let mut pins = Self::default();
        for row in rows.into_iter().rev().filter(|row| row.undone.is_none()) {
            if let Decided::Pin { attribute, node } = row.decided {
                pins.of.entry(attribute).or_default().push(Pin { node, decision: row.decision, by: row.by });
            }
        }
        pins
    }

    /// Attribute → number of its pins.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        self.of.iter().map(|(attribute, pins)| (attribute.clone(), pins.len())).collect()
    }

    /// For each attribute the function of a node that gives the place of its newest pin, from 0.
    pub(crate) fn lookups(&self) -> impl Iterator<Item = Lookup> {
        self.of.iter().map(|(attribute, pins)| Lookup::numbers(&pin_function(attribute), Arc::new(places(pins))))
    }

    /// Who pinned an attribute to a node, and by which decision; the newest.
    pub(crate) fn told(&self, attribute: &str, node: NodeId) -> Option<String> {
        let pin = self.of.get(attribute)?.iter().find(|pin| pin.node == node)?;
        Some(format!("pinned by {}, decision {}", pin.by, pin.decision))
    }
}

/// Node → place of its newest pin.
fn places(pins: &[Pin]) -> Vec<u32> {
    let mut places = Vec::new();
    for (place, pin) in (0..).zip(pins) {
        let Ok(node) = usize::try_from(pin.node.0) else { continue };
        if places.len() <= node {
            places.resize(node + 1, Lookup::NONE);
        }
        if let Some(slot) = places.get_mut(node).filter(|slot| **slot == Lookup::NONE) {
            *slot = place;
        }
    }
    places
}

impl Engine {
    /// Pins the value that a profile shows of an attribute to the record it comes from, against every rule, until it is taken
    /// back.
    ///
    /// # Errors
    /// `E0813` when nobody, or more than one profile, is meant; `E0873` when that record cannot give the value; what the stores
    /// report.
    pub async fn pin_value(&self, profile: &str, attribute: &str, from: &str, steward: &Steward) -> Result<DecisionOutcome> {
        let node = self.record_of(self.find_profile(profile)?, from)?;
        let tables = profile_tables(self).await?;
        let sources: Vec<_> = tables.iter().map(|one| one.source.clone()).collect();
        let rules = attribute_rules(&sources, &self.plan.identity.survivorship)?;
        let Some(rule) = rules.get(attribute) else {
            let known: Vec<&str> = rules.keys().map(String::as_str).collect();
            return Err(no_pin(format!("no pipeline maps the attribute `{attribute}`"))
                .help(format!("attributes are {}", known.join(", "))));
        };
        if rule.strategy.hears_all() {
            let word = rule.strategy.as_str();
            return Err(no_pin(format!("of `{attribute}` a single no wins (`{word}`), and a pin could hide it"))
                .help("mend the value at its source"));
        }
        if !candidates(self, tables, &[node]).await?.iter().any(|one| one.attribute == attribute) {
            return Err(no_pin(format!("that record says nothing of `{attribute}`"))
                .help("`affluent profile why` lists the records that do"));
        }
        let decided = Decided::Pin { attribute: attribute.to_owned(), node };
        self.decide(steward, || Ok(decided.clone())).await
    }

    /// Takes back every pin of an attribute that stands on a record of a profile.
    ///
    /// # Errors
    /// `E0813` when nobody, or more than one profile, is meant; `E0872` when no such pin stands; what the stores report.
    pub async fn unpin_value(&self, profile: &str, attribute: &str, by: &str) -> Result<DecisionOutcome> {
        let nodes: Vec<NodeId> = self.ledger.nodes_of(self.find_profile(profile)?)?.iter().map(|row| row.node).collect();
        let is_meant = |row: &&DecisionRow| matches!(&row.decided, Decided::Pin { attribute: pinned, .. } if pinned == attribute);
        let standing = self.ledger.decisions_on(&nodes)?;
        let pins: Vec<&DecisionRow> =
            standing.iter().filter(is_meant).filter(|row| row.decided.nodes().iter().all(|node| nodes.contains(node))).collect();
        let mut done = Err(Error::configuration("E0872", format!("no pin of `{attribute}` stands on that profile"))
            .help("see `affluent profile decisions`"));
        for row in pins {
            let change = DecisionChange::Undo { decision: row.decision, by: by.to_owned() };
            done = self.change_decisions(|_| Ok((change, row.decided.clone()))).await;
            if done.is_err() {
                break;
            }
        }
        done
    }

    /// The node of a record of a profile.
    fn record_of(&self, profile: ProfileId, reference: &str) -> Result<NodeId> {
        let is_record = reference.contains('/') && self.identifier(reference)?.is_none();
        let rows = if is_record { self.find_nodes(reference)? } else { Vec::new() };
        let members = self.ledger.nodes_of(profile)?;
        let of_profile = rows.iter().find(|row| members.iter().any(|member| member.node == row.node));
        of_profile.map(|row| row.node).ok_or_else(|| {
            no_pin("that is no record of this profile".to_owned()).help("name one as `shop/1234`: its connection and its subject")
        })
    }
}

fn no_pin(why: String) -> Error {
    Error::configuration("E0873", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(decision: i64, node: i64, undone: bool) -> DecisionRow {
        let decided = Decided::Pin { attribute: "city".to_owned(), node: NodeId(node) };
        let undone = undone.then(|| ("lee".to_owned(), 1));
        DecisionRow { decision, decided, by: "kim".to_owned(), reason_sealed: None, decided_at_us: 0, undone }
    }

    #[test]
    fn the_newest_pin_of_a_node_that_stands_comes_first() {
        let pins = Pins::of_rows(vec![row(1, 3, false), row(2, 1, false), row(3, 3, false), row(4, 2, true)]);

        let none = Lookup::NONE;
        assert_eq!(places(pins.of.get("city").unwrap()), [none, 1, none, 0]);
        assert_eq!(pins.counts(), BTreeMap::from([("city".to_owned(), 3)]));
        assert_eq!(pins.told("city", NodeId(3)).as_deref(), Some("pinned by kim, decision 3"));
        assert_eq!(pins.told("city", NodeId(2)), None);
    }
}
