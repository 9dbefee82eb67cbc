//! The transforms of one stream, in the order of the plan: SQL steps compiled into row programs, WASM where asked.

use std::sync::Arc;

use affluent_lake::{RowProgram, RowStep};
use affluent_model::Result;
use affluent_model::batch::{Batch, Rejected, RowOperation};
use affluent_model::connector::{Transform, TransformRequest};
use affluent_model::plan::{Pipeline, TransformStep};
use affluent_model::schema::{Field, StreamSchema};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use crate::engine::Engine;
use crate::rows::not_computed;

/// The opened transforms of one stream.
pub(crate) struct Transforms {
    stages: Vec<Stage>,
    /// The columns that come out.
    pub(crate) schema: SchemaRef,
    stream: String,
}

enum Stage {
    Rows(RowProgram),
    Plugin(Box<dyn Transform>),
}

/// A transformed batch and what it lost on the way.
pub(crate) struct Transformed {
    pub(crate) records: RecordBatch,
    pub(crate) filtered: u64,
    pub(crate) rejected: Vec<Rejected>,
}

impl Transforms {
    /// Opens the transforms of a stream.
    ///
    /// # Errors
    /// An expression that does not plan against the stream's columns; a plugin that cannot be opened.
    pub(crate) async fn open(engine: &Engine, pipeline: &Pipeline, stream: &StreamSchema) -> Result<Self> {
        let mut schema = stream.to_arrow();
        let mut stages = Vec::new();
        let mut steps = Vec::new();
        for step in pipeline.transforms.iter().filter(|step| step.is_for(&stream.name)) {
            match step {
                TransformStep::Filter { condition, .. } => steps.push(RowStep::Filter(condition.text.clone())),
                TransformStep::Map { set, drop, .. } => {
                    let set = set.iter().map(|named| (named.name.clone(), named.expression.text.clone())).collect();
                    steps.push(RowStep::Set(set));
                    steps.push(RowStep::Drop(drop.clone()));
                }
                TransformStep::Plugin { plugin, config, .. } => {
                    schema = compile(engine, &mut stages, &mut steps, schema)?;
                    let request = TransformRequest {
                        pipeline: pipeline.name.clone(),
                        plugin: plugin.clone(),
                        config: config.clone(),
                        stream: stream.with_arrow(&schema),
                    };
                    let transform = engine.connectors.open_transform(request).await?;
                    schema = Arc::new(Schema::new(transform.output_fields().iter().map(Field::to_arrow).collect::<Vec<_>>()));
                    stages.push(Stage::Plugin(transform));
                }
            }
        }
        schema = compile(engine, &mut stages, &mut steps, schema)?;
        Ok(Self { stages, schema, stream: stream.name.clone() })
    }

    /// Transforms a batch; a row for which an expression cannot be computed is rejected alone.
    ///
    /// # Errors
    /// A plugin that traps or refuses the batch as a whole.
    pub(crate) async fn apply(&mut self, records: RecordBatch, now_us: i64) -> Result<Transformed> {
        let mut done = Transformed { records, filtered: 0, rejected: Vec::new() };
        for stage in &mut self.stages {
            match stage {
                Stage::Rows(program) => {
                    let applied = program.apply_each(&done.records, now_us)?;
                    let refused = applied.refused.iter().map(|row| not_computed(&self.stream, &done.records, row));
                    done.rejected.extend(refused);
                    done.records = applied.records;
                    done.filtered += applied.filtered;
                }
                Stage::Plugin(transform) => {
                    let rows_in = done.records.num_rows();
                    let batch = Batch { stream: self.stream.clone(), operation: RowOperation::Upsert, records: done.records };
                    let (batch, rejected) = transform.apply(batch).await?;
                    let lost = rows_in.saturating_sub(batch.records.num_rows() + rejected.len());
                    done.filtered += u64::try_from(lost).unwrap_or(0);
                    done.rejected.extend(rejected);
                    done.records = batch.records;
                }
            }
        }
        Ok(done)
    }
}

/// Compiles the SQL steps collected so far into one stage; returns the columns after it.
fn compile(engine: &Engine, stages: &mut Vec<Stage>, steps: &mut Vec<RowStep>, schema: SchemaRef) -> Result<SchemaRef> {
    if steps.is_empty() {
        return Ok(schema);
    }
    let program = engine.expressions.compile(schema, std::mem::take(steps))?;
    let schema = program.output_schema();
    stages.push(Stage::Rows(program));
    Ok(schema)
}
