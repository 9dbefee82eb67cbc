//! Values that people and systems write where they have none: shipped, so that nobody has to collect them again.

use crate::normalize::IdentifierForm;

/// A shipped list of values that are never an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockPreset {
    /// Mailboxes of a function: many persons write from them.
    RoleMailboxes,
    /// Placeholders: `test@test.com`, `0000000000`, `null`.
    Junk,
}

/// Local parts of mailboxes of a function (RFC 2142 and what shops use besides).
const ROLES: [&str; 48] = [
    "abuse",
    "accounting",
    "accounts",
    "admin",
    "administrator",
    "billing",
    "bookings",
    "bounce",
    "careers",
    "contact",
    "customerservice",
    "donotreply",
    "do-not-reply",
    "enquiries",
    "feedback",
    "finance",
    "hello",
    "help",
    "helpdesk",
    "hostmaster",
    "hr",
    "info",
    "inquiries",
    "invoice",
    "invoices",
    "jobs",
    "kontakt",
    "mail",
    "mailer-daemon",
    "marketing",
    "news",
    "newsletter",
    "noreply",
    "no-reply",
    "office",
    "orders",
    "post",
    "postmaster",
    "press",
    "privacy",
    "reception",
    "sales",
    "security",
    "service",
    "shop",
    "support",
    "team",
    "webmaster",
];
/// Local parts that stand for no mailbox.
const JUNK_LOCALS: [&str; 20] = [
    "a",
    "aa",
    "aaa",
    "abc",
    "anonymous",
    "asdf",
    "dummy",
    "email",
    "fake",
    "guest",
    "na",
    "n/a",
    "no",
    "noemail",
    "nomail",
    "none",
    "null",
    "test",
    "unknown",
    "xxx",
];
/// Domains that hold no mailbox of a person: reserved by RFC 2606, or used as placeholders.
const JUNK_DOMAINS: [&str; 10] = [
    "example.com",
    "example.net",
    "example.org",
    "test.com",
    "na.com",
    "none.com",
    "noemail.com",
    "email.invalid",
    "domain.com",
    "mail.invalid",
];
/// Top-level domains that RFC 2606 keeps free.
const JUNK_TOP_LEVELS: [&str; 3] = ["example", "invalid", "localhost"];
/// Placeholders of any kind, in lower case.
const JUNK_WORDS: [&str; 20] = [
    "-",
    "-1",
    "0",
    "anonymous",
    "deleted",
    "false",
    "guest",
    "n/a",
    "na",
    "nan",
    "nil",
    "no",
    "none",
    "not set",
    "null",
    "test",
    "true",
    "undefined",
    "unknown",
    "xxx",
];
/// Digits as they lie on the keys.
const KEY_ORDER: [&str; 4] = ["0123456789", "1234567890", "9876543210", "0987654321"];
/// Digits of a run that no subscriber has.
const RUN_DIGITS: usize = 7;

impl BlockPreset {
    /// True when a canonical value of a form is in the list.
    #[must_use]
    pub fn holds(self, form: IdentifierForm, canonical: &str) -> bool {
        match (self, form) {
            (Self::RoleMailboxes, _) => canonical.split_once('@').is_some_and(|(local, _)| is_one_of(&ROLES, local)),
            (Self::Junk, IdentifierForm::Email) => is_junk_email(canonical),
            (Self::Junk, IdentifierForm::Phone) => is_junk_phone(canonical),
            (Self::Junk, IdentifierForm::Id) => is_junk_word(canonical),
        }
    }
}

fn is_junk_email(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let top_level = domain.rsplit('.').next().unwrap_or_default();
    JUNK_DOMAINS.contains(&domain) || JUNK_TOP_LEVELS.contains(&top_level) || is_one_of(&JUNK_LOCALS, local)
}

/// The case of a local part may have been kept.
fn is_one_of(list: &[&str], local: &str) -> bool {
    list.iter().any(|one| one.eq_ignore_ascii_case(local))
}

/// One digit over and over, digits as they lie on the keys, and the numbers that films use (North America, 555-01xx).
fn is_junk_phone(e164: &str) -> bool {
    let digits = e164.trim_start_matches('+');
    let last = digits.len().checked_sub(RUN_DIGITS).and_then(|start| digits.get(start..)).unwrap_or(digits);
    let first = last.bytes().next();
    let is_one_digit = last.bytes().all(|digit| Some(digit) == first);
    let is_in_key_order = KEY_ORDER.iter().any(|order| order.contains(last));
    let is_of_films = digits.len() == 11 && digits.starts_with('1') && last.starts_with("55501");
    is_one_digit || is_in_key_order || is_of_films
}

fn is_junk_word(value: &str) -> bool {
    let lower = value.to_lowercase();
    let mut letters = lower.chars().filter(|letter| letter.is_alphanumeric());
    let first = letters.next();
    let is_one_letter = lower.len() > 3 && letters.all(|letter| Some(letter) == first);
    is_one_letter || JUNK_WORDS.contains(&lower.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_junk_and_what_people_have_is_not() {
        let cases = [
            ("email", "test@test.com", true),
            ("email", "guest@shop.example", true),
            ("email", "na@na.com", true),
            ("email", "ann@x.de", false),
            ("phone", "+10000000000", true),
            ("phone", "+11234567890", true),
            ("phone", "+12025550123", true),
            ("phone", "+33612345679", false),
            ("user_id", "null", true),
            ("user_id", "00000000-0000-0000-0000-000000000000", true),
            ("user_id", "6039406224916", false),
            ("user_id", "7", false),
        ];
        for (kind, value, expected) in cases {
            assert_eq!(BlockPreset::Junk.holds(IdentifierForm::of_kind(kind), value), expected, "{kind} {value}");
        }
    }

    #[test]
    fn a_mailbox_of_a_function_is_told_by_its_local_part() {
        assert!(BlockPreset::RoleMailboxes.holds(IdentifierForm::Email, "info@x.de"));
        assert!(BlockPreset::RoleMailboxes.holds(IdentifierForm::Email, "Info@x.de"));
        assert!(!BlockPreset::RoleMailboxes.holds(IdentifierForm::Email, "infor@x.de"));
    }
}
