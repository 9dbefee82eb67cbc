//! ECF1, the bytes of a sealed value (security A.2):
//!
//! ```text
//! 0  version 1 | 1  suite 1 | 2  scope | 3  flags (bit 0 padded) | 4  key id, u64 | 12  nonce | 24  ciphertext | tag, 16 bytes
//! ```
//!
//! Integers are big-endian. This file reads and writes the envelope; it knows no key. Columns of text and JSON carry
//! `ecf1:` and base64url without padding.

use affluent_model::Result;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::context::Padding;
use crate::errors;
use crate::gcm::{NONCE_BYTES, TAG_BYTES};
use crate::value::FieldValue;

/// The authenticated part in front of the nonce.
pub(crate) const HEADER_BYTES: usize = 12;
const VERSION: u8 = 1;
/// AES-256-GCM, 96-bit random nonce, 128-bit tag. 2 is reserved for AES-256-GCM-SIV.
const SUITE: u8 = 1;
const FLAG_PADDED: u8 = 1;
const TEXT_PREFIX: &str = "ecf1:";

/// Which kind of key a value is sealed under; the number is in the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One identity node (source and external id); the key id is the node id.
    Subject,
    /// One run: staging, dead letters, raw payloads without a subject.
    Run,
    /// Connection secrets, sessions.
    System,
}

impl Scope {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Subject => 1,
            Self::Run => 2,
            Self::System => 3,
        }
    }

    /// The purpose that a wrapped key of this scope is bound to.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Run => "run",
            Self::System => "system",
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Subject, Self::Run, Self::System].into_iter().find(|scope| scope.number() == number)
    }
}

/// What a sealed value says about itself: enough to fetch its key. Trustworthy only once the value was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedHeader {
    pub scope: Scope,
    pub key_id: u64,
    pub padding: Padding,
}

/// Reads the header of a sealed value without opening it.
///
/// # Errors
/// `E0606` when the bytes are not a sealed value, for example plaintext where a ciphertext belongs.
pub fn read_header(sealed: &[u8]) -> Result<SealedHeader> {
    Ok(Sealed::parse(sealed)?.header)
}

/// The form for text columns and JSON: `ecf1:` and base64url without padding.
#[must_use]
pub fn to_text(sealed: &[u8]) -> String {
    let mut text = String::with_capacity(TEXT_PREFIX.len() + sealed.len().div_ceil(3) * 4);
    text.push_str(TEXT_PREFIX);
    URL_SAFE_NO_PAD.encode_string(sealed, &mut text);
    text
}

/// The bytes of [`to_text`].
///
/// # Errors
/// `E0606` when the text is anything else, for example a value that was never sealed.
pub fn from_text(text: &str) -> Result<Vec<u8>> {
    let Some(encoded) = text.strip_prefix(TEXT_PREFIX) else {
        return Err(errors::value_unknown("a text without `ecf1:` stands where a sealed value belongs"));
    };
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| errors::value_unknown("a sealed text is not base64url"))
}

/// True where a text column holds a sealed value rather than something in the clear.
#[must_use]
pub fn is_sealed_text(text: &str) -> bool {
    text.starts_with(TEXT_PREFIX)
}

impl SealedHeader {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let [version, suite, scope, flags, key_id @ ..] = &mut bytes;
        *version = VERSION;
        *suite = SUITE;
        *scope = self.scope.number();
        *flags = match self.padding {
            Padding::None => 0,
            Padding::To32Bytes => FLAG_PADDED,
        };
        *key_id = self.key_id.to_be_bytes();
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self> {
        let [version, suite, scope, flags, key_id @ ..] = bytes;
        if *version != VERSION {
            return Err(errors::value_unknown("a value stands where a sealed one belongs, or its format is unknown"));
        }
        if *suite != SUITE {
            return Err(errors::value_unknown(&format!("a sealed value uses the unknown suite `{suite}`")));
        }
        let Some(scope) = Scope::from_number(*scope) else {
            return Err(errors::value_unknown(&format!("a sealed value has the unknown scope `{scope}`")));
        };
        let padding = match *flags {
            0 => Padding::None,
            FLAG_PADDED => Padding::To32Bytes,
            unknown => return Err(errors::value_unknown(&format!("a sealed value has the unknown flags `{unknown}`"))),
        };
        Ok(Self { scope, key_id: u64::from_be_bytes(*key_id), padding })
    }
}

/// Appends the header, the nonce and the plaintext of a value, which is to be encrypted in place, and leaves room for
/// `more_bytes`; gives the length of the plaintext. Reserved at once: a growing vector would leave the plaintext behind in
/// freed memory.
pub(crate) fn begin(
    out: &mut Vec<u8>,
    header: &[u8; HEADER_BYTES],
    nonce: &[u8; NONCE_BYTES],
    value: FieldValue<'_>,
    padding: Padding,
    more_bytes: usize,
) -> usize {
    let text_bytes = value.plaintext_bytes(padding);
    out.reserve(HEADER_BYTES + NONCE_BYTES + text_bytes + more_bytes);
    out.extend_from_slice(header);
    out.extend_from_slice(nonce);
    value.write_plaintext(padding, out);
    text_bytes
}

/// The parts of a sealed value, borrowed.
pub(crate) struct Sealed<'a> {
    pub(crate) header: SealedHeader,
    pub(crate) header_bytes: &'a [u8; HEADER_BYTES],
    pub(crate) nonce: &'a [u8; NONCE_BYTES],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_BYTES],
}

impl<'a> Sealed<'a> {
    /// Checks in the order of security A-16: length, version, suite, scope, flags.
    pub(crate) fn parse(sealed: &'a [u8]) -> Result<Self> {
        let parts = sealed.split_first_chunk::<HEADER_BYTES>().and_then(|(header_bytes, rest)| {
            let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
            let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
            (!ciphertext.is_empty()).then_some((header_bytes, nonce, ciphertext, tag))
        });
        let Some((header_bytes, nonce, ciphertext, tag)) = parts else {
            return Err(errors::value_unknown("a value is too short to be a sealed one"));
        };
        let header = SealedHeader::from_bytes(header_bytes)?;
        Ok(Self { header, header_bytes, nonce, ciphertext, tag })
    }
}
