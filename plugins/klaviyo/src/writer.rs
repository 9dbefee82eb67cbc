//! The writing: batches of profiles as bulk imports, and who leaves a list. A profile that leaves a segment leaves the
//! list; the profile itself, its consent and its suppressions stay as they are.

use std::collections::BTreeMap;

use affluent_sdk::json_columns::JsonColumn;
use affluent_sdk::manifest::{DestinationInfo, Durable, Idempotence, Target, TargetSchema, ValueForm, WriteMode};
use affluent_sdk::{Batch, Columns, Destination, Error, Outcome, Report, Result, RowOp, kv, token};
use serde_json::{Value, json};

use crate::Config;
use crate::api::{Api, text};
use crate::imports::{self, KNOWN_ROWS_MAX, PAGE_RECORDS, POLL_MS, Ticket};
use crate::profile::{self, IDENTIFIERS};

/// Profiles and bytes of one import (description of `bulk_import_profiles`: 10,000 and 5 MB).
const IMPORT_ROWS_MAX: usize = 10_000;
const IMPORT_BYTES_MAX: usize = 5_000_000;
/// Profiles that leave a list with one call (description of `remove_profiles_from_list`).
const REMOVE_MAX: usize = 1_000;
/// The column with what a report said the profile's id is.
const REMOTE_ID: &str = "_remote_id";

/// One open target.
#[derive(Debug)]
pub struct Writer {
    api: Api,
    list: Option<String>,
    match_fields: Vec<String>,
}

impl Destination for Writer {
    type Config = Config;

    fn discover(_config: &Config) -> Result<Vec<TargetSchema>> {
        Ok(vec![profile::target()])
    }

    fn open(config: Config, target: Target) -> Result<(Self, DestinationInfo)> {
        let list = target.list_name().map(str::to_owned);
        let unknown = |name: &&str| !profile::is_field(name) && !name.starts_with('_');
        if target.object != "profile" {
            return Err(Error::config(format!("there is no object `{}`: write `profile`", target.object)));
        }
        match target.mode {
            WriteMode::Mirror if list.is_none() => {
                return Err(Error::config("a mirror needs a `list`: profiles are never deleted"));
            }
            WriteMode::Upsert | WriteMode::Mirror => {}
            _ => return Err(Error::config("profiles can be written with mode `upsert` or `mirror` only")),
        }
        if let Some(name) = target.match_fields.iter().find(|name| !IDENTIFIERS.contains(&name.as_str())) {
            return Err(Error::config(format!("profiles are not matched by `{name}`: use {}", IDENTIFIERS.join(", "))));
        }
        if let Some(name) = target.fields.iter().map(|field| field.name.as_str()).find(unknown) {
            return Err(Error::config(format!("profiles have no field `{name}`: own ones are written `properties.{name}`")));
        }
        // The host counts values; names, quotes and braces come on top.
        let frame = profile::frame_bytes(&target.fields);
        let rows = (IMPORT_BYTES_MAX / 2 / frame).clamp(1, IMPORT_ROWS_MAX);
        let bytes = IMPORT_BYTES_MAX - frame * rows;
        let info = DestinationInfo::new(Durable::Write, Idempotence::ByKey)
            .max_rows(u32::try_from(rows).unwrap_or(1))
            .max_bytes(bytes as u64)
            // The vendor refuses other forms.
            .form("phone_number", ValueForm::E164);
        Ok((Self { api: Api::new(&config), list, match_fields: target.match_fields }, info))
    }

    fn write(&mut self, batch: Batch) -> Result<Outcome> {
        let columns = batch.columns()?;
        match batch.op {
            RowOp::Upsert => self.import(columns),
            RowOp::Delete => self.leave(columns).map(|()| Report::accepted(columns.rows).into()),
        }
    }

    fn poll(&mut self, token: &str) -> Result<Outcome> {
        imports::poll(&self.api, token)
    }
}

impl Writer {
    fn import(&self, columns: &Columns) -> Result<Outcome> {
        let readers = JsonColumn::all(columns)?;
        let (mut profiles, mut keys, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
        for row in 0..columns.rows {
            match profile::profile(&readers, row as usize)? {
                Ok(profile) => {
                    profiles.push(profile);
                    keys.push(row);
                }
                Err(reason) => unfit.push((row, reason)),
            }
        }
        if profiles.is_empty() {
            let mut report = Report::accepted(0);
            unfit.into_iter().for_each(|(row, reason)| report.refuse(reason.at_row(row)));
            return Ok(report.into());
        }
        let is_asked_for_ids = self.list.is_some() && keys.len() <= KNOWN_ROWS_MAX;
        let keys =
            keys.into_iter().filter(|_| is_asked_for_ids).map(|row| self.key(&readers, row as usize)).collect::<Result<_>>()?;
        let list = self.list.as_deref().map(|name| self.list_id(name, true)).transpose()?.flatten();
        let request = self.api.post("/profile-bulk-import-jobs", import_body(&profiles, list.as_deref())?).retry_safe(true);
        let answer = self.api.ask(request, "profiles:write lists:write").map_err(|error| self.without_list(error))?;
        let job = text(&answer, "/data/id");
        if job.is_empty() {
            return Err(Error::transient("the answer does not name the import").code("klaviyo.no_data"));
        }
        let ticket = Ticket::new(job, columns.rows, &unfit, keys);
        let token = serde_json::to_string(&ticket).map_err(|_| Error::internal("a token is always JSON"))?;
        Ok(Outcome::Pending((token, POLL_MS)))
    }

    /// Whom a row is about, by the first identifier it has.
    fn key(&self, readers: &[JsonColumn<'_>], row: usize) -> Result<String> {
        for name in self.match_fields.iter().map(String::as_str).chain(IDENTIFIERS) {
            if let Some(value) = cell(readers, name, row)? {
                return imports::key(name, &value);
            }
        }
        Ok(String::new())
    }

    /// A list that was deleted at the vendor is looked for again at the next try.
    fn without_list(&self, error: Error) -> Error {
        let is_about_list = error.code == "http.404" || error.message.contains("/relationships/lists");
        match &self.list {
            Some(name) if is_about_list => {
                kv::delete(&list_key(name));
                Error::transient("the list is not known any more").code("klaviyo.list_gone")
            }
            _ => error,
        }
    }

    /// The id of the list of this name; `None` when there is none and none is to be made.
    fn list_id(&self, name: &str, is_made: bool) -> Result<Option<String>> {
        if let Some(id) = kv::get(&list_key(name)).and_then(|id| String::from_utf8(id).ok()) {
            return Ok(Some(id));
        }
        let request = self.api.get("/lists").query("filter", &format!("equals(name,{})", json!(name)));
        let answer = self.api.ask(request.query("fields[list]", "name"), "lists:read")?;
        let lists = answer.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let found = lists.iter().find(|list| text(list, "/attributes/name") == name).map(|list| text(list, "/id").to_owned());
        let id = match found {
            Some(id) => id,
            None if !is_made => return Ok(None),
            None => {
                let body = json!({ "data": { "type": "list", "attributes": { "name": name } } }).to_string();
                let made = self.api.ask(self.api.post("/lists", body.into_bytes()), "lists:write")?;
                text(&made, "/data/id").to_owned()
            }
        };
        if id.is_empty() {
            return Err(Error::transient("the answer does not name the list").code("klaviyo.no_data"));
        }
        kv::put(&list_key(name), id.as_bytes())?;
        Ok(Some(id))
    }

    /// Takes people off the list; who is not on it, or not known at all, is off it already.
    fn leave(&self, columns: &Columns) -> Result<()> {
        let Some(name) = &self.list else { return Err(Error::unsupported("profiles leave lists, they are never deleted")) };
        let Some(list) = self.list_id(name, false)? else { return Ok(()) };
        let readers = JsonColumn::all(columns)?;
        let ids = self.profile_ids(&readers, columns.rows as usize)?;
        for some in ids.chunks(REMOVE_MAX) {
            let members: Vec<Value> = some.iter().map(|id| json!({ "type": "profile", "id": id })).collect();
            let body = json!({ "data": members }).to_string().into_bytes();
            let request = self.api.delete(&format!("/lists/{list}/relationships/profiles"), body);
            match self.api.ask(request, "lists:write profiles:write") {
                Err(error) if error.code == "http.404" => {
                    kv::delete(&list_key(name));
                    if self.list_id(name, false)?.is_some_and(|found| found == list) && columns.rows > 1 {
                        // The list is there, so one of the profiles is not: the host halves the batch until it is alone.
                        return Err(Error::invalid_data("a profile to remove is not known any more").code("klaviyo.profile_gone"));
                    }
                }
                other => _ = other?,
            }
        }
        Ok(())
    }

    /// Ids of the rows' profiles: those that were reported, the others by looking them up.
    fn profile_ids(&self, readers: &[JsonColumn<'_>], rows: usize) -> Result<Vec<String>> {
        let mut ids: Vec<Option<String>> = (0..rows).map(|row| cell(readers, REMOTE_ID, row)).collect::<Result<_>>()?;
        for name in &self.match_fields {
            let mut wanted = BTreeMap::new();
            for (row, _) in ids.iter().enumerate().filter(|(_, id)| id.is_none()) {
                if let Some(value) = cell(readers, name, row)? {
                    wanted.insert(imports::comparable(name, &value), row);
                }
            }
            let values: Vec<&String> = wanted.keys().collect();
            for some in values.chunks(PAGE_RECORDS) {
                let listed: Vec<String> =
                    some.iter().map(|value| token::in_form(value, &["json"]).unwrap_or_else(|| (*value).clone())).collect();
                let request = self.api.get("/profiles").query("filter", &format!("any({name},{})", json!(listed)));
                let request = request.query("fields[profile]", name).query("page[size]", &PAGE_RECORDS.to_string());
                let answer = self.api.ask(request, "profiles:read")?;
                for profile in answer.get("data").and_then(Value::as_array).into_iter().flatten() {
                    let value = imports::comparable(name, text(profile, &format!("/attributes/{name}")));
                    if let Some(id) = wanted.get(&value).and_then(|row| ids.get_mut(*row)) {
                        *id = Some(text(profile, "/id").to_owned());
                    }
                }
            }
        }
        Ok(ids.into_iter().flatten().collect())
    }
}

fn list_key(name: &str) -> String {
    format!("list/{name}")
}

/// The text of a row's value; `None` for null, empty and a column that is not there.
fn cell(readers: &[JsonColumn<'_>], name: &str, row: usize) -> Result<Option<String>> {
    let Some(column) = readers.iter().find(|column| column.name() == name) else { return Ok(None) };
    Ok(match column.get(row)? {
        Value::Null => None,
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    })
}

/// The body of an import.
///
/// # Errors
/// `invalid_data` when it is too large: the host halves the batch.
fn import_body(profiles: &[Vec<u8>], list: Option<&str>) -> Result<Vec<u8>> {
    let mut body = br#"{"data":{"type":"profile-bulk-import-job","attributes":{"profiles":{"data":["#.to_vec();
    body.extend(profiles.join(&b','));
    body.extend_from_slice(b"]}}");
    if let Some(id) = list {
        body.extend(format!(r#","relationships":{{"lists":{{"data":[{{"type":"list","id":{}}}]}}}}"#, json!(id)).into_bytes());
    }
    body.extend_from_slice(b"}}");
    if body.len() > IMPORT_BYTES_MAX {
        return Err(Error::invalid_data("the import takes more than 5 MB").code("klaviyo.too_large"));
    }
    Ok(body)
}
