//! Fields that tell records apart: alone, and in pairs where none does alone.

use std::collections::HashSet;

use affluent_model::schema::FieldType;

use super::column::{ColumnCount, PAIR_RECORDS_MAX};
use super::report::{FieldAssessment, KeyCandidate};
use super::tally::Tally;

/// Fields of which pairs are tried: those with the most values.
const PAIR_FIELDS_MAX: usize = 12;
/// Pairs that are told.
const PAIRS_MAX: usize = 3;
/// With fewer records any pair is a key by chance.
const PAIR_RECORDS_MIN: usize = 20;

/// All keys; those of one field first.
pub(crate) fn keys(columns: &[ColumnCount], tallies: &[Tally], fields: &[FieldAssessment]) -> Vec<KeyCandidate> {
    let all = columns.iter().zip(tallies).zip(fields);
    let single: Vec<KeyCandidate> = all.filter_map(|((column, tally), field)| single(column, tally, field)).collect();
    if single.is_empty() { pairs(columns, fields) } else { single }
}

fn single(column: &ColumnCount, tally: &Tally, field: &FieldAssessment) -> Option<KeyCandidate> {
    let is_filled = column.filled > 0 && column.filled == column.records();
    let is_key = is_filled && may_be_key(field.kind) && tally.records_at(1.0) == 1;
    is_key.then(|| KeyCandidate { fields: vec![field.name.clone()], is_exact: column.distinct.is_exact() })
}

/// Measures and instants differ from record to record too, and mean no record.
fn may_be_key(kind: FieldType) -> bool {
    matches!(kind, FieldType::Text | FieldType::Integer | FieldType::Date | FieldType::Timestamp)
}

fn pairs(columns: &[ColumnCount], fields: &[FieldAssessment]) -> Vec<KeyCandidate> {
    let records = columns.first().map_or(0, |column| column.first.len());
    if records < PAIR_RECORDS_MIN {
        return Vec::new();
    }
    let is_full = |column: &ColumnCount| column.first.iter().all(|hash| *hash != 0);
    let mut tried: Vec<(&ColumnCount, &FieldAssessment, usize)> = columns
        .iter()
        .zip(fields)
        .filter(|(column, field)| may_be_key(field.kind) && is_full(column))
        .map(|(column, field)| (column, field, column.first.iter().collect::<HashSet<_>>().len()))
        .filter(|(_, _, values)| *values > 1)
        .collect();
    tried.sort_by_key(|(_, _, values)| std::cmp::Reverse(*values));
    tried.truncate(PAIR_FIELDS_MAX);
    let is_exact = columns.first().is_some_and(|column| column.records() <= PAIR_RECORDS_MAX as u64);
    let mut found = Vec::new();
    for (place, (one, one_field, one_values)) in tried.iter().enumerate() {
        for (other, other_field, other_values) in tried.iter().skip(place + 1) {
            let could = one_values.saturating_mul(*other_values) >= records;
            if found.len() < PAIRS_MAX && could && is_unique(&one.first, &other.first) {
                found.push(KeyCandidate { fields: vec![one_field.name.clone(), other_field.name.clone()], is_exact });
            }
        }
    }
    found
}

fn is_unique(one: &[u64], other: &[u64]) -> bool {
    let mut seen = HashSet::with_capacity(one.len());
    one.iter().zip(other).all(|pair| seen.insert(pair))
}
