//! One good page, and everything that can be wrong with one.

use affluent_sdk::columns::{BytesColumn, Column, ColumnData, Columns, Payload};
use affluent_sdk::{ColumnsBuilder, Error, Field, FieldType, Part, PiiClass, RejectedRow, Result, RowOp, StreamSchema};

use crate::Behaviour;
use crate::acts::huge_text;

/// The stream that the source has.
pub const STREAM: &str = "items";

/// A stream with a field of every type.
pub fn stream() -> StreamSchema {
    let fields = vec![
        Field::new("id", FieldType::Integer).required(),
        Field::new("name", FieldType::Text),
        Field::new("email", FieldType::Text).pii(PiiClass::Email),
        Field::new("total", FieldType::Decimal),
        Field::new("score", FieldType::Float),
        Field::new("is_new", FieldType::Boolean),
        Field::new("day", FieldType::Date),
        Field::new("at", FieldType::Timestamp),
        Field::new("document", FieldType::Json),
        Field::new("bytes", FieldType::Binary),
    ];
    StreamSchema::new(STREAM, fields).primary_key(["id"]).incremental(Some("at"))
}

/// Good records `start` to `end`.
///
/// # Errors
/// None, as the values fit their columns.
pub fn records(start: u32, end: u32) -> Result<Columns> {
    let mut rows = ColumnsBuilder::new(&stream().fields);
    for id in start..end {
        rows.set("id", id)?;
        rows.set("name", &format!("item {id}"))?;
        rows.set("email", (id % 3 != 0).then_some("ada@example.org"))?;
        rows.set("total", "19.90")?;
        rows.set("score", f64::from(id) / 2.0)?;
        rows.set("is_new", id % 2 == 0)?;
        rows.set("day", "2026-01-31")?;
        rows.set("at", "2026-01-31T10:00:00Z")?;
        rows.set("document", r#"{"a":[1]}"#)?;
        rows.set("bytes", affluent_sdk::Value::Binary(&[0, 255]))?;
        rows.end_row();
    }
    Ok(rows.finish())
}

/// The same payload made wrong, for behaviours about columns.
pub fn forge(behaviour: Behaviour, columns: Columns) -> Payload {
    match behaviour {
        Behaviour::GarbageNdjson => Payload::Ndjson(b"{\"id\":1}\n{\"id\":\n\xff\n".to_vec()),
        Behaviour::WrongNdjsonType => Payload::Ndjson(b"{\"id\":\"one\",\"at\":[],\"unknown\":1}\n[]\n".to_vec()),
        _ => Payload::Columns(forge_columns(behaviour, columns)),
    }
}

fn forge_columns(behaviour: Behaviour, mut columns: Columns) -> Columns {
    let rows = columns.rows;
    match behaviour {
        Behaviour::WrongRowCount => columns.rows = rows + 1,
        Behaviour::ForgedRowCount => columns.rows = u32::MAX,
        Behaviour::MissingColumn => drop(columns.columns.pop()),
        Behaviour::ExtraColumn => columns.columns.push(texts("unknown", vec![0; rows as usize + 1], Vec::new())),
        Behaviour::DuplicateColumn => columns.columns.extend(columns.columns.first().cloned()),
        _ => {}
    }
    for column in &mut columns.columns {
        forge_column(behaviour, column, rows as usize);
    }
    columns
}

fn texts(name: &str, offsets: Vec<u32>, data: Vec<u8>) -> Column {
    Column { name: name.to_owned(), validity: None, data: ColumnData::Texts(BytesColumn { offsets, data }) }
}

fn forge_column(behaviour: Behaviour, column: &mut Column, rows: usize) {
    match (behaviour, column.name.as_str(), &mut column.data) {
        (Behaviour::OffsetsNotMonotone, "name", ColumnData::Texts(bytes)) => bytes.offsets.reverse(),
        (Behaviour::OffsetsBeyondData, "name", ColumnData::Texts(bytes)) => {
            if let Some(last) = bytes.offsets.last_mut() {
                *last = u32::MAX;
            }
        }
        (Behaviour::OffsetsTooFew, "name", ColumnData::Texts(bytes)) => bytes.offsets.truncate(1),
        (Behaviour::OffsetsNotFromZero, "name", ColumnData::Texts(bytes)) => {
            if let Some(first) = bytes.offsets.first_mut() {
                *first = 1;
            }
        }
        (Behaviour::InvalidUtf8, "name", ColumnData::Texts(bytes)) => bytes.data.fill(0xff),
        (Behaviour::SplitCharacter, "name", data) => {
            // Valid as a whole, cut inside of a character.
            let offsets = (0..=rows).map(|row| u32::try_from(row).unwrap_or_default()).collect();
            let text: Vec<u8> = "é".bytes().cycle().take(rows + rows % 2).collect();
            *data = ColumnData::Texts(BytesColumn { offsets, data: text });
        }
        (Behaviour::HugeValue, "name", data) => {
            let text = huge_text();
            let end = u32::try_from(text.len()).unwrap_or_default();
            let offsets = std::iter::once(0).chain(std::iter::repeat_n(end, rows)).collect();
            *data = ColumnData::Texts(BytesColumn { offsets, data: text.into_bytes() });
        }
        (Behaviour::InvalidJson, "document", ColumnData::Jsons(bytes)) => bytes.data.fill(b'{'),
        (Behaviour::InvalidDecimal, "total", ColumnData::Decimals(bytes)) => bytes.data.fill(b'e'),
        (Behaviour::HugeDecimal, "total", ColumnData::Decimals(bytes)) => {
            bytes.data = b"9".repeat(50).repeat(rows);
            bytes.offsets = (0..=rows).map(|row| u32::try_from(row * 50).unwrap_or_default()).collect();
        }
        (Behaviour::BadBoolean, "is_new", ColumnData::Booleans(values)) => values.fill(7),
        (Behaviour::WrongType, "name", data) => *data = ColumnData::Ints(vec![7; rows]),
        (Behaviour::ShortValidity, "at", _) => column.validity = Some(Vec::new()),
        (Behaviour::NullInKey, "id", _) => column.validity = Some(vec![0; rows.div_ceil(8)]),
        _ => {}
    }
}

/// Parts of a page, for behaviours about pages.
///
/// # Errors
/// As [`records`].
pub fn parts(behaviour: Behaviour, start: u32, end: u32, max_rows: u32) -> Result<Vec<Part>> {
    let part = |stream: &str, payload| Part { stream: stream.to_owned(), op: RowOp::Upsert, payload };
    Ok(match behaviour {
        Behaviour::UnknownStream => vec![part("unknown", Payload::Columns(records(start, end)?))],
        Behaviour::TooManyRows => vec![part(STREAM, Payload::Columns(records(0, max_rows.saturating_add(1).min(100_000))?))],
        Behaviour::ManyParts => {
            (0..1_000_000).map(|_| part(STREAM, Payload::Columns(Columns { rows: 0, columns: Vec::new() }))).collect()
        }
        Behaviour::SameState | Behaviour::NothingForever => Vec::new(),
        _ => vec![part(STREAM, forge(behaviour, records(start, end)?))],
    })
}

/// Rejected rows of a page, for behaviours about them.
pub fn rejected(behaviour: Behaviour) -> Vec<RejectedRow> {
    let error = Error::invalid_data("not a record").code("hostile.row");
    let row = |stream: &str| RejectedRow::new(stream, "nowhere line 1".to_owned(), &error, b"raw");
    match behaviour {
        Behaviour::ManyRejected => (0..200_000).map(|_| row(STREAM)).collect(),
        Behaviour::HugeRejected => {
            let text = huge_text();
            vec![RejectedRow { place: text.clone(), code: text.clone(), raw: Some(text.into_bytes()), ..row(STREAM) }]
        }
        Behaviour::RejectedOfUnknownStream => vec![row("unknown")],
        _ => Vec::new(),
    }
}

/// The state of a page that ends before record `end`.
pub fn state(behaviour: Behaviour, end: u32) -> Option<Vec<u8>> {
    match behaviour {
        Behaviour::HugeState => Some(huge_text().into_bytes()),
        Behaviour::SameState => Some(b"same".to_vec()),
        Behaviour::NothingForever => None,
        _ => Some(end.to_string().into_bytes()),
    }
}
