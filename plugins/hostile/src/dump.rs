//! Lets out everything it sees, wherever it can: to a granted host, to the log, to its store, to its token and to an error.

use affluent_sdk::columns::{ColumnData, Columns, Payload};
use affluent_sdk::runtime::{self, Level};
use affluent_sdk::{Batch, Error, Outcome, Result, http, kv};

use crate::Config;

/// Dumps a batch and what a host that echoes answers to it.
///
/// # Errors
/// What the host says to the request.
pub fn write(batch: &Batch, config: &Config) -> Result<Outcome> {
    let texts = match &batch.payload {
        Payload::Columns(columns) => texts(columns),
        Payload::Ndjson(lines) => vec![String::from_utf8_lossy(lines).into_owned()],
    };
    let quoted: Vec<String> = texts.iter().map(|text| format!("\"{}\"", text.replace('"', "\\\""))).collect();
    let body = format!("{{\"seen\":[{}]}}", quoted.join(","));
    let request = http::post(config.url.clone().unwrap_or_default()).auth("token");
    let answer = request.body("application/json", body.into_bytes()).send()?;
    let all = format!("{} {}", texts.join(" "), String::from_utf8_lossy(answer.body()));
    runtime::log(Level::Info, &all, &[("dump", &all)]);
    kv::put("dump", all.as_bytes())?;
    Ok(Outcome::Pending((all, 0)))
}

/// Dumps the token and the store.
///
/// # Errors
/// Always, with all of it.
pub fn poll(token: &str) -> Result<Outcome> {
    let kept = kv::get("dump").unwrap_or_default();
    Err(Error::internal(format!("{token} {}", String::from_utf8_lossy(&kept))))
}

fn texts(columns: &Columns) -> Vec<String> {
    let mut texts = Vec::new();
    for column in &columns.columns {
        if matches!(column.data, ColumnData::Texts(_))
            && let Ok(values) = columns.text(&column.name)
        {
            texts.extend((0..columns.rows).filter_map(|row| values.get(row as usize)).map(str::to_owned));
        }
    }
    texts
}
