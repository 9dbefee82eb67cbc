//! OAuth 2 (RFC 6749): access tokens that the host obtains, keeps and renews. A guest sees neither them nor what they are
//! obtained with.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth::header_mistake;
use super::signature::is_default;
use super::{HostRequest, Manifest};

/// Form parameters that the host writes itself.
const OWN_PARAMETERS: [&str; 6] = ["grant_type", "client_id", "client_secret", "refresh_token", "assertion", "scope"];

/// A client of a token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OauthClient {
    /// Where tokens come from: the first whose placeholders are all configured. `https://api.example.org/oauth/token`,
    /// `https://{config.shop}.example.org/token`, or with `{config.base_url}/oauth/token` at the origin of that URL. Its host
    /// must be one of `hosts`.
    pub token_urls: Vec<String>,
    /// Name of the secret that is the client's id.
    pub client_id: String,
    /// Name of the secret that is the client's secret; only a public client that refreshes has none, and one that signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<String>,
    /// Name of the secret that is the first refresh token; for `oauth2-refresh` alone. Where the service gives another with
    /// each access token, the host keeps that one, until the secret changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// What the host signs to be given a token; for `oauth2-jwt-bearer` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<Assertion>,
    /// How the client proves who it is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub client_auth: ClientAuth,
    /// Scopes asked for; those that the service gives by itself when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Further form parameters of the token request: `audience`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// Header that carries the access token; `Authorization` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text before the access token; when absent `Bearer ` in `Authorization`, and nothing in another header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// A JWT that says who the client acts for, signed by RS256 (RFC 7523 §3, RFC 7518 §3.3). The client's id issues it, and it is
/// good for a minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Name of the secret that is the RSA private key, in PEM: PKCS#8 or PKCS#1, not encrypted, of at least 2,048 bits.
    pub private_key: String,
    /// Who the client acts for (`sub`): `{config.user}` for a value of the config, else the text itself; the client's id when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who is to accept it (`aud`); the token URL when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

impl Assertion {
    /// The value of the config that is the subject, `user` of `{config.user}`; `None` for a subject that stands as it is.
    #[must_use]
    pub fn subject_in_config(&self) -> Option<&str> {
        self.subject.as_deref()?.strip_prefix("{config.")?.strip_suffix('}')
    }
}

/// What a slot's type says tokens are given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    ClientCredentials,
    Refresh,
    JwtBearer,
}

/// Where the client's id and secret stand in a token request (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Form parameters.
    #[default]
    Body,
    /// HTTP basic authentication.
    Basic,
}

impl OauthClient {
    /// The header that carries the access token.
    #[must_use]
    pub fn header(&self) -> &str {
        self.name.as_deref().unwrap_or("authorization")
    }

    /// The text before the access token.
    #[must_use]
    pub fn header_prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or(if self.name.is_none() { "Bearer " } else { "" })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        let private_key = self.assertion.as_ref().map(|assertion| &assertion.private_key);
        let others = [self.client_secret.as_ref(), self.refresh_token.as_ref(), private_key];
        std::iter::once(self.client_id.as_str()).chain(others.into_iter().flatten().map(String::as_str)).collect()
    }

    /// What is wrong beside the secrets.
    pub(super) fn mistakes(&self, grant: Grant, manifest: &Manifest) -> Vec<String> {
        let mut found = Vec::new();
        if self.token_urls.is_empty() {
            found.push("`token_urls` is empty: write where tokens come from, `https://api.example.org/oauth/token`".to_owned());
        }
        found.extend(self.token_urls.iter().filter_map(|url| token_url_mistake(url, &manifest.hosts)));
        match (grant == Grant::Refresh, &self.refresh_token) {
            (true, None) => found.push("`refresh_token` is missing: name the secret that holds it".to_owned()),
            (false, Some(_)) => {
                found.push("`refresh_token` is for `oauth2-refresh`: remove it, or change the type".to_owned());
            }
            _ => {}
        }
        match (grant == Grant::JwtBearer, &self.assertion) {
            (true, None) => found.push("`assertion` is missing: name the secret that is its `private_key`".to_owned()),
            (false, Some(_)) => found.push("`assertion` is for `oauth2-jwt-bearer`: remove it, or change the type".to_owned()),
            _ => {}
        }
        if self.client_secret.is_none() && (grant == Grant::ClientCredentials || self.client_auth == ClientAuth::Basic) {
            found.push("`client_secret` is missing: name the secret that holds it".to_owned());
        }
        let own = self.parameters.keys().filter(|name| OWN_PARAMETERS.contains(&name.as_str()));
        found.extend(own.map(|name| format!("`parameters` has `{name}`, which the host writes: remove it")));
        found.extend(self.name.iter().filter_map(|name| header_mistake("name", name)));
        found
    }
}

/// A token URL that no token may be asked from.
fn token_url_mistake(url: &str, hosts: &[HostRequest]) -> Option<String> {
    let is_hidden =
        |character: char| character.is_control() || character.is_whitespace() || matches!(character, '@' | '#' | '\\');
    if url.contains(is_hidden) || url.matches('{').count() != url.matches('}').count() {
        return Some(format!("`{url}` is no URL: write one such as `https://api.example.org/oauth/token`"));
    }
    let authority = match url.strip_prefix("https://") {
        Some(rest) => rest.split(['/', '?']).next().unwrap_or_default(),
        None if url.starts_with('{') => url.split_inclusive('}').next().unwrap_or_default(),
        None => return Some(format!("`{url}` does not begin with `https://`: tokens are asked for over https alone")),
    };
    let is_granted = |host: &HostRequest| {
        let below = host.pattern.strip_prefix('*').filter(|suffix| suffix.starts_with('.'));
        host.pattern == authority || below.is_some_and(|suffix| authority.ends_with(suffix) && authority.len() > suffix.len())
    };
    (!hosts.iter().any(is_granted)).then(|| format!("`{url}` is at a host that `hosts` does not have: add `{authority}` there"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::manifest::Manifest;

    fn mistakes(changes: &Value) -> Vec<String> {
        let mut slot = json!({"type": "oauth2-refresh", "token_urls": ["{config.base_url}/token", "https://{config.shop}.test/token"],
            "client_id": "id", "client_secret": "key", "refresh_token": "refresh"});
        for (key, value) in changes.as_object().unwrap() {
            slot[key] = value.clone();
        }
        slot.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let manifest = json!({"manifest_version": 1, "name": "p", "version": "1.0.0", "kinds": ["source"], "config_schema": {},
            "hosts": [{"pattern": "{config.shop}.test"}, {"pattern": "{config.base_url}"}, {"pattern": "*.wild.test"}],
            "secrets": [{"name": "id"}, {"name": "key"}, {"name": "refresh"}], "auth": {"api": slot}});
        serde_json::from_value::<Manifest>(manifest).unwrap().auth_mistakes()
    }

    fn signed(private_key: &str) -> Value {
        json!({"private_key": private_key, "subject": "{config.user}", "audience": "https://login.test"})
    }

    #[test]
    fn a_client_that_cannot_get_a_token_is_told_with_all_its_mistakes() {
        let cases: [(Value, &[&str]); 24] = [
            (json!({}), &[]),
            (json!({"client_secret": null}), &[]),
            (json!({"token_urls": ["https://a.wild.test/token?v=1"]}), &[]),
            (json!({"type": "oauth2-client-credentials", "refresh_token": null, "client_auth": "basic"}), &[]),
            (json!({"scopes": ["read"], "parameters": {"audience": "a"}, "name": "X-Token"}), &[]),
            (json!({"token_urls": []}), &["`token_urls` is empty"]),
            (json!({"token_urls": ["http://{config.shop}.test/token"]}), &["does not begin with `https://`"]),
            (json!({"token_urls": ["https://other.test/token"]}), &["add `other.test` there"]),
            (json!({"token_urls": ["https://.wild.test/token"]}), &["add `.wild.test` there"]),
            (json!({"token_urls": ["https://{config.shop}.test@evil.test/"]}), &["is no URL"]),
            (json!({"token_urls": ["{config.url}/token"]}), &["add `{config.url}` there"]),
            (json!({"refresh_token": null}), &["`refresh_token` is missing"]),
            (json!({"type": "oauth2-client-credentials"}), &["`refresh_token` is for `oauth2-refresh`"]),
            (json!({"client_auth": "basic", "client_secret": null}), &["`client_secret` is missing"]),
            (json!({"type": "oauth2-jwt-bearer", "refresh_token": null, "assertion": signed("key")}), &[]),
            (json!({"type": "oauth2-jwt-bearer", "refresh_token": null, "client_secret": null, "assertion": signed("key")}), &[]),
            (json!({"type": "oauth2-jwt-bearer", "refresh_token": null}), &["`assertion` is missing"]),
            (json!({"type": "oauth2-jwt-bearer", "assertion": signed("key")}), &["`refresh_token` is for `oauth2-refresh`"]),
            (json!({"assertion": signed("key")}), &["`assertion` is for `oauth2-jwt-bearer`"]),
            (
                json!({"type": "oauth2-jwt-bearer", "refresh_token": null, "assertion": signed("other"), "parameters": {"assertion": "a"}}),
                &["the secret `other` is not declared", "`assertion`, which the host writes"],
            ),
            (json!({"refresh_token": "other"}), &["the secret `other` is not declared"]),
            (
                json!({"parameters": {"scope": "a", "grant_type": "b"}}),
                &["`grant_type`, which the host writes", "`scope`, which"],
            ),
            (json!({"name": "X Token"}), &["no header can be called"]),
            (json!({"client_id": "other", "token_urls": []}), &["`other` is not declared", "`token_urls` is empty"]),
        ];
        for (changes, expected) in cases {
            let found = mistakes(&changes);
            let is_told = found.iter().zip(expected).all(|(found, expected)| found.contains(expected));
            assert!(found.len() == expected.len() && is_told, "{changes}: {found:?}");
        }
    }
}
