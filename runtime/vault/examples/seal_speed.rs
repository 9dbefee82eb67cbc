//! Measures sealing against bare AES-GCM on the same field size, in one run, so that the ratios hold on any machine:
//! `cargo run --release -p affluent-vault --example seal_speed`.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::hint::black_box;
use std::time::Instant;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use affluent_model::{Error, Result};
use affluent_vault::{FieldContext, FieldValue, KeyRing, OsRandom, Padding, Purpose, RecordSealer, Scope, SealedColumn, Vault};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const FIELD: &str = "anna.mustermann@example.com, 32B";
const RECORD: &str = "gid://shopify/Customer/1234567890";
const RUNS: usize = 200_000;
const FIELDS_PER_SUBJECT: usize = 3;
/// As many as records come in a page.
const KEYS_TOGETHER: u64 = 2_000;

fn main() -> Result<()> {
    let key = |_: &str| Some(STANDARD.encode([7; 32]));
    let random = &mut OsRandom::new();
    let (vault, _) = Vault::create(&KeyRing::read_environment(&[1], &key)?, "acme", 0, random)?;
    let context = vault.field_context("shopify.customers", "email", Padding::None)?;
    let bare = bare_aes_gcm()?;
    println!("{:<44}{:>12}{:>14}{:>10}", "what", "ns each", "per second", "× bare");
    report("bare AES-GCM, fixed nonce, no context", bare, bare);
    report("one field sealed", seal_fields(&vault, &context, random)?, bare);
    report("one field opened", open_fields(&vault, &context, random)?, bare);
    report("new subject key, wrapped, a record of 3 fields", new_subjects(&vault, &context, random)?, bare);
    report("stored subject key unwrapped, 3 fields opened", known_subjects(&vault, &context, random)?, bare);
    report("blind index of a kept kind", blind_indexes(&vault)?, bare);
    Ok(())
}

fn report(what: &str, nanoseconds: f64, bare: f64) {
    println!("{what:<46}{nanoseconds:>10.0}{:>14.0}{:>10.2}", 1e9 / nanoseconds, nanoseconds / bare);
}

/// Nanoseconds of one round, the fastest of five series: other work on the machine only ever adds.
fn measure(mut round: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut fastest = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..RUNS / 5 {
            round()?;
        }
        fastest = fastest.min(start.elapsed().as_nanos() as f64 / (RUNS / 5) as f64);
    }
    Ok(fastest)
}

fn bare_aes_gcm() -> Result<f64> {
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let mut text = FIELD.as_bytes().to_vec();
    measure(|| {
        let tag = cipher.encrypt_inout_detached(&[0; 12].into(), &[], text.as_mut_slice().into());
        black_box(tag).map_err(|_| Error::bug("32 bytes can be encrypted")).map(drop)
    })
}

fn seal_fields(vault: &Vault, context: &FieldContext, random: &mut OsRandom) -> Result<f64> {
    let (key, _) = vault.new_key(Scope::Subject, 1, random)?;
    let mut column = Vec::new();
    measure(|| {
        column.clear();
        key.seal_into(&mut column, FieldValue::Text(black_box(FIELD)), context, RECORD, random)
    })
}

fn open_fields(vault: &Vault, context: &FieldContext, random: &mut OsRandom) -> Result<f64> {
    let (key, _) = vault.new_key(Scope::Subject, 1, random)?;
    let mut sealed = Vec::new();
    key.seal_into(&mut sealed, FieldValue::Text(FIELD), context, RECORD, random)?;
    measure(|| key.open(black_box(&sealed), context, RECORD, Purpose::Diagnosis).map(|value| drop(black_box(value))))
}

fn new_subjects(vault: &Vault, context: &FieldContext, random: &mut OsRandom) -> Result<f64> {
    let mut columns = [(); FIELDS_PER_SUBJECT].map(|()| SealedColumn::with_capacity(context, 128 * RUNS));
    let mut sealer = RecordSealer::default();
    let (mut made, mut node_id) = (Vec::new().into_iter(), 0);
    measure(|| {
        let (key, wrapped) = match made.next() {
            Some(next) => next,
            None => {
                made = vault.new_subject_keys(node_id..node_id + KEYS_TOGETHER, random)?.into_iter();
                node_id += KEYS_TOGETHER;
                made.next().ok_or_else(|| Error::bug("keys were just made"))?
            }
        };
        black_box(wrapped);
        sealer.seal(&key, RECORD, &mut columns, |_| Some(FieldValue::Text(black_box(FIELD))), random)
    })
}

fn known_subjects(vault: &Vault, context: &FieldContext, random: &mut OsRandom) -> Result<f64> {
    let (key, wrapped) = vault.new_key(Scope::Subject, 1, random)?;
    let mut sealed = Vec::new();
    key.seal_into(&mut sealed, FieldValue::Text(FIELD), context, RECORD, random)?;
    measure(|| {
        let key = vault.unwrap_subject_key(1, black_box(&wrapped))?;
        for _ in 0..FIELDS_PER_SUBJECT {
            drop(black_box(key.open(&sealed, context, RECORD, Purpose::Diagnosis)?));
        }
        Ok(())
    })
}

fn blind_indexes(vault: &Vault) -> Result<f64> {
    let indexer = vault.blind_indexer("email")?;
    measure(|| {
        black_box(indexer.index(black_box(FIELD.as_bytes())));
        Ok(())
    })
}
