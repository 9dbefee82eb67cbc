//! A bulk import from the token that stands for it to a report by row. The token holds all that a later process needs,
//! and nothing personal: whom a row is about is kept as an HMAC under the API key.

use std::collections::{HashMap, HashSet};

use affluent_sdk::{Error, Outcome, Report, Result, crypto};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::{Api, text, word};
use crate::profile::{IDENTIFIERS, Unfit};

/// Milliseconds between two questions after an import.
pub(crate) const POLL_MS: u32 = 1_000;
/// Rows of a batch whose profiles are asked for their ids afterwards, 100 a call. Of larger ones they are looked up when
/// they are needed: few ever leave a list.
pub(crate) const KNOWN_ROWS_MAX: usize = 1_000;
/// Records of one page (description of `get_profiles_for_bulk_import_profiles_job` and others).
pub(crate) const PAGE_RECORDS: usize = 100;
/// Bytes of an HMAC that are kept, of 32.
const KEY_BYTES: usize = 8;

/// A started import.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Ticket {
    pub(crate) job: String,
    pub(crate) rows: u32,
    /// Rows that were not sent, by reason: bit `i` of the bytes, in hexadecimal.
    unfit: [String; 2],
    /// Whom each sent row is about; empty for a large batch.
    keys: Vec<String>,
}

impl Ticket {
    pub(crate) fn new(job: &str, rows: u32, unfit: &[(u32, Unfit)], keys: Vec<String>) -> Self {
        let bits = |reason: Unfit| {
            let mut bytes = vec![0u8; (rows as usize).div_ceil(8)];
            for (row, _) in unfit.iter().filter(|(_, found)| *found == reason) {
                if let Some(byte) = bytes.get_mut(*row as usize / 8) {
                    *byte |= 1 << (row % 8);
                }
            }
            if bytes.iter().all(|byte| *byte == 0) { String::new() } else { hex(&bytes) }
        };
        Self { job: job.to_owned(), rows, unfit: Unfit::ALL.map(bits), keys }
    }

    fn is_set(bits: &str, row: u32) -> bool {
        let byte = bits.get(row as usize / 8 * 2..row as usize / 8 * 2 + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
        byte.is_some_and(|byte| byte & (1 << (row % 8)) != 0)
    }

    /// The report's beginning, with the rows that were not sent, and those that were, in the order of the import.
    fn begin(&self) -> (Report, Vec<u32>) {
        let mut report = Report::accepted(0);
        let mut sent = Vec::new();
        for row in 0..self.rows {
            match Unfit::ALL.iter().zip(&self.unfit).find(|(_, bits)| Self::is_set(bits, row)) {
                Some((reason, _)) => report.refuse(reason.at_row(row)),
                None => sent.push(row),
            }
        }
        (report, sent)
    }
}

/// What an identifier becomes in a token.
pub(crate) fn key(name: &str, value: &str) -> Result<String> {
    let value = comparable(name, value);
    let mac = crypto::hmac_sha256("api_key", format!("{name}\n{value}").as_bytes())?;
    Ok(hex(mac.get(..KEY_BYTES).unwrap_or_default()))
}

/// Emails are the same in every case.
pub(crate) fn comparable(name: &str, value: &str) -> String {
    if name == "email" { value.trim().to_lowercase() } else { value.trim().to_owned() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Asks after an import; what became of each row once it is over.
pub(crate) fn poll(api: &Api, token: &str) -> Result<Outcome> {
    let ticket: Ticket = serde_json::from_str(token).map_err(|_| Error::internal("the token is not of this plugin"))?;
    let path = format!("/profile-bulk-import-jobs/{}", ticket.job);
    let job = match api.ask(api.get(&path), "profiles:read lists:read") {
        Ok(job) => job,
        Err(error) if error.code == "http.404" => {
            return Ok(again(&ticket, "klaviyo.import_gone", "the import is not known any more"));
        }
        Err(error) => return Err(error),
    };
    match text(&job, "/data/attributes/status") {
        "queued" | "processing" => Ok(Outcome::Pending((token.to_owned(), POLL_MS))),
        "complete" => finish(api, &ticket, &path, &job).map(Outcome::Done),
        "cancelled" => Ok(again(&ticket, "klaviyo.import_cancelled", "the import was cancelled")),
        _ => Err(Error::transient("the import has no known status").code("klaviyo.status")),
    }
}

/// Every row that was sent is to be sent again: an import twice changes nothing.
fn again(ticket: &Ticket, code: &str, message: &str) -> Outcome {
    let (mut report, sent) = ticket.begin();
    sent.into_iter().for_each(|row| report.refuse(Error::transient(message).code(code).at_row(row, None)));
    report.counted(ticket.rows).into()
}

fn finish(api: &Api, ticket: &Ticket, path: &str, job: &Value) -> Result<Report> {
    let (mut report, sent) = ticket.begin();
    let keys: HashMap<&str, u32> = ticket.keys.iter().map(String::as_str).zip(sent.iter().copied()).collect();
    let failed = job.pointer("/data/attributes/failed_count").and_then(Value::as_u64).unwrap_or(0);
    let only = sent.first().filter(|_| sent.len() == 1).copied();
    let mut refused = HashSet::new();
    for error in pages(api, &format!("{path}/import-errors"), "", failed)? {
        let pointer = text(&error, "/attributes/source/pointer");
        let payload = error.pointer("/attributes/original_payload").unwrap_or(&Value::Null);
        let by_place = index(pointer).and_then(|index| sent.get(index).copied());
        let Some(row) = by_place.or(row_of(payload, &keys)?).or(only) else { continue };
        if refused.insert(row) {
            let code = format!("klaviyo.import.{}", word(text(&error, "/attributes/code")));
            let field = pointer.rsplit_once("/attributes/").map(|(_, field)| word(field));
            report.refuse(Error::invalid_data("the profile was refused by the import").code(code).at_row(row, field));
        }
    }
    if (refused.len() as u64) < failed {
        // The host halves the batch until the row is alone.
        return Err(Error::invalid_data("the import refused profiles without telling which").code("klaviyo.untold"));
    }
    let told = if keys.is_empty() { 0 } else { sent.len() as u64 };
    for profile in pages(api, &format!("{path}/profiles"), &IDENTIFIERS.join(","), told)? {
        if let Some(row) = row_of(&profile, &keys)?.filter(|row| !refused.contains(row)) {
            report.remote_ids.push((row, text(&profile, "/id").to_owned()));
        }
    }
    Ok(report.counted(ticket.rows))
}

/// The row in `/data/attributes/profiles/data/7/…`.
fn index(pointer: &str) -> Option<usize> {
    pointer.strip_prefix("/data/attributes/profiles/data/")?.split('/').next()?.parse().ok()
}

/// The row that is about the same person as a profile of the answer.
fn row_of(profile: &Value, keys: &HashMap<&str, u32>) -> Result<Option<u32>> {
    let attributes =
        ["/data/attributes", "/attributes", ""].iter().find_map(|pointer| profile.pointer(pointer)).unwrap_or(profile);
    for name in IDENTIFIERS.iter().filter(|_| !keys.is_empty()) {
        let Some(value) = attributes.get(*name).and_then(Value::as_str) else { continue };
        if let Some(row) = keys.get(key(name, value)?.as_str()) {
            return Ok(Some(*row));
        }
    }
    Ok(None)
}

/// The records behind a path, of which there are about `count`, with these fields of profiles.
fn pages(api: &Api, path: &str, fields: &str, count: u64) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    let mut cursor = Some(String::new()).filter(|_| count > 0);
    while let Some(after) = cursor {
        let mut request = api.get(path).query("page[size]", &PAGE_RECORDS.to_string());
        for (name, value) in [("fields[profile]", fields), ("page[cursor]", &after)] {
            request = if value.is_empty() { request } else { request.query(name, value) };
        }
        let mut answer = api.ask(request, "profiles:read")?;
        match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(mut records)) => all.append(&mut records),
            _ => return Err(Error::transient("the answer holds no records").code("klaviyo.no_data")),
        }
        cursor = next_cursor(text(&answer, "/links/next")).filter(|next| *next != after);
    }
    Ok(all)
}

/// The cursor of a link to the next page; the link itself may lead elsewhere.
fn next_cursor(link: &str) -> Option<String> {
    let (_, query) = link.split_once('?')?;
    let value = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("page%5Bcursor%5D=").or_else(|| pair.strip_prefix("page[cursor]=")))?;
    Some(value.replace("%3D", "=").replace("%2B", "+").replace("%2F", "/"))
}
