//! A person is delivered nowhere and is not erased (`profile suppress`), until `profile unsuppress`. Their records still come
//! in, so that what they decide later is known.

use std::collections::BTreeSet;

use affluent_ledger::SuppressedPerson;
use affluent_model::identity::NodeId;
use affluent_model::{Error, Result};
use affluent_vault::Purpose;
use serde::Serialize;

use crate::engine::Engine;
use crate::person::records_of;
use crate::suppressed::forms;

/// What was done about a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// `None` for a person who is not known yet.
    pub profile: Option<String>,
    /// True when the person is delivered nowhere from now on.
    pub is_suppressed: bool,
    /// False when it was so before.
    pub has_changed: bool,
    /// Syncs whose destination holds something of the person: their next runs remove it where their mode can.
    pub held_by: Vec<String>,
}

impl Engine {
    /// Keeps a person out of every delivery from the next run on; noted in the audit. A value of an identifier that nobody
    /// has yet is kept out too.
    ///
    /// # Errors
    /// `E0813` when nobody or several profiles are meant; what the stores report.
    pub async fn suppress_person(&self, reference: &str) -> Result<Suppression> {
        let (profile, person, held_by) = self.person_of(reference).await?;
        let has_changed = self.ledger.suppress(&person, self.now_us())?;
        self.ledger.audit(self.now_us(), "profile.suppressed", &detail(profile.as_deref(), &person))?;
        Ok(Suppression { profile, is_suppressed: true, has_changed, held_by })
    }

    /// Lets a person be delivered again; noted in the audit.
    ///
    /// # Errors
    /// `E0813` when nobody or several profiles are meant; what the stores report.
    pub async fn unsuppress_person(&self, reference: &str) -> Result<Suppression> {
        let (profile, person, held_by) = self.person_of(reference).await?;
        let has_changed = self.ledger.unsuppress(&person)?;
        self.ledger.audit(self.now_us(), "profile.unsuppressed", &detail(profile.as_deref(), &person))?;
        Ok(Suppression { profile, is_suppressed: false, has_changed, held_by })
    }

    async fn person_of(&self, reference: &str) -> Result<(Option<String>, SuppressedPerson, Vec<String>)> {
        let named = reference.split_once(':').map(|(kind, value)| (kind.to_owned(), value.to_owned()));
        let id = match self.find_profile(reference) {
            Ok(id) => id,
            Err(error) => {
                let unknown =
                    named.filter(|(kind, _)| self.find_nodes(reference).is_ok_and(|nodes| nodes.is_empty()) && !kind.is_empty());
                let identifiers = self.suppression_hashes(unknown.into_iter().collect())?;
                return if identifiers.is_empty() {
                    Err(error)
                } else {
                    Ok((None, SuppressedPerson { nodes: Vec::new(), identifiers }, Vec::new()))
                };
            }
        };
        let nodes: Vec<NodeId> = self.ledger.nodes_of(id)?.iter().map(|row| row.node).collect();
        if nodes.is_empty() {
            return Err(Error::configuration("E0813", "no profile is known by that")
                .help("give a profile id, an identifier as `email:ann@x.test`, or a record as `shop/1234`"));
        }
        let held = records_of(self, &nodes, Some(Purpose::IdentityResolution)).await?;
        let mut values: BTreeSet<(String, String)> = held.into_iter().flat_map(|one| one.identifiers).collect();
        values.extend(named);
        let identifiers = self.keeps_out(id, values)?;
        let held_by: BTreeSet<String> = self.ledger.sent_of(id)?.into_iter().map(|sent| sent.sync).collect();
        Ok((Some(id.to_string()), SuppressedPerson { nodes, identifiers }, held_by.into_iter().collect()))
    }

    /// The hashes by which values of identifiers are kept out, in all forms; of kinds that the project has.
    ///
    /// # Errors
    /// What the vault reports.
    pub(crate) fn suppression_hashes(
        &self,
        values: BTreeSet<(String, String)>,
    ) -> Result<Vec<(String, affluent_model::identity::BlindIndex)>> {
        let mut hashes = Vec::new();
        for (kind, value) in values {
            let Some(rule) = self.plan.identity.identifiers.iter().find(|rule| rule.name == kind) else { continue };
            let indexer = self.vault.suppression_indexer(&kind)?;
            hashes.extend(forms(rule, &value).iter().map(|form| (kind.clone(), indexer.index(form.as_bytes()))));
        }
        Ok(hashes)
    }
}

fn detail(profile: Option<&str>, person: &SuppressedPerson) -> String {
    let who = profile.map_or_else(|| "nobody known yet".to_owned(), |id| format!("profile {id}"));
    format!("{who}, {} records, {} hashes of identifiers", person.nodes.len(), person.identifiers.len())
}
