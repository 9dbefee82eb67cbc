//! What a stream looks like, from a sample of its lines: names in the order they are first seen, objects flattened.

use affluent_sdk::file_streams::{ColumnSettings, Kinds, OpenFile, SAMPLE_BYTES_MAX, SAMPLE_ROWS_MAX, required_inputs};
use affluent_sdk::{Error, Field, FieldType, Result, StreamSchema};

use crate::config::StreamConfig;
use crate::json::{Scanner, Token, unescape};

/// Levels of objects that become columns; what is deeper is a `json` column.
const FLATTEN_DEPTH_MAX: usize = 4;
/// Columns of a stream at most: an object used as a dictionary must not make one for every key.
const COLUMNS_MAX: usize = 500;

/// Describes a stream.
///
/// # Errors
/// `config` when no file matches, or the configuration names a field that is not there.
pub(crate) fn describe(name: &str, config: &StreamConfig) -> Result<StreamSchema> {
    let mut sample = Sample { config, members: Vec::new(), rows: 0, bytes: 0 };
    for input in required_inputs(&config.files)? {
        if sample.has_room() {
            sample.read(&mut OpenFile::open(input, 0, 1)?)?;
        }
    }
    let mut columns = sample.columns();
    for (column, settings) in &config.columns {
        match settings.field_type {
            _ if columns.iter().any(|(known, _)| known == column) => {}
            Some(field_type) => columns.push((column.clone(), field_type)),
            None => return Err(Error::config(format!("stream `{name}`: the sample has no column `{column}`; give it a `type`"))),
        }
    }
    if columns.len() > COLUMNS_MAX {
        let message = format!("stream `{name}` has {} columns: declare the object used as a dictionary as json", columns.len());
        return Err(Error::config(message).code("jsonl.columns"));
    }
    let no_settings = ColumnSettings::default();
    let field = |(column, guessed): &(String, FieldType)| {
        let mut field = config.columns.get(column).unwrap_or(&no_settings).field(column, *guessed)?;
        field.nullable = !config.primary_key.contains(&field.name);
        Ok(field)
    };
    let fields = columns.iter().map(field).collect::<Result<Vec<Field>>>()?;
    let stream = StreamSchema::new(name, fields).primary_key(config.primary_key.clone());
    let stream = StreamSchema { parent: config.parent.clone(), ..stream.incremental(config.cursor_field.as_deref()) };
    check_references(&stream)?;
    Ok(stream)
}

fn check_references(stream: &StreamSchema) -> Result<()> {
    let parent = stream.parent.as_ref().map(|parent| &parent.field);
    for name in stream.primary_key.iter().chain(&stream.cursor_field).chain(parent) {
        if stream.field(name).is_none() {
            return Err(Error::config(format!("stream `{}`: there is no field `{name}`", stream.name)));
        }
    }
    for (index, field) in stream.fields.iter().enumerate() {
        if stream.fields.iter().take(index).any(|earlier| earlier.name == field.name) {
            return Err(Error::config(format!("stream `{}`: two columns are named `{}`", stream.name, field.name)));
        }
    }
    Ok(())
}

/// What was seen under one flat name.
#[derive(Debug)]
struct Member {
    name: String,
    kinds: Kinds,
    has_values: bool,
    has_objects: bool,
    /// The object it is in.
    parent: Option<usize>,
}

struct Sample<'a> {
    config: &'a StreamConfig,
    members: Vec<Member>,
    rows: usize,
    bytes: usize,
}

impl Sample<'_> {
    fn has_room(&self) -> bool {
        self.rows < SAMPLE_ROWS_MAX && self.bytes < SAMPLE_BYTES_MAX
    }

    fn read(&mut self, file: &mut OpenFile) -> Result<()> {
        while self.has_room() {
            let Some(length) = memchr::memchr(b'\n', file.rest()) else {
                if file.is_at_end() || file.rest().len() > SAMPLE_BYTES_MAX {
                    self.see_line(file.rest());
                    return Ok(());
                }
                file.fill()?;
                continue;
            };
            self.see_line(file.rest().get(..length).unwrap_or_default());
            self.bytes += length;
            file.advance(length + 1, 1);
        }
        Ok(())
    }

    /// A line that is broken is left to the read, which rejects it.
    fn see_line(&mut self, line: &[u8]) {
        let Ok(line) = std::str::from_utf8(line) else { return };
        let mut whole = Scanner::new(line);
        if whole.skip().and_then(|_| whole.end()).is_err() {
            return;
        }
        let mut scanner = Scanner::new(line);
        if matches!(scanner.value(), Ok(Token::Object)) && self.see_members(&mut scanner, None, 0).is_ok() {
            self.rows += 1;
        }
    }

    fn see_members(&mut self, scanner: &mut Scanner<'_>, parent: Option<usize>, depth: usize) -> Result<()> {
        let prefix = parent.and_then(|index| self.members.get(index)).map(|member| format!("{}_", member.name));
        let mut has_next = scanner.enter_object()?;
        while has_next {
            let name = scanner.name()?;
            let mut path = prefix.clone().unwrap_or_default();
            unescape(name.raw, &mut path)?;
            self.see_value(scanner, path, parent, depth)?;
            has_next = scanner.has_next_member()?;
        }
        Ok(())
    }

    fn see_value(&mut self, scanner: &mut Scanner<'_>, path: String, parent: Option<usize>, depth: usize) -> Result<()> {
        let is_kept_whole = |settings: &ColumnSettings| settings.field_type == Some(FieldType::Json);
        let may_flatten = depth + 1 < FLATTEN_DEPTH_MAX && !self.config.columns.get(&path).is_some_and(is_kept_whole);
        let index = self.index_of(path, parent);
        let before = scanner.clone();
        let kinds = match scanner.value()? {
            Token::Null => return Ok(()),
            Token::Object if may_flatten => {
                if let Some(member) = self.members.get_mut(index) {
                    member.has_objects = true;
                }
                return self.see_members(scanner, Some(index), depth + 1);
            }
            Token::Object | Token::List => {
                *scanner = before;
                scanner.skip()?;
                Kinds::NESTED
            }
            Token::Boolean(_) => Kinds::FLAG,
            Token::Number(number) => Kinds::of_number(number),
            Token::Text(text) => Kinds::of_string(text.raw),
        };
        if let Some(member) = self.members.get_mut(index) {
            member.kinds = member.kinds.and(kinds);
            member.has_values = true;
        }
        Ok(())
    }

    fn index_of(&mut self, name: String, parent: Option<usize>) -> usize {
        if let Some(index) = self.members.iter().position(|member| member.name == name) {
            return index;
        }
        self.members.push(Member { name, kinds: Kinds::ANY, has_values: false, has_objects: false, parent });
        self.members.len() - 1
    }

    /// Names and types. A name that holds both objects and other values is one `json` column.
    fn columns(&self) -> Vec<(String, FieldType)> {
        let has_members = |index: usize| self.members.iter().any(|member| member.parent == Some(index));
        let mut columns = Vec::new();
        for (index, member) in self.members.iter().enumerate() {
            if self.is_inside_mixed(member) || (member.has_objects && !member.has_values && has_members(index)) {
                continue;
            }
            let field_type = if member.has_objects { FieldType::Json } else { member.kinds.field_type() };
            columns.push((member.name.clone(), field_type));
        }
        columns
    }

    fn is_inside_mixed(&self, member: &Member) -> bool {
        let mut parent = member.parent.and_then(|index| self.members.get(index));
        while let Some(object) = parent {
            if object.has_values {
                return true;
            }
            parent = object.parent.and_then(|index| self.members.get(index));
        }
        false
    }
}
