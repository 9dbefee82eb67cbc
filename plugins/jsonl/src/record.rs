//! From the members of an object to columns, in one pass: a member is looked up, usually right where the last one was
//! found, and its value goes straight into its column.

use affluent_sdk::date_format::DateFormat;
use affluent_sdk::{ColumnBuilder, ColumnsBuilder, Error, FieldType, Result, find};

use crate::json::{Broken, Scanner, Text, Token, unescape};

/// Levels of objects that become columns of their own; as deep as the JSON itself may be.
const DEPTH_MAX: usize = 128;

/// Names of ignored members kept for the log, at most.
const IGNORED_NAMES_MAX: usize = 20;

/// A column of the stream as it stands in the file.
#[derive(Debug)]
pub(crate) struct Column {
    /// Flat: `address_city` for `city` inside `address`.
    name: String,
    /// The name as it stands in a line, with quotes; empty if it would need escapes.
    quoted: String,
    format: Option<DateFormat>,
    is_required: bool,
}

impl Column {
    pub(crate) fn new(name: &str, format: Option<DateFormat>, is_required: bool) -> Self {
        let is_simple = find::json_special(name.as_bytes()).is_none();
        let quoted = if is_simple { format!("\"{name}\"") } else { String::new() };
        Self { name: name.to_owned(), quoted, format, is_required }
    }
}

/// Reads objects into columns; keeps its buffers from record to record.
#[derive(Debug)]
pub(crate) struct RecordReader {
    columns: Vec<Column>,
    /// Which of them no record may lack.
    required: Vec<usize>,
    /// Where the next member is looked up first.
    next: usize,
    path: String,
    scratch: String,
    /// Members that no column takes: how many, and the outermost names of the first ones.
    pub(crate) ignored_count: u64,
    pub(crate) ignored_names: Vec<String>,
}

impl RecordReader {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        let (path, scratch, ignored_names) = (String::new(), String::new(), Vec::new());
        let is_required = |(index, column): (usize, &Column)| column.is_required.then_some(index);
        let required = columns.iter().enumerate().filter_map(is_required).collect();
        Self { columns, required, next: 0, path, scratch, ignored_count: 0, ignored_names }
    }

    /// Reads one line as one record. After an error the row must be undone.
    ///
    /// # Errors
    /// `invalid_data` when it is no JSON object, or a value does not fit its column.
    pub(crate) fn read(&mut self, line: &str, rows: &mut ColumnsBuilder) -> Result<()> {
        self.next = 0;
        self.path.clear();
        let mut scanner = Scanner::new(line);
        if !matches!(scanner.value()?, Token::Object) {
            return Err(Error::invalid_data("the line is not a JSON object").code("jsonl.object"));
        }
        self.read_members(&mut scanner, rows, 0)?;
        scanner.end()?;
        let row = rows.rows();
        for index in &self.required {
            let missing = rows.columns_mut().get(*index).filter(|builder| builder.len() == row);
            if let Some(builder) = missing {
                let message = format!("field `{}` is missing, but part of the primary key", builder.name());
                return Err(Error::invalid_data(message).code("jsonl.key"));
            }
        }
        rows.end_row();
        Ok(())
    }

    fn read_members(&mut self, scanner: &mut Scanner<'_>, rows: &mut ColumnsBuilder, depth: usize) -> Result<()> {
        if depth >= DEPTH_MAX {
            return Err(Broken::TooDeep.into());
        }
        let prefix_bytes = self.path.len();
        let mut has_next = scanner.enter_object()?;
        while has_next {
            if depth == 0 && self.read_expected(scanner, rows)? {
                has_next = scanner.has_next_member()?;
                continue;
            }
            let name = scanner.name()?;
            self.path.truncate(prefix_bytes);
            match (name.has_escapes, depth) {
                (false, 0) => self.read_member(name.raw, scanner, rows, depth)?,
                _ => {
                    append(name, &mut self.path)?;
                    let path = std::mem::take(&mut self.path);
                    let read = self.read_member(&path, scanner, rows, depth);
                    self.path = path;
                    read?;
                }
            }
            has_next = scanner.has_next_member()?;
        }
        self.path.truncate(prefix_bytes);
        Ok(())
    }

    /// Reads the next member if it is the one after the last: most lines have the same members in the same order.
    #[inline]
    fn read_expected(&mut self, scanner: &mut Scanner<'_>, rows: &mut ColumnsBuilder) -> Result<bool> {
        let Some(column) = self.columns.get(self.next) else { return Ok(false) };
        if column.quoted.is_empty() || !scanner.take_name(&column.quoted)? {
            return Ok(false);
        }
        let row = rows.rows();
        let Some(builder) = rows.columns_mut().get_mut(self.next) else { return Ok(false) };
        check_once(builder, row)?;
        self.next = if self.next + 1 == self.columns.len() { 0 } else { self.next + 1 };
        push_value(scanner, builder, column, &mut self.scratch)?;
        Ok(true)
    }

    /// Reads the value of the member `path`.
    fn read_member(&mut self, path: &str, scanner: &mut Scanner<'_>, rows: &mut ColumnsBuilder, depth: usize) -> Result<()> {
        let row = rows.rows();
        if let Some(index) = self.find(path) {
            let (Some(column), Some(builder)) = (self.columns.get(index), rows.columns_mut().get_mut(index)) else {
                return Err(Error::internal("there is a builder for every column"));
            };
            check_once(builder, row)?;
            return push_value(scanner, builder, column, &mut self.scratch);
        }
        let before = scanner.clone();
        let is_group = |column: &Column| column.name.strip_prefix(path).is_some_and(|rest| rest.starts_with('_'));
        if matches!(scanner.value()?, Token::Object) && self.columns.iter().any(is_group) {
            let outer = std::mem::replace(&mut self.path, format!("{path}_"));
            let read = self.read_members(scanner, rows, depth + 1);
            self.path = outer;
            return read;
        }
        *scanner = before;
        scanner.skip()?;
        self.ignore(path, depth);
        Ok(())
    }

    /// Members usually come in the order of the columns, with some missing.
    #[inline]
    fn find(&mut self, name: &str) -> Option<usize> {
        let (before, after) = self.columns.split_at_checked(self.next)?;
        let is_it = |column: &Column| column.name == name;
        let found = after.iter().position(is_it).map(|index| index + self.next).or_else(|| before.iter().position(is_it))?;
        self.next = (found + 1) % self.columns.len();
        Some(found)
    }

    fn ignore(&mut self, path: &str, depth: usize) {
        self.ignored_count += 1;
        let is_new = !self.ignored_names.iter().any(|name| name == path);
        if depth == 0 && is_new && self.ignored_names.len() < IGNORED_NAMES_MAX {
            self.ignored_names.push(path.to_owned());
        }
    }
}

#[inline]
fn check_once(builder: &ColumnBuilder, row: usize) -> Result<()> {
    if builder.len() == row {
        return Ok(());
    }
    Err(Error::invalid_data(format!("field `{}` appears twice", builder.name())).code("jsonl.twice"))
}

fn append(text: Text<'_>, out: &mut String) -> Result<()> {
    if text.has_escapes {
        return Ok(unescape(text.raw, out)?);
    }
    out.push_str(text.raw);
    Ok(())
}

/// Pushes the value that starts here; null pushes nothing.
#[inline]
fn push_value(scanner: &mut Scanner<'_>, builder: &mut ColumnBuilder, column: &Column, scratch: &mut String) -> Result<()> {
    if builder.field_type() == FieldType::Json {
        let document = scanner.skip()?;
        return if document == "null" { Ok(()) } else { builder.push_text(document) };
    }
    let pushed = match scanner.value()? {
        Token::Null => return Ok(()),
        Token::Boolean(value) => builder.push_boolean(value),
        Token::Number(number) => builder.push_text(number),
        Token::Text(text) if text.has_escapes => {
            scratch.clear();
            unescape(text.raw, scratch)?;
            push_text(builder, column, scratch)
        }
        Token::Text(text) => push_text(builder, column, text.raw),
        Token::Object | Token::List => {
            let message = format!("field `{}` holds a nested value: declare it as json", builder.name());
            Err(Error::invalid_data(message))
        }
    };
    pushed.map_err(|error| error.code("jsonl.value"))
}

#[inline]
fn push_text(builder: &mut ColumnBuilder, column: &Column, text: &str) -> Result<()> {
    let Some(format) = &column.format else { return builder.push_text(text) };
    let mismatch = || Error::invalid_data("the text does not have the form that the column's `format` says");
    if builder.field_type() == FieldType::Date {
        builder.push_date(format.parse_date(text).ok_or_else(mismatch)?)
    } else {
        builder.push_timestamp(format.parse_timestamp(text).ok_or_else(mismatch)?)
    }
}
