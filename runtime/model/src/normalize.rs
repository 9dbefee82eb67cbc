//! Canonical forms of identifier values: what is compared, never what is stored. The norm has a version; a change
//! is a re-index (`security.md` A-31, `identity.md` §2.3).

use unicode_normalization::UnicodeNormalization;

use crate::plan::NormalizeOptions;

/// Version of these rules; stored beside every blind index table.
pub const NORM_VERSION: u32 = 1;

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

/// Normalises a value for an identifier kind: `email` and `phone` by their rules, others by trimming.
/// `None` = not a usable value.
#[must_use]
pub fn identifier(kind: &str, value: &str, options: &NormalizeOptions) -> Option<String> {
    match kind {
        "email" => email_with(value, options),
        "phone" => e164(value, options.region.as_deref().unwrap_or("")),
        _ => {
            let trimmed = value.trim();
            (!trimmed.is_empty()).then(|| trimmed.to_owned())
        }
    }
}

/// NFKC, trimmed, lower-case, domain to IDNA ASCII; `None` unless it has one `@` with text before it and a dotted
/// domain after it. Plus-tags and dots are kept.
#[must_use]
pub fn email(value: &str) -> Option<String> {
    email_with(value, &NormalizeOptions::default())
}

fn email_with(value: &str, options: &NormalizeOptions) -> Option<String> {
    let text = canonical_text(value);
    let text = text.strip_prefix("mailto:").unwrap_or(&text);
    let text = text.trim_start_matches('<').trim_end_matches('>').trim_end_matches('.');
    let (local, domain) = text.split_once('@')?;
    if local.is_empty() || domain.contains('@') || local.contains(char::is_whitespace) {
        return None;
    }
    let domain = if domain.is_ascii() { domain.to_owned() } else { idna::domain_to_ascii(domain).ok()? };
    if !is_dotted_domain(&domain) {
        return None;
    }
    let mut local = local.to_owned();
    if options.strip_plus_tags
        && PLUS_TAG_DOMAINS.contains(&domain.as_str())
        && let Some((before, _)) = local.split_once('+')
        && !before.is_empty()
    {
        local = before.to_owned();
    }
    if options.strip_gmail_dots && (domain == "gmail.com" || domain == "googlemail.com") {
        local.retain(|letter| letter != '.');
    }
    let domain = if options.strip_gmail_dots && domain == "googlemail.com" { "gmail.com" } else { &domain };
    (!local.is_empty()).then(|| format!("{local}@{domain}"))
}

fn canonical_text(value: &str) -> String {
    if value.is_ascii() { value.trim().to_ascii_lowercase() } else { value.nfkc().collect::<String>().trim().to_lowercase() }
}

fn is_dotted_domain(domain: &str) -> bool {
    domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty())
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

/// E.164 of a phone number; numbers without a country are read as of `region` (ISO 3166 alpha-2; empty = none).
/// `None` when it is not a possible number.
#[must_use]
pub fn e164(value: &str, region: &str) -> Option<String> {
    let text = value.trim();
    if is_e164(text) {
        return Some(text.to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_digit()) || text.len() > 40 {
        return None;
    }
    if let Some(number) = plain_national(text, region) {
        return Some(number);
    }
    let text = text.strip_prefix("00").map_or_else(|| text.to_owned(), |rest| format!("+{rest}"));
    if text.starts_with('+') && is_e164(&text) {
        return Some(text);
    }
    let country = region.to_ascii_uppercase().parse().ok();
    let number = phonenumber::parse(country, &text).ok()?;
    let formatted = number.format().mode(phonenumber::Mode::E164).to_string();
    let digits = formatted.len().saturating_sub(1);
    (7..=15).contains(&digits).then_some(formatted)
}

fn is_e164(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
    })
}

/// A number as it is dialled inside a country whose numbers all have one length: what the library says of it, sooner by
/// far. Of others, and of anything unusual, the library is asked.
fn plain_national(text: &str, region: &str) -> Option<String> {
    let (country, trunk, length) = match region {
        "FR" => ("+33", "0", 9),
        "US" | "CA" => ("+1", "", 10),
        _ => return None,
    };
    let mut number = String::with_capacity(16);
    number.push_str(country);
    let mut digits = text.strip_prefix(trunk)?.bytes().filter(|byte| !matches!(byte, b' ' | b'.' | b'-' | b'/' | b'(' | b')'));
    let first = digits
        .next()
        .filter(|first| if trunk.is_empty() { (b'2'..=b'9').contains(first) } else { (b'1'..=b'9').contains(first) })?;
    number.push(char::from(first));
    for digit in digits {
        number.push(char::from(digit).is_ascii_digit().then(|| char::from(digit))?);
    }
    (number.len() == country.len() + length).then_some(number)
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

    #[test]
    fn gmail_dots_and_plus_tags_are_stripped_only_on_request() {
        let options = NormalizeOptions { strip_plus_tags: true, strip_gmail_dots: true, region: None };
        assert_eq!(identifier("email", "J.Doe+shop@googlemail.com", &options).as_deref(), Some("jdoe@gmail.com"));
        assert_eq!(identifier("email", "j.doe+shop@web.de", &options).as_deref(), Some("j.doe+shop@web.de"));
    }

    #[test]
    fn a_phone_number_becomes_e164_of_its_region() {
        let cases = [
            ("+33 6 12 34 56 78", "", Some("+33612345678")),
            ("06 12 34 56 78", "FR", Some("+33612345678")),
            ("0033612345678", "DE", Some("+33612345678")),
            ("(503) 846-1976", "US", Some("+15038461976")),
            ("917.883.3426", "us", Some("+19178833426")),
            ("+33612345678", "", Some("+33612345678")),
            ("call me", "FR", None),
            ("12", "FR", None),
            ("", "FR", None),
        ];
        for (value, region, expected) in cases {
            assert_eq!(e164(value, region).as_deref(), expected, "{value:?} in {region:?}");
        }
    }

    #[test]
    fn a_plain_national_number_is_what_the_library_says() {
        for (region, texts) in [
            ("FR", ["06 12 34 56 78", "0123456789", "09.87.65.43.21", "07-11-22/33 44", "02 00 00 00 01"]),
            ("US", ["(503) 846-1976", "917.883.3426", "248-870-3389", "2128675309", "646 555 0199"]),
        ] {
            for text in texts {
                let parsed = phonenumber::parse(region.parse().ok(), text).unwrap();
                let library = parsed.format().mode(phonenumber::Mode::E164).to_string();
                assert_eq!(plain_national(text, region), Some(library), "{text} in {region}");
            }
        }
        for (text, region) in
            [("06 12 34 56 7", "FR"), ("06 12 34 56 78 x9", "FR"), ("1-503-846-1976", "US"), ("030 123456", "DE")]
        {
            assert_eq!(plain_national(text, region), None, "{text} in {region}");
        }
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
