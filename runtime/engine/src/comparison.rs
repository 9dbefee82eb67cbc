//! Desired rows against the image of what a destination holds. A row there belongs to whoever matches by its values: where
//! profiles merged, split or came by other values, it changes its owner once all that is desired is known, so that it is updated
//! by its new owner and never removed under it. What is then left of a profile that was merged away is a duplicate, and is
//! removed; what is left of one that is matched by other values now is a former row, which a mirror removes.

use std::collections::{BTreeMap, HashMap};

use affluent_ledger::ImageMove;
use affluent_model::Result;
use affluent_model::identity::ProfileId;
use affluent_model::plan::WriteMode;
use affluent_model::report::ActivationReport;
use affluent_vault::{BlindIndexer, Purpose};

use crate::engine::Engine;
use crate::sealer::{Place, RunOpener, RunSealer};

/// A keyed hash without its version byte.
pub(crate) type ShortHash = [u8; 16];

/// The image, row by row told what is desired.
pub(crate) struct Comparison<'a> {
    mode: WriteMode,
    image: HashMap<ProfileId, ImageEntry>,
    opener: RunOpener<'a>,
    hasher: BlindIndexer,
    /// Held rows whose profile was merged away → the profile that it is now; former rows → whose they are.
    absorbed: BTreeMap<ProfileId, ProfileId>,
    /// Match values that are desired and that their owner does not hold → the owner.
    wanted: HashMap<ShortHash, ProfileId>,
    /// Profiles that others were merged into, and whether they are desired.
    survivors: HashMap<ProfileId, bool>,
    /// The destination takes removals.
    can_remove: bool,
}

struct ImageEntry {
    hash: Option<ShortHash>,
    /// For the key in the ledger, until [`Comparison::moves`].
    match_sealed: Vec<u8>,
    is_desired: bool,
    /// The key in the ledger.
    stored_under: ProfileId,
    /// The profile whose former row this is, where it became one now.
    former_of: Option<ProfileId>,
}

impl<'a> Comparison<'a> {
    /// Reads the image of a sync.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn start(engine: &'a Engine, sync: &str, mode: WriteMode, can_remove: bool) -> Result<Self> {
        let mut image = HashMap::new();
        engine.ledger.image(sync, &mut |row| {
            let (hash, match_sealed, stored_under) = (row.hash, row.match_sealed, row.key);
            image.insert(row.key, ImageEntry { hash, match_sealed, is_desired: false, stored_under, former_of: None });
            Ok(())
        })?;
        let absorbed: BTreeMap<ProfileId, ProfileId> = engine.ledger.absorbed_images(sync)?.into_iter().collect();
        let survivors = absorbed.values().map(|survivor| (*survivor, false)).collect();
        let hasher = engine.vault.blind_indexer(&format!("match/{sync}"))?;
        let (opener, wanted) = (RunOpener::new(engine), HashMap::new());
        Ok(Self { mode, image, opener, hasher, absorbed, wanted, survivors, can_remove })
    }

    /// Rows that the destination is believed to hold.
    pub(crate) fn image_rows(&self) -> u64 {
        u64::try_from(self.image.len()).unwrap_or(0)
    }

    /// Takes note of a desired row and its match values. True when the row must be sent; counts it either way.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn differs(
        &mut self,
        key: ProfileId,
        hash: &ShortHash,
        values: &[u8],
        counts: &mut ActivationReport,
    ) -> Result<bool> {
        if let Some(is_desired) = self.survivors.get_mut(&key) {
            *is_desired = true;
        }
        let own = self.image.get(&key);
        let (is_known, is_same) = (own.is_some(), own.is_some_and(|own| own.hash.as_ref() == Some(hash)));
        if !is_same && !self.image.is_empty() && self.held_match(key)?.as_deref() != Some(values) {
            self.wanted.insert(short_hash(&self.hasher, values), key);
        } else if let Some(own) = self.image.get_mut(&key) {
            own.is_desired = true;
        }
        let differs = match self.mode {
            WriteMode::Insert => !is_known,
            // What is not there yet the destination knows better than the image: it skips that.
            WriteMode::Update | WriteMode::Upsert | WriteMode::Mirror => !is_same,
            WriteMode::Append => true,
        };
        let count = if differs { &mut counts.upserts } else { &mut counts.unchanged };
        *count += 1;
        Ok(differs)
    }

    /// The match values that the destination holds under a key.
    fn held_match(&mut self, key: ProfileId) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.image.get(&key) else { return Ok(None) };
        let stored_under = entry.stored_under.to_string();
        self.opener.open(&entry.match_sealed, Place::OutboxMatch, &stored_under, Purpose::Activation).map(Some)
    }

    /// Gives every desired row what the destination holds under its match values, whoever had that before; the former row of its
    /// owner goes there instead. Call it once, when all that is desired was told.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn settle(&mut self, counts: &mut ActivationReport) -> Result<()> {
        let wanted: BTreeMap<ProfileId, ShortHash> = self.wanted.drain().map(|(values, owner)| (owner, values)).collect();
        let (mut held, mut values_of) = (HashMap::new(), HashMap::new());
        let open: Vec<ProfileId> = self.image.iter().filter(|(_, entry)| !entry.is_desired).map(|(key, _)| *key).collect();
        for key in open.into_iter().filter(|_| !wanted.is_empty()) {
            let values = self.held_match(key)?.map(|values| short_hash(&self.hasher, &values)).unwrap_or_default();
            held.insert(values, key);
            values_of.insert(key, values);
        }
        for (owner, values) in &wanted {
            let Some(holder) = held.remove(values) else { continue };
            if let Some(former) = values_of.remove(owner) {
                held.insert(former, holder);
                values_of.insert(holder, former);
            }
            self.exchange(*owner, holder);
            if let Some(entry) = self.image.get_mut(owner) {
                entry.is_desired = true;
            }
        }
        for (owner, values) in wanted {
            self.part(owner, &values, counts);
        }
        self.keep_with_survivors();
        Ok(())
    }

    /// Parts a desired row from what is held under its key by other values than its own.
    fn part(&mut self, owner: ProfileId, values: &ShortHash, counts: &mut ActivationReport) {
        let Some(entry) = self.image.get_mut(&owner).filter(|entry| !entry.is_desired) else { return };
        if self.mode != WriteMode::Mirror {
            entry.is_desired = true;
            counts.former_left += u64::from(self.mode == WriteMode::Upsert);
            return;
        }
        let named = [&owner.0.to_be_bytes()[..], values].concat();
        let key = ProfileId::of_former_row(short_hash(&self.hasher, &named));
        if let Some(entry) = self.image.remove(&owner) {
            self.image.insert(key, ImageEntry { former_of: Some(owner), ..entry });
        }
    }

    /// A row of a profile that was merged away stays with the survivor, where that is not desired and holds nothing itself.
    fn keep_with_survivors(&mut self) {
        for (old, survivor) in self.absorbed.clone() {
            let is_free = self.survivors.get(&survivor) == Some(&false) && !self.image.contains_key(&survivor);
            if self.mode != WriteMode::Mirror && is_free && self.image.contains_key(&old) {
                self.exchange(old, survivor);
            }
        }
    }

    /// Exchanges what is held under two keys, of which one may hold nothing.
    fn exchange(&mut self, one: ProfileId, other: ProfileId) {
        let (of_one, of_other) = (self.image.remove(&one), self.image.remove(&other));
        self.image.extend(of_one.map(|entry| (other, entry)));
        self.image.extend(of_other.map(|entry| (one, entry)));
    }

    /// How many of these the destination keeps: it holds them, and the mode removes nothing.
    pub(crate) fn stay(&self, withheld: &[ProfileId]) -> u64 {
        let is_held = |key: &&ProfileId| self.mode != WriteMode::Mirror && self.image.contains_key(*key);
        u64::try_from(withheld.iter().filter(is_held).count()).unwrap_or(u64::MAX)
    }

    /// What is removed: by a mirror, what was sent and is desired no more; where the destination can, also the duplicates
    /// that merged profiles left. Counts those of the latter.
    pub(crate) fn removals(&self, counts: &mut ActivationReport) -> Vec<(ProfileId, Vec<u8>)> {
        let is_kept_in_step = matches!(self.mode, WriteMode::Mirror | WriteMode::Upsert | WriteMode::Update);
        let mut gone = Vec::new();
        for (key, entry) in self.image.iter().filter(|(_, entry)| is_kept_in_step && !entry.is_desired) {
            let survivor = self.absorbed.get(key);
            // An update never creates the survivor's row: without one, this is the only row of the person.
            let is_duplicate =
                survivor.is_some_and(|survivor| self.mode != WriteMode::Update || self.image.contains_key(survivor));
            let is_removed = self.mode == WriteMode::Mirror || (is_duplicate && self.can_remove);
            if key.is_former_row() {
                counts.former += u64::from(is_removed);
            } else if is_duplicate {
                let count = if is_removed { &mut counts.merged } else { &mut counts.merged_left };
                *count += 1;
            }
            if is_removed {
                gone.push((*key, entry.match_sealed.clone()));
            }
        }
        gone.sort_unstable();
        gone
    }

    /// The profile that a removed row is of.
    pub(crate) fn owner(&self, key: ProfileId) -> ProfileId {
        self.image.get(&key).and_then(|entry| entry.former_of).or_else(|| self.absorbed.get(&key).copied()).unwrap_or(key)
    }

    /// Where rows of the image changed their owner: to be stored before the plan.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn moves(&mut self, sealer: &mut RunSealer<'_>) -> Result<Vec<ImageMove>> {
        let moved = self.image.iter().filter(|(key, entry)| entry.stored_under != **key).map(|(key, _)| *key);
        let mut moved: Vec<ProfileId> = moved.collect();
        moved.sort_unstable();
        let mut moves = Vec::with_capacity(moved.len());
        for to in moved {
            let values = self.held_match(to)?.unwrap_or_default();
            let match_sealed = sealer.seal(&values, Place::OutboxMatch, &to.to_string())?;
            let Some(entry) = self.image.get_mut(&to) else { continue };
            let from = std::mem::replace(&mut entry.stored_under, to);
            entry.match_sealed.clone_from(&match_sealed);
            moves.push(ImageMove { from, to, match_sealed, former_of: entry.former_of });
        }
        Ok(moves)
    }
}

/// A keyed hash of some bytes.
pub(crate) fn short_hash(hasher: &BlindIndexer, bytes: &[u8]) -> ShortHash {
    let mut hash = ShortHash::default();
    for (slot, byte) in hash.iter_mut().zip(hasher.index(bytes).into_iter().skip(1)) {
        *slot = byte;
    }
    hash
}
