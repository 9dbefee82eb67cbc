//! How many profiles are others than in the snapshot before: both are read once and each profile is one number.

use std::collections::BTreeSet;
use std::hash::BuildHasher as _;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_model::identity::ProfileId;
use affluent_model::{Error, Result};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use foldhash::quality::FixedState;

use crate::engine::Engine;
use crate::origins::is_origin;
use crate::rows;

/// Counts the profiles that both snapshots have with other values; lineage and sealed values are not compared.
///
/// # Errors
/// What the lake reports.
pub(crate) async fn changed_profiles(engine: &Engine, before: &LakeTable, now: &LakeTable) -> Result<u64> {
    let columns = comparable(&before.schema, &now.schema);
    if columns.is_empty() {
        return Ok(0);
    }
    let before = digests(engine, before, &columns).await?;
    let now = digests(engine, now, &columns).await?;
    Ok(differing(&before, &now))
}

/// Clear columns that both snapshots have with one type: a ciphertext differs each time it is made.
fn comparable(before: &SchemaRef, now: &SchemaRef) -> BTreeSet<String> {
    let is_comparable = |field: &Field| *field.data_type() != DataType::Binary && !is_origin(field) && field.name() != "profile";
    let fields = now.fields().iter().filter(|field| is_comparable(field));
    let same =
        fields.filter(|field| before.field_with_name(field.name()).is_ok_and(|other| other.data_type() == field.data_type()));
    same.map(|field| field.name().clone()).collect()
}

/// A profile, and a hash of its values.
type Digest = (ProfileId, u64);

async fn digests(engine: &Engine, table: &LakeTable, columns: &BTreeSet<String>) -> Result<Vec<Digest>> {
    let quoted: String = columns.iter().map(|name| format!(", \"{}\"", name.replace('"', "\"\""))).collect();
    let sql = format!("SELECT \"profile\"{quoted} FROM \"{}\"", table.name);
    let query = LakeQuery { with_views: true, ..LakeQuery::new(sql, vec![table.clone()], engine.now_us()) };
    let mut digests = Vec::new();
    engine.lake.stream(query, &mut |batch| take(&batch, &mut digests)).await?;
    // Files are sorted already; parts of them may come in any order.
    digests.sort();
    Ok(digests)
}

fn take(batch: &RecordBatch, digests: &mut Vec<Digest>) -> Result<()> {
    let no_digest = |_| Error::bug("the clear values of a profile can be compared");
    let profiles = rows::as_text(rows::column(batch, "profile")?)?;
    let values = batch.columns().get(1..).unwrap_or_default();
    let fields = values.iter().map(|values| SortField::new(values.data_type().clone())).collect();
    let converter = RowConverter::new(fields).map_err(no_digest)?;
    let rows = converter.convert_columns(values).map_err(no_digest)?;
    let hasher = FixedState::default();
    for (profile, values) in profiles.as_string::<i32>().iter().zip(&rows) {
        let id = profile.and_then(ProfileId::parse).ok_or_else(|| Error::bug("a profile id in the lake is not a UUID"))?;
        digests.push((id, hasher.hash_one(values.as_ref())));
    }
    Ok(())
}

/// Profiles of both lists, which are sorted, with different hashes.
fn differing(before: &[Digest], now: &[Digest]) -> u64 {
    let (mut before, mut changed) = (before.iter().peekable(), 0);
    for (id, hash) in now {
        while before.next_if(|(other, _)| other < id).is_some() {}
        if before.next_if(|(other, _)| other == id).is_some_and(|(_, other)| other != hash) {
            changed += 1;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_new_or_gone_has_not_changed() {
        let digests = |text: &str| {
            let pair =
                |pair: &str| pair.split_once('=').map(|(id, hash)| (ProfileId(id.parse().unwrap()), hash.parse().unwrap()));
            text.split_whitespace().filter_map(pair).collect::<Vec<Digest>>()
        };
        let cases = [("", "1=1", 0), ("1=1", "", 0), ("1=1 2=2", "1=1 2=3", 1), ("1=1 3=3 5=5", "2=2 3=4 4=4 5=6", 2)];
        for (before, now, expected) in cases {
            assert_eq!(differing(&digests(before), &digests(now)), expected, "{before} -> {now}");
        }
    }
}
