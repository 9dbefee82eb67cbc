//! Reads a stream line by line. A line that is no record is rejected with its number and never stops the read.

use affluent_sdk::file_streams::{FileQueue, OpenFile, PAGE_REJECTED_MAX, RECORD_BYTES_MAX, matching_inputs};
use affluent_sdk::runtime::{self, Level};
use affluent_sdk::{
    ColumnsBuilder, Error, Field, Limits, Page, Part, Position, RejectedRow, Result, Source, StreamSchema, StreamSpec, SyncMode,
};

use crate::config::{Config, StreamConfig};
use crate::discover::describe;
use crate::record::{Column, RecordReader};

/// Bytes of a value at most besides its text: an offset, or a number.
const FIXED_BYTES_MAX: usize = 12;

/// One open stream.
#[derive(Debug)]
pub struct JsonlSource {
    stream: StreamSchema,
    sync: SyncMode,
    queue: FileQueue,
    file: Option<OpenFile>,
    reader: RecordReader,
    rows: ColumnsBuilder,
    rejected: Vec<RejectedRow>,
    /// Bytes of the file that became this page so far.
    page_text_bytes: usize,
}

impl Source for JsonlSource {
    type Config = Config;

    fn discover(config: &Config) -> Result<Vec<StreamSchema>> {
        config.streams.iter().map(|(name, stream)| describe(name, stream)).collect()
    }

    fn open(config: Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let config = config.stream(&spec.stream.name)?;
        let columns = spec.stream.fields.iter().map(|field| column_of(field, &spec.stream, config));
        Ok(Self {
            queue: FileQueue::new(matching_inputs(&config.files), state.as_deref())?,
            file: None,
            reader: RecordReader::new(columns.collect::<Result<Vec<Column>>>()?),
            rows: ColumnsBuilder::new(&spec.stream.fields),
            stream: spec.stream,
            sync: spec.sync,
            rejected: Vec::new(),
            page_text_bytes: 0,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        let mut position = Position::More;
        while self.has_room(limits) {
            let file = match self.file.take() {
                Some(file) => Some(file),
                None => self.queue.next_file()?,
            };
            let Some(mut file) = file else {
                position = if self.sync == SyncMode::Incremental { Position::Idle } else { Position::End };
                self.log_ignored();
                break;
            };
            let read = self.read_lines(&mut file, limits);
            // Kept after an error too: the host may call again.
            if !matches!(read, Ok(false)) {
                self.file = Some(file);
            }
            read?;
        }
        let state = Some(self.queue.state(self.file.as_ref())?);
        let columns = self.rows.finish();
        self.page_text_bytes = 0;
        let parts = if columns.rows == 0 { Vec::new() } else { vec![Part::upsert(&self.stream.name, columns)] };
        Ok(Page { parts, rejected: std::mem::take(&mut self.rejected), state, position })
    }
}

/// The column of the file that a field comes from.
fn column_of(field: &Field, stream: &StreamSchema, config: &StreamConfig) -> Result<Column> {
    let renamed = config.columns.iter().find(|(_, settings)| settings.rename.as_ref() == Some(&field.name));
    let name = renamed.map_or(&field.name, |(name, _)| name);
    let format = config.columns.get(name).map(|settings| settings.date_format()).transpose()?.flatten();
    Ok(Column::new(name, format, stream.primary_key.contains(&field.name)))
}

impl JsonlSource {
    fn has_room(&self, limits: Limits) -> bool {
        self.rows.rows() < limits.max_rows as usize
            && self.has_bytes_left(limits.max_bytes as usize)
            && self.rejected.len() < PAGE_REJECTED_MAX
    }

    /// Adding up the columns for every record would cost as much as a field: an upper bound is enough until it is not.
    fn has_bytes_left(&self, bytes_max: usize) -> bool {
        let fixed_bytes = self.rows.rows() * self.stream.fields.len() * FIXED_BYTES_MAX;
        self.page_text_bytes + fixed_bytes < bytes_max || self.rows.bytes() < bytes_max
    }

    /// Reads lines until the page is full or the file ends; whether the file has more.
    fn read_lines(&mut self, file: &mut OpenFile, limits: Limits) -> Result<bool> {
        while self.has_room(limits) {
            if let Some(length) = memchr::memchr(b'\n', file.rest()) {
                self.take_line(file, length);
                file.advance(length + 1, 1);
            } else if file.is_at_end() {
                let start = (file.offset(), file.line());
                let length = file.rest().len();
                self.take_line(file, length);
                file.advance(length, 1);
                self.queue.finish(file, Some(start));
                return Ok(false);
            } else if file.rest().len() > RECORD_BYTES_MAX {
                self.reject_long_line(file)?;
            } else {
                file.fill()?;
            }
        }
        Ok(true)
    }

    /// Takes the line of `length` bytes at the start of the rest as a record, or rejects it. Blank lines are skipped.
    fn take_line(&mut self, file: &OpenFile, length: usize) {
        let raw = file.rest().get(..length).unwrap_or_default();
        self.page_text_bytes += length;
        if raw.trim_ascii().is_empty() {
            return;
        }
        let read = std::str::from_utf8(raw)
            .map_err(|_| Error::invalid_data("the line is not valid UTF-8").code("jsonl.encoding"))
            .and_then(|line| self.reader.read(line, &mut self.rows));
        if let Err(error) = read {
            self.rows.undo_row();
            self.rejected.push(RejectedRow::new(&self.stream.name, file.place(), &error, raw));
        }
    }

    fn reject_long_line(&mut self, file: &mut OpenFile) -> Result<()> {
        let error = Error::invalid_data("the line is longer than 1 MiB").code("jsonl.too_long");
        self.rejected.push(RejectedRow::new(&self.stream.name, file.place(), &error, file.rest()));
        loop {
            if let Some(length) = memchr::memchr(b'\n', file.rest()) {
                file.advance(length + 1, 1);
                return Ok(());
            }
            file.advance(file.rest().len(), 0);
            if file.is_at_end() {
                return Ok(());
            }
            file.fill()?;
        }
    }

    /// Says once what was in the files and not in the stream. Inner names are left out: they may be dictionary keys.
    fn log_ignored(&mut self) {
        let count = std::mem::take(&mut self.reader.ignored_count);
        if count > 0 {
            let names = std::mem::take(&mut self.reader.ignored_names).join(", ");
            let fields = [("stream", self.stream.name.as_str()), ("count", &count.to_string()), ("names", &names)];
            runtime::log(Level::Warn, "values of fields that are not part of the stream were ignored", &fields);
        }
    }
}

#[cfg(test)]
mod tests;
