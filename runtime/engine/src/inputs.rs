//! What profiles are computed from, read once for all queries of a computation: the tables with their files, which of their
//! rows are void, and which node is which profile.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use affluent_lake::{LakeQuery, LakeTable};
use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::schema::FieldType;
use affluent_model::{Error, Result};
use affluent_profiles::source::{TableSource, Versions};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::engine::Engine;
use crate::rows;
use crate::tables::profile_tables;

/// A table of a query: name, columns, rows.
pub(crate) type MemoryTable = (String, SchemaRef, Vec<RecordBatch>);

/// What profiles are computed from.
pub(crate) struct Inputs {
    pub(crate) sources: Vec<TableSource>,
    pub(crate) tables: Vec<LakeTable>,
    pub(crate) people: People,
    /// The lists of void rows that `sources` name.
    superseded: Vec<MemoryTable>,
}

impl Inputs {
    /// # Errors
    /// What ledger, lake and, for a table without files, the source report.
    pub(crate) async fn read(engine: &Engine) -> Result<Self> {
        let (mut sources, mut tables, mut superseded) = (Vec::new(), Vec::new(), Vec::new());
        for one in profile_tables(engine).await? {
            let (mut source, table) = (one.source, one.table);
            if source.has_primary_key {
                let list = format!("{}/superseded", table.name);
                let rows = superseded_rows(engine, &table).await?;
                source.versions = if rows.is_empty() { Versions::One } else { Versions::Superseded(list.clone()) };
                if !rows.is_empty() {
                    superseded.push(sequences(list, rows)?);
                }
            }
            sources.push(source);
            tables.push(table);
        }
        Ok(Self { sources, tables, people: People::read(engine)?, superseded })
    }

    /// The tables in memory that queries over the sources read.
    pub(crate) fn memory(&self) -> Vec<MemoryTable> {
        self.superseded.iter().cloned().chain([self.people.assignments.clone(), self.people.ids_by_number.clone()]).collect()
    }
}

/// A version of a record: two hashes of its key, its place in the order of all rows, and whether it deletes the record. Two
/// keys meet in both hashes once in 10²⁰ tables of a hundred million records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    key: [u64; 2],
    sequence: i64,
    is_deletion: bool,
}

/// The rows of a table, by their sequence, that are not the current version of a record.
async fn superseded_rows(engine: &Engine, table: &LakeTable) -> Result<Vec<i64>> {
    let mut versions: Vec<Version> = Vec::new();
    let sql = format!("SELECT \"_pk\", \"_seq\", \"_deleted\" FROM \"{}\"", table.name.replace('"', "\"\""));
    let query = LakeQuery { sql, tables: vec![table.clone()], memory: Vec::new(), fold: None, now_us: engine.now_us() };
    engine.lake.stream(query, &mut |batch| take_versions(&batch, &mut versions)).await?;
    versions.sort_unstable();
    Ok(void_rows(&versions))
}

fn take_versions(batch: &RecordBatch, versions: &mut Vec<Version>) -> Result<()> {
    let keys = rows::as_text(rows::column(batch, "_pk")?)?;
    let sequences = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
    let deletions = rows::cast_to(rows::column(batch, "_deleted")?, &DataType::Boolean)?;
    let (keys, sequences, deletions) = (keys.as_string::<i32>(), sequences.as_primitive::<Int64Type>(), deletions.as_boolean());
    versions.extend((0..batch.num_rows()).map(|row| Version {
        key: hashes(keys.value(row)),
        sequence: sequences.value(row),
        is_deletion: deletions.is_valid(row) && deletions.value(row),
    }));
    Ok(())
}

fn hashes(key: &str) -> [u64; 2] {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let first = hasher.finish();
    // The state goes on from the whole key: the second hash is a function of the key, not of the first hash.
    0_u8.hash(&mut hasher);
    [first, hasher.finish()]
}

/// All versions but the last of each key, and the last too where it is a deletion. `versions` are sorted.
fn void_rows(versions: &[Version]) -> Vec<i64> {
    let mut void = Vec::new();
    for record in versions.chunk_by(|a, b| a.key == b.key) {
        if let Some((last, before)) = record.split_last() {
            void.extend(before.iter().map(|version| version.sequence));
            void.extend(last.is_deletion.then_some(last.sequence));
        }
    }
    void
}

fn sequences(name: String, rows: Vec<i64>) -> Result<MemoryTable> {
    memory_table(&name, vec![(Field::new("_seq", DataType::Int64, false), Arc::new(Int64Array::from(rows)))])
}

/// Which node is which profile. Profiles have numbers, from 0 in the order of their ids: they sort as the ids do and cost a
/// quarter of what the ids cost.
pub(crate) struct People {
    /// Number → profile.
    pub(crate) ids: Vec<ProfileId>,
    /// Node → number of its profile, sorted by node.
    nodes: Vec<(NodeId, u32)>,
    /// `assignments(node, profile)`.
    assignments: MemoryTable,
    /// `profile_ids(number, profile)`.
    ids_by_number: MemoryTable,
}

impl People {
    /// # Errors
    /// Those of the store.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        let mut assigned: Vec<(NodeId, ProfileId)> = Vec::new();
        engine.ledger.assignments(&mut |node, profile| {
            assigned.push((node, profile));
            Ok(())
        })?;
        assigned.sort_unstable();
        let mut ids: Vec<ProfileId> = assigned.iter().map(|(_, profile)| *profile).collect();
        ids.sort_unstable();
        ids.dedup();
        let number = |profile| u32::try_from(ids.binary_search(profile).unwrap_or_default()).unwrap_or(u32::MAX);
        let nodes: Vec<(NodeId, u32)> = assigned.iter().map(|(node, profile)| (*node, number(profile))).collect();
        Ok(Self { assignments: assignments_table(&nodes)?, ids_by_number: ids_table(&ids)?, ids, nodes })
    }

    /// The number of a node's profile; `None` for a node that nobody is.
    pub(crate) fn number_of(&self, node: NodeId) -> Option<u32> {
        // Nodes are numbered from 1 without large gaps, so that the place of a node is mostly its number.
        let guess = usize::try_from(node.0).ok()?.checked_sub(1)?;
        if let Some((_, number)) = self.nodes.get(guess).filter(|(found, _)| *found == node) {
            return Some(*number);
        }
        let place = self.nodes.binary_search_by_key(&node, |(node, _)| *node).ok()?;
        self.nodes.get(place).map(|(_, number)| *number)
    }
}

fn assignments_table(nodes: &[(NodeId, u32)]) -> Result<MemoryTable> {
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            Field::new("node", DataType::Int64, false),
            Arc::new(nodes.iter().map(|(node, _)| Some(node.0)).collect::<Int64Array>()),
        ),
        (
            Field::new("profile", DataType::Int64, false),
            Arc::new(nodes.iter().map(|(_, number)| Some(i64::from(*number))).collect::<Int64Array>()),
        ),
    ];
    memory_table("assignments", columns)
}

fn ids_table(ids: &[ProfileId]) -> Result<MemoryTable> {
    let mut texts = StringBuilder::new();
    for id in ids {
        write!(texts, "{id}").map_err(|_| Error::bug("a builder takes any text"))?;
        texts.append_value("");
    }
    let numbers: Int64Array = (0..).take(ids.len()).map(Some).collect();
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("number", FieldType::Integer.to_arrow(), false), Arc::new(numbers)),
        (Field::new("profile", DataType::Utf8, false), Arc::new(texts.finish())),
    ];
    memory_table("profile_ids", columns)
}

/// A table in memory.
///
/// # Errors
/// `E0001` when the columns differ in length.
pub(crate) fn memory_table(name: &str, columns: Vec<(Field, ArrayRef)>) -> Result<MemoryTable> {
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(|error| Error::bug(error.to_string()))?;
    Ok((name.to_owned(), schema, vec![batch]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_version_of_a_record_is_not_void_unless_it_deletes_it() {
        // Rows 1, 2, 3 … as keys; a deletion has a minus.
        let cases: [(&str, &[i64]); 4] = [("", &[]), ("a b", &[]), ("a b a", &[1]), ("a -a -b b -c", &[1, 2, 3, 5])];
        for (rows, expected) in cases {
            let version = |(sequence, row): (i64, &str)| Version {
                key: hashes(row.trim_start_matches('-')),
                sequence,
                is_deletion: row.starts_with('-'),
            };
            let mut versions: Vec<Version> = (1..).zip(rows.split_whitespace()).map(version).collect();
            versions.sort_unstable();
            let mut void = void_rows(&versions);
            void.sort_unstable();
            assert_eq!(void, expected, "{rows:?}");
        }
    }
}
