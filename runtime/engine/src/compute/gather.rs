//! The records of some profiles, read into memory: whatever is asked of them then costs what they are, not what there is.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use affluent_lake::{LakeQuery, LakeTable, Lookup};
use affluent_model::Result;
use affluent_model::identity::{NodeId, ProfileId};
use affluent_profiles::source::{PROFILE_OF, TableSource};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use foldhash::fast::FixedState;

use super::touched::{Keys, each_key, parents_first, quoted, select};
use crate::engine::Engine;
use crate::inputs::{Candidates, Inputs, People, short_hash, take_versions, void_rows};
use crate::mapping::identifier_column;
use crate::rows;
use crate::segments::PreparedSegments;
use crate::tables::ProfileTable;

/// The function that says whether a key of a record is one of the records at hand.
const IS_AT_HAND: &str = "is_at_hand";

/// Values of identifiers, as blind indexes.
type Values = HashSet<Box<[u8]>, FixedState>;

/// What these profiles are computed from. Where segments ask for consent, what anybody says of an identifier holds for all who
/// carry it: others join them who share one with a record that is new since `input_sequence`, and what others say of the
/// identifiers at hand comes with them.
///
/// # Errors
/// What the stores report.
pub(super) async fn gather(engine: &Engine, tables: &[ProfileTable], people: People, input_sequence: i64) -> Result<Inputs> {
    let mut gathering = Gathering::read(engine, tables, people).await?;
    if PreparedSegments::of_plan(engine)?.asks_consent() {
        let sharers = gathering.sharers(engine, tables, Some(input_sequence)).await?;
        let assigned = engine.ledger.assignments_of(&sharers.nodes, &[])?;
        if !assigned.is_empty() {
            gathering = Gathering::read(engine, tables, gathering.people.with(assigned)?).await?;
        }
        let others = gathering.sharers(engine, tables, None).await?;
        gathering.add_rows(engine, tables, &others.rows).await?;
    }
    gathering.finish(engine, tables).await
}

/// The rows at hand, table by table in the order of the tables.
struct Gathering {
    people: People,
    rows: Vec<Vec<RecordBatch>>,
}

/// Records of others that say something about an identifier of the profiles at hand.
struct Sharers {
    nodes: Vec<NodeId>,
    /// Per table, their sequences.
    rows: Vec<Vec<i64>>,
}

impl Gathering {
    async fn read(engine: &Engine, tables: &[ProfileTable], people: People) -> Result<Self> {
        let mut rows = vec![Vec::new(); tables.len()];
        for ProfileTable { source, table } in parents_first(tables) {
            let mut lookups = vec![people.profile_of()];
            let mut wanted = format!("{PROFILE_OF}(\"_node\") IS NOT NULL");
            let parent = source.parent.as_ref().and_then(|link| Some((link, place_of(tables, &link.table)?)));
            if let Some((link, place)) = parent {
                let at_hand = keys_of(rows.get(place).map_or(&[], Vec::as_slice))?;
                let find = move |key: &str| at_hand.contains(&short_hash(key)).then_some(1);
                lookups.push(Lookup::texts(IS_AT_HAND, Arc::new(find)));
                wanted.push_str(&format!(" OR {IS_AT_HAND}(CAST({} AS VARCHAR)) IS NOT NULL", quoted(&link.field)));
            }
            let found = engine.lake.query(filtered(engine, table, &wanted, lookups)).await?;
            if let Some(slot) = place_of(tables, &table.name).and_then(|place| rows.get_mut(place)) {
                *slot = found;
            }
        }
        Ok(Self { people, rows })
    }

    /// Who else says something about the identifiers at hand, or, where `since` is given, who else carries one of those of records
    /// with a version after it that say something.
    async fn sharers(&self, engine: &Engine, tables: &[ProfileTable], since: Option<i64>) -> Result<Sharers> {
        let mut sharers = Sharers { nodes: Vec::new(), rows: vec![Vec::new(); tables.len()] };
        let kinds: BTreeSet<&String> = tables.iter().flat_map(|one| &one.source.identifiers).collect();
        for kind in kinds {
            let carried = self.carried(tables, kind, since)?;
            for (ProfileTable { source, table }, found) in tables.iter().zip(&mut sharers.rows) {
                let is_asked = since.is_some() || !source.consent.is_empty();
                if carried.is_empty() || !is_asked || !source.identifiers.contains(kind) {
                    continue;
                }
                let columns = format!("\"_seq\", \"_node\", {} AS \"value\"", quoted(&identifier_column(kind)));
                let sql = format!("SELECT {columns} FROM {} WHERE {PROFILE_OF}(\"_node\") IS NULL", quoted(&table.name));
                let lookups = vec![self.people.profile_of()];
                let query = LakeQuery { lookups, ..LakeQuery::new(sql, vec![table.clone()], engine.now_us()) };
                let mut take = |batch: RecordBatch| take_sharers(&batch, &carried, &mut sharers.nodes, found);
                engine.lake.stream(query, &mut take).await?;
            }
        }
        Ok(sharers)
    }

    /// The values of a kind that the rows at hand carry; of records with a version after `since` alone, where it is given.
    fn carried(&self, tables: &[ProfileTable], kind: &str, since: Option<i64>) -> Result<Values> {
        let mut values = Values::default();
        let carriers = tables.iter().zip(&self.rows).filter(|(one, _)| one.source.identifiers.iter().any(|known| known == kind));
        for (one, batches) in carriers {
            let changed = match since {
                Some(_) if one.source.consent.is_empty() => continue,
                Some(since) => Some(keys_after(batches, since)?),
                None => None,
            };
            for batch in batches {
                let column = rows::cast_to(rows::column(batch, &identifier_column(kind))?, &DataType::Binary)?;
                let column = column.as_binary::<i32>();
                let is_asked = |key: &str| changed.as_ref().is_none_or(|changed| changed.contains(&short_hash(key)));
                each_key(batch, |row, key| {
                    values.extend((column.is_valid(row) && is_asked(key)).then(|| Box::from(column.value(row))));
                })?;
            }
        }
        Ok(values)
    }

    /// Adds rows of nobody at hand by their sequences.
    async fn add_rows(&mut self, engine: &Engine, tables: &[ProfileTable], sequences: &[Vec<i64>]) -> Result<()> {
        for ((ProfileTable { table, .. }, rows), sequences) in tables.iter().zip(&mut self.rows).zip(sequences) {
            if !sequences.is_empty() {
                let lookups = vec![Lookup::among(IS_AT_HAND, sequences)];
                rows.extend(engine.lake.query(filtered(engine, table, &format!("{IS_AT_HAND}(\"_seq\")"), lookups)).await?);
            }
        }
        Ok(())
    }

    /// The rows as inputs, with which of them are void.
    async fn finish(self, engine: &Engine, tables: &[ProfileTable]) -> Result<Inputs> {
        let mut inputs = Inputs::of(self.people);
        for (ProfileTable { source, table }, rows) in tables.iter().zip(self.rows) {
            let void = void_among(engine, source, table, &rows).await?;
            inputs.add(source.clone(), &void);
            inputs.memory.push((table.name.clone(), Arc::clone(&table.schema), rows));
        }
        Ok(inputs)
    }
}

fn place_of(tables: &[ProfileTable], name: &str) -> Option<usize> {
    tables.iter().position(|one| one.table.name == name)
}

/// The rows of a table for which a condition holds.
fn filtered(engine: &Engine, table: &LakeTable, condition: &str, lookups: Vec<Lookup>) -> LakeQuery {
    let sql = format!("SELECT * FROM {} WHERE {condition}", quoted(&table.name));
    LakeQuery { lookups, ..LakeQuery::new(sql, vec![table.clone()], engine.now_us()) }
}

fn keys_of(batches: &[RecordBatch]) -> Result<Keys> {
    let mut keys = Keys::default();
    for batch in batches {
        each_key(batch, |_, key| keys.extend([short_hash(key)]))?;
    }
    Ok(keys)
}

/// Keys of records with a version after an epoch.
fn keys_after(batches: &[RecordBatch], since: i64) -> Result<Keys> {
    let mut keys = Keys::default();
    for batch in batches {
        let epochs = rows::cast_to(rows::column(batch, "_epoch")?, &DataType::Int64)?;
        let epochs = epochs.as_primitive::<Int64Type>();
        each_key(batch, |row, key| keys.extend((epochs.value(row) > since).then(|| short_hash(key))))?;
    }
    Ok(keys)
}

fn take_sharers(batch: &RecordBatch, carried: &Values, nodes: &mut Vec<NodeId>, sequences: &mut Vec<i64>) -> Result<()> {
    let values = rows::cast_to(rows::column(batch, "value")?, &DataType::Binary)?;
    let owners = rows::cast_to(rows::column(batch, "_node")?, &DataType::Int64)?;
    let places = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
    let (owners, places) = (owners.as_primitive::<Int64Type>(), places.as_primitive::<Int64Type>());
    for (row, value) in values.as_binary::<i32>().iter().enumerate() {
        if value.is_some_and(|value| carried.contains(value)) {
            nodes.extend(owners.is_valid(row).then(|| NodeId(owners.value(row))));
            sequences.push(places.value(row));
        }
    }
    Ok(())
}

/// Of the rows at hand, those that are not the current version of a record: the others may be in rows that are not at hand.
async fn void_among(engine: &Engine, source: &TableSource, table: &LakeTable, rows: &[RecordBatch]) -> Result<Vec<i64>> {
    let keys = keys_of(rows)?;
    if !source.has_primary_key || keys.is_empty() {
        return Ok(Vec::new());
    }
    let (candidates, mut versions) = (Candidates::of(keys), Vec::new());
    let query = select(engine, table, "\"_pk\", \"_seq\", \"_deleted\"");
    engine.lake.stream(query, &mut |batch| take_versions(&batch, &candidates, &mut versions)).await?;
    versions.sort_unstable();
    Ok(void_rows(&versions))
}

impl People {
    /// With more.
    ///
    /// # Errors
    /// As [`People::of`].
    fn with(&self, more: Vec<(NodeId, ProfileId)>) -> Result<Self> {
        let known = self.nodes().filter_map(|(node, number)| Some((node, *self.ids.get(usize::try_from(number).ok()?)?)));
        Self::of(known.chain(more).collect(), self.ids.to_vec())
    }
}
