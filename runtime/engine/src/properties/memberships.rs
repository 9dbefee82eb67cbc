//! Who is in a segment since when: stays of one segment, and of one priority list, never overlap, and at every time are those
//! that conditions give by hand.

use std::collections::{BTreeMap, BTreeSet};

use affluent_model::identity::ProfileId;
use proptest::array::uniform2;
use proptest::prelude::*;
use serde_json::json;

use super::cases::{Broken, check, holds};
use super::people::{Carried, SOURCES, project, reference, row};
use super::world::{DAY_US, SECOND_US, START_US, World, block_on, instant, laid};
use crate::rehearsal::Record;

const SEGMENTS: &str = "
version: 1
segments:
  french: { where: \"country = 'FR'\" }
  rich_abroad: { where: \"points >= 5\", exclude: [french] }
  rich_french: { where: \"in_segment('french') AND points >= 3\" }
  recent: { where: \"did('people', '2d') >= 1\" }
  gold: { where: \"points >= 6\" }
  silver: { where: \"points >= 3\" }
  basic: { where: \"points >= 0\" }
priority_lists: { tier: [gold, silver, basic] }
";

const TIER: [&str; 3] = ["gold", "silver", "basic"];
const OTHERS: [&str; 4] = ["french", "rich_abroad", "rich_french", "recent"];

/// What a record says from a round on: an address out of three, a country, points.
type Said = (u8, u8, Option<u8>);

/// Of each of two records, what is new in a round.
type Round = [Option<Said>; 2];

/// One round in which much is new and one in which little is, in turn: all profiles are computed, or those alone.
fn any_case() -> impl Strategy<Value = Vec<Round>> {
    let said = || (0..3_u8, 0..3_u8, proptest::option::weighted(0.8, 0..8_u8));
    let round = |share: f64| uniform2(proptest::option::weighted(share, said()));
    (uniform2(said().prop_map(Some)), round(0.5), round(0.05), round(0.5), round(0.05))
        .prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

/// A record as it is now, with the round in which it was said.
type Now = Option<(usize, Said)>;

/// The segments of a profile of these records, in round `now`.
fn segments_of(records: &[(usize, Now)], now: usize) -> BTreeSet<&'static str> {
    // Later rounds are later, and within a round the second record is.
    let said = || records.iter().filter_map(|(place, now)| now.map(|(round, said)| ((round, *place), said)));
    let latest = said().max_by_key(|(when, _)| *when).map(|(_, said)| said);
    let points = said().filter_map(|(when, said)| Some((when, said.2?))).max_by_key(|(when, _)| *when).map(|(_, points)| points);
    let is_french = latest.is_some_and(|said| said.1 == 0);
    let at_least = |least: u8| points.is_some_and(|points| points >= least);
    let mut segments = BTreeSet::new();
    let mut add = |segment, is_in: bool| is_in.then(|| segments.insert(segment));
    add("french", is_french);
    add("rich_abroad", at_least(5) && !is_french);
    add("rich_french", at_least(3) && is_french);
    add("recent", said().any(|((round, _), _)| now - round < 2));
    add("gold", at_least(6));
    add("silver", at_least(3) && !at_least(6));
    add("basic", at_least(0) && !at_least(3));
    segments
}

fn carried(place: usize, said: &Said) -> Carried {
    Carried { source: place, customer: None, email: Some(said.0), phone: None, device: None }
}

/// Segment → members, by hand.
type Members = BTreeMap<&'static str, BTreeSet<ProfileId>>;
/// Profile → its case.
type Owners = BTreeMap<ProfileId, usize>;

fn expected(world: &World, people: &[[Now; 2]], now: usize, owners: &mut Owners) -> Members {
    let mut members = Members::new();
    for (number, records) in people.iter().enumerate() {
        let mut profiles: BTreeMap<ProfileId, Vec<(usize, Now)>> = BTreeMap::new();
        for (place, record) in records.iter().enumerate() {
            let Some((_, said)) = record else { continue };
            let (_, profile) = world.whose(&reference(number, place, &carried(place, said))).unwrap();
            profiles.entry(profile).or_default().push((place, *record));
        }
        for (profile, records) in profiles {
            owners.insert(profile, number);
            for segment in segments_of(&records, now) {
                members.entry(segment).or_default().insert(profile);
            }
        }
    }
    members
}

/// The members of a segment now, or at a time that was.
fn compare(world: &World, segment: &str, at_us: Option<i64>, wanted: &Members, owners: &Owners) -> Result<(), Broken> {
    let ledger = &world.engine.ledger;
    let found: BTreeSet<ProfileId> = match at_us {
        None => ledger.members(segment).unwrap().into_iter().collect(),
        Some(at_us) => ledger.members_at(segment, at_us).unwrap().into_iter().collect(),
    };
    let wanted = wanted.get(segment).cloned().unwrap_or_default();
    match found.symmetric_difference(&wanted).next() {
        None => Ok(()),
        Some(profile) => {
            let is = if found.contains(profile) { "is" } else { "is not" };
            let why = format!("{profile} {is} in {segment} at {at_us:?}, {}", instant(world.engine.now_us()));
            Err(Broken { case: owners[profile], why })
        }
    }
}

/// No two stays at once: of one segment, and of one list.
fn are_apart(world: &World, number: usize, profile: ProfileId) -> Result<(), Broken> {
    let stays = world.engine.ledger.memberships_of(profile).unwrap();
    let list = |segment: &str| if TIER.contains(&segment) { "tier".to_owned() } else { segment.to_owned() };
    let mut by_list: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for stay in &stays {
        let span = (stay.entered_at_us, stay.left_at_us.unwrap_or(i64::MAX));
        holds(number, span.0 < span.1, || format!("a stay without time: {stay:?}"))?;
        by_list.entry(list(&stay.segment)).or_default().push(span);
    }
    for (list, mut spans) in by_list {
        spans.sort_unstable();
        holds(number, spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), || format!("{list}: {stays:#?}"))?;
    }
    Ok(())
}

async fn come_and_go(cases: &[Vec<Round>]) -> Result<(), Broken> {
    let world = project(&[("profiles/segments.yaml", SEGMENTS)], Vec::new());
    let mut people: Vec<[Now; 2]> = vec![[None, None]; cases.len()];
    let mut history: Vec<(i64, Members)> = Vec::new();
    let mut owners = Owners::new();
    let rounds = cases.iter().map(Vec::len).max().unwrap_or(0);
    for round in 0..rounds {
        let mut records: [Vec<Record>; 2] = Default::default();
        for (number, (case, people)) in cases.iter().zip(&mut people).enumerate() {
            for place in 0..SOURCES.len() {
                let Some(said) = case[round][place] else { continue };
                people[place] = Some((round, said));
                let mut more = vec![("country", json!(["FR", "DE", "IT"][usize::from(said.1)]))];
                more.extend(said.2.map(|points| ("points", json!(points))));
                let at_us = START_US + round as i64 * DAY_US + place as i64;
                records[place].push(row(number, place, &carried(place, &said), at_us, &more));
            }
        }
        let [crm, shop] = records;
        world.lay(laid(&[("crm.people", crm), ("shop.people", shop)]));
        world.run(&SOURCES, false).await;
        let (now_us, wanted) = (world.engine.now_us(), expected(&world, &people, round, &mut owners));
        for segment in TIER.iter().chain(&OTHERS) {
            compare(&world, segment, None, &wanted, &owners)?;
        }
        history.push((now_us, wanted));
        world.pass(DAY_US - 2 * SECOND_US);
    }
    for (profile, number) in &owners {
        are_apart(&world, *number, *profile)?;
    }
    for (now_us, wanted) in &history {
        for segment in TIER.iter().chain(&OTHERS) {
            compare(&world, segment, Some(*now_us), wanted, &owners)?;
        }
    }
    Ok(())
}

#[test]
fn memberships_never_overlap() {
    check((20, 500), &any_case(), |cases| block_on(async || come_and_go(cases).await));
}
