//! The transform: names in lower case. A row without an id, or named `poison`, is rejected.

use affluent_sdk::{
    ColumnsBuilder, Error, Field, FieldType, Output, Payload, PiiClass, Result, StreamSchema, Transform, runtime,
};
use serde::Deserialize;

use crate::Config;

/// A record, in both forms.
#[derive(Debug, Default, Deserialize)]
struct Row {
    id: Option<i64>,
    name: Option<String>,
    email: Option<String>,
}

/// The open transform.
#[derive(Debug)]
pub struct Tidy {
    config: Config,
    fields: Vec<Field>,
    seen: u64,
}

impl Transform for Tidy {
    type Config = Config;

    fn open(config: Config, input: StreamSchema) -> Result<(Self, StreamSchema)> {
        let fields = vec![
            Field::new("id", FieldType::Integer).required(),
            Field::new("name", FieldType::Text).pii(PiiClass::Name),
            Field::new("email", FieldType::Text).pii(PiiClass::Email),
        ];
        if config.is("will_not_open") {
            return Err(Error::internal("no"));
        }
        let output = StreamSchema { fields: fields.clone(), ..input };
        Ok((Self { config, fields, seen: 0 }, output))
    }

    fn apply(&mut self, batch: Payload) -> Result<Output> {
        let is = |config: &Config, mistake: &str| config.is(mistake);
        let is_text = matches!(batch, Payload::Ndjson(_));
        let rows = rows(batch)?;
        let (mut columns, mut rejected) = (ColumnsBuilder::new(&self.fields), Vec::new());
        for (number, row) in (0u32..).zip(rows) {
            let name = row.name.unwrap_or_default().to_lowercase();
            let Some(id) = row.id.filter(|_| name != "poison") else {
                if is(&self.config, "rejects_the_next") {
                    rejected.push(Error::invalid_data("not allowed").code("wrong.row").at_row(number.saturating_sub(1), None));
                } else {
                    rejected.push(Error::invalid_data("not allowed").code("wrong.row").at_row(number, Some("name")));
                }
                continue;
            };
            if is(&self.config, "drops_rows") && id % 5 == 0 {
                continue;
            }
            self.seen += 1;
            let name = match self.config.mistake.as_str() {
                "counts_rows_of_a_batch" => format!("{name} {number}"),
                "rolls_dice" => format!("{name} {:?}", runtime::random_bytes(8)),
                "shouts_in_ndjson" if is_text => name.to_uppercase(),
                _ => name,
            };
            columns.set("id", id)?;
            columns.set("name", name.as_str())?;
            columns.set("email", row.email.as_deref())?;
            columns.end_row();
        }
        let mut columns = columns.finish();
        if is(&self.config, "returns_other_columns") {
            columns
                .columns
                .iter_mut()
                .filter(|column| column.name == "email")
                .for_each(|column| "other".clone_into(&mut column.name));
        }
        Ok(Output { payload: Payload::Columns(columns), rejected })
    }
}

fn rows(batch: Payload) -> Result<Vec<Row>> {
    match batch {
        Payload::Columns(columns) => {
            let (ids, names, emails) = (columns.integers("id")?, columns.text("name")?, columns.text("email")?);
            let row = |row: usize| Row {
                id: ids.get(row),
                name: names.get(row).map(str::to_owned),
                email: emails.get(row).map(str::to_owned),
            };
            Ok((0..columns.rows as usize).map(row).collect())
        }
        Payload::Ndjson(lines) => {
            let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let read = |line: &[u8]| serde_json::from_slice(line).map_err(|_| Error::invalid_data("a line is no record"));
            lines.map(read).collect()
        }
    }
}
