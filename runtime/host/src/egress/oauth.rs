//! Access tokens by OAuth 2 (RFC 6749 §4.4 and §6, RFC 7523 §2.1). A token is asked for through the same gate as every request, by one
//! instance at a time over all processes, and what came with it is durable before anything of it is used: a service that
//! gives a new refresh token with each access token never meets an old one again, wherever this process ends.

mod answer;
mod assertion;
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
use affluent_model::manifest::{Assertion, Manifest, OauthClient};
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
    signing: Option<Signing>,
    token_url: Url,
}

/// What assertions are signed with, and in whose name.
pub(super) struct Signing {
    key: Arc<Secret>,
    subject: String,
    audience: String,
}

/// What a slot's tokens are asked for with, of what the connection's config says.
pub(super) struct Endpoint {
    token_url: Url,
    /// Who the client acts for; `None` for itself, and where the config lacks it.
    subject: Option<String>,
}

impl ClientSecrets {
    fn configured<'a>(&'a self, client: &'a OauthClient) -> Configured<'a> {
        Configured {
            client,
            token_url: self.token_url.as_str(),
            id: &self.id,
            secret: self.secret.as_deref(),
            refresh: self.refresh.as_deref(),
            signing: self.signing.as_ref(),
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
        let urls = || lacks(&format!("what the token URL is made of: {}", client.token_urls.join(", ")));
        let endpoint = self.endpoints.get(slot).ok_or_else(urls)?;
        let id = secret(&client.client_id)?;
        let signing = |assertion: &Assertion| {
            let subject = match (assertion.subject_in_config(), &endpoint.subject) {
                (Some(name), None) => return Err(lacks(&format!("`{name}`, who the client acts for"))),
                (_, Some(subject)) => subject.clone(),
                (None, None) => id.expose().to_owned(),
            };
            let audience = assertion.audience.clone().unwrap_or_else(|| endpoint.token_url.to_string());
            Ok(Signing { key: secret(&assertion.private_key)?, subject, audience })
        };
        Ok(ClientSecrets {
            secret: client.client_secret.as_deref().map(secret).transpose()?,
            refresh: client.refresh_token.as_deref().map(secret).transpose()?,
            signing: client.assertion.as_ref().map(signing).transpose()?,
            token_url: endpoint.token_url.clone(),
            id,
        })
    }
}

/// Where the tokens of each slot come from, at the first URL whose placeholders are all configured, and for whom.
///
/// # Errors
/// `E0411` when a value of the config cannot stand in a URL.
pub(super) fn endpoints(manifest: &Manifest, connection: &Connection) -> ModelResult<BTreeMap<String, Endpoint>> {
    let mut endpoints = BTreeMap::new();
    for (slot, client) in manifest.auth.iter().filter_map(|(slot, auth)| Some((slot, auth.oauth()?))) {
        for template in &client.token_urls {
            if let Some(token_url) = super::grant::fill_url(template, &connection.config)? {
                let assertion = client.assertion.as_ref();
                let subject = assertion.and_then(|assertion| match assertion.subject_in_config() {
                    Some(name) => super::grant::config_text(&format!("config.{name}"), &connection.config),
                    None => assertion.subject.as_deref(),
                });
                endpoints.insert(slot.clone(), Endpoint { token_url, subject: subject.map(str::to_owned) });
                break;
            }
        }
    }
    Ok(endpoints)
}

fn lacks(what: &str) -> NoAccess {
    NoAccess::Gate(HttpError::Denied(format!("the connection's config lacks {what}")))
}

/// Whether a token was given for what is configured now.
fn is_for(access: &Access, configured: &Configured<'_>) -> bool {
    access.issued_for == configured.issue_mark(&access.token) && access.configured == configured.refresh_mark(&access.token)
}
