//! Rules of the vault, as tests. Here: what they share. Formats are held to vectors made by another implementation
//! (`golden`) and to public ones (`standards`).

mod golden;
mod records;
mod sealing;
mod standards;
mod vaults;

use std::sync::Arc;

use affluent_model::Result;
use sha2::{Digest, Sha256};

use crate::audit::AuditCounters;
use crate::derive::Secret;
use crate::ewk1::WrappingKey;
use crate::{FieldContext, FieldKey, KeyRing, Padding, Random, Scope, Vault, errors};

/// Gives the same bytes in the same order each time.
pub(crate) struct Counting(pub(crate) u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        for chunk in bytes.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&Sha256::digest(self.0.to_be_bytes())[..chunk.len()]);
        }
        Ok(())
    }
}

/// Gives the bytes it was made with, once, and then fails.
pub(crate) struct Scripted(pub(crate) Vec<u8>);

impl Random for Scripted {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        if self.0.len() < bytes.len() {
            return Err(errors::randomness("the script is over"));
        }
        bytes.copy_from_slice(&self.0.drain(..bytes.len()).collect::<Vec<_>>());
        Ok(())
    }
}

/// `first, first + 1, …`
pub(crate) fn rising<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first + at as u8)
}

pub(crate) fn secret(first: u8) -> Secret {
    let mut secret = Secret::blank();
    *secret.bytes_mut() = rising(first);
    secret
}

pub(crate) fn wrapping_key(first: u8, version: u32) -> WrappingKey {
    WrappingKey::new(version, &secret(first)).unwrap()
}

pub(crate) fn field_key(scope: Scope, key_id: u64) -> FieldKey {
    FieldKey::new(&secret(0).derive().unwrap().encryption_key, scope, key_id, Arc::new(AuditCounters::default()))
}

pub(crate) fn context(padding: Padding) -> FieldContext {
    FieldContext::new("acme", "shopify.customers", "email", padding).unwrap()
}

pub(crate) fn ring(ids: &[(u32, u8)]) -> KeyRing {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = |name: &str| {
        ids.iter().find(|(id, _)| name == format!("AFFLUENT_KEK_{id}")).map(|(_, first)| STANDARD.encode(rising::<32>(*first)))
    };
    KeyRing::read_environment(&ids.iter().map(|(id, _)| *id).collect::<Vec<_>>(), &key).unwrap()
}

pub(crate) fn vault() -> Vault {
    Vault::create(&ring(&[(1, 0x60)]), "acme", 0, &mut Counting(0)).unwrap().0
}

pub(crate) fn code<T>(result: Result<T>) -> &'static str {
    result.err().map_or("opened", |error| error.code)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

#[test]
fn every_error_code_has_its_page() {
    let codes = include_str!("errors.rs").split('"').filter(|word| word.len() == 5 && word.starts_with("E06"));
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/errors");

    for code in codes {
        let page = std::fs::read_to_string(format!("{pages}/{code}.md")).unwrap_or_default();
        assert!(page.starts_with(&format!("# {code}: ")), "no page for {code}");
    }
}
