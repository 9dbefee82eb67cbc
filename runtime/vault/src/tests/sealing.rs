//! Rules of sealed values: they open only where they were sealed, unchanged, and tell nothing by repeating.

use std::collections::HashSet;

use affluent_model::error::{Domain, Retry};
use proptest::prelude::*;

use super::{Counting, Scripted, code, context, field_key, secret};
use crate::ecf1::{SealedHeader, is_sealed_text};
use crate::gcm::Cipher;
use crate::{FieldContext, FieldKey, FieldValue, OsRandom, Padding, Purpose, Random, Scope, from_text, read_header, to_text};

const RECORD: &str = "gid://shopify/Customer/1";
const PADDINGS: [Padding; 2] = [Padding::None, Padding::To32Bytes];

fn key() -> FieldKey {
    field_key(Scope::Subject, 7)
}

fn seal(value: FieldValue<'_>, padding: Padding) -> Vec<u8> {
    let mut sealed = Vec::new();
    key().seal_into(&mut sealed, value, &context(padding), RECORD, &mut OsRandom::new()).unwrap();
    sealed
}

fn open_code(sealed: &[u8]) -> &'static str {
    code(key().open(sealed, &context(Padding::None), RECORD, Purpose::Diagnosis))
}

fn assert_round_trip(value: FieldValue<'_>, record_id: &str) {
    for padding in PADDINGS {
        let mut sealed = b"before".to_vec();
        key().seal_into(&mut sealed, value, &context(padding), record_id, &mut OsRandom::new()).unwrap();
        let opened = key().open(&sealed[6..], &context(padding), record_id, Purpose::Activation).unwrap();
        match (opened.value(), value) {
            (FieldValue::F64(opened), FieldValue::F64(sealed)) => assert_eq!(opened.to_bits(), sealed.to_bits()),
            (opened, sealed) => assert_eq!(opened, sealed),
        }
    }
}

proptest! {
    #[test]
    fn a_text_opens_to_itself(text in ".{0,200}", record_id in ".{1,40}") {
        assert_round_trip(FieldValue::Text(&text), &record_id);
        assert_round_trip(FieldValue::Json(&text), &record_id);
    }

    #[test]
    fn bytes_open_to_themselves(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert_round_trip(FieldValue::Bytes(&bytes), RECORD);
    }

    #[test]
    fn bytes_that_end_like_padding_open_to_themselves(mut bytes in prop::collection::vec(any::<u8>(), 0..70), zeroes in 0_usize..70) {
        bytes.push(0x80);
        bytes.resize(bytes.len() + zeroes, 0);
        assert_round_trip(FieldValue::Bytes(&bytes), RECORD);
    }

    #[test]
    fn numbers_open_to_themselves(integer: i64, bits: u64, truth: bool) {
        assert_round_trip(FieldValue::I64(integer), RECORD);
        assert_round_trip(FieldValue::TimestampUs(integer), RECORD);
        assert_round_trip(FieldValue::F64(f64::from_bits(bits)), RECORD);
        assert_round_trip(FieldValue::Bool(truth), RECORD);
    }

    #[test]
    fn a_text_form_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let text = to_text(&bytes);

        prop_assert!(is_sealed_text(&text));
        prop_assert_eq!(from_text(&text).unwrap(), bytes);
    }

    #[test]
    fn a_changed_context_does_not_open(names in prop::array::uniform4("[a-z]{1,8}"), at in 0_usize..4, letter in 0_usize..8, bit in 0..7) {
        let mut changed = names.clone();
        let letter = letter % names[at].len();
        let mut bytes = names[at].clone().into_bytes();
        bytes[letter] ^= 1_u8 << bit;
        changed[at] = String::from_utf8(bytes).unwrap();
        let mut sealed = Vec::new();
        let place = |names: &[String; 4]| FieldContext::new(&names[0], &names[1], &names[2], Padding::None).unwrap();

        key().seal_into(&mut sealed, FieldValue::Bool(true), &place(&names), &names[3], &mut Counting(0)).unwrap();

        prop_assert_eq!(code(key().open(&sealed, &place(&names), &names[3], Purpose::Diagnosis)), "opened");
        prop_assert_eq!(code(key().open(&sealed, &place(&changed), &changed[3], Purpose::Diagnosis)), "E0604");
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert_ne!(open_code(&bytes), "opened");
    }
}

#[test]
fn any_flipped_bit_does_not_open() {
    for padding in PADDINGS {
        let sealed = seal(FieldValue::Text("anna@example.com"), padding);

        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = match bit / 8 {
                0 | 1 => ["E0606"; 2],
                2 => ["E0606", "E0607"],
                // The last bit of the flags is a known flag: only the tag shows that it was changed.
                3 => ["E0606", "E0604"],
                4..12 => ["E0607"; 2],
                _ => ["E0604"; 2],
            };
            assert!(expected.contains(&open_code(&changed)), "{padding:?} bit {bit}: {}", open_code(&changed));
        }
    }
}

#[test]
fn a_cut_or_extended_value_does_not_open() {
    let sealed = seal(FieldValue::Text("anna@example.com"), Padding::None);
    let extended = [&sealed[..], &[0]].concat();

    assert!((0..sealed.len()).all(|length| open_code(&sealed[..length]) != "opened"));
    assert_eq!(open_code(&sealed[..40]), "E0606");
    assert_eq!(open_code(&extended), "E0604");
}

#[test]
fn names_cannot_be_shifted_between_the_parts_of_a_context() {
    let sealed_at = FieldContext::new("acme", "ab", "c", Padding::None).unwrap();
    let read_at = FieldContext::new("acme", "a", "bc", Padding::None).unwrap();
    let mut sealed = Vec::new();

    key().seal_into(&mut sealed, FieldValue::Bool(true), &sealed_at, "1", &mut Counting(0)).unwrap();

    assert_eq!(code(key().open(&sealed, &read_at, "1", Purpose::Diagnosis)), "E0604");
}

#[test]
fn a_value_of_another_key_or_scope_is_told_from_a_changed_one() {
    let sealed = seal(FieldValue::Bool(true), Padding::None);
    let keys = [field_key(Scope::Subject, 8), field_key(Scope::Run, 7)];

    for key in keys {
        assert_eq!(code(key.open(&sealed, &context(Padding::None), RECORD, Purpose::Diagnosis)), "E0607");
    }
}

#[test]
fn plaintext_where_a_sealed_value_belongs_is_refused() {
    let long = "anna@example.com, and much more that is longer than any header";
    let texts = ["", "anna@example.com", long, "ECF1:AQEB", "ecf1:===", "ecf1:AQE B"];

    assert_eq!(open_code(b"anna@example.com"), "E0606");
    assert_eq!(open_code(long.as_bytes()), "E0606");
    assert!(texts.into_iter().all(|text| code(from_text(text)) == "E0606"));
}

#[test]
fn a_sealed_value_names_its_key_without_being_opened() {
    let sealed = seal(FieldValue::Bool(true), Padding::To32Bytes);

    let header = SealedHeader { scope: Scope::Subject, key_id: 7, padding: Padding::To32Bytes };
    assert_eq!(read_header(&sealed).unwrap(), header);
}

#[test]
fn equal_values_are_sealed_differently() {
    let sealed: HashSet<Vec<u8>> = (0..1_000).map(|_| seal(FieldValue::Bool(true), Padding::None)).collect();

    assert_eq!(sealed.len(), 1_000);
}

#[test]
fn a_hundred_thousand_nonces_are_distinct() {
    let random = &mut OsRandom::new();
    let (key, context) = (key(), context(Padding::None));
    let mut column = Vec::new();

    for _ in 0..100_000 {
        key.seal_into(&mut column, FieldValue::Bool(true), &context, RECORD, random).unwrap();
    }

    let nonces: HashSet<&[u8]> = column.chunks(42).map(|sealed| &sealed[12..24]).collect();
    assert_eq!(nonces.len(), 100_000);
}

#[test]
fn a_padded_value_has_one_length_up_to_thirty_bytes() {
    let length = |bytes: usize| seal(FieldValue::Text(&"x".repeat(bytes)), Padding::To32Bytes).len();

    assert!((0..=30).all(|bytes| length(bytes) == 40 + 32));
    assert_eq!(length(31), 40 + 64);
    assert_eq!(seal(FieldValue::Text("xx"), Padding::None).len(), 40 + 1 + 2);
}

#[test]
fn a_value_that_cannot_be_sealed_leaves_no_trace() {
    let too_long = "x".repeat(65_536);
    for (record_id, expected) in [("", "E0612"), (too_long.as_str(), "E0612"), (RECORD, "E0610")] {
        let mut sealed = b"before".to_vec();
        let random = &mut Scripted(if expected == "E0610" { vec![] } else { vec![1; 12] });

        let result = key().seal_into(&mut sealed, FieldValue::Text("anna"), &context(Padding::None), record_id, random);

        assert_eq!(code(result), expected);
        assert_eq!(sealed, b"before");
    }
}

#[test]
fn the_longest_record_id_is_bound_whole() {
    assert_round_trip(FieldValue::Bool(true), &"x".repeat(65_535));
}

#[test]
fn names_of_a_context_are_never_empty() {
    for names in [["", "t", "f"], ["w", "", "f"], ["w", "t", ""]] {
        assert_eq!(code(FieldContext::new(names[0], names[1], names[2], Padding::None)), "E0612");
    }
}

#[test]
fn a_key_refuses_to_seal_more_than_its_limit() {
    let key = key();
    let seal = || code(key.seal_into(&mut Vec::new(), FieldValue::Bool(true), &context(Padding::None), RECORD, &mut Counting(0)));

    key.count_earlier_seals((1 << 31) - 1);
    assert!(!key.needs_replacement());
    assert_eq!(seal(), "opened");
    assert!(key.needs_replacement());
    key.count_earlier_seals((1 << 31) - 1);
    assert_eq!(seal(), "opened");
    assert_eq!((seal(), seal()), ("E0609", "E0609"));
    assert_eq!(key.sealed_count(), 1 << 32);
}

#[test]
fn a_genuine_value_of_an_unknown_shape_is_refused() {
    let padded = |bytes: &[u8], length: usize| [bytes, &vec![0; length - bytes.len()]].concat();
    let shapes: [(Padding, Vec<u8>); 12] = [
        (Padding::None, vec![0]),
        (Padding::None, vec![8]),
        (Padding::None, vec![1, 0xff]),
        (Padding::None, vec![2, 0xc3]),
        (Padding::None, vec![4, 0, 0, 0, 0, 0, 0, 1]),
        (Padding::None, vec![5]),
        (Padding::None, vec![6, 2]),
        (Padding::None, vec![6]),
        (Padding::None, vec![7, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        (Padding::To32Bytes, vec![0; 32]),
        (Padding::To32Bytes, padded(&[1, 65, 0x80], 64)),
        (Padding::To32Bytes, padded(&[1, 65, 0x80], 31)),
    ];

    for (padding, plaintext) in shapes {
        assert_eq!(open_code(&seal_raw(padding, plaintext.clone())), "E0608", "{plaintext:?}");
    }
    assert_eq!(open_code(&seal_raw(Padding::To32Bytes, padded(&[0x80], 32))), "E0608");
}

/// Seals bytes that [`FieldValue`] cannot express, under the key of [`key`].
fn seal_raw(padding: Padding, mut plaintext: Vec<u8>) -> Vec<u8> {
    let header = SealedHeader { scope: Scope::Subject, key_id: 7, padding }.to_bytes();
    let mut associated_data = Vec::new();
    context(padding).write_associated_data(&header, RECORD, &mut associated_data).unwrap();
    let tag =
        Cipher::new(secret(0).derive().unwrap().encryption_key.bytes()).seal(&[9; 12], &associated_data, &mut plaintext).unwrap();
    [&header[..], &[9; 12], &plaintext, &tag].concat()
}

#[test]
fn a_value_in_the_clear_does_not_print_itself() {
    let values = [FieldValue::Text("anna"), FieldValue::Json("anna"), FieldValue::Bytes(b"anna"), FieldValue::I64(1234)];

    assert!(values.into_iter().all(|value| format!("{value:?}").ends_with("(‹personal›)")));
}

#[test]
fn only_texts_open_as_text() {
    let text = |value| key().open(&seal(value, Padding::None), &context(Padding::None), RECORD, Purpose::Diagnosis).unwrap();

    assert_eq!(text(FieldValue::Text("anna")).text(), Some("anna"));
    assert_eq!(text(FieldValue::Json("{}")).text(), Some("{}"));
    assert_eq!(text(FieldValue::Bytes(b"anna")).text(), None);
}

#[test]
fn a_refusal_is_final_and_names_no_value() {
    let mut sealed = seal(FieldValue::Text("anna@example.com"), Padding::None);
    sealed[30] ^= 1;

    let error = key().open(&sealed, &context(Padding::None), RECORD, Purpose::Activation).err().unwrap();

    assert_eq!((error.domain, error.retry), (Domain::External, Retry::Never));
    assert!(error.message.contains("E_CT_AUTH") && !error.message.contains("Customer"));
}

#[test]
fn the_system_generator_serves_any_length_and_never_repeats() {
    let random = &mut OsRandom::new();
    let mut blocks = HashSet::new();

    for length in [16, 8_192, 16, 8_191, 20_000, 16, 4_096, 4_096, 4_096] {
        let mut bytes = vec![0; length];
        random.fill(&mut bytes).unwrap();
        assert!(bytes.chunks_exact(16).all(|block| blocks.insert(block.to_vec())));
    }
}
