//! What keeps erased and suppressed persons out of records that pass straight through: the columns of a stream in which one
//! of their identifiers may stand.

use affluent_lake::{RowProgram, RowStep};
use affluent_model::Result;
use affluent_model::plan::{Pipeline, PipelineDestination, PipelineSource};
use affluent_model::schema::StreamSchema;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use crate::engine::Engine;
use crate::rows;
use crate::suppressed::Suppressed;

/// The columns of the gate's own program.
const GATE: &str = "_gate_";

/// The gate of one stream.
pub(crate) struct Gate {
    suppressed: Suppressed,
    /// Columns whose values may be an identifier, whatever its kind: personal ones, and those named as a kind.
    columns: Vec<String>,
    /// The identifiers that a pipeline into profiles finds in this stream, as columns after the stream's own.
    mapped: Option<(RowProgram, Vec<String>)>,
}

impl Gate {
    /// Reads who stays out, and where in the stream that can be seen.
    ///
    /// # Errors
    /// What ledger and vault report.
    pub(crate) fn open(engine: &Engine, connection: &str, schema: &StreamSchema) -> Result<Self> {
        let suppressed = Suppressed::for_delivery(engine)?;
        let is_kind = |name: &str| engine.plan.identity.identifiers.iter().any(|rule| rule.name == name);
        let looked_at = schema.fields.iter().filter(|field| field.pii.is_some() || is_kind(&field.name));
        let columns = looked_at.map(|field| field.name.clone()).collect();
        let arrow = schema.to_arrow();
        let mut set: Vec<(String, String)> = Vec::new();
        for pipeline in engine.plan.pipelines.values() {
            for expression in identifiers_of(pipeline, connection, &schema.name) {
                if engine.expressions.plan_row(expression, &arrow).is_ok() {
                    set.push((format!("{GATE}{}", set.len()), expression.clone()));
                }
            }
        }
        let names: Vec<String> = set.iter().map(|(name, _)| name.clone()).collect();
        let mapped =
            if set.is_empty() { None } else { Some((engine.expressions.compile(arrow, vec![RowStep::Set(set)])?, names)) };
        Ok(Self { suppressed, columns, mapped })
    }

    /// Who stays out, to look into refused records.
    pub(crate) fn suppressed(&self) -> &Suppressed {
        &self.suppressed
    }

    /// The rows of persons who may be delivered, and how many others there were.
    ///
    /// # Errors
    /// What makes the batch unreadable.
    pub(crate) fn admit(&self, records: RecordBatch, now_us: i64) -> Result<(RecordBatch, u64)> {
        if self.suppressed.is_empty() {
            return Ok((records, 0));
        }
        let mut keep = vec![true; records.num_rows()];
        for name in &self.columns {
            if let Some(column) = records.column_by_name(name) {
                self.mark(column, &mut keep, None)?;
            }
        }
        if let Some((program, names)) = &self.mapped {
            // A row whose identifiers cannot be computed stays: its own columns were looked at.
            let applied = program.apply_each(&records, now_us)?;
            let mut refused = applied.refused.iter().map(|row| row.row).peekable();
            let places: Vec<usize> = (0..keep.len()).filter(|row| refused.next_if_eq(row).is_none()).collect();
            for name in names {
                self.mark(rows::column(&applied.records, name)?, &mut keep, Some(&places))?;
            }
        }
        let left = keep.iter().filter(|kept| !**kept).count();
        if left == 0 {
            return Ok((records, 0));
        }
        let kept = filter_record_batch(&records, &BooleanArray::from(keep));
        let kept = kept.map_err(|error| affluent_model::Error::bug(error.to_string()))?;
        Ok((kept, u64::try_from(left).unwrap_or(u64::MAX)))
    }

    /// Marks the rows whose value is on the list; `places` are the rows of the batch that the column's rows are.
    fn mark(&self, column: &arrow::array::ArrayRef, keep: &mut [bool], places: Option<&[usize]>) -> Result<()> {
        let texts = rows::as_text(column)?;
        for (row, value) in texts.as_string::<i32>().iter().enumerate() {
            let place = places.map_or(Some(row), |places| places.get(row).copied());
            if let (Some(value), Some(kept)) = (value, place.and_then(|place| keep.get_mut(place))) {
                *kept &= !self.suppressed.holds_any(value);
            }
        }
        Ok(())
    }
}

/// The expressions of the identifiers that a pipeline finds in a stream of a connection.
fn identifiers_of<'a>(pipeline: &'a Pipeline, connection: &str, stream: &str) -> impl Iterator<Item = &'a String> {
    let mapping = match (&pipeline.source, &pipeline.destination) {
        (PipelineSource::Connection { connection: own, .. }, PipelineDestination::Profiles { streams, .. })
            if own == connection =>
        {
            streams.get(stream)
        }
        _ => None,
    };
    mapping.into_iter().flat_map(|mapping| &mapping.identifiers).map(|identifier| &identifier.expression.text)
}
