//! Why there is no access token, for the guest and for the person who must act. Neither learns more than where it failed
//! and what to do.

use std::time::Duration;

use affluent_model::connector::{Failure, FailureKind};
use affluent_model::error::Retry;
use affluent_model::manifest::OauthClient;
use affluent_model::{Error, Result};

use super::answer::{NoTokens, Reason};
use super::assertion::KeyMistake;
use crate::bindings::affluent::plugin::http::HttpError;
use crate::egress::{Answer, AnswerBody};
use crate::failure::host_failure;

/// Why there is no access token.
#[derive(Clone)]
pub(crate) enum NoAccess {
    /// The gate refused the token request, or a secret is not there; already in the audit.
    Gate(HttpError),
    /// The token endpoint or the store; the person reads this instead of what the guest makes of it.
    Failed(Failure),
}

/// Where tokens are asked for, for messages.
pub(super) struct Place<'a> {
    pub(super) connection: &'a str,
    pub(super) host: &'a str,
    pub(super) client: &'a OauthClient,
}

impl NoAccess {
    /// A state that cannot be.
    pub(super) fn bug(why: &str) -> Self {
        Self::Failed(host_failure(FailureKind::Internal, "credential", Error::bug(why)))
    }

    /// Another try now would end the same.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Gate(error) => matches!(error, HttpError::Denied(_) | HttpError::Invalid(_) | HttpError::TooLarge(_)),
            Self::Failed(failure) => failure.kind != FailureKind::Transient && failure.kind != FailureKind::RateLimited,
        }
    }

    /// The store could not give or keep tokens; nothing was used that it did not keep.
    pub(super) fn store(error: Error) -> Self {
        let kind = if error.retry == Retry::Never { FailureKind::Config } else { FailureKind::Transient };
        Self::Failed(host_failure(kind, "credential", error))
    }

    /// The assertion could not be signed.
    pub(super) fn key(mistake: KeyMistake, place: &Place<'_>) -> Self {
        let name = place.client.assertion.as_ref().map_or("", |assertion| &assertion.private_key);
        let (what, help) = mistake.told();
        let message = format!("the secret `{name}` of connection `{}` cannot sign: it {what}", place.connection);
        Self::Failed(host_failure(FailureKind::Config, "credential", Error::configuration("E0421", message).help(help)))
    }

    /// The endpoint gave none.
    pub(super) fn answered(no: &NoTokens, place: &Place<'_>) -> Self {
        let Place { connection, host, client } = place;
        let of_secret = |name: &str| format!("the secret `{name}` of connection `{connection}`");
        let secret = client.client_secret.as_deref().map(of_secret);
        let client_secrets = std::iter::once(of_secret(&client.client_id)).chain(secret).collect::<Vec<_>>().join(" and ");
        let refresh = client.refresh_token.as_deref().map(of_secret);
        let signed = client.assertion.as_ref().map(|assertion| {
            let key = of_secret(&assertion.private_key);
            let user = assertion.subject_in_config().map(|name| format!(", the user in `config.{name}`")).unwrap_or_default();
            format!("check that the service has the certificate of {key}, and allows the client{user}; check {client_secrets}, and this machine's clock")
        });
        let (what, help) = match (no.reason, refresh) {
            (Reason::Grant | Reason::Client | Reason::Unsaid, None) if signed.is_some() => {
                ("the assertion", signed.unwrap_or_default())
            }
            (Reason::Grant, Some(refresh)) => {
                ("the refresh token", format!("it is expired, revoked or was used elsewhere: put a new one into {refresh}"))
            }
            (Reason::Grant, None) | (Reason::Client, _) => ("the client", format!("check {client_secrets}")),
            (Reason::Scope, _) => {
                ("the scopes that the plugin asks for", format!("allow the client {} at the service", client.scopes.join(", ")))
            }
            (Reason::Unsaid, Some(refresh)) => ("the credential", format!("check {client_secrets}, and {refresh}")),
            (Reason::Unsaid, None) => ("the credential", format!("check {client_secrets}")),
            (Reason::Request, _) => {
                ("the request", "check the connection's config, or report it to the plugin's author".to_owned())
            }
            (Reason::Trouble, _) => return Self::trouble(&no.detail, None, place),
        };
        let message = format!("the token endpoint `{host}` refuses {what} of connection `{connection}` ({})", no.detail);
        let error = Error::external("E0418", message).retry(Retry::Never).help(help);
        Self::Failed(host_failure(FailureKind::Auth, "credential", error))
    }

    /// Not now.
    pub(super) fn trouble(detail: &str, wait: Option<Duration>, place: &Place<'_>) -> Self {
        let message =
            format!("the token endpoint `{}` gives connection `{}` no token now ({detail})", place.host, place.connection);
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let error = Error::external("E0419", message).help("run again later; nothing is lost");
        let (kind, error) = match wait_ms {
            Some(wait_ms) => (FailureKind::RateLimited, error.retry(Retry::After(wait_ms))),
            None => (FailureKind::Transient, error),
        };
        Self::Failed(Failure { retry_after_ms: wait_ms, ..host_failure(kind, "credential", error) })
    }

    /// What the guest gets: a refusal looks to it like that of the service itself.
    pub(in crate::egress) fn for_guest(&self) -> Result<Answer, HttpError> {
        let failure = match self {
            Self::Gate(error) => return Err(error.clone()),
            Self::Failed(failure) => failure,
        };
        match failure.kind {
            FailureKind::Auth => {
                let body = br#"{"error":"the token endpoint refused the credential"}"#.to_vec();
                let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
                Ok(Answer { status: 401, headers, body: AnswerBody::Whole(body) })
            }
            FailureKind::RateLimited => Err(HttpError::RateLimited(failure.retry_after_ms.unwrap_or(1_000))),
            FailureKind::Transient => Err(HttpError::Connect("there is no access token now".to_owned())),
            _ => Err(HttpError::Denied(failure.error.message.clone())),
        }
    }
}
