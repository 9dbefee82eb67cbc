//! Opens sealed attributes of profile rows: finds the key of each value's person, binds the value to the place it was
//! sealed for, counts the opening under its purpose.

use std::collections::HashMap;

use affluent_model::identity::NodeId;
use affluent_model::{Error, Result};
use affluent_vault::{FieldContext, FieldKey, OpenedValue, Padding, Purpose, read_header};

use crate::engine::Engine;
use crate::epoch::key_id;
use crate::origins::Lineage;

/// Keys kept open at once; the oldest half is forgotten beyond it.
const OPEN_KEYS_MAX: usize = 20_000;

/// Opens values for one purpose.
pub(crate) struct AttributeOpener<'a> {
    engine: &'a Engine,
    purpose: Purpose,
    keys: HashMap<NodeId, Option<FieldKey>>,
    contexts: HashMap<(String, String, bool), FieldContext>,
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
        let rows = |lineage: &Lineage| 0..lineage.len();
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
        let (table, field) = (lineage.table(row), lineage.column(row));
        let padding = read_header(sealed)?.padding;
        let place = (table.to_owned(), field.to_owned(), padding == Padding::To32Bytes);
        if !self.contexts.contains_key(&place) {
            let context = self.engine.vault.field_context(table, field, padding)?;
            self.contexts.insert(place.clone(), context);
        }
        let context = self.contexts.get(&place).ok_or_else(|| Error::bug("a context was just made"))?;
        let Some(Some(key)) = self.keys.get(&node) else { return Ok(None) };
        Ok(Some(key.open(sealed, context, lineage.record(row), self.purpose)?))
    }
}
