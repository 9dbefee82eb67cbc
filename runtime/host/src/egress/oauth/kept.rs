//! What is kept of a connection's tokens, and how it is told whether they still belong to what is configured.

use std::borrow::Cow;

use affluent_model::manifest::OauthClient;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Signing;
use crate::secret::Secret;

/// Tokens with the marks of what they came from. The access token is the key of the marks: it is sealed with them, and
/// another one each time.
pub(super) struct Kept {
    /// Mark of the refresh token that was configured: another one wins over the one that is kept.
    pub(super) configured: [u8; 32],
    /// Mark of everything else that the access token depends on: when that changes, it is asked for anew.
    pub(super) issued_for: [u8; 32],
    /// `None` where nothing is refreshed.
    pub(super) refresh: Option<Secret>,
    pub(super) access: Secret,
    pub(super) expires_at_us: Option<i64>,
}

/// The same as text; the only form in which tokens are written, and only to be sealed.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    configured: &'a str,
    issued_for: &'a str,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Cow<'a, str>>,
    #[serde(borrow)]
    access_token: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at_us: Option<i64>,
}

impl Kept {
    /// `None` when it is not of the form this program writes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let written: Written<'_> = serde_json::from_slice(bytes).ok()?;
        let mark = |text: &str| STANDARD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        Some(Self {
            configured: mark(written.configured)?,
            issued_for: mark(written.issued_for)?,
            refresh: written.refresh_token.map(|token| Secret::new(token.into_owned())),
            access: Secret::new(written.access_token.into_owned()),
            expires_at_us: written.expires_at_us,
        })
    }

    pub(super) fn write(&self) -> Zeroizing<Vec<u8>> {
        let [configured, issued_for] = [self.configured, self.issued_for].map(|mark| STANDARD.encode(mark));
        let refresh_token = self.refresh.as_ref().map(Secret::expose);
        let written = Written {
            configured: &configured,
            issued_for: &issued_for,
            refresh_token: refresh_token.map(Cow::Borrowed),
            access_token: Cow::Borrowed(self.access.expose()),
            expires_at_us: self.expires_at_us,
        };
        // Reserved at once: a growing vector would leave tokens behind in freed memory.
        let tokens_bytes = self.access.expose().len() + refresh_token.map_or(0, str::len);
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * tokens_bytes + 512));
        // Texts and numbers can always be written to memory.
        drop(serde_json::to_writer(&mut *bytes, &written));
        bytes
    }
}

/// What tokens are asked for with, as it is configured now.
pub(super) struct Configured<'a> {
    pub(super) client: &'a OauthClient,
    pub(super) token_url: &'a str,
    pub(super) id: &'a Secret,
    pub(super) secret: Option<&'a Secret>,
    pub(super) refresh: Option<&'a Secret>,
    pub(super) signing: Option<&'a Signing>,
}

impl Configured<'_> {
    pub(super) fn refresh_mark(&self, key: &Secret) -> [u8; 32] {
        marked(key, [self.refresh.map_or("", Secret::expose)])
    }

    pub(super) fn issue_mark(&self, key: &Secret) -> [u8; 32] {
        let credentials = [self.token_url, self.id.expose(), self.secret.map_or("", Secret::expose)];
        let parameters = self.client.parameters.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        let signing = self.signing.into_iter().flat_map(|Signing { key, subject, audience }| [key.expose(), subject, audience]);
        let scopes = self.client.scopes.iter().map(String::as_str);
        marked(key, credentials.into_iter().chain(parameters).chain(scopes).chain(signing))
    }
}

/// HMAC-SHA-256 of texts, each with its length in front.
fn marked<'a>(key: &Secret, texts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    // HMAC takes keys of any length.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key.expose().as_bytes()) else { return [0; 32] };
    for text in texts {
        mac.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(text.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_written() {
        for (refresh, expires_at_us) in [(Some("R/+=~\"\\"), Some(7)), (None, None)] {
            let refresh = refresh.map(|token: &str| Secret::new(token.to_owned()));
            let kept =
                Kept { configured: [2; 32], issued_for: [3; 32], refresh, access: Secret::new("A b".to_owned()), expires_at_us };

            let read = Kept::read(&kept.write()).unwrap();

            assert_eq!((read.configured, read.issued_for), ([2; 32], [3; 32]));
            assert_eq!(read.refresh.as_ref().map(Secret::expose), kept.refresh.as_ref().map(Secret::expose));
            assert_eq!((read.access.expose(), read.expires_at_us), ("A b", expires_at_us));
        }
        assert!(Kept::read(b"{}").is_none() && Kept::read(b"").is_none());
    }

    #[test]
    fn marks_tell_apart_what_joins_to_the_same_text() {
        let [key, other] = ["key", "other"].map(|key| Secret::new(key.to_owned()));

        assert_ne!(marked(&key, ["ab", "c"]), marked(&key, ["a", "bc"]));
        assert_ne!(marked(&key, ["a"]), marked(&other, ["a"]));
    }
}
