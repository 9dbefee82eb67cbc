//! Parquet files that are not of the lake: read once, batch by batch, for whoever wants to look at them.

use std::fs::File;
use std::path::Path;

use affluent_model::{Error, Result};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// Rows of a batch.
const BATCH_ROWS: usize = 4_096;

/// Reads a file; `visit` is given the columns and then each batch, with the columns that the file has.
///
/// # Errors
/// `E0841` when it cannot be read or is no Parquet file, and what `visit` returns.
pub fn read_parquet(path: &Path, visit: &mut dyn FnMut(&SchemaRef, RecordBatch) -> Result<()>) -> Result<()> {
    let unreadable = |why: String| {
        Error::configuration("E0841", format!("`{}` cannot be read: {why}", path.display())).help("name a whole Parquet file")
    };
    let file = File::open(path).map_err(|error| unreadable(error.kind().to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|_| unreadable("it is no Parquet file".to_owned()))?;
    let schema = builder.schema().clone();
    let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|_| unreadable("its columns are broken".to_owned()))?;
    visit(&schema, RecordBatch::new_empty(schema.clone()))?;
    for batch in reader {
        visit(&schema, batch.map_err(|_| unreadable("a part of it is broken".to_owned()))?)?;
    }
    Ok(())
}
