//! Looks into answers that are packed by their content and not by a header: personal values can be taken only out of what can be
//! read. Gzip is inflated; a tar of JSON files becomes one JSON array of what they hold, in their order. Names of files are never
//! used. What is packed in another way, or twice, is refused. (The `tar` crate reads from what blocks; answers come in pieces.)

use affluent_model::limits::{ARCHIVE_FILE_BYTES_MAX, ARCHIVE_FILES_MAX, ARCHIVE_NAME_BYTES_MAX};
use serde::de::IgnoredAny;

use super::body::inflate_error;
use super::inflate::Inflater;
use super::nesting::Nesting;
use crate::bindings::affluent::plugin::http::HttpError;

/// A header and the unit of a tar, bytes (POSIX.1-2017, `pax`, "ustar Interchange Format").
const BLOCK: usize = 512;
/// Places in a header: size of the file in octal, checksum, type, magic.
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..262;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// How zip, zstd, xz, bzip2 and compress begin.
const OTHERS: [&[u8]; 5] = [b"PK\x03\x04", &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X', b'Z', 0], b"BZh", &[0x1f, 0x9d]];
/// Bytes that tell how something is packed.
const BEGINNING: usize = 6;

/// What a piece came to.
pub(super) struct Unpacked {
    /// Bytes that were inflated for it.
    pub(super) inflated: u64,
    pub(super) shown: Vec<u8>,
}

/// Unpacks one answer.
pub(super) struct Unpacker {
    layer: Layer,
    content: Content,
}

enum Layer {
    /// What came until the beginning tells.
    Untold(Vec<u8>),
    None,
    Gzip(Box<Inflater>),
}

enum Content {
    /// What came until a header is whole.
    Untold(Vec<u8>),
    Plain,
    Tar(Tar),
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self { layer: Layer::Untold(Vec::new()), content: Content::Untold(Vec::new()) }
    }

    /// What may be shown now that `piece` came, of which at most `bytes_max` may be inflated.
    ///
    /// # Errors
    /// `too-large` over a limit, `invalid` for what cannot be looked into, `connect` for gzip that is broken.
    pub(super) fn push(&mut self, piece: &[u8], bytes_max: u64) -> Result<Unpacked, HttpError> {
        self.take(piece, bytes_max, false)
    }

    /// What was held back, at the end.
    ///
    /// # Errors
    /// As [`Self::push`]; `connect` for an archive that is cut off.
    pub(super) fn finish(&mut self, bytes_max: u64) -> Result<Unpacked, HttpError> {
        self.take(&[], bytes_max, true)
    }

    fn take(&mut self, piece: &[u8], bytes_max: u64, is_last: bool) -> Result<Unpacked, HttpError> {
        let joined;
        let mut piece = piece;
        if let Layer::Untold(held) = &mut self.layer {
            held.extend_from_slice(piece);
            if held.len() < BEGINNING && !is_last {
                return Ok(Unpacked { inflated: 0, shown: Vec::new() });
            }
            joined = std::mem::take(held);
            piece = &joined;
            refuse_packed(piece)?;
            self.layer = if piece.starts_with(GZIP) { Layer::Gzip(Box::new(Inflater::new())) } else { Layer::None };
        }
        let plain = match &mut self.layer {
            Layer::Gzip(inflater) => {
                let mut plain = inflater.push(piece, bytes_max).map_err(|error| inflate_error(&error, bytes_max))?;
                if is_last {
                    plain.extend(inflater.finish().map_err(|error| inflate_error(&error, bytes_max))?);
                }
                plain
            }
            _ => piece.to_vec(),
        };
        let inflated = u64::try_from(plain.len()).unwrap_or(u64::MAX);
        Ok(Unpacked { inflated, shown: self.content(plain, is_last)? })
    }

    fn content(&mut self, plain: Vec<u8>, is_last: bool) -> Result<Vec<u8>, HttpError> {
        let mut plain = plain;
        if let Content::Untold(held) = &mut self.content {
            held.extend(plain);
            if held.len() < BLOCK && !is_last {
                return Ok(Vec::new());
            }
            plain = std::mem::take(held);
            if matches!(self.layer, Layer::Gzip(_)) {
                refuse_packed(&plain)?;
                if plain.starts_with(GZIP) {
                    return Err(HttpError::Invalid("the answer is compressed twice".to_owned()));
                }
            }
            self.content = if is_tar(&plain) { Content::Tar(Tar::default()) } else { Content::Plain };
        }
        let Content::Tar(tar) = &mut self.content else { return Ok(plain) };
        let mut shown = tar.push(&plain)?;
        if is_last {
            shown.extend(tar.finish()?);
        }
        Ok(shown)
    }
}

fn refuse_packed(text: &[u8]) -> Result<(), HttpError> {
    if OTHERS.iter().any(|beginning| text.starts_with(beginning)) {
        return Err(HttpError::Invalid("the answer is packed in a way that cannot be looked into".to_owned()));
    }
    Ok(())
}

fn is_tar(text: &[u8]) -> bool {
    text.get(MAGIC) == Some(b"ustar") && text.get(..BLOCK).is_some_and(has_checksum)
}

/// The sum of all bytes of a header, in octal, its own place counted as spaces.
fn has_checksum(header: &[u8]) -> bool {
    let sum: u64 = header.iter().enumerate().map(|(at, byte)| u64::from(if CHECKSUM.contains(&at) { b' ' } else { *byte })).sum();
    header.get(CHECKSUM).and_then(octal) == Some(sum)
}

fn octal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// A tar on its way in.
#[derive(Default)]
struct Tar {
    header: Vec<u8>,
    /// Bytes still to come of what the last header is about, and of what fills its last block.
    left: usize,
    padding: usize,
    /// The file that is being read; `None` for what is passed over.
    file: Option<Vec<u8>>,
    files: usize,
    shown_any: bool,
    ended: bool,
    nesting: Nesting,
}

impl Tar {
    fn push(&mut self, piece: &[u8]) -> Result<Vec<u8>, HttpError> {
        let (mut rest, mut shown) = (piece, Vec::new());
        while !rest.is_empty() && !self.ended {
            if self.left > 0 {
                let (now, later) = rest.split_at(self.left.min(rest.len()));
                self.file.as_mut().into_iter().for_each(|file| file.extend_from_slice(now));
                self.left -= now.len();
                rest = later;
            } else if self.padding > 0 {
                let passed = self.padding.min(rest.len());
                self.padding -= passed;
                rest = rest.get(passed..).unwrap_or_default();
            } else {
                let (now, later) = rest.split_at((BLOCK - self.header.len()).min(rest.len()));
                self.header.extend_from_slice(now);
                rest = later;
                if self.header.len() == BLOCK {
                    self.begin()?;
                }
            }
            if self.left == 0
                && let Some(file) = self.file.take()
            {
                self.show(&file, &mut shown)?;
            }
        }
        Ok(shown)
    }

    /// Reads a header that is whole.
    fn begin(&mut self) -> Result<(), HttpError> {
        let header = std::mem::take(&mut self.header);
        if header.iter().all(|byte| *byte == 0) {
            self.ended = true;
            return Ok(());
        }
        let size = header.get(SIZE).and_then(octal).filter(|_| has_checksum(&header)).ok_or_else(|| invalid("is broken"))?;
        let is_file = matches!(header.get(TYPE), Some(b'0' | b'7' | 0));
        // Directories, and headers that hold long names.
        if !is_file && !matches!(header.get(TYPE), Some(b'5' | b'x' | b'g' | b'L' | b'K')) {
            return Err(invalid("holds something else than files"));
        }
        let bytes_max = if is_file { ARCHIVE_FILE_BYTES_MAX } else { ARCHIVE_NAME_BYTES_MAX };
        self.files += 1;
        if self.files > ARCHIVE_FILES_MAX {
            return Err(invalid("holds too many files"));
        }
        self.left = usize::try_from(size)
            .ok()
            .filter(|size| *size <= bytes_max)
            .ok_or_else(|| HttpError::TooLarge(u64::try_from(bytes_max).unwrap_or(u64::MAX)))?;
        self.padding = (BLOCK - self.left % BLOCK) % BLOCK;
        self.file = is_file.then(Vec::new);
        Ok(())
    }

    fn show(&mut self, file: &[u8], shown: &mut Vec<u8>) -> Result<(), HttpError> {
        if file.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        serde_json::from_slice::<IgnoredAny>(file).map_err(|_| invalid("holds a file that is no JSON"))?;
        self.nesting.push(file)?;
        shown.push(if self.shown_any { b',' } else { b'[' });
        shown.extend_from_slice(file);
        self.shown_any = true;
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<u8>, HttpError> {
        if self.left > 0 || !self.header.is_empty() {
            return Err(HttpError::Connect("the archive is cut off".to_owned()));
        }
        Ok(if self.shown_any { b"]".to_vec() } else { b"[]".to_vec() })
    }
}

fn invalid(what: &str) -> HttpError {
    HttpError::Invalid(format!("the answer's archive {what}"))
}
