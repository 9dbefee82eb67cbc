//! Reads an answer's body in pieces: inflates it here, counts bytes before and after, and stops at the limits while
//! reading, so that neither a large answer nor a small one that inflates without end fills memory (security B-24).

use std::io;

use reqwest::header::{CONTENT_ENCODING, HeaderMap};

use super::inflate::Inflater;
use super::nesting::Nesting;
use super::redact::StreamScrubber;
use super::refusal::Refusals;
use super::unpack::{Unpacked, Unpacker};
use crate::bindings::affluent::plugin::http::HttpError;

/// Bytes out per byte in, once there is more than [`RATIO_FREE_BYTES`].
const RATIO_MAX: u64 = 200;
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// How much may be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimits {
    pub(crate) wire: u64,
    pub(crate) plain: u64,
}

impl BodyLimits {
    /// Whole bodies: 32 MiB on the wire (B-24), 16 MiB for the guest (the contract's default).
    pub(crate) const WHOLE: Self = Self { wire: 32 << 20, plain: 16 << 20 };
    /// Bodies read piece by piece: bulk exports.
    pub(crate) const STREAM: Self = Self { wire: 8 << 30, plain: 64 << 30 };
}

/// An answer's body on its way in.
pub(crate) struct BodyReader {
    response: reqwest::Response,
    gzip: Option<Inflater>,
    unpacker: Option<Unpacker>,
    nesting: Option<Nesting>,
    scrubber: StreamScrubber,
    refusals: Refusals,
    limits: BodyLimits,
    wire_bytes: u64,
    plain_bytes: u64,
    ended: bool,
}

impl BodyReader {
    /// # Errors
    /// `too-large` when the announced length is over the limit; `invalid` for an encoding that was not asked for.
    pub(crate) fn new(
        response: reqwest::Response,
        limits: BodyLimits,
        scrubber: StreamScrubber,
        refusals: Refusals,
    ) -> Result<Self, HttpError> {
        if response.content_length().is_some_and(|length| length > limits.wire) {
            return Err(refusals.refuse(HttpError::TooLarge(limits.wire)));
        }
        let gzip = decoder(response.headers()).map_err(|error| refusals.refuse(error))?;
        let nesting = Nesting::of(response.headers());
        let unpacker = None;
        Ok(Self { response, gzip, unpacker, nesting, scrubber, refusals, limits, wire_bytes: 0, plain_bytes: 0, ended: false })
    }

    /// Looks into what is packed by its content, too: for answers that personal values are taken out of.
    pub(crate) fn unpacking(self, is_wanted: bool) -> Self {
        Self { unpacker: is_wanted.then(Unpacker::new), ..self }
    }

    /// The next piece, never empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let piece = self.next_piece().await;
        piece.map_err(|error| self.refusals.refuse(error))
    }

    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        while !self.ended {
            let piece = match self.response.chunk().await {
                Ok(Some(chunk)) => self.take(&chunk)?,
                Ok(None) => self.finish()?,
                Err(error) => return Err(super::error::transport_error(&error)),
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The rest of the body.
    pub(crate) async fn read_all(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(piece) = self.next().await? {
            if body.is_empty() { body = piece } else { body.extend_from_slice(&piece) }
        }
        Ok(body)
    }

    /// Bytes that came over the wire so far.
    pub(crate) fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    fn take(&mut self, chunk: &[u8]) -> Result<Vec<u8>, HttpError> {
        self.wire_bytes = self.wire_bytes.saturating_add(length(chunk));
        if self.wire_bytes > self.limits.wire {
            return Err(HttpError::TooLarge(self.limits.wire));
        }
        let plain = match &mut self.gzip {
            Some(inflater) => {
                let rest = self.limits.plain.saturating_sub(self.plain_bytes);
                inflater.push(chunk, rest).map_err(|error| inflate_error(&error, self.limits.plain))?
            }
            None => chunk.to_vec(),
        };
        self.show(plain, false)
    }

    fn finish(&mut self) -> Result<Vec<u8>, HttpError> {
        self.ended = true;
        let last = match self.gzip.take() {
            Some(mut inflater) if self.wire_bytes > 0 => {
                inflater.finish().map_err(|error| inflate_error(&error, self.limits.plain))?
            }
            _ => Vec::new(),
        };
        let mut shown = self.show(last, true)?;
        shown.extend(self.scrubber.finish());
        Ok(shown)
    }

    /// What the guest may see of inflated bytes.
    fn show(&mut self, plain: Vec<u8>, is_last: bool) -> Result<Vec<u8>, HttpError> {
        let rest = self.limits.plain.saturating_sub(self.plain_bytes);
        let Unpacked { inflated, shown } = match &mut self.unpacker {
            Some(unpacker) => {
                let mut unpacked = unpacker.push(&plain, rest)?;
                if is_last {
                    let Unpacked { inflated, shown } = unpacker.finish(rest.saturating_sub(unpacked.inflated))?;
                    unpacked.inflated += inflated;
                    unpacked.shown.extend(shown);
                }
                unpacked
            }
            None => Unpacked { inflated: length(&plain), shown: plain },
        };
        self.count(inflated, &shown)?;
        Ok(self.scrubber.push(shown))
    }

    /// Counts what was inflated, and how deep it is nested.
    fn count(&mut self, inflated: u64, shown: &[u8]) -> Result<(), HttpError> {
        self.plain_bytes = self.plain_bytes.saturating_add(inflated);
        let swollen = self.plain_bytes > RATIO_FREE_BYTES && self.plain_bytes / RATIO_MAX > self.wire_bytes;
        if self.plain_bytes > self.limits.plain || swollen {
            return Err(HttpError::TooLarge(self.limits.plain));
        }
        self.nesting.as_mut().map_or(Ok(()), |nesting| nesting.push(shown))
    }
}

/// What inflates the body: one layer of gzip or none (security B-24).
fn decoder(headers: &HeaderMap) -> Result<Option<Inflater>, HttpError> {
    let encodings: Vec<Vec<u8>> =
        headers.get_all(CONTENT_ENCODING).iter().map(|value| value.as_bytes().to_ascii_lowercase()).collect();
    match encodings.iter().map(Vec::as_slice).collect::<Vec<_>>().as_slice() {
        [] | [b"" | b"identity"] => Ok(None),
        [b"gzip" | b"x-gzip"] => Ok(Some(Inflater::new())),
        _ => Err(HttpError::Invalid("the answer has a content encoding that was not asked for".to_owned())),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

pub(super) fn inflate_error(error: &io::Error, bytes_max: u64) -> HttpError {
    if error.kind() == io::ErrorKind::StorageFull {
        return HttpError::TooLarge(bytes_max);
    }
    HttpError::Connect("the answer is cut off or its compression is broken".to_owned())
}
