//! Rules of a vault's keys: the right provider key and untouched rows, or nothing opens; and what rotation may not break.

use affluent_model::error::Domain;

use super::{Counting, Scripted, code, ring, secret, vault, wrapping_key};
use crate::ewk1::{Binding, Wrapped, wrap};
use crate::{FieldValue, Padding, Purpose, PurposeCount, Scope, StoredKey, Vault};

const RECORD: &str = "42";

fn stored() -> Vec<StoredKey> {
    Vault::create(&ring(&[(1, 0x60)]), "acme", 0, &mut Counting(0)).unwrap().1
}

fn open_code(rows: &[StoredKey]) -> &'static str {
    code(Vault::open(&ring(&[(1, 0x60)]), "acme", rows))
}

/// Seals one value under a new subject key and gives its bytes and the wrapped key.
fn sealed_in(vault: &Vault) -> (Vec<u8>, [u8; 108]) {
    let (key, wrapped) = vault.new_key(Scope::Subject, 7, &mut Counting(1_000)).unwrap();
    let context = vault.field_context("customers", "email", Padding::None).unwrap();
    let mut sealed = Vec::new();
    key.seal_into(&mut sealed, FieldValue::Text("anna@example.com"), &context, RECORD, &mut Counting(2_000)).unwrap();
    (sealed, wrapped)
}

fn opens_in(vault: &Vault, sealed: &[u8], wrapped: &[u8]) -> bool {
    let context = vault.field_context("customers", "email", Padding::None).unwrap();
    let key = vault.unwrap_subject_key(7, wrapped).unwrap();
    key.open(sealed, &context, RECORD, Purpose::ProfileShow).unwrap().text() == Some("anna@example.com")
}

#[test]
fn a_vault_opened_again_reads_what_it_sealed() {
    let first = vault();
    let (sealed, wrapped) = sealed_in(&first);

    let second = Vault::open(&ring(&[(1, 0x60)]), "acme", &stored()).unwrap();

    assert!(opens_in(&second, &sealed, &wrapped));
    let index = |vault: &Vault| vault.blind_indexer("email").unwrap().index(b"anna@example.com");
    assert_eq!(index(&first), index(&second));
}

#[test]
fn a_vault_and_its_keys_are_shared_between_threads() {
    fn assert_shared<T: Send + Sync>() {}

    assert_shared::<Vault>();
    assert_shared::<crate::FieldKey>();
    assert_shared::<crate::BlindIndexer>();
}

#[test]
fn a_new_workspace_has_one_row_per_root_key() {
    let rows: Vec<_> = stored().into_iter().map(|row| (row.purpose, row.key_id, row.version, row.wrapped.len())).collect();

    let expected = [("provider", 32), ("workspace", 108), ("index", 108), ("suppression", 108)];
    assert_eq!(rows, expected.map(|(purpose, bytes)| (purpose.to_owned(), 1, 1, bytes)));
}

#[test]
fn keys_are_never_made_for_a_store_that_holds_rows() {
    assert_eq!(code(Vault::create(&ring(&[(1, 0x60)]), "acme", 1, &mut Counting(0))), "E0613");
    assert_eq!(open_code(&[]), "E0600");
}

#[test]
fn a_wrong_provider_key_is_told_from_changed_rows() {
    let error = Vault::open(&ring(&[(1, 0x61)]), "acme", &stored()).err().unwrap();

    assert_eq!((error.code, error.domain), ("E0603", Domain::Keys));
    assert!(error.message.contains("E_KEY_WRONG"));
}

#[test]
fn every_missing_provider_key_is_listed() {
    let mut rows = stored();
    rows.extend(vault().new_index_key(&ring(&[(5, 0x80)]), &mut Counting(9)).unwrap());

    let error = Vault::open(&ring(&[(2, 0x60)]), "acme", &rows).err().unwrap();

    assert_eq!(error.code, "E0600");
    assert!(error.message.contains("`AFFLUENT_KEK_1` (3 key rows), `AFFLUENT_KEK_5` (1 key rows)"), "{}", error.message);
}

#[test]
fn a_missing_root_key_is_named() {
    for purpose in ["workspace", "index", "suppression"] {
        let rows: Vec<_> = stored().into_iter().filter(|row| row.purpose != purpose).collect();

        let error = Vault::open(&ring(&[(1, 0x60)]), "acme", &rows).err().unwrap();

        assert_eq!(error.code, "E0600");
        assert!(error.message.contains(&format!("`{purpose}`")));
    }
}

#[test]
fn any_flipped_bit_of_a_key_row_stops_the_start() {
    let rows = stored();
    for at in 0..rows.len() {
        for bit in 0..rows[at].wrapped.len() * 8 {
            let mut changed = rows.clone();
            changed[at].wrapped[bit / 8] ^= 1 << (bit % 8);

            let expected = match (at, bit / 8) {
                (0, _) => "E0603",
                (_, 0..4) => "E0606",
                (_, 12..16) => "E0600",
                _ => "E0604",
            };
            assert_eq!(open_code(&changed), expected, "row {at} bit {bit}");
        }
    }
}

#[test]
fn rows_cannot_be_swapped_renamed_or_doubled() {
    let rows = stored();
    let change = |change: fn(&mut Vec<StoredKey>)| {
        let mut rows = rows.clone();
        change(&mut rows);
        open_code(&rows)
    };

    assert_eq!(change(|rows| rows[2].wrapped = rows[1].wrapped.clone()), "E0604");
    assert_eq!(change(|rows| rows[1].version = 2), "E0604");
    assert_eq!(change(|rows| rows[1].key_id = 2), "E0604");
    assert_eq!(change(|rows| rows.push(rows[1].clone())), "E0602");
    assert_eq!(change(|rows| rows[3].wrapped.truncate(107)), "E0606");
    assert_eq!(change(|rows| drop(rows.remove(0))), "E0605");
    assert_eq!(code(Vault::open(&ring(&[(1, 0x60)]), "other", &rows)), "E0604");
}

#[test]
fn the_suppression_key_has_one_version() {
    let mut rows = stored();
    let second = secret(9);
    let binding = Binding { workspace: "acme", purpose: "suppression", key_id: 2 };
    let wrapped = wrap(&wrapping_key(0x60, 1), binding, &second, &second.commitment().unwrap(), &mut Counting(5)).unwrap();
    rows.push(StoredKey { purpose: "suppression".to_owned(), key_id: 2, version: 2, wrapped: wrapped.to_vec() });

    assert_eq!(open_code(&rows), "E0602");
}

#[test]
fn rows_of_other_keys_in_the_same_table_are_left_alone() {
    let mut rows = stored();
    rows.push(StoredKey { purpose: "system".to_owned(), key_id: 1, version: 1, wrapped: vec![1, 2, 3] });

    assert_eq!(open_code(&rows), "opened");
}

#[test]
fn a_wrapped_key_opens_only_as_what_it_was_made() {
    let vault = vault();
    let (_, wrapped) = vault.new_key(Scope::Subject, 7, &mut Counting(1)).unwrap();
    let other = Vault::create(&ring(&[(1, 0x60)]), "other", 0, &mut Counting(0)).unwrap().0;

    assert_eq!(code(vault.unwrap_key(Scope::Subject, 7, &wrapped)), "opened");
    assert_eq!(code(vault.unwrap_key(Scope::Subject, 8, &wrapped)), "E0604");
    assert_eq!(code(vault.unwrap_key(Scope::Run, 7, &wrapped)), "E0604");
    assert_eq!(code(vault.unwrap_key(Scope::System, 7, &wrapped)), "E0604");
    assert_eq!(code(other.unwrap_key(Scope::Subject, 7, &wrapped)), "E0604");
}

#[test]
fn any_flipped_bit_of_a_wrapped_subject_key_is_refused() {
    let vault = vault();
    let (_, wrapped) = vault.new_key(Scope::Subject, 7, &mut Counting(1)).unwrap();

    for bit in 0..wrapped.len() * 8 {
        let mut changed = wrapped;
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(code(vault.unwrap_subject_key(7, &changed)), "opened", "bit {bit}");
    }
    assert!((0..108).all(|length| code(vault.unwrap_subject_key(7, &wrapped[..length])) == "E0606"));
}

#[test]
fn a_key_that_is_not_the_one_committed_to_is_refused() {
    let binding = Binding { workspace: "acme", purpose: "subject", key_id: 7 };
    let other_commitment = secret(1).commitment().unwrap();
    let wrapped = wrap(&wrapping_key(0x20, 3), binding, &secret(0), &other_commitment, &mut Counting(1)).unwrap();

    let unwrapped = Wrapped::parse(&wrapped).unwrap().unwrap_with(&wrapping_key(0x20, 3), binding);

    assert_eq!(code(unwrapped), "E0605");
}

#[test]
fn keys_of_every_scope_seal_and_open() {
    let vault = vault();
    let context = vault.field_context("raw", "payload", Padding::None).unwrap();
    for scope in [Scope::Subject, Scope::Run, Scope::System] {
        let (key, wrapped) = vault.new_key(scope, 3, &mut Counting(1)).unwrap();
        let mut sealed = Vec::new();
        key.seal_into(&mut sealed, FieldValue::I64(5), &context, RECORD, &mut Counting(2)).unwrap();

        let again = vault.unwrap_key(scope, 3, &wrapped).unwrap();

        assert_eq!((again.scope(), again.key_id()), (scope, 3));
        assert_eq!(again.open(&sealed, &context, RECORD, Purpose::DeadLetterRetry).unwrap().value(), FieldValue::I64(5));
    }
}

#[test]
fn a_new_provider_key_takes_over_without_touching_a_field() {
    let (sealed, wrapped) = sealed_in(&vault());
    let both = ring(&[(2, 0x80), (1, 0x60)]);

    let rows = Vault::open(&both, "acme", &stored()).unwrap().rewrap_roots(&both, &mut Counting(50)).unwrap();

    let without_old = Vault::open(&ring(&[(2, 0x80)]), "acme", &rows).unwrap();
    assert!(opens_in(&without_old, &sealed, &wrapped));
}

#[test]
fn a_new_workspace_key_wraps_what_is_new_and_opens_what_is_old() {
    let ring = ring(&[(1, 0x60)]);
    let (sealed, old) = sealed_in(&vault());
    let mut rows = stored();
    rows.extend(
        vault().new_workspace_key(&ring, &mut Counting(70)).unwrap().into_iter().filter(|row| row.purpose == "workspace"),
    );

    let rotated = Vault::open(&ring, "acme", &rows).unwrap();
    let new = rotated.rewrap_key(Scope::Subject, 7, &old, &mut Counting(80)).unwrap().unwrap();

    assert_eq!(rotated.workspace_key_version(), 2);
    assert!(opens_in(&rotated, &sealed, &old) && opens_in(&rotated, &sealed, &new));
    assert_eq!(rotated.rewrap_key(Scope::Subject, 7, &new, &mut Counting(90)).unwrap(), None);
    rows.retain(|row| (row.purpose.as_str(), row.version) != ("workspace", 1));
    let without_old = Vault::open(&ring, "acme", &rows).unwrap();
    assert!(opens_in(&without_old, &sealed, &new));
    assert_eq!(code(without_old.unwrap_subject_key(7, &old)), "E0600");
}

#[test]
fn a_new_index_key_leaves_old_indexes_and_the_suppression_list_recognisable() {
    let ring = ring(&[(1, 0x60)]);
    let mut rows = stored();
    rows.extend(vault().new_index_key(&ring, &mut Counting(70)).unwrap().into_iter().filter(|row| row.purpose == "index"));
    let index = |indexer: &crate::BlindIndexer| indexer.index(b"anna@example.com");

    let rotated = Vault::open(&ring, "acme", &rows).unwrap();

    let all = rotated.blind_indexers("email").unwrap();
    assert_eq!(all.iter().map(|(version, _)| *version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(index(&all[1].1), index(&vault().blind_indexer("email").unwrap()));
    assert_eq!(index(&all[0].1), index(&rotated.blind_indexer("email").unwrap()));
    assert_ne!(index(&all[0].1), index(&all[1].1));
    assert_eq!(index(&rotated.suppression_indexer("email").unwrap()), index(&vault().suppression_indexer("email").unwrap()));
}

#[test]
fn a_blind_index_differs_by_workspace_kind_value_and_list() {
    let vault = vault();
    let keys = stored();
    let other = Vault::create(&ring(&[(1, 0x60)]), "other", 0, &mut Counting(0)).unwrap().0;
    let index = vault.blind_indexer("email").unwrap().index(b"anna");

    assert_eq!(keys.len(), 4);
    assert_eq!(index[0], 1);
    assert_eq!(index, vault.blind_indexer("email").unwrap().index(b"anna"));
    assert_ne!(index, vault.blind_indexer("email").unwrap().index(b"bert"));
    assert_ne!(index, vault.blind_indexer("phone").unwrap().index(b"anna"));
    assert_ne!(index, other.blind_indexer("email").unwrap().index(b"anna"));
    assert_ne!(index, vault.suppression_indexer("email").unwrap().index(b"anna"));
    assert_eq!(code(vault.blind_indexer("")), "E0612");
}

#[test]
fn a_workspace_key_refuses_to_wrap_more_than_its_limit() {
    let vault = vault();
    let new_key = || code(vault.new_key(Scope::Subject, 1, &mut Counting(0)));

    vault.count_earlier_wraps((1 << 32) - 1);
    assert!(vault.needs_new_workspace_key());
    assert_eq!((new_key(), new_key(), new_key()), ("opened", "E0609", "E0609"));
    assert_eq!((vault.take_new_wraps(), vault.take_new_wraps()), (1, 0));
}

#[test]
fn every_opening_is_counted_under_its_purpose() {
    let vault = vault();
    let (mut sealed, wrapped) = sealed_in(&vault);
    let context = vault.field_context("customers", "email", Padding::None).unwrap();
    assert!(opens_in(&vault, &sealed, &wrapped) && opens_in(&vault, &sealed, &wrapped));
    sealed[30] ^= 1;

    let key = vault.unwrap_subject_key(7, &wrapped).unwrap();
    assert_eq!(code(key.open(&sealed, &context, RECORD, Purpose::Activation)), "E0604");

    let counted = |purpose, opened, refused| PurposeCount { purpose, opened, refused };
    let expected = [counted(Purpose::Activation, 0, 1), counted(Purpose::ProfileShow, 2, 0)];
    assert_eq!(vault.audit_counts(), expected);
    assert_eq!(vault.take_audit_counts(), expected);
    assert_eq!(vault.audit_counts(), []);
}

#[test]
fn purposes_have_words_of_their_own() {
    let words: std::collections::HashSet<_> = Purpose::ALL.into_iter().map(Purpose::as_str).collect();

    assert_eq!(words.len(), Purpose::ALL.len());
}

#[test]
fn without_randomness_no_key_is_made() {
    let no_random = || Scripted(vec![1; 40]);

    assert_eq!(code(Vault::create(&ring(&[(1, 0x60)]), "acme", 0, &mut no_random())), "E0610");
    assert_eq!(code(vault().new_key(Scope::Subject, 1, &mut no_random())), "E0610");
}
