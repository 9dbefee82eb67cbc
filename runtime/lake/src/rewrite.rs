//! One file read as it is, and written anew without some of its rows: what is erased must not stay in a file that nobody
//! lists any more, and a file is never changed in place.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use affluent_model::{Error, Result};
use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::canonical::read_as_views;
use crate::failures::unreadable_file;
use crate::lake::{LakeFile, LakeWriter as _};
use crate::limits::QUERY_BATCH_ROWS;
use crate::writer::{FINISHED, FileWriter, check_name};

/// Opens a file to read it.
pub(crate) fn open(dir: &Path, name: &str) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    check_name(name)?;
    let file = File::open(dir.join(format!("{name}{FINISHED}"))).map_err(|error| unreadable_file(name, &error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable_file(name, &error))
}

/// Opens a file to read its bytes and texts as views.
fn open_with_views(dir: &Path, name: &str) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    check_name(name)?;
    let unreadable = |error: &dyn std::fmt::Display| unreadable_file(name, error);
    let file = File::open(dir.join(format!("{name}{FINISHED}"))).map_err(|error| unreadable(&error))?;
    let stored = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| unreadable(&error))?;
    let options = ArrowReaderOptions::new().with_schema(read_as_views(stored.schema()));
    let viewed = ArrowReaderMetadata::try_new(Arc::clone(stored.metadata()), options).map_err(|error| unreadable(&error))?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, viewed))
}

/// Visits some columns of a file, in its order of rows; bytes and texts as views.
pub(crate) fn scan(dir: &Path, name: &str, columns: &[&str], visit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    let builder = open_with_views(dir, name)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(QUERY_BATCH_ROWS);
    let reader = reader.build().map_err(|error| unreadable_file(name, &error))?;
    for batch in reader {
        visit(batch.map_err(|error| unreadable_file(name, &error))?)?;
    }
    Ok(())
}

/// Writes the rows of a file that `keep` wants to a new one, in their order and with the same columns.
pub(crate) fn rewrite(
    dir: &Path,
    name: &str,
    new_name: &str,
    keep: &mut dyn FnMut(&RecordBatch) -> Result<BooleanArray>,
) -> Result<LakeFile> {
    let builder = open(dir, name)?;
    let mut writer = Box::new(FileWriter::create(dir, new_name, Arc::clone(builder.schema()))?);
    for batch in builder.build().map_err(|error| unreadable_file(name, &error))? {
        let batch = batch.map_err(|error| unreadable_file(name, &error))?;
        let kept = filter_record_batch(&batch, &keep(&batch)?).map_err(|error| Error::bug(error.to_string()))?;
        writer.write(&kept)?;
    }
    writer.finish()
}
