//! A small durable store of this plugin in this pipeline. Not for read positions: those are a page's `state`.

use crate::error::{Error, Result};
use crate::host::kv as host;

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

pub fn delete(key: &str) {
    host::delete(key);
}
