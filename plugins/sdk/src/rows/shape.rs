//! From a type's JSON Schema to the fields of a stream, and to the tree by which a record finds its columns.

use std::cell::Cell;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::stream::{Field, FieldType, PiiClass};

/// One name of a record, and where its value goes.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) target: Target,
    /// Where serde keeps this name: names from there need no comparison.
    address: Cell<usize>,
}

#[derive(Debug)]
pub(super) enum Target {
    /// Index of a column.
    Column(usize),
    /// A nested struct.
    Record(Vec<Member>),
}

impl Member {
    /// Whether it has this name.
    #[inline]
    pub(super) fn is(&self, name: &'static str) -> bool {
        let address = name.as_ptr().addr();
        if self.address.get() == address && self.name.len() == name.len() {
            return true;
        }
        let is_same = self.name == name;
        if is_same {
            self.address.set(address);
        }
        is_same
    }
}

/// The fields of a type and its tree.
pub(super) fn of<T: JsonSchema>() -> Result<(Vec<Field>, Vec<Member>)> {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let mut fields = Vec::new();
    let members = members(&schema, &Outer::default(), &mut fields)?;
    if fields.is_empty() {
        return Err(Error::internal(format!("`{}` is not a struct with named fields", T::schema_name())));
    }
    Ok((fields, members))
}

/// What a nested struct gives its fields.
#[derive(Default)]
struct Outer {
    prefix: String,
    pii: Option<PiiClass>,
    is_nullable: bool,
}

fn members(schema: &Value, outer: &Outer, fields: &mut Vec<Field>) -> Result<Vec<Member>> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(Vec::new()) };
    // serde_json sorts objects, but a list stays in order: what is always written is `required`, as declared.
    let required = schema.get("required").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let declared = required.iter().filter_map(Value::as_str);
    let others = properties.keys().map(String::as_str).filter(|name| !required.iter().any(|known| known == name));
    let mut members = Vec::new();
    for name in declared.chain(others) {
        let Some(property) = properties.get(name) else { continue };
        let is_optional = !required.iter().any(|known| known == name);
        members.push(member(
            name,
            property,
            &Outer { is_nullable: outer.is_nullable || is_optional, prefix: outer.prefix.clone(), ..*outer },
            fields,
        )?);
    }
    Ok(members)
}

fn member(name: &str, property: &Value, outer: &Outer, fields: &mut Vec<Field>) -> Result<Member> {
    let full_name = format!("{}{name}", outer.prefix);
    let inner = non_null(property);
    let pii = word(property, "pii", &full_name)?.or(word(inner, "pii", &full_name)?).or(outer.pii);
    let chosen = word::<FieldType>(property, "column", &full_name)?;
    let nullable = outer.is_nullable || may_be_null(property);
    let target = if chosen.is_none() && inner.get("properties").is_some() {
        let outer = Outer { prefix: format!("{full_name}_"), pii, is_nullable: nullable };
        Target::Record(members(inner, &outer, fields)?)
    } else {
        let field_type = chosen.unwrap_or_else(|| field_type(inner));
        let description = property.get("description").and_then(Value::as_str).map(str::to_owned);
        fields.push(Field { name: full_name, field_type, nullable, pii, description });
        Target::Column(fields.len() - 1)
    };
    Ok(Member { name: name.to_owned(), target, address: Cell::new(0) })
}

/// The schema of `T` in the schema of an `Option<T>`.
fn non_null(schema: &Value) -> &Value {
    let choices = schema.get("anyOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    match choices {
        [inner, null] | [null, inner] if is_null(null) => inner,
        _ => schema,
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|word| word == "null")
}

fn may_be_null(schema: &Value) -> bool {
    let types = schema.get("type").and_then(Value::as_array);
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let is_anything =
        schema.get("type").is_none() && choices.is_none() && schema.get("oneOf").is_none() && schema.get("enum").is_none();
    is_anything
        || types.is_some_and(|types| types.iter().any(|word| word == "null"))
        || choices.is_some_and(|all| all.iter().any(is_null))
}

fn field_type(schema: &Value) -> FieldType {
    let types = match schema.get("type") {
        Some(Value::Array(types)) => types.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let mut types = types.iter().filter_map(Value::as_str).filter(|word| *word != "null");
    match (types.next(), types.next()) {
        (Some("boolean"), None) => FieldType::Boolean,
        (Some("integer"), None) => FieldType::Integer,
        (Some("number"), None) => FieldType::Float,
        (Some("string"), None) => match schema.get("format").and_then(Value::as_str) {
            Some("date") => FieldType::Date,
            Some("date-time") => FieldType::Timestamp,
            Some("decimal") => FieldType::Decimal,
            _ => FieldType::Text,
        },
        (None, None) if is_choice_of_words(schema) => FieldType::Text,
        _ => FieldType::Json,
    }
}

/// An enum of unit variants: schemars writes it as `oneOf` when its variants have doc comments.
fn is_choice_of_words(schema: &Value) -> bool {
    let choices = schema.get("oneOf").and_then(Value::as_array);
    choices.is_some_and(|choices| !choices.is_empty() && choices.iter().all(|choice| field_type(choice) == FieldType::Text))
}

/// The word under a key of `extend`.
fn word<W: DeserializeOwned>(schema: &Value, key: &str, field: &str) -> Result<Option<W>> {
    let Some(word) = schema.get(key) else { return Ok(None) };
    let known = serde_json::from_value(word.clone());
    known.map(Some).map_err(|error| Error::internal(format!("field `{field}`: `{key}` of its type is not known: {error}")))
}
