//! E-mail addresses: one form for all the ways in which people write one mailbox.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::{LetterCase, NormalizeOptions};

/// Mail providers that ignore what stands after `+`.
const PLUS_TAG_DOMAINS: [&str; 10] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "icloud.com",
    "fastmail.com",
    "proton.me",
    "protonmail.com",
    "pm.me",
];
/// Where a disposable address is a base name, `-` and a keyword; no other address there has a `-` (the list is that of
/// `normalizeEmail` in validator.js 13.15).
const HYPHEN_TAG_DOMAINS: [&str; 9] =
    ["rocketmail.com", "yahoo.ca", "yahoo.co.uk", "yahoo.com", "yahoo.de", "yahoo.fr", "yahoo.in", "yahoo.it", "ymail.com"];
const GMAIL: &str = "gmail.com";
const GOOGLEMAIL: &str = "googlemail.com";
const MAILTO: &str = "mailto:";

/// NFKC, trimmed, lower-case, domain to IDNA ASCII; `None` unless it has one `@` with text before it and a dotted
/// domain after it. Plus-tags and dots are kept.
#[must_use]
pub fn email(value: &str) -> Option<String> {
    email_with(value, &NormalizeOptions::default())
}

pub(super) fn email_with(value: &str, options: &NormalizeOptions) -> Option<String> {
    let may_keep_case = matches!(options.case, Some(LetterCase::Preserve | LetterCase::PreserveAt(_)));
    let text = canonical_text(value, may_keep_case);
    let text = without_scheme(&text);
    let text = text.trim_start_matches('<').trim_end_matches('>').trim_end_matches('.');
    let (local, domain) = text.split_once('@')?;
    if local.is_empty() || domain.contains('@') || local.contains(char::is_whitespace) {
        return None;
    }
    let domain = canonical_domain(domain, may_keep_case)?;
    let domain = options.domain_aliases.get(&*domain).map_or(&*domain, String::as_str);
    let local =
        if may_keep_case && !keeps_case(options, domain) { Cow::Owned(local.to_lowercase()) } else { Cow::Borrowed(local) };
    let local = if options.strip_plus_tags { without_tag(&local, domain) } else { &*local };
    let is_gmail = domain == GMAIL || domain == GOOGLEMAIL;
    if !options.strip_gmail_dots || !is_gmail {
        return Some(format!("{local}@{domain}"));
    }
    let local: String = local.chars().filter(|letter| *letter != '.').collect();
    (!local.is_empty()).then(|| format!("{local}@{GMAIL}"))
}

fn keeps_case(options: &NormalizeOptions, domain: &str) -> bool {
    match &options.case {
        Some(LetterCase::Preserve) => true,
        Some(LetterCase::PreserveAt(domains)) => domains.iter().any(|one| one == domain),
        Some(LetterCase::Lower) | None => false,
    }
}

fn canonical_text(value: &str, keeps_case: bool) -> String {
    match (value.is_ascii(), keeps_case) {
        (true, true) => value.trim().to_owned(),
        (true, false) => value.trim().to_ascii_lowercase(),
        (false, true) => value.nfkc().collect::<String>().trim().to_owned(),
        (false, false) => value.nfkc().collect::<String>().trim().to_lowercase(),
    }
}

fn without_scheme(text: &str) -> &str {
    match text.split_at_checked(MAILTO.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(MAILTO) => rest,
        _ => text,
    }
}

/// The canonical form of what stands after the `@`; `None` for what is no dotted domain.
#[must_use]
pub fn mail_domain(value: &str) -> Option<String> {
    canonical_domain(value, true).map(Cow::into_owned)
}

/// Lower-case IDNA ASCII; `None` unless it is made of several labels.
fn canonical_domain(domain: &str, has_case: bool) -> Option<Cow<'_, str>> {
    let domain = match (domain.is_ascii(), has_case) {
        (true, false) => Cow::Borrowed(domain),
        (true, true) => Cow::Owned(domain.to_ascii_lowercase()),
        (false, _) => Cow::Owned(idna::domain_to_ascii(domain).ok()?),
    };
    is_dotted_domain(&domain).then_some(domain)
}

fn is_dotted_domain(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

/// The local part without what the domain's provider ignores at its end.
fn without_tag<'a>(local: &'a str, domain: &str) -> &'a str {
    let split = if PLUS_TAG_DOMAINS.contains(&domain) {
        local.split_once('+')
    } else if HYPHEN_TAG_DOMAINS.contains(&domain) {
        local.rsplit_once('-')
    } else {
        None
    };
    split.map(|(before, _)| before).filter(|before| !before.is_empty()).unwrap_or(local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalize::{IdentifierForm, identifier};

    #[test]
    fn an_email_is_compared_without_case_space_or_dressing() {
        let cases = [
            (" Ann@X.Test ", Some("ann@x.test")),
            ("mailto:a@b.co", Some("a@b.co")),
            ("<a@b.co>", Some("a@b.co")),
            ("a@bücher.de", Some("a@xn--bcher-kva.de")),
            ("Ａ@b.co", Some("a@b.co")),
            ("a+tag@gmail.com", Some("a+tag@gmail.com")),
            ("no-at.example", None),
            ("a@b@c.de", None),
            ("a@localhost", None),
            ("@x.test", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(email(value).as_deref(), expected, "{value:?}");
        }
    }

    #[track_caller]
    fn check(options: &NormalizeOptions, cases: &[(&str, &str)]) {
        for (value, expected) in cases {
            assert_eq!(identifier(IdentifierForm::Email, value, options).as_deref(), Some(*expected), "{value}");
        }
    }

    #[test]
    fn gmail_dots_and_tags_are_stripped_only_on_request() {
        let options = NormalizeOptions { strip_plus_tags: true, strip_gmail_dots: true, ..NormalizeOptions::default() };
        let cases = [
            ("J.Doe+shop@googlemail.com", "jdoe@gmail.com"),
            ("j.doe+shop@web.de", "j.doe+shop@web.de"),
            ("jdoe-shop@Yahoo.fr", "jdoe@yahoo.fr"),
            ("j.doe+shop@yahoo.com", "j.doe+shop@yahoo.com"),
            ("-shop@yahoo.com", "-shop@yahoo.com"),
            ("jean-luc@gmail.com", "jean-luc@gmail.com"),
            ("jean-luc@web.de", "jean-luc@web.de"),
        ];
        check(&options, &cases);
        check(&NormalizeOptions::default(), &[("jdoe-shop@yahoo.fr", "jdoe-shop@yahoo.fr")]);
    }

    #[test]
    fn a_domain_may_stand_for_another() {
        let aliases = [("googlemail.com", "gmail.com"), ("pm.me", "proton.me"), ("xn--bcher-kva.de", "books.de")];
        let domain_aliases = aliases.map(|(one, other)| (one.to_owned(), other.to_owned())).into();
        let options = NormalizeOptions { domain_aliases, strip_plus_tags: true, ..NormalizeOptions::default() };
        let cases = [
            ("J.Doe+x@GoogleMail.com", "j.doe@gmail.com"),
            ("ann@pm.me", "ann@proton.me"),
            ("ann@Bücher.de", "ann@books.de"),
            ("ann@x.pm.me", "ann@x.pm.me"),
        ];
        check(&options, &cases);
    }

    #[test]
    fn the_case_of_a_local_part_counts_where_a_domain_asks_for_it() {
        let with = |case| NormalizeOptions { case: Some(case), ..NormalizeOptions::default() };
        let at = with(LetterCase::PreserveAt(vec!["x.test".to_owned()]));
        check(&at, &[("MAILTO:Ann@X.Test", "Ann@x.test"), ("Ann@Y.test", "ann@y.test"), ("Ａnn@x.test", "Ann@x.test")]);
        check(&with(LetterCase::Preserve), &[(" <Ann@Y.Test> ", "Ann@y.test"), ("Ann@Bücher.de", "Ann@xn--bcher-kva.de")]);
        check(&with(LetterCase::Lower), &[("Ann@Y.Test", "ann@y.test")]);
    }
}
