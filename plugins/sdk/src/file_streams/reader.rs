//! Files of a stream one after the other, each in chunks: a file is never held in memory.

use std::collections::VecDeque;

use super::places::Places;
use crate::error::Result;
use crate::files::{Input, Reader};
use crate::runtime;

/// Bytes read at once: large enough that calls cost nothing, small enough for many readers at a time.
const CHUNK_BYTES: u32 = 512 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The files of a stream that still have something to read.
#[derive(Debug)]
pub struct FileQueue {
    inputs: VecDeque<Input>,
    places: Places,
}

impl FileQueue {
    /// Files in the order of `inputs`, from where `state` says.
    ///
    /// # Errors
    /// As [`Places::decode`].
    pub fn new(inputs: Vec<Input>, state: Option<&[u8]>) -> Result<Self> {
        let mut places = Places::decode(state)?;
        places.keep_only(&inputs);
        Ok(Self { inputs: inputs.into(), places })
    }

    /// Opens the next file that has something new; `None` when there is none.
    ///
    /// # Errors
    /// Those of [`Reader`].
    pub fn next_file(&mut self) -> Result<Option<OpenFile>> {
        while let Some(input) = self.inputs.pop_front() {
            if let Some((offset, line)) = self.places.start_of(&input) {
                return OpenFile::open(input, offset, line).map(Some);
            }
        }
        Ok(None)
    }

    /// The state with `file` read as far as it has been advanced, and earlier ones as they were left.
    ///
    /// # Errors
    /// As [`Places::encode`].
    pub fn state(&mut self, file: Option<&OpenFile>) -> Result<Vec<u8>> {
        if let Some(file) = file {
            self.places.set(&file.input, file.offset, file.line, false);
        }
        self.places.encode()
    }

    /// Notes that everything in `file` has been read. `last_start` is offset and line of a last record that had no line
    /// end: it is read again should the file grow.
    pub fn finish(&mut self, file: &OpenFile, last_start: Option<(u64, u64)>) {
        let (offset, line) = last_start.unwrap_or((file.offset, file.line));
        self.places.set(&file.input, offset, line, true);
    }
}

/// A file being read.
#[derive(Debug)]
pub struct OpenFile {
    input: Input,
    reader: Reader,
    buffer: Vec<u8>,
    /// Where in the buffer the next record starts.
    start: usize,
    /// The same place in the file.
    offset: u64,
    /// Its physical line, from 1.
    line: u64,
    is_at_end: bool,
}

impl OpenFile {
    /// Opens a file at a place where a record starts. If no line ends right before it, the file was rewritten and is
    /// read from its start. A byte order mark is skipped.
    ///
    /// # Errors
    /// Those of [`Reader`].
    pub fn open(input: Input, offset: u64, line: u64) -> Result<Self> {
        let reader = Reader::open(&input.name)?;
        let mut file = Self { input, reader, buffer: Vec::new(), start: 0, offset: 0, line: 1, is_at_end: false };
        if offset > 0 {
            file.reader.seek(offset - 1)?;
            if file.reader.read(1)?.as_deref() == Some(b"\n") {
                (file.offset, file.line) = (offset, line);
                return Ok(file);
            }
            runtime::warn(&format!("`{}` was rewritten since it was last read: reading it from its start", file.name()));
            file.reader.seek(0)?;
        }
        file.fill()?;
        if file.rest().starts_with(BYTE_ORDER_MARK) {
            file.advance(BYTE_ORDER_MARK.len(), 0);
        }
        Ok(file)
    }

    /// Another view of the same file, at its start.
    ///
    /// # Errors
    /// As [`OpenFile::open`].
    pub fn at_start(&self) -> Result<Self> {
        Self::open(self.input.clone(), 0, 1)
    }

    /// The input's name.
    pub fn name(&self) -> &str {
        &self.input.name
    }

    /// What has been read and not yet been taken.
    pub fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Where the rest starts in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The physical line at which the rest starts, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// True once [`OpenFile::rest`] is all there is.
    pub fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// "customers.csv line 17", for the record at the start of the rest.
    pub fn place(&self) -> String {
        format!("{} line {}", self.name(), self.line)
    }

    /// Takes `bytes` of the rest, in which `lines` lines end.
    pub fn advance(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.offset += bytes as u64;
        self.line += lines;
    }

    /// Reads another chunk behind the rest.
    ///
    /// # Errors
    /// Those of [`Reader`].
    pub fn fill(&mut self) -> Result<()> {
        match self.reader.read(CHUNK_BYTES)? {
            Some(chunk) if self.rest().is_empty() => {
                self.buffer = chunk;
                self.start = 0;
            }
            Some(chunk) => {
                self.buffer.drain(..self.start);
                self.start = 0;
                self.buffer.extend_from_slice(&chunk);
            }
            None => self.is_at_end = true,
        }
        Ok(())
    }
}
