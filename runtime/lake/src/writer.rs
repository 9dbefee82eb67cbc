//! Writing one Parquet file: under a partial name first, visible only when it is complete and on disk. Sealed columns
//! are random bytes, so they are stored as they are, integers by their differences; everything else is compressed for speed of
//! reading.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use affluent_model::schema::SEALED_KEY;
use affluent_model::{Error, Result};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::failures;
use crate::lake::{LakeFile, LakeWriter};
use crate::limits::{DICTIONARY_BYTES_MAX, FILE_NAME_BYTES_MAX, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX};

/// What a finished file's name ends with.
pub(crate) const FINISHED: &str = ".parquet";
/// What an unfinished file's name ends with.
pub(crate) const PARTIAL: &str = ".parquet.partial";

/// A file being written.
pub(crate) struct FileWriter {
    name: String,
    schema: SchemaRef,
    /// `None` once the file was finished.
    writer: Option<ArrowWriter<File>>,
    rows: u64,
    paths: Paths,
}

/// Where the file is while it is written and where it goes; removes the partial file unless told otherwise.
struct Paths {
    partial: PathBuf,
    finished: PathBuf,
    is_partial: bool,
}

impl Drop for Paths {
    fn drop(&mut self) {
        if self.is_partial {
            // Nothing to report to: a file that stays is found by the next sweep.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Refuses names that are no file names of the lake.
/// # Errors
/// `E0730`.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > FILE_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        return Err(Error::configuration("E0730", format!("`{}` is no name of a lake file", name.escape_debug())));
    }
    Ok(())
}

impl FileWriter {
    pub(crate) fn create(dir: &Path, name: &str, schema: SchemaRef) -> Result<Self> {
        check_name(name)?;
        let finished = dir.join(format!("{name}{FINISHED}"));
        let partial = dir.join(format!("{name}{PARTIAL}"));
        if finished.exists() {
            return Err(taken(name));
        }
        let file = new_file(&partial).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(name),
            _ => failures::disk(&format!("make `{name}`"), &error),
        })?;
        let paths = Paths { partial, finished, is_partial: true };
        let (properties, schema) = (properties(&schema), without_marks(&schema));
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).map_err(|error| refused(name, &error))?;
        Ok(Self { name: name.to_owned(), schema, writer: Some(writer), rows: 0, paths })
    }
}

fn taken(name: &str) -> Error {
    Error::configuration("E0730", format!("the lake already has a file `{name}`"))
}

#[cfg(unix)]
fn new_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

fn refused(name: &str, error: &ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast_ref::<io::Error>() {
            Some(disk) => failures::disk(&format!("write `{name}`"), disk),
            None => Error::bug(format!("`{name}` has a schema that Parquet takes, yet it was refused")),
        },
        _ => Error::bug(format!("`{name}` has columns that Parquet takes, yet they were refused")),
    }
}

fn properties(schema: &Schema) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by("affluent".to_owned())
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX));
    let mut numbers = Vec::new();
    schema.fields().iter().for_each(|field| add_numbers(field, Vec::new(), &mut numbers));
    for column in numbers {
        properties = properties.set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        let is_bytes = *field.data_type() == DataType::Binary || field.metadata().contains_key(SEALED_KEY);
        if is_bytes || field.metadata().contains_key(UNLIKE_KEY) {
            properties = properties
                .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
                .set_column_dictionary_enabled(column.clone(), false);
        }
        // Ciphertexts and blind indexes: their bounds say nothing.
        if is_bytes {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        }
    }
    properties.build()
}

/// Adds the columns of integers and times, which mostly differ little from the one before: what a dictionary does not hold is told by
/// differences.
fn add_numbers(field: &Field, mut path: Vec<String>, numbers: &mut Vec<ColumnPath>) {
    path.push(field.name().clone());
    match field.data_type() {
        DataType::Int64 | DataType::Timestamp(..) => numbers.push(ColumnPath::new(path)),
        DataType::Struct(fields) => fields.iter().for_each(|field| add_numbers(field, path.clone(), numbers)),
        DataType::List(item) => {
            path.push("list".to_owned());
            add_numbers(item, path, numbers);
        }
        _ => {}
    }
}

/// Metadata key of a column whose values are random for the most part and tell rows apart. It is not stored.
pub(crate) const UNLIKE_KEY: &str = "affluent.unlike";

fn without_marks(schema: &Schema) -> SchemaRef {
    let unmarked = |field: &Arc<Field>| {
        let metadata = field.metadata().iter().filter(|(key, _)| *key != UNLIKE_KEY);
        field.as_ref().clone().with_metadata(metadata.map(|(key, value)| (key.clone(), value.clone())).collect())
    };
    let fields: Vec<Field> = schema.fields().iter().map(unmarked).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

impl LakeWriter for FileWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let expected = self.schema.fields().iter().map(|field| field.data_type());
        if !expected.eq(batch.schema_ref().fields().iter().map(|field| field.data_type())) {
            return Err(Error::bug(format!("a batch for `{}` has the columns of the file, yet its types differ", self.name)));
        }
        let Some(writer) = &mut self.writer else { return Ok(()) };
        writer.write(batch).map_err(|error| refused(&self.name, &error))?;
        self.rows += u64::try_from(batch.num_rows()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<LakeFile> {
        let Some(writer) = self.writer.take() else {
            return Err(Error::bug("a writer is finished once, as it is consumed"));
        };
        let file = writer.into_inner().map_err(|error| refused(&self.name, &error))?;
        let bytes =
            make_durable(&file, &mut self.paths).map_err(|error| failures::disk(&format!("finish `{}`", self.name), &error))?;
        Ok(LakeFile { name: std::mem::take(&mut self.name), rows: self.rows, bytes })
    }
}

fn make_durable(file: &File, paths: &mut Paths) -> io::Result<u64> {
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    fs::rename(&paths.partial, &paths.finished)?;
    paths.is_partial = false;
    if let Some(dir) = paths.finished.parent() {
        sync_dir(dir)?;
    }
    Ok(bytes)
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Other systems have no handle of a directory to sync.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}
