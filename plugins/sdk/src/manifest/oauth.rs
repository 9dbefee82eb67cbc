//! OAuth 2 (RFC 6749): access tokens that the host obtains, keeps and renews. A guest sees neither them nor what they are
//! obtained with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AuthSlot, Manifest};

/// A client of a token endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Name of the secret that is the first refresh token; for `oauth2-refresh` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// What the host signs to be given a token; for `oauth2-jwt-bearer` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<Assertion>,
    /// How the client proves who it is.
    #[serde(default, skip_serializing_if = "is_body")]
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

/// A JWT that says who the client acts for, signed by RS256 (RFC 7523 §3). The client's id issues it, and it is good for a
/// minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Where the client's id and secret stand in a token request (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Form parameters.
    #[default]
    Body,
    /// HTTP basic authentication.
    Basic,
}

impl OauthClient {
    /// A client whose id and secret are the secrets of these names, asking at the first of `token_urls` whose placeholders
    /// are all configured.
    ///
    /// ```
    /// use affluent_sdk::manifest::{AuthSlot, OauthClient};
    /// use affluent_sdk::{Manifest, PluginKind};
    ///
    /// #[derive(schemars::JsonSchema)]
    /// struct Config {}
    ///
    /// let urls = ["https://api.example.org/oauth/token"];
    /// let client = OauthClient::new(&urls, "client_id", "client_secret").scopes(&["contacts.read"]).basic();
    /// let manifest = Manifest::new::<Config>("crm", "0.1.0", [PluginKind::Source])
    ///     .host("api.example.org", &[])
    ///     .secret("client_id", "Id of the app, from its settings", &[])
    ///     .secret("client_secret", "Secret of the app, from its settings", &[])
    ///     .secret("refresh_token", "Given when the app was installed", &["contacts.read"])
    ///     .auth("api", AuthSlot::refresh(client, "refresh_token"));
    /// assert!(manifest.auth.contains_key("api"));
    /// ```
    pub fn new(token_urls: &[&str], client_id: &str, client_secret: &str) -> Self {
        Self { client_secret: Some(client_secret.to_owned()), ..Self::without_secret(token_urls, client_id) }
    }

    /// A client that has an id alone: one that signs assertions, or a public one that refreshes.
    ///
    /// ```
    /// use affluent_sdk::manifest::{Assertion, AuthSlot, OauthClient};
    ///
    /// let client = OauthClient::without_secret(&["https://api.example.org/oauth/token"], "client_id");
    /// let slot = AuthSlot::jwt_bearer(client, Assertion::new("private_key").subject("{config.user}"));
    /// # assert!(matches!(slot, AuthSlot::JwtBearer(_)));
    /// ```
    pub fn without_secret(token_urls: &[&str], client_id: &str) -> Self {
        Self {
            token_urls: token_urls.iter().map(|url| (*url).to_owned()).collect(),
            client_id: client_id.to_owned(),
            client_secret: None,
            refresh_token: None,
            assertion: None,
            client_auth: ClientAuth::Body,
            scopes: Vec::new(),
            parameters: BTreeMap::new(),
            name: None,
            prefix: None,
        }
    }

    /// Asks for these scopes.
    #[must_use]
    pub fn scopes(mut self, scopes: &[&str]) -> Self {
        self.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self
    }

    /// Proves who the client is by HTTP basic authentication instead of form parameters.
    #[must_use]
    pub fn basic(mut self) -> Self {
        self.client_auth = ClientAuth::Basic;
        self
    }

    /// Adds a form parameter to the token request.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sends the access token in a header of its own, without `Bearer`.
    #[must_use]
    pub fn header(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }
}

impl Assertion {
    /// Signed with the key that is the secret of this name, in the name of the client itself, for the token URL.
    pub fn new(private_key: &str) -> Self {
        Self { private_key: private_key.to_owned(), subject: None, audience: None }
    }

    /// Says who the client acts for: `{config.user}` for a value of the config, else the text itself.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// Says who is to accept it, where that is not the token URL.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        self.audience = Some(audience.to_owned());
        self
    }
}

impl AuthSlot {
    /// An access token that the host gets with the client's own credential (RFC 6749 §4.4).
    pub fn client_credentials(client: OauthClient) -> Self {
        Self::ClientCredentials(client)
    }

    /// An access token that the host gets with a refresh token (RFC 6749 §6), the secret of this name at first. Where the
    /// service gives another refresh token with each access token, the host keeps that one.
    pub fn refresh(client: OauthClient, refresh_token: &str) -> Self {
        Self::Refresh(OauthClient { refresh_token: Some(refresh_token.to_owned()), ..client })
    }

    /// An access token that the host gets with an assertion that it signs (RFC 7523 §2.1).
    pub fn jwt_bearer(client: OauthClient, assertion: Assertion) -> Self {
        Self::JwtBearer(OauthClient { assertion: Some(assertion), ..client })
    }
}

impl Manifest {
    /// A slot for an app that was installed in an account: access tokens by a refresh token, with the secrets `client_id`,
    /// `client_secret` and `refresh_token`, which a connection gives that uses the slot.
    #[must_use]
    pub fn installed_app(self, slot: &str, token_urls: &[&str], scopes: &[&str]) -> Self {
        let client = OauthClient::new(token_urls, "client_id", "client_secret");
        self.auth(slot, AuthSlot::refresh(client, "refresh_token"))
            .optional_secret("client_id", "id of the app, where it is installed", &[])
            .optional_secret("client_secret", "secret of the app, where it is installed", &[])
            .optional_secret("refresh_token", "given when the app was installed", scopes)
    }
}

fn is_body(auth: &ClientAuth) -> bool {
    *auth == ClientAuth::Body
}
