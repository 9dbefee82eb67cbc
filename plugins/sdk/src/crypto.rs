//! Keyed operations with secrets that the plugin never sees; `secret` is a name from the manifest.

use crate::error::{Error, Result};
use crate::host::crypto as host;

/// HMAC-SHA-256 of `data` under the named secret, 32 bytes.
///
/// # Errors
/// `config` when the secret is not granted.
pub fn hmac_sha256(secret: &str, data: &[u8]) -> Result<Vec<u8>> {
    host::hmac_sha256(secret, data).map_err(|reason| Error::config(reason).code("crypto"))
}

/// Whether `mac` is the HMAC-SHA-256 of `data`, compared in constant time.
///
/// # Errors
/// `config` when the secret is not granted.
pub fn verify_hmac_sha256(secret: &str, data: &[u8], mac: &[u8]) -> Result<bool> {
    host::verify_hmac_sha256(secret, data, mac).map_err(|reason| Error::config(reason).code("crypto"))
}
