//! What fields are for: pointing to somebody, saying when, saying yes or no.

use affluent_model::personal_names::{ends_with, words};
use affluent_model::schema::FieldType;

use super::column::ColumnCount;
use super::look::Signs;
use super::personal::PersonalKind;
use super::propose_sql::{column, text};
use super::report::{ConsentCandidate, FieldAssessment, IdentifierCandidate, KeyCandidate, Share, TimeCandidate, TimeRole};
use super::tally::{Tally, share};

/// Last words of names of identifiers.
const ID_ENDINGS: [&[&str]; 11] =
    [&["id"], &["ids"], &["uuid"], &["guid"], &["key"], &["number"], &["no"], &["nr"], &["ref"], &["reference"], &["account"]];
/// Words of names of identifiers of persons.
const PERSON_WORDS: [&str; 14] = [
    "account",
    "client",
    "contact",
    "customer",
    "guest",
    "lead",
    "loyalty",
    "member",
    "patient",
    "person",
    "profile",
    "subscriber",
    "user",
    "visitor",
];
/// Values of an identifier repeat less than this; fewer values are a category.
const ID_DISTINCT_SHARE_MIN: f64 = 0.02;
/// A field of which more is missing is no subject.
const SUBJECT_FILL_MIN: f64 = 0.9;
/// Texts by which consent is said, in lower case.
const GRANTED: [&str; 9] = ["subscribed", "opted_in", "opt_in", "opted-in", "granted", "yes", "y", "true", "confirmed"];
const DENIED: [&str; 11] =
    ["unsubscribed", "opted_out", "opt_out", "opted-out", "denied", "no", "n", "false", "cleaned", "bounced", "complained"];

/// A field that points to somebody or something.
pub(crate) fn identifier(
    column: &ColumnCount,
    tally: &Tally,
    field: &FieldAssessment,
    stream: &str,
) -> Option<IdentifierCandidate> {
    let personal = field.personal.as_ref().map(|personal| personal.kind);
    let words = words(&field.name);
    let is_named = ID_ENDINGS.iter().any(|ending| ends_with(&words, ending));
    let is_stored_as_id = matches!(field.kind, FieldType::Text | FieldType::Integer);
    let repeats_little = share(field.distinct, column.filled) >= ID_DISTINCT_SHARE_MIN;
    let is_time = tally.share(Signs::UNIX_TIME) > 0.9 && !is_named;
    let is_candidate = match personal {
        Some(PersonalKind::Email | PersonalKind::Phone | PersonalKind::DeviceId | PersonalKind::NationalId) => true,
        Some(_) => false,
        None => is_stored_as_id && repeats_little && !is_time && (is_named || tally.share(Signs::UUID) > 0.9),
    };
    if !is_candidate || column.filled == 0 {
        return None;
    }
    let junk: u64 = field.junk.iter().map(|junk| junk.records).sum();
    let says_person = words.iter().any(|word| PERSON_WORDS.contains(&word.as_str()));
    let is_of_person = match personal {
        Some(PersonalKind::Email | PersonalKind::Phone | PersonalKind::DeviceId) => true,
        Some(_) => false,
        None => says_person,
    };
    Some(IdentifierCandidate {
        field: field.name.clone(),
        kind: kind_of(personal, &field.name, stream),
        is_of_person,
        fill_rate: field.fill_rate,
        distinct: field.distinct,
        records_per_value: hundredths(per_value(column.filled, field.distinct)),
        records_per_value_p99: tally.records_at(0.99),
        records_per_value_max: tally.records_at(1.0),
        junk_share: share(junk, column.filled),
        known: Vec::new(),
    })
}

fn per_value(filled: u64, distinct: u64) -> f64 {
    share(filled, distinct)
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn kind_of(personal: Option<PersonalKind>, name: &str, stream: &str) -> String {
    match personal {
        Some(PersonalKind::Email) => "email".to_owned(),
        Some(PersonalKind::Phone) => "phone".to_owned(),
        _ => {
            let name = snake_case(name);
            if name == "id" { format!("{}_id", snake_case(stream)) } else { name }
        }
    }
}

/// A name for YAML keys: `FirstName` → `first_name`.
pub(crate) fn snake_case(name: &str) -> String {
    let name: String =
        words(name).join("_").chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    if name.starts_with(|first: char| first.is_ascii_lowercase()) { name } else { format!("field_{name}") }
}

/// The field that identifies the person at the source: one that says so and is filled, else the key of a stream of persons.
pub(crate) fn subject(fields: &[FieldAssessment], identifiers: &[IdentifierCandidate], keys: &[KeyCandidate]) -> Option<String> {
    let is_contact = |one: &IdentifierCandidate| matches!(one.kind.as_str(), "email" | "phone");
    let is_device = |one: &IdentifierCandidate| {
        let field = fields.iter().find(|field| field.name == one.field);
        field.and_then(|field| field.personal.as_ref()).is_some_and(|personal| personal.kind == PersonalKind::DeviceId)
    };
    let filled = identifiers.iter().filter(|one| one.is_of_person && one.fill_rate >= SUBJECT_FILL_MIN);
    let named = filled.filter(|one| !is_contact(one) && !is_device(one)).max_by(|a, b| a.fill_rate.total_cmp(&b.fill_rate));
    if let Some(named) = named {
        return Some(named.field.clone());
    }
    let is_of_persons = identifiers.iter().any(is_contact)
        || fields.iter().any(|field| field.personal.as_ref().is_some_and(|personal| personal.kind == PersonalKind::Name));
    let key = keys.iter().filter(|key| key.fields.len() == 1).flat_map(|key| &key.fields);
    key.filter(|_| is_of_persons).find(|name| identifiers.iter().any(|one| one.field == **name)).cloned()
}

/// A field that says when something was.
pub(crate) fn time(tally: &Tally, field: &FieldAssessment) -> Option<TimeCandidate> {
    if field.personal.is_some() {
        return None;
    }
    let words = words(&field.name);
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let says_time = has(&["at", "on", "date", "day", "time", "timestamp", "ts", "created", "updated", "modified", "changed"]);
    let format = match field.kind {
        FieldType::Timestamp => "timestamp",
        FieldType::Date => "date",
        FieldType::Integer if says_time && tally.share(Signs::UNIX_TIME) > 0.95 => "unix time",
        FieldType::Integer if says_time && tally.share(Signs::COMPACT_DATE) > 0.95 => "YYYYMMDD",
        FieldType::Text if tally.share(Signs::DATE) + tally.share(Signs::INSTANT) > 0.95 => "date or timestamp",
        FieldType::Text if tally.share(Signs::DAY_FIRST) > 0.95 => "day/month/year",
        FieldType::Text if tally.share(Signs::MONTH_FIRST) > 0.95 => "month/day/year",
        _ => return None,
    };
    let role = if has(&["updated", "update", "modified", "changed", "change", "lastmodified"]) {
        TimeRole::Changed
    } else if has(&["created", "inserted", "registered", "signup", "added"]) {
        TimeRole::Created
    } else {
        TimeRole::Event
    };
    Some(TimeCandidate { field: field.name.clone(), role, format })
}

/// A field that says whether somebody agreed to be written to.
pub(crate) fn consent(field: &FieldAssessment, few: &[Share]) -> Option<ConsentCandidate> {
    let words = words(&field.name);
    let name = words.join("_");
    let says = ["consent", "opt_in", "optin", "opted", "opt_out", "optout", "subscri", "marketing", "newsletter"];
    let is_named = says.iter().any(|word| name.contains(word));
    let is_status = few.iter().any(|value| value.name.eq_ignore_ascii_case("unsubscribed"));
    if !(is_named || is_status) || field.personal.is_some() {
        return None;
    }
    let is_reverse = ["opt_out", "optout", "opted_out", "unsubscribed"].iter().any(|word| name.contains(word));
    let granted = granted(field, few, is_reverse)?;
    let purpose = if name.contains("sms") { "sms_marketing" } else { "email_marketing" };
    Some(ConsentCandidate { field: field.name.clone(), purpose: purpose.to_owned(), granted })
}

fn granted(field: &FieldAssessment, few: &[Share], is_reverse: bool) -> Option<String> {
    let column = column(&field.name);
    let is_word = |value: &str| value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false");
    if field.kind == FieldType::Boolean && few.iter().all(|value| is_word(&value.name)) {
        return Some(if is_reverse { format!("NOT {column}") } else { column });
    }
    let one_of = |wanted: &[&str]| {
        let found = few.iter().filter(|value| wanted.contains(&value.name.to_lowercase().as_str()));
        found.map(|value| text(&value.name)).collect::<Vec<_>>().join(", ")
    };
    let (yes, no) = (one_of(&GRANTED), one_of(&DENIED));
    if yes.is_empty() && no.is_empty() {
        return None;
    }
    let case = |values: &str, said: bool| match values {
        "" => String::new(),
        _ => format!(" WHEN {column} IN ({values}) THEN {}", said != is_reverse),
    };
    Some(format!("CASE{}{} END", case(&yes, true), case(&no, false)))
}
