//! Compares nodes by their attributes: the checks of rules, and what keeps two sides apart.

use std::cell::RefCell;
use std::collections::HashMap;

use affluent_model::matching::{AttributeForm, Test};

use super::index::NodeRank;
use super::rules::{Check, Contradictions};
use crate::evidence::alike::{
    are_dates_near, contradicts, days_between, is_day_month_swapped, is_within, jaro_winkler, street_similarity,
};
use crate::evidence::names::{NameJudge, NamesVerdict, is_initial};
use crate::evidence::{Column, Evidence};

/// Members of each side that a join is judged by; of larger components the first of the ring.
const MEMBERS_JUDGED_MAX: usize = 64;

/// Points from which names are called the same: one of the two may be an initial.
const SAME_NAMES_MIN: NamesVerdict = 3;

/// How well a pair passed, for the order in which pairs are joined: more is better.
pub(super) type Strength = u8;

/// Compares nodes by rank.
pub(super) struct Judge<'a> {
    evidence: &'a Evidence,
    names: &'a NameJudge,
    given: Option<&'a Column>,
    family: Option<&'a Column>,
    veto: Option<&'a Contradictions>,
    /// Rank → number of its (given, family) pair; 0 = no name at all.
    name_of: Vec<u32>,
    /// Verdicts by pair of name numbers, the smaller first.
    verdicts: RefCell<HashMap<(u32, u32), NamesVerdict>>,
}

impl<'a> Judge<'a> {
    /// `evidence` has a row per node rank.
    pub(super) fn new(evidence: &'a Evidence, names: &'a NameJudge, veto: Option<&'a Contradictions>) -> Self {
        let column = |form| evidence.columns().iter().find(|column| column.form == form);
        let (given, family) = (column(AttributeForm::GivenName), column(AttributeForm::FamilyName));
        let name_of = name_numbers(evidence.len(), given, family);
        Self { evidence, names, given, family, veto, name_of, verdicts: RefCell::default() }
    }

    /// True when a pair passes all checks, with how well.
    pub(super) fn pass(&self, checks: &[Check], a: NodeRank, b: NodeRank) -> Option<Strength> {
        let mut strength: Strength = 0;
        for check in checks {
            strength = strength.saturating_add(self.check(check, a, b)?);
        }
        Some(strength)
    }

    /// True when the checks ask for nothing but compatibility, so that a node without values passes.
    pub(super) fn lets_the_silent_pass(checks: &[Check]) -> bool {
        checks.iter().all(|check| check.test == Test::Compatible)
    }

    /// True when a pair contradicts by any of the checks.
    pub(super) fn contradicts_by(&self, checks: &[Check], a: NodeRank, b: NodeRank) -> bool {
        checks.iter().any(|check| self.verdict(check.attribute, a, b) < 0)
    }

    /// True when too many pairs across two sides contradict each other.
    pub(super) fn keeps_apart(&self, one: impl Iterator<Item = NodeRank>, other: impl Iterator<Item = NodeRank> + Clone) -> bool {
        let Some(veto) = self.veto else { return false };
        let other: Vec<NodeRank> = other.take(MEMBERS_JUDGED_MAX).collect();
        let (mut pairs, mut contradicting) = (0_u32, 0_u32);
        for a in one.take(MEMBERS_JUDGED_MAX) {
            for b in &other {
                let Some(contradicts) = self.contradict(veto, a, *b) else { continue };
                pairs += 1;
                contradicting += u32::from(contradicts);
            }
        }
        f64::from(contradicting) > f64::from(pairs) * veto.share_max
    }

    /// `None` when the two have nothing in which they could contradict.
    fn contradict(&self, veto: &Contradictions, a: NodeRank, b: NodeRank) -> Option<bool> {
        let mut is_comparable = false;
        if veto.is_by_names && self.name_number(a) != 0 && self.name_number(b) != 0 {
            is_comparable = true;
            if self.names_verdict(a, b) < 0 {
                return Some(true);
            }
        }
        for attribute in &veto.attributes {
            let Some(column) = self.evidence.columns().get(*attribute) else { continue };
            let (a, b) = (column.id(a), column.id(b));
            if a == 0 || b == 0 {
                continue;
            }
            is_comparable = true;
            if a != b && contradicts(column.form, column.text(a), column.text(b)) {
                return Some(true);
            }
        }
        is_comparable.then_some(false)
    }

    /// Negative = contradicts, 0 = says nothing, positive = agrees.
    fn verdict(&self, attribute: Option<usize>, a: NodeRank, b: NodeRank) -> NamesVerdict {
        let Some(column) = attribute.map(|attribute| self.evidence.columns().get(attribute)) else {
            return self.names_verdict(a, b);
        };
        let Some(column) = column else { return 0 };
        match (column.id(a), column.id(b)) {
            (0, _) | (_, 0) => 0,
            (a, b) if a == b => 4,
            (a, b) => match column.form {
                AttributeForm::GivenName | AttributeForm::FamilyName => self.names.part(column.text(a), column.text(b)),
                form if contradicts(form, column.text(a), column.text(b)) => -1,
                _ => 2,
            },
        }
    }

    fn check(&self, check: &Check, a: NodeRank, b: NodeRank) -> Option<Strength> {
        let verdict = || self.verdict(check.attribute, a, b);
        let strength = |verdict: NamesVerdict| Strength::try_from(verdict).ok();
        match (check.test, check.attribute) {
            (Test::Compatible, _) => strength(verdict()),
            (Test::Agree, _) => strength(verdict()).filter(|strength| *strength > 0),
            (Test::Same, None) => strength(verdict()).filter(|_| verdict() >= SAME_NAMES_MIN),
            (Test::Same, Some(_)) => strength(verdict()).filter(|strength| *strength > 0),
            (test, None) => self.names_pass(test, a, b).then_some(4),
            (test, Some(attribute)) => {
                let column = self.evidence.columns().get(attribute)?;
                let (a, b) = (column.of(a), column.of(b));
                (!a.is_empty() && !b.is_empty() && self.passes(test, column.form, a, b)).then_some(4)
            }
        }
    }

    fn passes(&self, test: Test, form: AttributeForm, a: &str, b: &str) -> bool {
        match test {
            Test::Exact => a == b,
            Test::JaroWinkler(least) if form == AttributeForm::Street => street_similarity(a, b) >= least,
            Test::JaroWinkler(least) => jaro_winkler(a, b) >= least,
            Test::Damerau(edits) => is_within(a, b, edits),
            Test::Nickname => a == b || self.names.is_nickname(a, b),
            Test::Initial => a == b || ((is_initial(a) || is_initial(b)) && a.chars().next() == b.chars().next()),
            Test::Swapped => a == b || (matches!(form, AttributeForm::Date(_)) && is_day_month_swapped(a, b)),
            Test::WithinDays(days) => days_between(a, b).is_some_and(|between| between <= days),
            Test::Compatible | Test::Agree | Test::Same => are_dates_near(a, b),
        }
    }

    /// A test of single values on given and family name: both must pass; `swapped` also crosswise.
    fn names_pass(&self, test: Test, a: NodeRank, b: NodeRank) -> bool {
        let Some((given, family)) = self.given.zip(self.family) else { return false };
        let (one, other) = ((given.of(a), family.of(a)), (given.of(b), family.of(b)));
        if [one.0, one.1, other.0, other.1].iter().any(|name| name.is_empty()) {
            return false;
        }
        if test == Test::Swapped {
            return one == other || (one.0 == other.1 && one.1 == other.0);
        }
        self.passes(test, given.form, one.0, other.0) && self.passes(test, family.form, one.1, other.1)
    }

    fn name_number(&self, node: NodeRank) -> u32 {
        self.name_of.get(node as usize).copied().unwrap_or(0)
    }

    fn names_verdict(&self, a: NodeRank, b: NodeRank) -> NamesVerdict {
        let (first, second) = (self.name_number(a), self.name_number(b));
        if first == 0 || second == 0 {
            return 0;
        }
        let key = (first.min(second), first.max(second));
        if let Some(verdict) = self.verdicts.borrow().get(&key) {
            return *verdict;
        }
        let text = |column: Option<&'a Column>, node| column.map_or("", |column| column.of(node));
        let name = |node| (text(self.given, node), text(self.family, node));
        let verdict = self.names.compare(name(a), name(b));
        self.verdicts.borrow_mut().insert(key, verdict);
        verdict
    }
}

fn name_numbers(nodes: usize, given: Option<&Column>, family: Option<&Column>) -> Vec<u32> {
    let mut numbers: HashMap<(u32, u32), u32> = HashMap::from([((0, 0), 0)]);
    let id = |column: Option<&Column>, node| column.map_or(0, |column| column.id(node));
    let mut number = |node| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry((id(given, node), id(family, node))).or_insert(next)
    };
    (0..).take(nodes).map(&mut number).collect()
}
