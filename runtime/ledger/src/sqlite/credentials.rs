//! Sealed tokens with their claims. What is replaced is overwritten in the file.

use affluent_model::Result;
use affluent_model::credential::CredentialId;
use rusqlite::{OptionalExtension, params};

use super::keys::{key_number, number_of};
use super::{SqliteLedger, count_at, signed};
use crate::contract::credentials::{CredentialClaim, CredentialClaimed, CredentialRow, Credentials};
use crate::contract::keys::StoredKeyRow;

impl Credentials for SqliteLedger {
    fn claim_credential(&self, claim: &CredentialClaim<'_>) -> Result<CredentialClaimed> {
        let CredentialClaim { id, holder, replaces, now_us, ends_at_us } = claim;
        self.write(|transaction| {
            let sql = "INSERT INTO credential (connection, slot, version, holder, claim_ends_us) VALUES (?1, ?2, 0, ?3, ?4)
                ON CONFLICT (connection, slot) DO UPDATE SET holder = excluded.holder, claim_ends_us = excluded.claim_ends_us
                WHERE holder IS NULL OR claim_ends_us <= ?5 OR holder IS ?6";
            let taken = transaction.prepare_cached(sql)?.execute(params![
                id.connection,
                id.slot,
                holder,
                ends_at_us,
                now_us,
                replaces
            ])?;
            let sql = "SELECT version, sealed, holder FROM credential WHERE connection = ?1 AND slot = ?2";
            let (version, sealed, held_by) = transaction.prepare_cached(sql)?.query_row([&id.connection, &id.slot], |row| {
                Ok((count_at(row, 0)?, row.get::<_, Option<Vec<u8>>>(1)?, row.get::<_, Option<String>>(2)?))
            })?;
            if taken == 0 {
                return Ok(CredentialClaimed::HeldBy(held_by.unwrap_or_default()));
            }
            Ok(CredentialClaimed::Granted(sealed.map(|sealed| CredentialRow { version, sealed })))
        })
    }

    fn commit_credential(&self, id: &CredentialId, holder: &str, version: u64, sealed: &[u8]) -> Result<bool> {
        self.write_keys(|transaction| {
            let sql = "UPDATE credential SET version = version + 1, sealed = ?5, holder = NULL, claim_ends_us = NULL
                WHERE connection = ?1 AND slot = ?2 AND holder = ?3 AND version = ?4";
            let changed =
                transaction.prepare_cached(sql)?.execute(params![id.connection, id.slot, holder, signed(version)?, sealed])?;
            Ok(changed == 1)
        })
    }

    fn release_credential(&self, id: &CredentialId, holder: &str) -> Result<()> {
        self.write(|transaction| {
            let sql = "UPDATE credential SET holder = NULL, claim_ends_us = NULL
                WHERE connection = ?1 AND slot = ?2 AND holder = ?3";
            transaction.prepare_cached(sql)?.execute([&id.connection, &id.slot, holder])?;
            Ok(())
        })
    }

    fn keep_system_key(&self, row: &StoredKeyRow) -> Result<StoredKeyRow> {
        self.write(|transaction| {
            let find = "SELECT key_id, version, wrapped FROM stored_key WHERE purpose = ?1 ORDER BY key_id LIMIT 1";
            let found = transaction.prepare_cached(find)?.query_row([&row.purpose], |found| {
                let key_id = number_of(found.get(0)?);
                Ok(StoredKeyRow { purpose: row.purpose.clone(), key_id, version: found.get(1)?, wrapped: found.get(2)? })
            });
            if let Some(found) = found.optional()? {
                return Ok(found);
            }
            let sql = "INSERT INTO stored_key (purpose, key_id, version, wrapped) VALUES (?1, ?2, ?3, ?4)";
            transaction.prepare_cached(sql)?.execute(params![row.purpose, key_number(row.key_id), row.version, row.wrapped])?;
            Ok(row.clone())
        })
    }
}
