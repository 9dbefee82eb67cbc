//! Pseudonyms: a value of equal shape for each personal value, always the same one within a recording, so that joins and
//! identity work on a replay as they did. They are drawn under a key that is forgotten when the recording is written.
//! What steers normalisation stays: case, dots and tags of addresses, well-known mail providers, the prefix of a phone
//! number, short codes of countries and regions.

use std::collections::{HashMap, HashSet};

use affluent_model::pii::PiiClass;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Draws before two values may get the same pseudonym: reached by values so short that there are few.
const DRAWS_MAX: u8 = 50;
/// Digits of a phone number that are replaced; those before say country and network.
const PHONE_DIGITS: usize = 6;
/// Digits by which two writings of a phone number are known to be one.
const PHONE_KEY_DIGITS: usize = 8;
/// Addresses this short are codes: `FR`, `CA`, `NRW`.
const CODE_CHARS_MAX: usize = 3;
/// Mail domains that say nothing about a person.
const COMMON_DOMAINS: [&str; 24] = [
    "gmail.com",
    "googlemail.com",
    "outlook.com",
    "hotmail.com",
    "live.com",
    "msn.com",
    "yahoo.com",
    "icloud.com",
    "me.com",
    "aol.com",
    "gmx.de",
    "gmx.net",
    "gmx.com",
    "web.de",
    "proton.me",
    "protonmail.com",
    "orange.fr",
    "free.fr",
    "wanadoo.fr",
    "laposte.net",
    "mail.ru",
    "example.com",
    "example.org",
    "example.net",
];
/// Domains set aside by RFC 2606 and RFC 6761: nobody's.
const RESERVED_ENDINGS: [&str; 4] = [".example", ".test", ".invalid", ".localhost"];
/// Mailboxes of a function, not of a person; match rules name them.
const FUNCTION_MAILBOXES: [&str; 10] =
    ["test", "noreply", "no-reply", "info", "hello", "admin", "support", "contact", "sales", "office"];

/// The pseudonyms of one recording.
pub(super) struct Pseudonyms {
    key: [u8; 32],
    /// Class and canonical value → the draw that nobody else has.
    draws: HashMap<(PiiClass, String), u8>,
    /// Taken: pseudonyms that were given, and the values themselves. A pseudonym that is another person's value would
    /// make two people one, and would look like a value that was not replaced.
    used: HashSet<(PiiClass, String)>,
}

impl Pseudonyms {
    /// Pseudonyms that are none of these values.
    pub(super) fn new(key: [u8; 32], values: &HashMap<String, PiiClass>) -> Self {
        let used = values.iter().map(|(value, class)| (*class, folded(*class, value))).collect();
        Self { key, draws: HashMap::new(), used }
    }

    /// The pseudonym of a value; white space around it stays.
    pub(super) fn of(&mut self, class: PiiClass, value: &str) -> String {
        let inner = value.trim();
        let start = value.len() - value.trim_start().len();
        let (before, after) = (value.get(..start).unwrap_or_default(), value.get(start + inner.len()..).unwrap_or_default());
        let new = match class {
            _ if inner.is_empty() => String::new(),
            PiiClass::Email => self.email(inner),
            PiiClass::Phone => self.phone(inner),
            PiiClass::Ip => self.ip(inner),
            PiiClass::BirthDate => self.birth_date(inner),
            PiiClass::Address if inner.chars().count() <= CODE_CHARS_MAX => inner.to_owned(),
            PiiClass::Address | PiiClass::Name | PiiClass::FreeText | PiiClass::OnlineId | PiiClass::Gender => {
                self.unique(class, &inner.to_lowercase(), |stream| shaped(inner, stream))
            }
        };
        format!("{before}{new}{after}")
    }

    fn email(&mut self, value: &str) -> String {
        let Some((local, domain)) = value.rsplit_once('@') else {
            return self.unique(PiiClass::Email, &value.to_lowercase(), |stream| shaped(value, stream));
        };
        let lower = domain.to_lowercase();
        let (mailbox, tag) = local.split_once('+').map_or((local, None), |(mailbox, tag)| (mailbox, Some(tag)));
        let canonical = mailbox.to_lowercase();
        let is_dotless = matches!(lower.as_str(), "gmail.com" | "googlemail.com");
        let canonical = if is_dotless { canonical.replace('.', "") } else { canonical };
        let mailbox = if FUNCTION_MAILBOXES.contains(&canonical.as_str()) {
            mailbox.to_owned()
        } else {
            self.unique(PiiClass::Email, &format!("{canonical}@{lower}"), |stream| shaped(mailbox, stream))
        };
        let tag = tag.map(|tag| format!("+{}", shaped(tag, &mut self.stream(&format!("tag {}", tag.to_lowercase()), 0))));
        let is_common = COMMON_DOMAINS.contains(&lower.as_str()) || RESERVED_ENDINGS.iter().any(|end| lower.ends_with(end));
        let domain = if is_common {
            domain.to_owned()
        } else {
            format!("{}.example", shaped("dddddddddd", &mut self.stream(&format!("domain {lower}"), 0)))
        };
        format!("{mailbox}{}@{domain}", tag.unwrap_or_default())
    }

    fn phone(&mut self, value: &str) -> String {
        let digits: Vec<char> = value.chars().filter(char::is_ascii_digit).collect();
        let kept = digits.len().saturating_sub(PHONE_DIGITS);
        self.unique(PiiClass::Phone, &folded(PiiClass::Phone, value), |stream| {
            let mut seen = 0;
            let replace = |character: char| {
                let is_kept = character.is_ascii_digit() && {
                    seen += 1;
                    seen <= kept
                };
                if is_kept { character } else { stream.like(character) }
            };
            value.chars().map(replace).collect()
        })
    }

    fn ip(&mut self, value: &str) -> String {
        let mut stream = self.stream(&format!("ip {}", value.to_lowercase()), 0);
        match value.parse::<std::net::IpAddr>() {
            // 198.18.0.0/15 is for measurements, 2001:db8::/32 for documentation: nobody has them.
            Ok(std::net::IpAddr::V4(_)) => format!("198.18.{}.{}", stream.next(), stream.next()),
            Ok(std::net::IpAddr::V6(_)) => format!("2001:db8::{:x}{:02x}", stream.next(), stream.next()),
            Err(_) => shaped(value, &mut stream),
        }
    }

    /// The year stays: ages are looked at, days are not.
    fn birth_date(&mut self, value: &str) -> String {
        let mut stream = self.stream(&format!("birth date {value}"), 0);
        let pieces: Vec<&str> = value.splitn(3, '-').collect();
        match pieces.as_slice() {
            [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() >= 2 => {
                let (month, rest) = (stream.next() % 12 + 1, day.get(2..).unwrap_or_default());
                format!("{year}-{month:02}-{:02}{rest}", stream.next() % 28 + 1)
            }
            _ => shaped(value, &mut stream),
        }
    }

    /// Draws until the result is nobody else's, and never the value itself.
    fn unique(&mut self, class: PiiClass, canonical: &str, mut make: impl FnMut(&mut Stream) -> String) -> String {
        let known = self.draws.get(&(class, canonical.to_owned())).copied();
        let purpose = format!("{} {canonical}", class.as_str());
        for draw in known.unwrap_or(0)..DRAWS_MAX {
            let made = make(&mut self.stream(&purpose, draw));
            if known.is_some() {
                return made;
            }
            let whole = format!("{made}{}", domain_of(canonical));
            if self.used.insert((class, folded(class, &whole))) {
                self.draws.insert((class, canonical.to_owned()), draw);
                return made;
            }
        }
        self.draws.insert((class, canonical.to_owned()), DRAWS_MAX - 1);
        make(&mut self.stream(&purpose, DRAWS_MAX - 1))
    }

    fn stream(&self, purpose: &str, draw: u8) -> Stream {
        Stream { key: self.key, purpose: purpose.to_owned(), draw, block: 0, bytes: Vec::new() }
    }
}

/// A mailbox need only be unique within its domain; `@` and the domain.
fn domain_of(canonical: &str) -> &str {
    canonical.rfind('@').and_then(|at| canonical.get(at..)).unwrap_or_default()
}

/// What two writings of one value share.
fn folded(class: PiiClass, value: &str) -> String {
    let digits: Vec<char> = value.chars().filter(char::is_ascii_digit).collect();
    if class != PiiClass::Phone || digits.is_empty() {
        return value.to_lowercase();
    }
    digits.iter().skip(digits.len().saturating_sub(PHONE_KEY_DIGITS)).collect()
}

/// Bytes that depend on the key and what they are for.
struct Stream {
    key: [u8; 32],
    purpose: String,
    draw: u8,
    block: u32,
    bytes: Vec<u8>,
}

impl Stream {
    fn next(&mut self) -> u8 {
        loop {
            if let Some(byte) = self.bytes.pop() {
                return byte;
            }
            let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key) else { return 0 };
            mac.update(self.purpose.as_bytes());
            mac.update(&[0, self.draw]);
            mac.update(&self.block.to_le_bytes());
            self.block += 1;
            self.bytes = mac.finalize().into_bytes().to_vec();
        }
    }

    /// A letter for a letter, a digit for a digit; anything else stays.
    fn like(&mut self, character: char) -> char {
        if character.is_ascii_digit() {
            char::from(b'0' + self.next() % 10)
        } else if character.is_alphabetic() {
            let letter = char::from(b'a' + self.next() % 26);
            if character.is_uppercase() { letter.to_ascii_uppercase() } else { letter }
        } else {
            character
        }
    }
}

fn shaped(value: &str, stream: &mut Stream) -> String {
    value.chars().map(|character| stream.like(character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms() -> Pseudonyms {
        Pseudonyms::new([7; 32], &HashMap::new())
    }

    #[test]
    fn one_address_in_all_its_writings_stays_one_address() {
        let mut pseudonyms = pseudonyms();
        let mut of = |value: &str| pseudonyms.of(PiiClass::Email, value);
        let plain = of("ann.smith@gmail.com");

        assert_eq!(of(" Ann.Smith@Gmail.com ").trim().to_lowercase(), plain);
        assert_eq!(of("annsmith@gmail.com"), plain.replacen('.', "", 1));
        assert_eq!(of("ann.smith+news@gmail.com").split('+').next(), plain.split('@').next());
        assert_ne!(of("ann.smith@web.de").split('@').next(), plain.split('@').next());
        assert!(!plain.contains("ann") && plain.ends_with("@gmail.com"), "{plain}");
    }

    #[test]
    fn a_domain_that_may_name_a_person_is_replaced() {
        let mut pseudonyms = pseudonyms();

        assert!(pseudonyms.of(PiiClass::Email, "me@ann-smith.name").ends_with(".example"));
        assert_eq!(pseudonyms.of(PiiClass::Email, "noreply@shop.test"), "noreply@shop.test");
    }

    #[test]
    fn a_phone_number_keeps_its_prefix_and_its_writings_agree() {
        let mut pseudonyms = pseudonyms();

        let (long, short) =
            (pseudonyms.of(PiiClass::Phone, "+33 6 12 34 56 78"), pseudonyms.of(PiiClass::Phone, "06.12.34.56.78"));

        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        assert!(long.starts_with("+33 6 12 ") && short.starts_with("06.12."), "{long} {short}");
        assert_eq!(digits(&long).get(5..), digits(&short).get(4..));
        assert_ne!(digits(&long), "33612345678");
    }

    #[test]
    fn two_hundred_short_mailboxes_stay_two_hundred() {
        let mut pseudonyms = pseudonyms();
        let mailboxes: Vec<String> = ('a'..='z').flat_map(|a| ('a'..='h').map(move |b| format!("{a}{b}@example.com"))).collect();

        let fakes: HashSet<String> = mailboxes.iter().map(|mailbox| pseudonyms.of(PiiClass::Email, mailbox)).collect();

        assert_eq!(fakes.len(), mailboxes.len());
    }

    #[test]
    fn a_pseudonym_is_never_the_value_of_another_person() {
        let numbers: Vec<String> = (0..3_000).map(|number| format!("+336120{number:05}")).collect();
        let values: HashMap<String, PiiClass> = numbers.iter().map(|number| (number.clone(), PiiClass::Phone)).collect();
        let mut pseudonyms = Pseudonyms::new([7; 32], &values);

        let fakes: HashSet<String> = numbers.iter().map(|number| pseudonyms.of(PiiClass::Phone, number)).collect();

        assert_eq!(fakes.len(), numbers.len());
        assert!(numbers.iter().all(|number| !fakes.contains(number)));
    }

    #[test]
    fn other_values_keep_their_shape() {
        let mut pseudonyms = pseudonyms();
        for (class, value) in [
            (PiiClass::Name, "Élodie McRae"),
            (PiiClass::Address, "12 Rue de la Paix"),
            (PiiClass::BirthDate, "1990-02-29"),
            (PiiClass::FreeText, "call me, please"),
        ] {
            let new = pseudonyms.of(class, value);
            assert_eq!(new.chars().count(), value.chars().count(), "{new}");
            assert_ne!(new, value);
            assert_eq!(pseudonyms.of(class, &value.to_uppercase()).to_lowercase(), new.to_lowercase());
        }
        assert_eq!(pseudonyms.of(PiiClass::Address, "FR"), "FR");
        assert!(pseudonyms.of(PiiClass::Ip, "10.9.8.7").starts_with("198.18."));
    }
}
