//! SQL of attributes: which value of each survives in a profile, and where it comes from. The records of a profile are
//! sorted, newest first; every attribute takes its first value that is not null, or what its strategy chooses or makes.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::fold::{Choose, Pick, Ranks, When};
use affluent_model::schema::FieldType;
use affluent_model::survivorship::{DEFAULT, Strategy, Survivorship};
use affluent_model::{Error, Result};

use crate::computed_traits::types_differ;
use crate::lineage::rule::{AttributeRule, pin_function};
use crate::snapshot::lineage_name;
use crate::source::{AttributeSource, TableSource};
use crate::sql::{cast, common_kind, literal, null, quoted};

/// An attribute over all tables that give it.
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    /// Type of the values as they are stored: Binary where sealed.
    stored: FieldType,
    /// Number of the source, and what it gives.
    given: Vec<(usize, &'a AttributeSource)>,
    /// Connections in order of preference.
    preferred: &'a [String],
    strategy: Strategy,
    /// Of the plaintext.
    kind: FieldType,
    /// Milliseconds.
    max_age_ms: Option<u64>,
    /// Pins to records, which win over every preference, the newest first.
    pins: usize,
}

/// All attributes, by name.
///
/// # Errors
/// `E0761`, `E0762`, `E0767`.
pub(crate) fn attributes_of<'a>(
    sources: &'a [TableSource],
    survivorship: &'a BTreeMap<String, Survivorship>,
    pins: &BTreeMap<String, usize>,
) -> Result<Vec<Attribute<'a>>> {
    let names: BTreeSet<&str> = sources.iter().flat_map(|source| &source.attributes).map(|given| given.name.as_str()).collect();
    let pins_of = |name: &str| pins.get(name).copied().unwrap_or_default();
    names.into_iter().map(|name| attribute_of(name, sources, survivorship, pins_of(name))).collect()
}

/// The column of an attribute's values before they have their name.
pub(crate) fn value_column(place: usize) -> String {
    format!("_{place}")
}

/// The column by which records are preferred, where some are pinned.
fn rank_column(place: usize) -> String {
    format!("_rank_{place}")
}

fn attribute_of<'a>(
    name: &'a str,
    sources: &'a [TableSource],
    survivorship: &'a BTreeMap<String, Survivorship>,
    pins: usize,
) -> Result<Attribute<'a>> {
    let given: Vec<(usize, &AttributeSource)> = sources
        .iter()
        .enumerate()
        .filter_map(|(number, source)| Some((number, source.attributes.iter().find(|given| given.name == name)?)))
        .collect();
    let mut kinds = given.iter().map(|(_, given)| given.kind);
    let first = kinds.next().unwrap_or(FieldType::Text);
    let common = kinds.try_fold(first, common_kind).ok_or_else(|| types_differ(&format!("attribute `{name}`")))?;
    let sealed = given.iter().filter(|(_, given)| given.sealed).count();
    if sealed > 0 && sealed < given.len() {
        return Err(sealed_in_part(name, sources, &given));
    }
    let stored = if sealed > 0 { FieldType::Binary } else { common };
    let (own, all) = (survivorship.get(name), survivorship.get(DEFAULT));
    let fits = |rule: &Survivorship| can_choose(rule.strategy, sealed > 0, common);
    if let Some(rule) = own.filter(|rule| !fits(rule)) {
        return Err(cannot_choose(name, rule.strategy, sealed > 0));
    }
    let rule = own.or(all);
    let strategy = rule.filter(|rule| fits(rule)).map(|rule| rule.strategy).unwrap_or_default();
    let passes_over = rule.filter(|_| !strategy.hears_all());
    Ok(Attribute {
        name,
        stored,
        given,
        preferred: passes_over.map_or(&[], |rule| rule.prefer.as_slice()),
        strategy,
        kind: common,
        max_age_ms: passes_over.and_then(|rule| rule.max_age_ms),
        pins: if strategy.hears_all() { 0 } else { pins },
    })
}

fn can_choose(strategy: Strategy, is_sealed: bool, kind: FieldType) -> bool {
    strategy.fits(kind) && !(is_sealed && strategy.compares_values())
}

fn cannot_choose(name: &str, strategy: Strategy, is_sealed: bool) -> Error {
    let why = if is_sealed { "its values are sealed" } else { "its values are of another type" };
    let message = format!("the strategy `{}` cannot choose a value of `{name}`: {why}", strategy.as_str());
    Error::configuration("E0767", message).help("choose it by `most_recent`, `first_seen` or `prefer`")
}

fn choose(strategy: Strategy, kind: FieldType) -> Choose {
    match strategy {
        Strategy::MostRecent => Choose::First,
        Strategy::FirstSeen => Choose::Last,
        Strategy::MostFrequent => Choose::MostFrequent,
        Strategy::Longest => Choose::Longest,
        Strategy::Min | Strategy::AllTrue => Choose::Least,
        Strategy::Max | Strategy::AnyTrue => Choose::Most,
        Strategy::Union if kind == FieldType::Json => Choose::UnionOfLists,
        Strategy::Union => Choose::Union,
        Strategy::Sum => Choose::Sum,
        Strategy::ConsentStrictest => Choose::Strictest,
    }
}

fn sealed_in_part(name: &str, sources: &[TableSource], given: &[(usize, &AttributeSource)]) -> Error {
    let table = |sealed: bool| {
        let found = given.iter().find(|(_, given)| given.sealed == sealed).and_then(|(number, _)| sources.get(*number));
        found.map_or("", |source| source.table.as_str())
    };
    let message = format!("attribute `{name}` is sealed in `{}` and clear in `{}`", table(true), table(false));
    Error::configuration("E0761", message).help("give both columns the same class under `pii`, or use two names")
}

impl Attribute<'_> {
    /// By what its value is chosen.
    pub(crate) fn rule(&self) -> AttributeRule {
        let Self { strategy, preferred, max_age_ms, .. } = *self;
        AttributeRule { strategy, preferred: preferred.to_vec(), max_age_ms }
    }

    /// Null of the attribute's type.
    pub(crate) fn null(&self) -> String {
        null(self.stored)
    }

    /// What a source (by number) gives, as an expression over its record `n`.
    pub(crate) fn value(&self, number: usize) -> String {
        let value = match self.given.iter().find(|(giver, _)| *giver == number) {
            None => return self.null(),
            Some((_, given)) if given.sealed || given.kind == self.stored => format!("n.{}", quoted(&given.column)),
            Some((_, given)) => cast(&format!("n.{}", quoted(&given.column)), self.stored),
        };
        let is_pinned = if self.pins > 0 { format!(" OR {} IS NOT NULL", self.pin()) } else { String::new() };
        match self.max_age_ms {
            None => value,
            Some(age_ms) => {
                format!("CASE WHEN n.\"_at\" >= now() - INTERVAL '{age_ms} milliseconds'{is_pinned} THEN {value} END")
            }
        }
    }

    /// The place of the pin of record `n`, as an expression.
    fn pin(&self) -> String {
        format!("{}(n.\"_owner\")", quoted(&pin_function(self.name)))
    }

    /// Where records are pinned, the column by which they are preferred, as an expression over a source's record `n`: the number
    /// of the source, and before 0 the pinned ones, the newest pin first.
    pub(crate) fn preference_column(&self, place: usize, number: usize) -> Option<String> {
        let preferred = format!("coalesce({} - {}, {number})", self.pin(), self.pins);
        (self.pins > 0).then(|| format!("{} AS {}", cast(&preferred, FieldType::Integer), quoted(&rank_column(place))))
    }

    /// What is taken of the record that gives the attribute: value, record, node, time and, where several tables give it,
    /// source.
    pub(crate) fn pick(&self, place: usize, sources: &[TableSource]) -> Pick {
        let value = value_column(place);
        let mut take = vec![(value.clone(), value.clone())];
        let lineage = [("_pk", "record"), ("_node", "node"), ("_at", "at"), ("_source", "source")];
        let told = if self.given.len() > 1 { lineage.len() } else { lineage.len() - 1 };
        take.extend(lineage.iter().take(told).map(|(column, name)| ((*column).to_owned(), format!("{value}_{name}"))));
        Pick { when: When::NotNull(value), choose: choose(self.strategy, self.kind), ranks: self.ranks(place, sources), take }
    }

    /// Pinned records first, then those of preferred connections.
    fn ranks(&self, place: usize, sources: &[TableSource]) -> Option<Ranks> {
        let preference = self.preference(sources);
        if self.pins == 0 {
            return preference;
        }
        let pins = i64::try_from(self.pins).unwrap_or(i64::MAX);
        let of_source = |number: usize| {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            let rank = preference.as_ref().and_then(|ranks| ranks.rank_of.get(&number)).copied().unwrap_or_default();
            (number, self.pins + rank)
        };
        let rank_of = (-pins..0).zip(0..).chain(self.given.iter().map(|(number, _)| of_source(*number))).collect();
        Some(Ranks { column: rank_column(place), rank_of })
    }

    /// Smaller where the connection is preferred; `None` where it makes no difference.
    fn preference(&self, sources: &[TableSource]) -> Option<Ranks> {
        let rank = |number: usize| {
            let connection = sources.get(number).map(|source| &source.connection);
            self.preferred.iter().position(|preferred| Some(preferred) == connection).unwrap_or(self.preferred.len())
        };
        let rank_of: BTreeMap<i64, usize> =
            self.given.iter().map(|(number, _)| (i64::try_from(*number).unwrap_or(i64::MAX), rank(*number))).collect();
        let ranks: BTreeSet<&usize> = rank_of.values().collect();
        (ranks.len() > 1).then(|| Ranks { column: "_source".to_owned(), rank_of: rank_of.clone() })
    }

    /// The value under its name, and its lineage.
    pub(crate) fn columns(&self, place: usize, sources: &[TableSource]) -> String {
        let table =
            self.by_source(place, |number, _| sources.get(number).map_or_else(String::new, |source| source.table.clone()));
        let field = self.by_source(place, |_, given| given.column.clone());
        format!(
            "\"_{place}\" AS {}, CASE WHEN \"_{place}\" IS NOT NULL THEN named_struct('table', {table}, 'record', \"_{place}_record\", \
             'node', \"_{place}_node\", 'field', {field}, 'at', \"_{place}_at\") END AS {}",
            quoted(self.name),
            quoted(&lineage_name(self.name))
        )
    }

    /// A text that depends on the table the value comes from.
    fn by_source(&self, place: usize, text: impl Fn(usize, &AttributeSource) -> String) -> String {
        let texts: Vec<(usize, String)> =
            self.given.iter().map(|(number, given)| (*number, literal(&text(*number, given)))).collect();
        match texts.as_slice() {
            [(_, only)] => only.clone(),
            _ => {
                let cases: String = texts.iter().map(|(number, text)| format!(" WHEN {number} THEN {text}")).collect();
                format!("CASE \"_{place}_source\"{cases} END")
            }
        }
    }
}
