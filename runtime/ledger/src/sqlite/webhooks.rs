//! News of sources and requests of services.

use affluent_model::Result;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::audit::append;
use super::{SqliteLedger, advance_counter, collect, limit_of};
use crate::contract::webhooks::{NewRequest, NewsRow, RequestEnd, RequestRow, Webhooks};
use crate::error::StoreResult;

const REQUEST_COLUMNS: &str = "request, connection, topic, about, asked_at_us, due_at_us, closed_at_us, answer, closed_by";

impl Webhooks for SqliteLedger {
    fn tell_news(&self, pipelines: &[String]) -> Result<()> {
        self.write(|transaction| {
            let number = advance_counter(transaction, "news", 1)?;
            let sql = "INSERT OR REPLACE INTO news (pipeline, number) VALUES (?1, ?2)";
            let mut statement = transaction.prepare_cached(sql)?;
            for pipeline in pipelines {
                statement.execute(params![pipeline, number])?;
            }
            Ok(())
        })
    }

    fn news(&self) -> Result<Vec<NewsRow>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT pipeline, number FROM news ORDER BY pipeline")?;
            collect(statement.query_map([], |row| Ok(NewsRow { pipeline: row.get(0)?, number: row.get(1)? }))?)
        })
    }

    fn add_request(&self, request: &NewRequest) -> Result<bool> {
        self.write(|transaction| {
            let NewRequest { connection, topic, about, mark, asked_at_us, due_at_us, audited } = request;
            // Not `OR IGNORE`, which would leave a gap in the numbers.
            let sql = "INSERT INTO request (connection, topic, about, mark, asked_at_us, due_at_us)
                SELECT ?1, ?2, ?3, ?4, ?5, ?6
                WHERE NOT EXISTS (SELECT 1 FROM request WHERE connection = ?1 AND mark = ?4 AND closed_at_us IS NULL)";
            let wanted = params![connection, topic, about, mark, asked_at_us, due_at_us];
            let is_new = transaction.prepare_cached(sql)?.execute(wanted)? == 1;
            if is_new {
                append(transaction, *asked_at_us, "request.asked", audited)?;
            }
            Ok(is_new)
        })
    }

    fn requests(&self, with_closed: bool, limit: usize) -> Result<Vec<RequestRow>> {
        let (which, order) =
            if with_closed { ("", "request DESC") } else { ("WHERE closed_at_us IS NULL", "due_at_us, request") };
        let sql = format!("SELECT {REQUEST_COLUMNS} FROM request {which} ORDER BY {order} LIMIT ?1");
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            collect(statement.query_map([limit_of(limit)], request_row)?)
        })
    }

    fn request(&self, request: i64) -> Result<Option<RequestRow>> {
        let sql = format!("SELECT {REQUEST_COLUMNS} FROM request WHERE request = ?1");
        self.read(|connection| Ok(connection.prepare_cached(&sql)?.query_row([request], request_row).optional()?))
    }

    fn close_request(&self, request: i64, end: &RequestEnd) -> Result<bool> {
        self.write(|transaction| {
            let RequestEnd { answer, closed_by, closed_at_us, audited } = end;
            let sql = "UPDATE request SET closed_at_us = ?2, answer = ?3, closed_by = ?4
                WHERE request = ?1 AND closed_at_us IS NULL";
            let wanted = params![request, closed_at_us, answer, closed_by];
            let is_closed = transaction.prepare_cached(sql)?.execute(wanted)? == 1;
            if is_closed {
                append(transaction, *closed_at_us, "request.closed", audited)?;
            }
            Ok(is_closed)
        })
    }
}

/// A run has read what was told until it began.
pub(super) fn news_is_read(connection: &Connection, pipeline: &str, number: i64) -> StoreResult<()> {
    let sql = "DELETE FROM news WHERE pipeline = ?1 AND number <= ?2";
    connection.prepare_cached(sql)?.execute(params![pipeline, number])?;
    Ok(())
}

fn request_row(row: &Row<'_>) -> rusqlite::Result<RequestRow> {
    Ok(RequestRow {
        request: row.get(0)?,
        connection: row.get(1)?,
        topic: row.get(2)?,
        about: row.get(3)?,
        asked_at_us: row.get(4)?,
        due_at_us: row.get(5)?,
        closed_at_us: row.get(6)?,
        answer: row.get(7)?,
        closed_by: row.get(8)?,
    })
}
