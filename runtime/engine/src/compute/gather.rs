//! The records of some profiles, read into memory: whatever is asked of them then costs what they are, not what there is.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use affluent_lake::{LakeQuery, Lookup};
use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::plan::Measure;
use affluent_model::{Error, Result};
use affluent_profiles::order_rows::REVENUE_NAMES;
use affluent_profiles::source::{OWN_TIME, PROFILE_OF};
use arrow::array::{Array as _, AsArray as _, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema, SchemaRef};
use foldhash::fast::FixedState;

use super::touched::{News, each_key, parents_first, quoted};
use crate::engine::Engine;
use crate::inputs::{Inputs, People, Void, take_versions, void_rows};
use crate::key_set::{Hashes, KeySet, short_hash};
use crate::mapping::identifier_column;
use crate::rows;
use crate::segments::PreparedSegments;
use crate::tables::ProfileTable;

/// The function that says whether a key of a record is one of the records at hand.
const IS_AT_HAND: &str = "is_at_hand";

/// What these profiles are computed from; of the snapshot before, what it has seen and which rows it knew to be void. Where
/// segments ask for consent, what anybody says of an identifier holds for all who carry it: others join them who share one with a
/// record that is new, be it nobody's, and what others say of the identifiers at hand comes with them.
///
/// # Errors
/// What the stores report.
pub(super) async fn gather(
    engine: &Engine,
    tables: &[ProfileTable],
    people: People,
    news: News,
    (input_sequence, known): (i64, &Void),
) -> Result<Inputs> {
    let mut gathering = Gathering::read(engine, tables, people).await?;
    if PreparedSegments::of_plan(engine)?.asks_consent() {
        let nobodys: Vec<Vec<i64>> =
            tables.iter().map(|one| news.nobodys.get(&one.table.name).cloned().unwrap_or_default()).collect();
        gathering.add_rows(engine, tables, &nobodys).await?;
        let mut sharers = gathering.sharers(engine, tables, input_sequence).await?;
        let assigned = engine.ledger.assignments_of(&sharers.nodes, &[])?;
        if !assigned.is_empty() {
            gathering = Gathering::read(engine, tables, gathering.people.with(assigned)?).await?;
            gathering.add_rows(engine, tables, &nobodys).await?;
            sharers = gathering.sharers(engine, tables, input_sequence).await?;
        }
        gathering.add_rows(engine, tables, &sharers.rows).await?;
    }
    let mut void = news.void;
    for (table, records) in &news.at_hand {
        void.insert(table.clone(), gathering.void_of(place_of(tables, table), &records.keys)?);
    }
    Ok(gathering.finish(tables, known, void))
}

/// The rows at hand, table by table in the order of the tables.
struct Gathering {
    people: People,
    rows: Vec<Vec<RecordBatch>>,
}

/// Records of others with identifiers of the profiles at hand.
struct Sharers {
    /// Of those with an identifier of a record that is new and says something.
    nodes: Vec<NodeId>,
    /// Per table, the sequences of those that say something.
    rows: Vec<Vec<i64>>,
}

/// Where profiles are one of so many, the other columns of their rows are read alone; else whole ones cost less.
const OF_WHICH_PARTS_ARE_READ: usize = 256;

/// Batches of a few rows each that become one.
const BATCHES_AT_ONCE: usize = 16;

/// Values of a kind that rows at hand carry, as blind indexes, and whether one of these is of a record that is new and says
/// something.
type Carried = HashMap<Box<[u8]>, bool, FixedState>;

impl Gathering {
    async fn read(engine: &Engine, tables: &[ProfileTable], people: People) -> Result<Self> {
        let mut rows = vec![Vec::new(); tables.len()];
        for one in parents_first(tables) {
            let ProfileTable { source, table } = one;
            let mut lookups = vec![people.profile_of()];
            let mut wanted = format!("{PROFILE_OF}(\"_node\") IS NOT NULL");
            let parent = source.parent.as_ref().and_then(|link| Some((link, place_of(tables, &link.table)?)));
            if let Some((link, place)) = parent {
                let at_hand = keys_of(rows.get(place).map_or(&[], Vec::as_slice))?;
                let find = move |key: &str| at_hand.has(key).then_some(1);
                lookups.push(Lookup::texts(IS_AT_HAND, Arc::new(find)));
                wanted.push_str(&format!(" OR {IS_AT_HAND}(CAST({} AS VARCHAR)) IS NOT NULL", quoted(&link.field)));
            }
            let is_selective = people.are_few(OF_WHICH_PARTS_ARE_READ);
            let found = if parent.is_none() && !is_selective {
                rows_of(engine, (tables, one), &people)?
            } else {
                rows_where(engine, (tables, one), (&wanted, is_selective), lookups).await?
            };
            if let Some(slot) = place_of(tables, &table.name).and_then(|place| rows.get_mut(place)) {
                *slot = found;
            }
        }
        Ok(Self { people, rows })
    }

    /// Who else carries the identifiers at hand; new is what came after `since`.
    async fn sharers(&self, engine: &Engine, tables: &[ProfileTable], since: i64) -> Result<Sharers> {
        let mut sharers = Sharers { nodes: Vec::new(), rows: vec![Vec::new(); tables.len()] };
        let kinds: BTreeSet<&String> = tables.iter().flat_map(|one| &one.source.identifiers).collect();
        let carried = kinds.into_iter().map(|kind| Ok((kind, self.carried(tables, kind, since)?)));
        let carried = carried.collect::<Result<Vec<_>>>()?;
        for (ProfileTable { source, table }, sequences) in tables.iter().zip(&mut sharers.rows) {
            let carried: Vec<_> =
                carried.iter().filter(|(kind, values)| source.identifiers.contains(kind) && !values.is_empty()).collect();
            if carried.is_empty() {
                continue;
            }
            let columns: String = carried.iter().map(|(kind, _)| format!(", {}", quoted(&identifier_column(kind)))).collect();
            let sql =
                format!("SELECT \"_seq\", \"_node\"{columns} FROM {} WHERE {PROFILE_OF}(\"_node\") IS NULL", quoted(&table.name));
            let lookups = vec![self.people.profile_of()];
            let query = LakeQuery { lookups, ..LakeQuery::new(sql, vec![table.clone()], engine.now_us()) };
            let mut sequences = (!source.consent.is_empty()).then_some(sequences);
            let mut take = |batch: RecordBatch| take_sharers(&batch, &carried, &mut sharers.nodes, sequences.as_deref_mut());
            engine.lake.stream(query, &mut take).await?;
        }
        Ok(sharers)
    }

    fn carried(&self, tables: &[ProfileTable], kind: &String, since: i64) -> Result<Carried> {
        let mut values = Carried::default();
        for (one, batches) in tables.iter().zip(&self.rows).filter(|(one, _)| one.source.identifiers.contains(kind)) {
            let new = if one.source.consent.is_empty() { Hashes::default() } else { keys_after(batches, since)? };
            for batch in batches {
                let column = rows::cast_to(rows::column(batch, &identifier_column(kind))?, &DataType::Binary)?;
                let column = column.as_binary::<i32>();
                each_key(batch, |row, key| {
                    if column.is_valid(row) {
                        *values.entry(Box::from(column.value(row))).or_default() |= new.contains(&short_hash(key));
                    }
                })?;
            }
        }
        Ok(values)
    }

    /// Adds rows of nobody at hand by their sequences, each once.
    async fn add_rows(&mut self, engine: &Engine, tables: &[ProfileTable], sequences: &[Vec<i64>]) -> Result<()> {
        for ((one, rows), sequences) in tables.iter().zip(&mut self.rows).zip(sequences) {
            let at_hand = if sequences.is_empty() { Vec::new() } else { sequences_of(rows)? };
            let is_missing = |sequence: &i64| at_hand.binary_search(sequence).is_err();
            let missing: Vec<i64> = sequences.iter().copied().filter(is_missing).collect();
            if !missing.is_empty() {
                let lookups = vec![Lookup::among(IS_AT_HAND, &missing)];
                let wanted = format!("{IS_AT_HAND}(\"_seq\")");
                rows.extend(rows_where(engine, (tables, one), (&wanted, true), lookups).await?);
            }
        }
        Ok(())
    }

    /// The void rows of records of a table, all versions of which are at hand.
    fn void_of(&self, table: Option<usize>, keys: &KeySet) -> Result<Vec<i64>> {
        let mut versions = Vec::new();
        for batch in table.and_then(|place| self.rows.get(place)).into_iter().flatten() {
            take_versions(batch, |key, _| keys.has(key), &mut versions)?;
        }
        versions.sort_unstable();
        Ok(void_rows(&versions))
    }

    /// The rows as inputs; only what is void since the snapshot before is told on.
    fn finish(self, tables: &[ProfileTable], known: &Void, void: Void) -> Inputs {
        let mut inputs = Inputs::of(self.people);
        for (ProfileTable { source, table }, rows) in tables.iter().zip(self.rows) {
            let of_table = |void: &Void| void.get(&table.name).cloned().unwrap_or_default();
            inputs.add(source.clone(), &[of_table(known), of_table(&void)].concat());
            inputs.memory.push((table.name.clone(), with_nulls(&table.schema), rows));
        }
        inputs.void = void;
        inputs
    }
}

fn place_of(tables: &[ProfileTable], name: &str) -> Option<usize> {
    tables.iter().position(|one| one.table.name == name)
}

/// Reads the rows of a table that are these people's, as [`rows_where`] does: file by file, which takes less memory and no plan.
fn rows_of(engine: &Engine, (tables, one): (&[ProfileTable], &ProfileTable), people: &People) -> Result<Vec<RecordBatch>> {
    let (schema, asked) = (with_nulls(&one.table.schema), asked_columns(engine, tables, one)?);
    let columns: Vec<&str> = asked.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for file in &one.table.files {
        engine.lake.scan_file(file, &columns, &mut |batch| {
            let nodes = rows::cast_to(rows::column(&batch, "_node")?, &DataType::Int64)?;
            let is_theirs = |node: Option<i64>| Some(node.is_some_and(|node| people.number_of(NodeId(node)).is_some()));
            let theirs: BooleanArray = nodes.as_primitive::<Int64Type>().iter().map(is_theirs).collect();
            if theirs.has_true() {
                let kept = filter_record_batch(&batch, &theirs).map_err(|error| Error::bug(error.to_string()))?;
                found.push(complete(&kept, &schema)?);
            }
            Ok(())
        })?;
    }
    let some = found.chunks(BATCHES_AT_ONCE).map(|batches| concat_batches(&schema, batches));
    some.map(|rows| rows.map_err(|error| Error::bug(error.to_string()))).collect()
}

/// The columns of a table, null where the rows lack one.
fn complete(rows_found: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let column = |field: &FieldRef| match rows_found.column_by_name(field.name()) {
        Some(column) => rows::cast_to(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), rows_found.num_rows())),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| Error::bug(error.to_string()))
}

/// Reads the rows of a table for which a condition holds; columns that nothing asks for are null in them.
async fn rows_where(
    engine: &Engine,
    (tables, one): (&[ProfileTable], &ProfileTable),
    (condition, is_selective): (&str, bool),
    lookups: Vec<Lookup>,
) -> Result<Vec<RecordBatch>> {
    let (schema, asked) = (with_nulls(&one.table.schema), asked_columns(engine, tables, one)?);
    let columns: Vec<String> = asked.iter().map(|name| quoted(name)).collect();
    let sql = format!("SELECT {} FROM {} WHERE {condition}", columns.join(", "), quoted(&one.table.name));
    let query =
        LakeQuery { lookups, is_selective, with_views: true, ..LakeQuery::new(sql, vec![one.table.clone()], engine.now_us()) };
    engine.lake.query(query).await?.iter().map(|batch| complete(batch, &schema)).collect()
}

/// Columns that are not read are null, whatever they are in files.
fn with_nulls(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// The columns of a table that queries may ask for.
fn asked_columns(engine: &Engine, tables: &[ProfileTable], one: &ProfileTable) -> Result<Vec<String>> {
    let traits = engine.plan.traits.iter().filter_map(|one| match &one.measure {
        Measure::Sql(expression) | Measure::MostFrequent(expression) | Measure::Recommend(expression) => Some(&expression.text),
        Measure::Rfm { .. } | Measure::Predict(_) => None,
    });
    let texts = traits.chain(engine.plan.segments.iter().map(|segment| &segment.condition.text));
    let texts = texts.map(|text| text.to_lowercase()).collect::<Vec<_>>();
    let said: HashSet<&str> = texts.iter().flat_map(|text| words(text)).collect();
    let asks_consent = PreparedSegments::of_plan(engine)?.asks_consent();
    let names = one.table.schema.fields().iter().map(|field| field.name().clone());
    let is_of_consent = |name: &str| ["_id_", "_consent"].iter().any(|start| name.starts_with(start));
    Ok(names.filter(|name| (asks_consent || !is_of_consent(name)) && is_asked(tables, one, &said, name)).collect())
}

/// The words of an expression or of a name.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty())
}

fn is_named(said: &HashSet<&str>, name: &str) -> bool {
    words(&name.to_lowercase()).all(|word| said.contains(word))
}

/// Of the stream's columns those whose name stands anywhere in what expressions say, which give an attribute, lead to the parent, are
/// the time by which windows go, or are usual for revenue, which an order has by itself; of those of the system all but what tells
/// records apart, or dates them, where nothing does. Identifiers and what is said of them are asked for by consent alone.
fn is_asked(tables: &[ProfileTable], one: &ProfileTable, said: &HashSet<&str>, name: &str) -> bool {
    let source = &one.source;
    let is_parent = tables.iter().any(|other| other.source.parent.as_ref().is_some_and(|link| link.table == source.table));
    let is_linked = is_parent || source.parent.is_some();
    let is_told_apart =
        is_linked || !source.attributes.is_empty() || !source.identifiers.is_empty() || !source.consent.is_empty();
    match name {
        "_pk" | "_epoch" => is_told_apart,
        "_at" => is_told_apart || !source.has_order,
        "_order_id" => is_linked || said.contains("id"),
        _ => {
            name.starts_with('_')
                || name.contains('"')
                || is_named(said, name)
                || source.attributes.iter().any(|attribute| attribute.column == name)
                || source.parent.as_ref().is_some_and(|link| link.field == name)
                || name == OWN_TIME
                || (REVENUE_NAMES.contains(&name) && !source.has_order)
        }
    }
}

fn keys_of(batches: &[RecordBatch]) -> Result<KeySet> {
    let mut keys = Hashes::default();
    for batch in batches {
        each_key(batch, |_, key| keys.extend([short_hash(key)]))?;
    }
    Ok(KeySet::of(keys))
}

/// Sorted.
fn sequences_of(batches: &[RecordBatch]) -> Result<Vec<i64>> {
    let mut sequences = Vec::new();
    for batch in batches {
        let column = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
        sequences.extend_from_slice(column.as_primitive::<Int64Type>().values());
    }
    sequences.sort_unstable();
    Ok(sequences)
}

/// Keys of records with a version after an epoch.
fn keys_after(batches: &[RecordBatch], since: i64) -> Result<Hashes> {
    let mut keys = Hashes::default();
    for batch in batches {
        let epochs = rows::cast_to(rows::column(batch, "_epoch")?, &DataType::Int64)?;
        let epochs = epochs.as_primitive::<Int64Type>();
        each_key(batch, |row, key| keys.extend((epochs.value(row) > since).then(|| short_hash(key))))?;
    }
    Ok(keys)
}

fn take_sharers(
    batch: &RecordBatch,
    carried: &[&(&String, Carried)],
    nodes: &mut Vec<NodeId>,
    mut sequences: Option<&mut Vec<i64>>,
) -> Result<()> {
    let owners = rows::cast_to(rows::column(batch, "_node")?, &DataType::Int64)?;
    let places = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
    let (owners, places) = (owners.as_primitive::<Int64Type>(), places.as_primitive::<Int64Type>());
    for (kind, carried) in carried {
        let values = rows::cast_to(rows::column(batch, &identifier_column(kind))?, &DataType::Binary)?;
        for (row, value) in values.as_binary::<i32>().iter().enumerate() {
            let Some(is_new) = value.and_then(|value| carried.get(value)) else { continue };
            nodes.extend((*is_new && owners.is_valid(row)).then(|| NodeId(owners.value(row))));
            if let Some(sequences) = &mut sequences {
                sequences.push(places.value(row));
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_named_where_all_its_words_are_said() {
        let said = ["sum(net) filter (where \"odd-name 2\" > 1)", "did('orders', '30d') >= 1"];
        let said: HashSet<&str> = said.iter().flat_map(|text| words(text)).collect();

        let cases = [("Net", true), ("odd-name 2", true), ("%", true), ("id", false), ("order", false), ("odd-name 3", false)];
        for (name, expected) in cases {
            assert_eq!(is_named(&said, name), expected, "{name}");
        }
    }
}
