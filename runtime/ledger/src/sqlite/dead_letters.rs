//! Dead letters; written inside the transactions of ingest and activation.

use affluent_model::Result;
use rusqlite::{Connection, Row, params};

use super::{SqliteLedger, collect, count_at, limit_of};
use crate::contract::dead_letters::{
    DeadLetterCount, DeadLetterFilter, DeadLetterRow, DeadLetters, NewDeadLetter, SealedLetter, Stage,
};
use crate::contract::runs::Lease;
use crate::error::StoreResult;

impl DeadLetters for SqliteLedger {
    fn dead_letters(&self, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetterRow>> {
        self.read(|connection| {
            let sql = "SELECT id, pipeline, run, stream, stage, place, code, message, payload_sealed, at_us FROM dead_letter
                WHERE (?1 IS NULL OR pipeline = ?1) AND (?2 IS NULL OR stream = ?2) AND (?3 IS NULL OR stage = ?3)
                    AND (?4 IS NULL OR run = ?4)
                ORDER BY id DESC LIMIT ?5";
            let stage = filter.stage.map(stage_number);
            let wanted = params![filter.pipeline, filter.stream, stage, filter.run, limit_of(limit)];
            collect(connection.prepare_cached(sql)?.query_map(wanted, dead_letter_row)?)
        })
    }

    fn dead_letter_counts(&self) -> Result<Vec<DeadLetterCount>> {
        self.read(|connection| {
            let sql = "SELECT pipeline, stream, stage, code, count(*) FROM dead_letter GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";
            let mut statement = connection.prepare_cached(sql)?;
            collect(statement.query_map([], |row| {
                Ok(DeadLetterCount {
                    pipeline: row.get(0)?,
                    stream: row.get(1)?,
                    stage: stage_at(row, 2)?,
                    code: row.get(3)?,
                    count: count_at(row, 4)?,
                })
            })?)
        })
    }

    fn dead_letter_payloads(&self, visit: &mut dyn FnMut(SealedLetter) -> Result<()>) -> Result<()> {
        self.read(|connection| {
            let sql = "SELECT id, stream, payload_sealed FROM dead_letter WHERE payload_sealed IS NOT NULL ORDER BY id";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                visit(SealedLetter { id: row.get(0)?, stream: row.get(1)?, payload_sealed: row.get(2)? })?;
            }
            Ok(())
        })
    }

    fn clear_dead_letter_payloads(&self, ids: &[i64]) -> Result<()> {
        self.write_keys(|transaction| {
            let mut statement = transaction.prepare_cached("UPDATE dead_letter SET payload_sealed = NULL WHERE id = ?1")?;
            for id in ids {
                statement.execute([id])?;
            }
            Ok(())
        })
    }

    fn drop_dead_letters(&self, ids: &[i64]) -> Result<u64> {
        self.write(|transaction| {
            let mut statement = transaction.prepare_cached("DELETE FROM dead_letter WHERE id = ?1")?;
            let mut dropped = 0;
            for id in ids {
                dropped += statement.execute([id])?;
            }
            Ok(dropped as u64)
        })
    }
}

pub(super) fn insert_dead_letters<'a>(
    connection: &Connection,
    lease: &Lease,
    letters: impl Iterator<Item = &'a NewDeadLetter>,
) -> StoreResult<()> {
    let sql = "INSERT INTO dead_letter (pipeline, run, stream, stage, place, code, message, payload_sealed, at_us)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut statement = connection.prepare_cached(sql)?;
    for NewDeadLetter { stream, stage, place, code, message, payload_sealed, at_us } in letters {
        let stage = stage_number(*stage);
        statement.execute(params![lease.pipeline, lease.run, stream, stage, place, code, message, payload_sealed, at_us])?;
    }
    Ok(())
}

fn stage_number(stage: Stage) -> i64 {
    match stage {
        Stage::Read => 0,
        Stage::Transform => 1,
        Stage::Admit => 2,
        Stage::Deliver => 3,
    }
}

fn stage_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Stage> {
    let number: i64 = row.get(column)?;
    let stage = Stage::ALL.into_iter().find(|stage| stage_number(*stage) == number);
    stage.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn dead_letter_row(row: &Row<'_>) -> rusqlite::Result<DeadLetterRow> {
    Ok(DeadLetterRow {
        id: row.get(0)?,
        pipeline: row.get(1)?,
        run: row.get(2)?,
        letter: NewDeadLetter {
            stream: row.get(3)?,
            stage: stage_at(row, 4)?,
            place: row.get(5)?,
            code: row.get(6)?,
            message: row.get(7)?,
            payload_sealed: row.get(8)?,
            at_us: row.get(9)?,
        },
    })
}
