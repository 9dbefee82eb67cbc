//! Who is known, and what anonymous identifiers do with it. A node is known that carries an identifier of a person; a value of
//! an anonymous kind belongs to the known node that was first seen with it.

use affluent_model::identifier_rule::WhenKnown;

use super::index::{NodeRank, ValueIndex, ValueRank};
use super::rules::{KindRank, Refusal, Rule, RuleSet};

/// What a rule over anonymous identifiers alone may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    kind: KindRank,
    when: WhenKnown,
}

impl Policy {
    /// The strictest of the rule's kinds; `None` where the rule stands on more than anonymous identifiers, or joins all.
    pub(super) fn of(rule: &Rule, rules: &RuleSet) -> Option<Self> {
        let mut strictest = Self { kind: 0, when: WhenKnown::Join };
        for rank in &rule.kinds {
            let when = rules.kind(*rank)?.anonymous?;
            if when > strictest.when {
                strictest = Self { kind: *rank, when };
            }
        }
        (strictest.when != WhenKnown::Join).then_some(strictest)
    }

    /// Why two components stay apart, of which the one or the other is known.
    pub(super) fn refuses(self, is_one_known: bool, is_other_known: bool) -> Option<Refusal> {
        let is_refused = match self.when {
            WhenKnown::Join => false,
            WhenKnown::First => is_one_known && is_other_known,
            WhenKnown::Never => is_one_known || is_other_known,
        };
        is_refused.then_some(Refusal::Known(self.kind))
    }

    /// The node that a value belongs to, where it belongs to one.
    pub(super) fn owner(self, value: ValueRank, index: &ValueIndex) -> Option<NodeRank> {
        if self.when != WhenKnown::First {
            return None;
        }
        let seen = index.carriers(value).iter().zip(index.carriers_seen_at(value));
        let known = seen.filter_map(|(node, seen_at)| Some((index.known_since(*node)?.max(*seen_at), *node)));
        known.min().map(|(_, node)| node)
    }
}

/// True when a value that belongs to `owner` may join two of its nodes: one that is known and not the owner joins, if anybody,
/// the owner.
pub(super) fn may_join(owner: NodeRank, index: &ValueIndex, (a, b): (NodeRank, NodeRank)) -> bool {
    let is_stranger = |node: NodeRank| node != owner && index.known_since(node).is_some();
    [a, b].contains(&owner) || !(is_stranger(a) || is_stranger(b))
}

/// The nodes of a value with its owner first.
pub(super) fn owner_first(nodes: &[NodeRank], owner: NodeRank) -> Vec<NodeRank> {
    let others = nodes.iter().copied().filter(|node| *node != owner);
    std::iter::once(owner).chain(others).collect()
}
