//! How the host adds credentials to requests. A guest names an auth slot; what stands behind it never reaches the guest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Manifest;
use super::oauth::{Grant, OauthClient};
use super::signature::HmacSignature;

/// How the host adds a credential to a request that names the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthSlot {
    /// A header of any name.
    Header {
        /// `Authorization` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Text before the secret: `Klaviyo-API-Key `.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
        /// Name of the secret in `secrets`.
        secret: String,
    },
    /// `Authorization: Bearer SECRET`.
    Bearer {
        /// Name of the secret in `secrets`.
        secret: String,
    },
    /// HTTP basic authentication.
    Basic {
        /// The user name; empty when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Name of the secret that is the password.
        secret: String,
    },
    /// A query parameter.
    Query {
        /// `key` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Text before the secret.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<String>,
        /// Name of the secret in `secrets`.
        secret: String,
    },
    /// The request is signed with a secret that does not leave the host.
    Hmac(HmacSignature),
    /// A bearer token that the host gets with the client's own credential (RFC 6749 §4.4).
    #[serde(rename = "oauth2-client-credentials")]
    ClientCredentials(OauthClient),
    /// A bearer token that the host gets with a refresh token (RFC 6749 §6), also where each can be used once only.
    #[serde(rename = "oauth2-refresh")]
    Refresh(OauthClient),
    /// A bearer token that the host gets with an assertion that it signs (RFC 7523 §2.1).
    #[serde(rename = "oauth2-jwt-bearer")]
    JwtBearer(OauthClient),
}

impl AuthSlot {
    /// Names of the secrets that the slot uses, in a fixed order.
    #[must_use]
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Header { secret, .. } | Self::Bearer { secret } | Self::Basic { secret, .. } | Self::Query { secret, .. } => {
                vec![secret]
            }
            Self::Hmac(signature) => signature.secrets(),
            Self::ClientCredentials(client) | Self::Refresh(client) | Self::JwtBearer(client) => client.secrets(),
        }
    }

    /// The client of a slot whose requests carry an access token.
    #[must_use]
    pub fn oauth(&self) -> Option<&OauthClient> {
        match self {
            Self::ClientCredentials(client) | Self::Refresh(client) | Self::JwtBearer(client) => Some(client),
            _ => None,
        }
    }

    /// What is wrong with the slot itself, and what to do.
    fn mistakes(&self, manifest: &Manifest) -> Vec<String> {
        match self {
            Self::Header { name: Some(name), .. } => header_mistake("name", name).into_iter().collect(),
            Self::Query { name: Some(name), .. } if name.is_empty() => {
                vec!["`name` is empty: write the parameter's name".to_owned()]
            }
            Self::Hmac(signature) => signature.mistakes(),
            Self::ClientCredentials(client) => client.mistakes(Grant::ClientCredentials, manifest),
            Self::Refresh(client) => client.mistakes(Grant::Refresh, manifest),
            Self::JwtBearer(client) => client.mistakes(Grant::JwtBearer, manifest),
            Self::Header { .. } | Self::Bearer { .. } | Self::Basic { .. } | Self::Query { .. } => Vec::new(),
        }
    }
}

impl Manifest {
    /// Every mistake in the auth slots, with the slot's name and what to do; empty when all can work.
    #[must_use]
    pub fn auth_mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, slot) in &self.auth {
            let is_declared = |secret: &str| self.secrets.iter().any(|declared| declared.name == secret);
            let undeclared = slot.secrets().into_iter().filter(|secret| !is_declared(secret));
            let undeclared = undeclared.map(|secret| format!("the secret `{secret}` is not declared: add it to `secrets`"));
            let mistakes = undeclared.chain(slot.mistakes(self));
            found.extend(mistakes.map(|mistake| format!("auth slot `{name}`: {mistake}")));
        }
        found
    }
}

/// A name that no header can have.
pub(super) fn header_mistake(key: &str, name: &str) -> Option<String> {
    // RFC 9110 §5.6.2, `token`.
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    (!is_name).then(|| format!("`{key}` is `{name}`, which no header can be called: write one such as `X-Signature`"))
}
