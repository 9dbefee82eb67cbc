//! Reading a stream as the engine does: page after page, waiting and calling again where the plugin says so.

use std::sync::Arc;

use affluent_model::batch::{Page, Position};
use affluent_model::connector::{Connectors, Failure, FailureKind, PageLimits, SourceRequest};
use affluent_model::plan::Connection;
use affluent_model::schema::{StreamSchema, SyncMode};

use crate::bench::Bench;
use crate::rows::{self, RowText};

/// Bytes asked for per page.
const BYTES_MAX: u32 = 4 << 20;
/// Calls in a row that may fail before a reading has failed.
const TRIES_MAX: u32 = 5;
/// Pages of one reading; what is longer is not read to its end.
pub(crate) const PAGES_MAX: usize = 200;

/// What to read, and how.
#[derive(Clone)]
pub(crate) struct Reading<'a> {
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) stream: &'a StreamSchema,
    pub(crate) children: &'a [StreamSchema],
    pub(crate) sync: SyncMode,
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) rows_max: u32,
    pub(crate) pages_max: usize,
}

/// One page, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRead {
    pub(crate) rows: Vec<RowText>,
    /// Of the stream itself, without its children.
    pub(crate) own_rows: usize,
    pub(crate) rejected: usize,
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) position: Position,
}

/// How a reading ended.
#[derive(Debug, Clone)]
pub(crate) enum Ended {
    /// At the end of the stream, or with nothing more for now.
    Whole,
    /// At the most pages that were wanted.
    Stopped,
    Failed(Failure),
}

#[derive(Debug, Clone)]
pub(crate) struct WasRead {
    pub(crate) pages: Vec<PageRead>,
    pub(crate) ended: Ended,
    /// Failures that were overcome by calling again.
    pub(crate) overcome: Vec<FailureKind>,
}

impl WasRead {
    /// All rows in their order.
    pub(crate) fn rows(&self) -> Vec<&RowText> {
        self.pages.iter().flat_map(|page| &page.rows).collect()
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.ended, Ended::Whole)
    }

    /// Why it is not whole, in words.
    pub(crate) fn trouble(&self) -> Option<String> {
        match &self.ended {
            Ended::Whole => None,
            Ended::Stopped => Some(format!("it does not end within {} pages", self.pages.len())),
            Ended::Failed(failure) => Some(format!("page {}: {}", self.pages.len() + 1, told(failure))),
        }
    }
}

/// A failure in the words of a report.
pub(crate) fn told(failure: &Failure) -> String {
    format!("{} (kind {})", failure.error.message, kind_word(failure.kind))
}

pub(crate) fn kind_word(kind: FailureKind) -> String {
    format!("{kind:?}").chars().fold(String::new(), |mut word, character| {
        if character.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(character.to_lowercase());
        word
    })
}

/// True for failures after which the runtime calls again.
pub(crate) fn is_passing(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Transient | FailureKind::RateLimited)
}

/// Reads; every page is handed to `look` before its rows are forgotten.
pub(crate) async fn read(bench: &Bench, reading: &Reading<'_>, mut look: impl FnMut(&Page)) -> WasRead {
    let place = format!("stream {}", reading.stream.name);
    let mut was = WasRead { pages: Vec::new(), ended: Ended::Stopped, overcome: Vec::new() };
    let request = SourceRequest {
        pipeline: "contract".to_owned(),
        connection: Arc::clone(reading.connection),
        stream: reading.stream.clone(),
        children: reading.children.to_vec(),
        sync: reading.sync,
        since_us: None,
        lookback_ms: 0,
        state: reading.state.clone(),
    };
    let mut tries = 0;
    let mut source = loop {
        match bench.listen(&place, bench.host.open_source(request.clone()).await) {
            Ok(source) => break source,
            Err(failure) if is_passing(failure.kind) && tries < TRIES_MAX => {
                tries += 1;
                was.overcome.push(failure.kind);
                bench.wait_after(&failure).await;
            }
            Err(failure) => {
                was.ended = Ended::Failed(failure);
                return was;
            }
        }
    };
    let limits = PageLimits { rows_max: reading.rows_max, bytes_max: BYTES_MAX };
    while was.pages.len() < reading.pages_max {
        match bench.listen(&place, source.next(limits).await) {
            Ok(page) => {
                tries = 0;
                hear_page(bench, &place, &page);
                look(&page);
                let position = page.position;
                was.pages.push(page_read(page, &reading.stream.name));
                if position != Position::More {
                    was.ended = Ended::Whole;
                    break;
                }
            }
            Err(failure) if is_passing(failure.kind) && tries < TRIES_MAX => {
                tries += 1;
                was.overcome.push(failure.kind);
                bench.wait_after(&failure).await;
            }
            Err(failure) => {
                was.ended = Ended::Failed(failure);
                break;
            }
        }
    }
    source.close().await;
    was
}

fn hear_page(bench: &Bench, place: &str, page: &Page) {
    bench.heard(|heard| {
        heard.rows += u64::try_from(page.rows()).unwrap_or(0);
        if let Some(state) = &page.state {
            heard.say(format!("the state of {place}"), &String::from_utf8_lossy(state));
        }
        for row in &page.rejected {
            heard.say(format!("a rejected row of {place}"), &format!("{} {} {}", row.place, row.code, row.message));
        }
    });
}

fn page_read(page: Page, stream: &str) -> PageRead {
    let own = page.parts.iter().filter(|part| part.stream == stream).map(|part| part.records.num_rows()).sum();
    PageRead {
        rows: page.parts.iter().flat_map(rows::texts).collect(),
        own_rows: own,
        rejected: page.rejected.len(),
        state: page.state,
        position: page.position,
    }
}
