//! A search that is paged in any order, against a played service whose pages count from the front.

use super::*;
use crate::error::Error;

/// Records by id with the second in which each changed, in the order in which the service gives them.
type Listed = Rc<RefCell<Vec<(u32, i64)>>>;

thread_local! {
    static LISTED: Listed = Listed::default();
    static SEARCHES: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

struct Desk;

impl Account for Desk {
    type Config = ();

    fn connect(_: &()) -> Self {
        Self
    }
}

fn from_place(all: &[(u32, i64)], after: Option<&str>) -> Found {
    let place: usize = after.map_or(0, |after| after.parse().unwrap());
    let records = all.iter().skip(place).take(PAGE).map(|(id, at)| record(*id, *at)).collect();
    let next = (place + PAGE < all.len()).then(|| (place + PAGE).to_string());
    Found { records, next, at_us: Some(1_000 * SECOND_US) }
}

impl Changes for Desk {
    const OBJECTS: &'static [Objects] = &[Objects::new("records", "at").values("/properties").lag_ms(100_000).paged()];

    fn fields(&self, _: &Objects) -> Result<Vec<Field>> {
        Ok(vec![Field::new("at", FieldType::Timestamp)])
    }

    fn all(&self, _: &Objects, _: &[&str], after: Option<&str>) -> Result<Found> {
        Ok(from_place(&LISTED.with(|listed| listed.borrow().clone()), after))
    }

    fn changed_since(&self, _: &Objects, _: &[&str], since_us: i64, after: Option<&str>) -> Result<Found> {
        SEARCHES.with(|searches| searches.borrow_mut().push(since_us / SECOND_US));
        let listed = LISTED.with(|listed| listed.borrow().clone());
        let changed: Vec<(u32, i64)> = listed.into_iter().filter(|(_, at)| at * SECOND_US >= since_us).collect();
        if after.is_some_and(|after| after.parse::<usize>().is_err()) {
            return Err(Error::invalid_data("no such place"));
        }
        Ok(from_place(&changed, after))
    }
}

fn play(records: &[(u32, i64)]) {
    LISTED.with(|listed| *listed.borrow_mut() = records.to_vec());
    SEARCHES.with(|searches| searches.borrow_mut().clear());
}

#[test]
fn a_search_that_is_paged_gives_all_that_changed_and_the_next_one_begins_before_this_one_began() {
    play(&[(1, 10), (2, 20), (3, 30), (4, 40)]);
    let first = testing::read_all::<ChangesSource<Desk>>(|| (), "records").unwrap();
    assert_eq!(first.rows("records"), 4);
    // Seven changed, in no order; one of them before the list was read.
    play(&[(1, 1_007), (2, 905), (3, 1_003), (4, 40), (5, 1_009), (6, 1_001), (7, 1_002), (8, 1_008)]);

    let changed = testing::read_on::<ChangesSource<Desk>>(|| (), "records", first.state()).unwrap();

    assert_eq!(changed.rows("records"), 7);
    assert_eq!(SEARCHES.with(|searches| searches.borrow().clone()), [900, 900, 900]);
    testing::read_on::<ChangesSource<Desk>>(|| (), "records", changed.state()).unwrap();
    assert_eq!(SEARCHES.with(|searches| searches.borrow()[3]), 900, "its own clock says when a search began");
}

#[test]
fn a_search_that_is_paged_goes_on_where_it_was_stopped() {
    play(&[(1, 10)]);
    let first = testing::read_all::<ChangesSource<Desk>>(|| (), "records").unwrap();
    play(&(1..=8).map(|id| (id, 1_000)).collect::<Vec<_>>());
    let spec = testing::spec::<ChangesSource<Desk>>(&(), "records", SyncMode::Incremental).unwrap();
    let mut state = first.state();
    let mut rows = 0;
    for _ in 0..3 {
        let mut reader = ChangesSource::<Desk>::open((), spec.clone(), state).unwrap();
        let page = reader.next(testing::LIMITS).unwrap();
        for part in page.parts.iter().filter(|part| part.op == RowOp::Upsert) {
            let Payload::Columns(columns) = &part.payload else { panic!("columns") };
            rows += columns.rows;
        }
        state = page.state;
    }
    assert_eq!(rows, 8);
}
