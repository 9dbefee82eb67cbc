//! A small durable store of this plugin in this pipeline. Not for read positions: those are a page's `state`.

use crate::error::{Error, Result};
use crate::host::kv as host;

/// The value of a key, `None` where there is none.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::get(key)
}

/// The text of a key, or what `find` gives, which is then kept; where it gives `None`, nothing is.
///
/// ```
/// use affluent_sdk::kv;
///
/// let found = kv::remembered("list/VIP", || Ok(Some("7".to_owned())))?;
/// assert_eq!(found, kv::remembered("list/VIP", || unreachable!("it is known"))?);
/// # Ok::<(), affluent_sdk::Error>(())
/// ```
///
/// # Errors
/// Those of `find`, and of [`put`].
pub fn remembered(key: &str, find: impl FnOnce() -> Result<Option<String>>) -> Result<Option<String>> {
    if let Some(known) = get(key).and_then(|known| String::from_utf8(known).ok()) {
        return Ok(Some(known));
    }
    let found = find()?;
    if let Some(found) = &found {
        put(key, found.as_bytes())?;
    }
    Ok(found)
}

/// As [`remembered`], of something that is made where it is not found; without `make` it is only looked for.
///
/// # Errors
/// Those of `find`, `make`, and of [`put`].
pub fn found_or_made(
    key: &str,
    find: impl FnOnce() -> Result<Option<String>>,
    make: Option<impl FnOnce() -> Result<String>>,
) -> Result<Option<String>> {
    remembered(key, || match (find()?, make) {
        (None, Some(make)) => make().map(Some),
        (found, _) => Ok(found),
    })
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
