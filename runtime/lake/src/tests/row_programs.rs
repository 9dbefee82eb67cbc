use affluent_model::Error;

use super::*;
use crate::{Expressions, RowProgram, RowStep};

fn compile(steps: Vec<RowStep>) -> Result<RowProgram, Error> {
    Expressions::new().compile(customers(), steps)
}

fn set(columns: &[(&str, &str)]) -> RowStep {
    RowStep::Set(columns.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

fn keep(names: &[&str]) -> RowStep {
    RowStep::Keep(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Two customers: Ann in France, a test record without a phone.
fn two() -> RecordBatch {
    let at = arrow::array::TimestampMicrosecondArray::from(vec![NOW_US, NOW_US - 86_400_000_000]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        integers(&[1, 2]),
        texts(&[Some(" Ann@X.test "), Some("bob@y.test")]),
        texts(&[Some("06 12 34 56 78"), None]),
        texts(&[Some("Ann"), Some("Bob")]),
        texts(&[Some("Lee"), None]),
        texts(&[Some("FR"), Some("US")]),
        texts(&[Some("paid"), None]),
        decimals(&[10_500_000, 0]),
        Arc::new(at),
        booleans(&[false, true]),
        texts(&[Some("u1"), Some("u2")]),
        texts(&[Some("m1"), Some("m2")]),
    ];
    batch(&customers(), columns)
}

fn apply(steps: Vec<RowStep>) -> (Vec<String>, u64) {
    let program = compile(steps).unwrap();
    let (found, filtered) = program.apply(&two(), NOW_US).unwrap();
    assert_eq!(found.schema(), program.output_schema());
    (rows(&[found]), filtered)
}

fn classes(text: &str) -> Option<String> {
    let program = compile(vec![set(&[("x", text)]), keep(&["x"])]).unwrap();
    Field::from_arrow(program.output_schema().field(0)).unwrap().pii.map(|class| class.as_str().to_owned())
}

#[test]
fn a_filter_keeps_the_rows_for_which_it_is_true() {
    for (condition, expected) in [
        ("NOT test", vec!["1"]),
        ("status = 'paid'", vec!["1"]),
        ("status <> 'paid'", vec![]),
        ("at >= now()", vec!["1"]),
        ("CAST(at AS DATE) < current_date", vec!["2"]),
        ("true", vec!["1", "2"]),
    ] {
        let (found, filtered) = apply(vec![RowStep::Filter(condition.to_owned()), keep(&["id"])]);
        assert_eq!(found, expected, "{condition}");
        assert_eq!(filtered, 2 - expected.len() as u64, "{condition}");
    }
}

#[test]
fn all_expressions_of_a_step_see_the_values_before_it() {
    let steps = vec![set(&[("first_name", "last_name"), ("last_name", "first_name")]), keep(&["first_name", "last_name"])];

    assert_eq!(apply(steps).0, ["Lee|Ann", "|Bob"]);
}

#[test]
fn a_known_column_is_replaced_in_place_and_a_new_one_appended() {
    let program = compile(vec![set(&[("tier", "'gold'"), ("email", "normalize_email(email)")])]).unwrap();

    let schema = program.output_schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!((names[1], names.last().copied(), names.len()), ("email", Some("tier"), 13));
}

#[test]
fn later_expressions_see_only_the_rows_that_are_left() {
    let steps = vec![
        RowStep::Filter("id = 1".to_owned()),
        set(&[("share", "10 / (id - 2)"), ("phone", "e164(phone, country)")]),
        keep(&["phone", "share"]),
    ];

    assert_eq!(apply(steps), (vec!["+33612345678|-10".to_owned()], 1));
}

#[test]
fn results_are_stored_under_their_field_type() {
    let program = compile(vec![
        set(&[("a", "net / 3"), ("b", "CAST(id AS INT)"), ("c", "to_timestamp(0)"), ("d", "now()"), ("e", "NULL")]),
        keep(&["a", "b", "c", "d", "e"]),
    ])
    .unwrap();
    let kinds = [FieldType::Decimal, FieldType::Integer, FieldType::Timestamp, FieldType::Timestamp, FieldType::Text];

    let types: Vec<DataType> = program.output_schema().fields().iter().map(|field| field.data_type().clone()).collect();
    let (found, _) = program.apply(&two(), NOW_US).unwrap();

    assert_eq!(types, kinds.map(FieldType::to_arrow));
    assert_eq!(rows(&[found])[0], "3.500000|1|1970-01-01T00:00:00Z|2026-11-24T03:00:00Z|");
}

#[test]
fn what_carries_a_personal_value_on_keeps_its_class() {
    for (text, class) in [
        ("email", Some("email")),
        ("normalize_email(email)", Some("email")),
        ("lower(trim(email))", Some("email")),
        ("e164(phone, country)", Some("phone")),
        ("CASE WHEN email LIKE '%.fr' THEN e164(phone, 'FR') ELSE phone END", Some("phone")),
        ("coalesce(nullif(phone, ''), status)", Some("phone")),
        ("first_name || ' ' || last_name", Some("name")),
        ("concat(first_name, ' <', email, '>')", Some("free_text")),
        ("CAST(digits(phone) AS BIGINT)", Some("phone")),
        ("sha256_hex(normalize_email(email))", None),
        ("not_personal(split_part(email, '@', 2))", None),
        ("length(email)", None),
        ("email IS NOT NULL AND phone LIKE '+%'", None),
        ("CASE WHEN email = 'a@b.co' THEN 'vip' END", None),
        ("country", None),
    ] {
        assert_eq!(classes(text).as_deref(), class, "{text}");
    }
}

#[test]
fn columns_are_dropped_and_kept_by_name() {
    let drop = RowStep::Drop(vec!["email".to_owned(), "phone".to_owned()]);

    assert_eq!(compile(vec![drop]).unwrap().output_schema().fields().len(), 10);
    assert_eq!(apply(vec![keep(&["id", "country"])]).0, ["1|FR", "2|US"]);
}

#[test]
fn mistakes_name_the_step_and_never_wait_for_data() {
    let cases = [
        (RowStep::Filter("net".to_owned()), "E0736", "a filter is true or false, and this is a decimal"),
        (RowStep::Filter("emial = 'x'".to_owned()), "E0736", "unknown column `emial`"),
        (set(&[("x", "1"), ("x", "2")]), "E0737", "column `x` is set twice in one step"),
        (RowStep::Drop(vec!["emial".to_owned()]), "E0737", "unknown column `emial`"),
        (keep(&["nope"]), "E0737", "unknown column `nope`"),
    ];
    for (step, code, message) in cases {
        let error = compile(vec![step]).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (code, message));
    }
}

#[test]
fn a_value_that_cannot_be_computed_is_not_quoted() {
    let program = compile(vec![set(&[("x", "CAST(email AS BIGINT)")])]).unwrap();

    let error = program.apply(&two(), NOW_US).unwrap_err();

    assert_eq!((error.code, error.at.as_slice()), ("E0738", ["set `x`".to_owned()].as_slice()));
    assert!(!error.to_string().to_lowercase().contains("x.test"), "{error}");
}

/// Values, rows kept, places refused, number filtered.
type Refusals = (&'static [&'static str], &'static [&'static str], &'static [usize], u64);

#[test]
fn a_row_that_cannot_be_computed_is_refused_alone() {
    let ages = schema(&[("id", FieldType::Integer), ("age", FieldType::Text)]);
    let steps = vec![RowStep::Filter("id <> 3".to_owned()), set(&[("age", "CAST(age AS BIGINT)")])];
    let program = Expressions::new().compile(Arc::clone(&ages), steps).unwrap();
    let cases: [Refusals; 5] = [
        (&["1", "2"], &["1|1", "2|2"], &[], 0),
        (&["old", "2", "3", "4", "5"], &["2|2", "4|4", "5|5"], &[0], 1),
        (&["1", "2", "old", "4", "x"], &["1|1", "2|2", "4|4"], &[4], 1),
        (&["a", "b", "c", "d"], &[], &[0, 1, 3], 1),
        (&[], &[], &[], 0),
    ];
    for (values, kept, refused, filtered) in cases {
        let ids: Vec<i64> = (1..).take(values.len()).collect();
        let input = batch(&ages, vec![integers(&ids), texts(&values.iter().copied().map(Some).collect::<Vec<_>>())]);

        let applied = program.apply_each(&input, NOW_US).unwrap();

        let kept: Vec<String> = kept.iter().map(|row| (*row).to_owned()).collect();
        let places: Vec<usize> = applied.refused.iter().map(|one| one.row).collect();
        assert_eq!((rows(&[applied.records]), places, applied.filtered), (kept, refused.to_vec(), filtered), "{values:?}");
        assert!(applied.refused.iter().all(|one| one.error.code == "E0738"));
    }
}

#[test]
fn an_empty_batch_gives_an_empty_batch_of_the_new_columns() {
    let program = compile(vec![RowStep::Filter("false".to_owned()), set(&[("x", "1 / 0")]), keep(&["x"])]).unwrap();

    let (found, filtered) = program.apply(&two(), NOW_US).unwrap();

    assert_eq!((found.num_rows(), found.schema(), filtered), (0, program.output_schema(), 2));
}

#[test]
fn a_batch_of_other_columns_is_refused() {
    let program = compile(vec![RowStep::Filter("NOT test".to_owned())]).unwrap();
    let other = schema(&[("id", FieldType::Integer)]);

    let error = program.apply(&batch(&other, vec![integers(&[1])]), NOW_US).unwrap_err();

    assert_eq!(error.code, "E0001");
}
