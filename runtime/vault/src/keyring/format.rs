//! The text of the key file and of a variable. Each line ends with a check word, so that a damaged or half-written line is
//! told from a wrong key. Messages name the line, never its content.

use affluent_model::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ProviderKey, VARIABLE_PREFIX};
use crate::derive::{KEY_BYTES, Secret};
use crate::errors;

/// Ten digits, 44 characters of base64, 8 of the check word, two spaces and the line's end.
pub(super) const LINE_BYTES_MAX: usize = 10 + 1 + 44 + 1 + 8 + 1;
const CHECK_LABEL: &[u8] = b"affluent/keyring/v1";
const CHECK_BYTES: usize = 4;
/// What 44 characters of base64 may decode to before the padding is seen.
const DECODED_BYTES_MAX: usize = 33;

/// `id base64(key) check`, with the line's end.
pub(super) fn line(key: &ProviderKey) -> Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::with_capacity(LINE_BYTES_MAX));
    line.push_str(&key.id.to_string());
    line.push(' ');
    STANDARD.encode_string(key.secret.bytes(), &mut line);
    line.push(' ');
    line.push_str(&check_word(key));
    line.push('\n');
    Ok(line)
}

/// Reads every line; ids may still repeat.
pub(super) fn parse(content: &[u8]) -> Result<Vec<ProviderKey>> {
    let Some((b'\n', lines)) = content.split_last() else {
        let number = content.iter().filter(|&&byte| byte == b'\n').count() + 1;
        return Err(errors::key_format(&format!("line {number} of the key file has no end, the file is half written")));
    };
    let keys = lines.split(|&byte| byte == b'\n').enumerate();
    keys.map(|(at, line)| {
        parse_line(line).map_err(|reason| errors::key_format(&format!("line {} of the key file {reason}", at + 1)))
    })
    .collect()
}

/// Reads the value of one variable: base64 of 32 bytes, space around it allowed.
pub(super) fn parse_variable(id: u32, variable: &str, text: &str) -> Result<ProviderKey> {
    if id == 0 {
        return Err(errors::key_format(&format!("`{VARIABLE_PREFIX}0` is no key, ids start at 1")));
    }
    let secret = parse_key(text.trim().as_bytes());
    let secret = secret.map_err(|reason| errors::key_format(&format!("`{variable}` {reason}")))?;
    Ok(ProviderKey { id, secret })
}

fn parse_line(line: &[u8]) -> Result<ProviderKey, &'static str> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(id), Some(key), Some(check), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err("is not `id key check`");
    };
    let key = ProviderKey { id: parse_id(id).ok_or("has no id from 1 to 4294967295")?, secret: parse_key(key)? };
    if check_word(&key).as_bytes() != check {
        return Err("does not fit its check word");
    }
    Ok(key)
}

/// Decimal, from 1, without a sign or leading zeroes: one id has one spelling.
fn parse_id(id: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(id).ok()?;
    let number: u32 = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}

fn parse_key(base64: &[u8]) -> Result<Secret, &'static str> {
    let mut decoded = Zeroizing::new([0; DECODED_BYTES_MAX]);
    let length = STANDARD.decode_slice(base64, &mut *decoded).map_err(|_| "is not base64 of 32 bytes")?;
    let (KEY_BYTES, Some(key)) = (length, decoded.first_chunk::<KEY_BYTES>()) else {
        return Err("is not base64 of 32 bytes");
    };
    if key.iter().all(|&byte| byte == 0) {
        return Err("is a key of zeroes");
    }
    let mut secret = Secret::blank();
    secret.bytes_mut().copy_from_slice(key);
    Ok(secret)
}

/// The first 8 hexadecimal digits of SHA-256(label, id in decimal, key): finds damage, tells nothing useful about the key.
fn check_word(key: &ProviderKey) -> String {
    let hash =
        Sha256::new().chain_update(CHECK_LABEL).chain_update(key.id.to_string()).chain_update(key.secret.bytes()).finalize();
    hash.iter().take(CHECK_BYTES).map(|byte| format!("{byte:02x}")).collect()
}
