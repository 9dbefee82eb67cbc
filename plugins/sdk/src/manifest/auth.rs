//! How the host adds credentials to requests. A guest names an auth slot; what stands behind it never reaches the guest.

use serde::{Deserialize, Serialize};

use super::{HmacSignature, OauthClient};

/// How the host adds a credential to a request that names the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
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
    /// `Authorization: Bearer SECRET`.
    pub fn bearer(secret: &str) -> Self {
        Self::Bearer { secret: secret.to_owned() }
    }

    /// `NAME: PREFIX SECRET`; the prefix carries its own space.
    pub fn header(name: &str, prefix: &str, secret: &str) -> Self {
        let prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
        Self::Header { name: Some(name.to_owned()), prefix, secret: secret.to_owned() }
    }

    /// `?NAME=SECRET`.
    pub fn query(name: &str, secret: &str) -> Self {
        Self::Query { name: Some(name.to_owned()), prefix: None, secret: secret.to_owned() }
    }

    /// HTTP basic authentication, the secret as the password.
    pub fn basic(user: &str, secret: &str) -> Self {
        Self::Basic { user: Some(user.to_owned()), secret: secret.to_owned() }
    }
}
