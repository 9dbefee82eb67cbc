//! The key of one run (scope 2): seals what belongs to no person in particular, dead letters and the outbox. Made when the
//! first thing is sealed; its wrapped form is in the ledger before anything under it.

use affluent_ledger::{Lease, NewDeadLetter, Stage};
use affluent_model::batch::Rejected;
use affluent_model::{Error, Result};
use affluent_vault::{FieldKey, FieldValue, OsRandom, Padding, Purpose, Random, Scope, read_header};

use crate::engine::Engine;

/// Seals under the key of a run.
pub(crate) struct RunSealer<'a> {
    engine: &'a Engine,
    lease: &'a Lease,
    key: Option<FieldKey>,
    random: OsRandom,
}

/// Where a sealed payload stands: the names bound into its ciphertext.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    DeadLetter,
    OutboxPayload,
    OutboxMatch,
    /// Why a steward decided.
    DecisionReason,
}

impl Place {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::DeadLetter => ("dead_letters", "payload"),
            Self::OutboxPayload => ("outbox", "payload"),
            Self::OutboxMatch => ("outbox", "match"),
            Self::DecisionReason => ("decision", "reason"),
        }
    }
}

impl<'a> RunSealer<'a> {
    pub(crate) fn new(engine: &'a Engine, lease: &'a Lease) -> Self {
        Self { engine, lease, key: None, random: OsRandom::new() }
    }

    /// A number in 0..=1 for jitter.
    pub(crate) fn jitter(&mut self) -> Result<f64> {
        let mut bytes = [0u8; 2];
        self.random.fill(&mut bytes)?;
        Ok(f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX))
    }

    /// Seals bytes for a place and a record of it.
    pub(crate) fn seal(&mut self, bytes: &[u8], place: Place, record: &str) -> Result<Vec<u8>> {
        if self.key.is_none() {
            let id = self.engine.ledger.next_run_key_id()?;
            let (key, wrapped) = self.engine.vault.new_key(Scope::Run, id, &mut self.random)?;
            self.engine.ledger.add_run_key(self.lease, id, &wrapped)?;
            self.key = Some(key);
        }
        let key = self.key.as_ref().ok_or_else(|| Error::bug("a run key was just made"))?;
        let (table, field) = place.names();
        let context = self.engine.vault.field_context(table, field, Padding::None)?;
        let mut sealed = Vec::with_capacity(bytes.len() + 48);
        key.seal_into(&mut sealed, FieldValue::Bytes(bytes), &context, record, &mut self.random)?;
        Ok(sealed)
    }

    /// A refused record with its sealed payload.
    pub(crate) fn dead_letter(&mut self, rejected: Rejected, stage: Stage, at_us: i64) -> Result<NewDeadLetter> {
        let payload_sealed = match &rejected.raw {
            Some(raw) => Some(self.seal(raw, Place::DeadLetter, &rejected.stream)?),
            None => None,
        };
        let Rejected { stream, place, code, message, .. } = rejected;
        Ok(NewDeadLetter { stream, stage, place, code, message, payload_sealed, at_us })
    }
}

/// Opens what some run sealed; keeps the run keys it has unwrapped.
pub(crate) struct RunOpener<'a> {
    engine: &'a Engine,
    keys: std::collections::HashMap<u64, FieldKey>,
}

impl<'a> RunOpener<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self { engine, keys: std::collections::HashMap::new() }
    }

    /// The bytes that were sealed.
    pub(crate) fn open(&mut self, sealed: &[u8], place: Place, record: &str, purpose: Purpose) -> Result<Vec<u8>> {
        let id = read_header(sealed)?.key_id;
        if !self.keys.contains_key(&id) {
            let wrapped = self.engine.ledger.run_key(id)?;
            let wrapped = wrapped
                .ok_or_else(|| Error::external("E0806", format!("the key of run {id} is gone: what it sealed cannot be read")))?;
            self.keys.insert(id, self.engine.vault.unwrap_key(Scope::Run, id, &wrapped)?);
        }
        let key = self.keys.get(&id).ok_or_else(|| Error::bug("a run key was just unwrapped"))?;
        let (table, field) = place.names();
        let context = self.engine.vault.field_context(table, field, Padding::None)?;
        let opened = key.open(sealed, &context, record, purpose)?;
        match opened.value() {
            FieldValue::Bytes(bytes) => Ok(bytes.to_vec()),
            _ => Err(Error::external("E0806", "a sealed payload is not of the form this program writes")),
        }
    }
}
