//! Identity rules made ready for resolution: identifier kinds by rank (best priority first) and match rules over ranks.

use affluent_model::plan::{IdentifierRule, IdentityRules};

/// Position of an identifier kind in order of priority.
pub(super) type KindRank = u16;

/// Why a proposed link was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A unique kind would have two values.
    Unique(KindRank),
    /// A kind would have more values than it may.
    Values(KindRank),
    /// Too many nodes.
    Nodes,
}

/// One identifier kind.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: String,
    /// The ledger's number.
    pub(super) number: Option<u16>,
    pub(super) values_max: u32,
    pub(super) unique: bool,
    pub(super) fanout_max: u32,
    weak: bool,
}

/// A match rule: nodes that share a value of each of these kinds are one profile.
#[derive(Debug)]
pub(super) struct Rule {
    name: String,
    /// Not empty.
    pub(super) kinds: Vec<KindRank>,
}

/// The rules of a project over the ledger's kind numbers.
#[derive(Debug)]
pub(super) struct RuleSet {
    /// By rank.
    pub(super) kinds: Vec<Kind>,
    pub(super) rules: Vec<Rule>,
    pub(super) profile_nodes_max: u32,
}

impl RuleSet {
    /// A rule that names an unknown kind, or a weak kind alone, proposes nothing and is left out.
    pub(super) fn compile(identity: &IdentityRules, kind_names: &[String]) -> Self {
        let mut identifiers: Vec<&IdentifierRule> = identity.identifiers.iter().collect();
        identifiers.sort_by_key(|identifier| identifier.priority);
        let kinds: Vec<Kind> = identifiers
            .into_iter()
            .map(|identifier| Kind {
                name: identifier.name.clone(),
                number: kind_names.iter().position(|name| *name == identifier.name).and_then(|at| u16::try_from(at).ok()),
                values_max: identifier.values_max,
                unique: identifier.unique,
                fanout_max: identifier.fanout_max,
                weak: identifier.weak,
            })
            .collect();
        let rules = if identity.rules.is_empty() { one_rule_per_kind(&kinds) } else { named_rules(identity, &kinds) };
        Self { kinds, rules, profile_nodes_max: identity.limits.profile_nodes_max }
    }

    /// Rank by the ledger's kind number; `None` where no rule names the kind.
    pub(super) fn ranks_by_number(&self, numbers: usize) -> Vec<Option<KindRank>> {
        let mut ranks = vec![None; numbers];
        for (rank, kind) in self.kinds.iter().enumerate() {
            if let Some(slot) = kind.number.and_then(|number| ranks.get_mut(usize::from(number))) {
                *slot = u16::try_from(rank).ok();
            }
        }
        ranks
    }

    pub(super) fn kind(&self, rank: KindRank) -> Option<&Kind> {
        self.kinds.get(usize::from(rank))
    }

    pub(super) fn rule_name(&self, rule: u16) -> String {
        self.rules.get(usize::from(rule)).map_or_else(String::new, |rule| rule.name.clone())
    }

    /// The refusal in words, for people.
    pub(super) fn reason(&self, refusal: Refusal) -> String {
        let name = |rank| self.kind(rank).map_or("", |kind| kind.name.as_str());
        match refusal {
            Refusal::Unique(rank) => format!("`{}` is unique and would have two values", name(rank)),
            Refusal::Values(rank) => {
                let values_max = self.kind(rank).map_or(0, |kind| kind.values_max);
                format!("`{}` would have more than {values_max} values", name(rank))
            }
            Refusal::Nodes => format!("the profile would have more than {} nodes", self.profile_nodes_max),
        }
    }
}

fn one_rule_per_kind(kinds: &[Kind]) -> Vec<Rule> {
    let strong = (0..).zip(kinds).filter(|(_, kind)| !kind.weak);
    strong.map(|(rank, kind)| Rule { name: kind.name.clone(), kinds: vec![rank] }).collect()
}

fn named_rules(identity: &IdentityRules, kinds: &[Kind]) -> Vec<Rule> {
    let rank = |name: &String| kinds.iter().position(|kind| kind.name == *name).and_then(|at| u16::try_from(at).ok());
    let mut rules = Vec::new();
    for rule in &identity.rules {
        let Some(mut ranks) = rule.all.iter().map(rank).collect::<Option<Vec<KindRank>>>() else { continue };
        ranks.sort_unstable();
        ranks.dedup();
        let only_weak = matches!(ranks.as_slice(), [rank] if kinds.get(usize::from(*rank)).is_some_and(|kind| kind.weak));
        if !ranks.is_empty() && !only_weak {
            rules.push(Rule { name: rule.name.clone(), kinds: ranks });
        }
    }
    rules
}
