//! Reading a source to its end in a test, in one go or stopped at every page.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::columns::{Columns, Payload};
use crate::error::{Error, Result};
use crate::plugin::{Limits, Page, Position, Source};
use crate::rows::Rows;
use crate::stream::{StreamSpec, SyncMode};

/// Limits of a page in tests: the host's usual ones.
pub const LIMITS: Limits = Limits { max_rows: 2_000, max_bytes: 16 << 20 };
/// Pages after which a reading is taken to be endless.
const PAGES_MAX: usize = 10_000;

/// One record, as JSON values by column.
pub type Record = BTreeMap<String, Value>;

/// The pages of a reading.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// In the order they were read.
    pub pages: Vec<Page>,
}

impl Reading {
    /// Records of a stream.
    pub fn rows(&self, stream: &str) -> usize {
        self.columns(stream).map(|columns| columns.rows as usize).sum()
    }

    /// Rows that were rejected, of all streams.
    pub fn rejected(&self) -> usize {
        self.pages.iter().map(|page| page.rejected.len()).sum()
    }

    /// The records of a stream as values of a type, in order.
    ///
    /// # Errors
    /// As [`Rows::get`].
    pub fn records<T: DeserializeOwned>(&self, stream: &str) -> Result<Vec<T>> {
        let mut all = Vec::new();
        for columns in self.columns(stream) {
            for record in Rows::new(columns)? {
                all.push(record?);
            }
        }
        Ok(all)
    }

    /// The state of the last page that has one.
    pub fn state(&self) -> Option<Vec<u8>> {
        self.pages.iter().rev().find_map(|page| page.state.clone())
    }

    fn columns<'a>(&'a self, stream: &'a str) -> impl Iterator<Item = &'a Columns> {
        let parts = self.pages.iter().flat_map(|page| &page.parts).filter(move |part| part.stream == stream);
        parts.filter_map(|part| match &part.payload {
            Payload::Columns(columns) => Some(columns),
            Payload::Ndjson(_) => None,
        })
    }
}

/// What the host asks when a stream is read: its descriptor, with its child streams.
///
/// # Errors
/// Those of `discover`; `config` for a stream that it does not give.
pub fn spec<S: Source>(config: &S::Config, stream: &str, sync: SyncMode) -> Result<StreamSpec> {
    let all = S::discover(config)?;
    let is_child = |of: &&crate::StreamSchema| of.parent.as_ref().is_some_and(|parent| parent.stream == stream);
    let children = all.iter().filter(is_child).cloned().collect();
    let found = all.iter().find(|found| found.name == stream).cloned();
    let stream = found.ok_or_else(|| Error::config(format!("there is no stream `{stream}`")))?;
    Ok(StreamSpec { stream, sync, since_us: None, lookback_ms: 0, children })
}

/// Reads a stream to its end, or to where there is nothing now. `config` makes the configuration anew for each opening.
///
/// # Errors
/// Those of the source; `internal` when it does not end within 10,000 pages.
pub fn read_all<S: Source>(config: impl Fn() -> S::Config, stream: &str) -> Result<Reading> {
    read_from::<S>(&config, stream, None, PAGES_MAX)
}

/// Reads a stream incrementally from the state of an earlier reading.
///
/// # Errors
/// As [`read_all`].
pub fn read_on<S: Source>(config: impl Fn() -> S::Config, stream: &str, state: Option<Vec<u8>>) -> Result<Reading> {
    read_from::<S>(&config, stream, state, PAGES_MAX)
}

fn read_from<S: Source>(config: &dyn Fn() -> S::Config, stream: &str, state: Option<Vec<u8>>, pages: usize) -> Result<Reading> {
    let sync = if state.is_some() { SyncMode::Incremental } else { SyncMode::FullRefresh };
    let spec = spec::<S>(&config(), stream, sync)?;
    let mut source = S::open(config(), spec, state)?;
    let mut reading = Reading::default();
    while reading.pages.len() < pages {
        let page = source.next(LIMITS)?;
        let is_last = !matches!(page.position, Position::More);
        reading.pages.push(page);
        if is_last {
            source.close();
            return Ok(reading);
        }
    }
    if pages < PAGES_MAX { Ok(reading) } else { Err(Error::internal(format!("stream `{stream}` does not end"))) }
}

/// Checks what the host relies on: a stream that is stopped after any page and opened at that page's state gives exactly the
/// rest. The played service must answer the same to the same request.
///
/// # Errors
/// As [`read_all`].
///
/// # Panics
/// When a resumed reading gives other records than the one without a stop.
pub fn assert_resumable<S: Source>(config: impl Fn() -> S::Config, stream: &str) -> Result<()> {
    let whole = read_all::<S>(&config, stream)?;
    for stop in 1..whole.pages.len() {
        let mut begun = read_from::<S>(&config, stream, None, stop)?;
        let Some(state) = begun.pages.last().and_then(|page| page.state.clone()) else { continue };
        let rest = read_on::<S>(&config, stream, Some(state))?;
        begun.pages.extend(rest.pages);
        for part in &spec::<S>(&config(), stream, SyncMode::FullRefresh)?.children {
            assert_same(&begun, &whole, &part.name, stop)?;
        }
        assert_same(&begun, &whole, stream, stop)?;
    }
    Ok(())
}

fn assert_same(found: &Reading, expected: &Reading, stream: &str, stop: usize) -> Result<()> {
    let (found, expected) = (found.records::<Record>(stream)?, expected.records::<Record>(stream)?);
    assert_eq!(found, expected, "stream `{stream}` stopped after page {stop} gives other records");
    Ok(())
}
