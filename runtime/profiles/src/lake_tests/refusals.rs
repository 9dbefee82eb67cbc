//! What cannot be one table is refused with a code, before any query runs.

use std::collections::BTreeMap;

use super::cases::{aggregate, sources, table};
use crate::snapshot::snapshot_query;

fn code(cases: &[super::cases::Case], traits: &[crate::snapshot::PreparedTrait]) -> &'static str {
    snapshot_query(&sources(cases), traits, &BTreeMap::new(), &BTreeMap::new()).unwrap_err().code
}

#[test]
fn tables_that_do_not_fit_together_are_refused() {
    let people = |column: &str| table("crm.people", &format!("_seq _pk _node {column}\n1 a 1 x")).with_attributes(&["mail"]);
    let customers = table("shop.customers", "_seq _pk _node mail\n1 a 1 x").with_attributes(&["mail"]);
    let orphan = || table("shop.lines", "_seq _pk _node order_id\n1 a 1 x").with_parent("shop.orders", "order_id");
    let count = |from| [aggregate("mail", from, "count(*)")];

    assert_eq!(code(&[], &count("orders")), "E0760");
    assert_eq!(code(&[people("mail:sealed"), customers.clone()], &[]), "E0761");
    assert_eq!(code(&[people("mail:integer"), customers.clone()], &[]), "E0762");
    assert_eq!(code(std::slice::from_ref(&customers), &count("customers")), "E0764");
    assert_eq!(code(&[orphan()], &count("lines")), "E0765");
}

#[test]
fn a_parent_named_by_a_sealed_column_and_a_parent_of_itself_are_refused() {
    let sealed = table("shop.lines", "_seq _pk _node order_id:sealed\n1 a 1 x").with_parent("shop.orders", "order_id");
    let itself = table("shop.lines", "_seq _pk _node order_id\n1 a 1 x").with_parent("shop.lines", "order_id");

    assert_eq!(code(&[sealed], &[aggregate("n", "lines", "count(*)")]), "E0765");
    assert_eq!(code(&[itself], &[aggregate("n", "lines", "count(*)")]), "E0765");
}
