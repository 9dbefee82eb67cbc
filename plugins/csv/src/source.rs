//! Reads a stream: records go straight from the chunk into columns. What does not fit is rejected with its line.

use affluent_sdk::date_format::DateFormat;
use affluent_sdk::file_streams::{FileQueue, OpenFile, PAGE_REJECTED_MAX, RECORD_BYTES_MAX, is_plain_number, matching_inputs};
use affluent_sdk::{
    ColumnBuilder, ColumnsBuilder, Error, FieldType, Limits, Page, Part, Position, RejectedRow, Result, Source, StreamSchema,
    StreamSpec, SyncMode,
};

use crate::config::{Config, StreamConfig};
use crate::discover::{describe, other_header};
use crate::header::{read_names, undouble};
use crate::scan::{Dialect, Flaw, Scan, Span, scan};

/// Bytes of a value at most besides its text: an offset, or a number.
const FIXED_BYTES_MAX: usize = 12;

/// One open stream.
#[derive(Debug)]
pub struct CsvSource {
    stream: StreamSchema,
    sync: SyncMode,
    config: StreamConfig,
    dialect: Dialect,
    queue: FileQueue,
    file: Option<OpenFile>,
    /// Header and name of the first file that was opened.
    header: Option<(Vec<String>, String)>,
    columns: Vec<Column>,
    rows: ColumnsBuilder,
    spans: Vec<Span>,
    rejected: Vec<RejectedRow>,
    /// Bytes of the file that became this page so far.
    page_text_bytes: usize,
}

/// Where a field of the stream comes from, and how its text is read.
#[derive(Debug)]
struct Column {
    /// Its position in the file.
    position: usize,
    reading: Reading,
    is_required: bool,
}

#[derive(Debug)]
enum Reading {
    /// As the type reads text.
    Plain,
    /// A number whose type was guessed.
    GuessedNumber,
    Format(DateFormat),
}

impl Source for CsvSource {
    type Config = Config;

    fn discover(config: &Config) -> Result<Vec<StreamSchema>> {
        config.streams.iter().map(|(name, stream)| describe(name, stream)).collect()
    }

    fn open(config: Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let config = config.stream(&spec.stream.name)?.clone();
        Ok(Self {
            dialect: config.dialect()?,
            queue: FileQueue::new(matching_inputs(&config.files), state.as_deref())?,
            rows: ColumnsBuilder::new(&spec.stream.fields),
            stream: spec.stream,
            sync: spec.sync,
            config,
            file: None,
            header: None,
            columns: Vec::new(),
            spans: Vec::new(),
            rejected: Vec::new(),
            page_text_bytes: 0,
        })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        let mut position = Position::More;
        while self.has_room(limits) {
            let Some(mut file) = self.take_file()? else {
                position = if self.sync == SyncMode::Incremental { Position::Idle } else { Position::End };
                break;
            };
            let read = self.read_records(&mut file, limits);
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

impl CsvSource {
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

    /// The file being read, or the next one with its header taken.
    fn take_file(&mut self) -> Result<Option<OpenFile>> {
        if let Some(file) = self.file.take() {
            return Ok(Some(file));
        }
        while let Some(mut file) = self.queue.next_file()? {
            let names = if file.line() == 1 {
                read_names(&mut file, &self.config, self.dialect)?
            } else {
                read_names(&mut file.at_start()?, &self.config, self.dialect)?
            };
            match names {
                Some(names) => {
                    self.lay_out(names, file.name())?;
                    return Ok(Some(file));
                }
                None => self.queue.finish(&file, None),
            }
        }
        Ok(None)
    }

    /// Finds the stream's fields in the header; every file must have the same.
    fn lay_out(&mut self, names: Vec<String>, file_name: &str) -> Result<()> {
        if let Some((known, first_name)) = &self.header {
            return if *known == names { Ok(()) } else { Err(other_header(file_name, first_name)) };
        }
        for field in &self.stream.fields {
            let settings_of = |name: &String| self.config.columns.get(name);
            let is_field =
                |name: &String| settings_of(name).and_then(|settings| settings.rename.as_ref()).unwrap_or(name) == &field.name;
            let Some(position) = names.iter().position(is_field) else {
                let message = format!("file `{file_name}` has no column for field `{}`", field.name);
                return Err(Error::config(message).code("csv.header"));
            };
            let settings = names.get(position).and_then(settings_of);
            let is_declared = settings.is_some_and(|settings| settings.field_type.is_some());
            let reading = match settings.map(|settings| settings.date_format()).transpose()?.flatten() {
                Some(format) => Reading::Format(format),
                None if !is_declared && matches!(field.field_type, FieldType::Integer | FieldType::Decimal) => {
                    Reading::GuessedNumber
                }
                None => Reading::Plain,
            };
            let is_required = self.stream.primary_key.contains(&field.name);
            self.columns.push(Column { position, reading, is_required });
        }
        self.header = Some((names, file_name.to_owned()));
        Ok(())
    }

    /// Reads records until the page is full or the file ends; whether the file has more.
    fn read_records(&mut self, file: &mut OpenFile, limits: Limits) -> Result<bool> {
        while self.has_room(limits) {
            if file.rest().is_empty() {
                if file.is_at_end() {
                    self.queue.finish(file, None);
                    return Ok(false);
                }
                file.fill()?;
                continue;
            }
            match scan(self.dialect, file.rest(), file.is_at_end(), &mut self.spans) {
                Scan::Record { bytes, text_bytes, lines, has_line_end } => {
                    let start = (file.offset(), file.line());
                    self.take_record(file, text_bytes);
                    self.page_text_bytes += bytes;
                    file.advance(bytes, lines);
                    if !has_line_end {
                        self.queue.finish(file, Some(start));
                        return Ok(false);
                    }
                }
                Scan::Incomplete if file.rest().len() < RECORD_BYTES_MAX => file.fill()?,
                Scan::Incomplete => {
                    self.reject_line(file, "csv.too_long", "the record is longer than 1 MiB, or a quote is not closed")?;
                }
                Scan::Flawed(Flaw::TextAfterQuote) => {
                    self.reject_line(file, "csv.quote", "a field goes on after its closing quote")?;
                }
                Scan::Flawed(Flaw::UnclosedQuote) => self.reject_line(file, "csv.quote", "a quote is not closed")?,
            }
        }
        Ok(true)
    }

    /// Takes the scanned record at the start of the rest, or rejects it.
    fn take_record(&mut self, file: &OpenFile, text_bytes: usize) {
        let raw = file.rest().get(..text_bytes).unwrap_or_default();
        if raw.is_empty() || raw == b"\r" {
            return;
        }
        if let Err(error) = self.push_record(raw) {
            self.rows.undo_row();
            self.rejected.push(RejectedRow::new(&self.stream.name, file.place(), &error, raw));
        }
    }

    fn push_record(&mut self, raw: &[u8]) -> Result<()> {
        let text =
            std::str::from_utf8(raw).map_err(|_| Error::invalid_data("the line is not valid UTF-8").code("csv.encoding"))?;
        let expected = self.header.as_ref().map_or(0, |(names, _)| names.len());
        if self.spans.len() != expected {
            let message = format!("the line has {} fields, the header {expected}", self.spans.len());
            return Err(Error::invalid_data(message).code("csv.field_count"));
        }
        for (column, builder) in self.columns.iter().zip(self.rows.columns_mut()) {
            let Some(span) = self.spans.get(column.position) else { continue };
            let field = text.get(span.start..span.end).unwrap_or_default();
            if span.has_doubled_quotes {
                push_field(column, builder, &undouble(field, self.dialect.quote), &self.config.null_values)?;
            } else {
                push_field(column, builder, field, &self.config.null_values)?;
            }
        }
        self.rows.end_row();
        Ok(())
    }

    /// Rejects the physical line at the start of the rest, and takes it.
    fn reject_line(&mut self, file: &mut OpenFile, code: &str, message: &str) -> Result<()> {
        let error = Error::invalid_data(message).code(code);
        let length = |file: &OpenFile| file.rest().iter().position(|byte| *byte == b'\n');
        let raw = file.rest().get(..length(file).unwrap_or(file.rest().len())).unwrap_or_default();
        self.rejected.push(RejectedRow::new(&self.stream.name, file.place(), &error, raw));
        loop {
            if let Some(length) = length(file) {
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
}

#[inline]
fn push_field(column: &Column, builder: &mut ColumnBuilder, text: &str, null_values: &[String]) -> Result<()> {
    if null_values.iter().any(|null| null == text) {
        if column.is_required {
            let message = format!("field `{}` is empty, but part of the primary key", builder.name());
            return Err(Error::invalid_data(message).code("csv.key"));
        }
        builder.push_null();
        return Ok(());
    }
    let pushed = match &column.reading {
        Reading::Plain => builder.push_text(text),
        Reading::GuessedNumber if is_plain_number(text) => builder.push_text(text),
        Reading::GuessedNumber => Err(Error::invalid_data(format!(
            "field `{}` was guessed to be a number, which this text does not fit: declare its type",
            builder.name()
        ))),
        Reading::Format(format) => push_formatted(format, builder, text),
    };
    pushed.map_err(|error| error.code("csv.value"))
}

fn push_formatted(format: &DateFormat, builder: &mut ColumnBuilder, text: &str) -> Result<()> {
    let mismatch = || Error::invalid_data("the text does not have the form that the column's `format` says");
    if builder.field_type() == FieldType::Date {
        builder.push_date(format.parse_date(text).ok_or_else(mismatch)?)
    } else {
        builder.push_timestamp(format.parse_timestamp(text).ok_or_else(mismatch)?)
    }
}

#[cfg(test)]
mod tests;
