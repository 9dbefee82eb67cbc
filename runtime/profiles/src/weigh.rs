//! Evidence weighed by the model of Fellegi and Sunter (1969): how much it tells that two nodes agree on an attribute
//! depends on how often matches agree and how often strangers do. Both are learnt from the nodes themselves
//! ([`training`]); likely pairs are found by blocks of rare shared values ([`blocking`]), so that the work stays
//! near-linear. Everything is a function of the set of nodes: neither order nor chance has a part.

pub(crate) mod blocking;
pub(crate) mod levels;
mod training;

use crate::evidence::Evidence;
use crate::evidence::names::NameJudge;
use crate::weigh::levels::{Comparer, LEVELS_MAX, Pattern, level_words};
use crate::weigh::training::{Learnt, train};

/// What was learnt for one rule: shown to people, so that they can judge it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreModel {
    pub rule: String,
    /// Pairs among all nodes that are expected to be matches.
    pub matches_expected: f64,
    pub attributes: Vec<AttributeModel>,
}

/// What one attribute tells.
#[derive(Debug, Clone, PartialEq)]
pub struct AttributeModel {
    pub name: String,
    /// From the worst to the best agreement.
    pub levels: Vec<LevelModel>,
}

/// One level of agreement.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelModel {
    pub level: &'static str,
    /// Share of matches that agree so far, 0 to 1.
    pub among_matches: f64,
    /// Share of strangers that agree so far, 0 to 1.
    pub among_strangers: f64,
}

/// Scores pairs of nodes.
pub(crate) struct Weigher<'a> {
    comparer: Comparer<'a>,
    learnt: Learnt,
    /// Attribute → level → bits of evidence for a match.
    bits: Vec<[f64; LEVELS_MAX]>,
    /// Bits by which a pair is less likely a match than not before anything is compared.
    prior_bits: f64,
}

impl<'a> Weigher<'a> {
    /// Learns from the nodes of `evidence`, whose rows stand in canonical order.
    pub(crate) fn new(evidence: &'a Evidence, columns: &[usize], judge: &'a NameJudge) -> Self {
        let columns: Vec<_> = columns.iter().filter_map(|column| evidence.columns().get(*column)).collect();
        let comparer = Comparer::new(columns, judge);
        let learnt = train(&comparer, evidence.len());
        let bits = learnt.shares.iter().map(|shares| shares.map(|(match_share, stranger)| (match_share / stranger).log2()));
        let bits = bits.collect();
        let prior_bits = (learnt.prior / (1.0 - learnt.prior)).log2();
        Self { comparer, learnt, bits, prior_bits }
    }

    pub(crate) fn comparer(&self) -> &Comparer<'a> {
        &self.comparer
    }

    /// Bits of evidence that two nodes are one: 0 = as likely as not.
    pub(crate) fn score(&self, a: u32, b: u32) -> f64 {
        self.score_of(self.comparer.pattern(a, b))
    }

    fn score_of(&self, pattern: Pattern) -> f64 {
        let weights = self.bits.iter().zip(pattern.levels()).filter_map(|(bits, level)| bits.get(level?).copied());
        self.prior_bits + weights.sum::<f64>()
    }

    /// What was learnt, for people.
    pub(crate) fn model(&self, rule: &str) -> ScoreModel {
        let attributes = self.comparer.columns().iter().zip(&self.learnt.shares).map(|(column, shares)| {
            let words = level_words(column.form);
            let levels = words.iter().zip(shares).map(|(level, (matches, strangers))| LevelModel {
                level,
                among_matches: *matches,
                among_strangers: *strangers,
            });
            AttributeModel { name: column.name.clone(), levels: levels.collect() }
        });
        ScoreModel { rule: rule.to_owned(), matches_expected: self.learnt.matches, attributes: attributes.collect() }
    }
}
