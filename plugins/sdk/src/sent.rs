//! What a service was sent last, for services that bill each value: [`SentValues`] remembers it in the plugin's store as keyed hashes,
//! so that of a record that changed only the values that did are sent.
//!
//! The store holds [`PAGES`] × [`PAGE_BYTES_MAX`] bytes, a record 9 and each of its values 5: ten values each of 16,000 records, 255
//! values of one at most. What finds no room is not remembered, and sent whole whenever it changes: never too little. Somebody else's
//! change at the service is not seen. A value is taken for an unchanged one by mistake once in 10¹¹ changes.
//!
//! ```
//! use affluent_sdk::sent::SentValues;
//! use affluent_sdk::testing;
//! use serde_json::json;
//!
//! testing::on_hmac(|_, data| Ok(data.iter().rev().cycle().take(32).copied().collect()));
//! let values = |city: &str| json!({ "city": city, "orders": 2 }).as_object().cloned().unwrap_or_default();
//!
//! let mut sent = SentValues::load("api_key")?;
//! let first = sent.change("ada", &values("Lyon"))?;
//! assert!(first.is_new());
//! // Once the service took it:
//! sent.keep(first);
//! sent.store()?;
//!
//! let mut later = values("Nice");
//! SentValues::load("api_key")?.change("ada", &later)?.retain(&mut later);
//! assert_eq!(json!(later), json!({ "city": "Nice" }));
//! # Ok::<(), affluent_sdk::Error>(())
//! ```
//!
//! [`ChangedRows`] does it for the rows of a batch that become one request.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::Result;
use crate::{crypto, kv};

pub use rows::{ChangedRow, ChangedRows};

/// Values of the store, each of at most so many bytes: a plugin's may have 64 KiB each and 1 MiB together.
pub const PAGES: u8 = 16;
/// Bytes of one of them at most.
pub const PAGE_BYTES_MAX: usize = 60 << 10;
/// Bytes of what stands for a record, for one of its values, and for the secret.
const RECORD_BYTES: usize = 8;
const MARK_BYTES: usize = 5;

type Record = [u8; RECORD_BYTES];
type Mark = [u8; MARK_BYTES];

/// The values of a record beside those that were sent last.
#[derive(Debug, Clone)]
#[must_use = "what was sent is kept with `SentValues::keep`"]
pub struct Change {
    record: Record,
    marks: Vec<Mark>,
    /// Names of values that are as they were; `None` for a record that is not remembered.
    unchanged: Option<BTreeSet<String>>,
}

impl Change {
    /// Whether the record is not remembered: all of it is sent.
    pub fn is_new(&self) -> bool {
        self.unchanged.is_none()
    }

    /// Takes out what is as it was sent last.
    pub fn retain(&self, values: &mut Map<String, Value>) {
        values.retain(|name, _| self.unchanged.as_ref().is_none_or(|unchanged| !unchanged.contains(name)));
    }
}

/// What was sent of the records of a pipeline.
#[derive(Debug)]
pub struct SentValues {
    secret: &'static str,
    /// A page made under another secret is worth nothing.
    seal: Record,
    records: BTreeMap<Record, Vec<Mark>>,
    touched: BTreeSet<u8>,
}

impl SentValues {
    /// What the plugin's store remembers; `secret` is one of the manifest's. With a new one everything is sent once more.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`].
    pub fn load(secret: &'static str) -> Result<Self> {
        let seal = hash(secret, &["sent"])?;
        let (mut records, touched) = (BTreeMap::new(), BTreeSet::new());
        for page in (0..PAGES).filter_map(|page| kv::get(&key(page))) {
            if let Some(rest) = page.strip_prefix(&seal) {
                read(rest, &mut records);
            }
        }
        Ok(Self { secret, seal, records, touched })
    }

    /// Compares the values of a record, by what it is matched by, with what was sent last.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`].
    pub fn change(&self, matched: &str, values: &Map<String, Value>) -> Result<Change> {
        let record: Record = hash(self.secret, &["record", matched])?;
        let known = self.records.get(&record);
        let (mut marks, mut unchanged) = (Vec::new(), BTreeSet::new());
        for (name, value) in values {
            let mark: Mark = hash(self.secret, &["value", matched, name, &value.to_string()])?;
            if known.is_some_and(|known| known.contains(&mark)) {
                unchanged.insert(name.clone());
            }
            marks.push(mark);
        }
        Ok(Change { record, marks, unchanged: known.map(|_| unchanged) })
    }

    /// Remembers what the service took.
    pub fn keep(&mut self, change: Change) {
        self.touched.insert(page_of(&change.record));
        self.records.insert(change.record, change.marks);
    }

    /// Remembers nothing of a record any more.
    ///
    /// # Errors
    /// As [`crypto::hmac_sha256`].
    pub fn forget(&mut self, matched: &str) -> Result<()> {
        let record: Record = hash(self.secret, &["record", matched])?;
        if self.records.remove(&record).is_some() {
            self.touched.insert(page_of(&record));
        }
        Ok(())
    }

    /// Remembers nothing of a record any more, for one that is erased.
    ///
    /// # Errors
    /// As [`SentValues::load`] and [`SentValues::store`].
    pub fn erase(secret: &'static str, matched: &str) -> Result<()> {
        let mut sent = Self::load(secret)?;
        sent.forget(matched)?;
        sent.store()
    }

    /// Writes what changed into the plugin's store.
    ///
    /// # Errors
    /// As [`kv::put`].
    pub fn store(&mut self) -> Result<()> {
        for page in std::mem::take(&mut self.touched) {
            let mut bytes = self.seal.to_vec();
            for (record, marks) in self.records.iter().filter(|(record, _)| page_of(record) == page) {
                let count = u8::try_from(marks.len());
                let has_room = bytes.len() + RECORD_BYTES + 1 + marks.len() * MARK_BYTES <= PAGE_BYTES_MAX;
                if let (Ok(count), true) = (count, has_room) {
                    bytes.extend_from_slice(record);
                    bytes.push(count);
                    bytes.extend(marks.iter().flatten());
                }
            }
            kv::put(&key(page), &bytes)?;
        }
        Ok(())
    }
}

fn key(page: u8) -> String {
    format!("sent/{page}")
}

fn page_of(record: &Record) -> u8 {
    record.first().map_or(0, |byte| byte % PAGES)
}

fn read(mut page: &[u8], records: &mut BTreeMap<Record, Vec<Mark>>) {
    while let Some((record, rest)) = page.split_first_chunk::<RECORD_BYTES>()
        && let Some((count, rest)) = rest.split_first()
        && let Some((marks, rest)) = rest.split_at_checked(usize::from(*count) * MARK_BYTES)
    {
        records.insert(*record, marks.as_chunks().0.to_vec());
        page = rest;
    }
}

/// The beginning of an HMAC of texts that keep apart.
fn hash<const BYTES: usize>(secret: &str, texts: &[&str]) -> Result<[u8; BYTES]> {
    let data: Vec<u8> = texts.iter().flat_map(|text| (text.len() as u64).to_le_bytes().into_iter().chain(text.bytes())).collect();
    let mac = crypto::hmac_sha256(secret, &data)?;
    Ok(mac.first_chunk().copied().unwrap_or([0; BYTES]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    /// No HMAC, but different where the data is.
    fn mix(salt: u64) {
        testing::on_hmac(move |_, data| {
            let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
            Ok(data.iter().fold(0xcbf2_9ce4_8422_2325 ^ salt, mix).to_be_bytes().repeat(4))
        });
    }

    fn values(of: Value) -> Map<String, Value> {
        of.as_object().cloned().unwrap()
    }

    /// What is sent of a record, which the service takes.
    fn sent(matched: &str, of: Value) -> Value {
        let (mut memory, mut values) = (SentValues::load("key").unwrap(), values(of));
        let change = memory.change(matched, &values).unwrap();
        change.retain(&mut values);
        memory.keep(change);
        memory.store().unwrap();
        json!(values)
    }

    #[test]
    fn of_a_record_only_what_changed_is_sent_and_what_was_before_counts_no_more() {
        testing::reset();
        mix(0);
        assert_eq!(sent("ada", json!({ "city": "Lyon", "orders": 1 })), json!({ "city": "Lyon", "orders": 1 }));
        assert_eq!(sent("ada", json!({ "city": "Nice", "orders": 1 })), json!({ "city": "Nice" }));
        assert_eq!(sent("bo", json!({ "city": "Nice", "orders": 1 })), json!({ "city": "Nice", "orders": 1 }));
        assert_eq!(sent("ada", json!({ "city": "Lyon", "orders": 1, "vip": null })), json!({ "city": "Lyon", "vip": null }));
        assert_eq!(sent("ada", json!({ "city": "Lyon" })), json!({}));
        assert_eq!(sent("ada", json!({ "city": "Lyon", "orders": 1 })), json!({ "orders": 1 }));
    }

    #[test]
    fn what_is_forgotten_or_was_made_under_another_secret_is_sent_again() {
        testing::reset();
        mix(0);
        sent("ada", json!({ "city": "Lyon" }));
        let mut memory = SentValues::load("key").unwrap();
        memory.forget("ada").unwrap();
        memory.forget("nobody").unwrap();
        memory.store().unwrap();
        assert_eq!(sent("ada", json!({ "city": "Lyon" })), json!({ "city": "Lyon" }));
        mix(1);
        assert_eq!(sent("ada", json!({ "city": "Lyon" })), json!({ "city": "Lyon" }));
    }

    #[test]
    fn what_finds_no_room_is_sent_whole_and_never_taken_for_unchanged() {
        testing::reset();
        mix(0);
        let many: Map<_, _> = (0..250).map(|number| (format!("v{number}"), json!(number))).collect();
        let mut memory = SentValues::load("key").unwrap();
        for person in 0..1_500 {
            let change = memory.change(&person.to_string(), &many).unwrap();
            memory.keep(change);
        }
        memory.store().unwrap();

        let memory = SentValues::load("key").unwrap();

        let is_new = |person: &i32| memory.change(&person.to_string(), &many).unwrap().is_new();
        let remembered = (0..1_500).filter(|person| !is_new(person)).count();
        assert!((700..=784).contains(&remembered), "{remembered}");
        let bytes: usize = (0..PAGES).filter_map(|page| kv::get(&key(page))).map(|page| page.len()).sum();
        assert!(bytes <= usize::from(PAGES) * PAGE_BYTES_MAX, "{bytes}");
        let too_many: Map<_, _> = (0..256).map(|number| (number.to_string(), json!(0))).collect();
        assert_eq!(sent("wide", json!(too_many)), sent("wide", json!(too_many)));
    }
}
