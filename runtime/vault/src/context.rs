//! Where a sealed value lives. The place is authenticated with the value, so a ciphertext moved to another workspace, table,
//! field or record does not open (security A-11). Made once per column, used for every row of it.

use affluent_model::Result;

use crate::derive::push_name;
use crate::ecf1::HEADER_BYTES;

const DOMAIN: &[u8] = b"ECF1";

/// Whether the length of a ciphertext may show the length of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    None,
    /// For classes with few values (gender, country, birth date): the plaintext is filled to a multiple of 32 bytes.
    To32Bytes,
}

/// One column: its names, ready to be authenticated, and its padding.
#[derive(Debug, Clone)]
pub struct FieldContext {
    names: Vec<u8>,
    padding: Padding,
}

impl FieldContext {
    pub(crate) fn new(workspace: &str, table: &str, field: &str, padding: Padding) -> Result<Self> {
        let mut names = Vec::with_capacity(6 + workspace.len() + table.len() + field.len());
        push_name(&mut names, "workspace", workspace)?;
        push_name(&mut names, "table", table)?;
        push_name(&mut names, "field", field)?;
        Ok(Self { names, padding })
    }

    pub(crate) fn padding(&self) -> Padding {
        self.padding
    }

    pub(crate) fn associated_data_bytes(&self, record_id: &str) -> usize {
        DOMAIN.len() + HEADER_BYTES + self.names.len() + 2 + record_id.len()
    }

    /// Appends `"ECF1" || header || lp16(workspace) || lp16(table) || lp16(field) || lp16(record id)`.
    pub(crate) fn write_associated_data(&self, header: &[u8; HEADER_BYTES], record_id: &str, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(DOMAIN);
        out.extend_from_slice(header);
        out.extend_from_slice(&self.names);
        push_name(out, "record id", record_id)
    }
}
