//! The project of most properties: people of two sources, with identifiers out of few, so that they meet within their case and
//! never beyond it.

use affluent_model::identity::{NodeId, ProfileId};
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType, StreamSchema, SyncMode};
use proptest::prelude::*;
use serde_json::Value;

use super::world::{World, instant};
use crate::rehearsal::Record;

/// The number in the phones of the first case.
pub(super) const PHONES_FROM: usize = 4_321_000;
pub(super) const SOURCES: [&str; 2] = ["crm", "shop"];

const IDENTITY: &str = "
version: 1
identifiers:
  customer: { priority: 1, unique: true }
  email: { priority: 2, max_per_profile: 3 }
  phone: { priority: 3, max_per_profile: 2 }
  device: { priority: 4, weak: true }
rules:
  - { name: account, all: [customer] }
  - { name: email, all: [email] }
  - { name: house, all: [phone, device] }
limits: { profile_records: 5, identifier_fanout: 6 }
survivorship: { default: most_recent }
";

/// A project with the pipelines `crm` and `shop` into profiles, and these files besides.
pub(super) fn project(more: &[(&str, &str)], streams: Vec<(String, StreamSchema)>) -> World {
    let connection = |name: &str| (format!("connections/{name}.yaml"), format!("version: 1\nconnection: {name}\nplugin: feed\n"));
    let pipeline = |name: &str| {
        let text = format!(
            "version: 1\npipeline: {name}\nsource: {{ connection: {name}, streams: {{ people: {{ sync: incremental }} }} }}\n\
             destination:\n  profiles:\n    people:\n      subject: person\n      identifiers: {{ customer: customer, email: email, \
             phone: phone, device: device }}\n      attributes: {{ name: name, country: country, points: points }}\n"
        );
        (format!("pipelines/{name}.yaml"), text)
    };
    let mut files: Vec<(String, String)> = vec![("affluent.yaml".to_owned(), "version: 1\nproject: people\n".to_owned())];
    files.extend(SOURCES.iter().flat_map(|name| [connection(name), pipeline(name)]));
    files.push(("profiles/identity.yaml".to_owned(), IDENTITY.to_owned()));
    files.extend(more.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let people = SOURCES.iter().map(|name| ((*name).to_owned(), people()));
    World::open(&files, people.chain(streams).collect())
}

fn people() -> StreamSchema {
    let personal = |name: &str, class| Field::new(name, FieldType::Text).with_pii(class);
    let fields = vec![
        Field::new("person", FieldType::Text),
        Field::new("customer", FieldType::Text),
        personal("email", PiiClass::Email),
        personal("phone", PiiClass::Phone),
        personal("device", PiiClass::OnlineId),
        personal("name", PiiClass::Name),
        Field::new("country", FieldType::Text),
        Field::new("points", FieldType::Integer),
    ];
    stream("people", "person", fields)
}

/// A stream that is read incrementally by `at`.
pub(super) fn stream(name: &str, key: &str, mut fields: Vec<Field>) -> StreamSchema {
    fields.push(Field::new("at", FieldType::Timestamp));
    StreamSchema {
        name: name.to_owned(),
        fields,
        primary_key: vec![key.to_owned()],
        cursor_field: Some("at".to_owned()),
        sync_modes: vec![SyncMode::FullRefresh, SyncMode::Incremental],
        parent: None,
    }
}

/// Identifiers of one record, each out of those of its case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Carried {
    /// Of [`SOURCES`].
    pub(super) source: usize,
    pub(super) customer: Option<u8>,
    pub(super) email: Option<u8>,
    pub(super) phone: Option<u8>,
    pub(super) device: Option<u8>,
}

pub(super) fn any_carried() -> impl Strategy<Value = Carried> {
    let some = |share: f64, count: u8| proptest::option::weighted(share, 0..count);
    (0..2_usize, some(0.3, 3), some(0.8, 4), some(0.5, 3), some(0.4, 2))
        .prop_map(|(source, customer, email, phone, device)| Carried { source, customer, email, phone, device })
}

/// How the subject of a record is called.
pub(super) fn person(case: usize, record: usize) -> String {
    format!("c{case}r{record}")
}

/// How a record is called where a person is asked for.
pub(super) fn reference(case: usize, record: usize, carried: &Carried) -> String {
    format!("{}/{}", SOURCES[carried.source], person(case, record))
}

pub(super) fn email(case: usize, number: u8) -> String {
    format!("e{number}.of.c{case}@x.test")
}

pub(super) fn phone(case: usize, number: u8) -> String {
    format!("+336{:07}{number}", PHONES_FROM + case)
}

pub(super) fn device(case: usize, number: u8) -> String {
    format!("device-{number}-of-c{case}")
}

/// The record as its source gives it.
pub(super) fn row(case: usize, record: usize, carried: &Carried, at_us: i64, more: &[(&str, Value)]) -> Record {
    let mut row = Record::new();
    let mut set = |name: &str, value: Option<String>| {
        row.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    };
    set("person", Some(person(case, record)));
    set("customer", carried.customer.map(|number| format!("u{number}-of-c{case}")));
    set("email", carried.email.map(|number| email(case, number)));
    set("phone", carried.phone.map(|number| phone(case, number)));
    set("device", carried.device.map(|number| device(case, number)));
    set("name", Some(format!("Name of {}", person(case, record))));
    set("at", Some(instant(at_us)));
    row.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    row
}

impl World {
    /// The node of a record and its profile; `None` where nobody is known by it.
    pub(super) fn whose(&self, reference: &str) -> Option<(NodeId, ProfileId)> {
        let row = self.engine.find_nodes(reference).unwrap().into_iter().next()?;
        Some((row.node, row.profile?))
    }
}
