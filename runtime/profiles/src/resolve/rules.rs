//! Identity rules made ready for resolution: identifier kinds by rank (best priority first) and match rules over ranks.

use affluent_model::identifier_rule::{Period, WhenKnown, mark_of};
use affluent_model::matching::{Comparison, ScoreRule, Subject, Test};
use affluent_model::plan::{IdentifierRule, IdentityRules};

/// Position of an identifier kind in order of priority.
pub(super) type KindRank = u16;

/// The rule under which links stand that a person made.
pub const MUST_LINK: &str = "must link";

/// Why a proposed link was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A unique kind would have two values.
    Unique(KindRank),
    /// A kind would have more values than it may.
    Values(KindRank),
    /// Somebody is known, and the kind is anonymous.
    Known(KindRank),
    /// Too many nodes.
    Nodes,
    /// Too many pairs across the two sides contradict each other.
    Veto,
    /// Two of them are never one, a person decided.
    CannotLink,
    /// Too many pairs across the two sides look like strangers by the score of the rule.
    Score,
}

/// One identifier kind.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) name: String,
    /// The ledger's number.
    pub(super) number: Option<u16>,
    pub(super) values_max: u32,
    pub(super) values_per: Period,
    pub(super) unique: bool,
    pub(super) fanout_max: u32,
    /// What it says of known persons; `None` = it makes a node known.
    pub(super) anonymous: Option<WhenKnown>,
    weak: bool,
    /// The ledger's number of the kind whose edges tell which of its values are weak.
    pub(super) mark: Option<u16>,
}

/// A match rule: nodes that share a value of each of these kinds, and pass all checks or reach the score, are one profile.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Empty where checks or a score alone decide.
    pub(super) kinds: Vec<KindRank>,
    pub(super) checks: Vec<Check>,
    pub(super) score: Option<Score>,
}

/// One test over attributes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    /// `None` = given and family name together.
    pub(super) attribute: Option<usize>,
    pub(super) test: Test,
}

/// A score over attributes.
#[derive(Debug)]
pub(super) struct Score {
    pub(super) attributes: Vec<usize>,
    pub(super) probability_min: f64,
}

/// What keeps two sides apart.
#[derive(Debug, Clone)]
pub(super) struct Contradictions {
    pub(super) is_by_names: bool,
    pub(super) attributes: Vec<usize>,
    pub(super) share_max: f64,
}

/// The rules of a project over the ledger's kind numbers.
#[derive(Debug)]
pub(super) struct RuleSet {
    /// By rank.
    pub(super) kinds: Vec<Kind>,
    pub(super) rules: Vec<Rule>,
    pub(super) veto: Option<Contradictions>,
    pub(super) profile_nodes_max: u32,
}

impl RuleSet {
    /// A rule that names an unknown kind or attribute, or a weak kind alone, proposes nothing and is left out.
    pub(super) fn compile(identity: &IdentityRules, kind_names: &[String]) -> Self {
        let mut identifiers: Vec<&IdentifierRule> = identity.identifiers.iter().collect();
        identifiers.sort_by_key(|identifier| identifier.priority);
        let number = |kind: &str| kind_names.iter().position(|name| name == kind).and_then(|at| u16::try_from(at).ok());
        let kinds: Vec<Kind> = identifiers
            .into_iter()
            .map(|identifier| Kind {
                name: identifier.name.clone(),
                number: number(&identifier.name),
                values_max: identifier.values_max,
                values_per: identifier.values_per,
                unique: identifier.unique,
                fanout_max: identifier.fanout_max,
                anonymous: identifier.anonymous,
                weak: identifier.weak,
                mark: identifier.weak_values.and_then(|_| number(&mark_of(&identifier.name))),
            })
            .collect();
        let rules = if identity.rules.is_empty() { one_rule_per_kind(&kinds) } else { named_rules(identity, &kinds) };
        let veto = identity.veto.as_ref().map(|veto| Contradictions {
            is_by_names: veto.is_by_names,
            attributes: veto.attributes.iter().filter_map(|name| attribute(identity, name)).collect(),
            share_max: veto.share_max,
        });
        Self { kinds, rules, veto, profile_nodes_max: identity.limits.profile_nodes_max }
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

    /// True when it matters to a kind who is known.
    pub(super) fn asks_who_is_known(&self) -> bool {
        self.kinds.iter().any(|kind| kind.anonymous.is_some_and(|when| when != WhenKnown::Join))
    }

    pub(super) fn kind(&self, rank: KindRank) -> Option<&Kind> {
        self.kinds.get(usize::from(rank))
    }

    /// The name of a rule; what a person linked is called so.
    pub(super) fn rule_name(&self, rule: u16) -> String {
        self.rules.get(usize::from(rule)).map_or_else(|| MUST_LINK.to_owned(), |rule| rule.name.clone())
    }

    /// The refusal in words, for people.
    pub(super) fn reason(&self, refusal: Refusal) -> String {
        let name = |rank| self.kind(rank).map_or("", |kind| kind.name.as_str());
        match refusal {
            Refusal::Unique(rank) => format!("`{}` is unique and would have two values", name(rank)),
            Refusal::Values(rank) => {
                let (max, per) = self.kind(rank).map_or((0, Period::Ever), |kind| (kind.values_max, kind.values_per));
                format!("`{}` would have more than {max} values{per}", name(rank))
            }
            Refusal::Known(rank) => match self.kind(rank).and_then(|kind| kind.anonymous) {
                Some(WhenKnown::Never) => format!("`{}` joins anonymous records alone", name(rank)),
                _ => format!("`{}` joins no other person than the first seen with it", name(rank)),
            },
            Refusal::Nodes => format!("the profile would have more than {} nodes", self.profile_nodes_max),
            Refusal::Veto => "names or other attributes of the two sides contradict each other".to_owned(),
            Refusal::CannotLink => "somebody decided that they are two".to_owned(),
            Refusal::Score => "most pairs across the two sides look like strangers".to_owned(),
        }
    }
}

fn one_rule_per_kind(kinds: &[Kind]) -> Vec<Rule> {
    let strong = (0..).zip(kinds).filter(|(_, kind)| !kind.weak);
    let rule =
        |(rank, kind): (KindRank, &Kind)| Rule { name: kind.name.clone(), kinds: vec![rank], checks: Vec::new(), score: None };
    strong.map(rule).collect()
}

fn named_rules(identity: &IdentityRules, kinds: &[Kind]) -> Vec<Rule> {
    let rank = |name: &String| kinds.iter().position(|kind| kind.name == *name).and_then(|at| u16::try_from(at).ok());
    let mut rules = Vec::new();
    for rule in &identity.rules {
        let Some(mut ranks) = rule.all.iter().map(rank).collect::<Option<Vec<KindRank>>>() else { continue };
        ranks.sort_unstable();
        ranks.dedup();
        let Some(checks) = rule.compare.iter().map(|comparison| check(identity, comparison)).collect::<Option<Vec<Check>>>()
        else {
            continue;
        };
        let score = rule.score.as_ref().map(|score| score_over(identity, score));
        let is_weak = |rank: &KindRank| kinds.get(usize::from(*rank)).is_some_and(|kind| kind.weak);
        // A weak kind says little alone; a check that both sides pass says the rest.
        let only_weak = checks.is_empty() && matches!(ranks.as_slice(), [rank] if is_weak(rank));
        let says_nothing = ranks.is_empty() && checks.is_empty() && score.is_none();
        if !only_weak && !says_nothing {
            rules.push(Rule { name: rule.name.clone(), kinds: ranks, checks, score });
        }
    }
    rules
}

fn check(identity: &IdentityRules, comparison: &Comparison) -> Option<Check> {
    let attribute = match &comparison.subject {
        Subject::Names => None,
        Subject::Attribute(name) => Some(attribute(identity, name)?),
    };
    Some(Check { attribute, test: comparison.test })
}

fn score_over(identity: &IdentityRules, rule: &ScoreRule) -> Score {
    let named = rule.attributes.iter().filter_map(|name| attribute(identity, name));
    let attributes = if rule.attributes.is_empty() { (0..identity.attributes.len()).collect() } else { named.collect() };
    Score { attributes, probability_min: rule.probability_min }
}

fn attribute(identity: &IdentityRules, name: &str) -> Option<usize> {
    identity.attributes.iter().position(|attribute| attribute.name == name)
}
