//! What profiles are computed from, read once for all queries of a computation: the tables with their files, which of their
//! rows are void, and which node is which profile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use affluent_lake::{LakeQuery, LakeTable, Lookup};
use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::{Error, Result};
use affluent_profiles::snapshot::{GONE, PROFILE_IDS};
use affluent_profiles::source::{NUMBER_OF, PROFILE_OF, TableSource, Versions};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::engine::Engine;
use crate::key_set::{Hashes, KeySet, short_hash};
use crate::rows;
use crate::tables::{ProfileTable, profile_tables};

/// A table of a query: name, columns, rows.
pub(crate) type MemoryTable = (String, SchemaRef, Vec<RecordBatch>);

/// What profiles are computed from.
pub(crate) struct Inputs {
    pub(crate) sources: Vec<TableSource>,
    /// Tables of files.
    pub(crate) tables: Vec<LakeTable>,
    /// Tables of rows: those of the profiles at hand alone, where not all are computed.
    pub(crate) memory: Vec<MemoryTable>,
    pub(crate) people: People,
    /// Of a row's sequence, whether it is void: the functions that `sources` name.
    superseded: Vec<Lookup>,
    /// By table, the sequences of void rows; where not all profiles are at hand, those that the snapshot before did not know.
    pub(crate) void: Void,
}

/// By table, sequences of void rows.
pub(crate) type Void = BTreeMap<String, Vec<i64>>;

impl Inputs {
    /// Everything, of all profiles.
    ///
    /// # Errors
    /// What ledger, lake and, for a table without files, the source report.
    pub(crate) async fn read(engine: &Engine) -> Result<Self> {
        let mut inputs = Self::of(People::read(engine)?);
        for ProfileTable { source, table } in profile_tables(engine).await? {
            let void = if source.has_primary_key { superseded_rows(engine, &table).await? } else { Vec::new() };
            inputs.add(source, &void);
            inputs.void.insert(table.name.clone(), void);
            inputs.tables.push(table);
        }
        Ok(inputs)
    }

    /// No table yet, of these profiles.
    pub(crate) fn of(people: People) -> Self {
        Self { sources: Vec::new(), tables: Vec::new(), memory: Vec::new(), people, superseded: Vec::new(), void: Void::new() }
    }

    /// Adds a source; `void` are the sequences of its void rows. Its table is added besides.
    pub(crate) fn add(&mut self, mut source: TableSource, void: &[i64]) {
        if source.has_primary_key {
            let is_void = format!("is_void/{}", source.table);
            source.versions = if void.is_empty() { Versions::One } else { Versions::Superseded(is_void.clone()) };
            self.superseded.extend((!void.is_empty()).then(|| Lookup::among(&is_void, void)));
        }
        self.sources.push(source);
    }

    /// A query over the sources, with the functions that they call.
    pub(crate) fn query(&self, engine: &Engine, sql: String) -> LakeQuery {
        let (memory, lookups) = (self.memory.clone(), self.lookups());
        LakeQuery { memory, lookups, ..LakeQuery::new(sql, self.tables.clone(), engine.now_us()) }
    }

    /// The functions that queries over the sources call.
    pub(crate) fn lookups(&self) -> Vec<Lookup> {
        self.superseded.iter().cloned().chain([self.people.profile_of(), self.people.number_of_profile()]).collect()
    }
}

/// A version of a record: two hashes of its key, its place in the order of all rows, and whether it deletes the record. Two
/// keys meet in both hashes once in 10²⁰ tables of a hundred million records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    key: [u64; 2],
    sequence: i64,
    is_deletion: bool,
}

/// The rows of a table, by their sequence, that are not the current version of a record. Most tables have few: a first look
/// at short hashes finds those that may be, and only they are looked at again.
async fn superseded_rows(engine: &Engine, table: &LakeTable) -> Result<Vec<i64>> {
    let name = table.name.replace('"', "\"\"");
    let query = |columns: &str| {
        let sql = format!("SELECT {columns} FROM \"{name}\"");
        LakeQuery { with_views: true, ..LakeQuery::new(sql, vec![table.clone()], engine.now_us()) }
    };
    let mut keyed = Keyed::default();
    engine.lake.stream(query("\"_pk\", \"_deleted\""), &mut |batch| keyed.take(&batch)).await?;
    let Some(candidates) = keyed.repeated() else { return Ok(Vec::new()) };
    let mut versions: Vec<Version> = Vec::new();
    let all = query("\"_pk\", \"_seq\", \"_deleted\"");
    let may_be_void = |key: &str, is_deletion: bool| is_deletion || candidates.has(key);
    engine.lake.stream(all, &mut |batch| take_versions(&batch, may_be_void, &mut versions)).await?;
    versions.sort_unstable();
    Ok(void_rows(&versions))
}

/// Keys with more than one row, and whether some row deletes its record.
#[derive(Default)]
struct Keyed {
    /// Of every row.
    hashes: Vec<u64>,
    has_deletion: bool,
}

impl Keyed {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = rows::as_views(rows::column(batch, "_pk")?)?;
        let deletions = rows::cast_to(rows::column(batch, "_deleted")?, &DataType::Boolean)?;
        self.has_deletion |= deletions.as_boolean().true_count() > 0;
        self.hashes.extend(keys.iter().map(|key| short_hash(key.unwrap_or_default())));
        Ok(())
    }

    /// The keys with more than one row; `None` when every row is the one version of its record.
    fn repeated(mut self) -> Option<KeySet> {
        self.hashes.sort_unstable();
        let repeated = self.hashes.chunk_by(|one, other| one == other).filter(|run| run.len() > 1);
        let repeated: Hashes = repeated.filter_map(|run| run.first().copied()).collect();
        (self.has_deletion || !repeated.is_empty()).then(|| KeySet::of(repeated))
    }
}

/// Takes the versions that are wanted, by their key and whether they delete the record.
///
/// # Errors
/// `E0001` for rows of another shape.
pub(crate) fn take_versions(
    batch: &RecordBatch,
    is_wanted: impl Fn(&str, bool) -> bool,
    versions: &mut Vec<Version>,
) -> Result<()> {
    let keys = rows::as_views(rows::column(batch, "_pk")?)?;
    let sequences = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
    let deletions = rows::cast_to(rows::column(batch, "_deleted")?, &DataType::Boolean)?;
    let (sequences, deletions) = (sequences.as_primitive::<Int64Type>(), deletions.as_boolean());
    versions.extend((0..batch.num_rows()).filter_map(|row| {
        let (key, is_deletion) = (keys.value(row), deletions.is_valid(row) && deletions.value(row));
        let version = || Version { key: hashes(key), sequence: sequences.value(row), is_deletion };
        is_wanted(key, is_deletion).then(version)
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
pub(crate) fn void_rows(versions: &[Version]) -> Vec<i64> {
    let mut void = Vec::new();
    for record in versions.chunk_by(|a, b| a.key == b.key) {
        if let Some((last, before)) = record.split_last() {
            void.extend(before.iter().map(|version| version.sequence));
            void.extend(last.is_deletion.then_some(last.sequence));
        }
    }
    void
}

/// Which node is which profile. Profiles have numbers, from 0 in the order of their ids: they sort as the ids do and cost a
/// quarter of what the ids cost.
pub(crate) struct People {
    /// Number → profile.
    pub(crate) ids: Arc<Vec<ProfileId>>,
    /// Node → number of its profile; nodes are numbered without large gaps.
    numbers: Arc<Vec<u32>>,
    /// The ids as texts, where they are few of all: most texts that are looked up are none of them.
    texts: Option<Arc<KeySet>>,
}

/// One of so many are few.
const FEW_OF: usize = 32;

impl People {
    /// # Errors
    /// Those of the store; `E0001` for a node whose number is far beyond how many there are.
    pub(crate) fn read(engine: &Engine) -> Result<Self> {
        let mut assigned: Vec<(NodeId, ProfileId)> = Vec::new();
        engine.ledger.assignments(&mut |node, profile| {
            assigned.push((node, profile));
            Ok(())
        })?;
        Self::of(assigned, Vec::new())
    }

    /// The profiles of nodes, and others, which have none.
    ///
    /// # Errors
    /// `E0001` for a node whose number is far beyond how many there are.
    pub(crate) fn of(mut assigned: Vec<(NodeId, ProfileId)>, others: Vec<ProfileId>) -> Result<Self> {
        assigned.sort_unstable_by_key(|(_, profile)| *profile);
        let mut ids: Vec<ProfileId> = assigned.iter().map(|(_, profile)| *profile).chain(others).collect();
        ids.sort_unstable();
        ids.dedup();
        let last = assigned.iter().map(|(node, _)| node.0).max().unwrap_or(0);
        let length = usize::try_from(last).map_err(|_| Error::bug("nodes are numbered from 1"))?.saturating_add(1);
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(length).map_err(|_| Error::bug("nodes are numbered without large gaps"))?;
        numbers.resize(length, Lookup::NONE);
        let mut place = 0;
        for (node, profile) in assigned {
            while ids.get(place).is_some_and(|id| *id < profile) {
                place += 1;
            }
            let slot = usize::try_from(node.0).ok().and_then(|node| numbers.get_mut(node));
            if let (Some(slot), Ok(number)) = (slot, u32::try_from(place)) {
                *slot = number;
            }
        }
        let mut people = Self { ids: Arc::new(ids), numbers: Arc::new(numbers), texts: None };
        if people.are_few(FEW_OF) {
            let texts = people.ids.iter().map(|id| short_hash(&id.to_string()));
            people.texts = Some(Arc::new(KeySet::of(texts.collect())));
        }
        Ok(people)
    }

    /// The number of a node's profile; `None` for a node that nobody is.
    pub(crate) fn number_of(&self, node: NodeId) -> Option<u32> {
        let number = usize::try_from(node.0).ok().and_then(|place| self.numbers.get(place)).copied();
        number.filter(|number| *number != Lookup::NONE)
    }

    /// Whether they are one of so many nodes, or fewer.
    pub(crate) fn are_few(&self, of: usize) -> bool {
        self.ids.len() * of < self.numbers.len()
    }

    /// The nodes with the numbers of their profiles, by node.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, u32)> + '_ {
        let numbered = (0..).zip(self.numbers.iter()).filter(|(_, number)| **number != Lookup::NONE);
        numbered.map(|(node, number)| (NodeId(node), *number))
    }

    pub(crate) fn profile_of(&self) -> Lookup {
        Lookup::numbers(PROFILE_OF, Arc::clone(&self.numbers))
    }

    pub(crate) fn number_of_profile(&self) -> Lookup {
        let (ids, texts) = (Arc::clone(&self.ids), self.texts.clone());
        let find = move |text: &str| {
            if texts.as_ref().is_some_and(|texts| !texts.has(text)) {
                return None;
            }
            i64::try_from(ids.binary_search(&ProfileId::parse(text)?).ok()?).ok()
        };
        Lookup::texts(NUMBER_OF, Arc::new(find))
    }

    /// Which of the profiles have no nodes, as the table [`GONE`].
    ///
    /// # Errors
    /// `E0001`.
    pub(crate) fn gone_table(&self) -> Result<MemoryTable> {
        let mut is_gone = vec![true; self.ids.len()];
        for (_, number) in self.nodes() {
            if let Some(is_gone) = usize::try_from(number).ok().and_then(|place| is_gone.get_mut(place)) {
                *is_gone = false;
            }
        }
        memory_table(GONE, vec![(Field::new(GONE, DataType::Boolean, false), Arc::new(BooleanArray::from(is_gone)))])
    }

    /// The ids as the table [`PROFILE_IDS`].
    ///
    /// # Errors
    /// `E0001`.
    pub(crate) fn ids_table(&self) -> Result<MemoryTable> {
        ids_table(&self.ids)
    }
}

fn ids_table(ids: &[ProfileId]) -> Result<MemoryTable> {
    let mut texts = StringBuilder::new();
    for id in ids {
        write!(texts, "{id}").map_err(|_| Error::bug("a builder takes any text"))?;
        texts.append_value("");
    }
    memory_table(PROFILE_IDS, vec![(Field::new("profile", DataType::Utf8, false), Arc::new(texts.finish()))])
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
