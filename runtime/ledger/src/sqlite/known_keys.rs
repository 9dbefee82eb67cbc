//! Which node keys are certainly not in the ledger, for as long as nobody else enters any. A first load asks for a million
//! keys that nobody knows, and each look-up reads pages all over the index; a filter answers nearly all of them from memory.
//!
//! Commits that enter keys are counted in the ledger, so that those of other processes are noticed. Where no filter is kept
//! yet, making one costs a walk over the nodes, so it is made when look-ups in vain were worth that walk; until then the keys
//! that were looked up in vain are kept, so that an epoch need not look them up again.

use std::collections::HashSet;

use affluent_model::identity::NodeKey;
use affluent_model::limits::EPOCH_ROWS_MAX;
use rusqlite::Connection;

use super::filter::{Filter, KEYS_MAX};
use super::levels::count_of;
use super::nodes::NODES;
use crate::error::StoreResult;

/// The counter of commits that entered keys.
pub(super) const KEY_COMMITS: &str = "key commits";
/// Keys looked up in vain that are kept: those of an epoch.
const STRANGERS_MAX: usize = EPOCH_ROWS_MAX;
/// A look-up costs as much as reading this many keys in order.
const KEYS_PER_LOOK_UP: usize = 8;
/// Reading a filter that is kept costs as much as reading one of this many of its keys in order.
const KEYS_PER_KEPT: usize = 128;

/// A filter over all keys, or what is known of whether one is worth making.
#[derive(Default)]
pub(super) struct KnownKeys {
    filter: Option<Filter>,
    /// How many commits have entered keys that the filter knows.
    commits: i64,
    /// Look-ups in vain since there is no filter.
    missed: usize,
    /// Epochs that this process has stored.
    epochs: u64,
    /// Keys that nobody had in this state.
    strangers: HashSet<NodeKey>,
}

/// A state of the keys in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    commits: i64,
    epochs: u64,
}

impl KnownKeys {
    /// Drops the filter when somebody else has entered keys, and takes one when that is worth it for as many look-ups as are
    /// asked for; `connection` is the one that writes.
    pub(super) fn refresh(&mut self, connection: &Connection, asked: usize) -> StoreResult<()> {
        self.renew(connection)?;
        if self.filter.is_some() {
            return Ok(());
        }
        let state = connection.unchecked_transaction()?;
        self.renew(&state)?;
        let last = NODES.last(&state)?.map_or(0, |node| node.0);
        let keys = usize::try_from(last).unwrap_or(usize::MAX);
        if keys > KEYS_MAX {
            return Ok(());
        }
        if self.missed.saturating_add(asked).saturating_mul(KEYS_PER_LOOK_UP) >= keys / KEYS_PER_KEPT {
            self.filter = Filter::kept(&state)?;
        }
        if self.filter.is_none() && self.missed.saturating_mul(KEYS_PER_LOOK_UP) >= keys {
            self.filter = Some(Filter::of_all(&state, keys)?);
        }
        Ok(())
    }

    /// Drops all that is known when somebody else has entered keys.
    pub(super) fn renew(&mut self, connection: &Connection) -> StoreResult<()> {
        let commits = count_of(connection, KEY_COMMITS)?;
        if self.commits != commits {
            *self = Self { commits, epochs: self.epochs, ..Self::default() };
        }
        Ok(())
    }

    /// False when nobody has the key.
    pub(super) fn may_hold(&self, key: &NodeKey) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_hold(key)) && !self.strangers.contains(key)
    }

    pub(super) fn state(&self) -> State {
        State { commits: self.commits, epochs: self.epochs }
    }

    /// Enters keys that are stored now; should their transaction fail after all, they are looked up in vain.
    pub(super) fn add<'k>(&mut self, keys: impl Iterator<Item = &'k NodeKey>) {
        self.epochs += 1;
        self.strangers = HashSet::new();
        let Some(filter) = &mut self.filter else { return };
        keys.for_each(|key| filter.add(key));
        if filter.is_full() {
            // The next one has twice the room, and is made at once.
            (self.missed, self.filter) = (KEYS_MAX, None);
        }
    }

    /// The commit with this number, which entered the keys that were added last, is there.
    pub(super) fn note_commit(&mut self, number: i64) {
        if self.commits.checked_add(1) == Some(number) {
            self.commits = number;
        }
    }

    /// Keeps keys that were looked up in vain, if it is still so.
    pub(super) fn note_missed(&mut self, state: Option<State>, keys: impl Iterator<Item = NodeKey>) {
        let is_now = state == Some(self.state());
        for key in keys {
            self.missed = self.missed.saturating_add(1);
            if is_now && self.filter.is_none() && self.strangers.len() < STRANGERS_MAX {
                self.strangers.insert(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_filter_every_key_may_be_held() {
        assert!(KnownKeys::default().may_hold(&[1; 17]));
    }
}
