//! What is read between two commits: the keys of the people in it, new identity nodes, and the numbers that give every
//! row its place. Nothing of an epoch is visible before its one ledger transaction.

use std::sync::Arc;

use affluent_ledger::{FoundNode, Ledger, NewNode};
use affluent_model::identity::{NodeId, NodeKey, WrappedKey};
use affluent_model::{Error, Result};
use affluent_vault::{OsRandom, SealingKey, Vault};
use hashbrown::HashTable;

/// Row numbers of one epoch fit in this many bits of `_seq`.
const ROW_BITS: u32 = 20;
/// A person's node and the key of what the person's records hold; `None` = erased.
pub(crate) type Subject = Option<(NodeId, SealingKey)>;

/// The keys and nodes of the people met since the last commit.
pub(crate) struct Epoch {
    pub(crate) sequence: i64,
    rows: i64,
    /// Places in `open`.
    places: Places,
    /// Whose keys are open, each once.
    open: Vec<Subject>,
    pub(crate) new_nodes: Vec<NewNode>,
    pub(crate) random: OsRandom,
}

/// A place for each key, in the order in which they are met.
#[derive(Default)]
struct Places {
    keys: Vec<NodeKey>,
    /// Places by key: four bytes each, so that those of a whole epoch stay near the processor.
    by_key: HashTable<u32>,
}

impl Places {
    fn of(&mut self, key: &NodeKey) -> usize {
        let keys = &mut self.keys;
        if let Some(place) = self.by_key.find(hash_of(key), |place| keys.get(*place as usize) == Some(key)) {
            return *place as usize;
        }
        let place = keys.len();
        keys.push(*key);
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        self.by_key.insert_unique(hash_of(key), number, |place| keys.get(*place as usize).map_or(0, hash_of));
        place
    }
}

/// Keys of nodes are keyed hashes already: nobody can choose some that meet.
fn hash_of(key: &NodeKey) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Epoch {
    pub(crate) fn new(sequence: i64) -> Self {
        Self { sequence, rows: 0, places: Places::default(), open: Vec::new(), new_nodes: Vec::new(), random: OsRandom::new() }
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

    /// Finds or makes the nodes of these subjects; returns one place for [`Epoch::subject`] per key.
    ///
    /// # Errors
    /// What ledger and vault report; the epoch is then of no use.
    pub(crate) fn subjects(&mut self, subjects: &Subjects<'_>, keys: &[NodeKey]) -> Result<Vec<usize>> {
        let places = keys.iter().map(|key| self.places.of(key)).collect();
        self.open_more(subjects)?;
        Ok(places)
    }

    /// Opens the keys of subjects that have a place and are not open.
    fn open_more(&mut self, subjects: &Subjects<'_>) -> Result<()> {
        let keys = self.places.keys.get(self.open.len()..).unwrap_or_default();
        let found = subjects.ledger.find_nodes(keys)?;
        let missing = u64::try_from(found.iter().filter(|found| found.is_none()).count()).unwrap_or(u64::MAX);
        let first = if missing > 0 { subjects.ledger.reserve_nodes(missing)? } else { NodeId(0) };
        let ids = key_id(first)?..key_id(first)?.saturating_add(missing);
        let mut made = (first.0..).map(NodeId).zip(subjects.vault.new_subject_keys(ids, &mut self.random)?);
        self.open.reserve(keys.len());
        for (key, found) in keys.iter().zip(found) {
            self.open.push(match found {
                Some(FoundNode { node, wrapped_key: Some(wrapped) }) => {
                    Some((node, subjects.vault.unwrap_sealing_key(key_id(node)?, &wrapped)?))
                }
                Some(FoundNode { wrapped_key: None, .. }) => None,
                None => {
                    let (node, (sealing_key, wrapped)) = made.next().ok_or_else(|| Error::bug("a key was not made"))?;
                    self.new_nodes.push(subjects.new_node(node, *key, wrapped));
                    Some((node, sealing_key))
                }
            });
        }
        Ok(())
    }

    /// The subject at a place that [`Epoch::subjects`] gave.
    ///
    /// # Errors
    /// A bug when the place is not of this epoch.
    pub(crate) fn subject(&self, place: usize) -> Result<&Subject> {
        self.open.get(place).ok_or_else(|| Error::bug("a key is asked of another epoch"))
    }

    /// The key at a place that is not of an erased person, with the source of randomness, for sealing.
    ///
    /// # Errors
    /// As [`Epoch::subject`].
    pub(crate) fn key_and_random(&mut self, place: usize) -> Result<(&SealingKey, &mut OsRandom)> {
        let subject = self.open.get(place).and_then(Option::as_ref);
        let (_, key) = subject.ok_or_else(|| Error::bug("a key is asked of another epoch, or of an erased person"))?;
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

impl Subjects<'_> {
    fn new_node(&self, node: NodeId, key: NodeKey, wrapped_key: WrappedKey) -> NewNode {
        NewNode { node, key, source: Arc::clone(self.source), wrapped_key, first_seen_us: self.now_us }
    }
}

/// A subject key's id is its node's.
pub(crate) fn key_id(node: NodeId) -> Result<u64> {
    u64::try_from(node.0).map_err(|_| Error::bug(format!("node {} is negative", node.0)))
}

#[cfg(test)]
mod tests {
    use affluent_ledger::SqliteLedger;
    use affluent_vault::{FieldContext, FieldValue, KeyRing, Padding, Purpose, RecordSealer, SealedColumn, create_key_file};

    use super::*;

    fn key(number: usize) -> NodeKey {
        let mut key = [1; 17];
        key[9..].copy_from_slice(&number.to_be_bytes());
        key
    }

    fn sealed(epoch: &mut Epoch, place: usize, context: &FieldContext) -> Vec<u8> {
        let (key, random) = epoch.key_and_random(place).unwrap();
        let mut column = [SealedColumn::with_capacity(context, 0)];
        RecordSealer::default().seal(key, "r", &mut column, |_| Some(FieldValue::Text("Anna")), random).unwrap();
        let [column] = column;
        column.into_bytes()
    }

    #[test]
    fn a_person_met_in_several_pages_is_one_node_with_one_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        create_key_file(&folder.path().join("key"), &mut OsRandom::new()).unwrap();
        let ring = KeyRing::read_file(&folder.path().join("key")).unwrap();
        let (vault, _) = Vault::create(&ring, "test", 0, &mut OsRandom::new()).unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.sqlite")).unwrap();
        let subjects = Subjects { ledger: &ledger, vault: &vault, source: &"crm".into(), now_us: 1 };
        let context = vault.field_context("t", "f", Padding::None).unwrap();
        let mut epoch = Epoch::new(1);
        let node = |epoch: &Epoch, place| epoch.subject(place).unwrap().as_ref().unwrap().0;

        let first = epoch.subjects(&subjects, &[key(1), key(2), key(1)]).unwrap();
        let earlier = sealed(&mut epoch, first[0], &context);
        let again = epoch.subjects(&subjects, &[key(3), key(1), key(3)]).unwrap();
        let later = sealed(&mut epoch, again[1], &context);

        assert_eq!([&first[..], &again[..]].concat(), [0, 1, 0, 2, 0, 2]);
        let made: Vec<_> = epoch.new_nodes.iter().map(|new| (new.node, new.key)).collect();
        assert_eq!(made, [0, 1, 2].map(|place| (node(&epoch, place), key(place + 1))), "each once");
        let stored = vault.unwrap_subject_key(key_id(node(&epoch, 0)).unwrap(), &epoch.new_nodes[0].wrapped_key).unwrap();
        assert!([earlier, later].iter().all(|sealed| stored.open(sealed, &context, "r", Purpose::Matching).is_ok()));
    }
}
