//! Field names that promise personal data. A field without a class whose name is among them is an error until the
//! project classifies it: nothing personal slips in because a plugin forgot to say so.

use crate::pii::PiiClass;
use crate::schema::{Field, FieldType};

/// Endings of names, as words, and the class they promise. English, as vendors' field names are.
const ENDINGS: [(&[&str], PiiClass); 50] = [
    (&["email"], PiiClass::Email),
    (&["e", "mail"], PiiClass::Email),
    (&["mail"], PiiClass::Email),
    (&["email", "address"], PiiClass::Email),
    (&["mail", "address"], PiiClass::Email),
    (&["phone"], PiiClass::Phone),
    (&["phone", "number"], PiiClass::Phone),
    (&["telephone"], PiiClass::Phone),
    (&["tel"], PiiClass::Phone),
    (&["mobile"], PiiClass::Phone),
    (&["mobile", "number"], PiiClass::Phone),
    (&["mobilephone"], PiiClass::Phone),
    (&["fax"], PiiClass::Phone),
    (&["whatsapp"], PiiClass::Phone),
    (&["first", "name"], PiiClass::Name),
    (&["firstname"], PiiClass::Name),
    (&["last", "name"], PiiClass::Name),
    (&["lastname"], PiiClass::Name),
    (&["full", "name"], PiiClass::Name),
    (&["fullname"], PiiClass::Name),
    (&["given", "name"], PiiClass::Name),
    (&["family", "name"], PiiClass::Name),
    (&["middle", "name"], PiiClass::Name),
    (&["maiden", "name"], PiiClass::Name),
    (&["customer", "name"], PiiClass::Name),
    (&["contact", "name"], PiiClass::Name),
    (&["surname"], PiiClass::Name),
    (&["nickname"], PiiClass::Name),
    (&["address"], PiiClass::Address),
    (&["address1"], PiiClass::Address),
    (&["address2"], PiiClass::Address),
    (&["address", "1"], PiiClass::Address),
    (&["address", "2"], PiiClass::Address),
    (&["address", "line", "1"], PiiClass::Address),
    (&["address", "line", "2"], PiiClass::Address),
    (&["street"], PiiClass::Address),
    (&["street", "name"], PiiClass::Address),
    (&["birth", "date"], PiiClass::BirthDate),
    (&["birthdate"], PiiClass::BirthDate),
    (&["birthday"], PiiClass::BirthDate),
    (&["date", "of", "birth"], PiiClass::BirthDate),
    (&["dob"], PiiClass::BirthDate),
    (&["ip"], PiiClass::Ip),
    (&["ip", "address"], PiiClass::Ip),
    (&["ip", "addr"], PiiClass::Ip),
    (&["gender"], PiiClass::Gender),
    (&["sex"], PiiClass::Gender),
    (&["user", "agent"], PiiClass::OnlineId),
    (&["device", "id"], PiiClass::OnlineId),
    (&["cookie", "id"], PiiClass::OnlineId),
];

/// The class that a field's name promises; `None` for truth values and numbers, which only tell something about one,
/// and for times other than a birth date.
#[must_use]
pub fn promised_class(field: &Field) -> Option<PiiClass> {
    let words = words(&field.name);
    let longest = ENDINGS
        .iter()
        .filter(|(ending, _)| ends_with(&words, ending))
        .max_by_key(|(ending, _)| ending.len())
        .map(|(_, class)| *class)?;
    let holds = match field.kind {
        FieldType::Text | FieldType::Json | FieldType::Binary => true,
        FieldType::Date | FieldType::Timestamp => longest == PiiClass::BirthDate,
        FieldType::Integer => longest == PiiClass::Phone,
        FieldType::Boolean | FieldType::Float | FieldType::Decimal => false,
    };
    holds.then_some(longest)
}

/// True when the last words of a name are these.
#[must_use]
pub fn ends_with(words: &[String], ending: &[&str]) -> bool {
    let Some(start) = words.len().checked_sub(ending.len()) else { return false };
    words.iter().skip(start).zip(ending).all(|(word, wanted)| word == wanted)
}

/// `billingPhone`, `billing_phone` and `Billing-Phone` are the words billing and phone.
#[must_use]
pub fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut after_lower = false;
    for character in name.chars() {
        let starts_word = character.is_uppercase() && after_lower;
        after_lower = character.is_lowercase() || character.is_ascii_digit();
        if !character.is_alphanumeric() || starts_word {
            words.push(String::new());
        }
        if let (true, Some(word)) = (character.is_alphanumeric(), words.last_mut()) {
            word.extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_end_in_personal_words_promise_a_class() {
        let cases = [
            ("email", Some(PiiClass::Email)),
            ("customer_email", Some(PiiClass::Email)),
            ("EmailAddress", Some(PiiClass::Email)),
            ("billingPhone", Some(PiiClass::Phone)),
            ("First-Name", Some(PiiClass::Name)),
            ("ip_address", Some(PiiClass::Ip)),
            ("client_ip", Some(PiiClass::Ip)),
            ("shipping_address", Some(PiiClass::Address)),
            ("default_address_country_code", None),
            ("email_marketing_state", None),
            ("name", None),
            ("zip", None),
            ("recipe", None),
            ("", None),
        ];
        for (name, class) in cases {
            assert_eq!(promised_class(&Field::new(name, FieldType::Text)), class, "{name}");
        }
    }

    #[test]
    fn counts_flags_and_times_about_a_value_promise_nothing() {
        assert_eq!(promised_class(&Field::new("has_email", FieldType::Boolean)), None);
        assert_eq!(promised_class(&Field::new("email", FieldType::Timestamp)), None);
        assert_eq!(promised_class(&Field::new("birth_date", FieldType::Date)), Some(PiiClass::BirthDate));
        assert_eq!(promised_class(&Field::new("phone", FieldType::Integer)), Some(PiiClass::Phone));
    }
}
