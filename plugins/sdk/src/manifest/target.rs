//! What a destination says about its objects, is asked to write, and promises.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stream::Field;

/// An object that a destination can write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetSchema {
    /// The word that pipelines write.
    pub name: String,
    /// Known fields; more are allowed where `any_fields` or a prefix of `open_fields` says so.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Any name is allowed.
    #[serde(default)]
    pub any_fields: bool,
    /// Prefixes under which any name is allowed: `properties.`.
    #[serde(default)]
    pub open_fields: Vec<String>,
    /// Names that `match` may use; empty = any.
    #[serde(default)]
    pub match_fields: Vec<String>,
    /// What can be done with rows of it.
    pub modes: Vec<WriteMode>,
    /// Membership in a named list can be kept.
    #[serde(default)]
    pub lists: bool,
    /// Personal fields that cannot be written blind: `validate` tells the author of a pipeline to grant them in the clear.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plaintext: Vec<String>,
}

/// How a destination writes the rows of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteMode {
    /// New records only.
    Insert,
    /// Known records only.
    Update,
    /// Both, by the `match` fields.
    Upsert,
    /// As `Upsert`, and what is gone here is taken away there.
    Mirror,
    /// Adds records without looking for known ones.
    Append,
}

/// What the host asks a destination to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Name of the [`TargetSchema`].
    pub object: String,
    /// What is to be done with the rows.
    pub mode: WriteMode,
    /// Columns that identify a record at the destination.
    #[serde(rename = "match", default)]
    pub match_fields: Vec<String>,
    /// The list whose membership is kept.
    #[serde(default)]
    pub list: Option<TargetList>,
    /// All columns of the batches, match columns included.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Unique per run: file names, remote labels.
    #[serde(default)]
    pub run: String,
}

impl Target {
    /// The name of the list whose membership is kept, if any.
    pub fn list_name(&self) -> Option<&str> {
        self.list.as_ref().map(|list| list.name.as_str())
    }
}

/// A list at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetList {
    /// Its name there.
    pub name: String,
}

/// What a destination promises when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationInfo {
    /// When accepted rows are safe.
    pub durable: Durable,
    /// What a repeated write does.
    pub idempotent: Idempotence,
    /// Rows per batch at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
    /// Bytes per batch at most, values counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Field → the form that its values must have. The host brings them into it, or refuses the row: a plugin that sees
    /// tokens cannot look.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub forms: BTreeMap<String, ValueForm>,
}

/// A form of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueForm {
    /// A phone number in E.164: `+33612345678`.
    E164,
    /// An email address, trimmed, lower-case, its domain in ASCII.
    Email,
    /// Trimmed and lower-case.
    Lower,
    /// Without space around it.
    Trimmed,
}

impl DestinationInfo {
    /// Promises without limits on a batch.
    pub fn new(durable: Durable, idempotent: Idempotence) -> Self {
        Self { durable, idempotent, max_rows: None, max_bytes: None, forms: BTreeMap::new() }
    }

    /// Rows per batch at most.
    #[must_use]
    pub fn max_rows(mut self, rows: u32) -> Self {
        self.max_rows = Some(rows);
        self
    }

    /// Bytes of values per batch at most.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Wants the values of a field in a form.
    #[must_use]
    pub fn form(mut self, field: &str, form: ValueForm) -> Self {
        self.forms.insert(field.to_owned(), form);
        self
    }
}

/// When accepted rows are safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durable {
    /// With the outcome of each write.
    Write,
    /// Only when the destination is closed.
    Close,
}

/// What a repeated write of the same batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotence {
    /// The same rows again change nothing.
    ByKey,
    /// The vendor deduplicates on the idempotency key.
    ByHeader,
    /// It may write them twice.
    No,
}
