//! Asking destinations to erase persons: the part of a run that comes before anything is planned, so that nothing is sent of
//! a person afterwards. Calls are written down before they are made; one that a crash left is made again, which changes nothing.
//! Personal values go out as in any delivery: a plugin that is blind gets tokens.

use std::sync::Arc;

use affluent_ledger::{CallOutcome, ErasureCall, Lease};
use affluent_model::batch::{DeliveryReport, OutgoingBatch, RowOperation};
use affluent_model::connector::DestinationRequest;
use affluent_model::limits::ERASURE_LOOKS_FOR_US;
use affluent_model::manifest::{ERASE_MODE, TargetSchema, VERIFY_ERASURE_MODE};
use affluent_model::plan::{DestinationPlan, WriteMode};
use affluent_model::report::ActivationReport;
use affluent_model::{Error, Result};
use affluent_vault::{BlindIndexer, Purpose};

use crate::attempts::begun;
use crate::deliver::with_remote_ids;
use crate::desired::DesiredRows;
use crate::engine::Engine;
use crate::row_codec;
use crate::sealer::{Place, RunOpener};
use crate::send::{Durable, Sender, Stopped};
use crate::streams::connection_of;

/// Persons of one batch: services take one a call and few calls a second, and a call of a plugin has a deadline.
const PERSONS_MAX: usize = 50;

/// What a destination's object offers beside writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ability {
    pub(crate) erases: bool,
    verifies: bool,
}

impl Ability {
    /// Asks the plugin.
    ///
    /// # Errors
    /// What the plugin reports.
    pub(crate) async fn of(engine: &Engine, plan: &DestinationPlan) -> Result<Self> {
        let connection = connection_of(engine, &plan.connection)?;
        Ok(Self::among(&engine.connectors.discover_targets(connection).await?, plan))
    }

    fn among(targets: &[TargetSchema], plan: &DestinationPlan) -> Self {
        let target = targets.iter().find(|target| target.name == plan.object);
        let has = |mode: &str| target.is_some_and(|target| target.modes.iter().any(|known| known == mode));
        Self { erases: has(ERASE_MODE), verifies: has(VERIFY_ERASURE_MODE) }
    }
}

/// Makes the calls that are open for a pipeline, and looks whether persons who were to be erased are gone. What a destination
/// refuses or does not answer is counted and stays to be done; the run goes on.
///
/// # Errors
/// `E0801` when the run is being stopped, `E0802` when the remote's limit is spent; what the stores report.
pub(crate) async fn ask_to_erase(
    engine: &Engine,
    lease: &Lease,
    plan: &DestinationPlan,
    desired: &DesiredRows<'_>,
    report: &mut ActivationReport,
) -> Result<()> {
    if !engine.ledger.has_erasure_calls(&lease.pipeline)? {
        return Ok(());
    }
    let connection = connection_of(engine, &plan.connection)?;
    let targets = begun(engine, || engine.connectors.discover_targets(Arc::clone(&connection))).await?;
    let ability = Ability::among(&targets, plan);
    if !ability.erases {
        let is_told_otherwise = plan.mode == WriteMode::Mirror;
        return if is_told_otherwise { Ok(()) } else { engine.ledger.settle_unsupported(lease, engine.now_us()) };
    }
    let asking =
        Asking { engine, lease, plan, desired, keyer: engine.vault.blind_indexer(&format!("erasure/{}", lease.pipeline))? };
    let looked_since_us = engine.now_us().saturating_sub(ERASURE_LOOKS_FOR_US);
    let mut calls = engine.ledger.open_erasure_calls(lease, looked_since_us)?;
    calls.retain(|call| !call.is_accepted);
    for (call, answer) in calls.iter().zip(asking.ask(ERASE_MODE, &calls).await?) {
        let outcome = match answer {
            Ok(reference) => CallOutcome::Accepted { reference, is_last: !ability.verifies },
            Err(reason) => CallOutcome::Refused { reason },
        };
        asking.settle(call, &outcome, report)?;
    }
    if ability.verifies {
        let mut calls = engine.ledger.open_erasure_calls(lease, looked_since_us)?;
        calls.retain(|call| call.is_accepted);
        for (call, answer) in calls.iter().zip(asking.ask(VERIFY_ERASURE_MODE, &calls).await?) {
            if answer.is_ok() {
                asking.settle(call, &CallOutcome::Verified, report)?;
            }
        }
    }
    Ok(())
}

/// What the destination answered to one call: its reference, or code and message of a refusal.
type Answer = Result<Option<String>, String>;

struct Asking<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    plan: &'a DestinationPlan,
    desired: &'a DesiredRows<'a>,
    keyer: BlindIndexer,
}

impl Asking<'_> {
    /// One answer for each call, in their order.
    async fn ask(&self, mode: &str, calls: &[ErasureCall]) -> Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(calls.len());
        if calls.is_empty() {
            return Ok(answers);
        }
        let mut sender = match Sender::open(self.engine, self.request(mode)?).await {
            Ok(sender) => sender,
            Err(error) => return Ok(vec![Err(reason_of(error)?); calls.len()]),
        };
        let persons_max = sender.info().max_rows.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(PERSONS_MAX);
        let mut opener = RunOpener::new(self.engine);
        let mut ranges: Vec<&[ErasureCall]> = calls.chunks(persons_max.clamp(1, PERSONS_MAX)).rev().collect();
        while let Some(some) = ranges.pop() {
            match sender.write(self.outgoing(mode, some, &mut opener)?, &mut NotKept).await {
                Ok(report) => answers.extend((0..some.len()).map(|row| answer_of(&report, row))),
                Err(Stopped::Refused(_)) if some.len() > 1 => ranges.extend(some.chunks(1).rev()),
                Err(Stopped::Refused(failure)) => answers.push(Err(reason_of(failure.error)?)),
                Err(Stopped::NotSent(error, _) | Stopped::InFlight(error)) => {
                    let reason = reason_of(error)?;
                    answers.resize(calls.len(), Err(reason));
                    return Ok(answers);
                }
            }
        }
        match sender.close().await {
            Ok(()) => Ok(answers),
            Err(error) => Ok(vec![Err(reason_of(error)?); calls.len()]),
        }
    }

    fn request(&self, mode: &str) -> Result<DestinationRequest> {
        let fields = self.desired.fields.get(..self.desired.match_count).unwrap_or_default().to_vec();
        let mut plaintext = self.desired.plaintext.clone();
        plaintext.retain(|name| fields.iter().any(|field| field.name == *name));
        Ok(DestinationRequest {
            pipeline: self.lease.pipeline.clone(),
            connection: connection_of(self.engine, &self.plan.connection)?,
            object: self.plan.object.clone(),
            mode: mode.to_owned(),
            match_fields: fields.iter().map(|field| field.name.clone()).collect(),
            list: None,
            fields,
            plaintext,
            run: self.lease.run.to_string(),
        })
    }

    /// The persons as the destination gets them: what it was matched by, and its own id where it told one.
    fn outgoing(&self, mode: &str, calls: &[ErasureCall], opener: &mut RunOpener<'_>) -> Result<OutgoingBatch> {
        let mut named = mode.as_bytes().to_vec();
        let mut opened = Vec::with_capacity(calls.len());
        for call in calls {
            named.extend_from_slice(&call.erasure.to_be_bytes());
            named.extend_from_slice(&call.key.0.to_be_bytes());
            opened.push(opener.open(&call.match_sealed, Place::OutboxMatch, &call.key.to_string(), Purpose::Activation)?);
        }
        let fields = self.desired.fields.get(..self.desired.match_count).unwrap_or_default();
        let ids = calls.iter().map(|call| call.remote_id.as_deref()).collect();
        let records = with_remote_ids(row_codec::decode(fields, &opened)?, ids)?;
        let key = self.keyer.index(&named);
        let idempotency_key = key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect();
        Ok(OutgoingBatch { idempotency_key, operation: RowOperation::Delete, records })
    }

    fn settle(&self, call: &ErasureCall, outcome: &CallOutcome, report: &mut ActivationReport) -> Result<()> {
        let now_us = self.engine.now_us();
        self.engine.ledger.settle_erasure_call(self.lease, call, outcome, now_us)?;
        let action = match outcome {
            CallOutcome::Accepted { .. } => {
                report.erased += 1;
                "profile.erasure_accepted"
            }
            CallOutcome::Verified => "profile.erasure_verified",
            CallOutcome::Refused { .. } => {
                report.erasures_refused += 1;
                "profile.erasure_refused"
            }
        };
        let detail = format!("profile {}, erasure {}, pipeline {}", call.key, call.erasure, self.lease.pipeline);
        self.engine.ledger.audit(now_us, action, &detail)
    }
}

fn answer_of(report: &DeliveryReport, row: usize) -> Answer {
    let refusals = report.failed.iter().chain(&report.skipped).chain(&report.retryable);
    match refusals.into_iter().find(|error| error.row == row) {
        Some(error) => Err(format!("{}: {}", error.code, error.message)),
        None => Ok(report.remote_ids.iter().find(|(at, _)| *at == row).map(|(_, id)| id.clone())),
    }
}

/// Why nothing was answered, for people; a run that is being stopped ends here.
fn reason_of(error: Error) -> Result<String> {
    if error.code == "E0801" { Err(error) } else { Ok(format!("{}: {}", error.code, error.message)) }
}

/// A call is made again by the next run: nothing of it must be durable meanwhile.
struct NotKept;

impl Durable for NotKept {
    fn import_started(&mut self, _token: &str) -> Result<()> {
        Ok(())
    }

    fn sent_again(&mut self) -> Result<()> {
        Ok(())
    }
}
