//! Rows of images that change their profile or go.

use affluent_model::identity::ProfileId;
use rusqlite::{Connection, OptionalExtension, params};

use super::collect;
use super::computed::{profile_bytes, profile_of};
use crate::contract::outbox::ImageMove;
use crate::error::StoreResult;

/// What moves with a row: hash, version, remote id and time of acknowledgement.
type Kept = (Option<[u8; 16]>, i64, Option<String>, i64);

/// Keys of an image that are aliases, with the profiles they lead to.
pub(super) fn absorbed(connection: &Connection, sync: Option<i64>) -> StoreResult<Vec<(ProfileId, ProfileId)>> {
    // From the aliases, which are few, to the image.
    let sql = "SELECT a.old, a.new FROM profile_alias a CROSS JOIN image i ON i.sync = ?1 AND i.key = a.old ORDER BY a.old";
    let mut statement = connection.prepare_cached(sql)?;
    collect(statement.query_map([sync], |row| Ok((profile_of(row.get(0)?), profile_of(row.get(1)?))))?)
}

pub(super) fn shift(connection: &Connection, sync: i64, moves: &[ImageMove]) -> StoreResult<()> {
    let sql = "SELECT hash, version, remote_id, acknowledged_at_us FROM image WHERE sync = ?1 AND key = ?2";
    let mut read = connection.prepare_cached(sql)?;
    let mut kept: Vec<(&ImageMove, Kept)> = Vec::with_capacity(moves.len());
    for one in moves {
        let row = read
            .query_row(params![sync, profile_bytes(one.from)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
        kept.extend(row.optional()?.map(|row| (one, row)));
    }
    let mut remove = connection.prepare_cached("DELETE FROM image WHERE sync = ?1 AND key = ?2")?;
    for one in moves {
        remove.execute(params![sync, profile_bytes(one.from)])?;
    }
    let sql = "INSERT OR REPLACE INTO image (sync, key, hash, version, remote_id, match_sealed, acknowledged_at_us)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut put = connection.prepare_cached(sql)?;
    let mut follow = connection.prepare_cached("INSERT OR REPLACE INTO profile_alias (old, new, at_us) VALUES (?1, ?2, ?3)")?;
    for (one, (hash, version, remote_id, at_us)) in kept {
        put.execute(params![sync, profile_bytes(one.to), hash, version, remote_id, one.match_sealed, at_us])?;
        if let Some(profile) = one.former_of {
            follow.execute(params![profile_bytes(one.to), profile_bytes(profile), at_us])?;
        }
    }
    Ok(())
}

/// A row is gone; no sync but its own knows the key of a former one.
pub(super) fn remove(connection: &Connection, sync: i64, key: ProfileId) -> StoreResult<()> {
    connection.prepare_cached("DELETE FROM image WHERE sync = ?1 AND key = ?2")?.execute(params![sync, profile_bytes(key)])?;
    if key.is_former_row() {
        connection.prepare_cached("DELETE FROM profile_alias WHERE old = ?1")?.execute([profile_bytes(key)])?;
    }
    Ok(())
}
