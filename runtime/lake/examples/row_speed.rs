//! How many rows per CPU-second a row program does, beside the same work written by hand:
//! `cargo run --release -p affluent-lake --example row_speed`. The work: keep what is no test, normalise an email,
//! three rules for phone numbers, three digests; batches of 2,000 rows by 12 columns, a tenth of them filtered out.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use affluent_lake::{Expressions, RowStep};
use affluent_model::normalize;
use affluent_model::schema::{Field, FieldType};
use arrow::array::{ArrayRef, AsArray as _, BooleanArray, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use sha2::{Digest as _, Sha256};

const BATCH_ROWS: usize = 2_000;
const BATCHES: usize = 1_000;
const NAMES: [&str; 12] =
    ["id", "email", "phone", "first_name", "last_name", "country", "city", "street", "status", "tags", "note", "test"];
const PHONE: &str = "CASE WHEN phone LIKE '+%' THEN phone WHEN phone LIKE '00%' THEN concat('+', substr(phone, 3)) \
                     WHEN country = 'FR' AND phone LIKE '0%' THEN concat('+33', substr(phone, 2)) ELSE NULL END";

fn main() -> Result<(), Box<dyn Error>> {
    let batch = batch()?;
    let steps = vec![
        RowStep::Filter("NOT test".to_owned()),
        RowStep::Set(vec![
            ("email".to_owned(), "normalize_email(email)".to_owned()),
            ("phone".to_owned(), PHONE.to_owned()),
            ("email_sha256".to_owned(), "sha256_hex(email)".to_owned()),
            ("first_name_sha256".to_owned(), "sha256_hex(first_name)".to_owned()),
            ("last_name_sha256".to_owned(), "sha256_hex(last_name)".to_owned()),
        ]),
    ];
    let program = Expressions::new().compile(batch.schema(), steps)?;
    report("row program", || Ok(program.apply(&batch, 0)?.0.num_rows()))?;
    report("by hand", || Ok(by_hand(&batch)?.num_rows()))
}

fn batch() -> Result<RecordBatch, Box<dyn Error>> {
    let schema: SchemaRef = Arc::new(Schema::new(
        NAMES
            .iter()
            .map(|name| Field::new(*name, if *name == "test" { FieldType::Boolean } else { FieldType::Text }).to_arrow())
            .collect::<Vec<_>>(),
    ));
    let columns = NAMES.iter().map(|name| column(name)).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn column(name: &str) -> ArrayRef {
    let text = |row: usize| match name {
        "email" if row.is_multiple_of(4) => format!(" Customer{row}@Example.COM "),
        "email" => format!("customer{row}@example.com"),
        "phone" if row.is_multiple_of(3) => format!("06{:08}", row * 37),
        "phone" if row % 3 == 1 => format!("0033{:09}", 600_000_000 + row * 41),
        "phone" => format!("+33{:09}", 600_000_000 + row * 43),
        "country" => if row.is_multiple_of(5) { "US" } else { "FR" }.to_owned(),
        _ => format!("{name} number {row}"),
    };
    if name == "test" {
        return Arc::new((0..BATCH_ROWS).map(|row| Some(row.is_multiple_of(10))).collect::<BooleanArray>());
    }
    Arc::new((0..BATCH_ROWS).map(|row| Some(text(row))).collect::<StringArray>())
}

fn by_hand(batch: &RecordBatch) -> Result<RecordBatch, Box<dyn Error>> {
    let test = batch.column_by_name("test").ok_or("test")?.as_boolean();
    let wanted: BooleanArray = test.iter().map(|is_test| is_test.map(|is_test| !is_test)).collect();
    let kept = filter_record_batch(batch, &wanted)?;
    let text = |name: &str| kept.column_by_name(name).map(|column| column.as_string::<i32>()).ok_or("a column");
    let (email, phone, country) = (text("email")?, text("phone")?, text("country")?);
    let phones = phone.iter().zip(country).map(|(phone, country)| international(phone?, country));
    let mut columns: Vec<(&str, ArrayRef, bool)> = Vec::new();
    for (name, column) in NAMES.iter().zip(kept.columns()) {
        columns.push((name, Arc::clone(column), true));
    }
    columns.push(("email_", Arc::new(email.iter().map(|email| normalize::email(email?)).collect::<StringArray>()), true));
    columns.push(("phone_", Arc::new(phones.collect::<StringArray>()), true));
    for (name, source) in [("email_sha256", email), ("first_sha256", text("first_name")?), ("last_sha256", text("last_name")?)] {
        columns.push((name, Arc::new(source.iter().map(|value| value.map(digest)).collect::<StringArray>()), true));
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn international(phone: &str, country: Option<&str>) -> Option<String> {
    if phone.starts_with('+') {
        return Some(phone.to_owned());
    }
    if let Some(rest) = phone.strip_prefix("00") {
        return Some(format!("+{rest}"));
    }
    let rest = phone.strip_prefix('0')?;
    (country == Some("FR")).then(|| format!("+33{rest}"))
}

fn digest(value: &str) -> String {
    Sha256::digest(value.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn report(name: &str, mut work: impl FnMut() -> Result<usize, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    work()?;
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let mut kept = 0;
    for _ in 0..BATCHES {
        kept += work()?;
    }
    let seconds = match (cpu, cpu_seconds()) {
        (Some(before), Some(after)) => after - before,
        _ => wall.elapsed().as_secs_f64(),
    };
    let rows = u32::try_from(BATCHES * BATCH_ROWS)?;
    let per_row_us = seconds * 1e6 / f64::from(rows);
    println!("{name}: {:.0} rows per CPU-second, {per_row_us:.3} µs per row, {kept} kept", f64::from(rows) / seconds);
    Ok(())
}

/// CPU time of this thread where the system says it; the caller uses the clock elsewhere.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|nanoseconds| nanoseconds / 1e9)
}
