//! Tokens: what stands for a personal value where a plugin can see it. A token is a keyed hash of the value, the same for
//! the same value on the same connection in every process, so that a plugin can compare and look up by equality and learn
//! nothing else. It is 30 characters from `a-z` and `0-9`, so that JSON, URLs, forms, CSV and a change to lower case leave
//! it as it is. A plugin asks for a form of the value by appending it: `TOKEN.lower.md5`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::form::Form;

/// How every token begins; no word of a language has it.
pub(crate) const PREFIX: &[u8] = b"pii0zq";
/// Characters of a token, its prefix counted.
pub(crate) const TOKEN_BYTES: usize = PREFIX.len() + MARK_CHARACTERS;
/// 120 bits, five in a character, twelve characters for each half.
const MARK_CHARACTERS: usize = 2 * HALF_CHARACTERS;
const HALF_CHARACTERS: usize = 12;
const HALF_BITS: usize = 60;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Forms that may follow each other.
const FORMS_MAX: usize = 4;

/// The key of a connection's tokens: wiped from memory when it is dropped, never printed.
pub struct TokenKey(Zeroizing<[u8; 32]>);

impl TokenKey {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

/// The keyed hash inside a token, in two halves of 60 bits.
pub(crate) type Mark = (u64, u64);

/// Makes the tokens of one connection.
pub(crate) struct Tokenizer(Hmac<Sha256>);

impl Tokenizer {
    pub(crate) fn new(key: &TokenKey) -> Option<Self> {
        <Hmac<Sha256> as KeyInit>::new_from_slice(&*key.0).ok().map(Self)
    }

    pub(crate) fn mark(&self, value: &[u8]) -> Mark {
        let mut mac = self.0.clone();
        mac.update(value);
        let hash = mac.finalize().into_bytes();
        let mut halves = hash.chunks(8).map(|bytes| bytes.iter().fold(0, |half, byte| half << 8 | u64::from(*byte)) >> 4);
        (halves.next().unwrap_or(0), halves.next().unwrap_or(0))
    }
}

/// Appends the token of a mark.
pub(crate) fn write(mark: Mark, out: &mut Vec<u8>) {
    out.extend_from_slice(PREFIX);
    for half in [mark.0, mark.1] {
        let mut letters = [0u8; HALF_CHARACTERS];
        for (letter, place) in letters.iter_mut().zip((0..HALF_BITS).step_by(5).rev()) {
            let five = usize::try_from(half >> place & 31).unwrap_or(0);
            *letter = ALPHABET.get(five).copied().unwrap_or(b'a');
        }
        out.extend_from_slice(&letters);
    }
}

/// The token of a mark as text.
pub(crate) fn text(mark: Mark) -> String {
    let mut out = Vec::with_capacity(TOKEN_BYTES);
    write(mark, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// A token found in a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) mark: Mark,
    /// In the order in which they are applied.
    pub(crate) forms: Vec<Form>,
    /// Bytes it takes, with its forms.
    pub(crate) length: usize,
}

/// Reads the token at the beginning of `text`, which starts with [`PREFIX`]; `None` when what follows is none.
pub(crate) fn read(text: &[u8]) -> Option<Found> {
    let letters = text.get(PREFIX.len()..TOKEN_BYTES)?;
    let (first, second) = letters.split_at(HALF_CHARACTERS);
    let mark = (read_half(first)?, read_half(second)?);
    let (mut forms, mut length) = (Vec::new(), TOKEN_BYTES);
    while let Some((form, bytes)) = text.get(length..).and_then(form_at) {
        forms.push(form);
        length += bytes;
        if forms.len() > FORMS_MAX {
            return None;
        }
    }
    let ends = text.get(length).is_none_or(|next| !next.is_ascii_alphanumeric());
    ends.then_some(Found { mark, forms, length })
}

/// The tokens of a text in their order, without the forms that are asked of them.
pub(crate) fn all_in(text: &[u8]) -> Vec<&[u8]> {
    let places = memchr::memmem::find_iter(text, PREFIX);
    let tokens = places.filter_map(|at| text.get(at..).filter(|found| read(found).is_some())?.get(..TOKEN_BYTES));
    tokens.collect()
}

fn read_half(letters: &[u8]) -> Option<u64> {
    let mut half = 0;
    for letter in letters {
        let five = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        half = half << 5 | u64::from(five);
    }
    Some(half)
}

/// `.md5` with nothing of a word after it.
fn form_at(text: &[u8]) -> Option<(Form, usize)> {
    let word = text.strip_prefix(b".")?;
    let end = word.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(word.len());
    let form = Form::from_word(word.get(..end)?)?;
    Some((form, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer(key: u8) -> Tokenizer {
        Tokenizer::new(&TokenKey::new([key; 32])).unwrap()
    }

    #[test]
    fn a_value_has_one_token_on_a_connection_and_another_on_the_next() {
        let mark = |key, value: &str| tokenizer(key).mark(value.as_bytes());

        assert_eq!(mark(1, "ann@x.test"), mark(1, "ann@x.test"));
        assert_ne!(mark(1, "ann@x.test"), mark(2, "ann@x.test"));
        assert_ne!(mark(1, "ann@x.test"), mark(1, "Ann@x.test"));
    }

    #[test]
    fn a_token_is_30_characters_that_no_escaping_and_no_lower_case_changes() {
        for mark in [(0, 0), (1, 2), ((1 << 60) - 1, (1 << 60) - 1), tokenizer(1).mark(b"ann@x.test")] {
            let token = text(mark);
            assert_eq!(token.len(), 30);
            assert!(token.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{token}");
            assert_eq!(read(token.as_bytes()), Some(Found { mark, forms: Vec::new(), length: 30 }));
        }
    }

    #[test]
    fn forms_are_read_as_far_as_they_are_forms() {
        let token = text((7, 7));
        for (after, forms, length) in [
            (".lower.md5", vec![Form::Lower, Form::Md5], 40),
            (".sha256\"", vec![Form::Sha256], 37),
            (".lower.txt", vec![Form::Lower], 36),
            (".", vec![], 30),
            (".jpg", vec![], 30),
            ("@x.test", vec![], 30),
        ] {
            let found = read(format!("{token}{after}").as_bytes()).unwrap();
            assert_eq!((found.forms, found.length), (forms, length), "{after}");
        }
    }

    #[test]
    fn what_only_begins_like_a_token_is_none() {
        let token = text((1, 2));
        let (cut, letters) = (token.split_at(29).0, token.split_at(6).1);
        let upper = format!("pii0zq{}", letters.to_uppercase());
        for wrong in [cut, "pii0zq", &upper, &format!("{token}a"), &format!("pii0zq8{}", letters.split_at(1).1)] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
