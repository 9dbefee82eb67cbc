//! Field-level encryption: values sealed with AES-256-GCM ([`ecf1`](SealedHeader)), keys wrapped by keys (`ewk1`), blind
//! indexes (`bix1`) and the providers of the outermost key. A personal value is readable only through [`FieldKey::open`],
//! which asks for a [`Purpose`] and counts it. The crate holds no business rules and stores nothing: wrapped keys go out and
//! come in as [`StoredKey`] rows and 108-byte blobs; the only thing it reads or writes itself is the key file.
//!
//! ```text
//! provider key (file | environment)        never stored with the data; wraps only
//!  +- workspace key v1..vn                 wraps subject, run and system keys; one active, older ones still unwrap
//!  |   +- subject key (scope 1)            one per identity node: erasing it erases the person
//!  |   +- run key     (scope 2)            one per run: staging, dead letters, raw payloads
//!  |   +- system key  (scope 3)            connection secrets, sessions
//!  +- index key v1..vn                     blind indexes
//!  +- suppression key                      the list of erased persons; outlives every index key
//! ```
//!
//! ```
//! use affluent_vault::{FieldValue, KeyRing, OsRandom, Padding, Purpose, Scope, Vault, create_key_file};
//!
//! let directory = tempfile::tempdir().unwrap();
//! let (path, random) = (directory.path().join("keyring"), &mut OsRandom::new());
//! create_key_file(&path, random)?;
//! let (vault, _rows_to_store) = Vault::create(&KeyRing::read_file(&path)?, "acme", 0, random)?;
//!
//! let email = vault.field_context("shopify.customers", "email", Padding::None)?;
//! let (key, _wrapped_to_store) = vault.new_key(Scope::Subject, 7, random)?;
//! let mut column = Vec::new();
//! key.seal_into(&mut column, FieldValue::Text("anna@example.com"), &email, "1001", random)?;
//!
//! let opened = key.open(&column, &email, "1001", Purpose::Activation)?;
//! assert_eq!(opened.text(), Some("anna@example.com"));
//! # Ok::<(), affluent_model::Error>(())
//! ```
//!
//! What it promises about memory: keys are zeroised when dropped and have no `Debug`, `Clone` or `Serialize`. Opened values
//! are zeroised too, but a copy that a caller makes is the caller's.

mod audit;
mod bix1;
mod context;
mod derive;
mod ecf1;
mod errors;
mod ewk1;
mod field_key;
mod gcm;
mod keyring;
mod random;
mod record_sealer;
mod roots;
mod value;
mod vault;

#[cfg(test)]
mod tests;

pub use audit::{Purpose, PurposeCount};
pub use bix1::{BLIND_INDEX_BYTES, BlindIndexer};
pub use context::{FieldContext, Padding};
pub use ecf1::{Scope, SealedHeader, from_text, is_sealed_text, read_header, to_text};
pub use ewk1::WRAPPED_KEY_BYTES;
pub use field_key::FieldKey;
pub use keyring::{KeyRing, add_active_key, create_key_file};
pub use random::{OsRandom, Random};
pub use record_sealer::{RecordSealer, SealedColumn, SealingKey};
pub use roots::StoredKey;
pub use value::{FieldValue, OpenedValue};
pub use vault::Vault;
