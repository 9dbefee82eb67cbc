//! What records of a source look like before they are integrated: per field its fill, distinct values, shapes, class of
//! personal data; per stream its keys, identifiers and times, and a pipeline proposed from them. Pure: whoever reads the
//! records hands over values one by one, and no report holds one of a field that may be personal.

pub mod column;
mod dates;
mod detect;
mod distinct;
pub mod held;
mod keys;
mod look;
mod national_id;
pub mod personal;
pub mod propose;
mod propose_sql;
pub mod report;
mod roles;
pub mod stream;
mod tally;
#[cfg(test)]
mod tests;
