//! What a transform costs inside the sandbox against the same code compiled natively: records per CPU-second, in turns,
//! and the ratios. Inside: Arrow batch → columns → component → columns → checked Arrow batch. Natively, twice: in the same
//! seat of a pipeline (Arrow batch → columns → `apply` → Arrow batch), and the plugin's `apply` alone, on columns that are
//! there already. Not part of the product.
//!
//! `transform_speed FOLDER`, the folder that holds `affluent_plugin_contacts.wasm`.

mod support;

#[path = "support/native.rs"]
mod native;

use std::sync::Arc;

use affluent_model::batch::{Batch, RowOperation};
use affluent_model::connector::{Connectors, Transform, TransformRequest};
use affluent_model::schema::{Field, FieldType, StreamSchema, SyncMode};
use affluent_plugin_contacts::Normalize;
use affluent_sdk::{Columns, ColumnsBuilder, Payload, Transform as _};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Schema;

use support::{Failed, cpu_seconds, host, print};

const ROWS: usize = 2_000;
const ROUNDS: usize = 2_000;
const TURNS: usize = 5;
const FIELDS: [(&str, FieldType); 12] = [
    ("id", FieldType::Integer),
    ("email", FieldType::Text),
    ("phone", FieldType::Text),
    ("first_name", FieldType::Text),
    ("last_name", FieldType::Text),
    ("address", FieldType::Text),
    ("city", FieldType::Text),
    ("country", FieldType::Text),
    ("created_at", FieldType::Timestamp),
    ("updated_at", FieldType::Timestamp),
    ("orders", FieldType::Integer),
    ("accepts_marketing", FieldType::Boolean),
];

/// Row `row` of a text column; 6 % of addresses and numbers are missing, some letters are not ASCII.
fn text(name: &str, row: usize) -> Option<String> {
    let has_contact = !row.is_multiple_of(17);
    match name {
        "email" => has_contact.then(|| format!(" Zoë.Person{row}@Example{}.ORG", row % 40)),
        "phone" => {
            has_contact.then(|| format!("0{} {:02}-{:02} {:02} {:02}", row % 9 + 1, row % 100, row % 83, row % 71, row % 97))
        }
        "first_name" => Some(format!("Zoë {}", row % 500)),
        "last_name" => Some(format!("Lindström-{}", row % 900)),
        "address" => Some(format!("{} rue de la République", row % 200)),
        "city" => Some("Besançon".to_owned()),
        _ => Some("FR".to_owned()),
    }
}

fn number(row: usize) -> i64 {
    1_700_000_000_000_000 + i64::try_from(row).unwrap_or(0) * 1_000_003
}

fn arrow_batch(stream: &StreamSchema) -> Result<RecordBatch, Failed> {
    let array = |(name, field_type): &(&str, FieldType)| -> ArrayRef {
        match field_type {
            FieldType::Text => Arc::new((0..ROWS).map(|row| text(name, row)).collect::<StringArray>()),
            FieldType::Timestamp => {
                Arc::new(TimestampMicrosecondArray::from_iter_values((0..ROWS).map(number)).with_timezone("UTC"))
            }
            FieldType::Boolean => Arc::new((0..ROWS).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>()),
            _ => Arc::new(Int64Array::from_iter_values((0..ROWS).map(number))),
        }
    };
    let schema = Schema::new(stream.fields.iter().map(Field::to_arrow).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(Arc::new(schema), FIELDS.iter().map(array).collect())?)
}

fn native_columns(stream: &affluent_sdk::StreamSchema) -> Result<Columns, Failed> {
    let mut rows = ColumnsBuilder::new(&stream.fields);
    for row in 0..ROWS {
        for (name, field_type) in FIELDS {
            match field_type {
                FieldType::Text => rows.set(name, text(name, row).as_deref())?,
                FieldType::Boolean => rows.set(name, row % 3 == 0)?,
                FieldType::Timestamp => {
                    let column = rows.columns_mut().iter_mut().find(|column| column.name() == name).ok_or("no column")?;
                    column.push_timestamp(number(row))?;
                }
                _ => rows.set(name, number(row))?,
            }
        }
        rows.end_row();
    }
    Ok(rows.finish())
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let folder = std::env::args().nth(1).ok_or("FOLDER of affluent_plugin_contacts.wasm")?;
    let config = serde_json::json!({ "country_calling_code": "33" });
    let fields = FIELDS.map(|(name, field_type)| Field::new(name, field_type)).to_vec();
    let stream = StreamSchema {
        name: "people".to_owned(),
        fields,
        primary_key: vec!["id".to_owned()],
        cursor_field: None,
        sync_modes: vec![SyncMode::FullRefresh],
        parent: None,
    };
    let sdk_stream: affluent_sdk::StreamSchema = serde_json::from_value(serde_json::to_value(&stream)?)?;
    let records = arrow_batch(&stream)?;
    let batch = Batch { stream: stream.name.clone(), operation: RowOperation::Upsert, records };
    let columns = native_columns(&sdk_stream)?;
    let (mut native, _) = Normalize::open(serde_json::from_value(config.clone())?, sdk_stream)?;
    let host = host(folder.into())?;
    let request = TransformRequest { pipeline: "bench".to_owned(), plugin: "contacts".to_owned(), config, stream };
    let mut inside = host.open_transform(request).await?;

    let (mut inside_s, mut seat_s, mut native_s) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..TURNS {
        inside_s = inside_s.min(inside_cost(inside.as_mut(), &batch).await?);
        seat_s = seat_s.min(seat_cost(&mut native, &batch)?);
        native_s = native_s.min(native_cost(&mut native, &columns)?);
    }
    let thousands = f64::from(u32::try_from(ROWS * ROUNDS)?) / 1e3;
    print(&format!("inside the sandbox                     {:5.0} k records per CPU-second", thousands / inside_s));
    let natively =
        [("natively, from Arrow batch to Arrow batch", seat_s), ("natively, on columns that are there already", native_s)];
    for (what, cost_s) in natively {
        print(&format!("{what:43} {:5.0} k: {:.2}", thousands / cost_s, cost_s / inside_s));
    }
    Ok(())
}

fn seat_cost(native: &mut Normalize, batch: &Batch) -> Result<f64, Failed> {
    let started = cpu_seconds()?;
    for _ in 0..ROUNDS {
        let output = native.apply(Payload::Columns(native::columns(&batch.records)?))?;
        native::batch(output.payload)?;
    }
    Ok(cpu_seconds()? - started)
}

async fn inside_cost(inside: &mut dyn Transform, batch: &Batch) -> Result<f64, Failed> {
    let started = cpu_seconds()?;
    for _ in 0..ROUNDS {
        inside.apply(batch.clone()).await?;
    }
    Ok(cpu_seconds()? - started)
}

fn native_cost(native: &mut Normalize, columns: &Columns) -> Result<f64, Failed> {
    let started = cpu_seconds()?;
    for _ in 0..ROUNDS {
        native.apply(Payload::Columns(columns.clone()))?;
    }
    Ok(cpu_seconds()? - started)
}
