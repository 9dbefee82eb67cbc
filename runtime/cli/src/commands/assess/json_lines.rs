//! Records as JSON objects, one a line. Objects inside of objects become fields of joined names, as for the plugin that
//! reads such files.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use affluent_model::Result;
use affluent_profiles::assess::column::Declared;
use affluent_profiles::assess::stream::StreamCount;
use serde_json::{Map, Value};

use super::file::{BATCH_RECORDS, unreadable};

/// Objects inside of objects that are opened.
const DEPTH_MAX: usize = 4;

/// Records that wait to be counted.
#[derive(Default)]
struct Waiting {
    places: HashMap<String, usize>,
    names: Vec<String>,
    /// Record → field by place → value.
    records: Vec<Vec<Option<String>>>,
}

/// Counts all lines; those that are no JSON object are rejected.
///
/// # Errors
/// `E0841` when the file cannot be read to its end.
pub(super) fn count(mut reader: impl BufRead, path: &Path, stream: &str, hold: u64) -> Result<StreamCount> {
    let mut count = StreamCount::new(stream, Vec::new(), hold);
    let mut waiting = Waiting::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line).map_err(|error| unreadable(path, &error.kind().to_string()))?;
        if bytes == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<Map<String, Value>>(&line) {
            Ok(object) => waiting.push(&object),
            Err(_) => count.reject(1),
        }
        if waiting.records.len() == BATCH_RECORDS {
            waiting.flush(&mut count);
        }
    }
    waiting.flush(&mut count);
    Ok(count)
}

impl Waiting {
    fn push(&mut self, object: &Map<String, Value>) {
        let mut record = vec![None; self.names.len()];
        self.open("", object, &mut record, DEPTH_MAX);
        self.records.push(record);
    }

    fn open(&mut self, prefix: &str, object: &Map<String, Value>, record: &mut Vec<Option<String>>, depth: usize) {
        for (key, value) in object {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}_{key}") };
            match value {
                Value::Object(inner) if depth > 0 => self.open(&name, inner, record, depth - 1),
                _ => {
                    let place = self.place(name);
                    if record.len() <= place {
                        record.resize(place + 1, None);
                    }
                    record.get_mut(place).into_iter().for_each(|slot| *slot = text(value));
                }
            }
        }
    }

    fn place(&mut self, name: String) -> usize {
        if let Some(place) = self.places.get(&name) {
            return *place;
        }
        let place = self.names.len();
        self.names.push(name.clone());
        self.places.insert(name, place);
        place
    }

    fn flush(&mut self, count: &mut StreamCount) {
        for name in self.names.iter().skip(count.fields()) {
            count.add_field(Declared::text(name));
        }
        let records = std::mem::take(&mut self.records);
        count.take(records.len(), |field, record| records.get(record)?.get(field)?.as_deref());
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}
