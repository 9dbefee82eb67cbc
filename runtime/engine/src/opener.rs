//! Opens sealed attributes of profile rows: finds the key of each value's person, binds the value to the place it was
//! sealed for, counts the opening under its purpose.

use std::collections::HashMap;
use std::sync::Arc;

use affluent_model::identity::NodeId;
use affluent_model::{Error, Result};
use affluent_vault::{FieldContext, FieldKey, OpenedValue, Padding, Purpose, read_header};
use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};

use crate::engine::Engine;
use crate::epoch::key_id;
use crate::rows;

/// Keys kept open at once; the oldest half is forgotten beyond it.
const OPEN_KEYS_MAX: usize = 20_000;

/// Opens values for one purpose.
pub(crate) struct AttributeOpener<'a> {
    engine: &'a Engine,
    purpose: Purpose,
    keys: HashMap<NodeId, Option<FieldKey>>,
    contexts: HashMap<(String, String, bool), FieldContext>,
}

/// The columns of `<attribute>__from`.
pub(crate) struct Lineage {
    tables: ArrayRef,
    records: ArrayRef,
    nodes: ArrayRef,
    fields: ArrayRef,
}

impl Lineage {
    /// Reads the struct column of one attribute.
    ///
    /// # Errors
    /// A bug when the snapshot has another shape.
    pub(crate) fn of(column: &ArrayRef) -> Result<Self> {
        let from = column.as_struct_opt().ok_or_else(|| Error::bug("a lineage column is not a struct"))?;
        let part =
            |name: &str| from.column_by_name(name).cloned().ok_or_else(|| Error::bug(format!("a lineage column lacks `{name}`")));
        Ok(Self {
            tables: rows::as_text(&part("table")?)?,
            records: rows::as_text(&part("record")?)?,
            nodes: rows::cast_to(&part("node")?, &DataType::Int64)?,
            fields: rows::as_text(&part("field")?)?,
        })
    }

    /// Of a column of a lake table, whose records have these keys and persons.
    ///
    /// # Errors
    /// A bug when keys or persons have another type.
    pub(crate) fn of_records(table: &str, field: &str, records: &ArrayRef, nodes: &ArrayRef) -> Result<Self> {
        let repeated =
            |text: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, records.len()))) };
        Ok(Self {
            tables: repeated(table),
            records: rows::as_text(records)?,
            nodes: rows::cast_to(nodes, &DataType::Int64)?,
            fields: repeated(field),
        })
    }

    fn text(array: &ArrayRef, row: usize) -> &str {
        let texts: &StringArray = array.as_string::<i32>();
        if texts.is_valid(row) { texts.value(row) } else { "" }
    }

    pub(crate) fn table(&self, row: usize) -> &str {
        Self::text(&self.tables, row)
    }

    pub(crate) fn node(&self, row: usize) -> Option<NodeId> {
        self.nodes.is_valid(row).then(|| NodeId(self.nodes.as_primitive::<Int64Type>().value(row)))
    }
}

impl<'a> AttributeOpener<'a> {
    pub(crate) fn new(engine: &'a Engine, purpose: Purpose) -> Self {
        Self { engine, purpose, keys: HashMap::new(), contexts: HashMap::new() }
    }

    /// Fetches the keys that these rows need, at once.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn prepare(&mut self, lineages: &[Lineage]) -> Result<()> {
        if self.keys.len() > OPEN_KEYS_MAX {
            self.keys.clear();
        }
        let rows = |lineage: &Lineage| 0..lineage.nodes.len();
        let mut missing: Vec<NodeId> = lineages
            .iter()
            .flat_map(|lineage| rows(lineage).filter_map(|row| lineage.node(row)))
            .filter(|node| !self.keys.contains_key(node))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        for (node, wrapped) in missing.iter().zip(self.engine.ledger.wrapped_keys(&missing)?) {
            let key = match wrapped {
                Some(wrapped) => Some(self.engine.vault.unwrap_subject_key(key_id(*node)?, &wrapped)?),
                None => None,
            };
            self.keys.insert(*node, key);
        }
        Ok(())
    }

    /// Opens one value; `None` when its person was erased.
    ///
    /// # Errors
    /// What the vault reports of a value that was moved or changed.
    pub(crate) fn open(&mut self, sealed: &[u8], lineage: &Lineage, row: usize) -> Result<Option<OpenedValue>> {
        let Some(node) = lineage.node(row) else { return Ok(None) };
        let (table, field) = (lineage.table(row), Lineage::text(&lineage.fields, row));
        let padding = read_header(sealed)?.padding;
        let place = (table.to_owned(), field.to_owned(), padding == Padding::To32Bytes);
        if !self.contexts.contains_key(&place) {
            let context = self.engine.vault.field_context(table, field, padding)?;
            self.contexts.insert(place.clone(), context);
        }
        let context = self.contexts.get(&place).ok_or_else(|| Error::bug("a context was just made"))?;
        let Some(Some(key)) = self.keys.get(&node) else { return Ok(None) };
        Ok(Some(key.open(sealed, context, Lineage::text(&lineage.records, row), self.purpose)?))
    }
}
