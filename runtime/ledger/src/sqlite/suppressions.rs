//! Suppressed persons.

use std::collections::BTreeSet;

use affluent_model::Result;
use affluent_model::identity::{BlindIndex, NodeId, ProfileId};
use rusqlite::params;

use super::computed::profile_of;
use super::nodes::ASSIGNMENTS;
use super::{SqliteLedger, collect};
use crate::contract::runs::Lease;
use crate::contract::suppressions::{SuppressedPerson, Suppressions, Withdrawal};

impl Suppressions for SqliteLedger {
    fn withdrawals(&self, kind: u16) -> Result<Vec<(BlindIndex, i64)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT value, withdrawn_at_us FROM withdrawal WHERE kind = ?1")?;
            collect(statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    fn suppress_withdrawn(&self, lease: &Lease, withdrawals: &[Withdrawal], now_us: i64) -> Result<()> {
        self.write_fenced(lease, |transaction| {
            let sql = "INSERT OR IGNORE INTO delivery_stop (kind, hash, added_at_us) VALUES (?1, ?2, ?3)";
            let mut stop = transaction.prepare_cached(sql)?;
            let sql = "INSERT OR REPLACE INTO withdrawal (kind, value, withdrawn_at_us) VALUES (?1, ?2, ?3)";
            let mut seen = transaction.prepare_cached(sql)?;
            for one in withdrawals {
                stop.execute(params![one.kind_name, one.hash, now_us])?;
                seen.execute(params![one.kind, one.value, one.at_us])?;
            }
            Ok(())
        })
    }

    fn suppress(&self, person: &SuppressedPerson, now_us: i64) -> Result<bool> {
        self.write(|transaction| {
            let mut added = 0;
            let sql = "INSERT OR IGNORE INTO delivery_stop (kind, hash, added_at_us) VALUES (?1, ?2, ?3)";
            let mut identifier = transaction.prepare_cached(sql)?;
            for (kind, hash) in &person.identifiers {
                added += identifier.execute(params![kind, hash, now_us])?;
            }
            let sql = "INSERT OR IGNORE INTO delivery_stop_node (node, added_at_us) VALUES (?1, ?2)";
            let mut node = transaction.prepare_cached(sql)?;
            for one in &person.nodes {
                added += node.execute([one.0, now_us])?;
            }
            Ok(added > 0)
        })
    }

    fn unsuppress(&self, person: &SuppressedPerson) -> Result<bool> {
        self.write(|transaction| {
            let mut removed = 0;
            let mut identifier = transaction.prepare_cached("DELETE FROM delivery_stop WHERE kind = ?1 AND hash = ?2")?;
            for (kind, hash) in &person.identifiers {
                removed += identifier.execute(params![kind, hash])?;
            }
            let mut node = transaction.prepare_cached("DELETE FROM delivery_stop_node WHERE node = ?1")?;
            for one in &person.nodes {
                removed += node.execute([one.0])?;
            }
            Ok(removed > 0)
        })
    }

    fn undelivered(&self) -> Result<Vec<(String, BlindIndex)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT kind, hash FROM delivery_stop ORDER BY kind, hash")?;
            collect(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    fn undelivered_profiles(&self) -> Result<Vec<ProfileId>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT node FROM delivery_stop_node ORDER BY node")?;
            let mut assignments = ASSIGNMENTS.reader(connection)?;
            let mut profiles = BTreeSet::new();
            for node in statement.query_map([], |row| row.get(0))? {
                profiles.extend(assignments.get(NodeId(node?))?.map(|profile| profile_of(*profile)));
            }
            Ok(profiles.into_iter().collect())
        })
    }
}
