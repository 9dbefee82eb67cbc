//! The generated side of the contract (see `generate.sh`); authors use the modules of the crate's root instead.
//! Public only because the export macros expand in the plugin's crate.

#![expect(unsafe_code, reason = "generated: the canonical ABI moves raw pointers")]
#![expect(
    unreachable_pub,
    clippy::panic,
    clippy::uninlined_format_args,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::use_self,
    rustdoc::broken_intra_doc_links,
    reason = "generated"
)]

pub mod destination_exports;
pub mod imports;
pub mod plugin_exports;
pub mod source_exports;
pub mod transform_exports;
