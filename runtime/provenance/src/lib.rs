//! Where a plugin comes from and whether it may run: the decision over `affluent.lock`, signatures, the deny list, and
//! the packages that plugins travel in. It runs no plugin, asks no network, and knows no pipeline.

mod denied;
mod package;
mod policy;
mod secret_key;
mod section;
mod signature;
mod version;

pub mod oci;
pub mod registry;

pub use denied::shipped;
pub use package::{Package, hex_digest, is_plugin_name, is_version, read_at_most, signature_beside, write_new};
pub use policy::{Policy, Review, check_claim, check_comment, pinned, review};
pub use secret_key::{NewKey, is_encrypted, new_key, public_key_of};
pub use section::{manifest_section, with_manifest};
pub use signature::{Signature, comment_for, key_id, sign, verify};
