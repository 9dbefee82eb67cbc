//! Whom a row is about, for destinations that recognise people by several identifiers: keys that fit a token, and ids at the
//! service.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json_columns::JsonRows;
use crate::manifest::Target;
use crate::outcomes::{self, Sent};
use crate::plugin::Report;
use crate::{crypto, json};

/// Bytes of an HMAC that are kept, of 32: enough to tell the rows of a batch apart.
const KEY_BYTES: usize = 8;
/// The column with what an earlier report said the record's id is.
const REMOTE_ID: &str = "_remote_id";

/// The identifiers by which a service recognises a person, the most telling first. Values may be tokens: they are compared,
/// never looked into.
///
/// ```
/// use affluent_sdk::identity::Identifiers;
///
/// const IDENTIFIERS: Identifiers = Identifiers::new(&["email", "phone"], "api_key").any_case(&["email"]);
///
/// assert_eq!(IDENTIFIERS.comparable("email", " Ada@X.test"), "ada@x.test");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Identifiers {
    names: &'static [&'static str],
    any_case: &'static [&'static str],
    is_any_case: bool,
    secret: &'static str,
    or_secret: Option<&'static str>,
    places: &'static [&'static str],
    id: &'static str,
}

impl Identifiers {
    /// Identifiers by name, as columns and answers have them; keys are made under a secret of the manifest. Answers hold them
    /// in the record itself and its id as `/id`, until more is said.
    pub const fn new(names: &'static [&'static str], secret: &'static str) -> Self {
        Self { names, any_case: &[], is_any_case: false, secret, or_secret: None, places: &[], id: "/id" }
    }

    /// The secret that keys are made under where the connection does not give the first one: it logs in another way.
    #[must_use]
    pub const fn or_secret(self, secret: &'static str) -> Self {
        Self { or_secret: Some(secret), ..self }
    }

    /// Where records of answers hold an object with the identifiers (RFC 6901): the first place that is there counts.
    #[must_use]
    pub const fn at(self, places: &'static [&'static str]) -> Self {
        Self { places, ..self }
    }

    /// Where records of answers hold their id (RFC 6901).
    #[must_use]
    pub const fn id(self, pointer: &'static str) -> Self {
        Self { id: pointer, ..self }
    }

    /// Those that are the same in every case.
    #[must_use]
    pub const fn any_case(self, names: &'static [&'static str]) -> Self {
        Self { any_case: names, ..self }
    }

    /// All fields that records are matched by are the same in every case.
    #[must_use]
    pub const fn all_any_case(self) -> Self {
        Self { is_any_case: true, ..self }
    }

    /// Their names.
    pub const fn names(&self) -> &'static [&'static str] {
        self.names
    }

    /// The secret of the manifest that keys are made under: of those that the connection may give, the one that it does.
    pub(crate) fn secret(&self) -> &'static str {
        let Some(or_secret) = self.or_secret else { return self.secret };
        if crypto::hmac_sha256(self.secret, b"").is_ok() { self.secret } else { or_secret }
    }

    /// True when an object has one of them that is not empty.
    pub fn are_in(&self, object: &Map<String, Value>) -> bool {
        let is_there = |name: &&str| object.get(*name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
        self.names.iter().any(is_there)
    }

    /// The form in which two values of an identifier are the same.
    pub fn comparable(&self, name: &str, value: &str) -> String {
        let is_any_case = self.is_any_case || self.any_case.contains(&name);
        if is_any_case { value.trim().to_lowercase() } else { value.trim().to_owned() }
    }

    /// What an identifier becomes in a token: part of an HMAC, in hexadecimal.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`].
    pub fn key(&self, name: &str, value: &str) -> Result<String> {
        let text = format!("{name}\n{}", self.comparable(name, value));
        let mac = crypto::hmac_sha256(self.secret(), text.as_bytes())?;
        Ok(mac.iter().take(KEY_BYTES).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key of whom a row is about: by the first identifier it has, those of `first` before the others; empty for nobody.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`]; `invalid_data` when a value cannot be read.
    pub fn key_of_row(&self, first: &[String], rows: &JsonRows<'_>, row: u32) -> Result<String> {
        for name in first.iter().map(String::as_str).chain(self.names.iter().copied()) {
            if let Some(value) = rows.text(name, row)? {
                return self.key(name, &value);
            }
        }
        Ok(String::new())
    }

    /// The identifiers that a target is matched by, the most telling first, for a service that takes a record to be about each of them
    /// that it holds.
    ///
    /// # Errors
    /// `config` when it writes another one; those of `values` may be.
    pub fn matched(&self, target: &Target, values: &[&str]) -> Result<Vec<String>> {
        let is_matched = |name: &str| target.match_fields.iter().any(|field| field == name);
        let is_other =
            |name: &&&str| !is_matched(name) && !values.contains(*name) && target.fields.iter().any(|field| field.name == **name);
        if let Some(name) = self.names.iter().find(is_other) {
            let message = format!("`{name}` says whom a row is about, too: match by it, or do not write it");
            return Err(Error::config(message));
        }
        Ok(self.names.iter().filter(|name| is_matched(name)).map(|name| (*name).to_owned()).collect())
    }

    /// The first identifier of `by` that a row has, with its comparable value; `None` where it has none.
    ///
    /// # Errors
    /// `invalid_data` when a value cannot be read.
    pub fn first_of_row(&self, by: &[String], rows: &JsonRows<'_>, row: u32) -> Result<Option<(String, String)>> {
        for name in by {
            if let Some(value) = rows.text(name, row)? {
                return Ok(Some((name.clone(), self.comparable(name, &value))));
            }
        }
        Ok(None)
    }

    /// The keys of whom a record of an answer is about, one for each identifier it has.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`].
    pub fn keys_of(&self, record: &Value) -> Result<Vec<String>> {
        let object = self.object(record);
        let known = self.names.iter().filter_map(|name| Some((name, object.get(*name)?.as_str()?)));
        known.map(|(name, value)| self.key(name, value)).collect()
    }

    /// Whether a record of an answer has this value of an identifier.
    pub fn is_of(&self, name: &str, value: &str, record: &Value) -> bool {
        let found = self.object(record).get(name).and_then(Value::as_str);
        found.is_some_and(|found| self.comparable(name, found) == self.comparable(name, value))
    }

    /// The id of a record, where it holds one.
    pub fn id_of(&self, record: &Value) -> Option<String> {
        json::id(record, self.id)
    }

    fn object<'a>(&self, record: &'a Value) -> &'a Value {
        self.places.iter().find_map(|pointer| record.pointer(pointer)).unwrap_or(record)
    }

    /// Puts the ids of an answer's records into a report, at the rows that are about the same people.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`].
    pub fn identify(&self, records: &[Value], sent: &Sent, report: &mut Report) -> Result<()> {
        let refused: BTreeSet<u32> = report.failed.iter().chain(&report.retryable).map(|error| error.row).collect();
        for record in records {
            let row = sent.row_of(&self.keys_of(record)?).filter(|row| !refused.contains(row));
            report.remote_ids.extend(row.map(|row| (row, json::text(record, self.id).to_owned())));
        }
        Ok(())
    }

    /// The ids that the rows' records have at the service: what an earlier report said (column `_remote_id`), the others by
    /// asking for their identifiers `by`, in that order. `find` gives the records that have one of up to `values_max` values of
    /// an identifier: (name, values). Rows that are not found are left out.
    ///
    /// # Errors
    /// Those of `find`; `invalid_data` when a value cannot be read.
    pub fn look_up(
        &self,
        rows: &JsonRows<'_>,
        by: &[String],
        values_max: usize,
        mut find: impl FnMut(&str, &[&str]) -> Result<Vec<Value>>,
    ) -> Result<Vec<String>> {
        let mut ids: Vec<Option<String>> = (0..rows.rows()).map(|row| rows.text(REMOTE_ID, row)).collect::<Result<_>>()?;
        self.find_ids(rows, by, values_max, &mut ids, &mut find)?;
        Ok(ids.into_iter().flatten().collect())
    }

    /// Whether people are gone: the report of [`crate::Destination::verify_erasure`] by asking for the identifiers `by`, as
    /// [`Self::look_up`] does. Who is found is still there.
    ///
    /// # Errors
    /// As [`Self::look_up`].
    pub fn verify_gone(
        &self,
        rows: &JsonRows<'_>,
        by: &[String],
        values_max: usize,
        mut find: impl FnMut(&str, &[&str]) -> Result<Vec<Value>>,
    ) -> Result<Report> {
        let mut report = Report::accepted(0);
        for name in by {
            let mut ids = vec![None; rows.rows() as usize];
            self.find_ids(rows, std::slice::from_ref(name), values_max, &mut ids, &mut find)?;
            for (row, _) in (0..).zip(&ids).filter(|(_, id)| id.is_some()) {
                if report.retryable.iter().all(|error| error.row != row) {
                    report.refuse(Error::transient("the person is still there").code("erasure.still_there").at_row(row, None));
                }
            }
        }
        Ok(report.counted(rows.rows()))
    }

    /// Has people erased, one call each: the report of [`crate::Destination::erase`]. `delete` gets an identifier of `deletes_by`
    /// with its value, once for each that the row is matched `by`; where the row has none of them, `id` and the id that an earlier
    /// report told or that `find` finds, as in [`Self::look_up`]: of what it gives, only a record that has this very value counts. Who
    /// is not found is not there.
    ///
    /// # Errors
    /// Those of `find` and `delete`, as far as [`outcomes::by_row`] passes them on; `invalid_data` when a value cannot be read.
    pub fn erase_each(
        &self,
        rows: &JsonRows<'_>,
        by: &[String],
        deletes_by: &[&str],
        mut find: impl FnMut(&str, &[&str]) -> Result<Vec<Value>>,
        mut delete: impl FnMut(&str, &str) -> Result<()>,
    ) -> Result<Report> {
        outcomes::by_row(rows.rows(), |row| {
            let mut id = rows.text(REMOTE_ID, row)?;
            let mut is_asked = false;
            for name in by {
                let Some(value) = rows.text(name, row)? else { continue };
                if deletes_by.contains(&name.as_str()) {
                    delete(name, &value)?;
                    is_asked = true;
                } else if id.is_none() {
                    let found = find(name, &[&value])?.into_iter().find(|record| self.is_of(name, &value, record));
                    id = found.and_then(|record| self.id_of(&record));
                }
            }
            if let (false, Some(id)) = (is_asked, &id) {
                delete("id", id)?;
            }
            Ok(id)
        })
    }

    /// Has people erased by every identifier that they are matched by, for a service that may know somebody by each of them apart: the
    /// report of [`crate::Destination::erase`]. `delete` gets an identifier of `by` with its value; the first one stands for the request.
    ///
    /// # Errors
    /// Those of `delete`, as far as [`outcomes::by_row`] passes them on; `invalid_data` when a value cannot be read.
    pub fn erase_by_all(
        &self,
        rows: &JsonRows<'_>,
        by: &[String],
        mut delete: impl FnMut(&str, &str) -> Result<()>,
    ) -> Result<Report> {
        outcomes::by_row(rows.rows(), |row| {
            let mut first = None;
            for name in by {
                let Some(value) = rows.text(name, row)? else { continue };
                delete(name, &value)?;
                first = first.or(Some(value));
            }
            Ok(first)
        })
    }

    /// Finds ids of the rows that have none.
    fn find_ids(
        &self,
        rows: &JsonRows<'_>,
        by: &[String],
        values_max: usize,
        ids: &mut [Option<String>],
        find: &mut impl FnMut(&str, &[&str]) -> Result<Vec<Value>>,
    ) -> Result<()> {
        for name in by {
            let mut wanted = BTreeMap::new();
            for (row, _) in (0..).zip(&*ids).filter(|(_, id)| id.is_none()) {
                if let Some(value) = rows.text(name, row)? {
                    wanted.insert(self.comparable(name, &value), row as usize);
                }
            }
            let values: Vec<&str> = wanted.keys().map(String::as_str).collect();
            for some in values.chunks(values_max.max(1)) {
                for record in find(name, some)? {
                    let value = self.object(&record).get(name).and_then(Value::as_str).unwrap_or_default();
                    if let Some(id) = wanted.get(&self.comparable(name, value)).and_then(|row| ids.get_mut(*row)) {
                        *id = Some(json::text(&record, self.id).to_owned());
                    }
                }
            }
        }
        Ok(())
    }
}
