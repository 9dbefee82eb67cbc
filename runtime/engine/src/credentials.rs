//! The OAuth tokens of connections in the ledger, sealed under the system key (scope 3): what the host keeps between
//! requests, runs and processes.

use std::sync::{Arc, Mutex, PoisonError};

use affluent_ledger::{CredentialClaim, CredentialClaimed, Ledger, StoredKeyRow};
use affluent_model::credential::{Claim, CredentialId, CredentialStore, KeptCredential};
use affluent_model::{Error, Result};
use affluent_vault::{FieldContext, FieldKey, FieldValue, OsRandom, Padding, Purpose, Scope, Vault};
use zeroize::Zeroizing;

/// Tells whether a holder has ended.
pub type IsDead = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The purpose of the system key in the ledger's key table.
const PURPOSE: &str = "system";
const KEY_ID: u64 = 1;

/// Keeps tokens sealed in a project's ledger.
pub struct SealedCredentials {
    ledger: Arc<dyn Ledger>,
    vault: Arc<Vault>,
    /// Who claims: unique among the processes on the ledger.
    holder: String,
    is_dead: IsDead,
    key: Mutex<Option<Arc<FieldKey>>>,
}

impl SealedCredentials {
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, vault: Arc<Vault>, holder: String, is_dead: IsDead) -> Self {
        Self { ledger, vault, holder, is_dead, key: Mutex::new(None) }
    }

    /// The system key; made when the first token is sealed.
    fn key(&self) -> Result<Arc<FieldKey>> {
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*known {
            return Ok(Arc::clone(key));
        }
        let stored = self.ledger.stored_keys()?.into_iter().find(|row| row.purpose == PURPOSE);
        let stored = match stored {
            Some(stored) => stored,
            None => {
                let (_, wrapped) = self.vault.new_key(Scope::System, KEY_ID, &mut OsRandom::new())?;
                let row = StoredKeyRow { purpose: PURPOSE.to_owned(), key_id: KEY_ID, version: 1, wrapped: wrapped.to_vec() };
                self.ledger.keep_system_key(&row)?
            }
        };
        let key = Arc::new(self.vault.unwrap_key(Scope::System, stored.key_id, &stored.wrapped)?);
        *known = Some(Arc::clone(&key));
        Ok(key)
    }

    fn place(&self, id: &CredentialId) -> Result<(FieldContext, String)> {
        let context = self.vault.field_context("credential", "tokens", Padding::To32Bytes)?;
        Ok((context, format!("{}/{}", id.connection, id.slot)))
    }

    fn open(&self, id: &CredentialId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (context, record) = self.place(id)?;
        let opened = self.key()?.open(sealed, &context, &record, Purpose::ConnectionUse)?;
        match opened.value() {
            FieldValue::Bytes(bytes) => Ok(Zeroizing::new(bytes.to_vec())),
            _ => Err(Error::external("E0806", "sealed tokens are not of the form this program writes")),
        }
    }
}

impl CredentialStore for SealedCredentials {
    fn claim(&self, id: &CredentialId, now_us: i64, lease_ms: u64) -> Result<Claim> {
        let lease_us = i64::try_from(lease_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let ends_at_us = now_us.saturating_add(lease_us);
        let holder = self.holder.as_str();
        let mut claimed = self.ledger.claim_credential(&CredentialClaim { id, holder, replaces: None, now_us, ends_at_us })?;
        if let CredentialClaimed::HeldBy(other) = &claimed
            && (self.is_dead)(other)
        {
            let replaces = Some(other.as_str());
            claimed = self.ledger.claim_credential(&CredentialClaim { id, holder, replaces, now_us, ends_at_us })?;
        }
        let row = match claimed {
            CredentialClaimed::HeldBy(_) => return Ok(Claim::Busy),
            CredentialClaimed::Granted(row) => row,
        };
        let Some(row) = row else { return Ok(Claim::Granted(None)) };
        match self.open(id, &row.sealed) {
            Ok(value) => Ok(Claim::Granted(Some(KeptCredential { version: row.version, value }))),
            Err(error) => {
                // Nobody renews on top of what cannot be read; why matters more than a claim that ends by itself.
                drop(self.release(id));
                Err(error)
            }
        }
    }

    fn commit(&self, id: &CredentialId, version: u64, value: &[u8]) -> Result<bool> {
        let (context, record) = self.place(id)?;
        let mut sealed = Vec::with_capacity(value.len() + 96);
        self.key()?.seal_into(&mut sealed, FieldValue::Bytes(value), &context, &record, &mut OsRandom::new())?;
        self.ledger.commit_credential(id, &self.holder, version, &sealed)
    }

    fn release(&self, id: &CredentialId) -> Result<()> {
        self.ledger.release_credential(id, &self.holder)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use affluent_ledger::{Keys, SqliteLedger};
    use affluent_vault::{KeyRing, StoredKey, create_key_file};

    use super::*;

    fn id(connection: &str) -> CredentialId {
        CredentialId { connection: connection.to_owned(), slot: "api".to_owned() }
    }

    /// What a process opens; `dead` are holders that have ended.
    fn process(folder: &Path, holder: &str, dead: &'static [&'static str]) -> SealedCredentials {
        let (path, key_file) = (folder.join("ledger.sqlite"), folder.join("key"));
        if !key_file.exists() {
            create_key_file(&key_file, &mut OsRandom::new()).unwrap();
        }
        let ring = KeyRing::read_file(&key_file).unwrap();
        let ledger = SqliteLedger::open(&path).unwrap();
        let to_key = |StoredKeyRow { purpose, key_id, version, wrapped }| StoredKey { purpose, key_id, version, wrapped };
        let stored: Vec<StoredKey> = ledger.stored_keys().unwrap().into_iter().map(to_key).collect();
        let vault = if stored.is_empty() {
            let (vault, keys) = Vault::create(&ring, "test", 0, &mut OsRandom::new()).unwrap();
            let to_row = |StoredKey { purpose, key_id, version, wrapped }| StoredKeyRow { purpose, key_id, version, wrapped };
            ledger.add_stored_keys(&keys.into_iter().map(to_row).collect::<Vec<_>>()).unwrap();
            vault
        } else {
            Vault::open(&ring, "test", &stored).unwrap()
        };
        let is_dead: IsDead = Arc::new(|holder| dead.contains(&holder));
        SealedCredentials::new(Arc::new(ledger), Arc::new(vault), holder.to_owned(), is_dead)
    }

    fn private_folder() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        folder
    }

    fn claimed(store: &SealedCredentials, connection: &str) -> Option<Option<(u64, Vec<u8>)>> {
        match store.claim(&id(connection), 0, 1_000).unwrap() {
            Claim::Busy => None,
            Claim::Granted(kept) => Some(kept.map(|kept| (kept.version, kept.value.to_vec()))),
        }
    }

    #[test]
    fn what_one_process_kept_the_next_one_reads_and_no_file_shows() {
        let folder = private_folder();
        let first = process(folder.path(), "first", &[]);
        assert_eq!(claimed(&first, "crm"), Some(None));
        assert!(first.commit(&id("crm"), 0, b"the-refresh-token").unwrap());
        drop(first);

        let second = process(folder.path(), "second", &[]);

        assert_eq!(claimed(&second, "crm"), Some(Some((1, b"the-refresh-token".to_vec()))));
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(17).any(|window| window == b"the-refresh-token"));
        }
    }

    #[test]
    fn a_claim_outlives_its_process_only_where_it_may_still_run() {
        let folder = private_folder();
        let killed = process(folder.path(), "killed", &[]);
        assert_eq!(claimed(&killed, "crm"), Some(None));

        assert_eq!(claimed(&process(folder.path(), "other", &[]), "crm"), None);
        let next = process(folder.path(), "next", &["killed"]);
        assert_eq!(claimed(&next, "crm"), Some(None));

        assert!(!killed.commit(&id("crm"), 0, b"late").unwrap());
        assert!(next.commit(&id("crm"), 0, b"good").unwrap());
        assert_eq!(claimed(&next, "crm"), Some(Some((1, b"good".to_vec()))));
    }

    #[test]
    fn two_processes_that_seal_the_first_token_use_one_key() {
        let folder = private_folder();
        let (one, other) = (process(folder.path(), "one", &[]), process(folder.path(), "other", &[]));
        for (store, connection) in [(&one, "crm"), (&other, "shop")] {
            claimed(store, connection);
            assert!(store.commit(&id(connection), 0, connection.as_bytes()).unwrap());
        }

        assert_eq!(claimed(&one, "shop"), Some(Some((1, b"shop".to_vec()))));
        assert_eq!(claimed(&other, "crm"), Some(Some((1, b"crm".to_vec()))));
    }
}
