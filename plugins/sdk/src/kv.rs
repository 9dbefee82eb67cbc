//! A small durable store of this plugin in this pipeline. Not for read positions: those are a page's `state`.

use crate::error::{Error, Result};
use crate::host::kv as host;

/// The value of a key, `None` where there is none.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::get(key)
}

/// Stores a value under a key, replacing what was there.
///
/// # Errors
/// `internal` with the host's reason, such as a value over its limit.
pub fn put(key: &str, value: &[u8]) -> Result<()> {
    host::put(key, value).map_err(|reason| Error::internal(reason).code("kv"))
}

/// Forgets a key, if it is there.
pub fn delete(key: &str) {
    host::delete(key);
}
