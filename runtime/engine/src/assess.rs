//! The first look at a source: reads a bounded number of records of a connection and counts them; nothing is stored.
//! Values are seen in this process's memory alone.

mod forecast;

use std::sync::Arc;

use affluent_model::batch::{Batch, Page, Position, RowOperation};
use affluent_model::connector::{Connectors, PageLimits, Source, SourceRequest};
use affluent_model::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use affluent_model::plan::Connection;
use affluent_model::schema::{Field, FieldType, StreamSchema, SyncMode};
use affluent_model::{Error, Result};
use affluent_profiles::assess::column::Declared;
use affluent_profiles::assess::stream::StreamCount;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};

use crate::attempts::{Attempts, Verdict};
use crate::rows;

/// A back-off of medium length: nobody else waits for the same remote at the same time.
const JITTER: f64 = 0.5;
/// Bytes of a binary value that tell it from others.
const BINARY_BYTES_MAX: usize = 32;

/// A stream that was read.
pub struct AssessedStream {
    pub count: StreamCount,
    /// False when there are more records than were asked for.
    pub is_whole: bool,
}

/// Reads up to `records` of each stream of a connection, or of the one named; child streams come with their parents.
///
/// # Errors
/// `E0203` for an unknown stream; what the plugin reports.
pub async fn read_for_assessment(
    connectors: &dyn Connectors,
    connection: &Arc<Connection>,
    stream: Option<&str>,
    records: u64,
) -> Result<Vec<AssessedStream>> {
    let offered = connectors.discover_streams(Arc::clone(connection)).await?;
    let is_wanted = |schema: &&StreamSchema| match stream {
        Some(name) => schema.name == name,
        None => schema.parent.is_none(),
    };
    let wanted: Vec<&StreamSchema> = offered.iter().filter(is_wanted).collect();
    if let (Some(name), []) = (stream, wanted.as_slice()) {
        let names: Vec<&str> = offered.iter().map(|schema| schema.name.as_str()).collect();
        return Err(Error::configuration("E0203", format!("unknown stream `{name}` in source `{}`", connection.name))
            .help(format!("`{}` offers {}", connection.plugin, names.join(", "))));
    }
    let mut read = Vec::new();
    for schema in wanted {
        let children = offered.iter().filter(|child| child.parent.as_ref().is_some_and(|parent| parent.stream == schema.name));
        let mut reading = Reading::new(schema, children.cloned().collect(), records);
        reading.read(connectors, connection).await.map_err(|error| error.at(format!("stream {}", schema.name)))?;
        read.extend(reading.counts.into_iter().map(|count| AssessedStream { count, is_whole: reading.is_whole }));
    }
    Ok(read)
}

struct Reading {
    /// The stream first, then its children; `counts` stand in the same order.
    schemas: Vec<StreamSchema>,
    counts: Vec<StreamCount>,
    records_max: u64,
    is_whole: bool,
}

impl Reading {
    fn new(schema: &StreamSchema, children: Vec<StreamSchema>, records_max: u64) -> Self {
        let schemas: Vec<StreamSchema> = std::iter::once(schema.clone()).chain(children).collect();
        let counts = schemas.iter().map(|schema| StreamCount::new(&schema.name, declared(&schema.fields), records_max)).collect();
        Self { schemas, counts, records_max, is_whole: false }
    }

    async fn open(&self, connectors: &dyn Connectors, connection: &Arc<Connection>) -> Result<Box<dyn Source>> {
        let Some((stream, children)) = self.schemas.split_first() else { return Err(Error::bug("there is a stream")) };
        let request = SourceRequest {
            pipeline: "(assess)".to_owned(),
            connection: Arc::clone(connection),
            stream: stream.clone(),
            children: children.to_vec(),
            sync: SyncMode::FullRefresh,
            since_us: None,
            lookback_ms: 0,
            state: None,
        };
        Ok(connectors.open_source(request).await?)
    }

    async fn read(&mut self, connectors: &dyn Connectors, connection: &Arc<Connection>) -> Result<()> {
        let mut source = self.open(connectors, connection).await?;
        let mut attempts = Attempts::default();
        let limits = PageLimits { rows_max: PAGE_ROWS_MAX, bytes_max: PAGE_BYTES_MAX };
        loop {
            match source.next(limits).await {
                Ok(page) => {
                    attempts.succeeded();
                    self.is_whole = page.position != Position::More;
                    self.take(page)?;
                    let has_enough = self.counts.first().is_some_and(|count| count.records() >= self.records_max);
                    if self.is_whole || has_enough {
                        source.close().await;
                        return Ok(());
                    }
                }
                Err(failure) => match attempts.judge(&failure, JITTER) {
                    Verdict::Retry(wait_ms) => tokio::time::sleep(std::time::Duration::from_millis(wait_ms)).await,
                    _ => return Err(failure.into()),
                },
            }
        }
    }

    fn take(&mut self, page: Page) -> Result<()> {
        for rejected in &page.rejected {
            let place = self.schemas.iter().position(|schema| schema.name == rejected.stream);
            place.and_then(|place| self.counts.get_mut(place)).into_iter().for_each(|count| count.reject(1));
        }
        for Batch { stream, operation, records } in page.parts {
            let place = self.schemas.iter().position(|schema| schema.name == stream);
            let Some(count) = place.and_then(|place| self.counts.get_mut(place)) else { continue };
            if operation == RowOperation::Upsert {
                count_batch(&records, count)?;
            }
        }
        Ok(())
    }
}

fn declared(fields: &[Field]) -> Vec<Declared> {
    fields.iter().map(|field| Declared { name: field.name.clone(), kind: Some(field.kind), pii: field.pii }).collect()
}

/// The fields of Arrow columns, for [`StreamCount::new`].
#[must_use]
pub fn declared_columns(schema: &SchemaRef) -> Vec<Declared> {
    let kind = |data_type: &DataType| FieldType::from_arrow(data_type).unwrap_or(FieldType::Json);
    let field = |field: &Arc<arrow::datatypes::Field>| Declared {
        name: field.name().clone(),
        kind: Some(kind(field.data_type())),
        pii: Field::from_arrow(field).and_then(|field| field.pii),
    };
    schema.fields().iter().map(field).collect()
}

/// Counts a batch whose columns are the fields of the count, in their order.
///
/// # Errors
/// A column that cannot be told as text is a bug.
pub fn count_batch(records: &RecordBatch, count: &mut StreamCount) -> Result<()> {
    let columns = records.columns().iter().map(text_of).collect::<Result<Vec<ArrayRef>>>()?;
    let columns: Vec<&StringArray> = columns.iter().map(|column| column.as_string::<i32>()).collect();
    count.take(records.num_rows(), |field, row| {
        columns.get(field).filter(|column| column.is_valid(row)).map(|column| column.value(row))
    });
    Ok(())
}

/// A column as text; of bytes the first ones, in hexadecimal.
fn text_of(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let bytes = rows::cast_to(array, &DataType::Binary)?;
            let hex = |bytes: &[u8]| bytes.iter().take(BINARY_BYTES_MAX).map(|byte| format!("{byte:02x}")).collect::<String>();
            Ok(Arc::new(bytes.as_binary::<i32>().iter().map(|bytes| bytes.map(hex)).collect::<StringArray>()))
        }
        kind if kind.is_nested() => {
            let shown = (0..array.len()).map(|row| array.is_valid(row).then_some("{}"));
            Ok(Arc::new(shown.collect::<StringArray>()))
        }
        _ => rows::as_text(array),
    }
}
