//! A destination plugin behind the model's `Destination`: batches go out as payloads, reports are checked to add up and
//! to name rows that exist.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use affluent_model::batch::{DeliveryReport, Outcome, OutgoingBatch, RowError, RowOperation};
use affluent_model::connector::{BoxFuture, Destination, DestinationRequest, Failure};
use affluent_model::limits::GUEST_MESSAGE_BYTES_MAX;
use affluent_model::manifest::DestinationInfo;
use affluent_model::schema::Field;
use arrow::record_batch::RecordBatch;
use serde::Serialize;

use crate::bindings::affluent::plugin::types::{RowError as GuestRowError, RowOp};
use crate::bindings::exports::affluent::plugin::destination as exported;
use crate::blind::{RowMap, TokenVault, Treatments};
use crate::codec::{Encoder, Invalid};
use crate::contract::DestinationGuest;
use crate::failure::{clean_code, clean_text};
use crate::instance::Instance;
use crate::limits::TOKEN_BYTES_MAX;

/// Bytes of an id in a remote system.
const REMOTE_ID_BYTES_MAX: usize = 1 << 10;

/// What `destination.open` is told; the SDK's `Target`.
#[derive(Serialize)]
struct Target<'a> {
    object: &'a str,
    mode: &'a str,
    #[serde(rename = "match")]
    match_fields: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    list: Option<TargetList<'a>>,
    fields: Vec<Field>,
    run: &'a str,
}

#[derive(Serialize)]
struct TargetList<'a> {
    name: &'a str,
}

/// An open writer.
pub(crate) struct PluginDestination {
    instance: Instance,
    guest: OpenGuest,
    info: DestinationInfo,
    treatments: Treatments,
    /// The batch whose values the tokens stand for, by its key.
    current: Option<(String, RowMap)>,
}

/// A plugin's destination interface, and how batches reach it.
pub(crate) struct OpenGuest {
    pub(crate) exported: Box<dyn DestinationGuest>,
    pub(crate) encoder: Encoder,
    pub(crate) tokens: Arc<TokenVault>,
    pub(crate) is_blind: bool,
}

impl PluginDestination {
    /// # Errors
    /// What the plugin reports; traps.
    pub(crate) async fn open(mut instance: Instance, guest: OpenGuest, request: &DestinationRequest) -> Result<Self, Failure> {
        let treatments = Treatments::new(request, &BTreeMap::new(), guest.is_blind);
        let target = Target {
            object: &request.object,
            mode: &request.mode,
            match_fields: &request.match_fields,
            list: request.list.as_deref().map(|name| TargetList { name }),
            fields: request.fields.iter().map(|field| treatments.shown(field)).collect(),
            run: &request.run,
        };
        let target = crate::connectors::to_json(&target)?;
        let config = crate::connectors::to_json(&request.connection.config)?;
        let called = instance.begin()?.run(|store| guest.exported.call_open(store, &config, &target)).await;
        let json = instance.settle_reported(called)?;
        let info: DestinationInfo = instance.parse("an answer to `open`", &json)?;
        let treatments = Treatments::new(request, &info.forms, guest.is_blind);
        Ok(Self { instance, guest, info, treatments, current: None })
    }

    /// The batch as the plugin gets it; from now on its tokens stand for its values.
    fn hold(&mut self, batch: &OutgoingBatch) -> Result<RecordBatch, Failure> {
        let blinded = self.treatments.apply(&batch.records, self.guest.tokens.tokenizer());
        let blinded = blinded.map_err(|invalid| self.unwritable(&invalid))?;
        self.guest.tokens.hold(Arc::new(blinded.values));
        self.current = Some((batch.idempotency_key.clone(), blinded.rows));
        Ok(blinded.records)
    }

    fn release(&mut self) -> RowMap {
        self.guest.tokens.forget();
        self.current.take().map(|(_, rows)| rows).unwrap_or_default()
    }

    fn unwritable(&self, Invalid(what): &Invalid) -> Failure {
        let message = format!("a batch for plugin `{}` cannot be written: {what}", self.instance.plugin());
        crate::failure::configuration_failure("E0524", message, "map the column to one of the field types")
    }

    async fn write_batch(&mut self, batch: OutgoingBatch) -> Result<Outcome, Failure> {
        let records = self.hold(&batch)?;
        let handed = records.num_rows();
        if handed == 0 && batch.records.num_rows() > 0 {
            return Ok(Outcome::Done(self.release().completed(DeliveryReport::default())));
        }
        let payload = self.guest.encoder.encode(&records).map_err(|invalid| self.unwritable(&invalid))?;
        let op = match batch.operation {
            RowOperation::Upsert => RowOp::Upsert,
            RowOperation::Delete => RowOp::Delete,
        };
        let batch = exported::Batch { idempotency_key: batch.idempotency_key, op, payload };
        let guest = &self.guest.exported;
        let called = self.instance.begin()?.run(|store| guest.call_write(store, &batch)).await;
        let outcome = self.instance.settle_reported(called)?;
        self.finish(outcome, handed)
    }

    async fn poll_batch(&mut self, token: &str, batch: &OutgoingBatch) -> Result<Outcome, Failure> {
        if self.current.as_ref().is_none_or(|(key, _)| *key != batch.idempotency_key) {
            self.hold(batch)?;
        }
        let refused = self.current.as_ref().map_or(0, |(_, rows)| rows.refused.len());
        let guest = &self.guest.exported;
        let called = self.instance.begin()?.run(|store| guest.call_poll(store, token)).await;
        let outcome = self.instance.settle_reported(called)?;
        self.finish(outcome, batch.records.num_rows().saturating_sub(refused))
    }

    /// Checks the answer for the rows that were handed over, and adds those that were not.
    fn finish(&mut self, outcome: exported::Outcome, handed: usize) -> Result<Outcome, Failure> {
        Ok(match self.check(outcome, handed)? {
            Outcome::Done(report) => Outcome::Done(self.release().completed(report)),
            pending @ Outcome::Pending { .. } => pending,
        })
    }

    fn check(&mut self, outcome: exported::Outcome, rows: usize) -> Result<Outcome, Failure> {
        let checked = match outcome {
            exported::Outcome::Done(report) => {
                let services = self.instance.services();
                check_report(report, rows, &|text| services.map_or_else(|| text.to_owned(), |services| services.clean(text)))
                    .map(Outcome::Done)
            }
            exported::Outcome::Pending((token, _)) if token.len() > TOKEN_BYTES_MAX => {
                Err(Invalid(format!("a token of more than {TOKEN_BYTES_MAX} bytes")))
            }
            exported::Outcome::Pending((token, after_ms)) => Ok(Outcome::Pending { token, after_ms: u64::from(after_ms) }),
        };
        checked.map_err(|Invalid(what)| self.instance.break_off("E0521", &format!("gave a report that is refused: {what}")))
    }

    async fn end(mut self: Box<Self>) -> Result<(), Failure> {
        self.release();
        let guest = &self.guest.exported;
        let called = self.instance.begin()?.run(|store| guest.call_close(store)).await;
        self.instance.settle_reported(called)
    }
}

fn check_report(report: exported::Report, rows: usize, clean: &dyn Fn(&str) -> String) -> Result<DeliveryReport, Invalid> {
    let accepted = usize::try_from(report.accepted).unwrap_or(usize::MAX);
    let refused = report.skipped.len() + report.failed.len() + report.retryable.len();
    if accepted.saturating_add(refused) != rows {
        return Err(Invalid(format!("it counts {} rows of {rows}", accepted.saturating_add(refused))));
    }
    let mut seen = HashSet::with_capacity(refused);
    let mut check = |errors: Vec<GuestRowError>| {
        errors.into_iter().map(|error| check_row(error, rows, &mut seen, clean)).collect::<Result<Vec<_>, _>>()
    };
    let (skipped, failed, retryable) = (check(report.skipped)?, check(report.failed)?, check(report.retryable)?);
    if report.remote_ids.len() > rows {
        return Err(Invalid(format!("it has {} remote ids for {rows} rows", report.remote_ids.len())));
    }
    let remote_ids = report.remote_ids.into_iter().map(|(row, id)| {
        let row = row_number(row, rows)?;
        if id.len() > REMOTE_ID_BYTES_MAX {
            Err(Invalid("it has a remote id of more than 1 KiB".to_owned()))
        } else {
            Ok((row, id))
        }
    });
    Ok(DeliveryReport { accepted, skipped, failed, retryable, remote_ids: remote_ids.collect::<Result<Vec<_>, _>>()? })
}

fn check_row(
    error: GuestRowError,
    rows: usize,
    seen: &mut HashSet<usize>,
    clean: &dyn Fn(&str) -> String,
) -> Result<RowError, Invalid> {
    let row = row_number(error.row, rows)?;
    if !seen.insert(row) {
        return Err(Invalid(format!("it names row {row} twice")));
    }
    let message = clean_text(&clean(&error.message), GUEST_MESSAGE_BYTES_MAX);
    let field = error.field.map(|field| clean_text(&field, 128));
    Ok(RowError { row, code: clean_code(&error.code), message, field })
}

fn row_number(row: u32, rows: usize) -> Result<usize, Invalid> {
    let number = usize::try_from(row).unwrap_or(usize::MAX);
    if number < rows { Ok(number) } else { Err(Invalid(format!("it names row {row} of {rows}"))) }
}

impl Destination for PluginDestination {
    fn info(&self) -> &DestinationInfo {
        &self.info
    }

    fn write(&mut self, batch: OutgoingBatch) -> BoxFuture<'_, Result<Outcome, Failure>> {
        Box::pin(self.write_batch(batch))
    }

    fn poll<'a>(&'a mut self, token: &'a str, batch: &'a OutgoingBatch) -> BoxFuture<'a, Result<Outcome, Failure>> {
        Box::pin(self.poll_batch(token, batch))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::affluent::plugin::types::ErrorKind;

    fn row(row: u32) -> GuestRowError {
        GuestRowError { row, kind: ErrorKind::InvalidData, code: "c".to_owned(), message: "m".to_owned(), field: None }
    }

    fn report(accepted: u32, failed: &[u32], retryable: &[u32]) -> exported::Report {
        let rows = |numbers: &[u32]| numbers.iter().map(|number| row(*number)).collect();
        exported::Report {
            accepted,
            skipped: Vec::new(),
            failed: rows(failed),
            retryable: rows(retryable),
            remote_ids: Vec::new(),
        }
    }

    #[test]
    fn a_report_that_adds_up_is_taken() {
        let checked = check_report(report(2, &[0], &[3]), 4, &str::to_owned).unwrap();

        assert_eq!((checked.accepted, checked.failed.len(), checked.retryable.len()), (2, 1, 1));
    }

    #[test]
    fn a_report_that_lies_is_refused() {
        for (report, rows) in [
            (report(3, &[], &[]), 4),
            (report(4, &[0], &[]), 4),
            (report(u32::MAX, &[0], &[]), 0),
            (report(3, &[4], &[]), 4),
            (report(2, &[1], &[1]), 4),
            (exported::Report { remote_ids: vec![(4, String::new())], ..report(4, &[], &[]) }, 4),
            (exported::Report { remote_ids: vec![(0, String::new()); 5], ..report(4, &[], &[]) }, 4),
        ] {
            assert!(check_report(report.clone(), rows, &str::to_owned).is_err(), "{report:?}");
        }
    }
}
