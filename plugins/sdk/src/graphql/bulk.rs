//! Bulk operations: the service writes the answer to one query into a file of JSON lines, whatever its size, and tells
//! where the file is once it is done. The children of a record follow it; the records are in no order of time.

use serde::{Deserialize, Serialize};

use super::Graphql;
use crate::error::Result;
use crate::lines::JsonLines;
use crate::{http, outcomes, values};

/// How often one call asks after an operation, and milliseconds between two questions.
const QUESTIONS_MAX: u32 = 20;
const WAIT_MS: u32 = 1_000;

/// A bulk operation and how far its result was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bulk {
    id: String,
    created_at: String,
    /// Bytes and records so far.
    offset: u64,
    objects: u64,
    /// Calls that found it running: two places in a row are never the same.
    waits: u32,
}

impl Bulk {
    /// An operation that the service began at an instant (RFC 3339): what changed later is not in its result.
    pub fn started(id: impl Into<String>, created_at: impl Into<String>) -> Self {
        Self { id: id.into(), created_at: created_at.into(), offset: 0, objects: 0, waits: 0 }
    }

    /// The operation's id at the service.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn created_us(&self) -> Option<i64> {
        values::parse_timestamp(&self.created_at)
    }

    /// The same operation after another call that found it running.
    pub(super) fn waited(&self) -> Self {
        Self { waits: self.waits.saturating_add(1), ..self.clone() }
    }

    /// The same operation, read to a place.
    pub(super) fn at(&self, (offset, objects): (u64, u64)) -> Self {
        Self { offset, objects, ..self.clone() }
    }
}

/// How an operation stands, as the service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkStatus {
    /// It is not over.
    Running,
    /// Its result holds so many records and is at a URL, without one when nothing was found.
    Ready {
        /// Of a file in JSON lines, asked for without a credential.
        url: Option<String>,
        /// Records of the file.
        objects: u64,
    },
    /// Failed, cancelled or too old: its result is not to be had.
    Lost,
}

impl BulkStatus {
    /// An operation that is over, by the texts of an answer: an empty `url` says that nothing was found, a count that is no
    /// number is taken for 0.
    pub fn ready(url: &str, objects: &str) -> Self {
        let url = Some(url.to_owned()).filter(|url| !url.is_empty());
        Self::Ready { url, objects: objects.parse().unwrap_or_default() }
    }
}

/// What waiting for an operation came to.
#[derive(Debug)]
pub(super) enum Ended {
    /// Its result where the reading stands, and how many records it holds in all.
    Ready(JsonLines, u64),
    Lost,
}

/// Waits some time for the operation to end; `None` while it runs.
pub(super) fn wait(service: &impl Graphql, bulk: &Bulk) -> Result<Option<Ended>> {
    outcomes::wait_for(QUESTIONS_MAX, WAIT_MS, || match service.bulk_status(&bulk.id)? {
        BulkStatus::Running => Ok(None),
        BulkStatus::Lost => Ok(Some(Ended::Lost)),
        BulkStatus::Ready { url, objects } => open(url, objects, bulk).map(Some),
    })
}

fn open(url: Option<String>, objects: u64, bulk: &Bulk) -> Result<Ended> {
    let Some(url) = url else { return Ok(Ended::Ready(JsonLines::from(None, bulk.offset, bulk.objects)?, objects)) };
    let (head, body) = http::get(url).open()?;
    if matches!(head.status(), 403 | 404 | 410) {
        return Ok(Ended::Lost); // links to results expire
    }
    head.error_for_status()?;
    Ok(Ended::Ready(JsonLines::from(Some(body), bulk.offset, bulk.objects)?, objects))
}
