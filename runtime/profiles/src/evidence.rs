//! What nodes say of themselves, made comparable: one column per attribute rule, each value in its normal form and
//! numbered, so that equal values are equal numbers. It holds personal values in the clear: it lives as long as one
//! resolution, and is neither stored nor shown.

pub(crate) mod alike;
pub(crate) mod forms;
pub(crate) mod names;

use std::collections::HashMap;

use affluent_model::matching::{AttributeForm, AttributeRule};

use crate::weigh::blocking::{combined, key_of};

/// Number of a value in its column; 0 = the node has none.
pub(crate) type ValueId = u32;

/// The attributes of nodes, a column per rule, a row per node in the order of the input.
#[derive(Default)]
pub struct Evidence {
    columns: Vec<Column>,
    nodes: usize,
}

/// One attribute of all nodes.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) form: AttributeForm,
    /// Row → value.
    pub(crate) ids: Vec<ValueId>,
    /// Number → normal form; the first is empty.
    values: Vec<Box<str>>,
    numbers: HashMap<Box<str>, ValueId>,
}

impl Evidence {
    /// No rows yet, a column for each rule in their order.
    #[must_use]
    pub fn new(rules: &[AttributeRule]) -> Self {
        Self { columns: rules.iter().map(Column::new).collect(), nodes: 0 }
    }

    /// So many rows that say nothing yet.
    #[must_use]
    pub fn of_nodes(rules: &[AttributeRule], nodes: usize) -> Self {
        let mut evidence = Self::new(rules);
        evidence.columns.iter_mut().for_each(|column| column.ids = vec![0; nodes]);
        evidence.nodes = nodes;
        evidence
    }

    /// Replaces what a row says of an attribute, both by position, unless the value says nothing; true when it says something.
    pub fn set(&mut self, row: usize, attribute: usize, value: &str) -> bool {
        let Some(column) = self.columns.get_mut(attribute) else { return false };
        let id = column.number(value);
        if id == 0 {
            return false;
        }
        column.ids.get_mut(row).into_iter().for_each(|slot| *slot = id);
        true
    }

    /// Adds the attributes of one more node, as its source wrote them, in the order of the rules; what is missing is empty.
    pub fn push<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) {
        let mut values = values.into_iter();
        for column in &mut self.columns {
            column.push(values.next().unwrap_or_default());
        }
        self.nodes += 1;
    }

    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes
    }

    /// True when it says nothing of any node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    /// A number per row, made of nothing but what the row says; 0 where it says nothing.
    pub(crate) fn fingerprints(&self) -> Vec<u64> {
        let mut fingerprints = vec![0; self.nodes];
        for (at, column) in (1..).zip(&self.columns) {
            let keys: Vec<u64> = column.values().map(key_of).collect();
            for (fingerprint, id) in fingerprints.iter_mut().zip(&column.ids).filter(|(_, id)| **id != 0) {
                let key = keys.get(*id as usize).copied().unwrap_or(0);
                *fingerprint = combined(*fingerprint, combined(at, key));
            }
        }
        fingerprints
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The same rows in another order: `positions` names for each new row the old one.
    pub(crate) fn reordered(&self, positions: &[u32]) -> Self {
        let columns = self.columns.iter().map(|column| column.reordered(positions)).collect();
        Self { columns, nodes: positions.len() }
    }
}

impl Column {
    fn new(rule: &AttributeRule) -> Self {
        let numbers = HashMap::from([(Box::from(""), 0)]);
        Self { name: rule.name.clone(), form: rule.form, ids: Vec::new(), values: vec![Box::from("")], numbers }
    }

    fn push(&mut self, value: &str) {
        let id = self.number(value);
        self.ids.push(id);
    }

    /// The number of a value's normal form; 0 when it says nothing.
    fn number(&mut self, value: &str) -> ValueId {
        let normal = forms::normal(self.form, value);
        if let Some(id) = self.numbers.get(normal.as_str()) {
            return *id;
        }
        let id = ValueId::try_from(self.values.len()).unwrap_or(0);
        self.values.push(normal.as_str().into());
        self.numbers.insert(normal.into(), id);
        id
    }

    /// Values are numbered anew, by their first row, so that the numbers too depend on nothing but the new order.
    fn reordered(&self, positions: &[u32]) -> Self {
        let mut number_of: Vec<ValueId> = vec![0; self.values.len()];
        let mut values: Vec<Box<str>> = vec![Box::from("")];
        let mut ids = Vec::with_capacity(positions.len());
        for position in positions {
            let old = self.id(*position);
            let Some(number) = number_of.get_mut(old as usize).filter(|_| old != 0) else {
                ids.push(0);
                continue;
            };
            if *number == 0 {
                *number = ValueId::try_from(values.len()).unwrap_or(0);
                values.push(self.text(old).into());
            }
            ids.push(*number);
        }
        Self { name: self.name.clone(), form: self.form, ids, values, numbers: HashMap::new() }
    }

    pub(crate) fn id(&self, row: u32) -> ValueId {
        self.ids.get(row as usize).copied().unwrap_or(0)
    }

    pub(crate) fn text(&self, id: ValueId) -> &str {
        self.values.get(id as usize).map_or("", |value| value)
    }

    /// The normal form that a row has; empty when it has none.
    pub(crate) fn of(&self, row: u32) -> &str {
        self.text(self.id(row))
    }

    /// Number → normal form, the empty one first.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|value| &**value)
    }
}
