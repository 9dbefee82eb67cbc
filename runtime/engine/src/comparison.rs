//! Desired rows against the image of what a destination holds. A row there belongs to whoever matches by its values: where
//! profiles merged or split, it changes its owner before anything is compared, so that it is updated by its new owner and
//! never removed under it; what is then left of a profile that was merged away is a duplicate, and is removed.

use std::collections::{BTreeMap, HashMap};

use affluent_ledger::ImageMove;
use affluent_model::Result;
use affluent_model::identity::ProfileId;
use affluent_model::plan::WriteMode;
use affluent_model::report::ActivationReport;
use affluent_vault::Purpose;

use crate::engine::Engine;
use crate::sealer::{Place, RunOpener, RunSealer};

/// The image, row by row told what is desired.
pub(crate) struct Comparison<'a> {
    mode: WriteMode,
    image: HashMap<ProfileId, ImageEntry>,
    opener: RunOpener<'a>,
    /// Held rows whose profile was merged away → the profile that it is now.
    absorbed: BTreeMap<ProfileId, ProfileId>,
    /// Match values of rows whose owner is gone, or matches by others now → the key they are held under.
    free: HashMap<Vec<u8>, ProfileId>,
    /// Profiles that others were merged into, and whether they are desired.
    survivors: HashMap<ProfileId, bool>,
    /// The destination takes removals.
    can_remove: bool,
}

struct ImageEntry {
    hash: Option<[u8; 16]>,
    match_sealed: Vec<u8>,
    is_desired: bool,
    /// The key in the ledger.
    stored_under: ProfileId,
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
            image.insert(row.key, ImageEntry { hash, match_sealed, is_desired: false, stored_under });
            Ok(())
        })?;
        let absorbed: BTreeMap<ProfileId, ProfileId> = engine.ledger.absorbed_images(sync)?.into_iter().collect();
        let survivors = absorbed.values().map(|survivor| (*survivor, false)).collect();
        let opener = RunOpener::new(engine);
        let mut comparison = Self { mode, image, opener, absorbed, free: HashMap::new(), survivors, can_remove };
        for key in comparison.absorbed.keys().copied().collect::<Vec<_>>() {
            if let Some(values) = comparison.held_match(key)? {
                comparison.free.insert(values, key);
            }
        }
        Ok(comparison)
    }

    /// Rows that the destination is believed to hold.
    pub(crate) fn image_rows(&self) -> u64 {
        u64::try_from(self.image.len()).unwrap_or(0)
    }

    /// Gives a desired row what the destination holds under its match values, whoever had that before.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn claim(&mut self, key: ProfileId, hash: &[u8; 16], values: &[u8], sealer: &mut RunSealer<'_>) -> Result<()> {
        if let Some(is_desired) = self.survivors.get_mut(&key) {
            *is_desired = true;
        }
        let own = self.image.get(&key);
        if own.is_some_and(|own| own.hash.as_ref() == Some(hash)) || (own.is_none() && self.free.is_empty()) {
            return Ok(());
        }
        let held = self.held_match(key)?;
        if held.as_deref() == Some(values) {
            return Ok(());
        }
        let other = self.free.remove(values);
        if let Some(held) = held {
            self.free.insert(held, other.unwrap_or(key));
        }
        match other {
            Some(other) => self.exchange(key, other, sealer),
            None => Ok(()),
        }
    }

    /// The match values that the destination holds under a key.
    fn held_match(&mut self, key: ProfileId) -> Result<Option<Vec<u8>>> {
        let Some(entry) = self.image.get(&key) else { return Ok(None) };
        self.opener.open(&entry.match_sealed, Place::OutboxMatch, &key.to_string(), Purpose::Activation).map(Some)
    }

    /// Exchanges what is held under two keys, of which one may hold nothing.
    fn exchange(&mut self, one: ProfileId, other: ProfileId, sealer: &mut RunSealer<'_>) -> Result<()> {
        for (from, to, entry) in [(one, other, self.image.remove(&one)), (other, one, self.image.remove(&other))] {
            let Some(mut entry) = entry else { continue };
            let values = self.opener.open(&entry.match_sealed, Place::OutboxMatch, &from.to_string(), Purpose::Activation)?;
            entry.match_sealed = sealer.seal(&values, Place::OutboxMatch, &to.to_string())?;
            self.image.insert(to, entry);
        }
        Ok(())
    }

    /// True when the row must be sent; counts it either way.
    pub(crate) fn differs(&mut self, key: ProfileId, hash: &[u8; 16], counts: &mut ActivationReport) -> bool {
        let entry = self.image.get_mut(&key);
        let is_known = entry.is_some();
        let is_same = entry.as_ref().is_some_and(|entry| entry.hash.as_ref() == Some(hash));
        if let Some(entry) = entry {
            entry.is_desired = true;
        }
        let differs = match self.mode {
            WriteMode::Insert => !is_known,
            WriteMode::Update => is_known && !is_same,
            WriteMode::Upsert | WriteMode::Mirror => !is_same,
            WriteMode::Append => true,
        };
        if differs {
            counts.upserts += 1;
        } else {
            counts.unchanged += 1;
        }
        differs
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
            if is_duplicate {
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

    /// Where rows of the image changed their owner: to be stored before the plan. A row of a profile that was merged away
    /// stays with the survivor, where that is not desired and holds nothing itself.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn moves(&mut self, sealer: &mut RunSealer<'_>) -> Result<Vec<ImageMove>> {
        for (old, survivor) in self.absorbed.clone() {
            let is_free = self.survivors.get(&survivor) == Some(&false) && !self.image.contains_key(&survivor);
            if self.mode != WriteMode::Mirror && is_free && self.image.contains_key(&old) {
                self.exchange(old, survivor, sealer)?;
            }
        }
        let moved = self.image.iter().filter(|(key, entry)| entry.stored_under != **key);
        let mut moves: Vec<ImageMove> = moved
            .map(|(key, entry)| ImageMove { from: entry.stored_under, to: *key, match_sealed: entry.match_sealed.clone() })
            .collect();
        moves.sort_unstable_by_key(|one| one.to);
        Ok(moves)
    }
}
