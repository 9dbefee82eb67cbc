//! Rules of records: their values are sealed to the same bytes as one by one, and the keys of new people open them again.

use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::{Counting, Scripted, code, context, field_key, hex, secret, vault};
use crate::{FieldContext, FieldValue, OsRandom, Padding, Purpose, RecordSealer, Scope, SealedColumn, SealingKey};

const RECORD: &str = "gid://shopify/Customer/1";

fn sealing_key() -> SealingKey {
    SealingKey::new(secret(0).derive().unwrap().encryption_key, Scope::Subject, 7)
}

fn contexts(columns: usize) -> Vec<FieldContext> {
    let padding = |column: usize| if column.is_multiple_of(2) { Padding::None } else { Padding::To32Bytes };
    (0..columns).map(|column| FieldContext::new("acme", "customers", &format!("f{column}"), padding(column)).unwrap()).collect()
}

/// Rows of optional texts, as many in each.
fn rows() -> impl Strategy<Value = Vec<Vec<Option<String>>>> {
    (0_usize..6).prop_flat_map(|columns| {
        let text = prop::option::weighted(0.8, prop_oneof![".{0,40}", "x{200,300}"]);
        prop::collection::vec(prop::collection::vec(text, columns), 1..6)
    })
}

proptest! {
    #[test]
    fn a_record_is_sealed_as_its_values_are_one_by_one(rows in rows(), seed in 0_u64..1_000) {
        let contexts = contexts(rows[0].len());
        let mut columns: Vec<_> = contexts.iter().map(|context| SealedColumn::with_capacity(context, 0)).collect();
        let mut expected = vec![Vec::new(); contexts.len()];
        let (key, one_by_one) = (sealing_key(), field_key(Scope::Subject, 7));
        let (mut sealer, together, alone) = (RecordSealer::default(), &mut Counting(seed), &mut Counting(seed));

        for (row, texts) in rows.iter().enumerate() {
            let record = format!("record {row}");
            let value = |place: usize| texts[place].as_deref().map(FieldValue::Text);
            sealer.seal(&key, &record, &mut columns, value, together).unwrap();
            for (place, context) in contexts.iter().enumerate() {
                if let Some(value) = value(place) {
                    one_by_one.seal_into(&mut expected[place], value, context, &record, alone).unwrap();
                }
            }
        }

        prop_assert_eq!(columns.into_iter().map(SealedColumn::into_bytes).collect::<Vec<_>>(), expected);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn keys_made_together_open_what_they_seal_from_what_is_wrapped(first in 1_u64..1_000_000, count in 0_u64..200) {
        let vault = vault();
        let context = [context(Padding::None)];

        let keys = vault.new_subject_keys(first..first + count, &mut OsRandom::new()).unwrap();

        prop_assert_eq!(keys.len() as u64, count);
        prop_assert_eq!(vault.take_new_wraps(), count);
        for (node, (key, wrapped)) in (first..).zip(&keys) {
            let again = vault.unwrap_sealing_key(node, wrapped).unwrap();
            let stored = vault.unwrap_subject_key(node, wrapped).unwrap();
            for key in [key, &again] {
                let mut column = [SealedColumn::with_capacity(&context[0], 0)];
                RecordSealer::default().seal(key, RECORD, &mut column, |_| Some(FieldValue::I64(5)), &mut OsRandom::new()).unwrap();
                let [column] = column;
                let opened = stored.open(&column.into_bytes(), &context[0], RECORD, Purpose::Matching).unwrap();
                prop_assert_eq!(opened.value(), FieldValue::I64(5));
            }
            prop_assert_eq!(code(vault.unwrap_sealing_key(node + 1, wrapped)), "E0604");
        }
        let mut wrapped: Vec<_> = keys.iter().map(|(_, wrapped)| hex(&wrapped[16..])).collect();
        wrapped.sort_unstable();
        wrapped.dedup();
        prop_assert_eq!(wrapped.len() as u64, count);
    }
}

#[test]
fn a_record_that_cannot_be_sealed_leaves_no_trace() {
    let too_long = "x".repeat(65_536);
    let limited = sealing_key();
    let cases =
        [("", 24, "E0612"), (&too_long, 24, "E0612"), (RECORD, 12, "E0610"), (RECORD, 0, "E0610"), (RECORD, 36, "opened")];
    for (record, random_bytes, expected) in cases {
        let contexts = contexts(2);
        let mut columns: Vec<_> = contexts.iter().map(|context| SealedColumn::with_capacity(context, 0)).collect();
        let seal = |columns: &mut [SealedColumn<'_>], record: &str, random: &mut Scripted| {
            code(RecordSealer::default().seal(&limited, record, columns, |_| Some(FieldValue::Text("anna")), random))
        };
        assert_eq!(seal(&mut columns, RECORD, &mut Scripted(vec![1; 24])), "opened");
        let before: Vec<usize> = columns.iter().map(SealedColumn::len).collect();

        assert_eq!(seal(&mut columns, record, &mut Scripted(vec![1; random_bytes])), expected);

        let is_as_before = columns.iter().map(SealedColumn::len).eq(before);
        assert_eq!(is_as_before, expected != "opened");
    }
}

#[test]
fn a_sealing_key_refuses_to_seal_more_than_its_limit() {
    let key = sealing_key();
    let contexts = contexts(2);
    let mut columns: Vec<_> = contexts.iter().map(|context| SealedColumn::with_capacity(context, 0)).collect();
    let mut seal = |count: usize| {
        let value = |place| (place < count).then_some(FieldValue::Bool(true));
        code(RecordSealer::default().seal(&key, RECORD, &mut columns, value, &mut Counting(0)))
    };

    key.sealed_count.store((1 << 32) - 2, Ordering::Relaxed);

    assert_eq!((seal(1), seal(2), seal(1)), ("opened", "E0609", "E0609"));
}
