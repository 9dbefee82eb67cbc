//! Erased persons. What is forgotten is overwritten in the file; the log is emptied when the keys go.

use affluent_model::identity::{BlindIndex, NodeId, ProfileId};
use affluent_model::{Error, Result};
use rusqlite::{Connection, params};

use super::computed::{profile_bytes, profile_of};
use super::levels::{ASSIGNMENT_BY_PROFILE, EDGE_BY_VALUE, value_entry};
use super::nodes::ASSIGNMENTS;
use super::{SqliteLedger, collect, decisions, edges, profiles, relinking, require_lease, signed, word_number};
use crate::contract::erasures::{ErasureRow, Erasures, NewErasure, ReceiptRow, ReceiptState, SentRow};
use crate::contract::ingest::NewFile;
use crate::contract::runs::Lease;
use crate::error::StoreResult;

impl Erasures for SqliteLedger {
    fn begin_erasure(&self, lease: &Lease, erasure: &NewErasure) -> Result<i64> {
        self.write_fenced(lease, |transaction| {
            let sql = "INSERT INTO erasure (profile, requested_at_us) VALUES (?1, ?2)";
            transaction.prepare_cached(sql)?.execute(params![profile_bytes(erasure.profile), erasure.now_us])?;
            let number = transaction.last_insert_rowid();
            let mut node = transaction.prepare_cached("INSERT OR IGNORE INTO erasure_node (erasure, node) VALUES (?1, ?2)")?;
            for one in &erasure.nodes {
                node.execute([number, one.0])?;
            }
            let sql = "INSERT OR IGNORE INTO suppression (kind, hash, added_at_us) VALUES (?1, ?2, ?3)";
            let mut suppress = transaction.prepare_cached(sql)?;
            for (kind, hash) in &erasure.suppressed {
                suppress.execute(params![kind, hash, erasure.now_us])?;
            }
            let sql = "INSERT INTO erasure_receipt (erasure, pipeline, destination, state, at_us) VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut receipt = transaction.prepare_cached(sql)?;
            for one in &erasure.receipts {
                let state = one.state.as_str();
                receipt.execute(params![number, one.pipeline, one.destination, state, erasure.now_us])?;
            }
            Ok(number)
        })
    }

    fn forget_person(&self, lease: &Lease, erasure: &ErasureRow) -> Result<()> {
        self.write_keys(|transaction| {
            require_lease(transaction, lease)?;
            forget_nodes(transaction, &erasure.nodes)?;
            decisions::forget_nodes(transaction, &erasure.nodes)?;
            let profile = profile_bytes(erasure.profile);
            for receipt in erasure.receipts.iter().filter(|receipt| receipt.state != ReceiptState::Requested) {
                let sync = word_number(transaction, &receipt.pipeline)?;
                let sql =
                    "DELETE FROM image WHERE sync = ?1 AND (key = ?2 OR key IN (SELECT old FROM profile_alias WHERE new = ?2))";
                transaction.prepare_cached(sql)?.execute(params![sync, profile])?;
            }
            let statements = [
                "DELETE FROM refusal WHERE key = ?1",
                "DELETE FROM membership WHERE profile = ?1",
                "DELETE FROM membership_past WHERE profile = ?1",
            ];
            for sql in statements {
                transaction.prepare_cached(sql)?.execute([profile])?;
            }
            profiles::remove(transaction, &[profile])?;
            ASSIGNMENT_BY_PROFILE.remove(transaction, &[profile])
        })
    }

    fn replace_file(&self, lease: &Lease, file: i64, new: &NewFile) -> Result<bool> {
        self.write_fenced(lease, |transaction| {
            let sql = "UPDATE file SET name = ?2, rows = ?3, bytes = ?4 WHERE id = ?1";
            let values = params![file, new.name, signed(new.rows)?, signed(new.bytes)?];
            Ok(transaction.prepare_cached(sql)?.execute(values)? == 1)
        })
    }

    fn finish_forgetting(&self, lease: &Lease, erasure: i64, now_us: i64) -> Result<()> {
        self.write_fenced(lease, |transaction| {
            let sql = "UPDATE erasure SET forgotten_at_us = ?2 WHERE erasure = ?1 AND forgotten_at_us IS NULL";
            transaction.prepare_cached(sql)?.execute([erasure, now_us])?;
            Ok(())
        })
    }

    fn settle_receipts(&self, pipeline: &str, state: ReceiptState, now_us: i64) -> Result<u64> {
        self.write(|transaction| {
            let sql = "UPDATE erasure_receipt SET state = ?2, at_us = ?3
                WHERE pipeline = ?1 AND state = 'requested' AND NOT EXISTS (
                    SELECT 1 FROM erasure e JOIN image i ON i.sync = (SELECT word FROM word WHERE text = ?1)
                        AND (i.key = e.profile OR i.key IN (SELECT old FROM profile_alias WHERE new = e.profile))
                    WHERE e.erasure = erasure_receipt.erasure
                ) AND NOT EXISTS (
                    SELECT 1 FROM erasure_call c
                    WHERE c.erasure = erasure_receipt.erasure AND c.pipeline = ?1 AND c.state = 'requested'
                ) AND (SELECT forgotten_at_us FROM erasure e WHERE e.erasure = erasure_receipt.erasure) IS NOT NULL";
            Ok(transaction.prepare_cached(sql)?.execute(params![pipeline, state.as_str(), now_us])? as u64)
        })
    }

    fn erasures(&self, only_open: bool) -> Result<Vec<ErasureRow>> {
        self.read(|connection| {
            let sql = "SELECT erasure, profile, requested_at_us, forgotten_at_us FROM erasure
                WHERE NOT ?1 OR forgotten_at_us IS NULL ORDER BY erasure DESC";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = collect(statement.query_map([only_open], |row| {
                Ok(ErasureRow {
                    erasure: row.get(0)?,
                    profile: profile_of(row.get(1)?),
                    nodes: Vec::new(),
                    requested_at_us: row.get(2)?,
                    forgotten_at_us: row.get(3)?,
                    receipts: Vec::new(),
                })
            })?)?;
            for row in &mut rows {
                row.nodes = nodes_of(connection, row.erasure)?;
                row.receipts = receipts_of(connection, row.erasure)?;
            }
            Ok(rows)
        })
    }

    fn erased_nodes(&self) -> Result<Vec<NodeId>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT node FROM erasure_node ORDER BY node")?;
            collect(statement.query_map([], |row| Ok(NodeId(row.get(0)?)))?)
        })
    }

    fn suppressed(&self) -> Result<Vec<(String, BlindIndex)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT kind, hash FROM suppression ORDER BY kind, hash")?;
            collect(statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    fn suppressed_by(&self, erasure: i64) -> Result<Vec<(String, BlindIndex)>> {
        self.read(|connection| {
            let sql = "SELECT kind, hash FROM suppression
                WHERE added_at_us = (SELECT requested_at_us FROM erasure WHERE erasure = ?1) ORDER BY kind, hash";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([erasure], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    fn sent_of(&self, profile: ProfileId) -> Result<Vec<SentRow>> {
        self.read(|connection| {
            let sql = "SELECT w.text, i.remote_id, i.acknowledged_at_us FROM image i JOIN word w ON w.word = i.sync
                WHERE i.key = ?1 OR i.key IN (SELECT old FROM profile_alias WHERE new = ?1) ORDER BY w.text, i.key";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([profile_bytes(profile)], |row| {
                Ok(SentRow { sync: row.get(0)?, remote_id: row.get(1)?, acknowledged_at_us: row.get(2)? })
            })?)
        })
    }
}

fn forget_nodes(connection: &Connection, nodes: &[NodeId]) -> StoreResult<()> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    let mut carried = Vec::new();
    let mut finder = edges::Finder::new(connection)?;
    for node in &nodes {
        finder.read(*node, &mut carried)?;
    }
    drop(finder);
    edges::remove(connection, &nodes)?;
    let entries = carried.iter().map(|edge| value_entry(edge.kind, &edge.value, edge.node));
    let mut entries = entries.collect::<Result<Vec<_>>>()?;
    entries.sort_unstable();
    EDGE_BY_VALUE.remove(connection, &entries)?;
    let mut withdrawal = connection.prepare_cached("DELETE FROM withdrawal WHERE kind = ?1 AND value = ?2")?;
    for edge in carried {
        withdrawal.execute(params![edge.kind, edge.value])?;
    }
    ASSIGNMENTS.remove(connection, nodes.iter().copied())?;
    relinking::forget(connection, &nodes)
}

fn nodes_of(connection: &Connection, erasure: i64) -> StoreResult<Vec<NodeId>> {
    let mut statement = connection.prepare_cached("SELECT node FROM erasure_node WHERE erasure = ?1 ORDER BY node")?;
    collect(statement.query_map([erasure], |row| Ok(NodeId(row.get(0)?)))?)
}

fn receipts_of(connection: &Connection, erasure: i64) -> StoreResult<Vec<ReceiptRow>> {
    let sql = "SELECT pipeline, destination, state, at_us FROM erasure_receipt WHERE erasure = ?1 ORDER BY pipeline";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([erasure])?;
    let mut receipts = Vec::new();
    while let Some(row) = rows.next()? {
        let word: String = row.get(2)?;
        let state = ReceiptState::ALL.into_iter().find(|state| state.as_str() == word);
        let state = state.ok_or_else(|| Error::bug("a receipt has a state that this program does not write"))?;
        let mut receipt = ReceiptRow {
            pipeline: row.get(0)?,
            destination: row.get(1)?,
            state,
            at_us: row.get(3)?,
            references: Vec::new(),
            refusals: Vec::new(),
            is_open: state == ReceiptState::Requested,
        };
        add_calls(connection, erasure, &mut receipt)?;
        receipts.push(receipt);
    }
    Ok(receipts)
}

fn add_calls(connection: &Connection, erasure: i64, receipt: &mut ReceiptRow) -> StoreResult<()> {
    let sql = "SELECT reference, refusal, match_sealed IS NOT NULL FROM erasure_call
        WHERE erasure = ?1 AND pipeline = ?2 ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![erasure, receipt.pipeline])?;
    while let Some(row) = rows.next()? {
        receipt.references.extend(row.get::<_, Option<String>>(0)?);
        receipt.refusals.extend(row.get::<_, Option<String>>(1)?);
        receipt.is_open |= row.get::<_, bool>(2)?;
    }
    receipt.refusals.sort_unstable();
    receipt.refusals.dedup();
    Ok(())
}
