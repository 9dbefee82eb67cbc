//! Destinations that upsert objects by a unique field, some at a time in one request, keep who is on lists, and erase people:
//! [`Upserts`] says how each of these is asked for, [`UpsertDestination`] does the rest: which targets can be written, duplicates,
//! rows that cannot be sent, outcomes by row, lists that were deleted meanwhile.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::identity::Identifiers;
use crate::json_columns::JsonRows;
use crate::kv;
use crate::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm};
use crate::outcomes::{KeyedRows, PartialFailure, Unfit};
use crate::plugin::{Account, Batch, Destination, Outcome, Report, RowOp};
use crate::stream::{Field, PiiClass};

/// A row on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Upsert {
    /// A mark that the service may give back with what became of the row: [`KeyedRows::mark`].
    pub mark: String,
    /// The value of the field that records are matched by.
    pub key: String,
    /// All other fields; null clears one.
    pub values: Map<String, Value>,
}

/// What is done to the members of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// They are on it from now on.
    Add,
    /// They are not on it any more.
    Remove,
}

/// A service whose objects are upserted.
pub trait Upserts: Account {
    /// Names of the objects that can be written.
    const OBJECTS: &'static [&'static str];
    /// Rows of one request.
    const ROWS_MAX: u32;
    /// How the identifiers of a person stand in what [`Upserts::find`] gives.
    const IDENTIFIERS: Identifiers;
    /// Where the answer to [`Upserts::upsert`] lists rows that were not taken, by [`Upsert::mark`] or key.
    const REFUSED: PartialFailure;
    /// Where it lists those that have an id now.
    const TAKEN: PartialFailure;

    /// An object, with the fields that it can be matched by; those of class email are matched in their normal form.
    ///
    /// # Errors
    /// Any kind; `permission` where the credential does not reach it: then it is not offered.
    fn target(&self, object: &str) -> Result<TargetSchema>;

    /// Creates fields that an object lacks; asked for only where it takes fields of any name.
    ///
    /// # Errors
    /// Any kind; `config` for a field that is there and cannot be written.
    fn create_fields(&self, object: &str, _fields: &[&Field]) -> Result<()> {
        Err(Error::unsupported(format!("fields of `{object}` are not created")))
    }

    /// Upserts records by a field; the answer, whole.
    ///
    /// # Errors
    /// Any kind; see [`Destination::write`].
    fn upsert(&self, object: &str, by: &str, rows: &[Upsert]) -> Result<Value>;

    /// Records that have one of these values of a field.
    ///
    /// # Errors
    /// Any kind.
    fn find(&self, object: &str, by: &str, values: &[&str]) -> Result<Vec<Value>>;

    /// Has whoever has this identifier, or this `id`, erased. Who is not known is erased.
    ///
    /// # Errors
    /// Any kind; `unsupported` unless the target says that it erases.
    fn erase(&self, _object: &str, _by: &str, _value: &str) -> Result<()> {
        Err(Error::unsupported("this destination erases nobody"))
    }

    /// The id of a list; `None` where there is none of this name.
    ///
    /// # Errors
    /// Any kind.
    fn find_list(&self, _object: &str, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes a list; its id.
    ///
    /// # Errors
    /// Any kind.
    fn make_list(&self, _object: &str, _name: &str) -> Result<String> {
        Err(Error::unsupported("this destination has no lists"))
    }

    /// Changes who is on a list, by the ids of records.
    ///
    /// # Errors
    /// Any kind; `not_found` for a list that is gone.
    fn change_members(&self, _list: &str, _change: Membership, _ids: &[String]) -> Result<()> {
        Err(Error::unsupported("this destination has no lists"))
    }
}

/// The [`Destination`] of an [`Upserts`] service. Records that leave a segment leave the list; they are never deleted.
#[derive(Debug)]
pub struct UpsertDestination<S> {
    service: S,
    object: String,
    by: Vec<String>,
    list: Option<String>,
}

/// Why a row is not sent.
const NO_KEY: Unfit = Unfit { code: "row.no_key", message: "the row has no value in the field that it is matched by" };

impl<S: Upserts> Destination for UpsertDestination<S> {
    type Config = S::Config;

    fn discover(config: &S::Config) -> Result<Vec<TargetSchema>> {
        let service = S::connect(config);
        let mut targets = Vec::new();
        for object in S::OBJECTS {
            match service.target(object) {
                Err(error) if error.kind == ErrorKind::Permission => {}
                target => targets.push(target?),
            }
        }
        // One that is matched by nothing cannot be upserted.
        targets.retain(|target| !target.match_fields.is_empty());
        if targets.is_empty() { Err(Error::permission("the credential reaches none of the objects")) } else { Ok(targets) }
    }

    fn open(config: S::Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let (service, object) = (S::connect(&config), target.object.clone());
        if !S::OBJECTS.contains(&object.as_str()) {
            return Err(Error::config(format!("there is no object `{object}`: write {}", S::OBJECTS.join(", "))));
        }
        let schema = service.target(&object)?;
        schema.accept(&target)?;
        let [key] = target.match_fields.as_slice() else {
            return Err(Error::config(format!("`{object}` is matched by one field: use {}", schema.match_fields.join(", "))));
        };
        let list = target.list_name().map(str::to_owned);
        let is_known = |name: &str| name.starts_with('_') || schema.fields.iter().any(|field| field.name == name);
        let missing: Vec<&Field> = target.fields.iter().filter(|field| !is_known(&field.name)).collect();
        if !missing.is_empty() && schema.any_fields && !target.mode.is_erasure() {
            service.create_fields(&object, &missing)?;
        }
        let is_email = schema.fields.iter().any(|field| field.name == *key && field.pii == Some(PiiClass::Email));
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey).max_rows(S::ROWS_MAX).removes(list.is_some());
        let info = if is_email { info.form(key, ValueForm::Email) } else { info };
        Ok((Self { service, object, by: vec![key.clone()], list }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let rows = rows(&batch)?;
        if batch.op == RowOp::Delete {
            let ids = S::IDENTIFIERS.look_up(&rows, &self.by, S::ROWS_MAX as usize, |by, values| self.find(by, values))?;
            self.change_members(Membership::Remove, &ids)?;
            return Ok(Report::accepted(rows.rows()).into());
        }
        let by = self.by.first().map_or("", String::as_str);
        let keyed = KeyedRows::by(by, &rows, NO_KEY)?;
        let upsert = |(row, key): &(u32, String)| {
            let mut values = rows.record(*row)?;
            values.remove(by);
            Ok(Upsert { mark: KeyedRows::mark(*row), key: key.clone(), values })
        };
        let upserts = keyed.sent().iter().map(upsert).collect::<Result<Vec<Upsert>>>()?;
        let answer = if upserts.is_empty() { Value::Null } else { self.service.upsert(&self.object, by, &upserts)? };
        let ids = S::TAKEN.ids(&answer);
        let report = keyed.finish(&answer, &S::REFUSED, &S::TAKEN)?;
        self.change_members(Membership::Add, &ids)?;
        Ok(report.into())
    }

    fn erase(&mut self, people: &Batch) -> Result<Report> {
        let (rows, names) = (rows(people)?, S::IDENTIFIERS.names());
        let find = |by: &str, values: &[&str]| self.find(by, values);
        S::IDENTIFIERS.erase_each(&rows, &self.by, names, find, |by, value| self.service.erase(&self.object, by, value))
    }

    fn verify_erasure(&mut self, people: &Batch) -> Result<Report> {
        S::IDENTIFIERS.verify_gone(&rows(people)?, &self.by, S::ROWS_MAX as usize, |by, values| self.find(by, values))
    }
}

/// Values are texts, as people's tools mostly take them.
fn rows(batch: &Batch) -> Result<JsonRows<'_>> {
    Ok(JsonRows::of(batch.columns()?)?.as_text(|_| true))
}

impl<S: Upserts> UpsertDestination<S> {
    fn find(&self, by: &str, values: &[&str]) -> Result<Vec<Value>> {
        self.service.find(&self.object, by, values)
    }

    /// Does nothing without a list. One that was deleted is looked for, and made, at the next try.
    fn change_members(&self, change: Membership, ids: &[String]) -> Result<()> {
        let Some(name) = self.list.as_ref().filter(|_| !ids.is_empty()) else { return Ok(()) };
        let key = format!("list/{}/{name}", self.object);
        let find = || self.service.find_list(&self.object, name);
        let make = (change == Membership::Add).then_some(|| self.service.make_list(&self.object, name));
        let Some(list) = kv::found_or_made(&key, find, make)? else { return Ok(()) };
        match self.service.change_members(&list, change, ids) {
            Err(error) if error.kind == ErrorKind::NotFound => {
                kv::delete(&key);
                Err(Error::transient("the list is not known any more").code("list.gone"))
            }
            done => done,
        }
    }
}
