//! A mirror holds what is desired and nothing else, whatever persons do between two runs: come by each other's addresses, change
//! them, lose them, become one, come into the segment and leave it.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::batch::RowOperation;
use affluent_model::identity::ProfileId;
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use proptest::array::{uniform4, uniform5};
use proptest::option::weighted;
use proptest::prelude::*;

use super::cases::{Broken, check, holds};
use super::people::{email, person, stream};
use super::world::{DAY_US, SECOND_US, START_US, World, block_on, instant, laid};
use crate::rehearsal::Record;

const FILES: [(&str, &str); 6] = [
    ("affluent.yaml", "version: 1\nproject: mirrors\n"),
    ("connections/crm.yaml", "version: 1\nconnection: crm\nplugin: feed\n"),
    ("connections/out.yaml", "version: 1\nconnection: out\nplugin: feed\n"),
    (
        "profiles/identity.yaml",
        "version: 1\nidentifiers: { customer: { priority: 1 } }\nrules: [{ name: account, all: [customer] }]\n",
    ),
    ("profiles/segments.yaml", "version: 1\nsegments: { french: { where: \"country = 'FR'\" } }\n"),
    (
        "pipelines/crm.yaml",
        "version: 1\npipeline: crm\nsource: { connection: crm, streams: { people: { sync: incremental } } }\ndestination:\n  profiles:\n    \
         people:\n      subject: person\n      identifiers: { customer: customer }\n      attributes: { address: address, name: name, \
         country: country }\n",
    ),
];
const MIRROR: &str = "version: 1\npipeline: mirror\nsource: { profiles: { segment: french } }\ndestination:\n  connection: out\n  object: file\n  \
    match: { address: address }\n  mode: mirror\n  guard: { max_remove: 100% }\n  map: { name: name }\n  grants: [address, name]\n";
const RECORDS: usize = 4;

/// What a record says from a round on: an address out of three, a customer out of two, whether it is of the segment.
type Said = (Option<u8>, Option<u8>, bool);

/// Rounds of what is new of each record.
type Case = [[Option<Said>; RECORDS]; 5];

fn any_case() -> impl Strategy<Value = Case> {
    let said = || (weighted(0.9, 0..3_u8), weighted(0.2, 0..2_u8), any::<bool>());
    uniform5(uniform4(weighted(0.5, said())))
}

fn row(case: usize, place: usize, said: Said, at_us: i64) -> Record {
    let mut row = Record::new();
    let mut set = |name: &str, value: Option<String>| row.extend(value.map(|value| (name.to_owned(), value.into())));
    set("person", Some(person(case, place)));
    set("name", Some(format!("Name of {}", person(case, place))));
    set("address", said.0.map(|number| email(case, number)));
    set("customer", said.1.map(|number| format!("u{number}-of-c{case}")));
    set("country", Some(if said.2 { "FR" } else { "DE" }.to_owned()));
    set("at", Some(instant(at_us)));
    row
}

/// What each record says now, and in which round it was said.
type Now = [Option<(usize, Said)>; RECORDS];

/// Address → the places of the records whose names a row with it may have: of the members of the case, by hand.
fn desired(world: &World, case: usize, now: &Now) -> BTreeMap<String, BTreeSet<usize>> {
    let mut profiles: BTreeMap<ProfileId, Vec<(usize, usize, Said)>> = BTreeMap::new();
    for (place, (round, said)) in now.iter().enumerate().filter_map(|(place, now)| Some((place, (*now)?))) {
        let (_, profile) = world.whose(&format!("crm/{}", person(case, place))).unwrap();
        profiles.entry(profile).or_default().push((round, place, said));
    }
    let mut desired: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for mut records in profiles.into_values() {
        // The latest record gives a value; one that has none leaves it to those before.
        records.sort_unstable_by_key(|(round, place, _)| (*round, *place));
        let address = records.iter().rev().find_map(|(.., said)| said.0);
        if let (Some(number), Some((_, place, (.., true)))) = (address, records.last()) {
            desired.entry(email(case, number)).or_default().insert(*place);
        }
    }
    desired
}

async fn keep_in_step(cases: &[Case]) -> Result<(), Broken> {
    let personal = |name: &str, class| Field::new(name, FieldType::Text).with_pii(class);
    let text = |name: &str| Field::new(name, FieldType::Text);
    let fields = vec![
        text("person"),
        text("customer"),
        personal("address", PiiClass::Email),
        personal("name", PiiClass::Name),
        text("country"),
    ];
    let files: Vec<(&str, &str)> = FILES.into_iter().chain([("pipelines/mirror.yaml", MIRROR)]).collect();
    let world = World::open(&files, vec![("crm".to_owned(), stream("people", "person", fields))]);
    let mut held: BTreeMap<String, String> = BTreeMap::new();
    let mut now: Vec<Now> = vec![Now::default(); cases.len()];
    for round in 0..5 {
        let mut records = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            let new: Vec<(usize, Said)> =
                case[round].iter().enumerate().filter_map(|(place, said)| Some((place, (*said)?))).collect();
            new.iter().for_each(|(place, said)| now[number][*place] = Some((round, *said)));
            records.extend(
                new.into_iter().map(|(place, said)| row(number, place, said, START_US + round as i64 * DAY_US + place as i64)),
            );
        }
        world.lay(laid(&[("crm.people", records)]));
        world.run(&["crm", "mirror"], false).await;
        for sent in world.sent() {
            for row in &sent.rows {
                let text = |name: &str| row.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
                match sent.operation {
                    RowOperation::Upsert => held.insert(text("address"), text("name")),
                    RowOperation::Delete => held.remove(&text("address")),
                };
            }
        }
        for (number, now) in now.iter().enumerate() {
            let desired = desired(&world, number, now);
            let of_case = format!(".of.c{number}@");
            let held: BTreeMap<&String, &String> = held.iter().filter(|(address, _)| address.contains(&of_case)).collect();
            let name = |place: &usize| format!("Name of {}", person(number, *place));
            let is_named = |address: &String, held: &String| desired[address].iter().any(|place| name(place) == *held);
            let is_held = held.keys().copied().eq(desired.keys()) && held.iter().all(|(address, held)| is_named(address, held));
            holds(number, is_held, || format!("round {round}: held {held:?}, desired {desired:?}"))?;
        }
        world.pass(DAY_US - 7 * SECOND_US);
    }
    Ok(())
}

#[test]
fn a_mirror_holds_what_is_desired() {
    check((20, 500), &any_case(), |cases| block_on(async || keep_in_step(cases).await));
}
