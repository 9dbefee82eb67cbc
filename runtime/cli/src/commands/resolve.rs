//! `affluent resolve`: reads rules and records from files, groups, writes the groups and tells how good they are.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use affluent_config::{Inputs, read_identity};
use affluent_model::identity::NodeId;
use affluent_model::plan::IdentityRules;
use affluent_model::{Error, Result};
use affluent_profiles::measure::{Scores, score};
use affluent_profiles::records::Records;
use affluent_profiles::resolve::Grouping;
use csv::{ReaderBuilder, StringRecord, Trim, WriterBuilder};

use crate::arguments::{ResolveArguments, Shared};
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::resolve::{Report, text};
use crate::render::screen::Screen;

/// Bytes of a file read at once.
const BUFFER_BYTES: usize = 1 << 18;

pub(crate) fn run(shared: &Shared, screen: &Screen, arguments: &ResolveArguments) -> Outcome {
    let started = Instant::now();
    let environment = |name: &str| std::env::var(name).ok();
    let inputs = Inputs { variables: project::variables(shared)?, environment: &environment };
    let rules = read_identity(&arguments.rules, &inputs).map_err(Failure::Mistakes)?;
    let (records, id_column) = read_records(&rules, &arguments.records)?;
    let must_link = links(arguments.must_link.as_deref(), &records)?;
    let cannot_link = links(arguments.cannot_link.as_deref(), &records)?;
    let grouping = records.group(&must_link, &cannot_link);
    if let Some(out) = &arguments.out {
        write_groups(out, &id_column, &records, &grouping)?;
    }
    let scores = arguments.truth.as_deref().map(|truth| scored(truth, &records, &grouping)).transpose()?;
    let report = Report::new(&rules, &records, &grouping, scores, started.elapsed());
    screen.result(&report.json(), || text(&report))?;
    Ok(Exit::Done)
}

/// The records of all files, one after the other, and what the column of their ids is called. All files have the columns of
/// the first.
fn read_records<'a>(rules: &'a IdentityRules, files: &[PathBuf]) -> Result<(Records<'a>, String)> {
    let first = files.first().ok_or_else(|| Error::bug("clap asks for at least one file of records"))?;
    let header = Rows::open(first)?.header;
    let mut records = Records::new(rules, &header.iter().collect::<Vec<_>>()).map_err(|missing| {
        let named: Vec<String> = missing.iter().map(|one| format!("`{}` for `{}`", one.column, one.name)).collect();
        let columns: Vec<&str> = header.iter().collect();
        Error::configuration("E0840", format!("`{}` has no column {}", first.display(), named.join(", ")))
            .help(format!("name it under `records: columns` in the rules; the file has {}", columns.join(", ")))
    })?;
    for file in files {
        let mut rows = Rows::open(file)?;
        if rows.header != header {
            let message = format!("`{}` has other columns than `{}`", file.display(), first.display());
            return Err(Error::configuration("E0840", message).help("give all files the same header"));
        }
        while let Some(row) = rows.next()? {
            records.push(|column| row.get(column).unwrap_or_default());
        }
    }
    if records.has_repeated_id() {
        return Err(Error::configuration("E0842", "two records have the same id")
            .help("name the column that tells records apart under `records: id` in the rules"));
    }
    let id_column = rules.records.id.as_deref().or_else(|| header.get(0)).unwrap_or("id").to_owned();
    Ok((records, id_column))
}

/// The rows of a file of comma-separated values.
struct Rows {
    file: PathBuf,
    reader: csv::Reader<File>,
    header: StringRecord,
    row: StringRecord,
}

impl Rows {
    fn open(file: &Path) -> Result<Self> {
        let opened = File::open(file).map_err(|error| unreadable(file, &error.kind().to_string()))?;
        let mut builder = ReaderBuilder::new();
        builder.buffer_capacity(BUFFER_BYTES).trim(Trim::Headers);
        let mut reader = builder.from_reader(opened);
        let header = reader.headers().map_err(|error| malformed(file, &error))?.clone();
        Ok(Self { file: file.to_owned(), reader, header, row: StringRecord::new() })
    }

    fn next(&mut self) -> Result<Option<&StringRecord>> {
        let is_there = self.reader.read_record(&mut self.row).map_err(|error| malformed(&self.file, &error))?;
        Ok(is_there.then_some(&self.row))
    }
}

fn unreadable(file: &Path, why: &str) -> Error {
    Error::configuration("E0841", format!("`{}` cannot be read: {why}", file.display()))
        .help("name a file of comma-separated values")
}

/// The library's message may hold text of the file: only the place is told.
fn malformed(file: &Path, error: &csv::Error) -> Error {
    let place = error.position().map_or_else(String::new, |position| format!(", line {}", position.line()));
    let why = match error.kind() {
        csv::ErrorKind::Io(_) => "it cannot be read to its end",
        csv::ErrorKind::Utf8 { .. } => "a value is not UTF-8",
        csv::ErrorKind::UnequalLengths { .. } => "a row has more or fewer values than the header",
        _ => "it is not a file of comma-separated values",
    };
    Error::configuration("E0841", format!("`{}`{place}: {why}", file.display())).help("save it as CSV in UTF-8, with a header")
}

/// Pairs of records that a person decided about; two columns of ids.
fn links(file: Option<&Path>, records: &Records<'_>) -> Result<Vec<(NodeId, NodeId)>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let mut rows = Rows::open(file)?;
    let mut ids: Vec<String> = Vec::new();
    while let Some(row) = rows.next()? {
        ids.extend([0, 1].map(|column| row.get(column).unwrap_or_default().to_owned()));
    }
    let nodes = records.find(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let pair = |pair: &[Option<NodeId>]| match pair {
        [Some(one), Some(other)] => Some((*one, *other)),
        _ => None,
    };
    nodes.chunks(2).map(pair).collect::<Option<Vec<_>>>().ok_or_else(|| {
        Error::configuration("E0843", format!("`{}` names a record that is not among the records", file.display()))
            .help("its first two columns are ids of records")
    })
}

fn write_groups(out: &Path, id_column: &str, records: &Records<'_>, grouping: &Grouping) -> Result<()> {
    let cannot = |why: String| Error::external("E0814", format!("`{}` cannot be written: {why}", out.display()));
    let file = File::create(out).map_err(|error| cannot(error.kind().to_string()))?;
    let mut writer = WriterBuilder::new().buffer_capacity(BUFFER_BYTES).from_writer(file);
    let unwritten = |error: csv::Error| cannot(io_kind(&error));
    writer.write_record([id_column, "profile"]).map_err(unwritten)?;
    for (id, group) in records.ids().zip(&grouping.group_of) {
        writer.write_record([shown_as_text(id).as_ref(), group.to_string().as_str()]).map_err(unwritten)?;
    }
    writer.flush().map_err(|error| cannot(error.kind().to_string()))
}

/// A cell of a file that a person opens: what a spreadsheet would run as a formula begins with an apostrophe (security D-60). A
/// number with its sign is none.
fn shown_as_text(cell: &str) -> Cow<'_, str> {
    let is_number = cell.len() > 1 && cell.bytes().skip(1).all(|byte| byte.is_ascii_digit() || byte == b'.');
    match cell.as_bytes().first() {
        Some(b'=' | b'@' | b'\t' | b'\r') => Cow::Owned(format!("'{cell}")),
        Some(b'+' | b'-') if !is_number => Cow::Owned(format!("'{cell}")),
        _ => Cow::Borrowed(cell),
    }
}

/// Why a file could not be written, without any text of its records.
fn io_kind(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.kind().to_string(),
        _ => "a record does not fit".to_owned(),
    }
}

/// Compares with the truth: its first column is the id of a record, its last the person.
fn scored(truth: &Path, records: &Records<'_>, grouping: &Grouping) -> Result<Scores> {
    let mut rows = Rows::open(truth)?;
    let mut persons: BTreeMap<String, u32> = BTreeMap::new();
    let mut person_of: HashMap<String, u32> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (Some(id), Some(person)) = (row.get(0), row.get(row.len().saturating_sub(1))) else { continue };
        let next = u32::try_from(persons.len()).unwrap_or(u32::MAX);
        let person = *persons.entry(person.trim().to_owned()).or_insert(next);
        person_of.insert(id.trim().to_owned(), person);
    }
    let known: Vec<(u32, u32)> =
        records.ids().zip(&grouping.group_of).filter_map(|(id, group)| Some((*person_of.get(id)?, *group))).collect();
    if known.is_empty() {
        return Err(Error::configuration("E0843", format!("`{}` names none of the records", truth.display()))
            .help("its first column is the id of a record, its last the person"));
    }
    Ok(score(&known))
}
