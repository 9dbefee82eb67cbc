//! A source plugin behind the model's `Source`: pages are checked, counted and turned into batches.

use affluent_model::Error;
use affluent_model::batch::{Batch, Page, Position, Rejected};
use affluent_model::connector::{BoxFuture, Failure, FailureKind, PageLimits, Source, SourceRequest};
use affluent_model::error::Retry;
use affluent_model::limits::{
    GUEST_MESSAGE_BYTES_MAX, GUEST_ROWS_MAX, PAGE_PARTS_MAX, REJECTED_RAW_BYTES_MAX, SAME_STATE_MAX, STATE_BYTES_MAX,
};
use affluent_model::schema::{StreamSchema, SyncMode};
use serde::Serialize;

use crate::bindings::affluent::plugin::types::{Part, RejectedRow};
use crate::bindings::exports::affluent::plugin::source as exported;
use crate::codec::{Invalid, StreamCodec, operation_of};
use crate::contract::SourceGuest;
use crate::failure::{clean_code, clean_text, host_failure};
use crate::instance::Instance;
use crate::limits::IDLE_PAGES_MAX;

/// What `source.open` is told; the SDK's `StreamSpec`.
#[derive(Serialize)]
struct StreamSpec<'a> {
    stream: &'a StreamSchema,
    sync: SyncMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_us: Option<i64>,
    lookback_ms: u64,
    children: &'a [StreamSchema],
}

/// An open reader.
pub(crate) struct PluginSource {
    instance: Instance,
    guest: Box<dyn SourceGuest>,
    codecs: Vec<StreamCodec>,
    progress: Progress,
}

/// Whether pages get anywhere.
#[derive(Debug, Default)]
struct Progress {
    state: Option<Vec<u8>>,
    same_state_pages: u32,
    idle_pages: u32,
}

impl PluginSource {
    /// # Errors
    /// What the plugin reports; traps; streams that cannot be read.
    pub(crate) async fn open(
        mut instance: Instance,
        guest: Box<dyn SourceGuest>,
        request: &SourceRequest,
    ) -> Result<Self, Failure> {
        let streams = std::iter::once(&request.stream).chain(&request.children);
        let codecs = streams.map(StreamCodec::new).collect::<Result<Vec<_>, _>>();
        let codecs =
            codecs.map_err(|Invalid(what)| instance.break_off("E0507", &format!("has a stream that cannot be read: {what}")))?;
        let spec = StreamSpec {
            stream: &request.stream,
            sync: request.sync,
            since_us: request.since_us,
            lookback_ms: request.lookback_ms,
            children: &request.children,
        };
        let spec = crate::connectors::to_json(&spec)?;
        let config = crate::connectors::to_json(&request.connection.config)?;
        let call = instance.begin()?;
        let called = call.run(|store| guest.call_open(store, &config, &spec, request.state.as_deref())).await;
        instance.settle_reported(called)?;
        let progress = Progress { state: request.state.clone(), ..Progress::default() };
        Ok(Self { instance, guest, codecs, progress })
    }

    async fn next_page(&mut self, limits: PageLimits) -> Result<Page, Failure> {
        let asked = exported::Limits { max_rows: limits.rows_max, max_bytes: limits.bytes_max };
        let guest = &self.guest;
        let called = self.instance.begin()?.run(|store| guest.call_next(store, asked)).await;
        let page = self.instance.settle_reported(called)?;
        let page = self
            .check(page)
            .map_err(|Invalid(what)| self.instance.break_off("E0520", &format!("gave a page that is refused: {what}")))?;
        if self.progress.is_loop(&page) {
            let message =
                format!("plugin `{}` reads the same page of stream `{}` again and again", self.instance.plugin(), self.stream());
            let error = Error::external("E0522", message)
                .retry(Retry::Never)
                .help("this is a mistake in the plugin; report it to its author");
            return Err(host_failure(FailureKind::CursorLoop, "cursor_loop", error));
        }
        Ok(page)
    }

    fn stream(&self) -> &str {
        self.codecs.first().map_or("", |codec| &codec.stream)
    }

    fn check(&self, page: exported::Page) -> Result<Page, Invalid> {
        if page.parts.len() > PAGE_PARTS_MAX {
            return Err(Invalid(format!("{} parts, {PAGE_PARTS_MAX} are allowed", page.parts.len())));
        }
        if page.state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return Err(Invalid(format!("a state of more than {STATE_BYTES_MAX} bytes")));
        }
        let rows_max = usize::try_from(GUEST_ROWS_MAX).unwrap_or(usize::MAX);
        if page.rejected.len() > rows_max {
            return Err(Invalid(format!("{} rejected rows at once", page.rejected.len())));
        }
        let parts = page.parts.into_iter().map(|part| self.check_part(part)).collect::<Result<Vec<_>, _>>()?;
        let rejected = page.rejected.into_iter().map(|row| self.check_rejected(row)).collect::<Result<Vec<_>, _>>()?;
        let position = match page.position {
            exported::Position::More => Position::More,
            exported::Position::Idle => Position::Idle,
            exported::Position::End => Position::End,
        };
        let page = Page { parts, rejected, state: page.state, position };
        if page.rows() > rows_max {
            return Err(Invalid(format!("{} rows at once, {rows_max} are allowed", page.rows())));
        }
        Ok(page)
    }

    fn check_part(&self, part: Part) -> Result<Batch, Invalid> {
        let codec = self.codec(&part.stream)?;
        let operation = operation_of(part.op);
        let records = codec.decode(part.payload, operation);
        let records = records.map_err(|Invalid(what)| Invalid(format!("stream `{}`: {what}", codec.stream)))?;
        Ok(Batch { stream: part.stream, operation, records })
    }

    fn check_rejected(&self, row: RejectedRow) -> Result<Rejected, Invalid> {
        self.codec(&row.stream)?;
        let raw = row.raw.map(|mut raw| {
            raw.truncate(REJECTED_RAW_BYTES_MAX);
            raw
        });
        let place = clean_text(&row.place, 256);
        let message = clean_text(&row.message, GUEST_MESSAGE_BYTES_MAX);
        Ok(Rejected { stream: row.stream, place, code: clean_code(&row.code), message, raw })
    }

    fn codec(&self, stream: &str) -> Result<&StreamCodec, Invalid> {
        let codec = self.codecs.iter().find(|codec| codec.stream == stream);
        codec.ok_or_else(|| Invalid(format!("a stream `{}` that was not asked for", clean_text(stream, 64))))
    }
}

impl Progress {
    /// The same state under several pages with records, or pages without anything for ever (delivery.md §4).
    fn is_loop(&mut self, page: &Page) -> bool {
        let has_records = page.rows() > 0 || !page.rejected.is_empty();
        let same_state = page.state.is_some() && page.state == self.state;
        if page.state.is_some() && !same_state {
            self.state.clone_from(&page.state);
            self.same_state_pages = 0;
        }
        self.same_state_pages += u32::from(same_state && has_records);
        let gets_nowhere = !has_records && (page.state.is_none() || same_state) && page.position == Position::More;
        self.idle_pages = if gets_nowhere { self.idle_pages + 1 } else { 0 };
        self.same_state_pages >= SAME_STATE_MAX || self.idle_pages >= IDLE_PAGES_MAX
    }
}

impl Source for PluginSource {
    fn next(&mut self, limits: PageLimits) -> BoxFuture<'_, Result<Page, Failure>> {
        Box::pin(self.next_page(limits))
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A reader that cannot be closed is dropped all the same.
            let Ok(call) = self.instance.begin() else { return };
            let guest = &self.guest;
            drop(call.run(|store| guest.call_close(store)).await);
        })
    }
}

#[cfg(test)]
mod tests {
    use affluent_model::batch::RowOperation;

    use super::*;

    fn page(state: Option<&[u8]>, rows: usize) -> Page {
        let codec =
            StreamCodec::of_fields("s", &[affluent_model::schema::Field::new("a", affluent_model::schema::FieldType::Integer)])
                .unwrap();
        let lines = crate::bindings::affluent::plugin::types::Payload::Ndjson(b"{}\n".repeat(rows));
        let records = codec.decode(lines, RowOperation::Upsert).unwrap();
        let parts = vec![Batch { stream: "s".to_owned(), operation: RowOperation::Upsert, records }];
        Page { parts, rejected: Vec::new(), state: state.map(<[u8]>::to_vec), position: Position::More }
    }

    #[test]
    fn the_same_state_three_times_with_records_is_a_loop() {
        let mut progress = Progress { state: Some(b"1".to_vec()), ..Progress::default() };

        let loops: Vec<bool> = (0..3).map(|_| progress.is_loop(&page(Some(b"1"), 1))).collect();

        assert_eq!(loops, [false, false, true]);
    }

    #[test]
    fn a_new_state_or_no_records_is_no_loop() {
        let mut progress = Progress::default();
        let pages = [
            page(Some(b"1"), 1),
            page(Some(b"1"), 1),
            page(Some(b"1"), 0),
            page(None, 1),
            page(Some(b"1"), 1),
            page(Some(b"2"), 1),
            page(Some(b"2"), 1),
        ];

        assert!(!pages.iter().any(|page| progress.is_loop(page)));
    }

    #[test]
    fn empty_pages_without_end_are_a_loop() {
        let mut progress = Progress::default();
        let empty = page(None, 0);

        let first = (1..=IDLE_PAGES_MAX).find(|_| progress.is_loop(&empty));

        assert_eq!(first, Some(IDLE_PAGES_MAX));
    }
}
