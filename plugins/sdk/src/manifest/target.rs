//! What a destination says about its objects, is asked to write, and promises.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
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
    /// Rows of a batch at most, whatever their fields: what a plan counts batches by before anything is opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u32>,
}

impl TargetSchema {
    /// An object with these known fields and modes. Until more is said, it takes no other fields, is matched by any of them
    /// and has no lists.
    pub fn new(name: &str, fields: Vec<Field>, modes: impl IntoIterator<Item = WriteMode>) -> Self {
        Self {
            name: name.to_owned(),
            fields,
            any_fields: false,
            open_fields: Vec::new(),
            match_fields: Vec::new(),
            modes: modes.into_iter().collect(),
            lists: false,
            plaintext: Vec::new(),
            max_rows: None,
        }
    }

    /// An object whose records are people, with these known fields: upserted, kept on lists, erased and looked for afterwards.
    pub fn of_people(name: &str, fields: Vec<Field>) -> Self {
        Self::new(name, fields, [WriteMode::Upsert, WriteMode::Mirror]).with_lists().erases().verifies_erasure()
    }

    /// Any name is a field.
    #[must_use]
    pub fn any_fields(mut self) -> Self {
        self.any_fields = true;
        self
    }

    /// Prefixes under which any name is a field: `properties.`.
    #[must_use]
    pub fn open_fields(mut self, prefixes: &[&str]) -> Self {
        self.open_fields = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        self
    }

    /// Names that `match` may use, instead of any.
    #[must_use]
    pub fn match_fields(mut self, names: &[&str]) -> Self {
        self.match_fields = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// Membership in a named list can be kept.
    #[must_use]
    pub fn with_lists(mut self) -> Self {
        self.lists = true;
        self
    }

    /// Rows of a batch at most: see [`DestinationInfo::max_rows`].
    #[must_use]
    pub fn max_rows(mut self, rows: u32) -> Self {
        self.max_rows = Some(rows);
        self
    }

    /// A person can be erased: see [`crate::Destination::erase`].
    #[must_use]
    pub fn erases(mut self) -> Self {
        self.modes.push(WriteMode::Erase);
        self
    }

    /// Whether a person was erased can be looked up: see [`crate::Destination::verify_erasure`].
    #[must_use]
    pub fn verifies_erasure(mut self) -> Self {
        self.modes.push(WriteMode::VerifyErasure);
        self
    }

    /// Whether rows may have a field of this name. Names that begin with `_` are the host's own: `_remote_id` is what an
    /// earlier report said the record's id is.
    pub fn has_field(&self, name: &str) -> bool {
        let is_open =
            self.open_fields.iter().any(|prefix| name.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty()));
        self.any_fields || is_open || name.starts_with('_') || self.fields.iter().any(|field| field.name == name)
    }

    /// Checks that a target can be written as this object; for [`crate::Destination::open`].
    ///
    /// ```
    /// use affluent_sdk::manifest::{Target, TargetSchema, WriteMode};
    /// use affluent_sdk::{Field, FieldType};
    ///
    /// let contact = TargetSchema::new("contact", vec![Field::new("email", FieldType::Text)], [WriteMode::Upsert]);
    /// let target: Target = serde_json::from_str(r#"{"object": "contact", "mode": "insert"}"#).expect("valid");
    ///
    /// let error = contact.accept(&target).expect_err("it is not inserted");
    /// assert_eq!(error.message, "`contact` cannot be written with mode `insert`: use upsert");
    /// ```
    ///
    /// # Errors
    /// `config` for another object, a mode, a match field, a list or a field that it does not have, and for a mirror without a list
    /// of an object with lists.
    pub fn accept(&self, target: &Target) -> Result<()> {
        let own = &self.name;
        if target.object != *own {
            return Err(Error::config(format!("there is no object `{}`: write `{own}`", target.object)));
        }
        if !self.modes.contains(&target.mode) {
            let written = self.modes.iter().filter(|mode| !mode.is_erasure());
            let modes: Vec<&str> = written.map(|mode| mode.as_str()).collect();
            let message = format!("`{own}` cannot be written with mode `{}`: use {}", target.mode.as_str(), modes.join(", "));
            return Err(Error::config(message));
        }
        if target.list.is_some() && !self.lists {
            return Err(Error::config(format!("`{own}` has no lists: remove `list`")));
        }
        if target.mode == WriteMode::Mirror && self.lists && target.list.is_none() {
            return Err(Error::config(format!("a mirror needs a `list`: `{own}` is never deleted")));
        }
        let is_matched = |name: &String| self.match_fields.is_empty() || self.match_fields.contains(name);
        if let Some(name) = target.match_fields.iter().find(|name| !is_matched(name)) {
            return Err(Error::config(format!("`{own}` is not matched by `{name}`: use {}", self.match_fields.join(", "))));
        }
        if let Some(field) = target.fields.iter().find(|field| !self.has_field(&field.name)) {
            let open: Vec<String> = self.open_fields.iter().map(|prefix| format!(", own ones are `{prefix}…`")).collect();
            return Err(Error::config(format!("`{own}` has no field `{}`{}", field.name, open.concat())));
        }
        Ok(())
    }
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
    /// No mode of pipelines: people are erased.
    Erase,
    /// No mode of pipelines: whether people were erased is looked up.
    VerifyErasure,
}

impl WriteMode {
    /// The word that pipelines write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Mirror => "mirror",
            Self::Append => "append",
            Self::Erase => "erase",
            Self::VerifyErasure => "verify_erasure",
        }
    }

    /// True for what the host asks when a person is erased, which no pipeline can write.
    pub fn is_erasure(self) -> bool {
        matches!(self, Self::Erase | Self::VerifyErasure)
    }
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

    /// Bytes that a JSON object of all fields takes beside what the host counts of its values, at most: names, quotes, and
    /// numbers and instants written out (27 bytes for the 8 of an instant). For [`DestinationInfo::fitting`].
    pub fn json_frame_bytes(&self) -> usize {
        self.fields.iter().map(|field| field.name.len() + 26).sum()
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
    /// True when rows are removed in every mode: profiles that were merged away leave no duplicates then. A mirror removes
    /// in any case.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removes: bool,
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
        Self { durable, idempotent, max_rows: None, max_bytes: None, forms: BTreeMap::new(), removes: false }
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

    /// Limits of a batch that becomes one JSON body of at most `body_bytes_max` bytes and `rows_max` rows, where each row takes
    /// `frame_bytes` beside its values: the host counts values, names, quotes and braces come on top. Half of the body is left
    /// to values.
    ///
    /// ```
    /// use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence};
    ///
    /// let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey).fitting(10_000, 5_000_000, 500);
    /// assert_eq!((info.max_rows, info.max_bytes), (Some(5_000), Some(2_500_000)));
    /// ```
    #[must_use]
    pub fn fitting(self, rows_max: usize, body_bytes_max: usize, frame_bytes: usize) -> Self {
        let rows = (body_bytes_max / 2 / frame_bytes.max(1)).clamp(1, rows_max.max(1));
        let bytes = body_bytes_max.saturating_sub(frame_bytes * rows);
        self.max_rows(u32::try_from(rows).unwrap_or(u32::MAX)).max_bytes(bytes as u64)
    }

    /// Takes removals in every mode, so that profiles that were merged away leave no duplicates.
    #[must_use]
    pub fn removes(mut self, removes: bool) -> Self {
        self.removes = removes;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::FieldType;

    #[test]
    fn a_target_is_accepted_as_far_as_its_object_goes() {
        let schema = TargetSchema::new("person", vec![Field::new("email", FieldType::Text)], [WriteMode::Upsert])
            .open_fields(&["own."])
            .match_fields(&["email"]);
        let target = |object: &str, by: &str, field: &str| Target {
            object: object.to_owned(),
            mode: WriteMode::Upsert,
            match_fields: vec![by.to_owned()],
            list: None,
            fields: vec![Field::new(field, FieldType::Text)],
            run: String::new(),
        };
        let cases = [
            (target("person", "email", "own.size"), None),
            (target("person", "email", "_remote_id"), None),
            (target("event", "email", "email"), Some("there is no object `event`: write `person`")),
            (target("person", "name", "email"), Some("`person` is not matched by `name`: use email")),
            (target("person", "email", "own."), Some("`person` has no field `own.`, own ones are `own.…`")),
            (
                Target { list: Some(TargetList { name: "VIP".to_owned() }), ..target("person", "email", "email") },
                Some("`person` has no lists: remove `list`"),
            ),
        ];

        for (target, expected) in cases {
            assert_eq!(schema.accept(&target).err().map(|error| error.message).as_deref(), expected);
        }
    }
}
