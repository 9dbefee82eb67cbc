//! A transform over columns: e-mail addresses trimmed and in lower case with their domain as a column of its own, phone
//! numbers in E.164 form as far as digits tell. It is the pattern of a transform (columns in, columns out, what is not
//! touched is moved) and what the speed of transforms is measured with; it is not shipped, since mappings do the same.

use affluent_sdk::columns::{into_columns, lowercase};
use affluent_sdk::{
    Error, Field, FieldType, Manifest, Output, Payload, PiiClass, Plugin, PluginKind, Result, StreamSchema, Transform,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Column that the transform adds.
const DOMAIN: &str = "email_domain";

/// Names of the columns to work on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Text column with e-mail addresses.
    #[serde(default = "email")]
    email: String,
    /// Text column with phone numbers.
    #[serde(default = "phone")]
    phone: String,
    /// Digits put before numbers that begin with one zero: `33`.
    country_calling_code: String,
}

fn email() -> String {
    "email".to_owned()
}

fn phone() -> String {
    "phone".to_owned()
}

/// The plugin.
#[derive(Debug)]
pub struct Contacts;

impl Plugin for Contacts {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new::<Config>("contacts", env!("CARGO_PKG_VERSION"), [PluginKind::Transform])
            .description("E-mail addresses and phone numbers in one form")
    }
}

/// The transform of one stream.
#[derive(Debug)]
pub struct Normalize(Config);

impl Transform for Normalize {
    type Config = Config;

    fn open(config: Config, mut input: StreamSchema) -> Result<(Self, StreamSchema)> {
        for name in [&config.email, &config.phone] {
            let is_text = |field: &Field| field.name == *name && field.field_type == FieldType::Text;
            if !input.fields.iter().any(is_text) {
                return Err(Error::config(format!("the stream `{}` has no text column `{name}`", input.name)));
            }
        }
        input.fields.push(Field::new(DOMAIN, FieldType::Text).pii(PiiClass::Email));
        Ok((Self(config), input))
    }

    fn apply(&mut self, batch: Payload) -> Result<Output> {
        let mut columns = into_columns(batch)?;
        let Config { email, phone, country_calling_code } = &self.0;
        let emails = columns.text(email)?;
        let domains = emails.map(DOMAIN, |value, out| {
            let domain = value.rsplit_once('@').map(|(_, domain)| domain.trim_end());
            domain.inspect(|domain| lowercase(domain, out));
            Ok(domain.is_some())
        })?;
        let emails = emails.map(email, |value, out| {
            lowercase(value.trim(), out);
            Ok(true)
        })?;
        let phones = columns.text(phone)?.map(phone, |value, out| {
            write_phone(value, country_calling_code, out);
            Ok(true)
        })?;
        [emails, phones, domains].into_iter().for_each(|column| columns.put(column));
        Ok(Output { payload: Payload::Columns(columns), rejected: Vec::new() })
    }
}

/// A plus and the digits; a number with one leading zero gets the calling code instead of it.
fn write_phone(value: &str, calling_code: &str, out: &mut Vec<u8>) {
    let is_international = value.trim_start().starts_with('+');
    let mut digits = value.bytes().filter(u8::is_ascii_digit);
    out.push(b'+');
    let first = digits.next();
    if first == Some(b'0') && !is_international {
        let second = digits.next();
        if second != Some(b'0') {
            out.extend_from_slice(calling_code.as_bytes());
            out.extend(second);
        }
    } else {
        out.extend(first);
    }
    digits.for_each(|digit| out.push(digit));
}

affluent_sdk::export_transform!(Contacts, Normalize);

#[cfg(test)]
mod tests {
    use affluent_sdk::columns::{Column, ColumnsBuilder};

    use super::*;

    fn stream() -> StreamSchema {
        let fields = vec![Field::new("id", FieldType::Integer).required(), Field::new("email", FieldType::Text)];
        StreamSchema::new("people", [fields, vec![Field::new("phone", FieldType::Text)]].concat()).primary_key(["id"])
    }

    fn config() -> Config {
        Config { email: email(), phone: phone(), country_calling_code: "33".to_owned() }
    }

    #[test]
    fn addresses_and_numbers_get_one_form_and_nulls_stay() {
        let mut rows = ColumnsBuilder::new(&stream().fields);
        let given = [
            (Some(" Ada@X.Test "), Some("06 12-34")),
            (Some("nobody"), Some("0049 30 1")),
            (None, Some("+44 (20) 7")),
            (Some("a@b@c"), None),
            (Some("ÉVA@Ü.test"), Some("0")),
        ];
        for (id, (email, phone)) in (0i64..).zip(given) {
            rows.set("id", id).unwrap();
            rows.set("email", email).unwrap();
            rows.set("phone", phone).unwrap();
            rows.end_row();
        }
        let (mut transform, output) = Normalize::open(config(), stream()).unwrap();

        let payload = transform.apply(Payload::Columns(rows.finish())).unwrap().payload;

        let columns = into_columns(payload).unwrap();
        let texts = |name: &str| -> Vec<Option<String>> {
            let column = columns.text(name).unwrap();
            (0..5).map(|row| column.get(row).map(str::to_owned)).collect()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(texts("email"), [some("ada@x.test"), some("nobody"), None, some("a@b@c"), some("éva@ü.test")]);
        assert_eq!(texts("email_domain"), [some("x.test"), None, None, some("c"), some("ü.test")]);
        assert_eq!(texts("phone"), [some("+3361234"), some("+49301"), some("+44207"), None, some("+33")]);
        let names: Vec<&str> = columns.columns.iter().map(|column: &Column| column.name.as_str()).collect();
        assert_eq!(names, output.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_without_the_columns_is_refused_when_it_is_opened() {
        let error = Normalize::open(config(), StreamSchema::new("orders", vec![])).unwrap_err();

        assert!(error.message.contains("no text column `email`"), "{error}");
    }
}
