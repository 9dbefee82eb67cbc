//! What a user may say about one column of a file stream, and what is assumed without it. Personal data is guessed by
//! name and always on the safe side: a wrong guess hides a column until `pii: none` is written.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::date_format::DateFormat;
use crate::error::{Error, Result};
use crate::stream::{Field, FieldType, PiiClass};

/// Settings of one column; everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnSettings {
    /// Its type; guessed from a sample without it.
    #[serde(rename = "type", default)]
    pub field_type: Option<FieldType>,
    /// What it says about a person; guessed from its name without it, `none` for nothing.
    #[serde(default)]
    pub pii: Option<PiiSetting>,
    /// How dates or times are written: `%d/%m/%Y`; RFC 3339 without it.
    #[serde(default)]
    pub format: Option<String>,
    /// Its name as a field of the stream.
    #[serde(default)]
    pub rename: Option<String>,
}

/// A class of personal data, or none.
#[expect(missing_docs, reason = "the words say it; documented variants would make the schema of a configuration a `oneOf`")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PiiSetting {
    None,
    Email,
    Phone,
    Name,
    Address,
    BirthDate,
    Ip,
    FreeText,
    OnlineId,
    Gender,
}

impl PiiSetting {
    fn class(self) -> Option<PiiClass> {
        Some(match self {
            Self::None => return None,
            Self::Email => PiiClass::Email,
            Self::Phone => PiiClass::Phone,
            Self::Name => PiiClass::Name,
            Self::Address => PiiClass::Address,
            Self::BirthDate => PiiClass::BirthDate,
            Self::Ip => PiiClass::Ip,
            Self::FreeText => PiiClass::FreeText,
            Self::OnlineId => PiiClass::OnlineId,
            Self::Gender => PiiClass::Gender,
        })
    }
}

impl ColumnSettings {
    /// The field that a column becomes, `guessed` being its type by the sample.
    ///
    /// # Errors
    /// `config` for a format that is wrong or does not fit the type.
    pub fn field(&self, column: &str, guessed: FieldType) -> Result<Field> {
        let format = self.date_format()?;
        let declared = self.field_type.or(format.as_ref().map(of_format));
        if let (Some(_), Some(declared)) = (&format, declared)
            && !matches!(declared, FieldType::Date | FieldType::Timestamp)
        {
            let word = declared.as_str();
            return Err(Error::config(format!("column `{column}` is of type {word}, which has no `format`")));
        }
        let (field_type, pii) = match (declared, guess_pii(column, declared.unwrap_or(guessed))) {
            (Some(declared), pii) => (declared, pii),
            // Digits of a phone number or postcode are no quantity.
            (None, Some(pii @ (PiiClass::Phone | PiiClass::Address))) => (FieldType::Text, Some(pii)),
            (None, pii) => (guessed, pii),
        };
        let mut field = Field::new(self.rename.as_deref().unwrap_or(column), field_type);
        field.pii = self.pii.map_or(pii, PiiSetting::class);
        Ok(field)
    }

    /// The parsed format, if there is one.
    ///
    /// # Errors
    /// As [`DateFormat::new`].
    pub fn date_format(&self) -> Result<Option<DateFormat>> {
        self.format.as_deref().map(DateFormat::new).transpose()
    }
}

fn of_format(format: &DateFormat) -> FieldType {
    if format.has_time() { FieldType::Timestamp } else { FieldType::Date }
}

/// The class of personal data that a column of this name and type most likely holds.
pub fn guess_pii(name: &str, field_type: FieldType) -> Option<PiiClass> {
    let words = words_of(name);
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let is_made_of = |wanted: &[&str]| words.iter().all(|word| wanted.contains(&word.as_str()));
    let ends_with = |wanted: &[&str]| words.last().is_some_and(|word| wanted.contains(&word.as_str()));

    let is_text = field_type == FieldType::Text;
    if has(&["dob", "birthdate", "birthday", "birth"])
        && matches!(field_type, FieldType::Text | FieldType::Date | FieldType::Timestamp)
    {
        return Some(PiiClass::BirthDate);
    }
    if is_text && has(&["email", "mail", "emails"]) {
        return Some(PiiClass::Email);
    }
    let may_be_digits = is_text || field_type == FieldType::Integer;
    let is_phone = ends_with(&["phone", "tel", "telephone", "mobile", "cellphone", "msisdn"])
        || (has(&["phone", "tel", "telephone", "mobile"]) && (is_text || ends_with(&["number", "no", "nr"])));
    if may_be_digits && is_phone {
        return Some(PiiClass::Phone);
    }
    let is_postcode = ends_with(&["postcode", "postal", "zip", "zipcode", "postalcode"])
        || (has(&["postal", "zip", "post"]) && ends_with(&["code"]));
    if may_be_digits && is_postcode {
        return Some(PiiClass::Address);
    }
    if !is_text {
        return None;
    }
    if has(&["ip"]) && is_made_of(&["ip", "address", "addr", "client", "remote", "last", "user", "browser", "signup"]) {
        return Some(PiiClass::Ip);
    }
    if has(&["address", "address1", "address2", "addr", "street"]) {
        return Some(PiiClass::Address);
    }
    const PERSON: [&str; 20] = [
        "first",
        "last",
        "full",
        "given",
        "family",
        "middle",
        "maiden",
        "display",
        "customer",
        "contact",
        "billing",
        "shipping",
        "recipient",
        "name",
        "names",
        "firstname",
        "lastname",
        "surname",
        "fullname",
        "nickname",
    ];
    let has_name = has(&["name", "names", "firstname", "lastname", "surname", "fullname", "nickname"]);
    (has_name && is_made_of(&PERSON)).then_some(PiiClass::Name)
}

/// Lower-case words of `first_name`, `firstName`, `First Name`, `E-Mail`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (letter.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = letter.is_lowercase() || letter.is_ascii_digit();
        if let (true, Some(word)) = (letter.is_alphanumeric(), words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    // "e-mail" is one word.
    if let Some(at) = words.iter().position(|word| word == "e") {
        words.remove(at);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_columns_are_known_by_their_names() {
        let cases = [
            ("email", FieldType::Text, Some(PiiClass::Email)),
            ("E-Mail", FieldType::Text, Some(PiiClass::Email)),
            ("emailAddress", FieldType::Text, Some(PiiClass::Email)),
            ("email_opt_in", FieldType::Boolean, None),
            ("phone", FieldType::Integer, Some(PiiClass::Phone)),
            ("Mobile Number", FieldType::Text, Some(PiiClass::Phone)),
            ("phone_calls", FieldType::Integer, None),
            ("first_name", FieldType::Text, Some(PiiClass::Name)),
            ("LastName", FieldType::Text, Some(PiiClass::Name)),
            ("name", FieldType::Text, Some(PiiClass::Name)),
            ("product_name", FieldType::Text, None),
            ("street", FieldType::Text, Some(PiiClass::Address)),
            ("zip", FieldType::Integer, Some(PiiClass::Address)),
            ("postal_code", FieldType::Text, Some(PiiClass::Address)),
            ("ip_address", FieldType::Text, Some(PiiClass::Ip)),
            ("date_of_birth", FieldType::Date, Some(PiiClass::BirthDate)),
            ("total", FieldType::Decimal, None),
        ];

        for (name, field_type, expected) in cases {
            assert_eq!(guess_pii(name, field_type), expected, "{name}");
        }
    }

    #[test]
    fn a_phone_number_of_digits_is_text() {
        let field = ColumnSettings::default().field("phone", FieldType::Integer).unwrap();

        assert_eq!((field.field_type, field.pii), (FieldType::Text, Some(PiiClass::Phone)));
    }

    #[test]
    fn a_user_can_say_that_a_column_is_not_personal() {
        let settings = ColumnSettings { pii: Some(PiiSetting::None), ..ColumnSettings::default() };

        assert_eq!(settings.field("name", FieldType::Text).unwrap().pii, None);
    }

    #[test]
    fn a_format_decides_between_date_and_timestamp() {
        let with = |format: &str| ColumnSettings { format: Some(format.to_owned()), ..ColumnSettings::default() };

        assert_eq!(with("%d/%m/%Y").field("a", FieldType::Text).unwrap().field_type, FieldType::Date);
        assert_eq!(with("%d/%m/%Y %H:%M").field("a", FieldType::Text).unwrap().field_type, FieldType::Timestamp);
    }
}
