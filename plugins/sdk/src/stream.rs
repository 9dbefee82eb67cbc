//! Descriptors of streams, fields and targets, serialised as the host's `schema` and `manifest` modules read them.
//! Records are flat: a nested object becomes `a_b` fields, a nested list a child stream, anything else a `json` field.

use serde::{Deserialize, Serialize};

/// The type of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// `true` or `false`.
    Boolean,
    /// 64-bit signed.
    Integer,
    /// Not for money.
    Float,
    /// Exact, carried as text.
    Decimal,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since the epoch, UTC.
    Timestamp,
    /// UTF-8.
    Text,
    /// One JSON document per value.
    Json,
    /// Bytes.
    Binary,
}

impl FieldType {
    /// The word used in schemas and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Decimal => "decimal",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Text => "text",
            Self::Json => "json",
            Self::Binary => "binary",
        }
    }
}

/// What a field says about a person: how to reach them (email, phone, address), who they are (name, birth date, gender), where
/// they were (IP address), what they call themselves online, or any words about them (free text).
#[expect(missing_docs, reason = "the words say it; documented variants would make the schema of a configuration a `oneOf`")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PiiClass {
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

/// What names of fields usually mean in customer data, without case and separators.
const USUAL: [(PiiClass, &[&str]); 8] = [
    (PiiClass::Email, &["email", "emailaddress", "workemail", "secondaryemail"]),
    (PiiClass::Phone, &["phone", "phonenumber", "mobile", "mobilephone", "homephone", "fax", "whatsapp"]),
    (PiiClass::Name, &["firstname", "lastname", "middlename", "fullname", "surname", "salutation", "nickname"]),
    (
        PiiClass::Address,
        &[
            "address",
            "address1",
            "address2",
            "street",
            "streetaddress",
            "city",
            "state",
            "zip",
            "postalcode",
            "country",
            "region",
        ],
    ),
    (PiiClass::BirthDate, &["birthdate", "birthday", "dateofbirth"]),
    (PiiClass::Ip, &["ip", "ipaddress"]),
    (PiiClass::Gender, &["gender", "sex"]),
    (PiiClass::FreeText, &["message", "note", "notes", "comment", "comments"]),
];

impl PiiClass {
    /// What a field of this name says about a person, for sources that learn their fields from the service and are told no
    /// more: `first_name`, `FirstName` and `firstname` are a name. `None` for names that do not tell.
    ///
    /// ```
    /// use affluent_sdk::PiiClass;
    ///
    /// assert_eq!(PiiClass::of_name("MobilePhone"), Some(PiiClass::Phone));
    /// assert_eq!(PiiClass::of_name("lifecyclestage"), None);
    /// ```
    pub fn of_name(name: &str) -> Option<Self> {
        let letters = name.chars().filter(|letter| !matches!(letter, '_' | '-' | ' '));
        let plain = letters.collect::<String>().to_lowercase();
        USUAL.iter().find(|(_, names)| names.contains(&plain.as_str())).map(|(class, _)| *class)
    }
}

/// One field of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Lower case with underscores; nested names are joined by one.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub field_type: FieldType,
    /// Whether a record may lack it.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// What it says about a person; sealed and granted by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pii: Option<PiiClass>,
    /// One or two sentences for users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

fn yes() -> bool {
    true
}

impl Field {
    /// A field that may be null and is not personal.
    pub fn new(name: impl Into<String>, field_type: FieldType) -> Self {
        Self { name: name.into(), field_type, nullable: true, pii: None, description: None }
    }

    /// Text fields by what they say about a person.
    ///
    /// ```
    /// use affluent_sdk::{Field, PiiClass};
    ///
    /// let fields: Vec<Field> = Field::texts(&[(None, &["id"]), (Some(PiiClass::Name), &["first_name", "last_name"])]).collect();
    /// assert_eq!((fields.len(), fields[2].pii), (3, Some(PiiClass::Name)));
    /// ```
    pub fn texts(classes: &[(Option<PiiClass>, &'static [&'static str])]) -> impl Iterator<Item = Self> {
        let field = |pii, name: &&str| Self { pii, ..Self::new(*name, FieldType::Text) };
        classes.iter().flat_map(move |(pii, names)| names.iter().map(move |name| field(*pii, name)))
    }

    /// Whether a name is one that the host takes: lower-case letters, digits and `_`, a letter first.
    pub fn is_plain_name(name: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        name.starts_with(|first: char| first.is_ascii_lowercase()) && name.len() <= 128 && name.bytes().all(is_plain)
    }

    /// A record without it is refused.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// It says this about a person.
    #[must_use]
    pub fn pii(mut self, class: PiiClass) -> Self {
        self.pii = Some(class);
        self
    }

    /// One or two sentences for users.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

/// How a stream is read: whole, or what changed since the last run.
#[expect(missing_docs, reason = "the words say it; documented variants would make the schema of a configuration a `oneOf`")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    FullRefresh,
    Incremental,
}

/// Where the rows of a child stream belong: `field` of the child holds the parent's primary key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The parent's stream.
    pub stream: String,
    /// The child's field that holds the parent's primary key.
    pub field: String,
}

/// One kind of record of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSchema {
    /// The word that pipelines write.
    pub name: String,
    /// Its columns.
    pub fields: Vec<Field>,
    /// The fields that identify a record.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The timestamp field by which it is read incrementally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor_field: Option<String>,
    /// How it can be read.
    #[serde(default)]
    pub sync_modes: Vec<SyncMode>,
    /// Where its rows belong, for a child stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

impl StreamSchema {
    /// A stream that can only be read whole, until more is said.
    pub fn new(name: impl Into<String>, fields: Vec<Field>) -> Self {
        Self {
            name: name.into(),
            fields,
            primary_key: Vec::new(),
            cursor_field: None,
            sync_modes: vec![SyncMode::FullRefresh],
            parent: None,
        }
    }

    /// The fields that identify a record.
    #[must_use]
    pub fn primary_key<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.primary_key = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The stream can be read from where the last run stopped.
    #[must_use]
    pub fn incremental(mut self, cursor_field: Option<&str>) -> Self {
        self.cursor_field = cursor_field.map(str::to_owned);
        self.sync_modes = vec![SyncMode::FullRefresh, SyncMode::Incremental];
        self
    }

    /// Its rows belong to a stream: `field` holds that one's primary key.
    #[must_use]
    pub fn child_of(mut self, stream: impl Into<String>, field: impl Into<String>) -> Self {
        self.parent = Some(Parent { stream: stream.into(), field: field.into() });
        self
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// What the host asks a source to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// The stream as it was discovered, as far as it is wanted.
    pub stream: StreamSchema,
    /// How it is to be read.
    pub sync: SyncMode,
    /// Nothing older is wanted, microseconds since the epoch.
    #[serde(default)]
    pub since_us: Option<i64>,
    /// How far to read back before the cursor, in milliseconds.
    #[serde(default)]
    pub lookback_ms: u64,
    /// Its child streams that are wanted in the same pages.
    #[serde(default)]
    pub children: Vec<StreamSchema>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_serialises_to_the_form_that_the_host_reads() {
        let stream = StreamSchema::new("lines", vec![Field::new("id", FieldType::Integer).required()])
            .primary_key(["id"])
            .incremental(Some("updated_at"))
            .child_of("orders", "order_id");

        let expected = r#"{"name":"lines","fields":[{"name":"id","type":"integer","nullable":false}],"primary_key":["id"],"cursor_field":"updated_at","sync_modes":["full_refresh","incremental"],"parent":{"stream":"orders","field":"order_id"}}"#;
        assert_eq!(serde_json::to_string(&stream).unwrap(), expected);
    }
}
