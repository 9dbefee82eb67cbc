//! Files of records, read once from the first to the last: whatever their size, a batch of them is in memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use affluent_engine::{count_batch, declared_columns};
use affluent_lake::read_parquet;
use affluent_model::{Error, Result};
use affluent_profiles::assess::column::Declared;
use affluent_profiles::assess::stream::StreamCount;
use csv::{ReaderBuilder, StringRecord, Trim};

use super::json_lines;

/// Bytes of a file read at once.
const BUFFER_BYTES: usize = 1 << 18;
/// Records that are counted field by field.
pub(super) const BATCH_RECORDS: usize = 1_024;
/// Bytes of the first line that are looked at for what stands between two fields.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// What stands between two fields in the files that tools write.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A file that was counted.
pub(super) struct CountedFile {
    pub(super) count: StreamCount,
    /// The plugin that reads such files, if one does.
    pub(super) plugin: Option<&'static str>,
    pub(super) delimiter: Option<char>,
}

/// Counts a file by the ending of its name; of one with another ending, comma-separated values are expected.
///
/// # Errors
/// `E0841` when it cannot be read.
pub(super) fn count_file(path: &Path, stream: &str, hold: u64) -> Result<CountedFile> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "parquet" | "pq" => Ok(CountedFile { count: parquet(path, stream, hold)?, plugin: None, delimiter: None }),
        "jsonl" | "ndjson" => {
            let reader = BufReader::with_capacity(BUFFER_BYTES, open(path)?);
            let count = json_lines::count(reader, path, stream, hold)?;
            Ok(CountedFile { count, plugin: Some("jsonl"), delimiter: None })
        }
        _ => {
            let delimiter = delimiter(path)?;
            let count = delimited(path, delimiter, stream, hold)?;
            Ok(CountedFile { count, plugin: Some("csv"), delimiter: Some(char::from(delimiter)) })
        }
    }
}

fn parquet(path: &Path, stream: &str, hold: u64) -> Result<StreamCount> {
    let mut count: Option<StreamCount> = None;
    read_parquet(path, &mut |schema, batch| {
        let count = count.get_or_insert_with(|| StreamCount::new(stream, declared_columns(schema), hold));
        count_batch(&batch, count)
    })?;
    count.ok_or_else(|| Error::bug("a Parquet file shows its columns before its rows"))
}

/// The delimiter that the first line has most of.
fn delimiter(path: &Path) -> Result<u8> {
    let mut line = Vec::new();
    let mut reader = std::io::Read::take(BufReader::new(open(path)?), HEADER_BYTES_MAX);
    reader.read_until(b'\n', &mut line).map_err(|error| unreadable(path, &error.kind().to_string()))?;
    let times = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    Ok(DELIMITERS.into_iter().rev().max_by_key(|delimiter| times(*delimiter)).unwrap_or(b','))
}

fn delimited(path: &Path, delimiter: u8, stream: &str, hold: u64) -> Result<StreamCount> {
    let mut builder = ReaderBuilder::new();
    builder.buffer_capacity(BUFFER_BYTES).delimiter(delimiter).trim(Trim::Headers).flexible(true);
    let mut reader = builder.from_reader(open(path)?);
    let header = reader.headers().map_err(|_| unreadable(path, "its header is not UTF-8"))?.clone();
    let mut count = StreamCount::new(stream, header.iter().map(Declared::text).collect(), hold);
    let mut batch = vec![StringRecord::new(); BATCH_RECORDS];
    loop {
        let filled = fill(&mut reader, &mut batch, header.len(), &mut count).map_err(|why| unreadable(path, &why))?;
        count.take(filled, |field, record| batch.get(record).and_then(|record| record.get(field)));
        if filled < BATCH_RECORDS {
            return Ok(count);
        }
    }
}

/// Reads the next records into `batch`; how many. Those with more or fewer fields, or not of text, are counted as rejected.
fn fill(
    reader: &mut csv::Reader<File>,
    batch: &mut [StringRecord],
    fields: usize,
    count: &mut StreamCount,
) -> std::result::Result<usize, String> {
    let mut filled = 0;
    while let Some(record) = batch.get_mut(filled) {
        match reader.read_record(record) {
            Ok(false) => break,
            Ok(true) if record.len() == fields => filled += 1,
            Ok(true) => count.reject(1),
            Err(error) => match error.kind() {
                csv::ErrorKind::Utf8 { .. } => count.reject(1),
                csv::ErrorKind::Io(error) => return Err(error.kind().to_string()),
                _ => return Err("it is not a file of separated values".to_owned()),
            },
        }
    }
    Ok(filled)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| unreadable(path, &error.kind().to_string()))
}

pub(super) fn unreadable(path: &Path, why: &str) -> Error {
    Error::configuration("E0841", format!("`{}` cannot be read: {why}", path.display()))
        .help("name a file of records: CSV with a header, JSON Lines or Parquet")
}
