//! Raw files → parts of the plan: defaults are filled in here and nowhere else, texts become numbers and instants,
//! and combinations of keys that make no sense are reported. What needs other files is checked in [`crate::links`].

use affluent_model::plan::{Expression, NamedExpression};

use crate::mistake::FileReport;
use crate::placed::{Named, Placed};

pub(crate) mod connection;
mod consent;
pub(crate) mod destination;
pub(crate) mod lock;
mod matching;
mod money;
mod normalize;
pub(crate) mod pairs;
pub(crate) mod pipeline;
pub(crate) mod profiles;
pub(crate) mod project;
mod survivorship;
pub(crate) mod tests;
pub(crate) mod traits;

pub(crate) fn expression(text: &Placed<String>, report: &FileReport) -> Expression {
    Expression { text: text.trim_end().to_owned(), at: report.location(text.place()) }
}

fn expressions(map: Option<&Named<Placed<String>>>, report: &FileReport) -> Vec<NamedExpression> {
    let entries = map.into_iter().flat_map(Named::iter);
    entries.map(|(name, text)| NamedExpression { name: name.to_string(), expression: expression(text, report) }).collect()
}

fn texts(list: Option<&Vec<Placed<String>>>) -> Vec<String> {
    list.into_iter().flatten().map(|text| text.to_string()).collect()
}
