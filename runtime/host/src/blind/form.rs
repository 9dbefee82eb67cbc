//! Forms of a personal value: those a plugin asks for behind a token, and those a destination wants its fields in.

use affluent_model::manifest::ValueForm;
use affluent_model::normalize;
use md5::Md5;
use sha2::{Digest, Sha256};

/// What is made of a value before it is put into a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Trim,
    Lower,
    Upper,
    E164,
    /// 32 hexadecimal digits.
    Md5,
    /// 64 hexadecimal digits.
    Sha256,
    /// Escaped as the inside of a JSON string, for JSON that stands inside a text or a URL.
    Json,
}

impl Form {
    const ALL: [(&'static str, Self); 7] = [
        ("trim", Self::Trim),
        ("lower", Self::Lower),
        ("upper", Self::Upper),
        ("e164", Self::E164),
        ("md5", Self::Md5),
        ("sha256", Self::Sha256),
        ("json", Self::Json),
    ];

    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| known.as_bytes() == word).map(|(_, form)| form)
    }

    pub(crate) fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, form)| *form == self).map_or("", |(word, _)| word)
    }

    /// `None` when the value has no such form.
    pub(crate) fn apply(self, value: &str) -> Option<String> {
        Some(match self {
            Self::Trim => value.trim().to_owned(),
            Self::Lower => value.to_lowercase(),
            Self::Upper => value.to_uppercase(),
            Self::E164 => normalize::e164(value, "")?,
            Self::Md5 => hex(&Md5::digest(value.as_bytes())),
            Self::Sha256 => hex(&Sha256::digest(value.as_bytes())),
            Self::Json => {
                let quoted = serde_json::to_string(value).ok()?;
                quoted.get(1..quoted.len().checked_sub(1)?)?.to_owned()
            }
        })
    }
}

/// A value in the form that a destination wants; `None` when it cannot be brought into it.
pub(crate) fn in_wanted_form(form: ValueForm, value: &str) -> Option<String> {
    match form {
        ValueForm::E164 => normalize::e164(value, ""),
        ValueForm::Email => normalize::email(value),
        ValueForm::Lower => Some(value.trim().to_lowercase()),
        ValueForm::Trimmed => Some(value.trim().to_owned()),
    }
}

/// Code and message of a row whose value has no such form; never the value.
pub(crate) fn refusal(form: ValueForm) -> (&'static str, &'static str) {
    match form {
        ValueForm::E164 => ("form.e164", "the phone number is not in E.164 form, such as +33123456789"),
        ValueForm::Email => ("form.email", "the value is no email address"),
        ValueForm::Lower => ("form.lower", "the value has no lower-case form"),
        ValueForm::Trimmed => ("form.trimmed", "the value cannot be trimmed"),
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| DIGITS.get(usize::from(four)).map_or('0', |digit| char::from(*digit));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_those_that_vendors_publish() {
        // The subscriber hash of Mailchimp's documentation; the other hash by `sha256sum`.
        let cases = [
            (Form::Lower, "Urist.McVankab@freddiesjokes.com", Some("urist.mcvankab@freddiesjokes.com")),
            (Form::Md5, "urist.mcvankab@freddiesjokes.com", Some("62eeb292278cc15f5817cb78f7790b08")),
            (Form::Sha256, "ann@x.test", Some("3af61301a5d21b222b95b136efd4f07b338dd6b0091647164681e43c351f1aa3")),
            (Form::E164, "+33 6 12 34 56 78", Some("+33612345678")),
            (Form::E164, "call me", None),
            (Form::Upper, "fr", Some("FR")),
            (Form::Trim, " x ", Some("x")),
            (Form::Json, "a\"b\n", Some("a\\\"b\\n")),
        ];
        for (form, value, expected) in cases {
            assert_eq!(form.apply(value).as_deref(), expected, "{form:?} of {value:?}");
        }
    }
}
