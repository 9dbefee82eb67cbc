//! Canonical forms of identifier values: what is compared, never what is stored. A change of these rules, or of a project's
//! options, holds for what is read after it (`security.md` A-31, `identity.md` §2.3).

mod email;
mod phone;

use std::collections::BTreeMap;

pub use email::{email, mail_domain};
pub use phone::{e164, is_fixed_line};

/// What the values of an identifier are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentifierForm {
    Email,
    Phone,
    /// A number or a name that somebody gave: an account, a card, a device.
    Id,
}

impl IdentifierForm {
    /// That of a kind of which a project does not say it.
    #[must_use]
    pub fn of_kind(kind: &str) -> Self {
        match kind {
            "email" => Self::Email,
            "phone" => Self::Phone,
            _ => Self::Id,
        }
    }
}

/// How a value becomes its canonical form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NormalizeOptions {
    /// Strip what mail providers ignore at the end of a local part: `+tag`, of Yahoo `-tag`.
    pub strip_plus_tags: bool,
    /// Strip dots of gmail addresses.
    pub strip_gmail_dots: bool,
    /// Domain → the domain whose mailboxes are the same, both in canonical form.
    pub domain_aliases: BTreeMap<String, String>,
    /// `None` = as of the kind: of e-mail addresses it does not count, of others it does.
    pub case: Option<LetterCase>,
    /// ISO 3166 alpha-2 region for phone numbers without a country.
    pub region: Option<String>,
}

/// Whether the case of letters tells two values apart; that of a domain never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterCase {
    Lower,
    Preserve,
    /// In local parts at these domains, in canonical form.
    PreserveAt(Vec<String>),
}

impl NormalizeOptions {
    /// What holds where a value is not compared but told to a service: a region, and the case where it tells mailboxes apart.
    #[must_use]
    pub fn to_tell(&self) -> Self {
        let case = self.case.clone().filter(|case| *case != LetterCase::Lower);
        Self { region: self.region.clone(), case, ..Self::default() }
    }
}

/// Normalises the value of an identifier: addresses and telephone numbers by their rules, ids by trimming.
/// `None` = not a usable value.
#[must_use]
pub fn identifier(form: IdentifierForm, value: &str, options: &NormalizeOptions) -> Option<String> {
    match form {
        IdentifierForm::Email => email::email_with(value, options),
        IdentifierForm::Phone => e164(value, options.region.as_deref().unwrap_or("")),
        IdentifierForm::Id => {
            let trimmed = value.trim();
            let is_lower = options.case == Some(LetterCase::Lower);
            (!trimmed.is_empty()).then(|| if is_lower { trimmed.to_lowercase() } else { trimmed.to_owned() })
        }
    }
}

/// True when `pattern` matches the whole value; `*` stands for any text, letter case is ignored.
#[must_use]
pub fn matches_pattern(pattern: &str, value: &str) -> bool {
    if pattern.is_ascii() && value.is_ascii() {
        // Nearly all values end here: the text before the first star differs.
        let first = pattern.split('*').next().unwrap_or_default();
        match value.get(..first.len()) {
            Some(start) if start.eq_ignore_ascii_case(first) => {}
            _ => return false,
        }
        if first.len() == pattern.len() {
            return first.len() == value.len();
        }
    }
    let pattern = pattern.to_lowercase();
    let value = value.to_lowercase();
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = value.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_case_unless_it_is_declared_to_say_nothing() {
        let lower = NormalizeOptions { case: Some(LetterCase::Lower), ..NormalizeOptions::default() };
        assert_eq!(identifier(IdentifierForm::Id, " Ab-1 ", &NormalizeOptions::default()).as_deref(), Some("Ab-1"));
        assert_eq!(identifier(IdentifierForm::Id, " Ab-1 ", &lower).as_deref(), Some("ab-1"));
        assert_eq!(identifier(IdentifierForm::Id, "  ", &lower), None);
    }

    #[test]
    fn a_star_in_a_blocked_value_stands_for_any_text() {
        assert!(matches_pattern("test@*", "Test@x.de"));
        assert!(matches_pattern("*@example.com", "a@example.com"));
        assert!(matches_pattern("a*c*e", "abcde"));
        assert!(!matches_pattern("noreply@*", "ann@x.de"));
        assert!(matches_pattern("0000", "0000"));
        assert!(!matches_pattern("0000", "00001"));
    }
}
