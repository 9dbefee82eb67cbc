//! One exchange at a token endpoint: the claim on the connection's tokens, the request, its repetitions, and the commit of
//! what came before anything of it is used.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use affluent_model::credential::{Claim, CredentialId, CredentialStore, KeptCredential};
use affluent_model::manifest::{ClientAuth, OauthClient};
use affluent_model::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::HeaderMap;
use url::form_urlencoded;

use super::answer::{self, NoTokens, Reason, Tokens};
use super::assertion;
use super::failure::Place;
use super::kept::Kept;
use super::shared::{Access, SlotTokens, renewal_at};
use super::{ClientSecrets, NoAccess, Signing, is_for};
use crate::bindings::affluent::plugin::http::HttpError;
use crate::egress::Egress;
use crate::egress::request::Outgoing;
use crate::options::Backoff;
use crate::secret::Secret;

/// Tries of one exchange.
const TRIES_MAX: u32 = 3;
/// The longest wait between two of them; a longer one is given back to the guest.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// One try; with the pauses far within the claim.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a claim holds where its holder cannot be seen to have ended.
const CLAIM_MS: u64 = 180_000;
/// Between two looks at the claim of another process.
const CLAIM_LOOK: Duration = Duration::from_millis(200);
/// The grant type of RFC 7523 §2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Exchanges whose tokens were lost to another process, one after the other.
const LOST_CLAIMS_MAX: u32 = 3;

/// Asks for tokens, or finds those that another asked for meanwhile.
pub(super) struct Renewal {
    pub(super) egress: Egress,
    pub(super) id: CredentialId,
    pub(super) shared: Arc<SlotTokens>,
    /// The token that the service refused.
    pub(super) refused: Option<Arc<Access>>,
}

/// What another process may have kept, and the version to commit on.
struct Claimed {
    kept: Option<Kept>,
    version: u64,
}

impl Renewal {
    /// # Errors
    /// Why there is no access token.
    pub(super) async fn run(self) -> Result<Arc<Access>, NoAccess> {
        let _flight = self.shared.flight.lock().await;
        let client = self.egress.manifest.auth.get(&self.id.slot).and_then(affluent_model::manifest::AuthSlot::oauth);
        let Some(client) = client.cloned() else { return Err(NoAccess::bug("the slot was looked at before")) };
        if self.refused.is_some() {
            // Whoever changed a secret since wins.
            self.egress.refresh(&self.id.slot);
        }
        let secrets = self.egress.client_secrets(&self.id.slot, &client)?;
        let clock = Arc::clone(&self.egress.caller.options.clock);
        if let Some(access) = self.shared.current(self.refused.as_deref())
            && access.is_alive(self.egress.caller.wall_us())
            && is_for(&access, &secrets.configured(&client))
        {
            return Ok(access);
        }
        if let Some(failure) = self.shared.failed_lately(clock.monotonic()) {
            return Err(failure);
        }
        let renewed = self.renew(&client, &secrets).await;
        match &renewed {
            Ok(access) => self.shared.set_current(access),
            Err(failure) => self.shared.set_failed(clock.monotonic(), failure),
        }
        renewed
    }

    async fn renew(&self, client: &OauthClient, secrets: &ClientSecrets) -> Result<Arc<Access>, NoAccess> {
        let Some(store) = self.egress.caller.options.credentials.clone() else {
            return self.renew_without_store(client, secrets).await;
        };
        for _ in 0..LOST_CLAIMS_MAX {
            let Claimed { kept, version } = self.claim(&store).await?;
            if let Some(access) = kept.as_ref().and_then(|kept| self.usable(kept, client, secrets)) {
                self.release(&store).await?;
                return Ok(access);
            }
            let refresh = kept.as_ref().and_then(|kept| kept_refresh(kept, client, secrets)).or_else(|| secrets.refresh.clone());
            let tokens = match self.exchange(client, secrets, refresh.as_ref()).await {
                Ok(tokens) => tokens,
                Err(failure) => {
                    self.release(&store).await?;
                    return Err(failure);
                }
            };
            let fresh = self.kept_of(tokens, refresh, client, secrets);
            let id = self.id.clone();
            let bytes = fresh.write();
            match blocking(&store, move |store| store.commit(&id, version, &bytes)).await {
                Ok(true) => return Ok(self.access_of(&fresh)),
                // Another process has other tokens: those are looked at next.
                Ok(false) => {}
                Err(failure) => {
                    // What failed matters more than a claim that ends by itself.
                    drop(self.release(&store).await);
                    return Err(failure);
                }
            }
        }
        Err(NoAccess::trouble("other processes renew it at the same time", None, &self.place(client, secrets)))
    }

    /// Without a refresh token nothing has to be kept.
    async fn renew_without_store(&self, client: &OauthClient, secrets: &ClientSecrets) -> Result<Arc<Access>, NoAccess> {
        if client.refresh_token.is_some() {
            let message =
                format!("connection `{}` refreshes its access token, and nothing here can keep what it gets", self.id.connection);
            let error =
                Error::configuration("E0420", message).help("run the command in a project: tokens are kept in its ledger");
            return Err(NoAccess::store(error));
        }
        let tokens = self.exchange(client, secrets, None).await?;
        Ok(self.access_of(&self.kept_of(tokens, None, client, secrets)))
    }

    /// Waits for other holders.
    async fn claim(&self, store: &Arc<dyn CredentialStore>) -> Result<Claimed, NoAccess> {
        let clock = Arc::clone(&self.egress.caller.options.clock);
        let began = clock.monotonic();
        loop {
            let (id, now_us) = (self.id.clone(), self.egress.caller.wall_us());
            let claim = blocking(store, move |store| store.claim(&id, now_us, CLAIM_MS)).await?;
            match claim {
                Claim::Granted(None) => return Ok(Claimed { kept: None, version: 0 }),
                Claim::Granted(Some(KeptCredential { version, value })) => {
                    let Some(kept) = Kept::read(&value) else {
                        self.release(store).await?;
                        return Err(NoAccess::bug("what is kept of tokens is written by this program alone"));
                    };
                    return Ok(Claimed { kept: Some(kept), version });
                }
                Claim::Busy if clock.monotonic().saturating_sub(began) > Duration::from_millis(CLAIM_MS) => {
                    let what = format!(
                        "another process has been renewing the tokens of connection `{}` for minutes",
                        self.id.connection
                    );
                    return Err(NoAccess::store(Error::external("E0419", what).help("run again later; nothing is lost")));
                }
                Claim::Busy => clock.sleep(CLAIM_LOOK).await,
            }
        }
    }

    async fn release(&self, store: &Arc<dyn CredentialStore>) -> Result<(), NoAccess> {
        let id = self.id.clone();
        blocking(store, move |store| store.release(&id)).await
    }

    /// The access token that is kept, where it may still be accepted.
    fn usable(&self, kept: &Kept, client: &OauthClient, secrets: &ClientSecrets) -> Option<Arc<Access>> {
        let access = self.access_of(kept);
        let is_refused = self.refused.as_ref().is_some_and(|refused| refused.token.expose() == access.token.expose());
        let now_us = self.egress.caller.wall_us();
        let is_usable = !is_refused && access.is_alive(now_us) && is_for(&access, &secrets.configured(client));
        // What another run left here has worked for it.
        access.note_worked();
        is_usable.then_some(access)
    }

    fn kept_of(&self, tokens: Tokens, used: Option<Arc<Secret>>, client: &OauthClient, secrets: &ClientSecrets) -> Kept {
        let configured = secrets.configured(client);
        let used = used.map(|used| Secret::new(used.expose().to_owned()));
        Kept {
            configured: configured.refresh_mark(&tokens.access),
            issued_for: configured.issue_mark(&tokens.access),
            // Some give one all the same; there is no use for it.
            refresh: client.refresh_token.as_ref().and(tokens.refresh.or(used)),
            access: tokens.access,
            expires_at_us: tokens.lifetime_us.map(|lifetime_us| renewal_at(self.egress.caller.wall_us(), lifetime_us)),
        }
    }

    /// From here on both tokens are blotted out of everything.
    fn access_of(&self, kept: &Kept) -> Arc<Access> {
        let known = self.egress.network.tokens.known(&self.id.connection);
        let token = Arc::new(Secret::new(kept.access.expose().to_owned()));
        known.add(&token);
        if let Some(refresh) = &kept.refresh {
            known.add(&Arc::new(Secret::new(refresh.expose().to_owned())));
        }
        Arc::new(Access {
            token,
            issued_for: kept.issued_for,
            configured: kept.configured,
            expires_at_us: kept.expires_at_us,
            obtained_at: self.egress.caller.options.clock.monotonic(),
            has_worked: AtomicBool::new(false),
        })
    }

    fn place<'a>(&'a self, client: &'a OauthClient, secrets: &'a ClientSecrets) -> Place<'a> {
        Place { connection: &self.id.connection, host: secrets.token_url.host_str().unwrap_or_default(), client }
    }

    fn assertion(&self, secrets: &ClientSecrets, signing: &Signing, place: &Place<'_>) -> Result<Secret, NoAccess> {
        let Signing { key, subject, audience } = signing;
        let now_us = self.egress.caller.wall_us();
        let claims = assertion::Claims { issuer: secrets.id.expose(), subject, audience, now_us };
        assertion::sign(key, &claims).map_err(|mistake| NoAccess::key(mistake, place))
    }

    async fn exchange(
        &self,
        client: &OauthClient,
        secrets: &ClientSecrets,
        refresh: Option<&Arc<Secret>>,
    ) -> Result<Tokens, NoAccess> {
        if let Some(refresh) = refresh {
            self.egress.network.tokens.known(&self.id.connection).add(refresh);
        }
        let place = self.place(client, secrets);
        let options = &self.egress.caller.options;
        let mut tries = 0;
        loop {
            tries += 1;
            // Each with an assertion of its own: the one before may be too old by now.
            let assertion = secrets.signing.as_ref().map(|signing| self.assertion(secrets, signing, &place)).transpose()?;
            let grant = match (&assertion, refresh) {
                (Some(assertion), _) => Grant::Assertion(assertion),
                (None, Some(refresh)) => Grant::Refresh(refresh),
                (None, None) => Grant::Client,
            };
            let request = token_request(client, secrets, grant).map_err(NoAccess::Gate)?;
            let (detail, wait) = match self.egress.post_for_token(&request, TRY_TIMEOUT).await {
                Ok((status, wait, body)) => match answer::read(status, &body) {
                    Ok(tokens) => return Ok(tokens),
                    Err(NoTokens { reason: Reason::Trouble, detail }) => (detail, wait),
                    Err(no) => return Err(NoAccess::answered(&no, &place)),
                },
                Err(HttpError::Connect(_)) => ("no connection".to_owned(), None),
                Err(HttpError::Timeout) => ("no answer in time".to_owned(), None),
                Err(error) => return Err(NoAccess::Gate(error)),
            };
            let pause = wait.unwrap_or_else(|| pause(&options.backoff, tries));
            if tries >= TRIES_MAX || pause > PAUSE_MAX {
                return Err(NoAccess::trouble(&detail, wait, &place));
            }
            options.clock.sleep(pause).await;
        }
    }
}

/// What tokens are given for.
#[derive(Clone, Copy)]
enum Grant<'a> {
    Client,
    Refresh(&'a Secret),
    Assertion(&'a Secret),
}

/// Doubles from try to try. There is one who asks, so that nothing has to be drawn, and a recording draws what its replay
/// draws.
fn pause(backoff: &Backoff, tries: u32) -> Duration {
    let doubled = backoff.first_ms.saturating_mul(1u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX));
    Duration::from_millis(doubled.min(backoff.longest_ms))
}

/// The refresh token that is kept, unless another one was configured since.
fn kept_refresh(kept: &Kept, client: &OauthClient, secrets: &ClientSecrets) -> Option<Arc<Secret>> {
    let refresh = kept.refresh.as_ref()?;
    let is_same = kept.configured == secrets.configured(client).refresh_mark(&kept.access);
    is_same.then(|| Arc::new(Secret::new(refresh.expose().to_owned())))
}

/// RFC 6749 §4.4.2 and §6, RFC 7523 §2.1; the client as RFC 6749 §2.3.1 has it, where it has a secret or nothing else says who it
/// is.
fn token_request(client: &OauthClient, secrets: &ClientSecrets, grant: Grant<'_>) -> Result<Outgoing, HttpError> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match grant {
        Grant::Refresh(refresh) => form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh.expose()),
        Grant::Assertion(assertion) => form.append_pair("grant_type", JWT_BEARER).append_pair("assertion", assertion.expose()),
        Grant::Client => form.append_pair("grant_type", "client_credentials"),
    };
    if !client.scopes.is_empty() {
        form.append_pair("scope", &client.scopes.join(" "));
    }
    form.extend_pairs(&client.parameters);
    let mut request = Outgoing {
        method: Method::POST,
        url: secrets.token_url.clone(),
        headers: HeaderMap::new(),
        body: None,
        is_first_origin: true,
    };
    request.set_header("content-type", "application/x-www-form-urlencoded")?;
    request.set_header("accept", "application/json")?;
    let secret = secrets.secret.as_ref().map(|secret| secret.expose());
    match client.client_auth {
        ClientAuth::Body if secret.is_none() && matches!(grant, Grant::Assertion(_)) => {}
        ClientAuth::Body => {
            form.append_pair("client_id", secrets.id.expose());
            if let Some(secret) = secret {
                form.append_pair("client_secret", secret);
            }
        }
        ClientAuth::Basic => {
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(secrets.id.expose()), encoded(secret.unwrap_or_default()));
            request.add_secret_header("authorization", &format!("Basic {}", STANDARD.encode(pair)))?;
        }
    }
    request.body = Some(form.finish().into_bytes());
    Ok(request)
}

/// A store may wait for its disk, or for another process.
async fn blocking<T: Send + 'static>(
    store: &Arc<dyn CredentialStore>,
    work: impl FnOnce(&dyn CredentialStore) -> Result<T> + Send + 'static,
) -> Result<T, NoAccess> {
    let store = Arc::clone(store);
    let done = tokio::task::spawn_blocking(move || work(&*store)).await;
    done.map_err(|_| NoAccess::bug("the store of tokens ended without a result"))?.map_err(NoAccess::store)
}
