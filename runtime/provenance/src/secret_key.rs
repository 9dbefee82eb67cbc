//! Secret keys in minisign's file format (jedisct1.github.io/minisign, "Secret key format", read 2026-11-27), so that keys
//! made here work there and the other way round. The passphrase goes through scrypt; keys are wiped when they are dropped.

use affluent_model::{Error, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::signature::key_id;

const ED25519: &[u8; 2] = b"Ed";
const SCRYPT: &[u8; 2] = b"Sc";
const NO_PASSPHRASE: &[u8; 2] = &[0, 0];
const BLAKE2B: &[u8; 2] = b"B2";
/// What libsodium calls interactive: 32 MiB, about a tenth of a second.
const OPERATIONS: u64 = 1 << 20;
const MEMORY_BYTES: u64 = 32 << 20;
/// 2^20 blocks of 1 KiB, which minisign's own keys ask for.
const LOG_N_MAX: u8 = 20;
/// Key number, secret key (seed and public key), and a checksum of both.
const SEALED_BYTES: usize = 8 + 64 + 32;
const FILE_BYTES: usize = 2 + 2 + 2 + 32 + 8 + 8 + SEALED_BYTES;

/// A key that was just made, in minisign's file format.
pub struct NewKey {
    /// 16 hex digits.
    pub id: String,
    /// To be kept at mode 0600.
    pub secret: String,
    /// The line to put under `plugins.trust`.
    pub public: String,
}

/// A secret key, opened.
pub(crate) struct SecretKey {
    /// Tells one key from another; random.
    pub(crate) number: [u8; 8],
    pair: Ed25519KeyPair,
}

/// Makes a key; its secret part is encrypted when there is a passphrase.
///
/// # Errors
/// When the system gives no randomness.
pub fn new_key(passphrase: Option<&str>) -> Result<NewKey> {
    let mut random = Zeroizing::new([0u8; 8 + 32 + 32]);
    getrandom::fill(random.as_mut())
        .map_err(|error| Error::external("E0965", format!("the system gives no randomness: {error}")))?;
    let (number, rest) = random.split_at(8);
    let (seed, salt) = rest.split_at(32);
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| Error::bug(error.to_string()))?;
    let public_bytes = pair.public_key().as_ref();
    let checked = Zeroizing::new([number, seed, public_bytes].concat());
    let checksum = Blake2b::<U32>::digest([ED25519.as_slice(), &checked].concat());
    let mut sealed = Zeroizing::new([checked.as_slice(), &checksum].concat());
    let header = match passphrase {
        Some(passphrase) => {
            let header = [salt, &OPERATIONS.to_le_bytes(), &MEMORY_BYTES.to_le_bytes()].concat();
            mask(&mut sealed, passphrase, &header)?;
            header
        }
        None => vec![0; 48],
    };
    let algorithm = if passphrase.is_some() { SCRYPT } else { NO_PASSPHRASE };
    let file = Zeroizing::new([ED25519.as_slice(), algorithm, BLAKE2B, &header, &sealed].concat());
    let public = STANDARD.encode([ED25519.as_slice(), number, public_bytes].concat());
    let id = key_id(&public).ok_or_else(|| Error::bug("a new key has no id"))?;
    let secret = format!("untrusted comment: affluent signing key {id}\n{}\n", STANDARD.encode(file.as_slice()));
    Ok(NewKey { id, secret, public })
}

/// True when a secret key needs a passphrase.
#[must_use]
pub fn is_encrypted(secret: &str) -> bool {
    decode(secret).is_ok_and(|bytes| bytes.get(2..4) != Some(NO_PASSPHRASE))
}

/// The public key of a secret one, one line.
///
/// # Errors
/// `E0965` as [`crate::sign`].
pub fn public_key_of(secret: &str, passphrase: Option<&str>) -> Result<String> {
    let key = SecretKey::open(secret, passphrase)?;
    Ok(STANDARD.encode([ED25519.as_slice(), &key.number, key.pair.public_key().as_ref()].concat()))
}

fn unusable(why: &str) -> Error {
    Error::configuration("E0965", format!("the signing key cannot be used: {why}"))
        .help("give the secret key file that `affluent plugin sign --new-key` or `minisign -G` made, and its passphrase")
}

fn decode(secret: &str) -> Result<Zeroizing<Vec<u8>>> {
    let line = secret.lines().find(|line| !line.starts_with("untrusted comment:")).unwrap_or_default();
    let bytes = Zeroizing::new(STANDARD.decode(line.trim()).map_err(|_| unusable("it is no key of minisign"))?);
    if bytes.len() == FILE_BYTES && bytes.starts_with(ED25519) && bytes.get(4..6) == Some(BLAKE2B) {
        return Ok(bytes);
    }
    Err(unusable("it is no secret key of minisign"))
}

impl SecretKey {
    /// # Errors
    /// `E0965` no key, no passphrase where one is needed, or a wrong one.
    pub(crate) fn open(secret: &str, passphrase: Option<&str>) -> Result<Self> {
        let bytes = decode(secret)?;
        let (front, sealed) = bytes.split_at(FILE_BYTES - SEALED_BYTES);
        let (names, header) = front.split_at(6);
        let mut sealed = Zeroizing::new(sealed.to_vec());
        match (names.get(2..4), passphrase) {
            (Some(algorithm), _) if algorithm == NO_PASSPHRASE => {}
            (Some(algorithm), Some(passphrase)) if algorithm == SCRYPT => mask(&mut sealed, passphrase, header)?,
            (Some(algorithm), None) if algorithm == SCRYPT => return Err(unusable("it needs its passphrase")),
            _ => return Err(unusable("its passphrase is of an unknown kind")),
        }
        let (checked, checksum) = sealed.split_at(SEALED_BYTES - 32);
        let computed = Blake2b::<U32>::digest(Zeroizing::new([ED25519.as_slice(), checked].concat()));
        if computed.as_slice() != checksum {
            return Err(unusable("the passphrase is wrong, or the file is damaged"));
        }
        let (number, pair) = checked.split_at(8);
        let (seed, public) = pair.split_at(32);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| unusable("its halves do not fit"))?;
        let number = number.try_into().map_err(|_| unusable("it has no number"))?;
        Ok(Self { number, pair })
    }

    /// # Errors
    /// A bug: Ed25519 signs everything with 64 bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<[u8; 64]> {
        self.pair.sign(bytes).as_ref().try_into().map_err(|_| Error::bug("a signature has not 64 bytes"))
    }
}

/// Encrypts or decrypts: what scrypt makes of the passphrase is laid over it. `header` = salt, operations, memory.
fn mask(sealed: &mut [u8], passphrase: &str, header: &[u8]) -> Result<()> {
    let number = |from: usize| header.get(from..from + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let (operations, memory) = number(32).zip(number(40)).ok_or_else(|| unusable("it is cut"))?;
    let (log_n, parallel) = costs(operations, memory).ok_or_else(|| unusable("its passphrase costs too much memory"))?;
    let parameters = scrypt::Params::new(log_n, 8, parallel).map_err(|_| unusable("its passphrase has impossible costs"))?;
    let mut stream = Zeroizing::new([0u8; SEALED_BYTES]);
    let salt = header.get(..32).unwrap_or_default();
    scrypt::scrypt(passphrase.as_bytes(), salt, &parameters, stream.as_mut()).map_err(|_| unusable("scrypt refuses it"))?;
    sealed.iter_mut().zip(stream.iter()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(())
}

/// log2 of N, and p, as libsodium takes them from its two limits; r is always 8.
fn costs(operations: u64, memory_bytes: u64) -> Option<(u8, u32)> {
    let operations = operations.max(32_768);
    let is_by_operations = operations < memory_bytes / 32;
    let n_max = if is_by_operations { operations / 32 } else { memory_bytes / 1024 };
    let log_n = (1..63).find(|log_n| 1u64 << log_n > n_max / 2)?;
    let parallel = if is_by_operations { 1 } else { (operations / 4 / (1u64 << log_n)).min(0x3fff_ffff) / 8 };
    (log_n <= LOG_N_MAX).then_some((log_n, u32::try_from(parallel).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_libsodium() {
        for (operations, memory_bytes, expected) in [
            (OPERATIONS, MEMORY_BYTES, Some((15, 1))),
            (33_554_432, 1_073_741_824, Some((20, 1))),
            (524_288, 16_777_216, Some((14, 1))),
            (u64::MAX, u64::MAX, None),
        ] {
            assert_eq!(costs(operations, memory_bytes), expected, "{operations} {memory_bytes}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let key = new_key(None).unwrap();
        let damaged = |at: usize| {
            let mut bytes = decode(&key.secret).unwrap().to_vec();
            bytes[at] ^= 1;
            format!("untrusted comment: x\n{}\n", STANDARD.encode(bytes))
        };
        for secret in [String::new(), "RW".to_owned(), key.public.clone(), damaged(0), damaged(2), damaged(60), damaged(157)] {
            assert_eq!(public_key_of(&secret, None).unwrap_err().code, "E0965", "{secret}");
        }
    }

    #[test]
    fn a_key_is_opened_again() {
        let key = new_key(None).unwrap();

        assert_eq!(public_key_of(&key.secret, None).unwrap(), key.public);
    }
}
