//! What is read between two commits: the keys of the people in it, new identity nodes, and the numbers that give every
//! row its place. Nothing of an epoch is visible before its one ledger transaction.

use std::collections::HashMap;
use std::sync::Arc;

use affluent_ledger::{FoundNode, Ledger, NewNode};
use affluent_model::identity::{NodeId, NodeKey};
use affluent_model::{Error, Result};
use affluent_vault::{FieldKey, OsRandom, Vault};
use foldhash::fast::FixedState;

/// Row numbers of one epoch fit in this many bits of `_seq`.
const ROW_BITS: u32 = 20;
/// Keys that are open between two pages, of about a kilobyte each; more than that, and they are opened anew when met again.
const OPEN_KEYS_MAX: usize = 10_000;

/// Keys of nodes are keyed hashes: nobody can choose some that meet.
type ByKey<T> = HashMap<NodeKey, T, FixedState>;

/// The keys and nodes of the people met since the last commit.
pub(crate) struct Epoch {
    pub(crate) sequence: i64,
    rows: i64,
    /// Whose keys are open, and places in `keys`. `None` = erased.
    subjects: ByKey<Option<usize>>,
    keys: Vec<(NodeId, FieldKey)>,
    /// Places in `new_nodes`: the ledger does not know them yet.
    news: ByKey<usize>,
    pub(crate) new_nodes: Vec<NewNode>,
    pub(crate) random: OsRandom,
}

impl Epoch {
    pub(crate) fn new(sequence: i64) -> Self {
        Self {
            sequence,
            rows: 0,
            subjects: ByKey::default(),
            keys: Vec::new(),
            news: ByKey::default(),
            new_nodes: Vec::new(),
            random: OsRandom::new(),
        }
    }

    /// Between pages, when no place that [`Epoch::subjects`] gave is in use: closes the keys if there are many.
    pub(crate) fn begin_page(&mut self) {
        if self.keys.len() > OPEN_KEYS_MAX {
            self.subjects.clear();
            self.keys.clear();
        }
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
    /// An index is good until the next page.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn subjects(&mut self, subjects: &Subjects<'_>, keys: &[NodeKey]) -> Result<Vec<Option<usize>>> {
        let mut unknown: Vec<NodeKey> = keys.iter().filter(|key| !self.subjects.contains_key(*key)).copied().collect();
        unknown.sort_unstable();
        unknown.dedup();
        self.reopen_news(subjects, &mut unknown)?;
        let found = subjects.ledger.find_nodes(&unknown)?;
        let missing = found.iter().filter(|one| one.is_none()).count();
        let mut next = if missing > 0 { subjects.ledger.reserve_nodes(u64::try_from(missing).unwrap_or(u64::MAX))?.0 } else { 0 };
        for (key, known) in unknown.into_iter().zip(found) {
            match known {
                Some(FoundNode { node, wrapped_key: Some(wrapped) }) => {
                    let field_key = subjects.vault.unwrap_subject_key(key_id(node)?, &wrapped)?;
                    self.open(key, node, field_key);
                }
                Some(FoundNode { wrapped_key: None, .. }) => {
                    self.subjects.insert(key, None);
                }
                None => {
                    self.make(subjects, key, NodeId(next))?;
                    next += 1;
                }
            }
        }
        keys.iter().map(|key| self.subjects.get(key).copied().ok_or_else(|| Error::bug("a subject was not entered"))).collect()
    }

    /// Opens the keys of those that are new since the last commit, and takes them out of the list.
    fn reopen_news(&mut self, subjects: &Subjects<'_>, unknown: &mut Vec<NodeKey>) -> Result<()> {
        let mut reopened = Vec::new();
        for key in &*unknown {
            if let Some(new) = self.news.get(key).and_then(|place| self.new_nodes.get(*place)) {
                reopened.push((*key, new.node, subjects.vault.unwrap_subject_key(key_id(new.node)?, &new.wrapped_key)?));
            }
        }
        if !reopened.is_empty() {
            unknown.retain(|key| !self.news.contains_key(key));
        }
        for (key, node, field_key) in reopened {
            self.open(key, node, field_key);
        }
        Ok(())
    }

    fn make(&mut self, subjects: &Subjects<'_>, key: NodeKey, node: NodeId) -> Result<()> {
        let (field_key, wrapped) = subjects.vault.new_subject_key(key_id(node)?, &mut self.random)?;
        self.news.insert(key, self.new_nodes.len());
        self.new_nodes.push(NewNode {
            node,
            key,
            source: Arc::clone(subjects.source),
            wrapped_key: wrapped,
            first_seen_us: subjects.now_us,
        });
        self.open(key, node, field_key);
        Ok(())
    }

    fn open(&mut self, key: NodeKey, node: NodeId, field_key: FieldKey) {
        self.subjects.insert(key, Some(self.keys.len()));
        self.keys.push((node, field_key));
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

#[cfg(test)]
mod tests {
    use affluent_ledger::SqliteLedger;
    use affluent_vault::{KeyRing, create_key_file};

    use super::*;

    fn key(number: usize) -> NodeKey {
        let mut key = [1; 17];
        key[9..].copy_from_slice(&number.to_be_bytes());
        key
    }

    #[test]
    fn a_person_met_again_after_the_keys_were_closed_is_the_same_under_the_same_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        create_key_file(&folder.path().join("key"), &mut OsRandom::new()).unwrap();
        let ring = KeyRing::read_file(&folder.path().join("key")).unwrap();
        let (vault, _) = Vault::create(&ring, "test", 0, &mut OsRandom::new()).unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.sqlite")).unwrap();
        let subjects = Subjects { ledger: &ledger, vault: &vault, source: &"crm".into(), now_us: 1 };
        let mut epoch = Epoch::new(1);
        let keys: Vec<NodeKey> = (0..=OPEN_KEYS_MAX).map(key).collect();
        let first = epoch.subjects(&subjects, &keys).unwrap();
        let before = epoch.key(first[7].unwrap()).unwrap().0;
        let context = vault.field_context("t", "f", affluent_vault::Padding::None).unwrap();
        let mut sealed = Vec::new();
        let (field_key, random) = epoch.key_and_random(first[7].unwrap()).unwrap();
        field_key.seal_into(&mut sealed, affluent_vault::FieldValue::Text("Anna"), &context, "r", random).unwrap();

        epoch.begin_page();
        assert!(epoch.key(first[7].unwrap()).is_err(), "closed");
        let again = epoch.subjects(&subjects, &[key(7), key(OPEN_KEYS_MAX + 1), key(7)]).unwrap();

        let (node, field_key) = epoch.key(again[0].unwrap()).unwrap();
        assert_eq!(*node, before);
        assert!(field_key.open(&sealed, &context, "r", affluent_vault::Purpose::Matching).is_ok());
        assert_eq!(again[0], again[2]);
        assert_eq!(epoch.new_nodes.len(), OPEN_KEYS_MAX + 2, "each once");
    }
}
