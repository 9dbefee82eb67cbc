//! Rows that are sent one request each, by a service without upserts of many: what became of them as one answer.

use serde_json::{Value, json};

use super::Upsert;
use crate::error::{ErrorKind, Result};
use crate::json::text;
use crate::outcomes::{PartialFailure, RowPlace};

/// The code of rows whose request came to no answer about them.
const LATER: &str = "later";

/// [`super::Upserts::REFUSED`] of what [`told`] gives; codes are prefixed with the service's name.
pub const fn refused(service: &'static str) -> PartialFailure {
    PartialFailure::at("/errors", RowPlace::Key("/mark")).code(service, "/code").field("/field").transient(&[LATER])
}

/// [`super::Upserts::TAKEN`] of what [`told`] gives.
pub const TAKEN: PartialFailure = PartialFailure::at("/taken", RowPlace::Key("/mark")).success_without("/code").id("/id");

/// What became of rows, in their order, each by the id that its record has now: rows that were refused as invalid or not there, with the
/// code and the field that [`crate::http::Reasons`] put in front of the message, and rows that are for later, since their request came
/// to no answer about them.
///
/// ```
/// use affluent_sdk::Error;
/// use affluent_sdk::upserts::{Upsert, each};
///
/// let row = |mark: &str| Upsert { mark: mark.to_owned(), key: mark.to_owned(), values: Default::default() };
/// let became = [Ok("id1".to_owned()), Err(Error::invalid_data("refused with `bad` at `phone`"))];
/// let told = each::told(&[row("a"), row("b")], became)?;
/// assert_eq!(told["taken"][0]["id"], "id1");
/// assert_eq!(told["errors"][0]["field"], "phone");
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// That of a row which is about no row; where all rows are for later, that of the first.
pub fn told(rows: &[Upsert], became: impl IntoIterator<Item = Result<String>>) -> Result<Value> {
    let (mut taken, mut errors, mut passing) = (Vec::new(), Vec::new(), None);
    for (row, became) in rows.iter().zip(became) {
        match became {
            Ok(id) => taken.push(json!({ "mark": row.mark, "id": id })),
            Err(error) if matches!(error.kind, ErrorKind::InvalidData | ErrorKind::NotFound) => {
                let words: Vec<&str> = error.message.split('`').collect();
                errors.push(json!({ "mark": row.mark, "code": words.get(1), "field": words.get(3) }));
            }
            Err(error) if matches!(error.kind, ErrorKind::Transient | ErrorKind::RateLimited) => {
                errors.push(json!({ "mark": row.mark, "code": LATER }));
                passing = passing.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    let is_all = errors.len() == rows.len() && errors.iter().all(|error| text(error, "/code") == LATER);
    let told = json!({ "taken": taken, "errors": errors });
    passing.filter(|_| is_all).map_or(Ok(told), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    fn row(mark: &str) -> Upsert {
        Upsert { mark: mark.to_owned(), key: mark.to_owned(), values: serde_json::Map::new() }
    }

    #[test]
    fn rows_without_an_answer_are_for_later_unless_that_is_all_of_them() {
        let gone = || Err(Error::transient("broken off"));
        let told = |became: Vec<Result<String>>| told(&[row("a"), row("b")], became).map_err(|error| error.kind);

        let mixed = told(vec![Ok("1".to_owned()), gone()]).unwrap();
        assert_eq!(mixed, json!({ "taken": [{ "mark": "a", "id": "1" }], "errors": [{ "mark": "b", "code": LATER }] }));
        assert_eq!(told(vec![gone(), gone()]), Err(ErrorKind::Transient));
        assert_eq!(told(vec![gone(), Err(Error::auth("no key"))]), Err(ErrorKind::Auth));
        assert_eq!(told(vec![gone(), Err(Error::invalid_data("bad"))]).unwrap()["errors"].as_array().unwrap().len(), 2);
    }
}
