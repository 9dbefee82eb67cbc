//! Every failure of the vault, one function each, so that a code has one wording and one domain. Key problems stop the
//! process (exit 78); a value that cannot be opened is a fault of the stored data and is never tried again. No message holds
//! a key, a value or a record id. The symbolic name in brackets is the one of the security page.

use affluent_model::Error;
use affluent_model::error::Retry;

pub(crate) fn key_missing(what: &str) -> Error {
    keys("E0600", "E_KEY_MISSING", what).help("give back the key that this store was made with; a new key cannot read old data")
}

pub(crate) fn key_permissions(path: &str, found: &str, wanted: &str) -> Error {
    keys("E0601", "E_KEY_PERMISSIONS", &format!("`{path}` is {found}, must be {wanted}")).help(format!(
        "mend it, for example with `chmod`, `chown` or a private directory, so that only this user can touch `{path}`"
    ))
}

pub(crate) fn key_format(what: &str) -> Error {
    keys("E0602", "E_KEY_FORMAT", what).help("restore the key from its backup; do not edit it by hand")
}

pub(crate) fn key_wrong(what: &str) -> Error {
    keys("E0603", "E_KEY_WRONG", what).help("give the key that this store was made with; nothing was written")
}

pub(crate) fn key_commitment(what: &str) -> Error {
    keys("E0605", "E_KEY_COMMIT", what).help("restore the key rows from a backup of the ledger")
}

pub(crate) fn key_limit(what: &str) -> Error {
    keys("E0609", "E_KEY_LIMIT", what).help("rotate the key: a new one starts at zero")
}

pub(crate) fn key_exists(path: &str) -> Error {
    keys("E0611", "E_KEY_EXISTS", &format!("`{path}` exists already")).help("keep it: it may be the only key to existing data")
}

pub(crate) fn store_not_empty(rows: u64) -> Error {
    let what = format!("the store holds {rows} rows, a new key could not read them");
    keys("E0613", "E_STORE_NOT_EMPTY", &what).help("give the key that the store was made with, or start with an empty store")
}

pub(crate) fn key_file_io(path: &str, error: &std::io::Error) -> Error {
    keys("E0614", "E_KEY_IO", &format!("`{path}` could not be read or written: {error}"))
}

/// A wrapped key whose tag does not fit: the row was changed, swapped or damaged.
pub(crate) fn wrapped_key_tampered(what: &str) -> Error {
    keys("E0604", "E_CT_AUTH", what).help("restore the key rows from a backup of the ledger")
}

/// A wrapped key of a version or kind that this program does not read.
pub(crate) fn wrapped_key_unknown(what: &str) -> Error {
    keys("E0606", "E_CT_VERSION", what).help("restore the row, or use the program version that wrote it")
}

pub(crate) fn value_tampered() -> Error {
    value("E0604", "E_CT_AUTH", "a sealed value was changed, or moved from another row, field, table or workspace")
}

pub(crate) fn value_unknown(what: &str) -> Error {
    value("E0606", "E_CT_VERSION", what)
}

pub(crate) fn value_other_key(sealed_under: u64, given: u64) -> Error {
    value("E0607", "E_CT_KEY", &format!("the value is sealed under key `{sealed_under}`, the key at hand is `{given}`"))
}

pub(crate) fn value_malformed(what: &str) -> Error {
    value("E0608", "E_CT_FORMAT", what)
}

pub(crate) fn randomness(reason: &str) -> Error {
    Error::external("E0610", format!("the operating system gave no randomness: {reason} (E_RANDOM)"))
}

pub(crate) fn context(what: &str) -> Error {
    value("E0612", "E_CONTEXT", what)
}

fn keys(code: &'static str, symbol: &str, what: &str) -> Error {
    Error::keys(code, format!("{what} ({symbol})"))
}

fn value(code: &'static str, symbol: &str, what: &str) -> Error {
    Error::external(code, format!("{what} ({symbol})")).retry(Retry::Never)
}
