//! The OAuth tokens of a project for commands that look at plugins without opening its stores: the stores are opened when
//! the first token is asked for, because what a service gives must be kept by whomever it was given to.

use std::sync::{Arc, Mutex, PoisonError};

use affluent_engine::SealedCredentials;
use affluent_model::Result;
use affluent_model::credential::{Claim, CredentialId, CredentialStore};
use affluent_model::plan::Plan;
use affluent_vault::OsRandom;

use crate::wire;

/// Keeps tokens in the ledger of a project.
pub(crate) struct ProjectCredentials {
    plan: Plan,
    opened: Mutex<Option<Arc<SealedCredentials>>>,
}

impl ProjectCredentials {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone(), opened: Mutex::new(None) }
    }

    fn opened(&self) -> Result<Arc<SealedCredentials>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = &*opened {
            return Ok(Arc::clone(store));
        }
        let (ledger, vault) = wire::open_stores(&self.plan, &mut OsRandom::new(), &mut Vec::new())?;
        let store = Arc::new(wire::sealed_credentials((ledger, Arc::new(vault))));
        *opened = Some(Arc::clone(&store));
        Ok(store)
    }
}

impl CredentialStore for ProjectCredentials {
    fn claim(&self, id: &CredentialId, now_us: i64, lease_ms: u64) -> Result<Claim> {
        self.opened()?.claim(id, now_us, lease_ms)
    }

    fn commit(&self, id: &CredentialId, version: u64, value: &[u8]) -> Result<bool> {
        self.opened()?.commit(id, version, value)
    }

    fn release(&self, id: &CredentialId) -> Result<()> {
        self.opened()?.release(id)
    }
}
