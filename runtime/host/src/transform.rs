//! A transform plugin behind the model's `Transform`. It has no network and no store; its output is checked like any
//! page, and may not be larger than a fixed multiple of its input.

use affluent_model::batch::{Batch, Rejected, RowOperation};
use affluent_model::connector::{BoxFuture, Failure, Transform, TransformRequest};
use affluent_model::limits::{GUEST_MESSAGE_BYTES_MAX, REJECTED_RAW_BYTES_MAX};
use affluent_model::schema::{Field, StreamSchema};
use arrow::record_batch::RecordBatch;

use crate::bindings::affluent::plugin::types::{Payload, RowError};
use crate::bindings::exports::affluent::plugin::transform as exported;
use crate::codec::{Encoder, Given, Invalid, StreamCodec, row_json};
use crate::contract::TransformGuest;
use crate::failure::{clean_code, clean_text};
use crate::instance::Instance;
use crate::limits::FAN_OUT_MAX;

/// An open transform.
pub(crate) struct PluginTransform {
    instance: Instance,
    guest: Box<dyn TransformGuest>,
    encoder: Encoder,
    codec: StreamCodec,
    fields: Vec<Field>,
    rows_in: usize,
    rows_out: usize,
}

type Transformed = (Batch, Vec<Rejected>);

impl PluginTransform {
    /// # Errors
    /// What the plugin reports; traps; an output schema that is not valid.
    pub(crate) async fn open(
        mut instance: Instance,
        guest: Box<dyn TransformGuest>,
        encoder: Encoder,
        request: &TransformRequest,
    ) -> Result<Self, Failure> {
        let input = crate::connectors::to_json(&request.stream)?;
        let config = crate::connectors::to_json(&request.config)?;
        let called = instance.begin()?.run(|store| guest.call_open(store, &config, &input)).await;
        let json = instance.settle_reported(called)?;
        let output: StreamSchema = instance.parse("an output schema", &json)?;
        let codec = StreamCodec::of_fields(&request.stream.name, &output.fields);
        let codec =
            codec.map_err(|Invalid(what)| instance.break_off("E0507", &format!("has an output that cannot be read: {what}")))?;
        Ok(Self { instance, guest, encoder, codec, fields: output.fields, rows_in: 0, rows_out: 0 })
    }

    async fn apply_batch(&mut self, batch: Batch) -> Result<Transformed, Failure> {
        let payload = self.encoder.encode(&batch.records);
        let payload =
            payload.map_err(|Invalid(what)| self.instance.break_off("E0524", &format!("cannot be given a batch: {what}")))?;
        let guest = &self.guest;
        let called = self.instance.begin()?.run(|store| guest.call_apply(store, &payload)).await;
        let output = self.instance.settle_reported(called)?;
        self.rows_in += batch.records.num_rows();
        self.take(output, Some((&batch.records, &payload)), batch.operation)
    }

    async fn finish_all(&mut self) -> Result<Option<Transformed>, Failure> {
        let guest = &self.guest;
        let called = self.instance.begin()?.run(|store| guest.call_finish(store)).await;
        let output = self.instance.settle_reported(called)?;
        output.map(|output| self.take(output, None, RowOperation::Upsert)).transpose()
    }

    fn take(
        &mut self,
        output: exported::Output,
        input: Option<(&RecordBatch, &Payload)>,
        operation: RowOperation,
    ) -> Result<Transformed, Failure> {
        let checked = self.check(output, input, operation);
        checked.map_err(|Invalid(what)| self.instance.break_off("E0520", &format!("gave an output that is refused: {what}")))
    }

    fn check(
        &mut self,
        output: exported::Output,
        input: Option<(&RecordBatch, &Payload)>,
        operation: RowOperation,
    ) -> Result<Transformed, Invalid> {
        let given = input.and_then(|(records, payload)| match payload {
            Payload::Columns(columns) => Some(Given { columns, records }),
            Payload::Ndjson(_) => None,
        });
        let input = input.map(|(records, _)| records);
        let records = self.codec.decode_from(output.payload, operation, given)?;
        self.rows_out += records.num_rows();
        if self.rows_out > self.rows_in.saturating_mul(FAN_OUT_MAX) {
            return Err(Invalid(format!("more than {FAN_OUT_MAX} rows out for each row in")));
        }
        let rows = input.map_or(self.rows_in, RecordBatch::num_rows);
        if output.rejected.len() > rows {
            return Err(Invalid(format!("{} rejected rows of {rows}", output.rejected.len())));
        }
        let mut rejected = Vec::with_capacity(output.rejected.len());
        let mut seen = std::collections::HashSet::new();
        for error in output.rejected {
            let row = usize::try_from(error.row).unwrap_or(usize::MAX);
            if row >= rows || !seen.insert(row) {
                return Err(Invalid(format!("it rejects row {row} of {rows}, or twice")));
            }
            rejected.push(self.reject(error, row, input));
        }
        Ok((Batch { stream: self.codec.stream.clone(), operation, records }, rejected))
    }

    fn reject(&self, error: RowError, row: usize, input: Option<&RecordBatch>) -> Rejected {
        let raw = input.and_then(|input| row_json(input, row).ok()).filter(|raw| raw.len() <= REJECTED_RAW_BYTES_MAX);
        Rejected {
            stream: self.codec.stream.clone(),
            place: format!("row {row} of the batch"),
            code: clean_code(&error.code),
            message: clean_text(&error.message, GUEST_MESSAGE_BYTES_MAX),
            raw,
        }
    }
}

impl Transform for PluginTransform {
    fn apply(&mut self, batch: Batch) -> BoxFuture<'_, Result<Transformed, Failure>> {
        Box::pin(self.apply_batch(batch))
    }

    fn finish(&mut self) -> BoxFuture<'_, Result<Option<Transformed>, Failure>> {
        Box::pin(self.finish_all())
    }

    fn output_fields(&self) -> &[Field] {
        &self.fields
    }
}
