//! SQL of attributes: which value of each survives in a profile, and where it comes from. The records of a profile are
//! sorted, newest first; every attribute takes its first value that is not null, or what its strategy chooses or makes.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::fold::{Choose, Pick, Ranks, When};
use affluent_model::schema::FieldType;
use affluent_model::survivorship::{DEFAULT, EMPTY_DOCUMENTS, Strategy, Survivorship};
use affluent_model::{Error, Result};

use crate::computed_traits::types_differ;
use crate::lineage::rule::{AttributeRule, pin_function};
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
    /// A record that says nothing counts too.
    counts_empty: bool,
    /// How many attributes go with the most complete record, this one too; 0 = it does not.
    complete_max: usize,
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
    let attributes = names.into_iter().map(|name| attribute_of(name, sources, survivorship, pins_of(name)));
    let mut attributes = attributes.collect::<Result<Vec<_>>>()?;
    let is_whole = |attribute: &Attribute<'_>| attribute.strategy == Strategy::MostCompleteRecord;
    let complete_max = attributes.iter().filter(|one| is_whole(one)).count();
    attributes.iter_mut().filter(|one| is_whole(one)).for_each(|one| one.complete_max = complete_max);
    Ok(attributes)
}

/// How many of the attributes that go with the most complete record a source's record `n` has, as an expression.
pub(crate) fn filled(attributes: &[Attribute<'_>], number: usize) -> String {
    let given = attributes.iter().filter(|one| one.complete_max > 0).filter_map(|one| one.given_by(number));
    let filled: Vec<String> =
        given.map(|given| format!("CASE WHEN {} IS NOT NULL THEN 1 ELSE 0 END", said(given, "n"))).collect();
    if filled.is_empty() { "0".to_owned() } else { filled.join(" + ") }
}

/// What a record of a table says of an attribute, as an expression: null where it says nothing.
pub(crate) fn said(given: &AttributeSource, table: &str) -> String {
    let column = format!("{table}.{}", quoted(&given.column));
    let empty: &[&str] = match given.kind {
        _ if given.sealed => &[],
        FieldType::Text => &[""],
        FieldType::Json => &EMPTY_DOCUMENTS,
        _ => &[],
    };
    let empty: Vec<String> = empty.iter().map(|text| literal(text)).collect();
    if empty.is_empty() { column } else { format!("CASE WHEN {column} NOT IN ({}) THEN {column} END", empty.join(", ")) }
}

/// The column of an attribute's values before they have their name.
pub(crate) fn value_column(place: usize) -> String {
    format!("_{place}")
}

/// The column by which records are preferred, where some are pinned.
fn rank_column(place: usize) -> String {
    format!("_rank_{place}")
}

/// The column that tells which records count, where those that say nothing do.
fn counting_column(place: usize) -> String {
    format!("_counts_{place}")
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
        counts_empty: rule.is_some_and(|rule| rule.counts_empty) && strategy.chooses_a_record(),
        complete_max: 0,
    })
}

fn can_choose(strategy: Strategy, is_sealed: bool, kind: FieldType) -> bool {
    strategy.fits(kind) && !(is_sealed && strategy.compares_values())
}

fn cannot_choose(name: &str, strategy: Strategy, is_sealed: bool) -> Error {
    let why = if is_sealed { "its values are sealed" } else { "its values are of another type" };
    let message = format!("the strategy `{}` cannot choose a value of `{name}`: {why}", strategy.as_str());
    Error::configuration("E0767", message).help("choose it by `most_recent`, `first_seen`, `most_complete_record` or `prefer`")
}

fn choose(strategy: Strategy, kind: FieldType) -> Choose {
    match strategy {
        Strategy::MostRecent | Strategy::MostCompleteRecord => Choose::First,
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

    fn given_by(&self, number: usize) -> Option<&AttributeSource> {
        self.given.iter().find(|(giver, _)| *giver == number).map(|(_, given)| *given)
    }

    /// What a source (by number) gives, as an expression over its record `n`.
    pub(crate) fn value(&self, number: usize) -> String {
        let Some(given) = self.given_by(number) else { return self.null() };
        // No word that may be a no is passed over; empty texts are, when a record is picked.
        let hears_empty = self.counts_empty || self.strategy.hears_all() || given.kind == FieldType::Text;
        let value = if hears_empty { format!("n.{}", quoted(&given.column)) } else { said(given, "n") };
        let value = if given.sealed || given.kind == self.stored { value } else { cast(&value, self.stored) };
        self.while_young(&value)
    }

    /// The expression of a record `n` that is not too old, or is pinned; else null.
    fn while_young(&self, expression: &str) -> String {
        let is_pinned = if self.pins > 0 { format!(" OR {} IS NOT NULL", self.pin()) } else { String::new() };
        match self.max_age_ms {
            None => expression.to_owned(),
            Some(age_ms) => {
                format!("CASE WHEN n.\"_at\" >= now() - INTERVAL '{age_ms} milliseconds'{is_pinned} THEN {expression} END")
            }
        }
    }

    /// Where a record that says nothing counts, the column that tells records that count, as an expression over a source's
    /// record `n`: 1 for those.
    pub(crate) fn counting_column(&self, place: usize, number: usize) -> Option<String> {
        let counts = if self.given_by(number).is_some() { self.while_young("1") } else { "0".to_owned() };
        self.counts_empty.then(|| format!("{} AS {}", cast(&counts, FieldType::Integer), quoted(&counting_column(place))))
    }

    /// The place of the pin of record `n`, as an expression.
    fn pin(&self) -> String {
        format!("{}(n.\"_owner\")", quoted(&pin_function(self.name)))
    }

    /// True where the source alone does not say which records are preferred.
    fn ranks_records(&self) -> bool {
        self.pins > 0 || self.complete_max > 0
    }

    /// Where records are pinned or the most complete is wanted, the column by which they are preferred, as an expression over a
    /// source's record `n`: for each source one number per number of attributes that the record lacks, and before 0 the pinned
    /// ones, the newest pin first. `filled` is how many it has.
    pub(crate) fn preference_column(&self, place: usize, number: usize, filled: &str) -> Option<String> {
        let first = number * (self.complete_max + 1);
        let of_record =
            if self.complete_max > 0 { format!("{} - ({filled})", first + self.complete_max) } else { first.to_string() };
        let preferred = match self.pins {
            0 => of_record,
            pins => format!("coalesce({} - {pins}, {of_record})", self.pin()),
        };
        self.ranks_records().then(|| format!("{} AS {}", cast(&preferred, FieldType::Integer), quoted(&rank_column(place))))
    }

    /// The value is taken of the record that gives the attribute.
    pub(crate) fn pick(&self, place: usize, sources: &[TableSource]) -> Pick {
        let value = value_column(place);
        let take = vec![(value.clone(), value.clone())];
        let when = match self.stored {
            _ if self.counts_empty => When::Equals(counting_column(place), 1),
            FieldType::Text if !self.strategy.hears_all() => When::NotEmpty(value),
            _ => When::NotNull(value),
        };
        Pick { when, choose: choose(self.strategy, self.kind), ranks: self.ranks(place, sources), take }
    }

    /// Pinned records first, then those of preferred connections, of these the most complete.
    fn ranks(&self, place: usize, sources: &[TableSource]) -> Option<Ranks> {
        let preference = self.preference(sources);
        if !self.ranks_records() {
            return preference;
        }
        let integer = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let stride = self.complete_max + 1;
        let of_source = |number: usize| {
            let rank = preference.as_ref().and_then(|ranks| ranks.rank_of.get(&integer(number))).copied().unwrap_or_default();
            (0..stride).map(move |lacking| (integer(number * stride + lacking), self.pins + rank * stride + lacking))
        };
        let of_pins = (-integer(self.pins)..0).zip(0..);
        let rank_of = of_pins.chain(self.given.iter().flat_map(|(number, _)| of_source(*number))).collect();
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

    /// The value under its name.
    pub(crate) fn column(&self, place: usize) -> String {
        format!("{} AS {}", quoted(&value_column(place)), quoted(self.name))
    }
}
