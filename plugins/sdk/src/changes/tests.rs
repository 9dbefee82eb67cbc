mod paged;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Changes, ChangesSource, Child, Found, Job, JobPart, Objects, Span};
use crate::columns::Payload;
use crate::error::Result;
use crate::plugin::{Account, Limits, Page, Position, RowOp, Source};
use crate::records::Column;
use crate::stream::{Field, FieldType, SyncMode};
use crate::testing;

/// Records of a page of the played service.
const PAGE: usize = 3;
const SECOND_US: i64 = 1_000_000;

/// The records by id: when each changed, in seconds; and those that were deleted.
#[derive(Default)]
struct State {
    records: BTreeMap<u32, i64>,
    deleted: BTreeSet<u32>,
    searches: Vec<(i64, Option<String>)>,
    /// What a job gives: the records when it began, if any may begin.
    job: Option<BTreeMap<u32, i64>>,
    questions: u32,
    is_lost: bool,
}

thread_local! {
    static STATE: Rc<RefCell<State>> = Rc::default();
}

fn state<R>(act: impl FnOnce(&mut State) -> R) -> R {
    STATE.with(|state| act(&mut state.borrow_mut()))
}

struct Crm;

const TAGS: Child = Child {
    stream: "tags",
    list: "/tags",
    columns: &[
        Column::new("record_id", FieldType::Text, "/of").required(),
        Column::new("tag", FieldType::Text, "/tag").required(),
    ],
    primary_key: &["record_id", "tag"],
    parent: "record_id",
    first: Some("tag"),
};

fn record(id: u32, seconds: i64) -> Value {
    json!({ "id": id.to_string(), "properties": { "at": crate::values::timestamp_text(seconds * SECOND_US) },
        "tags": [{ "of": id.to_string(), "tag": "new" }], "merged": format!("old{id};") })
}

/// By a cursor that stays where it is, whatever changes.
fn page(all: impl Iterator<Item = (u32, i64)>) -> Found {
    let mut records: Vec<Value> = all.take(PAGE + 1).map(|(id, seconds)| record(id, seconds)).collect();
    let has_more = records.len() > PAGE;
    records.truncate(PAGE);
    let last = records.last().map(|last| last["id"].as_str().unwrap().to_owned());
    Found { records, next: last.filter(|_| has_more), at_us: Some(1_000 * SECOND_US) }
}

impl Account for Crm {
    type Config = ();

    fn connect(_: &()) -> Self {
        Self
    }
}

impl Changes for Crm {
    const OBJECTS: &'static [Objects] = &[Objects::new("records", "at")
        .values("/properties")
        .lag_ms(10_000)
        .replaces("/merged")
        .aliases("aliases")
        .children(&[TAGS])];

    fn fields(&self, _: &Objects) -> Result<Vec<Field>> {
        Ok(vec![Field::new("at", FieldType::Timestamp)])
    }

    fn all(&self, _: &Objects, _: &[&str], after: Option<&str>) -> Result<Found> {
        let after: Option<u32> = after.map(|after| after.parse().unwrap());
        Ok(state(|state| {
            page(state.records.iter().map(|(id, at)| (*id, *at)).filter(|(id, _)| after.is_none_or(|after| *id > after)))
        }))
    }

    fn start_job(&self, _: &Objects, _: &[&str]) -> Result<Option<Job>> {
        Ok(state(|state| {
            let records = state.records.clone();
            state.job.as_mut().map(|job| *job = records).map(|()| Job::begun("7", Some(1_000 * SECOND_US)))
        }))
    }

    fn job_part(&self, job: &Job, after: Option<&str>) -> Result<JobPart> {
        assert_eq!(job.id(), "7");
        let after: Option<u32> = after.map(|after| after.parse().unwrap());
        Ok(state(|state| {
            state.questions += 1;
            let records = state.job.iter().flatten().map(|(id, at)| (*id, *at));
            match state.questions % 2 {
                1 if after.is_none() => JobPart::Running,
                _ if state.is_lost => JobPart::Lost,
                _ => JobPart::Ready(page(records.filter(|(id, _)| after.is_none_or(|after| *id > after)))),
            }
        }))
    }

    fn changed(&self, _: &Objects, _: &[&str], span: Span<'_>) -> Result<Found> {
        state(|state| {
            state.searches.push((span.from_us, span.after_id.map(str::to_owned)));
            let at = |place: &(u32, i64)| place.1 * SECOND_US;
            let mut found: Vec<(u32, i64)> = state.records.iter().map(|(id, at)| (*id, *at)).collect();
            match span.after_id {
                // Ties in an order that tells nothing.
                None => {
                    found.retain(|place| at(place) >= span.from_us);
                    found.sort_by_key(|place| (place.1, place.0 % 7));
                }
                Some(after) => {
                    let after: Option<u32> = after.parse().ok();
                    found.retain(|place| at(place) == span.from_us && after.is_none_or(|after| place.0 > after));
                }
            }
            Ok(page(found.into_iter()))
        })
    }

    fn deleted(&self, _: &Objects, _: i64, after: Option<&str>) -> Result<Found> {
        let after: Option<u32> = after.map(|after| after.parse().unwrap());
        Ok(state(|state| page(state.deleted.iter().map(|id| (*id, 0)).filter(|(id, _)| after.is_none_or(|after| *id > after)))))
    }
}

type Reader = ChangesSource<Crm>;

fn play(records: BTreeMap<u32, i64>) {
    state(|state| *state = State { records, ..State::default() });
}

fn ids(page: &Page, stream: &str, op: RowOp, column: &str) -> Vec<String> {
    let parts = page.parts.iter().filter(|part| part.stream == stream && part.op == op);
    let mut ids = Vec::new();
    for part in parts {
        let Payload::Columns(columns) = &part.payload else { panic!("columns") };
        let texts = columns.text(column).unwrap();
        ids.extend((0..columns.rows as usize).map(|row| texts.get(row).unwrap().to_owned()));
    }
    ids
}

/// Reads up to `pages` pages; what it gives and takes away is done to `copy`. The state of the last page.
fn read(from: Option<Vec<u8>>, pages: usize, copy: &mut BTreeSet<String>) -> (Option<Vec<u8>>, Vec<String>) {
    let spec = testing::spec::<Reader>(&(), "records", SyncMode::Incremental).unwrap();
    let mut reader = Reader::open((), spec, from.clone()).unwrap();
    let (mut last, mut given) = (from, Vec::new());
    for _ in 0..pages {
        let page = reader.next(Limits { max_rows: 5, max_bytes: 1 << 20 }).unwrap();
        let new = ids(&page, "records", RowOp::Upsert, "id");
        copy.extend(new.iter().cloned());
        given.extend(new);
        ids(&page, "records", RowOp::Delete, "id").iter().for_each(|id| _ = copy.remove(id));
        last = page.state;
        if page.position == Position::End {
            break;
        }
    }
    (last, given)
}

#[test]
fn everything_is_listed_first_with_its_children_and_then_what_changed_is_searched_for_the_lag_earlier() {
    play([(1, 5), (2, 6)].into());
    let mut copy = BTreeSet::new();

    let (first, given) = read(None, usize::MAX, &mut copy);

    assert_eq!(given, ["1", "2"]);
    assert!(state(|state| state.searches.is_empty()));
    state(|state| _ = state.records.insert(2, 1_001));
    assert_eq!(read(first, usize::MAX, &mut copy).1, ["2"]);
    assert_eq!(state(|state| state.searches.clone()), [(990 * SECOND_US, None)]);
    let whole = testing::read_all::<Reader>(|| (), "records").unwrap();
    assert_eq!((whole.rows("tags"), whole.rows("aliases")), (2, 2));
    assert_eq!(ids(whole.pages.first().unwrap(), "records", RowOp::Upsert, "tag"), ["new", "new"]);
}

#[test]
fn a_job_is_in_the_state_before_it_is_asked_after_and_what_came_to_nothing_is_listed() {
    for is_lost in [false, true] {
        play((1..=5).map(|id| (id, 5)).collect());
        state(|state| (state.job, state.is_lost) = (Some(BTreeMap::new()), is_lost));
        let mut copy = BTreeSet::new();

        let (state_of_job, given) = read(None, 1, &mut copy);

        assert!(given.is_empty() && state(|state| state.questions) == 0);
        let (last, given) = read(state_of_job, usize::MAX, &mut copy);
        assert_eq!(given, ["1", "2", "3", "4", "5"], "{is_lost}");
        let mark: Value = serde_json::from_slice(&last.unwrap()).unwrap();
        assert_eq!((&mark["high_water_us"], &mark["place"]), (&json!(1_000 * SECOND_US), &Value::Null));
    }
}

#[test]
fn names_in_any_case_are_lower_case_in_the_stream_and_a_record_that_says_so_is_gone() {
    let objects = Objects::new("Note__c", "ChangedAt").any_case().id_at("/Id").gone_where("/IsGone");
    let schema = objects.schemas(vec![Field::new("ChangedAt", FieldType::Timestamp), Field::new("Title", FieldType::Text)]);
    let names: Vec<&str> = schema[0].fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!((schema[0].name.as_str(), names), ("note__c", vec!["id", "changedat", "title"]));
    assert_eq!(schema[0].cursor_field.as_deref(), Some("changedat"));
    let record = json!({ "Id": "7", "ChangedAt": "1970-01-01T00:00:01Z", "TITLE": "x", "IsGone": true });
    assert_eq!((objects.value(&record, "title"), objects.changed_us(&record)), (Some(&json!("x")), Some(SECOND_US)));
    assert!(objects.is_gone(&record) && objects.id_of(&record).unwrap() == "7");
    assert_eq!(objects.named("Other").name(), "Other");
}

#[test]
fn more_changes_at_one_instant_than_a_page_holds_are_all_found_once() {
    play((1..=20).map(|id| (id, if id < 12 { 2_000 } else { 2_000 + i64::from(id) })).collect());
    let begun = json!({ "version": 1, "high_water_us": 1_500 * SECOND_US, "place": null }).to_string().into_bytes();
    let mut copy = BTreeSet::new();

    let (_, mut given) = read(Some(begun), usize::MAX, &mut copy);

    given.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(given, (1..=20).map(|id| id.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_was_deleted_and_what_was_taken_in_by_another_is_gone() {
    play([(1, 5)].into());
    let mut copy = BTreeSet::from(["old1".to_owned(), "9".to_owned()]);
    let (first, _) = read(None, usize::MAX, &mut copy);
    assert_eq!(copy.len(), 3, "a list of everything takes nothing away");
    state(|state| {
        state.records.insert(1, 1_000);
        state.deleted.insert(9);
    });

    read(first, usize::MAX, &mut copy);

    assert_eq!(copy.into_iter().collect::<Vec<_>>(), ["1"]);
}

#[test]
fn values_are_read_as_their_fields_say_and_what_does_not_fit_is_rejected_alone() {
    let kinds =
        [FieldType::Timestamp, FieldType::Date, FieldType::Decimal, FieldType::Float, FieldType::Boolean, FieldType::Text];
    for (kind, value, is_taken) in [
        (kinds[0], json!("1700000000000"), true),
        (kinds[0], json!("2026-01-31T10:20:30.5Z"), true),
        (kinds[0], json!("soon"), false),
        (kinds[1], json!("1700000000000"), true),
        (kinds[1], json!("2026-01-31"), true),
        (kinds[2], json!("12.50"), true),
        (kinds[2], json!("1.2345678"), false),
        (kinds[2], json!("1.25E7"), true),
        (kinds[2], json!("1E-7"), false),
        (kinds[3], json!("1E7"), true),
        (kinds[4], json!("true"), true),
        (kinds[4], json!(""), true),
        (kinds[5], json!(7), true),
    ] {
        let field = Field::new("x", kind);
        let mut row = crate::ColumnsBuilder::new(std::slice::from_ref(&field));
        let taken = super::rows::set(&mut row, &field, &value);
        assert_eq!(taken.is_ok(), is_taken, "{} {value}", kind.as_str());
    }
}

proptest! {
    #[test]
    fn a_read_stopped_anywhere_and_records_changed_meanwhile_lose_nothing(
        records in prop::collection::btree_map(1u32..40, 0i64..900, 1..20),
        stops in prop::collection::vec(1usize..5, 0..6),
        changed in prop::collection::vec((1u32..40, 0i64..3), 0..12),
        has_jobs in any::<bool>(),
        is_lost in any::<bool>(),
    ) {
        play(records);
        state(|state| (state.job, state.is_lost) = (has_jobs.then(BTreeMap::new), is_lost));
        let (mut copy, mut at, mut now) = (BTreeSet::new(), None, 1_000);
        let mut versions: BTreeMap<String, i64> = BTreeMap::new();
        let note = |given: Vec<String>, versions: &mut BTreeMap<String, i64>| {
            for id in given {
                let seconds = state(|state| state.records[&id.parse::<u32>().unwrap()]);
                versions.insert(id, seconds);
            }
        };
        for (turn, pages) in stops.into_iter().enumerate() {
            let (then, given) = read(at, pages, &mut copy);
            at = then;
            note(given, &mut versions);
            if let Some((id, step)) = changed.get(turn) {
                now += step;
                state(|state| _ = state.records.insert(*id, now));
            }
        }
        let (then, given) = read(at, usize::MAX, &mut copy);
        note(given, &mut versions);
        note(read(then, usize::MAX, &mut copy).1, &mut versions);

        let truth: BTreeMap<String, i64> = state(|state| state.records.iter().map(|(id, at)| (id.to_string(), *at)).collect());
        prop_assert_eq!(versions, truth);
    }
}

#[test]
fn objects_that_a_configuration_names_have_aliases_where_their_fields_tell_who_took_a_record_in() {
    let objects = Objects::new("", "At").any_case().merged_into("/MasterId").aliases("merged_").named("Firm");
    let at = Field::new("At", FieldType::Timestamp);
    let names = |fields: &[Field]| {
        let streams = objects.schemas(fields.to_vec());
        streams.into_iter().map(|stream| stream.name).collect::<Vec<_>>()
    };

    assert_eq!(names(std::slice::from_ref(&at)), ["firm"]);
    assert_eq!(names(&[at, Field::new("MasterId", FieldType::Text)]), ["firm", "merged_firm"]);
}
