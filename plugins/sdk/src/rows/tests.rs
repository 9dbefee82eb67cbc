//! Typed records there and back, and what becomes of values that do not fit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::error::ErrorKind;
use crate::{FieldType, PiiClass};

#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// Has not bought.
    NewCustomer,
    Lapsed,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
struct Address {
    city: Option<String>,
    #[schemars(extend("pii" = PiiClass::FreeText))]
    hint: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all(deserialize = "camelCase"))]
struct Order {
    zone_id: i64,
    /// Who bought.
    #[schemars(extend("pii" = PiiClass::Email))]
    email: Option<String>,
    total: Decimal,
    paid_on: Option<Date>,
    updated_at: Timestamp,
    #[schemars(extend("column" = FieldType::Timestamp))]
    sent: Option<String>,
    share: f64,
    is_test: bool,
    stage: Option<Stage>,
    #[schemars(extend("pii" = PiiClass::Address))]
    shipping: Option<Address>,
    tags: Vec<String>,
    more: BTreeMap<String, i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<serde_json::Value>,
}

fn order() -> Order {
    Order {
        zone_id: 7,
        email: Some("ada@x.test".to_owned()),
        total: Decimal::new("12.50").unwrap(),
        paid_on: Some(Date(1)),
        updated_at: Timestamp(1_000_000),
        sent: Some("1970-01-01T00:00:02Z".to_owned()),
        share: 0.5,
        is_test: true,
        stage: Some(Stage::NewCustomer),
        shipping: Some(Address { city: None, hint: "left".to_owned() }),
        tags: vec!["a".to_owned()],
        more: BTreeMap::from([("b".to_owned(), 2)]),
        note: Some(serde_json::json!({ "c": [null] })),
    }
}

fn columns_of<T: Serialize + JsonSchema>(records: &[T]) -> Columns {
    let mut rows = RowsBuilder::new().unwrap();
    records.iter().for_each(|record| rows.push(record).unwrap());
    rows.finish()
}

#[test]
fn a_struct_says_the_fields_in_its_order() {
    use FieldType::{Boolean, Date, Decimal, Float, Integer, Json, Text, Timestamp};
    let expected = [
        ("zone_id", Integer, false, None),
        ("email", Text, true, Some(PiiClass::Email)),
        ("total", Decimal, false, None),
        ("paid_on", Date, true, None),
        ("updated_at", Timestamp, false, None),
        ("sent", Timestamp, true, None),
        ("share", Float, false, None),
        ("is_test", Boolean, false, None),
        ("stage", Text, true, None),
        ("shipping_city", Text, true, Some(PiiClass::Address)),
        ("shipping_hint", Text, true, Some(PiiClass::FreeText)),
        ("tags", Json, false, None),
        ("more", Json, false, None),
        ("note", Json, true, None),
    ];

    let fields = fields::<Order>().unwrap();

    let found: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.field_type, field.nullable, field.pii)).collect();
    assert_eq!(found, expected);
    assert_eq!(fields[1].description.as_deref(), Some("Who bought."));
}

#[test]
fn a_word_that_is_no_class_is_a_mistake_and_not_passed_over() {
    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Misspelt {
        #[schemars(extend("pii" = "emial"))]
        email: String,
    }

    let error = fields::<Misspelt>().unwrap_err();

    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.message.contains("`email`"), "{error}");
    assert!(fields::<Vec<i64>>().is_err());
}

#[test]
fn records_come_back_as_they_went() {
    let nothing = Order { email: None, paid_on: None, sent: None, stage: None, shipping: None, note: None, ..order() };
    let all = [order(), nothing, order()];

    let columns = columns_of(&all);

    assert_eq!(columns.timestamps("sent").unwrap().get(0), Some(2_000_000));
    assert_eq!(columns.text("shipping_hint").unwrap().get(1), None);
    #[derive(Debug, PartialEq, Deserialize)]
    struct Back {
        zone_id: i64,
        total: Decimal,
        paid_on: Option<Date>,
        updated_at: Timestamp,
        sent: Option<String>,
        stage: Option<Stage>,
        shipping: Option<Address>,
        tags: Vec<String>,
        more: BTreeMap<String, i64>,
        note: Option<serde_json::Value>,
        #[serde(default)]
        nowhere: u8,
    }
    let back: Vec<Back> = Rows::new(&columns).unwrap().collect::<Result<_>>().unwrap();
    for (back, Order { zone_id, total, paid_on, updated_at, sent, stage, shipping, tags, more, note, .. }) in
        back.into_iter().zip(all)
    {
        assert_eq!(back, Back { zone_id, total, paid_on, updated_at, sent, stage, shipping, tags, more, note, nowhere: 0 });
    }
}

#[test]
fn texts_are_lent_and_every_type_is_read_as_the_field_asks() {
    #[derive(Debug, Deserialize)]
    struct Lent<'a> {
        email: &'a str,
        #[serde(borrow, rename = "shipping_hint")]
        hint: Cow<'a, str>,
        total: f64,
        updated_at: i64,
        paid_on: String,
        #[serde(borrow)]
        tags: &'a serde_json::value::RawValue,
    }
    let columns = columns_of(&[order()]);

    let lent = Rows::<Lent<'_>>::new(&columns).unwrap().get(0).unwrap();

    assert_eq!(
        (lent.email, &*lent.hint, lent.paid_on.as_str(), lent.tags.get()),
        ("ada@x.test", "left", "1970-01-02", r#"["a"]"#)
    );
    assert!((lent.total - 12.5).abs() < f64::EPSILON && lent.updated_at == 1_000_000);
    assert!(matches!(lent.hint, Cow::Borrowed(_)));
}

#[test]
fn a_map_takes_every_column_by_its_name() {
    let columns = columns_of(&[order()]);

    let map: BTreeMap<String, serde_json::Value> = Rows::new(&columns).unwrap().get(0).unwrap();

    assert_eq!(map.len(), 14);
    assert_eq!(map.get("paid_on"), Some(&serde_json::json!("1970-01-02")));
    assert_eq!(map.get("more"), Some(&serde_json::json!({ "b": 2 })));
    assert_eq!(map.get("shipping_city"), Some(&serde_json::Value::Null));
}

#[test]
fn flattened_structs_give_their_fields_to_the_outer_one() {
    #[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
    struct Outer {
        id: i64,
        #[serde(flatten)]
        address: Address,
    }
    let outer = Outer { id: 1, address: Address { city: Some("Lyon".to_owned()), hint: String::new() } };

    let columns = columns_of(std::slice::from_ref(&outer));

    let names: Vec<&str> = columns.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "city", "hint"]);
    assert_eq!(Rows::<Outer>::new(&columns).unwrap().get(0).unwrap(), outer);
}

#[test]
fn a_value_that_does_not_fit_is_named_by_row_and_field_and_never_shown() {
    let broken = Order { sent: Some("ada@x.test".to_owned()), ..order() };
    let mut rows = RowsBuilder::new().unwrap();
    rows.push(&order()).unwrap();

    let error = rows.push(&broken).unwrap_err();

    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::InvalidData, "value_type"));
    assert!(error.message.starts_with("row 1: field `sent`") && !error.message.contains("ada"), "{error}");
    rows.push(&order()).unwrap();
    assert_eq!(rows.finish().rows, 2);
}

#[test]
fn a_value_of_another_type_is_named_by_row_and_field_and_never_shown() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Wrong {
        email: i64,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Stages {
        #[serde(rename = "email")]
        stage: Stage,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read")]
    struct Absent {
        age: i64,
    }
    let columns = columns_of(&[order()]);

    let errors = [
        Rows::<Wrong>::new(&columns).unwrap().get(0).unwrap_err(),
        Rows::<Stages>::new(&columns).unwrap().get(0).unwrap_err(),
        Rows::<Absent>::new(&columns).unwrap().get(0).unwrap_err(),
        Rows::<Wrong>::new(&columns).unwrap().get(9).unwrap_err(),
    ];

    let starts = ["row 0: field `email`", "row 0: field `email`", "row 0: field `age` is missing", "row 9: field `email`"];
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.message.starts_with(start) && !error.message.contains("ada"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_comes_back(texts in prop::collection::vec(prop::option::of(".*"), 0..20)) {
        #[derive(Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
        struct Row {
            text: Option<String>,
            list: Vec<Option<String>>,
        }
        let all: Vec<Row> = texts.iter().map(|text| Row { text: text.clone(), list: vec![text.clone()] }).collect();

        let columns = columns_of(&all);

        let back: Vec<Row> = Rows::new(&columns).unwrap().collect::<Result<_>>().unwrap();
        prop_assert_eq!(back, all);
    }
}
