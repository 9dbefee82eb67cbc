use affluent_ledger::*;
use affluent_model::credential::CredentialId;

use crate::harness::Store;

fn id() -> CredentialId {
    CredentialId { connection: "crm".to_owned(), slot: "api".to_owned() }
}

/// A claim at a second that lasts ten.
fn claim(store: &Store, holder: &str, at_s: i64, replaces: Option<&str>) -> CredentialClaimed {
    let (now_us, ends_at_us) = (at_s * 1_000_000, (at_s + 10) * 1_000_000);
    store.claim_credential(&CredentialClaim { id: &id(), holder, replaces, now_us, ends_at_us }).unwrap()
}

fn held_by(holder: &str) -> CredentialClaimed {
    CredentialClaimed::HeldBy(holder.to_owned())
}

fn granted(version: u64, sealed: &[u8]) -> CredentialClaimed {
    CredentialClaimed::Granted(Some(CredentialRow { version, sealed: sealed.to_vec() }))
}

#[test]
fn one_at_a_time_renews_and_the_next_finds_what_it_kept() {
    let mut store = Store::new();

    assert_eq!(claim(&store, "a", 0, None), CredentialClaimed::Granted(None));
    assert_eq!(claim(&store, "b", 1, None), held_by("a"));
    assert_eq!(claim(&store, "a", 1, None), held_by("a"));
    assert!(store.commit_credential(&id(), "a", 0, b"one").unwrap());
    store.reopen();
    assert_eq!(claim(&store, "b", 2, None), granted(1, b"one"));
    store.release_credential(&id(), "b").unwrap();
    assert_eq!(claim(&store, "a", 3, None), granted(1, b"one"));
}

#[test]
fn a_claim_ends_with_its_time_or_with_its_holder() {
    let store = Store::new();
    claim(&store, "a", 0, None);

    assert_eq!(claim(&store, "b", 9, None), held_by("a"));
    assert_eq!(claim(&store, "b", 9, Some("c")), held_by("a"));
    assert_eq!(claim(&store, "b", 9, Some("a")), CredentialClaimed::Granted(None));
    assert_eq!(claim(&store, "c", 19, None), CredentialClaimed::Granted(None));
}

#[test]
fn who_lost_the_claim_changes_nothing() {
    let store = Store::new();
    claim(&store, "late", 0, None);
    claim(&store, "next", 20, None);

    assert!(!store.commit_credential(&id(), "late", 0, b"late").unwrap());
    store.release_credential(&id(), "late").unwrap();
    assert!(store.commit_credential(&id(), "next", 0, b"next").unwrap());
    claim(&store, "late", 40, None);
    assert!(!store.commit_credential(&id(), "late", 0, b"late").unwrap());
    assert!(store.commit_credential(&id(), "late", 1, b"again").unwrap());

    assert_eq!(claim(&store, "next", 60, None), granted(2, b"again"));
}

#[test]
fn the_first_system_key_stays() {
    let store = Store::new();
    let row = |wrapped: &[u8]| StoredKeyRow { purpose: "system".to_owned(), key_id: 1, version: 1, wrapped: wrapped.to_vec() };

    assert_eq!(store.keep_system_key(&row(b"first")).unwrap(), row(b"first"));
    assert_eq!(store.keep_system_key(&row(b"second")).unwrap(), row(b"first"));
}
