//! How far two nodes agree on each attribute, as few levels that can be counted.

use affluent_model::matching::AttributeForm;

use crate::evidence::alike::{are_dates_near, equal_date_parts, is_day_month_swapped, is_within, jaro_winkler};
use crate::evidence::names::{NameJudge, is_initial};
use crate::evidence::{Column, ValueId};

/// Levels of one attribute at most.
pub(crate) const LEVELS_MAX: usize = 5;
/// Attributes of one score at most: a pattern has four bits for each.
pub(crate) const ATTRIBUTES_MAX: usize = 16;
const BITS_PER_ATTRIBUTE: usize = 4;

/// By how much names must fit better when given and family name are swapped.
const SWAP_GAIN_MIN: f64 = 0.3;

/// The levels of agreement of a pair on each attribute: four bits each, 0 = one of the two has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pattern(u64);

impl Pattern {
    /// The level of each attribute, the first attribute first; goes on without end.
    pub(crate) fn levels(self) -> impl Iterator<Item = Option<usize>> {
        (0..ATTRIBUTES_MAX).map(move |attribute| {
            let bits = (self.0 >> (attribute * BITS_PER_ATTRIBUTE)) & 0xF;
            usize::try_from(bits).ok()?.checked_sub(1)
        })
    }

    fn with(self, attribute: usize, level: usize) -> Self {
        Self(self.0 | (u64::try_from(level + 1).unwrap_or(0) << (attribute * BITS_PER_ATTRIBUTE)))
    }
}

/// What the levels of an attribute mean, from the worst to the best.
pub(crate) fn level_words(form: AttributeForm) -> &'static [&'static str] {
    match form {
        AttributeForm::GivenName | AttributeForm::FamilyName => &["other", "similar", "initial", "slip or nickname", "equal"],
        AttributeForm::Date(_) => &["other", "two parts equal", "slip or swapped", "equal"],
        AttributeForm::Email => &["other", "similar", "same before @", "equal"],
        AttributeForm::Street | AttributeForm::Text => &["other", "similar", "very similar", "equal"],
        AttributeForm::Code => &["other", "slip", "equal"],
    }
}

/// Compares nodes attribute by attribute.
pub(crate) struct Comparer<'a> {
    columns: Vec<&'a Column>,
    /// Positions of the given and the family name, where both are compared.
    names: Option<(usize, usize)>,
    judge: &'a NameJudge,
}

impl<'a> Comparer<'a> {
    /// Columns beyond [`ATTRIBUTES_MAX`] are left out.
    pub(crate) fn new(mut columns: Vec<&'a Column>, judge: &'a NameJudge) -> Self {
        columns.truncate(ATTRIBUTES_MAX);
        let position = |form| columns.iter().position(|column| column.form == form);
        let names = position(AttributeForm::GivenName).zip(position(AttributeForm::FamilyName));
        Self { columns, names, judge }
    }

    pub(crate) fn columns(&self) -> &[&'a Column] {
        &self.columns
    }

    pub(crate) fn pattern(&self, a: u32, b: u32) -> Pattern {
        let is_swapped = self.are_names_swapped(a, b);
        let mut pattern = Pattern(0);
        for (attribute, column) in self.columns.iter().enumerate() {
            let other = match self.names.filter(|_| is_swapped) {
                Some((given, family)) if attribute == given => self.columns.get(family).copied(),
                Some((given, family)) if attribute == family => self.columns.get(given).copied(),
                _ => None,
            };
            let level = match other {
                Some(other) => self.level_of_texts(column.form, column.of(a), other.of(b)),
                None => self.level(column, column.id(a), column.id(b)),
            };
            if let Some(level) = level {
                pattern = pattern.with(attribute, level);
            }
        }
        pattern
    }

    fn level(&self, column: &Column, a: ValueId, b: ValueId) -> Option<usize> {
        if a == 0 || b == 0 {
            return None;
        }
        if a == b {
            return Some(level_words(column.form).len() - 1);
        }
        self.level_of_texts(column.form, column.text(a), column.text(b))
    }

    fn level_of_texts(&self, form: AttributeForm, a: &str, b: &str) -> Option<usize> {
        if a.is_empty() || b.is_empty() {
            return None;
        }
        if a == b {
            return Some(level_words(form).len() - 1);
        }
        Some(match form {
            AttributeForm::GivenName | AttributeForm::FamilyName => self.name_level(a, b),
            AttributeForm::Date(_) if is_within(a, b, 1) || is_day_month_swapped(a, b) => 2,
            AttributeForm::Date(_) => usize::from(equal_date_parts(a, b) == 2 || are_dates_near(a, b)),
            AttributeForm::Email if before_at(a) == before_at(b) => 2,
            AttributeForm::Email => usize::from(jaro_winkler(a, b) >= 0.88),
            AttributeForm::Street | AttributeForm::Text => match jaro_winkler(a, b) {
                similarity if similarity >= 0.92 => 2,
                similarity => usize::from(similarity >= 0.8),
            },
            AttributeForm::Code => usize::from(is_within(a, b, 1)),
        })
    }

    fn name_level(&self, a: &str, b: &str) -> usize {
        if is_initial(a) || is_initial(b) {
            return if a.chars().next() == b.chars().next() { 2 } else { 0 };
        }
        if is_within(a, b, 1) || self.judge.is_nickname(a, b) {
            return 3;
        }
        match jaro_winkler(a, b) {
            similarity if similarity >= 0.92 => 3,
            similarity => usize::from(similarity >= 0.84),
        }
    }

    /// True when the given name of each is far more like the family name of the other.
    fn are_names_swapped(&self, a: u32, b: u32) -> bool {
        let Some((given, family)) =
            self.names.and_then(|(given, family)| Some((self.columns.get(given)?, self.columns.get(family)?)))
        else {
            return false;
        };
        if given.id(a) == given.id(b) || family.id(a) == family.id(b) {
            return false;
        }
        let (a_given, a_family, b_given, b_family) = (given.of(a), family.of(a), given.of(b), family.of(b));
        if [a_given, a_family, b_given, b_family].iter().any(|name| name.is_empty()) {
            return false;
        }
        let crossed = jaro_winkler(a_given, b_family) + jaro_winkler(a_family, b_given);
        // Two similarities of at most 1: what cannot gain enough needs no second look.
        crossed > SWAP_GAIN_MIN + 0.8
            && crossed > jaro_winkler(a_given, b_given) + jaro_winkler(a_family, b_family) + SWAP_GAIN_MIN
    }
}

fn before_at(email: &str) -> &str {
    email.split('@').next().unwrap_or_default()
}
