//! The snapshot and the memberships. Members now and stays that ended live in two tables: the first is read whole for
//! every segment that is sent, the second only when somebody asks.

use affluent_model::Result;
use affluent_model::identity::ProfileId;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::bulk::{self, Insert};
use super::{SqliteLedger, collect, count_at, signed, word_number};
use crate::contract::computed::{Computed, Membership, SegmentSize, SnapshotCommit, SnapshotFile, SnapshotRow};
use crate::contract::ingest::NewFile;
use crate::contract::runs::Lease;
use crate::error::StoreResult;

/// Where model cards stand among the kept values.
const CARDS_OWNER: (&str, &str) = ("(profiles)", "model-card");

impl Computed for SqliteLedger {
    fn snapshot(&self) -> Result<Option<SnapshotRow>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT lake_table, name, rows FROM snapshot_file ORDER BY position")?;
            let file = |row: &Row<'_>| Ok(SnapshotFile { table: row.get(0)?, name: row.get(1)?, rows: count_at(row, 2)? });
            let files: Vec<SnapshotFile> = collect(statement.query_map([], file)?)?;
            let sql = "SELECT version, rows, definition_hash, input_sequence, computed_at_us, basis FROM snapshot
                ORDER BY version DESC LIMIT 1";
            let snapshot = connection.prepare_cached(sql)?.query_row([], |row| {
                Ok(SnapshotRow {
                    version: count_at(row, 0)?,
                    files,
                    rows: count_at(row, 1)?,
                    definition_hash: row.get(2)?,
                    input_sequence: row.get(3)?,
                    computed_at_us: row.get(4)?,
                    basis: row.get(5)?,
                })
            });
            Ok(snapshot.optional()?)
        })
    }

    fn commit_snapshot(&self, lease: &Lease, snapshot: &SnapshotCommit) -> Result<u64> {
        self.write_fenced(lease, |transaction| {
            if !snapshot.goes_on {
                transaction.prepare_cached("DELETE FROM snapshot_file")?.execute([])?;
                replace_cards(transaction, &snapshot.cards)?;
            }
            add_files(transaction, &snapshot.files)?;
            transaction.prepare_cached("DELETE FROM profile_touched")?.execute([])?;
            leave_segments(transaction, &snapshot.left, snapshot.now_us)?;
            enter_segments(transaction, &snapshot.entered, snapshot.now_us)?;
            let sql = "INSERT INTO snapshot (version, rows, definition_hash, input_sequence, computed_at_us, basis)
                VALUES ((SELECT coalesce(max(version), 0) + 1 FROM snapshot), ?1, ?2, ?3, ?4, ?5) RETURNING version";
            let SnapshotCommit { rows, definition_hash, input_sequence, now_us, basis, .. } = snapshot;
            let new = params![signed(*rows)?, definition_hash, input_sequence, now_us, basis];
            let version = transaction.prepare_cached(sql)?.query_row(new, |row| count_at(row, 0))?;
            Ok(version)
        })
    }

    fn touched_profiles(&self) -> Result<Vec<ProfileId>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT profile FROM profile_touched ORDER BY profile")?;
            collect(statement.query_map([], |row| Ok(profile_of(row.get(0)?)))?)
        })
    }

    fn cards(&self) -> Result<Vec<(String, String)>> {
        self.read(|connection| {
            let sql = "SELECT key, CAST(value AS TEXT) FROM plugin_value WHERE pipeline = ?1 AND plugin = ?2 ORDER BY key";
            let mut statement = connection.prepare_cached(sql)?;
            let (owner, kind) = CARDS_OWNER;
            collect(statement.query_map([owner, kind], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }

    fn members(&self, segment: &str) -> Result<Vec<ProfileId>> {
        self.read(|connection| {
            let sql = "SELECT profile FROM membership
                WHERE segment = (SELECT word FROM word WHERE text = ?1) ORDER BY profile";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([segment], |row| Ok(profile_of(row.get(0)?)))?)
        })
    }

    fn members_at(&self, segment: &str, at_us: i64) -> Result<Vec<ProfileId>> {
        self.read(|connection| {
            let sql = "SELECT profile FROM membership
                    WHERE segment = (SELECT word FROM word WHERE text = ?1) AND entered_at_us <= ?2
                UNION SELECT profile FROM membership_past
                    WHERE segment = (SELECT word FROM word WHERE text = ?1) AND entered_at_us <= ?2 AND left_at_us > ?2
                ORDER BY profile";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map(params![segment, at_us], |row| Ok(profile_of(row.get(0)?)))?)
        })
    }

    fn segment_sizes(&self) -> Result<Vec<SegmentSize>> {
        self.read(|connection| {
            let sql = "SELECT w.text, m.members
                FROM (SELECT segment, count(*) AS members FROM membership GROUP BY segment) m JOIN word w ON w.word = m.segment
                ORDER BY w.text";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([], |row| Ok(SegmentSize { segment: row.get(0)?, members: count_at(row, 1)? }))?)
        })
    }

    fn memberships_of(&self, profile: ProfileId) -> Result<Vec<Membership>> {
        self.read(|connection| {
            let sql = "SELECT w.text, m.entered_at_us, m.left_at_us FROM (
                    SELECT segment, entered_at_us, left_at_us FROM membership_past WHERE profile = ?1
                    UNION ALL SELECT segment, entered_at_us, NULL FROM membership WHERE profile = ?1
                ) m JOIN word w ON w.word = m.segment
                ORDER BY w.text, m.entered_at_us, m.left_at_us NULLS LAST";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([profile_bytes(profile)], |row| {
                Ok(Membership { segment: row.get(0)?, entered_at_us: row.get(1)?, left_at_us: row.get(2)? })
            })?)
        })
    }
}

pub(super) fn profile_bytes(profile: ProfileId) -> [u8; 16] {
    profile.0.to_be_bytes()
}

pub(super) fn profile_of(bytes: [u8; 16]) -> ProfileId {
    ProfileId(u128::from_be_bytes(bytes))
}

fn replace_cards(connection: &Connection, cards: &[(String, String)]) -> StoreResult<()> {
    let (owner, kind) = CARDS_OWNER;
    connection.prepare_cached("DELETE FROM plugin_value WHERE pipeline = ?1 AND plugin = ?2")?.execute([owner, kind])?;
    let sql = "INSERT INTO plugin_value (pipeline, plugin, key, value) VALUES (?1, ?2, ?3, CAST(?4 AS BLOB))";
    let mut insert = connection.prepare_cached(sql)?;
    for (name, card) in cards {
        insert.execute([owner, kind, name, card])?;
    }
    Ok(())
}

fn add_files(connection: &Connection, files: &[NewFile]) -> StoreResult<()> {
    let sql = "INSERT INTO snapshot_file (lake_table, name, rows, bytes, sequence) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = connection.prepare_cached(sql)?;
    for NewFile { table, name, rows, bytes, sequence } in files {
        statement.execute(params![table, name, signed(*rows)?, signed(*bytes)?, sequence])?;
    }
    Ok(())
}

/// A stay that began at this very instant leaves no interval behind.
fn leave_segments(connection: &Connection, left: &[(String, ProfileId)], now_us: i64) -> StoreResult<()> {
    let sql = "DELETE FROM membership WHERE segment = ?1 AND profile = ?2 RETURNING entered_at_us";
    let mut remove = connection.prepare_cached(sql)?;
    let mut ended = Vec::with_capacity(left.len());
    for (segment, profile) in in_key_order(connection, left)? {
        let entered_at_us: Option<i64> = remove.query_row(params![segment, profile], |row| row.get(0)).optional()?;
        ended.extend(entered_at_us.filter(|at_us| *at_us < now_us).map(|at_us| (segment, profile, at_us)));
    }
    let into = "INSERT OR REPLACE INTO membership_past (segment, profile, entered_at_us, left_at_us)";
    bulk::insert(connection, &Insert { into, columns: 4, then: "" }, &ended, |(segment, profile, entered_at_us), row| {
        row.put(segment)?;
        row.put(profile)?;
        row.put(entered_at_us)?;
        Ok(row.put(now_us)?)
    })?;
    Ok(())
}

fn enter_segments(connection: &Connection, entered: &[(String, ProfileId)], now_us: i64) -> StoreResult<()> {
    let rows = in_key_order(connection, entered)?;
    let insert = Insert { into: "INSERT OR IGNORE INTO membership (segment, profile, entered_at_us)", columns: 3, then: "" };
    bulk::insert(connection, &insert, &rows, |(segment, profile), row| {
        row.put(segment)?;
        row.put(profile)?;
        Ok(row.put(now_us)?)
    })?;
    Ok(())
}

fn in_key_order(connection: &Connection, members: &[(String, ProfileId)]) -> StoreResult<Vec<(i64, [u8; 16])>> {
    let mut rows = Vec::with_capacity(members.len());
    let mut last: Option<(&str, i64)> = None;
    for (segment, profile) in members {
        let number = match last {
            Some((name, number)) if name == segment => number,
            _ => word_number(connection, segment)?,
        };
        last = Some((segment, number));
        rows.push((number, profile_bytes(*profile)));
    }
    rows.sort_unstable();
    Ok(rows)
}
