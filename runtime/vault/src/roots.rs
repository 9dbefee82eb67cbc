//! The keys directly under the provider key: workspace keys, index keys and the suppression key. They live as [`StoredKey`]
//! rows in the ledger. Opening them checks the provider key against the commitment stored beside them first, so that a wrong
//! key, a missing key and a damaged row are three different errors, and nothing is written in any of them (security A-43 to
//!

use std::collections::BTreeMap;

use affluent_model::{Error, Result};
use subtle::ConstantTimeEq;

use crate::derive::Secret;
use crate::errors;
use crate::ewk1::{self, Binding, Wrapped};
use crate::keyring::{KeyRing, ProviderKey};
use crate::random::Random;

const PURPOSE_PROVIDER: &str = "provider";

/// One row of the ledger's key table. It holds no secret: `wrapped` is a key under another key, or for purpose `provider` the
/// 32-byte commitment to the provider key of that id. Rows are replaced by (`purpose`, `key_id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// `provider`, `workspace`, `index` or `suppression`; `subject`, `run` and `system` rows may stand in the same table.
    pub purpose: String,
    pub key_id: u64,
    /// The version of the key within its purpose, from 1; for purpose `provider` the id once more.
    pub version: u32,
    pub wrapped: Vec<u8>,
}

/// What a root key is for; the word is authenticated with the wrapped key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RootPurpose {
    Workspace,
    Index,
    Suppression,
}

pub(crate) struct RootKey {
    pub(crate) purpose: RootPurpose,
    pub(crate) version: u32,
    pub(crate) secret: Secret,
}

/// Every root key of a workspace: each purpose at least once, versions rising.
pub(crate) struct Roots(Vec<RootKey>);

impl RootPurpose {
    const ALL: [Self; 3] = [Self::Workspace, Self::Index, Self::Suppression];

    fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Index => "index",
            Self::Suppression => "suppression",
        }
    }
}

impl RootKey {
    fn random(purpose: RootPurpose, version: u32, random: &mut dyn Random) -> Result<Self> {
        Ok(Self { purpose, version, secret: Secret::random(random)? })
    }
}

impl Roots {
    /// Version 1 of each key, for a workspace without any data.
    pub(crate) fn generate(random: &mut dyn Random) -> Result<Self> {
        let keys = RootPurpose::ALL.into_iter().map(|purpose| RootKey::random(purpose, 1, random));
        Ok(Self(keys.collect::<Result<_>>()?))
    }

    /// Unwraps every root key among `stored`; rows of other purposes are left alone.
    pub(crate) fn open(ring: &KeyRing, workspace: &str, stored: &[StoredKey]) -> Result<Self> {
        let rows = root_rows(stored)?;
        require_every_purpose(&rows)?;
        require_provider_keys(ring, &rows)?;
        check_provider_keys(ring, &rows, stored)?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in &rows {
            keys.push(row.open(ring, workspace)?);
        }
        keys.sort_by_key(|key| key.version);
        let roots = Self(keys);
        roots.refuse_duplicates()?;
        Ok(roots)
    }

    /// The keys of one purpose, oldest first.
    pub(crate) fn of(&self, purpose: RootPurpose) -> impl DoubleEndedIterator<Item = &RootKey> {
        self.0.iter().filter(move |key| key.purpose == purpose)
    }

    /// The key of a purpose that is used for everything new.
    pub(crate) fn newest(&self, purpose: RootPurpose) -> Result<&RootKey> {
        self.of(purpose).next_back().ok_or_else(|| Error::bug("a vault is only made with a key of each purpose"))
    }

    /// Rows for every key, wrapped by the active provider key of `ring`, with its commitment.
    pub(crate) fn wrap_all(&self, ring: &KeyRing, workspace: &str, random: &mut dyn Random) -> Result<Vec<StoredKey>> {
        let mut rows = vec![provider_row(ring)?];
        for key in &self.0 {
            rows.push(wrap_root(key, ring, workspace, random)?);
        }
        Ok(rows)
    }

    /// Rows of one more version of a purpose, with the commitment of the provider key that wraps it.
    pub(crate) fn next_version(
        &self,
        purpose: RootPurpose,
        ring: &KeyRing,
        workspace: &str,
        random: &mut dyn Random,
    ) -> Result<Vec<StoredKey>> {
        let Some(version) = self.newest(purpose)?.version.checked_add(1) else {
            return Err(errors::key_limit("the last version number is in use"));
        };
        let key = RootKey::random(purpose, version, random)?;
        Ok(vec![provider_row(ring)?, wrap_root(&key, ring, workspace, random)?])
    }

    fn refuse_duplicates(&self) -> Result<()> {
        for purpose in RootPurpose::ALL {
            let versions: Vec<u32> = self.of(purpose).map(|key| key.version).collect();
            let is_rising = versions.is_sorted_by(|earlier, later| earlier < later);
            if !is_rising || (purpose == RootPurpose::Suppression && versions.len() > 1) {
                return Err(errors::key_format(&format!("the {} key is stored more than once", purpose.as_str())));
            }
        }
        Ok(())
    }
}

/// A row whose purpose and layout are known, not yet unwrapped.
struct RootRow<'a> {
    purpose: RootPurpose,
    stored: &'a StoredKey,
    wrapped: Wrapped<'a>,
}

impl RootRow<'_> {
    fn open(&self, ring: &KeyRing, workspace: &str) -> Result<RootKey> {
        let version = self.stored.version;
        let provider_key =
            ring.find(self.wrapped.wrapping_version).ok_or_else(|| Error::bug("missing keys were refused before"))?;
        let binding = Binding { workspace, purpose: self.purpose.as_str(), key_id: u64::from(version) };
        if self.stored.key_id != binding.key_id {
            let what = format!("the {} key of version `{version}` has the id `{}`", self.purpose.as_str(), self.stored.key_id);
            return Err(errors::wrapped_key_tampered(&what));
        }
        let unwrapped = self.wrapped.unwrap_with(&provider_key.wrapping_key()?, binding)?;
        Ok(RootKey { purpose: self.purpose, version, secret: unwrapped.secret })
    }
}

fn root_rows(stored: &[StoredKey]) -> Result<Vec<RootRow<'_>>> {
    let mut rows = Vec::new();
    for row in stored {
        let purpose = RootPurpose::ALL.into_iter().find(|purpose| purpose.as_str() == row.purpose);
        if let Some(purpose) = purpose {
            rows.push(RootRow { purpose, stored: row, wrapped: Wrapped::parse(&row.wrapped)? });
        }
    }
    Ok(rows)
}

fn require_every_purpose(rows: &[RootRow<'_>]) -> Result<()> {
    let missing = RootPurpose::ALL.into_iter().filter(|purpose| rows.iter().all(|row| row.purpose != *purpose));
    let missing: Vec<String> = missing.map(|purpose| format!("`{}`", purpose.as_str())).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(errors::key_missing(&format!("the store holds no key row for {}, none is generated in its place", missing.join(", "))))
}

/// Names every provider key that is needed and absent, with the number of rows that it wraps.
fn require_provider_keys(ring: &KeyRing, rows: &[RootRow<'_>]) -> Result<()> {
    let mut row_counts = BTreeMap::<u32, usize>::new();
    for row in rows {
        *row_counts.entry(row.wrapped.wrapping_version).or_default() += 1;
    }
    row_counts.retain(|id, _| ring.find(*id).is_none());
    if row_counts.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = row_counts.iter().map(|(id, rows)| format!("{} ({rows} key rows)", ring.name_of(*id))).collect();
    Err(errors::key_missing(&format!("{} has no provider key {}", ring.provider, missing.join(", "))))
}

fn check_provider_keys(ring: &KeyRing, rows: &[RootRow<'_>], stored: &[StoredKey]) -> Result<()> {
    for row in rows {
        let id = row.wrapped.wrapping_version;
        let committed = stored.iter().find(|row| row.purpose == PURPOSE_PROVIDER && row.key_id == u64::from(id));
        let Some(committed) = committed else {
            return Err(errors::key_commitment(&format!("the commitment to provider key `{id}` is not stored")));
        };
        let Some(key) = ring.find(id) else { continue };
        if !bool::from(key.secret.commitment()?.as_slice().ct_eq(&committed.wrapped)) {
            let what =
                format!("provider key {} from {} is not the one this store was made with", ring.name_of(id), ring.provider);
            return Err(errors::key_wrong(&what));
        }
    }
    Ok(())
}

fn provider_row(ring: &KeyRing) -> Result<StoredKey> {
    let ProviderKey { id, secret } = ring.active();
    let wrapped = secret.commitment()?.to_vec();
    Ok(StoredKey { purpose: PURPOSE_PROVIDER.to_owned(), key_id: u64::from(*id), version: *id, wrapped })
}

fn wrap_root(key: &RootKey, ring: &KeyRing, workspace: &str, random: &mut dyn Random) -> Result<StoredKey> {
    let key_id = u64::from(key.version);
    let binding = Binding { workspace, purpose: key.purpose.as_str(), key_id };
    let commitment = key.secret.commitment()?;
    let wrapped = ewk1::wrap(&ring.active().wrapping_key()?, binding, &key.secret, &commitment, random)?;
    Ok(StoredKey { purpose: key.purpose.as_str().to_owned(), key_id, version: key.version, wrapped: wrapped.to_vec() })
}
