//! Kinds of personal data that are told apart in a source: finer than the classes that decide how a field is kept.

use affluent_model::personal_names::{ends_with, promised_class, words};
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use serde::Serialize;

/// What a field says about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonalKind {
    Email,
    Phone,
    Name,
    DateOfBirth,
    Address,
    Postcode,
    Ip,
    DeviceId,
    NationalId,
    Gender,
    FreeText,
}

/// Endings of names beyond those that the product knows for every stream: what it would be too strict to refuse there.
const ENDINGS: [(&[&str], PersonalKind); 40] = [
    (&["postcode"], PersonalKind::Postcode),
    (&["post", "code"], PersonalKind::Postcode),
    (&["postal", "code"], PersonalKind::Postcode),
    (&["zip"], PersonalKind::Postcode),
    (&["zip", "code"], PersonalKind::Postcode),
    (&["zipcode"], PersonalKind::Postcode),
    (&["plz"], PersonalKind::Postcode),
    (&["street", "number"], PersonalKind::Address),
    (&["house", "number"], PersonalKind::Address),
    (&["address", "3"], PersonalKind::Address),
    (&["address", "line", "3"], PersonalKind::Address),
    (&["ssn"], PersonalKind::NationalId),
    (&["soc", "sec", "id"], PersonalKind::NationalId),
    (&["social", "security", "number"], PersonalKind::NationalId),
    (&["national", "id"], PersonalKind::NationalId),
    (&["national", "insurance", "number"], PersonalKind::NationalId),
    (&["nino"], PersonalKind::NationalId),
    (&["nir"], PersonalKind::NationalId),
    (&["dni"], PersonalKind::NationalId),
    (&["bsn"], PersonalKind::NationalId),
    (&["cpf"], PersonalKind::NationalId),
    (&["passport"], PersonalKind::NationalId),
    (&["passport", "number"], PersonalKind::NationalId),
    (&["tax", "id"], PersonalKind::NationalId),
    (&["device"], PersonalKind::DeviceId),
    (&["idfa"], PersonalKind::DeviceId),
    (&["gaid"], PersonalKind::DeviceId),
    (&["aaid"], PersonalKind::DeviceId),
    (&["cookie"], PersonalKind::DeviceId),
    (&["session", "id"], PersonalKind::DeviceId),
    (&["anonymous", "id"], PersonalKind::DeviceId),
    (&["visitor", "id"], PersonalKind::DeviceId),
    (&["client", "id"], PersonalKind::DeviceId),
    (&["person", "name"], PersonalKind::Name),
    (&["forename"], PersonalKind::Name),
    (&["initials"], PersonalKind::Name),
    (&["note"], PersonalKind::FreeText),
    (&["notes"], PersonalKind::FreeText),
    (&["comment"], PersonalKind::FreeText),
    (&["comments"], PersonalKind::FreeText),
];

impl PersonalKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Email,
        Self::Phone,
        Self::Name,
        Self::DateOfBirth,
        Self::Address,
        Self::Postcode,
        Self::Ip,
        Self::DeviceId,
        Self::NationalId,
        Self::Gender,
        Self::FreeText,
    ];

    /// For people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Email => "e-mail",
            Self::Phone => "phone",
            Self::Name => "name",
            Self::DateOfBirth => "date of birth",
            Self::Address => "address",
            Self::Postcode => "postcode",
            Self::Ip => "ip",
            Self::DeviceId => "device id",
            Self::NationalId => "national id",
            Self::Gender => "gender",
            Self::FreeText => "free text",
        }
    }

    /// The class that a field of the kind is given. A national id has none of its own: as free text it is sealed and never
    /// compared.
    #[must_use]
    pub fn class(self) -> PiiClass {
        match self {
            Self::Email => PiiClass::Email,
            Self::Phone => PiiClass::Phone,
            Self::Name => PiiClass::Name,
            Self::DateOfBirth => PiiClass::BirthDate,
            Self::Address | Self::Postcode => PiiClass::Address,
            Self::Ip => PiiClass::Ip,
            Self::DeviceId => PiiClass::OnlineId,
            Self::Gender => PiiClass::Gender,
            Self::NationalId | Self::FreeText => PiiClass::FreeText,
        }
    }

    /// The kind that a class stands for.
    #[must_use]
    pub fn of_class(class: PiiClass) -> Self {
        match class {
            PiiClass::Email => Self::Email,
            PiiClass::Phone => Self::Phone,
            PiiClass::Name => Self::Name,
            PiiClass::Address => Self::Address,
            PiiClass::BirthDate => Self::DateOfBirth,
            PiiClass::Ip => Self::Ip,
            PiiClass::FreeText => Self::FreeText,
            PiiClass::OnlineId => Self::DeviceId,
            PiiClass::Gender => Self::Gender,
        }
    }

    /// What a field's name promises.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let words = words(name);
        let own = ENDINGS.iter().filter(|(ending, _)| ends_with(&words, ending)).max_by_key(|(ending, _)| ending.len());
        let known = promised_class(&Field::new(name, FieldType::Text)).map(Self::of_class);
        match (own, known) {
            // `street_number` is no phone number, `device_id` is known already.
            (Some((ending, kind)), Some(_)) if ending.len() > 1 => Some(*kind),
            (_, Some(known)) => Some(known),
            (Some((_, kind)), None) => Some(*kind),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_its_field_says_about_a_person() {
        let cases = [
            ("given_name", Some(PersonalKind::Name)),
            ("surname", Some(PersonalKind::Name)),
            ("street_number", Some(PersonalKind::Address)),
            ("address_1", Some(PersonalKind::Address)),
            ("MailingPostalCode", Some(PersonalKind::Postcode)),
            ("date_of_birth", Some(PersonalKind::DateOfBirth)),
            ("soc_sec_id", Some(PersonalKind::NationalId)),
            ("device_id", Some(PersonalKind::DeviceId)),
            ("client_ip", Some(PersonalKind::Ip)),
            ("suburb", None),
            ("total", None),
            ("note_count", None),
        ];
        for (name, kind) in cases {
            assert_eq!(PersonalKind::of_name(name), kind, "{name}");
        }
    }
}
