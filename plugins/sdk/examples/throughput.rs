//! What typed records cost beside columns filled and read by hand: `cargo run --release --example throughput`.
//! Prints records per second of each way and the ratio, the best of several rounds.

#![expect(clippy::print_stdout, reason = "a figure for a person")]

use std::time::{Duration, Instant};

use affluent_sdk::rows::{Decimal, Rows, RowsBuilder, Timestamp};
use affluent_sdk::{Columns, ColumnsBuilder, Error, Result, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const ROWS: usize = 2_000;
const ROUNDS: usize = 400;

/// Twelve fields, 155 bytes of values: the record of the contract's measurements.
#[derive(Serialize, JsonSchema)]
struct Customer {
    id: i64,
    email: Option<String>,
    phone: Option<String>,
    first_name: String,
    last_name: String,
    city: String,
    country: String,
    note: String,
    total: Decimal,
    created_at: Timestamp,
    updated_at: Timestamp,
    is_active: bool,
}

#[derive(Deserialize)]
struct Lent<'a> {
    id: i64,
    email: Option<&'a str>,
    phone: Option<&'a str>,
    first_name: &'a str,
    last_name: &'a str,
    city: &'a str,
    country: &'a str,
    note: &'a str,
    total: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
    is_active: bool,
}

fn customer(number: usize, total: &Decimal) -> Customer {
    let number = i64::try_from(number).unwrap_or_default();
    Customer {
        id: number,
        email: (number % 16 != 0).then(|| format!("person.{number}@example.org")),
        phone: (number % 17 != 0).then(|| format!("+33 1 23 45 {number:05}")),
        first_name: "Adélaïde".to_owned(),
        last_name: "van der Berg".to_owned(),
        city: "Clermont-Ferrand".to_owned(),
        country: "FR".to_owned(),
        note: "prefers to be called in the evening".to_owned(),
        total: total.clone(),
        created_at: Timestamp(1_700_000_000_000_000 + number),
        updated_at: Timestamp(1_760_000_000_000_000 + number),
        is_active: number % 3 == 0,
    }
}

fn by_hand(columns: &mut ColumnsBuilder, customers: &[Customer]) -> Result<Columns> {
    for one in customers {
        columns.set("id", one.id)?;
        columns.set("email", one.email.as_deref())?;
        columns.set("phone", one.phone.as_deref())?;
        columns.set("first_name", &one.first_name)?;
        columns.set("last_name", &one.last_name)?;
        columns.set("city", &one.city)?;
        columns.set("country", &one.country)?;
        columns.set("note", &one.note)?;
        columns.set("total", one.total.as_str())?;
        columns.set("created_at", Value::Timestamp(one.created_at.0))?;
        columns.set("updated_at", Value::Timestamp(one.updated_at.0))?;
        columns.set("is_active", one.is_active)?;
        columns.end_row();
    }
    Ok(columns.finish())
}

fn typed(rows: &mut RowsBuilder<Customer>, customers: &[Customer]) -> Result<Columns> {
    for one in customers {
        rows.push(one)?;
    }
    Ok(rows.finish())
}

/// A number that depends on every value, so that none may be left unread.
fn sum_by_hand(columns: &Columns) -> Result<usize> {
    let texts = ["email", "phone", "first_name", "last_name", "city", "country", "note"].map(|name| columns.text(name));
    let total = columns.decimals("total")?;
    let (id, created, updated) = (columns.integers("id")?, columns.timestamps("created_at")?, columns.timestamps("updated_at")?);
    let active = columns.booleans("is_active")?;
    let mut sum = 0;
    for row in 0..columns.rows as usize {
        for text in texts.iter().flatten() {
            sum += text.get(row).map_or(0, str::len);
        }
        sum += total.get(row).map_or(0, str::len) + usize::from(active.get(row) == Some(true));
        let numbers = [id.get(row), created.get(row), updated.get(row)];
        sum += numbers.into_iter().flatten().filter(|number| number % 2 == 0).count();
    }
    Ok(sum)
}

fn sum_typed(columns: &Columns) -> Result<usize> {
    let mut sum = 0;
    for row in Rows::<Lent<'_>>::new(columns)? {
        let row = row?;
        let texts = [row.first_name, row.last_name, row.city, row.country, row.note, row.total];
        sum += texts.iter().map(|text| text.len()).sum::<usize>();
        sum += [row.email, row.phone].iter().flatten().map(|text| text.len()).sum::<usize>() + usize::from(row.is_active);
        sum += [row.id, row.created_at.0, row.updated_at.0].iter().filter(|number| *number % 2 == 0).count();
    }
    Ok(sum)
}

/// The shortest of many rounds: what the work takes when nobody disturbs it.
fn best(rounds: usize, mut round: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut shortest = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        round()?;
        shortest = shortest.min(start.elapsed());
    }
    Ok(shortest)
}

fn report(what: &str, by_hand: Duration, typed: Duration) {
    let rate = |time: Duration| ROWS as f64 / time.as_secs_f64() / 1e6;
    let ratio = by_hand.as_secs_f64() / typed.as_secs_f64();
    println!("{what}: by hand {:.2} M records/s, typed {:.2} M records/s, ratio {ratio:.2}", rate(by_hand), rate(typed));
}

fn main() -> Result<()> {
    let total = Decimal::new("1234.50").ok_or_else(|| Error::internal("digits with a point are an exact number"))?;
    let customers: Vec<Customer> = (0..ROWS).map(|number| customer(number, &total)).collect();
    let mut rows = RowsBuilder::<Customer>::new()?;
    let mut columns = ColumnsBuilder::new(&affluent_sdk::rows::fields::<Customer>()?);
    let filled = typed(&mut rows, &customers)?;
    assert_eq!(filled, by_hand(&mut columns, &customers)?);
    assert_eq!(sum_typed(&filled)?, sum_by_hand(&filled)?);

    let fill_by_hand = best(ROUNDS, || by_hand(&mut columns, &customers).map(|columns| _ = std::hint::black_box(columns)))?;
    let fill_typed = best(ROUNDS, || typed(&mut rows, &customers).map(|columns| _ = std::hint::black_box(columns)))?;
    report("fill", fill_by_hand, fill_typed);
    let read_by_hand = best(ROUNDS, || sum_by_hand(&filled).map(|sum| _ = std::hint::black_box(sum)))?;
    let read_typed = best(ROUNDS, || sum_typed(&filled).map(|sum| _ = std::hint::black_box(sum)))?;
    report("read", read_by_hand, read_typed);
    Ok(())
}
