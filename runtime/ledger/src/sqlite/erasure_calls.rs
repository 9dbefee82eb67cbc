//! Calls that ask destinations to erase persons.

use affluent_model::Result;
use rusqlite::{Connection, params};

use super::computed::{profile_bytes, profile_of};
use super::{SqliteLedger, collect, images, require_lease, word_number};
use crate::contract::erasure_calls::{CallOutcome, ErasureCall, ErasureCalls};
use crate::contract::erasures::ReceiptState;
use crate::contract::runs::Lease;
use crate::error::StoreResult;

/// Keys of an image that are of a person: `e` is the erasure.
const OF_PERSON: &str = "(i.key = e.profile OR i.key IN (SELECT old FROM profile_alias WHERE new = e.profile))";

impl ErasureCalls for SqliteLedger {
    fn has_erasure_calls(&self, pipeline: &str) -> Result<bool> {
        self.read(|connection| {
            let sql = "SELECT 1 FROM erasure_receipt WHERE pipeline = ?1 AND state = 'requested'
                UNION ALL SELECT 1 FROM erasure_call WHERE pipeline = ?1 AND match_sealed IS NOT NULL LIMIT 1";
            Ok(connection.prepare_cached(sql)?.exists([pipeline])?)
        })
    }

    fn open_erasure_calls(&self, lease: &Lease, looked_since_us: i64) -> Result<Vec<ErasureCall>> {
        self.write_keys(|transaction| {
            require_lease(transaction, lease)?;
            let sync = word_number(transaction, &lease.pipeline)?;
            let sql = format!(
                "INSERT OR IGNORE INTO erasure_call (erasure, pipeline, key, match_sealed, remote_id, state, at_us)
                SELECT e.erasure, r.pipeline, i.key, i.match_sealed, i.remote_id, 'requested', r.at_us
                FROM erasure_receipt r JOIN erasure e ON e.erasure = r.erasure JOIN image i ON i.sync = ?2 AND {OF_PERSON}
                WHERE r.pipeline = ?1 AND r.state = 'requested' AND e.forgotten_at_us IS NOT NULL"
            );
            transaction.prepare_cached(&sql)?.execute(params![lease.pipeline, sync])?;
            let sql = "UPDATE erasure_call SET match_sealed = NULL WHERE pipeline = ?1 AND state = 'accepted' AND at_us < ?2";
            transaction.prepare_cached(sql)?.execute(params![lease.pipeline, looked_since_us])?;
            calls_of(transaction, &lease.pipeline)
        })
    }

    fn settle_erasure_call(&self, lease: &Lease, call: &ErasureCall, outcome: &CallOutcome, now_us: i64) -> Result<()> {
        self.write_keys(|transaction| {
            require_lease(transaction, lease)?;
            let key = profile_bytes(call.key);
            let of = "erasure = ?1 AND pipeline = ?2 AND key = ?3";
            match outcome {
                CallOutcome::Refused { reason } => {
                    let sql = format!("UPDATE erasure_call SET refusal = ?4 WHERE {of}");
                    transaction.prepare_cached(&sql)?.execute(params![call.erasure, lease.pipeline, key, reason])?;
                    return Ok(());
                }
                CallOutcome::Accepted { reference, is_last } => {
                    let sql = format!(
                        "UPDATE erasure_call SET state = 'accepted', reference = ?4, refusal = NULL, at_us = ?5,
                            match_sealed = iif(?6, NULL, match_sealed) WHERE {of}"
                    );
                    let values = params![call.erasure, lease.pipeline, key, reference, now_us, is_last];
                    transaction.prepare_cached(&sql)?.execute(values)?;
                    let sync = word_number(transaction, &lease.pipeline)?;
                    images::remove(transaction, sync, call.key)?;
                }
                CallOutcome::Verified => {
                    let sql = format!("UPDATE erasure_call SET state = 'verified', match_sealed = NULL, at_us = ?4 WHERE {of}");
                    transaction.prepare_cached(&sql)?.execute(params![call.erasure, lease.pipeline, key, now_us])?;
                }
            }
            settle_receipt(transaction, lease, call.erasure, now_us)
        })
    }

    fn settle_unsupported(&self, lease: &Lease, now_us: i64) -> Result<()> {
        self.write_keys(|transaction| {
            require_lease(transaction, lease)?;
            let sync = word_number(transaction, &lease.pipeline)?;
            let sql = format!(
                "DELETE FROM image AS i WHERE i.sync = ?2 AND EXISTS (
                    SELECT 1 FROM erasure e JOIN erasure_receipt r ON r.erasure = e.erasure
                    WHERE r.pipeline = ?1 AND r.state = 'requested' AND {OF_PERSON})"
            );
            transaction.prepare_cached(&sql)?.execute(params![lease.pipeline, sync])?;
            let sql = "UPDATE erasure_receipt SET state = ?2, at_us = ?3 WHERE pipeline = ?1 AND state = 'requested'";
            transaction.prepare_cached(sql)?.execute(params![lease.pipeline, ReceiptState::NotSupported.as_str(), now_us])?;
            Ok(())
        })
    }
}

/// A receipt is as far as the call that is least far.
fn settle_receipt(connection: &Connection, lease: &Lease, erasure: i64, now_us: i64) -> StoreResult<()> {
    let sql = "UPDATE erasure_receipt SET at_us = ?3, state = (
            SELECT CASE WHEN sum(state = 'requested') > 0 THEN 'requested' WHEN sum(state = 'accepted') > 0 THEN 'accepted'
                ELSE 'verified' END
            FROM erasure_call c WHERE c.erasure = ?1 AND c.pipeline = ?2)
        WHERE erasure = ?1 AND pipeline = ?2";
    connection.prepare_cached(sql)?.execute(params![erasure, lease.pipeline, now_us])?;
    Ok(())
}

fn calls_of(connection: &Connection, pipeline: &str) -> StoreResult<Vec<ErasureCall>> {
    let sql = "SELECT erasure, key, match_sealed, remote_id, state = 'accepted' FROM erasure_call
        WHERE pipeline = ?1 AND match_sealed IS NOT NULL ORDER BY erasure, key";
    let mut statement = connection.prepare_cached(sql)?;
    collect(statement.query_map([pipeline], |row| {
        Ok(ErasureCall {
            erasure: row.get(0)?,
            key: profile_of(row.get(1)?),
            match_sealed: row.get(2)?,
            remote_id: row.get(3)?,
            is_accepted: row.get(4)?,
        })
    })?)
}
