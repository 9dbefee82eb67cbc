//! Who is erased is gone: no key, no field that could be opened, no row at a destination; and neither the same records in
//! another order nor others with the same identifiers bring the person back. Whoever shares something with them stays whole.

use std::collections::BTreeSet;

use affluent_model::batch::RowOperation;
use affluent_model::identity::NodeId;
use affluent_vault::Purpose;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::cases::{Broken, check, holds};
use super::people::{Carried, SOURCES, email, person, project, reference, row};
use super::world::{DAY_US, START_US, World, block_on, files_below, laid};
use crate::person::records_of;
use crate::rehearsal::Record;

const EVERYBODY: &str = "
version: 1
pipeline: everybody
source: { profiles: {} }
destination: { connection: out, object: file, match: { email: email }, mode: mirror, guard: { max_remove: 100% }, map: { name: name }, grants: [email, name] }
";
const OUT: &str = "version: 1\nconnection: out\nplugin: feed\n";

/// The address of the person, and that of who lives with them under the same phone.
const OWN: u8 = 0;
const MATES: u8 = 9;
/// The phone of the house.
const HOUSE: u8 = 0;
/// The record of who lives there, and of who moves in later.
const MATE: usize = 50;
const LATER_MATE: usize = 51;
/// From here on records of the person come only after the erasure.
const LATE: usize = 60;

#[derive(Debug, Clone)]
struct Case {
    /// Of the person: source, a phone beside the address, a device.
    records: Vec<(usize, Option<u8>, Option<u8>)>,
    /// With the same identifiers, after the erasure: whether the address or the person's own phone is in it.
    late: Vec<(usize, bool)>,
    has_mate: bool,
    /// How the person is named when they ask: by address, or by the record at this place.
    by_record: Option<usize>,
    /// The order of the refresh.
    is_reversed: bool,
}

fn any_case() -> impl Strategy<Value = Case> {
    let record = (0..2_usize, of(0..2_u8), of(0..2_u8));
    (vec(record, 1..4), vec((0..2_usize, any::<bool>()), 0..3), any::<bool>(), of(0..4_usize), any::<bool>())
        .prop_map(|(records, late, has_mate, by_record, is_reversed)| Case { records, late, has_mate, by_record, is_reversed })
}

fn of_person((source, phone, device): (usize, Option<u8>, Option<u8>)) -> Carried {
    Carried { source, customer: None, email: Some(OWN), phone, device }
}

/// Whoever else has the phone of the house and an address of their own.
fn of_mate(email: u8) -> Carried {
    Carried { source: 0, customer: None, email: Some(email), phone: Some(HOUSE), device: None }
}

/// The records that are there from the beginning, those of the person first.
fn first(case: &Case) -> Vec<(usize, Carried)> {
    let own = case.records.iter().map(|record| of_person(*record)).enumerate();
    own.chain(case.has_mate.then(|| (MATE, of_mate(MATES)))).collect()
}

/// Those that come after the erasure. A phone is the person's own where nobody else had it.
fn later(case: &Case) -> Vec<(usize, Carried)> {
    let own_phone = case.records.iter().filter_map(|(_, phone, _)| *phone).find(|phone| !case.has_mate || *phone != HOUSE);
    let late = case.late.iter().enumerate().map(|(at, (source, by_phone))| {
        let (email, phone) = match own_phone.filter(|_| *by_phone) {
            Some(phone) => (None, Some(phone)),
            None => (Some(OWN), None),
        };
        (LATE + at, Carried { source: *source, customer: None, email, phone, device: None })
    });
    late.chain(case.has_mate.then(|| (LATER_MATE, of_mate(MATES - 1)))).collect()
}

fn lay(world: &World, records: impl Iterator<Item = (usize, usize, Carried)>) {
    let mut rows: [Vec<Record>; 2] = Default::default();
    for (number, at, carried) in records {
        rows[carried.source].push(row(number, at, &carried, START_US + at as i64, &[]));
    }
    let [crm, shop] = rows;
    world.lay(laid(&[("crm.people", crm), ("shop.people", shop)]));
}

/// Erases the person of each case: the first as a command does, the others as one that was stopped after it had written down the
/// last of them and goes on.
async fn erase(world: &World, cases: &[Case]) {
    world.catch_up();
    for (number, case) in cases.iter().enumerate() {
        let by_record = case.by_record.map(|at| at % case.records.len());
        let asked = by_record
            .map_or_else(|| format!("email:{}", email(number, OWN)), |at| reference(number, at, &of_person(case.records[at])));
        if number == 0 {
            world.engine.erase_person(&asked).await.unwrap();
        } else {
            let id = world.engine.find_profile(&asked).unwrap();
            world.engine.begin_erasure(id, &asked).await.unwrap();
        }
    }
    world.engine.resume_erasures().await.unwrap();
}

/// The names of the files of the lake, listed or not.
fn lake_files(world: &World) -> BTreeSet<String> {
    let files = files_below(&world.data().join("lake")).into_iter();
    files.map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// The whole store says nothing of the persons, `before` being the files that were there before the erasure: opened with every key that is left, and as the bytes that it is.
async fn nothing_can_be_opened(
    world: &World,
    cases: &[Case],
    (erased, before): (&[Vec<NodeId>], &BTreeSet<String>),
) -> Result<(), Broken> {
    let ledger = &world.engine.ledger;
    for (number, nodes) in erased.iter().enumerate() {
        let keys = ledger.wrapped_keys(nodes).unwrap();
        holds(number, keys.iter().all(Option::is_none), || "a key is left".to_owned())?;
    }
    let left: Vec<NodeId> =
        ledger.wrapped_keys_after(NodeId(0), usize::MAX >> 1).unwrap().into_iter().map(|(node, _)| node).collect();
    let held = records_of(&world.engine, &left, Some(Purpose::SubjectExport)).await.unwrap();
    let opened: BTreeSet<String> = held.iter().flat_map(|one| one.record.fields.values().cloned()).collect();
    for (number, case) in cases.iter().enumerate() {
        let own = (0..case.records.len()).chain(LATE..LATE + case.late.len());
        let mut secrets = own.map(|at| format!("Name of {}", person(number, at))).chain([email(number, OWN)]);
        let found = secrets.find(|secret| opened.contains(secret));
        holds(number, found.is_none(), || format!("{found:?} can still be opened"))?;
        let mate = format!("Name of {}", person(number, MATE));
        holds(number, !case.has_mate || opened.contains(&mate), || "who lives there was erased too".to_owned())?;
    }
    let everything: BTreeSet<NodeId> = erased.iter().flatten().copied().collect();
    assert!(left.iter().all(|node| !everything.contains(node)));
    for (path, bytes) in files_below(&world.data()) {
        for word in ["Name of ", "@x.test"] {
            let is_there = bytes.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!is_there, "{word:?} in the clear in {}", path.display());
        }
    }
    let known = ledger.file_names().unwrap();
    for name in before.intersection(&lake_files(world)) {
        assert!(known.contains(name), "{name} is older than the erasure, still on disk, and in no list");
    }
    Ok(())
}

async fn forget_and_read_again(cases: &[Case]) -> Result<(), Broken> {
    let more = [("pipelines/everybody.yaml", EVERYBODY), ("connections/out.yaml", OUT)];
    let world = project(&more, Vec::new());
    let of_all = |records: &dyn Fn(&Case) -> Vec<(usize, Carried)>| -> Vec<(usize, usize, Carried)> {
        let numbered = cases.iter().enumerate();
        numbered.flat_map(|(number, case)| records(case).into_iter().map(move |(at, carried)| (number, at, carried))).collect()
    };
    lay(&world, of_all(&first).into_iter());
    world.run(&["crm", "shop", "everybody"], false).await;
    let nodes_of = |number: usize, case: &Case| -> Vec<NodeId> {
        let own = case.records.iter().enumerate();
        own.filter_map(|(at, record)| Some(world.whose(&reference(number, at, &of_person(*record)))?.0)).collect()
    };
    let erased: Vec<Vec<NodeId>> = cases.iter().enumerate().map(|(number, case)| nodes_of(number, case)).collect();
    for (number, (case, nodes)) in cases.iter().zip(&erased).enumerate() {
        holds(number, nodes.len() == case.records.len(), || "not all records came in".to_owned())?;
    }
    drop(world.sent());
    let before = lake_files(&world);

    erase(&world, cases).await;
    nothing_can_be_opened(&world, cases, (&erased, &before)).await?;
    let removed: BTreeSet<String> = world
        .sent()
        .iter()
        .filter(|sent| sent.operation == RowOperation::Delete)
        .flat_map(|sent| sent.rows.clone())
        .filter_map(|row| row["email"].as_str().map(str::to_owned))
        .collect();
    for number in 0..cases.len() {
        holds(number, removed.contains(&email(number, OWN)), || "the destination still holds the person".to_owned())?;
    }

    world.pass(DAY_US);
    let mut again = of_all(&|case| {
        let mut records: Vec<_> = first(case).into_iter().chain(later(case)).collect();
        if case.is_reversed {
            records.reverse();
        }
        records
    });
    again.reverse();
    lay(&world, again.into_iter());
    world.run(&[SOURCES[1], SOURCES[0], "everybody"], true).await;
    nothing_can_be_opened(&world, cases, (&erased, &before)).await?;
    let sent: BTreeSet<String> = world
        .sent()
        .iter()
        .flat_map(|sent| sent.rows.clone())
        .filter_map(|row| row["email"].as_str().map(str::to_owned))
        .collect();
    for (number, case) in cases.iter().enumerate() {
        for (at, carried) in first(case).iter().chain(&later(case)) {
            let is_known = world.whose(&reference(number, *at, carried)).is_some();
            let is_mate = [MATE, LATER_MATE].contains(at);
            holds(number, is_known == is_mate, || format!("record {at} ({carried:?}) is known: {is_known}"))?;
        }
        let found = world.engine.find_profile(&format!("email:{}", email(number, OWN)));
        holds(number, found.is_err(), || "the address finds somebody".to_owned())?;
        holds(number, !sent.contains(&email(number, OWN)), || "the person was sent".to_owned())?;
        let later_mate = email(number, MATES - 1);
        holds(number, !case.has_mate || sent.contains(&later_mate), || "who moved in was not sent".to_owned())?;
    }
    let profiles = cases.iter().map(|case| if case.has_mate { 2 } else { 0 }).sum::<u64>();
    assert_eq!(world.engine.ledger.profile_count().unwrap(), profiles);
    Ok(())
}

#[test]
fn an_erased_person_is_gone_and_does_not_come_back() {
    check((20, 500), &any_case(), |cases| block_on(async || forget_and_read_again(cases).await));
}
