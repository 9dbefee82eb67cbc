//! OAuth tokens for the time of the suite, where there is no project to keep them in: credentials are made up then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use affluent_model::Result;
use affluent_model::credential::{Claim, CredentialId, CredentialStore, KeptCredential};
use zeroize::Zeroizing;

#[derive(Default)]
struct Kept {
    version: u64,
    value: Option<Zeroizing<Vec<u8>>>,
    is_claimed: bool,
}

/// Keeps tokens in memory.
#[derive(Default)]
pub(crate) struct MemoryCredentials(Mutex<HashMap<CredentialId, Kept>>);

impl MemoryCredentials {
    fn all(&self) -> MutexGuard<'_, HashMap<CredentialId, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CredentialStore for MemoryCredentials {
    fn claim(&self, id: &CredentialId, _: i64, _: u64) -> Result<Claim> {
        let mut all = self.all();
        let kept = all.entry(id.clone()).or_default();
        if std::mem::replace(&mut kept.is_claimed, true) {
            return Ok(Claim::Busy);
        }
        let version = kept.version;
        Ok(Claim::Granted(kept.value.clone().map(|value| KeptCredential { version, value })))
    }

    fn commit(&self, id: &CredentialId, version: u64, value: &[u8]) -> Result<bool> {
        let mut all = self.all();
        let kept = all.entry(id.clone()).or_default();
        if !kept.is_claimed || kept.version != version {
            return Ok(false);
        }
        *kept = Kept { version: version + 1, value: Some(Zeroizing::new(value.to_vec())), is_claimed: false };
        Ok(true)
    }

    fn release(&self, id: &CredentialId) -> Result<()> {
        self.all().entry(id.clone()).or_default().is_claimed = false;
        Ok(())
    }
}
