//! Lines of an answer that is read piece by piece: exports in JSON lines, of any size. Counts bytes, so that a later
//! process can go on where a page ended.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::http::Body;

/// Bytes asked of the answer at once.
const CHUNK_BYTES: u32 = 256 << 10;

/// An answer being read line by line.
#[derive(Debug)]
pub struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    start: usize,
}

impl Lines {
    /// Skips `offset` bytes, the end of a line in an earlier reading.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn from(body: Body, offset: u64) -> Result<Self> {
        let mut lines = Self { body, buffer: Vec::new(), start: 0 };
        let mut rest = offset;
        while rest > 0 && lines.fill()? {
            let skipped = usize::try_from(rest).unwrap_or(usize::MAX).min(lines.buffer.len());
            lines.buffer.drain(..skipped);
            rest -= skipped as u64;
        }
        Ok(lines)
    }

    /// The next line without its end, and its bytes with it; `None` at the end of the answer.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn next_line(&mut self) -> Result<Option<(Vec<u8>, u64)>> {
        let mut searched = self.start;
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|byte| *byte == b'\n') {
                let end = searched + length;
                let line = self.buffer.get(self.start..end).unwrap_or_default().to_vec();
                self.start = end + 1;
                let bytes = line.len() as u64 + 1;
                return Ok(Some((line, bytes)));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            searched = self.buffer.len();
            if !self.fill()? {
                let last = std::mem::take(&mut self.buffer);
                let bytes = last.len() as u64;
                return Ok(Some((last, bytes)).filter(|(last, _)| !last.is_empty()));
            }
        }
    }

    /// Reads on; false at the end.
    fn fill(&mut self) -> Result<bool> {
        let chunk = self.body.read(CHUNK_BYTES)?;
        self.buffer.extend_from_slice(chunk.as_deref().unwrap_or_default());
        Ok(chunk.is_some())
    }
}

/// An export in JSON lines that is read record by record, and goes on in a later process where a page ended.
#[derive(Debug)]
pub struct JsonLines {
    /// An export of nothing has no file.
    lines: Option<Lines>,
    /// Bytes and records taken so far.
    place: (u64, u64),
    next: Option<(Value, u64)>,
}

impl JsonLines {
    /// Goes on after so many bytes and records; `None` is an export without a file.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub fn from(body: Option<Body>, bytes: u64, records: u64) -> Result<Self> {
        let lines = body.map(|body| Lines::from(body, bytes)).transpose()?;
        Ok(Self { lines, place: (bytes, records), next: None })
    }

    /// The record that [`JsonLines::take`] gives; `None` at the end.
    ///
    /// # Errors
    /// `transient` (`lines.broken`) for a line that is no JSON: usually a file that breaks off. Compare [`JsonLines::place`] with
    /// what the service says the export holds to notice one that ends between two lines.
    pub fn peek(&mut self) -> Result<Option<&Value>> {
        if self.next.is_none() {
            let Some((line, bytes)) = self.lines.as_mut().map_or(Ok(None), Lines::next_line)? else { return Ok(None) };
            let broken = |_| Error::transient("the export breaks off").code("lines.broken");
            self.next = Some((serde_json::from_slice(&line).map_err(broken)?, bytes));
        }
        Ok(self.next.as_ref().map(|(record, _)| record))
    }

    /// Takes the record that was looked at; null when none was.
    pub fn take(&mut self) -> Value {
        let (record, bytes) = self.next.take().unwrap_or_default();
        self.place = (self.place.0 + bytes, self.place.1 + u64::from(bytes > 0));
        record
    }

    /// Bytes and records taken so far.
    pub fn place(&self) -> (u64, u64) {
        self.place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{http, testing};

    fn lines_of(text: &str, offset: u64) -> Vec<(String, u64)> {
        let text = text.to_owned();
        testing::on_http(move |_| Ok(testing::response(200, &text)));
        let (_, body) = http::get("https://x.test/export").open().unwrap();
        let mut lines = Lines::from(body, offset).unwrap();
        let mut all = Vec::new();
        while let Some((line, bytes)) = lines.next_line().unwrap() {
            all.push((String::from_utf8(line).unwrap(), bytes));
        }
        all
    }

    #[test]
    fn lines_are_given_with_their_bytes() {
        assert_eq!(lines_of("é\n\nlast", 0), [("é".to_owned(), 3), (String::new(), 1), ("last".to_owned(), 4)]);
        assert_eq!(lines_of("", 0), []);
    }

    #[test]
    fn reading_goes_on_after_the_bytes_of_the_lines_before() {
        assert_eq!(lines_of("one\ntwo\n", 4), [("two".to_owned(), 4)]);
        assert_eq!(lines_of("one\n", 4), []);
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_whole() {
        let long = "x".repeat(CHUNK_BYTES as usize * 2 + 5);

        assert_eq!(lines_of(&format!("{long}\nend\n"), 0), [(long.clone(), long.len() as u64 + 1), ("end".to_owned(), 4)]);
    }
}
