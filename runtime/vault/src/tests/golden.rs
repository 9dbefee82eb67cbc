//! The formats, frozen. Each value was computed from the written format by another implementation (Python `cryptography`
//! 48.0.0: AESGCM, and HKDF-Expand as one HMAC-SHA256), never copied from this crate's output. A change here is a new format
//! version, not a new expectation.

use super::{Scripted, context, field_key, hex, rising, secret, unhex, wrapping_key};
use crate::bix1::BlindIndexer;
use crate::ewk1::{Binding, wrap};
use crate::{FieldValue, Padding, Purpose, RecordSealer, Scope, SealedColumn, SealingKey};

const KEY_ID: u64 = 0x0102_0304_0506_0708;
const RECORD: &str = "gid://shopify/Customer/1";

use FieldValue::{Bool, Bytes, F64, I64, Json, Text, TimestampUs};
use Padding::{None as Plain, To32Bytes};
use Scope::{Run, Subject, System};

/// Key 00..1f, nonce a0..ab, workspace acme, table shopify.customers, field email.
#[rustfmt::skip]
const ECF1: [(Scope, Padding, FieldValue<'static>, &str); 11] = [
    (Subject, Plain, Text("anna@example.com"), "010101000102030405060708a0a1a2a3a4a5a6a7a8a9aaab2326aa03463fdaae854cdc44edbee000a0130e26577566b03ec4be6629592f8ee7"),
    (Subject, To32Bytes, Text("Zoë"), "010101010102030405060708a0a1a2a3a4a5a6a7a8a9aaab231dabae8cffbfd6e421ac288890836fcdb37805fdad72f1a5dcc4a4e3051a3b697fefe645579d5df2e98e7678c6e9a1"),
    (Subject, Plain, Json("{\"a\":1}"), "010101000102030405060708a0a1a2a3a4a5a6a7a8a9aaab203ce60c05458eab0914179e47a5b920fa23921c52dae635"),
    (Subject, Plain, Bytes(&[0x00, 0xff]), "010101000102030405060708a0a1a2a3a4a5a6a7a8a9aaab21473b2248b1fd168453699f525a3bc234fba9"),
    (Subject, Plain, I64(-42), "010101000102030405060708a0a1a2a3a4a5a6a7a8a9aaab26b83b92d880402932e0d05884c64e03a92c4cc5ee34398105"),
    (Subject, Plain, F64(0.5), "010101000102030405060708a0a1a2a3a4a5a6a7a8a9aaab2778246d277fbfd6e41d8c125a111580f342e42b7dfd0c5b56"),
    (Subject, Plain, Bool(true), "010101000102030405060708a0a1a2a3a4a5a6a7a8a9aaab24468fecec8ba0193787b6a965ed35fe37a4"),
    (Subject, To32Bytes, TimestampUs(1_763_942_400_000_000), "010101010102030405060708a0a1a2a3a4a5a6a7a8a9aaab2547c2296ca797d6e4a1ac288890836fcdb37805fdad72f1a5dcc4a4e3051a3b460c3e2da32984229bbb8fc627d5f8a7"),
    (Run, Plain, Text("anna@example.com"), "010102000102030405060708a0a1a2a3a4a5a6a7a8a9aaab2326aa03463fdaae854cdc44edbee000a0d5e55dee10b5ed2aac88d920f189f738"),
    (System, Plain, Text("anna@example.com"), "010103000102030405060708a0a1a2a3a4a5a6a7a8a9aaab2326aa03463fdaae854cdc44edbee000a097bc7486cc04d9d9749ab3d869ebdf8d"),
    (Subject, To32Bytes, Text("0123456789012345678901234567890"), "010101010102030405060708a0a1a2a3a4a5a6a7a8a9aaab2377f55f144b8ae0d3199518b9a2b05bf8854f3dc49d43c396e8f192d43d230b645f9df0bf99cfb6ea1dee401772473027e6ea89ef4ebbf630f7645ead14173ef2674ebe34b86ed362905b4566e3a501"),
];

/// Wrapping key 20..3f of version 3 wraps key 00..1f; provider key 60..7f of id 1 wraps key 20..3f of version 3. Nonce b0..bb.
#[rustfmt::skip]
const EWK1: [(u8, u32, &str, u8, u64, &str); 6] = [
    (0x20, 3, "subject", 0, KEY_ID, "01010100010203040506070800000003b0b1b2b3b4b5b6b7b8b9babb699a4f0c1e4873ad9b93dc81f3c20d02c7ce2f98fe23a9344bfe9c9753137d7b8394776eda637800b4d990562fcd4d4b8cb65bca9c621dc0e5c4e1a94483ffc8ce759970262a00252b5d2688c418bc7d"),
    (0x20, 3, "run", 0, KEY_ID, "01010100010203040506070800000003b0b1b2b3b4b5b6b7b8b9babb699a4f0c1e4873ad9b93dc81f3c20d02c7ce2f98fe23a9344bfe9c9753137d7b0d1a366c835466f4ee39cc0f930c54338cb65bca9c621dc0e5c4e1a94483ffc8ce759970262a00252b5d2688c418bc7d"),
    (0x20, 3, "system", 0, KEY_ID, "01010100010203040506070800000003b0b1b2b3b4b5b6b7b8b9babb699a4f0c1e4873ad9b93dc81f3c20d02c7ce2f98fe23a9344bfe9c9753137d7bc862e6fe11bd429bbdec7f762cf865948cb65bca9c621dc0e5c4e1a94483ffc8ce759970262a00252b5d2688c418bc7d"),
    (0x60, 1, "workspace", 0x20, 3, "01010100000000000000000300000001b0b1b2b3b4b5b6b7b8b9babb53bb9a634fe860f5e3993a309b2aafd5a3a061006624d0ab9d8d6873d92a3f6b9a71b7351fe95fbad4099b670d1cdbda264a0af147655681819f36e54cdf6157452f33c4160c18874f1697e7513a3479"),
    (0x60, 1, "index", 0x20, 3, "01010100000000000000000300000001b0b1b2b3b4b5b6b7b8b9babb53bb9a634fe860f5e3993a309b2aafd5a3a061006624d0ab9d8d6873d92a3f6b2a2abd568e3773609660aec1efcb2a00264a0af147655681819f36e54cdf6157452f33c4160c18874f1697e7513a3479"),
    (0x60, 1, "suppression", 0x20, 3, "01010100000000000000000300000001b0b1b2b3b4b5b6b7b8b9babb53bb9a634fe860f5e3993a309b2aafd5a3a061006624d0ab9d8d6873d92a3f6b79a39abfc4c9571bbb0c780c2d83b4fa264a0af147655681819f36e54cdf6157452f33c4160c18874f1697e7513a3479"),
];

/// Index key 40..5f, workspace acme.
const BIX1: [(&str, &str, &str); 2] = [
    ("email", "anna@example.com", "012fcf46ac1e9a5af8ca9670d6c90ba343"),
    ("phone", "+4915112345678", "01e72a6b18b5f27a2686e0c398c6098bcb"),
];

#[test]
fn a_sealed_value_has_the_bytes_of_the_format() {
    for (scope, padding, value, expected) in ECF1 {
        let mut sealed = Vec::new();
        let nonce = &mut Scripted(rising::<12>(0xa0).to_vec());

        field_key(scope, KEY_ID).seal_into(&mut sealed, value, &context(padding), RECORD, nonce).unwrap();

        assert_eq!(hex(&sealed), expected, "{scope:?} {padding:?} {value:?}");
        let (context, nonce) = (context(padding), &mut Scripted(rising::<12>(0xa0).to_vec()));
        let mut column = [SealedColumn::with_capacity(&context, 0)];
        let key = SealingKey::new(secret(0).derive().unwrap().encryption_key, scope, KEY_ID);
        RecordSealer::default().seal(&key, RECORD, &mut column, |_| Some(value), nonce).unwrap();
        let [column] = column;
        assert_eq!(hex(&column.into_bytes()), expected, "in a record: {scope:?} {padding:?} {value:?}");
    }
}

#[test]
fn a_sealed_value_of_the_format_opens() {
    for (scope, padding, value, sealed) in ECF1 {
        let sealed = unhex(sealed);

        let opened = field_key(scope, KEY_ID).open(&sealed, &context(padding), RECORD, Purpose::Diagnosis).unwrap();

        assert_eq!(opened.value(), value);
    }
}

#[test]
fn a_wrapped_key_has_the_bytes_of_the_format() {
    for (wrapping, version, purpose, wrapped, key_id, expected) in EWK1 {
        let binding = Binding { workspace: "acme", purpose, key_id };
        let secret = secret(wrapped);
        let nonce = &mut Scripted(rising::<12>(0xb0).to_vec());

        let bytes = wrap(&wrapping_key(wrapping, version), binding, &secret, &secret.commitment().unwrap(), nonce).unwrap();

        assert_eq!(hex(&bytes), expected, "{purpose}");
    }
}

#[test]
fn a_blind_index_has_the_bytes_of_the_format() {
    for (kind, normalised, expected) in BIX1 {
        let indexer = BlindIndexer::new(&secret(0x40), "acme", kind).unwrap();

        assert_eq!(hex(&indexer.index(normalised.as_bytes())), expected, "{kind}");
    }
}

#[test]
fn a_commitment_has_the_bytes_of_the_format() {
    let commitment = secret(0x60).commitment().unwrap();

    assert_eq!(hex(&commitment), "a80ebd2f44b7506b0af832c1f7eb1a93b2d16a5606c8f1c27961120464d66633");
}
