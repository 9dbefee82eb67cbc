//! How the pages of a list follow each other, as a declaration; and where an incremental read stands, as a page's state.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::http::{Request, Response};
use crate::json;
use crate::stream::{StreamSpec, SyncMode};

/// How a list goes on after a page. Pointers are RFC 6901, into the JSON answer.
///
/// By number and by offset a list ends with an empty page, since services give fewer records than asked for in the middle
/// too; [`crate::rest::List::more`] saves that last request where the answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// One answer holds everything.
    Single,
    /// A query parameter counts pages from `first`, usually 1.
    PageNumber {
        /// Name of the parameter.
        parameter: &'static str,
        /// Number of the first page.
        first: u64,
    },
    /// A query parameter counts the records before the page.
    Offset {
        /// Name of the parameter.
        parameter: &'static str,
    },
    /// As `Offset`, where a page of fewer records than asked for is the last one.
    OffsetUntilShort {
        /// Name of the parameter.
        parameter: &'static str,
        /// Records of a full page.
        records: usize,
    },
    /// A text or number in the answer becomes a query parameter of the next request; the list ends where it is null, empty or
    /// absent.
    Cursor {
        /// Where the answer holds it.
        pointer: &'static str,
        /// Name of the parameter.
        parameter: &'static str,
    },
    /// As `Cursor`, but the value is a parameter inside the answer's link to the next page (JSON:API).
    CursorInLink {
        /// Where the answer holds the link.
        pointer: &'static str,
        /// Name of the parameter, in the link and in the next request.
        parameter: &'static str,
    },
    /// The answer holds the URL of the next page, whole or from the root of the same host.
    NextLink {
        /// Where the answer holds it.
        pointer: &'static str,
    },
    /// A `Link` header with `rel="next"` (RFC 8288).
    LinkHeader,
}

impl Paging {
    /// The request for the page at `next`, which an earlier [`Paging::next`] gave; the first page without one.
    ///
    /// # Errors
    /// `config` (`page.origin`) for a link to another host: it would carry the credential there.
    pub fn ask(self, first: Request, next: Option<&str>) -> Result<Request> {
        match (self, next) {
            (Self::Single, _)
            | (Self::Cursor { .. } | Self::CursorInLink { .. } | Self::NextLink { .. } | Self::LinkHeader, None) => Ok(first),
            (Self::PageNumber { parameter, first: number }, next) => {
                Ok(first.query(parameter, next.map_or(number.to_string().as_str(), |next| next)))
            }
            (Self::Offset { parameter } | Self::OffsetUntilShort { parameter, .. }, next) => {
                Ok(first.query(parameter, next.unwrap_or("0")))
            }
            (Self::Cursor { parameter, .. } | Self::CursorInLink { parameter, .. }, Some(next)) => {
                Ok(first.query(parameter, next))
            }
            (Self::NextLink { .. } | Self::LinkHeader, Some(next)) => first.follow(next),
        }
    }

    /// Where the list goes on after the page at `place` (as [`Paging::ask`]) with `found` records; `None` at its end.
    ///
    /// # Errors
    /// `internal` when `place` is not one of this kind of paging.
    pub fn next(self, place: Option<&str>, answer: &Response, found: usize) -> Result<Option<String>> {
        let body = std::str::from_utf8(answer.body()).unwrap_or_default();
        self.next_by(place, answer, &|pointer| json::raw_at(body, pointer), found)
    }

    /// As [`Paging::next`], where the answer was looked into already.
    pub(crate) fn next_by<'a>(
        self,
        place: Option<&str>,
        answer: &Response,
        look: &dyn Fn(&str) -> Option<&'a RawValue>,
        found: usize,
    ) -> Result<Option<String>> {
        let count = |place: Option<&str>, first: u64| {
            place.map_or(Ok(first), str::parse).map_err(|_| Error::internal("the place of a page is no number"))
        };
        Ok(match self {
            Self::Single => None,
            Self::PageNumber { .. } | Self::Offset { .. } if found == 0 => None,
            Self::PageNumber { first, .. } => Some((count(place, first)? + 1).to_string()),
            Self::OffsetUntilShort { records, .. } if found < records => None,
            Self::Offset { .. } | Self::OffsetUntilShort { .. } => Some((count(place, 0)? + found as u64).to_string()),
            Self::Cursor { pointer, .. } | Self::NextLink { pointer } => look(pointer).and_then(scalar),
            Self::CursorInLink { pointer, parameter } => {
                look(pointer).and_then(scalar).and_then(|link| query_parameter(&link, parameter))
            }
            Self::LinkHeader => answer.next_link().map(str::to_owned),
        })
    }
}

impl Paging {
    /// All records of a list that is small enough to hold, such as the errors of one batch. `first` asks for the first page,
    /// `records` is the pointer to the records in an answer (RFC 6901), `send` adds what every request has.
    ///
    /// # Errors
    /// Those of `send`; `transient` for an answer without records (`page.no_list`) and for pages that lead in a circle
    /// (`page.loop`).
    pub fn read_all(
        self,
        first: Request,
        records: &str,
        mut send: impl FnMut(Request) -> Result<Response>,
    ) -> Result<Vec<serde_json::Value>> {
        let (mut all, mut place, mut guard) = (Vec::new(), None::<String>, LoopGuard::default());
        loop {
            let answer = send(self.ask(first.clone(), place.as_deref())?)?;
            let no_list = || Error::transient(format!("the answer holds no list at `{records}`")).code("page.no_list");
            let body = std::str::from_utf8(answer.body()).map_err(|_| no_list())?;
            let found = json::raw_at(body, records).ok_or_else(no_list)?;
            let found: Vec<serde_json::Value> = serde_json::from_str(found.get()).map_err(|_| no_list())?;
            place = self.next(place.as_deref(), &answer, found.len())?;
            all.extend(found);
            match &place {
                None => return Ok(all),
                Some(next) => guard.enter(next)?,
            }
        }
    }
}

/// A text or number, `None` for everything else and for the empty text.
fn scalar(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()).ok()? {
        serde_json::Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The decoded value of a parameter of a URL.
fn query_parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| percent_decode(key) == name)?.1;
    Some(percent_decode(value)).filter(|value| !value.is_empty())
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Places that a [`LoopGuard`] remembers at most; then it begins anew.
const PLACES_MAX: usize = 65_536;

/// Notices when pages lead in a circle: a place that was there before, or the same records twice in a row from a service
/// that ignores its paging parameter.
#[derive(Debug, Default)]
pub struct LoopGuard {
    places: HashSet<u64>,
    records: Option<u64>,
}

impl LoopGuard {
    /// Notes the place that a page leads to.
    ///
    /// # Errors
    /// `transient` (`page.loop`) for a place that was there before.
    pub fn enter(&mut self, place: &str) -> Result<()> {
        if self.places.len() >= PLACES_MAX {
            self.places.clear();
        }
        if self.places.insert(hash(place)) { Ok(()) } else { Err(going_round("a page leads to one that was read before")) }
    }

    /// Notes the text of a page's records.
    ///
    /// # Errors
    /// `transient` (`page.loop`) for the same records as the page before, unless there are none.
    pub fn see(&mut self, records: &str) -> Result<()> {
        let seen = Some(hash(records));
        let is_same = self.records == seen && records.len() > 2;
        self.records = seen;
        if is_same { Err(going_round("two pages in a row hold the same records")) } else { Ok(()) }
    }

    /// Begins another list.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

fn going_round(message: &str) -> Error {
    Error::transient(message).code("page.loop")
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Where the reading of a stream stands: the state of its pages. `P` is a place inside an unfinished read.
///
/// The high-water mark is the newest value of the cursor field that is safely read; an incremental read begins there, less
/// the stream's lookback. An unfinished read goes on at its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress<P> {
    version: u32,
    /// Every change before it has been read; microseconds since the epoch.
    pub high_water_us: Option<i64>,
    /// Present as long as a read is unfinished.
    pub place: Option<P>,
}

impl<P: Serialize + DeserializeOwned> Progress<P> {
    /// Reads a page's state; nothing was read yet without one.
    ///
    /// # Errors
    /// `config` (`state`) when it is not of this plugin: the stream must be read anew.
    pub fn resume(state: Option<&[u8]>) -> Result<Self> {
        let Some(state) = state else { return Ok(Self { version: 1, high_water_us: None, place: None }) };
        serde_json::from_slice(state).map_err(|_| Error::config("the state is not of this plugin").code("state"))
    }

    /// Where a new read begins: the high-water mark less the lookback for an incremental one, never before what is wanted at
    /// all; `None` for everything. Microseconds since the epoch.
    pub fn begin_us(&self, spec: &StreamSpec) -> Option<i64> {
        let known_us = self.high_water_us.filter(|_| spec.sync == SyncMode::Incremental);
        let lookback_us = i64::try_from(spec.lookback_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        known_us.map(|us| us.saturating_sub(lookback_us)).max(spec.since_us)
    }

    /// Moves the high-water mark forward, never back.
    pub fn reach(&mut self, us: Option<i64>) {
        self.high_water_us = self.high_water_us.max(us);
    }

    /// The state to put into a page.
    ///
    /// # Errors
    /// `internal` when a place cannot be written as JSON.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|_| Error::internal("a place cannot be written as JSON"))
    }
}
