//! What is read between two commits: the keys of the people in it, new identity nodes, and the numbers that give every
//! row its place. Nothing of an epoch is visible before its one ledger transaction.

use std::collections::HashMap;
use std::sync::Arc;

use affluent_ledger::{FoundNode, Ledger, NewNode};
use affluent_model::identity::{NodeId, NodeKey};
use affluent_model::{Error, Result};
use affluent_vault::{FieldKey, OsRandom, Vault};

/// Row numbers of one epoch fit in this many bits of `_seq`.
const ROW_BITS: u32 = 20;

/// The keys and nodes of the people met since the last commit.
pub(crate) struct Epoch {
    pub(crate) sequence: i64,
    rows: i64,
    /// `None` = erased.
    subjects: HashMap<NodeKey, Option<usize>>,
    keys: Vec<(NodeId, FieldKey)>,
    pub(crate) new_nodes: Vec<NewNode>,
    pub(crate) random: OsRandom,
}

impl Epoch {
    pub(crate) fn new(sequence: i64) -> Self {
        Self { sequence, rows: 0, subjects: HashMap::new(), keys: Vec::new(), new_nodes: Vec::new(), random: OsRandom::new() }
    }

    /// Rows that have a `_seq`.
    pub(crate) fn rows_so_far(&self) -> i64 {
        self.rows
    }

    /// The `_seq` of the next row.
    ///
    /// # Errors
    /// A bug when an epoch has more rows than it may.
    pub(crate) fn next_sequence(&mut self) -> Result<i64> {
        let row = self.rows;
        self.rows += 1;
        if row >> ROW_BITS != 0 {
            return Err(Error::bug("an epoch has more than 2^20 rows"));
        }
        Ok((self.sequence << ROW_BITS) | row)
    }

    /// Finds or makes the nodes of these subjects; returns one index for [`Epoch::key`] per subject, none for an erased one.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn subjects(&mut self, subjects: &Subjects<'_>, keys: &[NodeKey]) -> Result<Vec<Option<usize>>> {
        let mut unknown: Vec<NodeKey> = keys.iter().filter(|key| !self.subjects.contains_key(*key)).copied().collect();
        unknown.sort_unstable();
        unknown.dedup();
        let found = subjects.ledger.find_nodes(&unknown)?;
        let missing = found.iter().filter(|one| one.is_none()).count();
        let mut next = if missing > 0 { subjects.ledger.reserve_nodes(u64::try_from(missing).unwrap_or(u64::MAX))?.0 } else { 0 };
        for (key, known) in unknown.into_iter().zip(found) {
            let entry = match known {
                Some(FoundNode { node, wrapped_key: Some(wrapped) }) => {
                    (node, subjects.vault.unwrap_subject_key(key_id(node)?, &wrapped)?)
                }
                Some(FoundNode { wrapped_key: None, .. }) => {
                    self.subjects.insert(key, None);
                    continue;
                }
                None => {
                    let node = NodeId(next);
                    next += 1;
                    let (field_key, wrapped) = subjects.vault.new_subject_key(key_id(node)?, &mut self.random)?;
                    self.new_nodes.push(NewNode {
                        node,
                        key,
                        source: Arc::clone(subjects.source),
                        wrapped_key: wrapped.to_vec(),
                        first_seen_us: subjects.now_us,
                    });
                    (node, field_key)
                }
            };
            self.subjects.insert(key, Some(self.keys.len()));
            self.keys.push(entry);
        }
        keys.iter().map(|key| self.subjects.get(key).copied().ok_or_else(|| Error::bug("a subject was not entered"))).collect()
    }

    /// The node and key at an index that [`Epoch::subjects`] gave.
    ///
    /// # Errors
    /// A bug when the index is not of this epoch.
    pub(crate) fn key(&self, index: usize) -> Result<&(NodeId, FieldKey)> {
        self.keys.get(index).ok_or_else(|| Error::bug("a key is asked of another epoch"))
    }

    /// The same with the source of randomness, for sealing.
    ///
    /// # Errors
    /// As [`Epoch::key`].
    pub(crate) fn key_and_random(&mut self, index: usize) -> Result<(&FieldKey, &mut OsRandom)> {
        let (_, key) = self.keys.get(index).ok_or_else(|| Error::bug("a key is asked of another epoch"))?;
        Ok((key, &mut self.random))
    }
}

/// Where subjects are looked up and what is written down of new ones.
pub(crate) struct Subjects<'a> {
    pub(crate) ledger: &'a dyn Ledger,
    pub(crate) vault: &'a Vault,
    /// The connection's name.
    pub(crate) source: &'a Arc<str>,
    pub(crate) now_us: i64,
}

/// A subject key's id is its node's.
pub(crate) fn key_id(node: NodeId) -> Result<u64> {
    u64::try_from(node.0).map_err(|_| Error::bug(format!("node {} is negative", node.0)))
}
