//! Plays a recording: each request gets the answer that the same request got when it was recorded, those that were asked
//! several times in their order. A request that is not in the recording is refused and told at the end.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};

use affluent_model::{Error, Result};
use sha2::{Digest, Sha256};
use url::Url;

use super::file::{self, Exchange};
use super::{Matching, RecordedClock, locked, seeded};
use crate::blind;
use crate::options::{Clock, RandomSource};

/// Requests without an answer that are told by name.
const MISSES_TOLD_MAX: usize = 20;
/// A segment of a path at least this long that holds a digit is somebody's id.
const ID_CHARS_MIN: usize = 16;

/// What a request gets that was recorded fewer times than it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing: the run is another than the one that was recorded.
    Refuse,
    /// Its last answer again: a test reads the same page in many ways.
    LastAnswer,
}

/// A recording in memory.
#[derive(Debug)]
pub struct Replay {
    recorded_at_us: i64,
    seed: [u8; 32],
    repeats: Repeats,
    /// By connection.
    tapes: BTreeMap<String, Mutex<Tape>>,
    misses: Mutex<Vec<String>>,
}

#[derive(Debug, Default)]
struct Tape {
    exchanges: Vec<(Exchange, bool)>,
    /// Places in `exchanges`, in their order.
    by_request: HashMap<[u8; 32], Vec<usize>>,
    by_url: HashMap<String, Vec<usize>>,
    by_shape: HashMap<String, Vec<usize>>,
    /// Token of the recording → the one that stands for it now.
    tokens: HashMap<Vec<u8>, Vec<u8>>,
}

/// A request that looks for its answer.
pub(crate) struct Wanted<'a> {
    pub(crate) connection: &'a str,
    pub(crate) method: &'a str,
    pub(crate) url: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) matching: Matching,
}

impl Replay {
    /// Reads the recording in a folder.
    ///
    /// # Errors
    /// `E0920` when there is none, `E0923` when a file is no recording of this version.
    pub fn open(folder: &Path, repeats: Repeats) -> Result<Self> {
        let mut tapes = BTreeMap::new();
        let (mut recorded_at_us, mut seed) = (i64::MAX, [0; 32]);
        for path in file::files(folder)? {
            let (header, exchanges) = file::read(&path)?;
            recorded_at_us = recorded_at_us.min(header.recorded_at_us);
            seed = Sha256::digest(header.seed.as_bytes()).into();
            tapes.insert(header.connection, Mutex::new(Tape::of(exchanges)));
        }
        Ok(Self { recorded_at_us, seed, repeats, tapes, misses: Mutex::default() })
    }

    /// When the recording began, microseconds UTC.
    #[must_use]
    pub fn recorded_at_us(&self) -> i64 {
        self.recorded_at_us
    }

    /// The connections it has exchanges of, sorted.
    #[must_use]
    pub fn connections(&self) -> Vec<&str> {
        self.tapes.keys().map(String::as_str).collect()
    }

    /// The time of the recording; sleeping takes none.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RecordedClock::jumping(self.recorded_at_us))
    }

    /// The randomness that guests get: the same in every replay.
    #[must_use]
    pub fn random(&self) -> RandomSource {
        seeded(self.seed)
    }

    /// Recorded exchanges that nobody asked for.
    #[must_use]
    pub fn unused(&self) -> usize {
        self.tapes.values().map(|tape| locked(tape).exchanges.iter().filter(|(_, is_used)| !is_used).count()).sum()
    }

    /// The error of a run that asked for what was not recorded.
    ///
    /// # Errors
    /// `E0924` with the requests, at most twenty of them.
    pub fn check(&self) -> Result<()> {
        let misses = locked(&self.misses);
        let Some(first) = misses.first() else { return Ok(()) };
        let error = Error::configuration("E0924", format!("the recording has no answer to {first}"));
        let error = misses.iter().skip(1).fold(error, |error, miss| error.at(format!("nor to {miss}")));
        Err(error
            .help("record again with `affluent run --record DIR`: the pipelines or their plugins ask for something else now"))
    }

    /// The recorded answer.
    ///
    /// # Errors
    /// What the request is, when it was not recorded, or not so often.
    pub(crate) fn answer(&self, wanted: &Wanted<'_>) -> Result<Exchange, String> {
        let found = self.tapes.get(wanted.connection).and_then(|tape| locked(tape).take(wanted, self.repeats));
        found.ok_or_else(|| {
            let url = wanted.url.split('?').next().unwrap_or_default();
            let miss = format!("{} {url} of connection `{}`", wanted.method, wanted.connection);
            let mut misses = locked(&self.misses);
            if misses.len() < MISSES_TOLD_MAX && !misses.contains(&miss) {
                misses.push(miss.clone());
            }
            format!("the recording has no answer to {miss}")
        })
    }
}

impl Tape {
    fn of(exchanges: Vec<Exchange>) -> Self {
        let mut tape = Self::default();
        for (place, exchange) in exchanges.iter().enumerate() {
            let request = &exchange.request;
            let body = request.body.as_ref().and_then(file::Body::bytes).unwrap_or_default();
            tape.by_request.entry(digest(&request.method, &request.url, &body)).or_default().push(place);
            tape.by_url.entry(format!("{} {}", request.method, request.url)).or_default().push(place);
            tape.by_shape.entry(shape(&request.method, &request.url)).or_default().push(place);
        }
        tape.exchanges = exchanges.into_iter().map(|exchange| (exchange, false)).collect();
        tape
    }

    fn take(&mut self, wanted: &Wanted<'_>, repeats: Repeats) -> Option<Exchange> {
        let place = self.find(wanted, repeats)?;
        let (exchange, is_used) = self.exchanges.get_mut(place)?;
        *is_used = true;
        let mut exchange = exchange.clone();
        self.learn_tokens(&exchange, wanted);
        if !self.tokens.is_empty()
            && let Some(response) = &mut exchange.response
            && let Some(body) = response.body.as_ref().and_then(file::Body::bytes)
        {
            response.body = file::Body::of(&self.with_tokens_of_now(&body));
        }
        Some(exchange)
    }

    /// A recording's tokens were made with a key that is not kept: those of a request stand where now others stand.
    fn learn_tokens(&mut self, exchange: &Exchange, wanted: &Wanted<'_>) {
        let body = exchange.request.body.as_ref().and_then(file::Body::bytes).unwrap_or_default();
        let (then, now) = ([exchange.request.url.as_bytes(), &body].concat(), [wanted.url.as_bytes(), wanted.body].concat());
        let (then, now) = (blind::tokens_in(&then), blind::tokens_in(&now));
        if then.len() == now.len() {
            self.tokens.extend(then.into_iter().zip(now).map(|(then, now)| (then.to_vec(), now.to_vec())));
        }
    }

    fn with_tokens_of_now(&self, body: &[u8]) -> Vec<u8> {
        let (mut new, mut rest) = (Vec::with_capacity(body.len()), body);
        for then in blind::tokens_in(body) {
            let at = memchr::memmem::find(rest, then).unwrap_or(0);
            let (before, found) = rest.split_at(at);
            new.extend_from_slice(before);
            new.extend_from_slice(self.tokens.get(then).map_or(then, Vec::as_slice));
            rest = found.get(then.len()..).unwrap_or_default();
        }
        [new, rest.to_vec()].concat()
    }

    fn find(&self, wanted: &Wanted<'_>, repeats: Repeats) -> Option<usize> {
        let exact = self.by_request.get(&digest(wanted.method, wanted.url, wanted.body));
        let (by_url, by_shape) = match wanted.matching {
            Matching::Exact => (None, None),
            Matching::Target => (
                self.by_url.get(&format!("{} {}", wanted.method, wanted.url)),
                self.by_shape.get(&shape(wanted.method, wanted.url)),
            ),
        };
        let is_free = |place: &&usize| self.exchanges.get(**place).is_some_and(|(_, is_used)| !is_used);
        let places = [exact, by_url, by_shape];
        let next = places.iter().flatten().find_map(|places| places.iter().find(is_free));
        let last = || places.iter().flatten().find_map(|places| places.last());
        next.or_else(|| last().filter(|_| repeats == Repeats::LastAnswer)).copied()
    }
}

fn digest(method: &str, url: &str, body: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(method)
        .chain_update("\n")
        .chain_update(url)
        .chain_update("\n")
        .chain_update(body)
        .finalize()
        .into()
}

/// A URL without the values in it: ids in its path and the values of its query are those of one record.
fn shape(method: &str, url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    let is_value = |segment: &str| {
        segment.contains(['@', '%']) || segment.len() >= ID_CHARS_MIN && segment.contains(|c: char| c.is_ascii_digit())
    };
    let path: Vec<&str> = url.path().split('/').map(|segment| if is_value(segment) { "*" } else { segment }).collect();
    let names: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    format!("{method} {} {} {}", url.host_str().unwrap_or_default(), path.join("/"), names.join("&"))
}
