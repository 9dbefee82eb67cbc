//! The secrets of one connection as its instances use them: resolved when first needed, only those that the manifest
//! names, and blotted out wherever they would come back to the guest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use affluent_model::Result;
use affluent_model::manifest::Manifest;
use affluent_model::plan::Connection;

use crate::egress::KnownTokens;
use crate::egress::redact::Scrubber;
use crate::options::HostOptions;
use crate::secret::Secret;

/// Resolved secrets by name.
pub(crate) struct SecretVault {
    options: Arc<HostOptions>,
    connection: Arc<Connection>,
    names: Vec<String>,
    resolved: Mutex<HashMap<String, Arc<Secret>>>,
    /// OAuth tokens of the connection.
    tokens: OnceLock<Arc<KnownTokens>>,
}

impl SecretVault {
    pub(crate) fn new(options: Arc<HostOptions>, connection: Arc<Connection>, manifest: &Manifest) -> Self {
        let names = manifest.secrets.iter().map(|secret| secret.name.clone()).collect();
        Self { options, connection, names, resolved: Mutex::default(), tokens: OnceLock::new() }
    }

    /// The secret of this name; `None` when the manifest does not name it.
    ///
    /// # Errors
    /// When the resolver has none.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Arc<Secret>>> {
        if !self.names.iter().any(|known| known == name) {
            return Ok(None);
        }
        if let Some(secret) = self.resolved().get(name) {
            return Ok(Some(Arc::clone(secret)));
        }
        let secret = Arc::new((self.options.secrets)(&self.connection, name)?);
        self.resolved().insert(name.to_owned(), Arc::clone(&secret));
        Ok(Some(secret))
    }

    /// Asks the resolver again, after the remote refused the credential; true when the value is another now.
    pub(crate) fn refresh(&self, name: &str) -> bool {
        let Ok(fresh) = (self.options.secrets)(&self.connection, name) else { return false };
        let mut resolved = self.resolved();
        let changed = resolved.get(name).is_none_or(|known| known.expose() != fresh.expose());
        if changed {
            resolved.insert(name.to_owned(), Arc::new(fresh));
        }
        changed
    }

    /// Keeps another form of a secret, so that it is blotted out too.
    pub(crate) fn remember(&self, name: &str, form: Secret) {
        self.resolved().insert(name.to_owned(), Arc::new(form));
    }

    /// Blots these tokens out, too, and those that come to them.
    pub(crate) fn blot_out(&self, tokens: Arc<KnownTokens>) {
        // The same ones for every egress of the connection.
        drop(self.tokens.set(tokens));
    }

    /// Blots out every secret that was handed out so far.
    pub(crate) fn scrubber(&self) -> Scrubber {
        let tokens = self.tokens.get().map(|tokens| tokens.all()).unwrap_or_default();
        Scrubber::new(self.resolved().values().chain(&tokens).map(Arc::as_ref))
    }

    fn resolved(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Secret>>> {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
