//! Phone numbers to E.164, and what the numbering plan says of them.

use phonenumber::Type;
use phonenumber::metadata::DATABASE;

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

/// True where the numbering plan says that a number in E.164 belongs to a line, not to a telephone that one person carries. In
/// some countries, such as the United States, a number does not tell.
#[must_use]
pub fn is_fixed_line(e164: &str) -> bool {
    phonenumber::parse(None, e164).is_ok_and(|number| number.number_type(&DATABASE) == Type::FixedLine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_number_becomes_e164_of_its_region() {
        let cases = [
            ("+33 6 12 34 56 78", "", Some("+33612345678")),
            ("06 12 34 56 78", "FR", Some("+33612345678")),
            ("0033612345678", "DE", Some("+33612345678")),
            ("(503) 846-1976", "US", Some("+15038461976")),
            ("917.883.3426", "us", Some("+19178833426")),
            ("+33612345678", "", Some("+33612345678")),
            ("+33 (0)6 12 34 56 78", "", Some("+33612345678")),
            ("+44 (0)20 7946 0958", "FR", Some("+442079460958")),
            ("06 12 34 56 78 ext. 12", "FR", Some("+33612345678")),
            ("+49 30 123456 x9", "", Some("+4930123456")),
            ("+1 123", "", None),
            ("+1234567890123456", "", None),
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
    fn a_line_is_told_from_a_mobile_where_the_plan_tells() {
        let cases = [
            ("+33142685300", true),
            ("+33612345678", false),
            ("+33745678901", false),
            ("+442079460958", true),
            ("+447911123456", false),
            ("+4930123456", true),
            ("+4915123456789", false),
            ("+12125550100", false),
            ("+33800123456", false),
            ("+33", false),
            ("", false),
        ];
        for (number, expected) in cases {
            assert_eq!(is_fixed_line(number), expected, "{number}");
        }
    }
}
