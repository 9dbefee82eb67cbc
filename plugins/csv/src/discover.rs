//! What a stream looks like: its header, which all files share, and the types of its columns from a sample.

use affluent_sdk::file_streams::{ColumnSettings, Kinds, OpenFile, SAMPLE_BYTES_MAX, SAMPLE_ROWS_MAX, required_inputs};
use affluent_sdk::{Error, Field, Result, StreamSchema};

use crate::config::StreamConfig;
use crate::header::{read_names, undouble};
use crate::scan::{Dialect, Scan, Span, scan};

/// Describes a stream.
///
/// # Errors
/// `config` when no file matches, headers differ, or the configuration names a column that is not there.
pub(crate) fn describe(name: &str, config: &StreamConfig) -> Result<StreamSchema> {
    let sample = Sample::read(config, config.dialect()?)?;
    for column in config.columns.keys() {
        if !sample.names.contains(column) {
            let known = sample.names.join(", ");
            return Err(Error::config(format!("stream `{name}`: there is no column `{column}`, only {known}")));
        }
    }
    let no_settings = ColumnSettings::default();
    let field = |(column, kinds): (&String, &Kinds)| {
        let mut field = config.columns.get(column).unwrap_or(&no_settings).field(column, kinds.field_type())?;
        field.nullable = !config.primary_key.contains(&field.name);
        Ok(field)
    };
    let fields = sample.names.iter().zip(&sample.kinds).map(field).collect::<Result<Vec<Field>>>()?;
    let mut stream =
        StreamSchema::new(name, fields).primary_key(config.primary_key.clone()).incremental(config.cursor_field.as_deref());
    stream.parent = config.parent.clone();
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

struct Sample {
    names: Vec<String>,
    kinds: Vec<Kinds>,
    rows: usize,
    bytes: usize,
}

impl Sample {
    /// Reads headers of all files, and records as far as the sample goes.
    fn read(config: &StreamConfig, dialect: Dialect) -> Result<Self> {
        let mut sample = Self { names: Vec::new(), kinds: Vec::new(), rows: 0, bytes: 0 };
        let mut first_name = String::new();
        for input in required_inputs(&config.files)? {
            let mut file = OpenFile::open(input, 0, 1)?;
            let Some(names) = read_names(&mut file, config, dialect)? else { continue };
            if sample.names.is_empty() {
                file.name().clone_into(&mut first_name);
                sample.kinds = vec![Kinds::ANY; names.len()];
                sample.names = names;
            } else if sample.names != names {
                return Err(other_header(file.name(), &first_name));
            }
            sample.read_records(&mut file, config, dialect)?;
        }
        if sample.names.is_empty() {
            return Err(Error::config(format!("every file that matches `{}` is empty", config.files)).code("csv.header"));
        }
        Ok(sample)
    }

    fn read_records(&mut self, file: &mut OpenFile, config: &StreamConfig, dialect: Dialect) -> Result<()> {
        let mut spans = Vec::new();
        while self.rows < SAMPLE_ROWS_MAX && self.bytes < SAMPLE_BYTES_MAX {
            match scan(dialect, file.rest(), file.is_at_end(), &mut spans) {
                Scan::Incomplete if file.rest().len() < SAMPLE_BYTES_MAX => file.fill()?,
                Scan::Record { bytes: 0, .. } | Scan::Incomplete | Scan::Flawed(_) => break,
                Scan::Record { bytes, lines, .. } => {
                    if spans.len() == self.names.len() {
                        self.see(file.rest(), &spans, config, dialect);
                    }
                    self.bytes += bytes;
                    file.advance(bytes, lines);
                }
            }
        }
        Ok(())
    }

    fn see(&mut self, rest: &[u8], spans: &[Span], config: &StreamConfig, dialect: Dialect) {
        self.rows += 1;
        for (kinds, span) in self.kinds.iter_mut().zip(spans) {
            let bytes = rest.get(span.start..span.end).unwrap_or_default();
            let Ok(text) = std::str::from_utf8(bytes) else { continue };
            if config.null_values.iter().any(|null| null == text) {
                continue;
            }
            let seen =
                if span.has_doubled_quotes { Kinds::of_text(&undouble(text, dialect.quote)) } else { Kinds::of_text(text) };
            *kinds = kinds.and(seen);
        }
    }
}

/// The error of a file whose header is not that of the others.
pub(crate) fn other_header(name: &str, first_name: &str) -> Error {
    Error::config(format!("file `{name}` has other columns than `{first_name}`; give it a stream of its own")).code("csv.header")
}
