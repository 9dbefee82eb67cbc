//! What a person may ask for: everything held of them, and to be forgotten. An erasure is written down first, with the list
//! that keeps the person out; then keys and traces go, the snapshot is computed without them, and destinations are told by
//! the runs of their pipelines. Each step may be taken again: whatever run comes next goes on where a crash left off.

use std::collections::BTreeSet;

use affluent_ledger::{ErasureRow, Lease, NewErasure, NewReceipt, ReceiptState, SentRow};
use affluent_model::identity::{BlindIndex, NodeId, ProfileId};
use affluent_model::plan::{DestinationPlan, IdentifierRule, PipelineDestination, PipelineSource, WriteMode};
use affluent_model::report::{ProfilesReport, RunOutcome, RunReport};
use affluent_model::{Error, Result};
use affluent_vault::Purpose;
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use crate::engine::Engine;
use crate::erase_calls::Ability;
use crate::forgotten_files::forget_in_files;
use crate::inspect::ProfileValue;
use crate::person::{PersonRecord, records_of};
use crate::run::RunOptions;
use crate::sealer::{Place, RunOpener};
use crate::suppressed::{Suppressed, forms, is_shared};
use crate::unify::unify;

/// The audit's word for an export.
pub(crate) const EXPORTED: &str = "profile.exported";

/// Everything held of one person (GDPR articles 15 and 20).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PersonExport {
    pub profile: String,
    /// RFC 3339.
    pub exported_at: String,
    /// Identifier kind and value, each once.
    pub identifiers: Vec<(String, String)>,
    /// Attributes and traits with their source.
    pub values: Vec<ProfileValue>,
    pub segments: Vec<Stay>,
    /// Who was sent something.
    pub recipients: Vec<Recipient>,
    /// The source records.
    pub records: Vec<PersonRecord>,
}

/// A stay in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stay {
    pub segment: String,
    pub entered_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_at: Option<String>,
}

/// A destination that holds something of the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recipient {
    pub pipeline: String,
    pub connection: String,
    pub object: String,
    /// The consent it depends on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The fields that are sent.
    pub fields: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    pub last_accepted_at: String,
}

/// One erasure, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasureView {
    pub erasure: i64,
    pub profile: String,
    pub records: usize,
    pub requested_at: String,
    /// When nothing was left here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forgotten_at: Option<String>,
    pub receipts: Vec<ReceiptView>,
}

/// What became of one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReceiptView {
    pub pipeline: String,
    pub destination: String,
    /// `requested`, `accepted`, `verified`, `removed_not_supported` or `not_supported`.
    pub state: String,
    pub at: String,
    /// What the destination calls its requests, or the person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Why it did not take a request; the next run of the pipeline asks again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
}

impl Engine {
    /// Everything held of a person, in the clear; noted in the audit.
    ///
    /// # Errors
    /// `E0813` when nobody is meant, `E0807` without profiles; what the stores report.
    pub async fn export_person(&self, reference: &str) -> Result<PersonExport> {
        let id = self.find_profile(reference)?;
        let nodes: Vec<NodeId> = self.ledger.nodes_of(id)?.iter().map(|row| row.node).collect();
        if nodes.is_empty() {
            return Err(nobody());
        }
        self.ledger.audit(self.now_us(), EXPORTED, &format!("profile {id}"))?;
        let held = records_of(self, &nodes, Some(Purpose::SubjectExport)).await?;
        let identifiers: BTreeSet<(String, String)> = held.iter().flat_map(|one| one.identifiers.clone()).collect();
        let view = self.profile(id, true).await?;
        let stays = self.ledger.memberships_of(id)?.into_iter().map(|stay| Stay {
            segment: stay.segment,
            entered_at: instant(stay.entered_at_us),
            left_at: stay.left_at_us.map(instant),
        });
        let sent = self.ledger.sent_of(id)?;
        Ok(PersonExport {
            profile: id.to_string(),
            exported_at: instant(self.now_us()),
            identifiers: identifiers.into_iter().collect(),
            values: view.values,
            segments: stays.collect(),
            recipients: sent.iter().map(|row| self.recipient(row)).collect(),
            records: held.into_iter().map(|one| one.record).collect(),
        })
    }

    fn recipient(&self, row: &SentRow) -> Recipient {
        let plan = self.destination_of(&row.sync);
        let fields = plan.iter().flat_map(|plan| plan.match_by.iter().chain(&plan.map)).map(|named| named.name.clone());
        Recipient {
            pipeline: row.sync.clone(),
            connection: plan.map_or_else(|| "(no longer in the project)".to_owned(), |plan| plan.connection.clone()),
            object: plan.map_or_else(String::new, |plan| plan.object.clone()),
            purpose: plan.and_then(|plan| plan.consent.as_ref().map(|need| need.purpose.clone())),
            fields: fields.collect(),
            remote_id: row.remote_id.clone(),
            last_accepted_at: instant(row.acknowledged_at_us),
        }
    }

    fn destination_of(&self, pipeline: &str) -> Option<&DestinationPlan> {
        let pipeline = self.plan.pipelines.get(pipeline)?;
        match (&pipeline.source, &pipeline.destination) {
            (PipelineSource::Profiles { .. }, PipelineDestination::Connection(plan)) => Some(plan),
            _ => None,
        }
    }

    /// Erases a person: writes it down, destroys keys and traces, computes the profiles without them, and runs the pipelines
    /// that can have them erased or removed at destinations. What such a run could not do stays `requested` and is done by its next one.
    ///
    /// # Errors
    /// `E0813` when nobody is meant; `E0824` while a pipeline reads records in; what the stores report. Once it was written
    /// down, the next run of any pipeline of profiles goes on with it.
    pub async fn erase_person(&self, reference: &str) -> Result<ErasureView> {
        let id = self.find_profile(reference)?;
        self.refuse_while_reading()?;
        let number = self.begin_erasure(id, reference).await?;
        self.refresh_profiles().await?;
        self.tell_destinations(number).await?;
        let mut rows = self.erasures()?;
        rows.retain(|row| row.erasure == number);
        rows.pop().ok_or_else(|| Error::bug("an erasure that was begun is not in the ledger"))
    }

    /// Erasures, newest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn erasures(&self) -> Result<Vec<ErasureView>> {
        Ok(self.ledger.erasures(false)?.into_iter().map(view_of).collect())
    }

    /// Goes on with erasures that were begun and not ended: those of a process that was stopped.
    ///
    /// # Errors
    /// What the stores report.
    pub async fn resume_erasures(&self) -> Result<Vec<ErasureView>> {
        if !self.ledger.erasures(true)?.is_empty() {
            self.refresh_profiles().await?;
        }
        for row in self.ledger.erasures(false)? {
            self.tell_destinations(row.erasure).await?;
        }
        self.erasures()
    }

    /// A page that was read before the person was on the list could still come in.
    fn refuse_while_reading(&self) -> Result<()> {
        for pipeline in self.plan.pipelines.values().filter(|one| matches!(one.destination, PipelineDestination::Profiles { .. }))
        {
            let lease = self.ledger.lease(&pipeline.name)?.filter(|lease| !lease.is_released);
            if lease.is_some_and(|lease| lease.expires_at_us > self.now_us() && !(self.is_dead)(&lease.holder)) {
                let message = format!("pipeline {} reads records at this moment: nobody was erased", pipeline.name);
                return Err(Error::external("E0824", message).help("run it again when the pipeline has ended"));
            }
        }
        Ok(())
    }

    pub(crate) async fn begin_erasure(&self, id: ProfileId, reference: &str) -> Result<i64> {
        let lease = self.wait_for_profiles_lease().await?;
        let renewal = self.keep_lease(&lease);
        let begun = self.write_erasure_down(&lease, id, reference).await;
        renewal.abort();
        let outcome = if begun.is_ok() { RunOutcome::Succeeded } else { RunOutcome::Failed };
        let report = RunReport { pipeline: lease.pipeline.clone(), run: lease.run.to_string(), outcome, ..RunReport::default() };
        self.write_down(&lease, &report, None)?;
        begun
    }

    async fn write_erasure_down(&self, lease: &Lease, id: ProfileId, reference: &str) -> Result<i64> {
        // Records that wait to be unified may be this person's too.
        unify(self, lease, &mut ProfilesReport::default()).await?;
        let id = self.find_profile(reference).or_else(|_| self.ledger.resolve_alias(id))?;
        let nodes: Vec<NodeId> = self.ledger.nodes_of(id)?.iter().map(|row| row.node).collect();
        if nodes.is_empty() {
            return Err(nobody());
        }
        let held = records_of(self, &nodes, Some(Purpose::IdentityResolution)).await?;
        let mut values: BTreeSet<(String, String)> = held.into_iter().flat_map(|one| one.identifiers).collect();
        values.extend(reference.split_once(':').map(|(kind, value)| (kind.to_owned(), value.to_owned())));
        let suppressed = self.keeps_out(id, values)?;
        let mut receipts: Vec<NewReceipt> = Vec::new();
        for pipeline in self.recipients_of(id)? {
            receipts.push(self.new_receipt(&pipeline).await);
        }
        let erasure = NewErasure { profile: id, nodes, suppressed, receipts, now_us: self.now_us() };
        let number = self.ledger.begin_erasure(lease, &erasure)?;
        let detail =
            format!("profile {id}, erasure {number}, {} records, {} receipts", erasure.nodes.len(), erasure.receipts.len());
        self.ledger.audit(self.now_us(), "profile.erase_requested", &detail)?;
        Ok(number)
    }

    /// The hashes of a person's identifiers. A value that other profiles carry too, as the phone of a household, is not among
    /// them: their records must still come in.
    pub(crate) fn keeps_out(&self, id: ProfileId, values: BTreeSet<(String, String)>) -> Result<Vec<(String, BlindIndex)>> {
        let mut suppressed = Vec::new();
        for (kind, value) in values {
            let Some(rule) = self.plan.identity.identifiers.iter().find(|rule| rule.name == kind) else { continue };
            if !self.is_carried_by_others(id, rule, &value)? {
                let indexer = self.vault.suppression_indexer(&kind)?;
                suppressed.extend(forms(rule, &value).iter().map(|form| (kind.clone(), indexer.index(form.as_bytes()))));
            }
        }
        Ok(suppressed)
    }

    /// True when another profile carries a value, under whatever identifier of such values.
    fn is_carried_by_others(&self, id: ProfileId, rule: &IdentifierRule, value: &str) -> Result<bool> {
        let identifiers = self.plan.identity.identifiers.iter().filter(|one| one.mark_of.is_none());
        for one in identifiers.filter(|one| one.name == rule.name || is_shared(one, rule.form())) {
            let Some(canonical) = one.canonical(value) else { continue };
            let index = self.vault.blind_indexer(&one.name)?.index(canonical.as_bytes());
            let number = self.ledger.identifier_kinds(std::slice::from_ref(&one.name))?.first().copied().unwrap_or_default();
            if self.ledger.find_profiles(number, &index)?.iter().any(|carrier| *carrier != id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Pipelines whose destinations hold something of a person, or may: a batch with the person is under way.
    fn recipients_of(&self, id: ProfileId) -> Result<BTreeSet<String>> {
        let mut pipelines: BTreeSet<String> = self.ledger.sent_of(id)?.into_iter().map(|sent| sent.sync).collect();
        for name in self.plan.pipelines.keys().filter(|name| self.destination_of(name).is_some()) {
            let under_way = self.ledger.in_flight(name)?;
            let is_in = under_way.iter().flat_map(|batch| &batch.rows).any(|row| row.key == id);
            pipelines.extend(is_in.then(|| name.clone()));
        }
        Ok(pipelines)
    }

    /// Whether a destination can be asked is told by its plugin; where it does not answer now, by the pipeline's next run.
    async fn new_receipt(&self, pipeline: &str) -> NewReceipt {
        let plan = self.destination_of(pipeline);
        let destination =
            plan.map_or_else(|| "(no longer in the project)".to_owned(), |plan| format!("{} {}", plan.connection, plan.object));
        let can_be_asked = match plan {
            Some(plan) if plan.mode == WriteMode::Mirror => true,
            Some(plan) => Ability::of(self, plan).await.map_or(true, |ability| ability.erases),
            None => false,
        };
        let state = if can_be_asked { ReceiptState::Requested } else { ReceiptState::NotSupported };
        NewReceipt { pipeline: pipeline.to_owned(), destination, state }
    }

    /// Destroys keys and traces of every person whose erasure was begun; their profiles are in no snapshot computed after.
    ///
    /// # Errors
    /// What the ledger reports.
    pub(crate) fn forget_persons(&self, lease: &Lease) -> Result<Vec<ErasureRow>> {
        let open = self.ledger.erasures(true)?;
        for erasure in &open {
            self.ledger.erase_keys(&erasure.nodes)?;
            self.ledger.forget_person(lease, erasure)?;
        }
        if !open.is_empty() {
            self.forget_dead_letters()?;
        }
        Ok(open)
    }

    /// Empties refused records in which an identifier of an erased person stands; what cannot be opened tells nothing.
    fn forget_dead_letters(&self) -> Result<()> {
        let erased = Suppressed::read(self)?;
        let mut opener = RunOpener::new(self);
        let mut mentioned = Vec::new();
        self.ledger.dead_letter_payloads(&mut |letter| {
            let opened = opener.open(&letter.payload_sealed, Place::DeadLetter, &letter.stream, Purpose::IdentityResolution);
            let opened = match opened {
                Err(error) if error.code == "E0806" => return Ok(()),
                opened => opened?,
            };
            mentioned.extend(erased.is_mentioned(&opened).then_some(letter.id));
            Ok(())
        })?;
        if !mentioned.is_empty() {
            self.ledger.clear_dead_letter_payloads(&mentioned)?;
            self.ledger.audit(self.now_us(), "dead_letters.erased", &format!("{} refused records emptied", mentioned.len()))?;
        }
        Ok(())
    }

    /// Takes these persons, whom no snapshot holds any more, out of the files of the lake, and notes that nothing is left.
    ///
    /// # Errors
    /// What ledger and lake report.
    pub(crate) fn finish_forgetting(&self, lease: &Lease, forgotten: &[ErasureRow]) -> Result<()> {
        forget_in_files(self, lease, forgotten)?;
        for erasure in forgotten {
            self.ledger.finish_forgetting(lease, erasure.erasure, self.now_us())?;
            let detail = format!("profile {}, erasure {}", erasure.profile, erasure.erasure);
            self.ledger.audit(self.now_us(), "profile.erased", &detail)?;
        }
        Ok(())
    }

    /// Settles the receipts of a pipeline after it ran to its end.
    ///
    /// # Errors
    /// What the ledger reports.
    pub(crate) fn settle_receipts(&self, pipeline: &str) -> Result<()> {
        self.ledger.settle_receipts(pipeline, ReceiptState::RemovedOnly, self.now_us()).map(drop)
    }

    async fn tell_destinations(&self, erasure: i64) -> Result<()> {
        let row = self.ledger.erasures(false)?.into_iter().find(|row| row.erasure == erasure);
        for receipt in row.iter().flat_map(|row| &row.receipts).filter(|receipt| receipt.is_open) {
            if self.destination_of(&receipt.pipeline).is_some() {
                // Whatever it failed of is in its report; the receipt stays requested, and its next run tells it.
                self.run(&receipt.pipeline, &RunOptions::default()).await?;
            }
        }
        Ok(())
    }
}

fn nobody() -> Error {
    Error::configuration("E0813", "no profile is known by that")
        .help("give a profile id, an identifier as `email:ann@x.test`, or a record as `shop/1234`")
}

pub(crate) fn view_of(row: ErasureRow) -> ErasureView {
    let receipts = row.receipts.into_iter().map(|receipt| ReceiptView {
        pipeline: receipt.pipeline,
        destination: receipt.destination,
        state: receipt.state.as_str().to_owned(),
        at: instant(receipt.at_us),
        references: receipt.references,
        refusals: receipt.refusals,
    });
    ErasureView {
        erasure: row.erasure,
        profile: row.profile.to_string(),
        records: row.nodes.len(),
        requested_at: instant(row.requested_at_us),
        forgotten_at: row.forgotten_at_us.map(instant),
        receipts: receipts.collect(),
    }
}

pub(crate) fn instant(us: i64) -> String {
    DateTime::from_timestamp_micros(us).map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
