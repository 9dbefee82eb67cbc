//! What stewards decide and take back: split, linked and parted again, everything is as it was.

use std::collections::BTreeMap;

use affluent_model::identity::{Link, NodeId, ProfileId};
use arrow::array::AsArray as _;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::cases::{Broken, check, holds};
use super::people::{Carried, any_carried, email, phone, project, reference, row};
use super::world::{START_US, World, block_on, laid};
use crate::compute::current_snapshot;
use crate::decisions::Steward;
use crate::rehearsal::Record;
use crate::rows;

/// Records are numbered modulo how many there are.
#[derive(Debug, Clone, Copy)]
enum Decision {
    SplitOff(usize),
    Split(usize, usize),
    Link(usize, usize),
    /// An address joins the record no more.
    PartEmail(usize, u8),
    PartPhone(usize, u8),
}

#[derive(Debug, Clone)]
struct Case {
    records: Vec<Carried>,
    decisions: Vec<Decision>,
    /// What was decided last is taken back first.
    is_last_first: bool,
}

fn any_case() -> impl Strategy<Value = Case> {
    let at = || 0..6_usize;
    let decision = prop_oneof![
        at().prop_map(Decision::SplitOff),
        (at(), at()).prop_map(|(a, b)| Decision::Split(a, b)),
        (at(), at()).prop_map(|(a, b)| Decision::Link(a, b)),
        (at(), 0..4_u8).prop_map(|(at, number)| Decision::PartEmail(at, number)),
        (at(), 0..3_u8).prop_map(|(at, number)| Decision::PartPhone(at, number)),
    ];
    (vec(any_carried(), 2..7), vec(decision, 1..4), any::<bool>()).prop_map(|(records, decisions, is_last_first)| Case {
        records,
        decisions,
        is_last_first,
    })
}

/// Whose the records of a case are, and what links them.
type State = (Vec<Option<(NodeId, ProfileId)>>, Vec<Link>);

fn state(world: &World, number: usize, case: &Case) -> State {
    let whose = case.records.iter().enumerate().map(|(at, carried)| world.whose(&reference(number, at, carried)));
    let whose: Vec<_> = whose.collect();
    let nodes: Vec<NodeId> = whose.iter().flatten().map(|(node, _)| *node).collect();
    let mut links = world.engine.ledger.links_of(&nodes).unwrap();
    links.sort_by_key(|link| (link.node_a, link.node_b, link.kind, link.value, link.rule.clone()));
    (whose, links)
}

/// Makes a decision; `None` where it is refused for what was decided before, or there is nothing to decide.
async fn decide(world: &World, number: usize, case: &Case, decision: Decision) -> Option<i64> {
    let steward = Steward { by: "ann".to_owned(), reason: None };
    let named = |at: usize| {
        let at = at % case.records.len();
        reference(number, at, &case.records[at])
    };
    let engine = &world.engine;
    let done = match decision {
        Decision::SplitOff(at) => engine.split_profile(&named(at), None, &steward).await,
        Decision::Split(one, other) => engine.split_profile(&named(one), Some(&named(other)), &steward).await,
        Decision::Link(one, other) => engine.link_profiles(&named(one), &named(other), &steward).await,
        Decision::PartEmail(at, of) => {
            engine.split_profile(&format!("email:{}", email(number, of)), Some(&named(at)), &steward).await
        }
        Decision::PartPhone(at, of) => {
            engine.split_profile(&format!("phone:{}", phone(number, of)), Some(&named(at)), &steward).await
        }
    };
    match done {
        Ok(outcome) => Some(outcome.decision),
        Err(error) => {
            assert!(["E0813", "E0870", "E0871"].contains(&error.code), "{decision:?}: {error}");
            None
        }
    }
}

/// Profile → what the snapshot says of it.
async fn snapshot(world: &World) -> BTreeMap<String, Vec<String>> {
    let (_, table) = current_snapshot(&world.engine).unwrap();
    let sql = "SELECT \"profile\", CAST(\"country\" AS VARCHAR) AS a, CAST(\"points\" AS VARCHAR) AS b FROM \"profiles\"";
    let query = affluent_lake::LakeQuery::new(sql.to_owned(), vec![table], world.engine.now_us());
    let mut found = BTreeMap::new();
    for batch in world.engine.lake.query(query).await.unwrap() {
        let texts: Vec<_> = batch.columns().iter().map(|column| rows::as_text(column).unwrap()).collect();
        let cell = |column: usize, row: usize| texts[column].as_string::<i32>().value(row).to_owned();
        found.extend((0..batch.num_rows()).map(|row| (cell(0, row), vec![cell(1, row), cell(2, row)])));
    }
    found
}

async fn come_and_go(cases: &[Case]) -> Result<(), Broken> {
    let world = project(&[], Vec::new());
    let mut records: [Vec<Record>; 2] = Default::default();
    for (number, case) in cases.iter().enumerate() {
        for (at, carried) in case.records.iter().enumerate() {
            let more = [("country", json!(["FR", "DE", "IT"][at % 3])), ("points", json!(at))];
            records[carried.source].push(row(number, at, carried, START_US + at as i64, &more));
        }
    }
    let [crm, shop] = records;
    world.lay(laid(&[("crm.people", crm), ("shop.people", shop)]));
    world.run(&["crm", "shop"], false).await;
    let before: Vec<State> = cases.iter().enumerate().map(|(number, case)| state(&world, number, case)).collect();
    let snapshot_before = snapshot(&world).await;

    let mut standing: Vec<Vec<i64>> = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut made = Vec::new();
        for decision in &case.decisions {
            let Some(decided) = decide(&world, number, case, *decision).await else { continue };
            made.push(decided);
            let (whose, _) = state(&world, number, case);
            let profile = |at: usize| whose[at % whose.len()].map(|(_, profile)| profile);
            match decision {
                Decision::Link(one, other) => holds(number, profile(*one) == profile(*other), || format!("{decision:?}: two"))?,
                Decision::Split(one, other) => holds(number, profile(*one) != profile(*other), || format!("{decision:?}: one"))?,
                Decision::SplitOff(_) | Decision::PartEmail(..) | Decision::PartPhone(..) => {}
            }
        }
        standing.push(made);
    }
    // What is computed between may not matter either.
    world.engine.refresh_profiles().await.unwrap();
    for (number, (case, mut made)) in cases.iter().zip(standing).enumerate() {
        if case.is_last_first {
            made.reverse();
        }
        for decision in made {
            world.engine.undo_decision(decision, "ann").await.unwrap();
        }
        let after = state(&world, number, case);
        holds(number, after == before[number], || format!("before {:#?}\nafter {after:#?}", before[number]))?;
    }
    world.engine.refresh_profiles().await.unwrap();
    let snapshot_after = snapshot(&world).await;
    for (number, (whose, _)) in before.iter().enumerate() {
        for profile in whose.iter().flatten().map(|(_, profile)| profile.to_string()) {
            let (was, is) = (snapshot_before.get(&profile), snapshot_after.get(&profile));
            holds(number, was == is, || format!("profile {profile} was {was:?} and is {is:?}"))?;
        }
    }
    assert_eq!(snapshot_before.len(), snapshot_after.len(), "profiles of nobody");
    Ok(())
}

#[test]
fn split_and_merged_again_everything_is_as_it_was() {
    check((20, 500), &any_case(), |cases| block_on(async || come_and_go(cases).await));
}
