//! How a column is stored: kept, sealed under the key of its person, or as a blind index; and the columns of the system.

use std::collections::HashMap;
use std::sync::Arc;

use affluent_model::pii::PiiPolicy;
use affluent_model::plan::Plan;
use affluent_model::schema::{Field, FieldType, PII_KEY, ParentStream, SEALED_KEY};
use affluent_model::survivorship::EMPTY_DOCUMENTS;
use affluent_model::{Error, Result};
use affluent_vault::{FieldContext, Padding, RecordSealer, SealedColumn, Vault};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};

use super::Person;
use crate::epoch::Epoch;
use crate::mapping::{self, CompiledMapping};
use crate::rows;
use crate::streams::policy_of;

/// Arrow metadata key on the column of a child stream that holds its parent's key: the parent stream's name.
pub(crate) const PARENT_KEY: &str = "affluent.parent";
/// Arrow metadata key on the column of nodes: the column of keys, where a record's key says whose it is. In such files of a table
/// all versions of a record are of one node.
pub(crate) const NODE_BY: &str = "affluent.node_by";
/// The column of record keys.
pub(crate) const RECORD_KEY: &str = "_pk";
/// Bytes a sealed value is longer than its plaintext, for sizing buffers.
const SEALED_OVERHEAD_BYTES: usize = 48;

/// What happens to a column.
pub(super) struct ColumnPlan {
    pub(super) name: String,
    pub(super) action: Action,
}

pub(super) enum Action {
    Keep,
    Seal {
        kind: FieldType,
        context: FieldContext,
    },
    /// Text becomes the blind index of the identifier at this place.
    Index(usize),
}

/// Whether a column of the input is personal and not kept in the clear.
pub(super) fn is_sealed(plan: &Plan, schema: &SchemaRef, name: &str) -> bool {
    let class = schema.field_with_name(name).ok().and_then(Field::from_arrow).and_then(|field| field.pii);
    class.is_some_and(|class| policy_of(plan, class) != PiiPolicy::Clear)
}

/// What becomes of one column; `None` = it is not kept.
pub(super) fn plan_column(
    plan: &Plan,
    vault: &Vault,
    table: &str,
    mapping: Option<&CompiledMapping>,
    field: &ArrowField,
) -> Result<Option<ColumnPlan>> {
    let name = field.name().clone();
    if name == mapping::SUBJECT {
        return Ok(None);
    }
    let place =
        mapping.and_then(|mapping| mapping.identifiers.iter().position(|rule| mapping::identifier_column(&rule.name) == name));
    if let Some(place) = place {
        return Ok(Some(ColumnPlan { name, action: Action::Index(place) }));
    }
    let Some(known) = Field::from_arrow(field) else {
        return Err(Error::configuration(
            "E0300",
            format!("column `{name}` has a type that cannot be stored: {}", field.data_type()),
        ));
    };
    let action = match known.pii.map(|class| (class, policy_of(plan, class))) {
        Some((_, PiiPolicy::Drop)) => return Ok(None),
        Some((class, PiiPolicy::Seal)) => {
            let padding = if class.is_low_cardinality() { Padding::To32Bytes } else { Padding::None };
            Action::Seal { kind: known.kind, context: vault.field_context(table, &name, padding)? }
        }
        Some((_, PiiPolicy::Clear)) | None => Action::Keep,
    };
    Ok(Some(ColumnPlan { name, action }))
}

pub(super) fn output_schema(
    mapped: &SchemaRef,
    columns: &[ColumnPlan],
    parent: Option<&ParentStream>,
    is_by_key: bool,
) -> SchemaRef {
    let mut fields: Vec<ArrowField> = Vec::with_capacity(columns.len() + 6);
    for plan in columns {
        let Ok(field) = mapped.field_with_name(&plan.name) else { continue };
        let mut stored = match &plan.action {
            Action::Keep => field.clone().with_nullable(true),
            Action::Index(_) => ArrowField::new(&plan.name, DataType::Binary, true),
            Action::Seal { kind, .. } => sealed_field(field, *kind),
        };
        if let Some(parent) = parent.filter(|parent| parent.field == plan.name) {
            let mut metadata = stored.metadata().clone();
            metadata.insert(PARENT_KEY.to_owned(), parent.stream.clone());
            stored = stored.with_metadata(metadata);
        }
        fields.push(stored);
    }
    fields.extend(system_fields(is_by_key));
    Arc::new(Schema::new(fields))
}

fn sealed_field(field: &ArrowField, kind: FieldType) -> ArrowField {
    let stored = if kind == FieldType::Decimal { FieldType::Text } else { kind };
    let mut metadata = HashMap::from([(SEALED_KEY.to_owned(), stored.as_str().to_owned())]);
    if let Some(class) = field.metadata().get(PII_KEY) {
        metadata.insert(PII_KEY.to_owned(), class.clone());
    }
    ArrowField::new(field.name(), DataType::Binary, true).with_metadata(metadata)
}

fn system_fields(is_by_key: bool) -> [ArrowField; 6] {
    let node_by = is_by_key.then(|| (NODE_BY.to_owned(), RECORD_KEY.to_owned()));
    [
        ArrowField::new("_seq", DataType::Int64, false),
        ArrowField::new("_epoch", DataType::Int64, false),
        ArrowField::new(RECORD_KEY, DataType::Utf8, false),
        ArrowField::new("_deleted", DataType::Boolean, false),
        ArrowField::new("_node", DataType::Int64, true).with_metadata(node_by.into_iter().collect()),
        ArrowField::new("_at", FieldType::Timestamp.to_arrow(), false),
    ]
}

/// A column to be sealed, with null in place of what says nothing: who chooses among sealed values could not tell.
pub(super) fn without_empty(array: &ArrayRef, kind: FieldType) -> Result<ArrayRef> {
    let empty = match kind {
        FieldType::Text => &[""][..],
        FieldType::Json => &EMPTY_DOCUMENTS,
        _ => return Ok(Arc::clone(array)),
    };
    let Some(texts) = array.as_string_opt::<i32>() else { return Ok(Arc::clone(array)) };
    let is_empty: BooleanArray = texts.iter().map(|text| Some(text.is_some_and(|text| empty.contains(&text)))).collect();
    if is_empty.true_count() == 0 {
        return Ok(Arc::clone(array));
    }
    nullif(array, &is_empty).map_err(|error| Error::bug(error.to_string()))
}

/// A column to be sealed.
pub(super) struct Sealing<'a> {
    pub(super) array: ArrayRef,
    pub(super) kind: FieldType,
    pub(super) context: &'a FieldContext,
}

/// Seals columns, each row under the key of its person.
pub(super) fn seal_columns(
    columns: &[Sealing<'_>],
    keys: &StringArray,
    people: &[Person],
    epoch: &mut Epoch,
) -> Result<Vec<ArrayRef>> {
    let values = columns.iter().map(|column| rows::sealable(&column.array, column.kind)).collect::<Result<Vec<_>>>()?;
    let room = |array: &ArrayRef| array.get_buffer_memory_size() + array.len() * SEALED_OVERHEAD_BYTES;
    let sealed = columns.iter().zip(&values).map(|(column, (array, _))| SealedColumn::with_capacity(column.context, room(array)));
    let mut sealed: Vec<SealedColumn<'_>> = sealed.collect();
    let mut ends: Vec<Vec<i32>> = columns.iter().map(|_| Vec::with_capacity(keys.len())).collect();
    let mut sealer = RecordSealer::default();
    for (row, person) in people.iter().enumerate() {
        let (key, random) = epoch.key_and_random(person.place)?;
        let value = |place: usize| values.get(place).and_then(|(array, kind)| rows::field_value(array, *kind, row));
        sealer.seal(key, keys.value(row), &mut sealed, value, random)?;
        for (ends, column) in ends.iter_mut().zip(&sealed) {
            ends.push(i32::try_from(column.len()).map_err(|_| Error::bug("a sealed column of one page is over 2 GiB"))?);
        }
    }
    let arrays = sealed.into_iter().zip(ends).zip(&values);
    arrays.map(|((column, ends), (array, _))| sealed_array(column, ends, array.nulls())).collect()
}

fn sealed_array(column: SealedColumn<'_>, ends: Vec<i32>, nulls: Option<&NullBuffer>) -> Result<ArrayRef> {
    let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends).collect());
    let sealed = BinaryArray::try_new(offsets, column.into_bytes().into(), nulls.cloned());
    Ok(Arc::new(sealed.map_err(|error| Error::bug(format!("a sealed column is malformed: {error}")))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_not_sealed() {
        let column = |texts: &[Option<&str>]| Arc::new(texts.iter().copied().collect::<StringArray>()) as ArrayRef;
        let texts = column(&[Some("Ann"), Some(""), None, Some(" "), Some("[]")]);

        let found = without_empty(&texts, FieldType::Text).unwrap();
        assert_eq!(found.as_ref(), column(&[Some("Ann"), None, None, Some(" "), Some("[]")]).as_ref());
        let found = without_empty(&texts, FieldType::Json).unwrap();
        assert_eq!(found.as_ref(), column(&[Some("Ann"), None, None, Some(" "), None]).as_ref());
    }
}
