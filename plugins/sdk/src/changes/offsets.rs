//! Searching for changes where a service counts whole seconds, knows no order within one, and pages by offset: whoever changes
//! meanwhile moves to the end of the list, so that others move up and would be passed over.

use std::collections::BTreeMap;

use super::{Found, Objects, Span};
use crate::error::Result;
use crate::json;

const SECOND_US: i64 = 1_000_000;
/// A page in ten is read twice: so many may move away while one second is paged.
const OVERLAP: usize = 10;

/// One page to be asked for: what changed in these seconds, the oldest change first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds {
    /// Seconds since the epoch. A page may hold older records, too: they are passed over.
    pub from: i64,
    /// The last second; `None` for no end. A page may hold newer records, too.
    pub until: Option<i64>,
    /// Records before the page.
    pub offset: usize,
}

impl Objects {
    /// What a span holds, for [`super::Changes::changed`], from pages of `records_max` records, of which the last one is shorter.
    /// From an instant on, it is the page at offset 0; one second is paged through, and read by id.
    ///
    /// # Errors
    /// Those of `ask`.
    pub fn by_offset(&self, span: Span<'_>, records_max: usize, ask: impl Fn(Seconds) -> Result<Found>) -> Result<Found> {
        let from = span.from_us.div_euclid(SECOND_US) + i64::from(span.from_us.rem_euclid(SECOND_US) > 0);
        let (mut offset, mut by_id) = (0, BTreeMap::new());
        loop {
            let mut page = ask(Seconds { from, until: span.after_id.map(|_| from), offset })?;
            let is_last = page.records.len() < records_max;
            let second = |record: &_| self.changed_us(record).map(|us| us.div_euclid(SECOND_US));
            match span.after_id {
                None => {
                    page.records.retain(|record| second(record).is_none_or(|second| second >= from));
                    if is_last || !page.records.is_empty() {
                        return Ok(Found { next: (!is_last).then(String::new), ..page });
                    }
                }
                Some(after) => {
                    let of_second = page.records.into_iter().filter(|record| second(record) == Some(from));
                    let keyed = of_second.map(|record| (json::text(&record, self.id).to_owned(), record));
                    by_id.extend(keyed.filter(|(id, _)| id.as_str() > after));
                    let beyond = by_id.keys().nth(records_max + 1).cloned();
                    beyond.map(|id| by_id.split_off(&id));
                    if is_last {
                        let next = (by_id.len() > records_max).then(String::new);
                        return Ok(Found { records: by_id.into_values().take(records_max).collect(), next, at_us: page.at_us });
                    }
                }
            }
            offset += (records_max - records_max / OVERLAP).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OBJECTS: Objects = Objects::new("members", "at");

    /// A service with records of these seconds, three a page; `c1`, `c0`, … in no order of their ids.
    fn found(seconds: &[i64], span: Span<'_>) -> (Vec<String>, bool) {
        let time = |second: i64| crate::values::timestamp_text(second * SECOND_US);
        let all: Vec<Value> = seconds
            .iter()
            .enumerate()
            .map(|(place, second)| json!({ "id": format!("c{}", place ^ 1), "at": time(*second) }))
            .collect();
        let ask =
            |asked: Seconds| Ok(Found { records: all.iter().skip(asked.offset).take(3).cloned().collect(), ..Found::default() });
        let found = OBJECTS.by_offset(span, 3, ask).unwrap();
        (found.records.iter().map(|record| json::text(record, "/id").to_owned()).collect(), found.next.is_some())
    }

    fn span(from_us: i64, after_id: Option<&str>) -> Span<'_> {
        Span { from_us, after_id }
    }

    #[test]
    fn older_records_are_passed_over_and_instants_are_rounded_up() {
        assert_eq!(found(&[1, 2, 3], span(2_000_000, None)), (vec!["c0".to_owned(), "c3".to_owned()], true));
        assert_eq!(found(&[1, 2], span(1_000_001, None)), (vec!["c0".to_owned()], false));
        assert_eq!(found(&[1, 1, 1, 1, 2, 3], span(2_000_000, None)).0, ["c5", "c4"]);
    }

    #[test]
    fn one_second_is_read_by_id_however_many_pages_it_fills() {
        let seconds = [7; 8];
        assert_eq!(found(&seconds, span(7_000_000, Some(""))), (["c0", "c1", "c2"].map(str::to_owned).into(), true));
        assert_eq!(found(&seconds, span(7_000_000, Some("c5"))), (["c6", "c7"].map(str::to_owned).into(), false));
    }
}
