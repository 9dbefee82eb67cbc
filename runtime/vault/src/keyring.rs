//! The provider keys, from a file or from the environment. A provider key wraps the root keys of workspaces and nothing else.
//! The first one is active; the others only unwrap what they wrapped before. Ids are numbers because wrapped keys carry them.

mod file;
mod format;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

use affluent_model::{Error, Result};
use zeroize::Zeroizing;

use crate::derive::Secret;
use crate::errors;
use crate::ewk1::WrappingKey;
use crate::random::Random;

/// Provider keys of one ring: a rotation needs two, a year of monthly ones twelve.
const RING_KEYS_MAX: usize = 64;
const VARIABLE_PREFIX: &str = "AFFLUENT_KEK_";

/// One provider key, `id` from 1.
pub(crate) struct ProviderKey {
    pub(crate) id: u32,
    pub(crate) secret: Secret,
}

/// Provider keys in memory, wiped on drop.
pub struct KeyRing {
    active: ProviderKey,
    others: Vec<ProviderKey>,
    pub(crate) provider: Provider,
}

/// Where the keys of a ring came from.
pub(crate) enum Provider {
    /// Path of the key file.
    File(String),
    Environment,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file `{path}`"),
            Self::Environment => f.write_str("the environment"),
        }
    }
}

impl KeyRing {
    /// Reads the key file: lines `id base64(32 bytes) check`, the first is active.
    ///
    /// # Errors
    /// `E0600` no such file; `E0601` the file or its directory can be touched by others, is a link or belongs to another user;
    /// `E0602` a line is damaged (its number, never its content); `E0614` the file cannot be read.
    pub fn read_file(path: &Path) -> Result<Self> {
        let content = file::read_checked(path, file::effective_uid()?)?;
        let provider = Provider::File(path.display().to_string());
        let keys = format::parse(&content).map_err(|error| error.at(provider.to_string()))?;
        Self::from_keys(keys, provider)
    }

    /// Reads `AFFLUENT_KEK_<id>` (base64 of 32 bytes) for each of `ids`, the first is active.
    ///
    /// `lookup` reads one variable, in the product from the environment. This crate cannot take it out of the environment
    /// again (that is unsafe once threads run), so a variable stays visible in `/proc`: a key file is the better place.
    ///
    /// # Errors
    /// `E0600` with every variable that is not set, `E0602` for one that is not a key.
    pub fn read_environment(ids: &[u32], lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut keys = Vec::with_capacity(ids.len());
        let mut missing = Vec::new();
        for &id in ids {
            let variable = variable(id);
            match lookup(&variable).map(Zeroizing::new) {
                Some(text) => keys.push(format::parse_variable(id, &variable, &text)?),
                None => missing.push(format!("`{variable}`")),
            }
        }
        if !missing.is_empty() {
            return Err(errors::key_missing(&format!("the environment has no {}", missing.join(", "))));
        }
        Self::from_keys(keys, Provider::Environment)
    }

    /// The id of the key that wraps everything new.
    #[must_use]
    pub fn active_id(&self) -> u32 {
        self.active.id
    }

    /// Every id, the active one first.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        std::iter::once(&self.active).chain(&self.others).map(|key| key.id).collect()
    }

    /// A key as it is called where the keys came from, for messages: its id, or the variable.
    pub(crate) fn name_of(&self, id: u32) -> String {
        match self.provider {
            Provider::File(_) => format!("`{id}`"),
            Provider::Environment => format!("`{}`", variable(id)),
        }
    }

    pub(crate) fn active(&self) -> &ProviderKey {
        &self.active
    }

    pub(crate) fn find(&self, id: u32) -> Option<&ProviderKey> {
        std::iter::once(&self.active).chain(&self.others).find(|key| key.id == id)
    }

    fn from_keys(keys: Vec<ProviderKey>, provider: Provider) -> Result<Self> {
        if keys.len() > RING_KEYS_MAX {
            return Err(errors::key_format(&format!("{provider} holds {} keys, at most {RING_KEYS_MAX}", keys.len())));
        }
        let mut others = keys.into_iter();
        let Some(active) = others.next() else {
            return Err(errors::key_missing(&format!("{provider} holds no key")));
        };
        let ring = Self { active, others: others.collect(), provider };
        let ids = ring.ids();
        match ids.iter().enumerate().find(|(at, id)| ids.iter().skip(at + 1).any(|other| other == *id)) {
            Some((_, id)) => Err(errors::key_format(&format!("{} holds the key id `{id}` twice", ring.provider))),
            None => Ok(ring),
        }
    }
}

/// The variable of a key.
fn variable(id: u32) -> String {
    format!("{VARIABLE_PREFIX}{id}")
}

impl ProviderKey {
    pub(crate) fn wrapping_key(&self) -> Result<WrappingKey> {
        WrappingKey::new(self.id, &self.secret)
    }
}

/// Writes a new key file with one key of id 1, readable by this user alone.
///
/// # Errors
/// `E0611` when anything stands at `path` already, `E0601` when others can write to its directory, `E0614` when it cannot be
/// written (nothing is left behind then), `E0610` without randomness.
pub fn create_key_file(path: &Path, random: &mut dyn Random) -> Result<u32> {
    let key = ProviderKey { id: 1, secret: Secret::random(random)? };
    file::write_new(path, &format::line(&key)?)?;
    Ok(key.id)
}

/// Puts a new active key in front of the key file and keeps the others. Rewrap the roots of every workspace with it next.
///
/// # Errors
/// As [`KeyRing::read_file`] and [`create_key_file`]; the file is replaced whole or not at all.
pub fn add_active_key(path: &Path, random: &mut dyn Random) -> Result<u32> {
    let ring = KeyRing::read_file(path)?;
    let highest = ring.ids().into_iter().max().unwrap_or_default();
    let id = highest.checked_add(1).ok_or_else(|| errors::key_limit("the last provider key id is in use"))?;
    if ring.others.len() + 1 >= RING_KEYS_MAX {
        return Err(errors::key_limit(&format!("the ring holds {RING_KEYS_MAX} keys already")));
    }
    let mut content = format::line(&ProviderKey { id, secret: Secret::random(random)? })?;
    content.reserve((ring.others.len() + 1) * format::LINE_BYTES_MAX);
    for id in ring.ids() {
        let key = ring.find(id).ok_or_else(|| Error::bug("the ring finds its own ids"))?;
        content.push_str(&format::line(key)?);
    }
    file::replace(path, &content)?;
    Ok(id)
}
