//! The door to the lake: records get their key and their person, identifiers become blind indexes, personal columns are
//! sealed. What leaves here holds no personal value in the clear.

mod stored;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use affluent_ledger::Ledger;
use affluent_model::batch::Rejected;
use affluent_model::identity::{NodeId, NodeKey};
use affluent_model::plan::{IdentifierRule, Plan};
use affluent_model::schema::{FieldType, StreamSchema};
use affluent_model::{Error, Result};
use affluent_vault::{BlindIndexer, Vault};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use crate::epoch::{Epoch, Subjects};
use crate::mapping::{self, CompiledMapping};
use crate::rows;
use crate::streams::table_name;
use crate::suppressed::Suppressed;

use stored::{Action, ColumnPlan, Sealing, is_sealed, output_schema, plan_column, seal_columns, without_empty};
pub(crate) use stored::{NODE_BY, PARENT_KEY, RECORD_KEY};

/// Bytes of a record key, for sizing buffers.
const KEY_BYTES: usize = 16;

/// The parents in this page, for the child rows that come with them.
#[derive(Default)]
pub(crate) struct Parents {
    /// Nobody asks for people where the stream has no children.
    have_children: bool,
    /// Primary key → person and key.
    people: HashMap<String, Person>,
    /// Primary keys of rows of erased persons.
    dropped: HashSet<String>,
}

impl Parents {
    /// Nobody yet, of a stream with or without children.
    pub(crate) fn of_page(have_children: bool) -> Self {
        Self { have_children, ..Self::default() }
    }

    /// Rows with these keys that are not kept are not in this page.
    fn drop_others(&mut self, keys: &StringArray, keep: &BooleanArray) {
        let others = keys.iter().flatten().zip(keep.values()).filter(|(_, kept)| !kept);
        self.dropped.extend(others.map(|(key, _)| key.to_owned()));
    }
}

/// Who a row belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Person {
    /// `None` = nobody: neither a subject nor an identifier.
    node: Option<NodeId>,
    /// For [`Epoch::subject`].
    place: usize,
}

/// Admits the batches of one stream.
pub(crate) struct Admitter {
    connection: Arc<str>,
    stream: StreamSchema,
    mapping: Option<CompiledMapping>,
    key_indexer: Option<BlindIndexer>,
    record_indexer: BlindIndexer,
    subject_indexer: BlindIndexer,
    identifiers: Vec<(IdentifierRule, BlindIndexer)>,
    columns: Vec<ColumnPlan>,
    pub(crate) schema: SchemaRef,
}

/// The stores that admission asks.
pub(crate) struct Doors<'a> {
    pub(crate) ledger: &'a dyn Ledger,
    pub(crate) vault: &'a Vault,
    pub(crate) suppressed: &'a Suppressed,
    pub(crate) now_us: i64,
}

/// What came of a batch.
pub(crate) struct Admitted {
    pub(crate) records: RecordBatch,
    pub(crate) rejected: Vec<Rejected>,
    /// Rows of erased persons, which went nowhere.
    pub(crate) suppressed: u64,
    pub(crate) sealed: u64,
}

impl Admitter {
    /// Plans the admission of one stream, whose columns after transforms are `input`.
    ///
    /// # Errors
    /// What the vault reports about names.
    pub(crate) fn new(
        plan: &Plan,
        vault: &Vault,
        connection: &str,
        stream: StreamSchema,
        input: &SchemaRef,
        mapping: Option<CompiledMapping>,
    ) -> Result<Self> {
        let table = table_name(connection, &stream.name);
        let mapped = mapping.as_ref().map_or_else(|| Arc::clone(input), CompiledMapping::output_schema);
        let mut columns = Vec::new();
        for field in mapped.fields() {
            if let Some(column) = plan_column(plan, vault, &table, mapping.as_ref(), field)? {
                columns.push(column);
            }
        }
        let mut identifiers = Vec::new();
        for rule in mapping.iter().flat_map(|mapping| &mapping.identifiers) {
            identifiers.push((rule.clone(), vault.blind_indexer(rule.kind())?));
        }
        let key_is_personal = stream.primary_key.iter().any(|name| is_sealed(plan, input, name));
        let subject = mapping.as_ref().and_then(|mapping| mapping.subject_column.as_ref());
        let is_by_key = stream.parent.is_none() && subject.is_some_and(|subject| stream.primary_key == [subject.as_str()]);
        let schema = output_schema(&mapped, &columns, stream.parent.as_ref(), is_by_key);
        Ok(Self {
            key_indexer: if key_is_personal { Some(vault.blind_indexer(&format!("key/{table}"))?) } else { None },
            record_indexer: vault.blind_indexer(&format!("record/{table}"))?,
            subject_indexer: vault.blind_indexer(&format!("subject/{connection}"))?,
            connection: connection.into(),
            stream,
            mapping,
            identifiers,
            columns,
            schema,
        })
    }

    /// Admits a batch. Rows of a child stream find their person in `parents`; rows of a parent are entered there.
    ///
    /// # Errors
    /// What ledger and vault report; a row that cannot be admitted is not an error but comes back rejected.
    pub(crate) fn admit(
        &self,
        batch: &RecordBatch,
        deleted: bool,
        epoch: &mut Epoch,
        doors: &Doors<'_>,
        parents: &mut Parents,
    ) -> Result<Admitted> {
        let (batch, keys, mut rejected) = self.with_keys(batch, epoch)?;
        let (mapped, keys) = self.mapped(batch, keys, doors.now_us, &mut rejected)?;
        let rows = keys.len();
        let (mapped, keys) = self.without_suppressed(mapped, keys, doors, parents)?;
        let indexes = self.identifier_columns(&mapped)?;
        let people = self.people(&mapped, &keys, &indexes, epoch, doors, parents)?;
        let (mapped, keys, indexes, people) = without_erased(mapped, keys, indexes, people, parents)?;
        let suppressed = u64::try_from(rows - keys.len()).unwrap_or(0);
        let mut sealing = Vec::new();
        for plan in &self.columns {
            if let Action::Seal { kind, context } = &plan.action {
                let array = without_empty(rows::column(&mapped, &plan.name)?, *kind)?;
                sealing.push(Sealing { array, kind: *kind, context });
            }
        }
        let sealed = sealing.iter().map(|one| one.array.len() - one.array.null_count()).sum::<usize>();
        let mut sealed_arrays = seal_columns(&sealing, &keys, &people, epoch)?.into_iter();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.columns.len() + 6);
        for plan in &self.columns {
            arrays.push(match &plan.action {
                Action::Keep => Arc::clone(rows::column(&mapped, &plan.name)?),
                Action::Index(place) => {
                    indexes.get(*place).cloned().ok_or_else(|| Error::bug("an identifier has no index column"))?
                }
                Action::Seal { .. } => sealed_arrays.next().ok_or_else(|| Error::bug("a column was not sealed"))?,
            });
        }
        self.system_columns(&mapped, keys, &people, deleted, epoch, doors.now_us, &mut arrays)?;
        let records = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| Error::bug(format!("admitted columns do not fit their schema: {error}")))?;
        let sealed = u64::try_from(sealed).unwrap_or(0);
        Ok(Admitted { records, rejected, suppressed, sealed })
    }

    /// The record key of each row; rows without one are refused.
    fn with_keys(&self, batch: &RecordBatch, epoch: &Epoch) -> Result<(RecordBatch, StringArray, Vec<Rejected>)> {
        if self.stream.primary_key.is_empty() {
            let keys = (0..batch.num_rows()).map(|row| format!("{}-{}-{row}", epoch.sequence, epoch.rows_so_far()));
            return Ok((batch.clone(), StringArray::from_iter_values(keys), Vec::new()));
        }
        let mut columns = Vec::new();
        for name in &self.stream.primary_key {
            columns.push(rows::as_text(rows::column(batch, name)?)?);
        }
        let mut keep = vec![true; batch.num_rows()];
        let mut keys = StringBuilder::with_capacity(batch.num_rows(), batch.num_rows() * KEY_BYTES);
        let mut rejected = Vec::new();
        let mut key = String::new();
        for (row, kept) in keep.iter_mut().enumerate() {
            *kept = read_key(&columns, row, &mut key);
            match &self.key_indexer {
                _ if !*kept => rejected.push(self.without_key(batch, row)),
                Some(indexer) => keys.append_value(hex(&indexer.index(key.as_bytes()))),
                None => keys.append_value(&key),
            }
        }
        let keys = keys.finish();
        if rejected.is_empty() {
            return Ok((batch.clone(), keys, rejected));
        }
        Ok((filter_record_batch(batch, &keep.into()).map_err(unfit)?, keys, rejected))
    }

    /// The rows with the mapping's columns, and their keys; rows that cannot be mapped are refused.
    fn mapped(
        &self,
        batch: RecordBatch,
        keys: StringArray,
        now_us: i64,
        rejected: &mut Vec<Rejected>,
    ) -> Result<(RecordBatch, StringArray)> {
        let Some(mapping) = &self.mapping else { return Ok((batch, keys)) };
        let applied = mapping.apply(&batch, now_us)?;
        if applied.refused.is_empty() {
            return Ok((applied.records, keys));
        }
        rejected.extend(applied.refused.iter().map(|row| rows::not_computed(&self.stream.name, &batch, row)));
        let mut keep = vec![true; keys.len()];
        for refused in &applied.refused {
            if let Some(kept) = keep.get_mut(refused.row) {
                *kept = false;
            }
        }
        Ok((applied.records, kept_keys(&keys, &keep.into())?))
    }

    fn without_key(&self, batch: &RecordBatch, row: usize) -> Rejected {
        Rejected {
            stream: self.stream.name.clone(),
            place: format!("row {} of a page", row + 1),
            code: "admit.key_missing".to_owned(),
            message: format!("the primary key `{}` has no value", self.stream.primary_key.join(", ")),
            raw: Some(rows::row_as_json(batch, row)),
        }
    }

    /// Each identifier as a column of blind indexes: normalised, blocked values left out.
    fn identifier_columns(&self, mapped: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let mut indexes: Vec<ArrayRef> = Vec::with_capacity(self.identifiers.len());
        for (rule, indexer) in &self.identifiers {
            let values = rows::as_text(rows::column(mapped, &mapping::identifier_column(&rule.name))?)?;
            let values = values.as_string::<i32>();
            let mut builder = BinaryBuilder::with_capacity(values.len(), values.len() * 17);
            for row in 0..values.len() {
                let value = if values.is_null(row) { None } else { rule.usable(values.value(row)) };
                builder.append_option(value.map(|value| indexer.index(value.as_bytes())));
            }
            indexes.push(Arc::new(builder.finish()));
        }
        Ok(indexes)
    }

    /// Leaves out rows that carry an identifier of an erased person, and child rows of rows that were left out.
    fn without_suppressed(
        &self,
        mapped: RecordBatch,
        keys: StringArray,
        doors: &Doors<'_>,
        parents: &mut Parents,
    ) -> Result<(RecordBatch, StringArray)> {
        let mut keep = vec![true; keys.len()];
        if let Some(parent) = self.stream.parent.as_ref().filter(|_| !parents.dropped.is_empty()) {
            let owners = rows::as_text(rows::column(&mapped, &parent.field)?)?;
            for (kept, owner) in keep.iter_mut().zip(owners.as_string::<i32>()) {
                *kept &= owner.is_none_or(|owner| !parents.dropped.contains(owner));
            }
        }
        for (rule, _) in &self.identifiers {
            let lists = doors.suppressed.of(rule);
            if lists.is_empty() {
                continue;
            }
            let values = rows::as_text(rows::column(&mapped, &mapping::identifier_column(&rule.name))?)?;
            for (kept, value) in keep.iter_mut().zip(values.as_string::<i32>()) {
                *kept &= !value.is_some_and(|value| lists.iter().any(|list| list.holds(rule, value)));
            }
        }
        if keep.iter().all(|kept| *kept) {
            return Ok((mapped, keys));
        }
        let keep = BooleanArray::from(keep);
        parents.drop_others(&keys, &keep);
        Ok((filter_record_batch(&mapped, &keep).map_err(unfit)?, kept_keys(&keys, &keep)?))
    }

    /// Whose each row is; `None` for an erased person.
    #[expect(clippy::too_many_arguments, reason = "a row's person depends on all that was found about it before")]
    fn people(
        &self,
        mapped: &RecordBatch,
        keys: &StringArray,
        indexes: &[ArrayRef],
        epoch: &mut Epoch,
        doors: &Doors<'_>,
        parents: &mut Parents,
    ) -> Result<Vec<Option<Person>>> {
        if let Some(parent) = &self.stream.parent {
            let owners = rows::as_text(rows::column(mapped, &parent.field)?)?;
            let owners = owners.as_string::<i32>();
            if (0..owners.len()).all(|row| owners.is_valid(row) && parents.people.contains_key(owners.value(row))) {
                return Ok((0..owners.len()).map(|row| parents.people.get(owners.value(row)).copied()).collect());
            }
        }
        let subject = match &self.mapping {
            Some(mapping) if mapping.has_subject => Some(rows::as_text(rows::column(mapped, mapping::SUBJECT)?)?),
            _ => None,
        };
        let subject = subject.as_ref().map(|array| array.as_string::<i32>());
        let named = |row: usize| {
            subject.filter(|array| array.is_valid(row) && !array.value(row).is_empty()).map(|array| array.value(row))
        };
        let node_keys: Vec<NodeKey> = (0..keys.len())
            .map(|row| match named(row) {
                Some(subject) => self.subject_indexer.index(subject.as_bytes()),
                None => self.record_indexer.index(keys.value(row).as_bytes()),
            })
            .collect();
        let subjects = Subjects { ledger: doors.ledger, vault: doors.vault, source: &self.connection, now_us: doors.now_us };
        let places = epoch.subjects(&subjects, &node_keys)?;
        let mut people = Vec::with_capacity(keys.len());
        for (row, place) in places.into_iter().enumerate() {
            let is_somebody = || named(row).is_some() || indexes.iter().any(|index| index.is_valid(row));
            let subject = epoch.subject(place)?.as_ref();
            people.push(subject.map(|(node, _)| Person { node: is_somebody().then_some(*node), place }));
        }
        if self.stream.parent.is_none() && parents.have_children {
            let known = keys.iter().flatten().zip(&people).filter_map(|(key, person)| Some((key.to_owned(), (*person)?)));
            parents.people.extend(known);
        }
        Ok(people)
    }

    #[expect(clippy::too_many_arguments, reason = "the system columns need what every step before found")]
    fn system_columns(
        &self,
        mapped: &RecordBatch,
        keys: StringArray,
        people: &[Person],
        deleted: bool,
        epoch: &mut Epoch,
        now_us: i64,
        arrays: &mut Vec<ArrayRef>,
    ) -> Result<()> {
        let rows = keys.len();
        let sequences = (0..rows).map(|_| epoch.next_sequence()).collect::<Result<Vec<i64>>>()?;
        arrays.push(Arc::new(Int64Array::from(sequences)));
        arrays.push(Arc::new(Int64Array::from(vec![epoch.sequence; rows])));
        arrays.push(Arc::new(keys));
        arrays.push(Arc::new(BooleanArray::from(vec![deleted; rows])));
        arrays.push(Arc::new(people.iter().map(|person| person.node.map(|node| node.0)).collect::<Int64Array>()));
        arrays.push(self.observed_at(mapped, rows, now_us)?);
        Ok(())
    }

    /// When the source says it was so: the cursor field where it is a time, else the time of reading.
    fn observed_at(&self, mapped: &RecordBatch, rows: usize, now_us: i64) -> Result<ArrayRef> {
        let cursor = self.stream.cursor_field.as_ref().and_then(|name| mapped.column_by_name(name));
        let said = match cursor {
            Some(array) if matches!(array.data_type(), DataType::Timestamp(_, _) | DataType::Date32) => {
                Some(rows::cast_to(array, &FieldType::Timestamp.to_arrow())?)
            }
            _ => None,
        };
        let said = said.as_ref().map(|array| array.as_primitive::<arrow::datatypes::TimestampMicrosecondType>());
        let times: Vec<i64> = (0..rows)
            .map(|row| said.filter(|array| array.is_valid(row)).map_or(now_us, |array| array.value(row).min(now_us)))
            .collect();
        Ok(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")))
    }
}

type WithPeople = (RecordBatch, StringArray, Vec<ArrayRef>, Vec<Person>);

/// Leaves out rows whose person was erased.
fn without_erased(
    mapped: RecordBatch,
    keys: StringArray,
    indexes: Vec<ArrayRef>,
    people: Vec<Option<Person>>,
    parents: &mut Parents,
) -> Result<WithPeople> {
    let keep: BooleanArray = people.iter().map(|person| Some(person.is_some())).collect();
    let left: Vec<Person> = people.iter().flatten().copied().collect();
    if left.len() == keys.len() {
        return Ok((mapped, keys, indexes, left));
    }
    let kept = filter_record_batch(&mapped, &keep).map_err(unfit)?;
    let indexes = indexes.iter().map(|index| filter(index, &keep).map_err(unfit)).collect::<Result<_>>()?;
    parents.drop_others(&keys, &keep);
    Ok((kept, kept_keys(&keys, &keep)?, indexes, left))
}

fn kept_keys(keys: &StringArray, keep: &BooleanArray) -> Result<StringArray> {
    Ok(filter(keys, keep).map_err(unfit)?.as_string::<i32>().clone())
}

fn unfit(error: ArrowError) -> Error {
    Error::bug(error.to_string())
}

/// Puts the values of a key, joined, in place of what `key` held; false when one is absent.
fn read_key(columns: &[ArrayRef], row: usize, key: &mut String) -> bool {
    key.clear();
    for (place, column) in columns.iter().enumerate() {
        if column.is_null(row) {
            return false;
        }
        if place > 0 {
            key.push('\u{1f}');
        }
        key.push_str(column.as_string::<i32>().value(row));
    }
    !key.is_empty()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
