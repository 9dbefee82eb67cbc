//! Columns to lines. The text between two values is the same on every line, so it is put together once per batch; a
//! line is then those pieces with escaped values between them, in one buffer.

use affluent_sdk::columns::{Column, ColumnData, Columns, TextColumn};
use affluent_sdk::{Error, Result, find, values};

/// How the lines of a batch are shaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Names as they are.
    Plain,
    /// An operation in front, and `a.b` as `b` inside an object `a`.
    Operation(&'static str),
}

/// Appends one line per row of `columns`; `wanted` chooses columns, all if empty.
///
/// # Errors
/// `config` when two names collide, such as `a` and `a.b`; `invalid_data` for text that is not valid UTF-8.
pub(crate) fn write_lines(columns: &Columns, wanted: &[String], shape: Shape, out: &mut Vec<u8>) -> Result<()> {
    let is_wanted = |column: &&Column| wanted.is_empty() || wanted.contains(&column.name);
    let chosen: Vec<&Column> = columns.columns.iter().filter(is_wanted).collect();
    let pieces = lay_out(&chosen, shape)?;
    let values =
        pieces.order.iter().filter_map(|index| chosen.get(*index)).map(|column| values_of(column)).collect::<Result<Vec<_>>>()?;
    for row in 0..columns.rows as usize {
        for (before, value) in pieces.before.iter().zip(&values) {
            out.extend_from_slice(before);
            write_value(value, row, out);
        }
        out.extend_from_slice(&pieces.end);
    }
    Ok(())
}

/// The text before each value, and after the last.
struct Pieces {
    /// Which of the chosen columns come in which order.
    order: Vec<usize>,
    before: Vec<Vec<u8>>,
    end: Vec<u8>,
}

/// One level of names while the pieces are put together.
#[derive(Default)]
struct Node<'a> {
    members: Vec<(&'a str, Member<'a>)>,
}

enum Member<'a> {
    Column(usize),
    Group(Node<'a>),
}

fn lay_out(columns: &[&Column], shape: Shape) -> Result<Pieces> {
    let mut root = Node::default();
    for (index, column) in columns.iter().enumerate() {
        match shape {
            Shape::Plain => insert(&mut root, &column.name, None, index)?,
            Shape::Operation(_) => {
                let (name, rest) = split(&column.name);
                insert(&mut root, name, rest, index)?;
            }
        }
    }
    let mut pieces = Pieces { order: Vec::new(), before: Vec::new(), end: Vec::new() };
    let mut text = b"{".to_vec();
    if let Shape::Operation(operation) = shape {
        text.extend_from_slice(b"\"_op\":");
        write_text(operation, &mut text);
    }
    write_members(&root, &mut text, &mut pieces);
    text.extend_from_slice(b"}\n");
    pieces.end = text;
    Ok(pieces)
}

fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(name, rest)| (name, Some(rest)))
}

fn insert<'a>(node: &mut Node<'a>, name: &'a str, rest: Option<&'a str>, index: usize) -> Result<()> {
    let known = node.members.iter_mut().find(|(known, _)| *known == name).map(|(_, member)| member);
    match (known, rest) {
        (None, None) => node.members.push((name, Member::Column(index))),
        (None, Some(rest)) => {
            let mut group = Node::default();
            let (inner, rest) = split(rest);
            insert(&mut group, inner, rest, index)?;
            node.members.push((name, Member::Group(group)));
        }
        (Some(Member::Group(group)), Some(rest)) => {
            let (inner, rest) = split(rest);
            insert(group, inner, rest, index)?;
        }
        (Some(_), _) => return Err(Error::config(format!("two fields would both be written as `{name}`"))),
    }
    Ok(())
}

fn write_members(node: &Node<'_>, text: &mut Vec<u8>, pieces: &mut Pieces) {
    for (name, member) in &node.members {
        if text.last() != Some(&b'{') {
            text.push(b',');
        }
        write_text(name, text);
        text.push(b':');
        match member {
            Member::Column(index) => {
                pieces.order.push(*index);
                pieces.before.push(std::mem::take(text));
            }
            Member::Group(group) => {
                text.push(b'{');
                write_members(group, text, pieces);
                text.push(b'}');
            }
        }
    }
}

/// A column with its bytes checked.
enum Values<'a> {
    Text(TextColumn<'a>),
    Json(TextColumn<'a>),
    Decimal(TextColumn<'a>),
    Other(&'a Column),
}

fn values_of(column: &Column) -> Result<Values<'_>> {
    Ok(match &column.data {
        ColumnData::Texts(values) => Values::Text(TextColumn::new(column, values)?),
        ColumnData::Jsons(values) => Values::Json(TextColumn::new(column, values)?),
        ColumnData::Decimals(values) => Values::Decimal(TextColumn::new(column, values)?),
        _ => Values::Other(column),
    })
}

#[inline]
fn write_value(values: &Values<'_>, row: usize, out: &mut Vec<u8>) {
    let written = match values {
        Values::Text(texts) => texts.get(row).map(|text| write_text(text, out)),
        Values::Json(texts) => texts.get(row).filter(|text| !text.is_empty()).map(|text| write_document(text, out)),
        Values::Decimal(texts) => texts.get(row).map(|text| write_decimal(text, out)),
        Values::Other(column) if column.is_present(row) => write_other(column, row, out),
        Values::Other(_) => None,
    };
    if written.is_none() {
        out.extend_from_slice(b"null");
    }
}

fn write_other(column: &Column, row: usize, out: &mut Vec<u8>) -> Option<()> {
    match &column.data {
        ColumnData::Booleans(values) => out.extend_from_slice(if *values.get(row)? != 0 { b"true" } else { b"false" }),
        ColumnData::Ints(values) => out.extend_from_slice(itoa::Buffer::new().format(*values.get(row)?).as_bytes()),
        ColumnData::Floats(values) => {
            // JSON has no infinities and no NaN; `Display` writes no exponent.
            let value = values.get(row).filter(|value| value.is_finite())?;
            out.extend_from_slice(value.to_string().as_bytes());
        }
        ColumnData::Dates(values) => {
            let days = *values.get(row)?;
            out.push(b'"');
            values::write_date(days, out);
            out.push(b'"');
        }
        ColumnData::Timestamps(values) => {
            let us = *values.get(row)?;
            out.push(b'"');
            values::write_timestamp(us, out);
            out.push(b'"');
        }
        ColumnData::Binaries(values) => {
            let (start, end) = (*values.offsets.get(row)?, *values.offsets.get(row + 1)?);
            let bytes = values.data.get(start as usize..end as usize)?;
            out.push(b'"');
            write_base64(bytes, out);
            out.push(b'"');
        }
        ColumnData::Texts(_) | ColumnData::Jsons(_) | ColumnData::Decimals(_) => return None,
    }
    Some(())
}

/// Exact decimals are JSON numbers as they stand; anything else stays readable as text.
fn write_decimal(text: &str, out: &mut Vec<u8>) {
    if values::decimal_text(text) == Some(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_text(text, out);
    }
}

/// A document on one line: a line end in it can only be white space.
fn write_document(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in out.iter_mut().skip(start) {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// A JSON string: quotes, backslashes and control characters escaped, everything else as it is.
#[inline]
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(clean) = find::json_special(rest) {
        let (before, after) = rest.split_at(clean);
        out.extend_from_slice(before);
        let Some((escaped, after)) = after.split_first() else { break };
        write_escape(*escaped, out);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// RFC 4648 with padding.
fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4u32 {
            let digit = (bits >> (18 - 6 * position) & 63) as usize;
            let is_padding = position as usize > chunk.len();
            out.push(if is_padding { b'=' } else { ALPHABET.get(digit).copied().unwrap_or(b'=') });
        }
    }
}

#[cfg(test)]
mod tests {
    use affluent_sdk::{ColumnsBuilder, Field, FieldType};
    use proptest::prelude::*;

    use super::*;

    fn lines(columns: &Columns, shape: Shape) -> String {
        let mut out = Vec::new();
        write_lines(columns, &[], shape, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_type_has_its_form() {
        let types = [
            ("i", FieldType::Integer, "-5"),
            ("f", FieldType::Float, "0.1"),
            ("b", FieldType::Boolean, "true"),
            ("m", FieldType::Decimal, "19.90"),
            ("d", FieldType::Date, "2026-01-31"),
            ("t", FieldType::Timestamp, "2026-01-31T10:00:00.5Z"),
            ("s", FieldType::Text, "a\"\n\u{1}é"),
            ("j", FieldType::Json, "{\"x\":\n[1]}"),
        ];
        let mut rows = ColumnsBuilder::new(&types.map(|(name, kind, _)| Field::new(name, kind)));
        for (name, _, text) in types {
            rows.set(name, text).unwrap();
        }
        rows.end_row();
        rows.end_row();

        let expected = concat!(
            r#"{"i":-5,"f":0.1,"b":true,"m":19.90,"d":"2026-01-31","t":"2026-01-31T10:00:00.500000Z","s":"a\"\n\u0001é","j":{"x": [1]}}"#,
            "\n",
            r#"{"i":null,"f":null,"b":null,"m":null,"d":null,"t":null,"s":null,"j":null}"#,
            "\n"
        );
        assert_eq!(lines(&rows.finish(), Shape::Plain), expected);
    }

    fn one_row(names: &[&str]) -> Columns {
        let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, FieldType::Integer)).collect();
        let mut rows = ColumnsBuilder::new(&fields);
        for (index, name) in names.iter().enumerate() {
            rows.set(name, i64::try_from(index).unwrap()).unwrap();
        }
        rows.end_row();
        rows.finish()
    }

    #[test]
    fn dots_in_mapped_names_become_objects() {
        let columns = one_row(&["email", "p.a", "x", "p.b.c"]);

        assert_eq!(
            lines(&columns, Shape::Operation("upsert")),
            "{\"_op\":\"upsert\",\"email\":0,\"p\":{\"a\":1,\"b\":{\"c\":3}},\"x\":2}\n"
        );
        assert_eq!(lines(&columns, Shape::Plain), "{\"email\":0,\"p.a\":1,\"x\":2,\"p.b.c\":3}\n");
    }

    #[test]
    fn names_that_collide_are_refused() {
        for names in [["a", "a.b"], ["a.b", "a"], ["a", "a"]] {
            assert!(write_lines(&one_row(&names), &[], Shape::Operation("upsert"), &mut Vec::new()).is_err(), "{names:?}");
        }
    }

    #[test]
    fn bytes_are_written_in_base64() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];

        for (bytes, expected) in cases {
            let mut out = Vec::new();
            write_base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, expected.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn texts_read_back_as_written(text in any::<String>()) {
            let mut out = Vec::new();
            write_text(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
