//! Access tokens by OAuth 2 (RFC 6749 §4.4 and §6). A token is asked for through the same gate as every request, by one
//! instance at a time over all processes, and what came with it is durable before anything of it is used: a service that
//! gives a new refresh token with each access token never meets an old one again, wherever this process ends.

mod answer;
mod exchange;
mod failure;
mod kept;
mod shared;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use affluent_model::Result as ModelResult;
use affluent_model::credential::CredentialId;
use affluent_model::manifest::{Manifest, OauthClient};
use affluent_model::plan::Connection;
use url::Url;

use super::Egress;
use crate::bindings::affluent::plugin::http::HttpError;
use crate::recording::Exchanges;
use crate::secret::Secret;

use exchange::Renewal;
pub(crate) use failure::NoAccess;
use kept::Configured;
pub(crate) use shared::{Access, AccessTokens, KnownTokens};

/// What a client is asked with: the secrets of its slot, as they are now.
pub(super) struct ClientSecrets {
    id: Arc<Secret>,
    secret: Option<Arc<Secret>>,
    refresh: Option<Arc<Secret>>,
    token_url: Url,
}

impl ClientSecrets {
    fn configured<'a>(&'a self, client: &'a OauthClient) -> Configured<'a> {
        Configured {
            client,
            token_url: self.token_url.as_str(),
            id: &self.id,
            secret: self.secret.as_deref(),
            refresh: self.refresh.as_deref(),
        }
    }
}

impl Egress {
    /// The access token for a slot, another one than `refused`; `None` for slots that need none, and in a replay.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn access(
        &self,
        slot: Option<&str>,
        refused: Option<&Arc<Access>>,
    ) -> Result<Option<Arc<Access>>, NoAccess> {
        let Some((slot, client)) = slot.and_then(|slot| Some((slot, self.manifest.auth.get(slot)?.oauth()?))) else {
            return Ok(None);
        };
        if matches!(self.caller.options.exchanges, Exchanges::Replay(_)) {
            return Ok(None);
        }
        let id = CredentialId { connection: self.caller.connection.clone(), slot: slot.to_owned() };
        let shared = self.network.tokens.of(&id);
        let secrets = self.client_secrets(slot, client)?;
        let now_us = self.caller.wall_us();
        if let Some(access) = shared.current(refused.map(AsRef::as_ref))
            && access.is_alive(now_us)
            && is_for(&access, &secrets.configured(client))
        {
            return Ok(Some(access));
        }
        let started = self.caller.options.clock.monotonic();
        let renewal = Renewal { egress: Self { tokens: None, ..self.clone() }, id, shared, refused: refused.map(Arc::clone) };
        // On its own: a caller that is given up must not lose what the service gives in this moment.
        let ended = tokio::spawn(renewal.run()).await;
        // The time of the token endpoint is not the guest's.
        self.waits.time.push_back(self.caller.options.clock.monotonic().saturating_sub(started));
        ended.unwrap_or_else(|_| Err(NoAccess::bug("the exchange of a token ended without a result"))).map(Some)
    }

    fn client_secrets(&self, slot: &str, client: &OauthClient) -> Result<ClientSecrets, NoAccess> {
        let secret = |name: &str| {
            let secret = self.secrets.get(name).map_err(|error| NoAccess::Gate(HttpError::Denied(error.message)))?;
            secret.ok_or_else(|| NoAccess::Gate(HttpError::Invalid("a secret of the auth slot is not declared".to_owned())))
        };
        Ok(ClientSecrets {
            id: secret(&client.client_id)?,
            secret: client.client_secret.as_deref().map(secret).transpose()?,
            refresh: client.refresh_token.as_deref().map(secret).transpose()?,
            token_url: self.token_urls.get(slot).cloned().ok_or_else(|| not_configured(client))?,
        })
    }
}

/// Where the tokens of each slot come from: the first URL whose placeholders are all configured.
///
/// # Errors
/// `E0411` when a value of the config cannot stand in a URL.
pub(super) fn token_urls(manifest: &Manifest, connection: &Connection) -> ModelResult<BTreeMap<String, Url>> {
    let mut urls = BTreeMap::new();
    for (slot, client) in manifest.auth.iter().filter_map(|(slot, auth)| Some((slot, auth.oauth()?))) {
        for template in &client.token_urls {
            if let Some(url) = super::grant::fill_url(template, &connection.config)? {
                urls.insert(slot.clone(), url);
                break;
            }
        }
    }
    Ok(urls)
}

fn not_configured(client: &OauthClient) -> NoAccess {
    let urls = client.token_urls.join(", ");
    NoAccess::Gate(HttpError::Denied(format!("the connection's config lacks what the token URL is made of: {urls}")))
}

/// Whether a token was given for what is configured now.
fn is_for(access: &Access, configured: &Configured<'_>) -> bool {
    access.issued_for == configured.issue_mark(&access.token) && access.configured == configured.refresh_mark(&access.token)
}
