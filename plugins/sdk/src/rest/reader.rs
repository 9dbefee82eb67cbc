//! The reading of one list.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Rest;
use super::list::{List, Rows};
use crate::columns::Columns;
use crate::error::{Error, Result};
use crate::http::{Response, Service};
use crate::json::Outline;
use crate::paging::{LoopGuard, Progress};
use crate::plugin::{Limits, Page, Position, RejectedRow, Source};
use crate::runtime;
use crate::stream::{StreamSchema, StreamSpec};

/// Where an unfinished read stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    /// The span of changes being read; when the whole read ends, for one in windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_us: Option<i64>,
    /// The page, as its paging knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<String>,
    /// Records of the page that were given already.
    skip: usize,
    /// The newest change in what was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_us: Option<i64>,
}

/// The [`Source`] of a [`Rest`] service: export it with `export_source!(Shop, RestSource<Shop>)`.
///
/// Every page is a safe point. A list without order moves its high-water mark at its end, so an interrupted read goes on at its
/// page and the next one begins where the finished one did. A record that does not fit its type is rejected alone. An answer
/// with more records than a page may hold is given in parts.
pub struct RestSource<P: Rest> {
    service: Service,
    list: List,
    spec: StreamSpec,
    progress: Progress<Place>,
    rows: Box<dyn Rows>,
    guard: LoopGuard,
    /// An answer that was given in part.
    pending: Option<Response>,
    is_done: bool,
    of: PhantomData<P>,
}

impl<P: Rest> fmt::Debug for RestSource<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestSource")
            .field("stream", &self.list.stream.name)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

impl<P: Rest> Source for RestSource<P> {
    type Config = P::Config;

    fn discover(config: &P::Config) -> Result<Vec<StreamSchema>> {
        Ok(P::lists(config)?.into_iter().map(|list| list.stream).collect())
    }

    fn open(config: P::Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let name = &spec.stream.name;
        let list = P::lists(&config)?.into_iter().find(|list| &list.stream.name == name);
        let list = list.ok_or_else(|| Error::config(format!("there is no stream `{name}`")))?;
        let (progress, rows) = (Progress::resume(state.as_deref())?, (list.rows)()?);
        let service = P::service(&config);
        Ok(Self {
            service,
            list,
            spec,
            progress,
            rows,
            guard: LoopGuard::default(),
            pending: None,
            is_done: false,
            of: PhantomData,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        if self.is_done {
            return Ok(Page { parts: Vec::new(), rejected: Vec::new(), state: None, position: Position::End });
        }
        let place = self.progress.place.clone().unwrap_or_else(|| self.begin());
        let answer = match self.pending.take() {
            Some(answer) => answer,
            None => self.fetch(&place)?,
        };
        self.page(place, answer, limits)
    }
}

impl<P: Rest> RestSource<P> {
    fn begin(&self) -> Place {
        let from_us = self.list.begin_us(self.progress.begin_us(&self.spec));
        let now_us = runtime::now_us();
        let until_us = self.list.until_us(from_us, now_us);
        Place { from_us, until_us, end_us: until_us.map(|_| now_us), ..Place::default() }
    }

    fn fetch(&self, place: &Place) -> Result<Response> {
        let parameters = self.list.parameters.iter().cloned().chain(self.list.span(place.from_us, place.until_us));
        let size = self.list.size.map(|(name, records)| (name, records.to_string()));
        let request = self.service.get(&self.list.path);
        let request = parameters.chain(size).fold(request, |request, (name, value)| request.query(name, &value));
        self.service.send(self.list.paging.ask(request, place.page.as_deref())?)
    }

    /// Turns an answer into a page, as far as the limits allow.
    fn page(&mut self, mut place: Place, answer: Response, limits: Limits) -> Result<Page> {
        let no_list = || Error::transient(format!("the answer holds no list at `{}`", self.list.records)).code("page.no_list");
        let body = std::str::from_utf8(answer.body()).map_err(|_| no_list())?;
        let outline = Outline::of(body);
        let records = outline.raw_at(self.list.records).ok_or_else(no_list)?;
        let all: Vec<&RawValue> = serde_json::from_str(records.get()).map_err(|_| no_list())?;
        if place.skip == 0 {
            self.guard.see(records.get())?;
        }
        let next = self.next_page(&place, &answer, &outline, all.len())?;
        let mut rejected = Vec::new();
        let mut taken = place.skip;
        for record in all.iter().skip(place.skip) {
            if is_full(self.rows.as_ref(), &rejected, limits) {
                break;
            }
            taken += 1;
            if let Err(error) = self.rows.push(record.get()) {
                let at = format!("record {taken} of page {}", place.page.as_deref().unwrap_or("1"));
                rejected.push(RejectedRow::new(&self.list.stream.name, at, &error, record.get().as_bytes()));
            }
        }
        let columns = self.rows.finish();
        place.newest_us = place.newest_us.max(newest_us(&columns, self.list.stream.cursor_field.as_deref())?);
        if self.list.is_sorted() {
            self.progress.reach(place.newest_us);
        }
        let is_given_whole = taken >= all.len();
        place.skip = if is_given_whole { 0 } else { taken };
        let page = Page { rejected, ..Page::of(&self.list.stream.name, columns) };
        if is_given_whole {
            self.go_on(place, next)?;
        } else {
            self.progress.place = Some(place);
            self.pending = Some(answer);
        }
        let position = if self.is_done { Position::End } else { Position::More };
        Ok(Page { state: Some(self.progress.encode()?), position, ..page })
    }

    fn next_page(&self, place: &Place, answer: &Response, outline: &Outline<'_>, found: usize) -> Result<Option<String>> {
        if self.list.is_short_last && self.list.size.is_some_and(|(_, wanted)| found < wanted as usize) {
            return Ok(None);
        }
        let more = self.list.more.and_then(|pointer| outline.raw_at(pointer)).map(RawValue::get);
        let look = |pointer: &str| outline.raw_at(pointer);
        let next = self.list.paging.next_by(place.page.as_deref(), answer, &look, found)?;
        match more {
            Some("false") => Ok(None),
            Some("true") if next.is_none() => {
                Err(Error::transient("the answer announces a page that it does not lead to").code("page.no_next"))
            }
            _ => Ok(next),
        }
    }

    /// Goes to the next page, the next window, or the end.
    fn go_on(&mut self, place: Place, next: Option<String>) -> Result<()> {
        if let Some(next) = next {
            self.guard.enter(&next)?;
            self.progress.place = Some(Place { page: Some(next), ..place });
            return Ok(());
        }
        self.guard.reset();
        self.progress.reach(place.newest_us);
        self.progress.place = match (place.until_us, place.end_us) {
            (Some(until_us), Some(end_us)) if until_us < end_us => {
                let next_us = self.list.until_us(Some(until_us), end_us);
                Some(Place { from_us: Some(until_us), until_us: next_us, end_us: Some(end_us), ..Place::default() })
            }
            _ => None,
        };
        self.is_done = self.progress.place.is_none();
        Ok(())
    }
}

/// Half of the limit, since the host counts more than values.
fn is_full(rows: &dyn Rows, rejected: &[RejectedRow], limits: Limits) -> bool {
    rows.len() + rejected.len() >= limits.max_rows as usize || rows.bytes() >= limits.max_bytes as usize / 2
}

/// The newest instant of a column.
fn newest_us(columns: &Columns, field: Option<&str>) -> Result<Option<i64>> {
    let Some(field) = field.filter(|_| columns.rows > 0) else { return Ok(None) };
    let changed = columns.timestamps(field)?;
    Ok((0..columns.rows as usize).filter_map(|row| changed.get(row)).max())
}
