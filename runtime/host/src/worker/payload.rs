//! Batches, requests and answers as they cross between the program and a worker: columns are their bytes.

use arrow::buffer::Buffer;
use arrow::datatypes::{ArrowNativeType, ToByteSlice};
use serde::{Deserialize, Serialize};

use super::frame::Garbled;
use super::message::Bytes;
use crate::bindings::affluent::plugin::http::{HttpError, Request, Response};
use crate::bindings::affluent::plugin::types::{
    BytesColumn, Column, ColumnData, Columns, Part, Payload, RejectedRow, RowError, RowOp,
};
use crate::bindings::exports::affluent::plugin::destination::Batch;
use crate::bindings::exports::affluent::plugin::source::{Page, Position};
use crate::bindings::exports::affluent::plugin::transform::Output;

/// A [`Payload`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum PackedPayload<'a> {
    Ndjson(#[serde(borrow)] Bytes<'a>),
    Columns(u32, #[serde(borrow)] Vec<PackedColumn<'a>>),
}

/// A column: its values in the machine's own order of bytes, and for those of variable length where they begin.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedColumn<'a> {
    name: &'a str,
    kind: Kind,
    #[serde(borrow)]
    validity: Option<Bytes<'a>>,
    #[serde(borrow)]
    offsets: Option<Bytes<'a>>,
    #[serde(borrow)]
    values: Bytes<'a>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Kind {
    Booleans,
    Ints,
    Floats,
    Dates,
    Timestamps,
    Texts,
    Jsons,
    Decimals,
    Binaries,
}

impl<'a> PackedPayload<'a> {
    pub(crate) fn of(payload: &'a Payload) -> Self {
        match payload {
            Payload::Ndjson(lines) => Self::Ndjson(Bytes::of(lines)),
            Payload::Columns(columns) => Self::Columns(columns.rows, columns.columns.iter().map(PackedColumn::of).collect()),
        }
    }

    /// # Errors
    /// When the bytes of a column are not a whole number of values.
    pub(crate) fn unpack(self) -> Result<Payload, Garbled> {
        Ok(match self {
            Self::Ndjson(lines) => Payload::Ndjson(lines.into_vec()),
            Self::Columns(rows, columns) => {
                let columns = columns.into_iter().map(PackedColumn::unpack).collect::<Result<_, _>>()?;
                Payload::Columns(Columns { rows, columns })
            }
        })
    }
}

impl<'a> PackedColumn<'a> {
    fn of(column: &'a Column) -> Self {
        let (kind, values, offsets) = match &column.data {
            ColumnData::Booleans(values) => (Kind::Booleans, values.as_slice(), None),
            ColumnData::Ints(values) => (Kind::Ints, values.to_byte_slice(), None),
            ColumnData::Floats(values) => (Kind::Floats, values.to_byte_slice(), None),
            ColumnData::Dates(values) => (Kind::Dates, values.to_byte_slice(), None),
            ColumnData::Timestamps(values) => (Kind::Timestamps, values.to_byte_slice(), None),
            ColumnData::Texts(texts) => (Kind::Texts, texts.data.as_slice(), Some(&texts.offsets)),
            ColumnData::Jsons(texts) => (Kind::Jsons, texts.data.as_slice(), Some(&texts.offsets)),
            ColumnData::Decimals(texts) => (Kind::Decimals, texts.data.as_slice(), Some(&texts.offsets)),
            ColumnData::Binaries(bytes) => (Kind::Binaries, bytes.data.as_slice(), Some(&bytes.offsets)),
        };
        let offsets = offsets.map(|offsets| Bytes::of(offsets.to_byte_slice()));
        let validity = column.validity.as_deref().map(Bytes::of);
        Self { name: &column.name, kind, validity, offsets, values: Bytes::of(values) }
    }

    fn unpack(self) -> Result<Column, Garbled> {
        let Self { name, kind, validity, offsets, values } = self;
        let data = match kind {
            Kind::Booleans => ColumnData::Booleans(values.into_vec()),
            Kind::Ints => ColumnData::Ints(numbers(&values)?),
            Kind::Floats => ColumnData::Floats(numbers(&values)?),
            Kind::Dates => ColumnData::Dates(numbers(&values)?),
            Kind::Timestamps => ColumnData::Timestamps(numbers(&values)?),
            Kind::Texts => ColumnData::Texts(variable(offsets, values)?),
            Kind::Jsons => ColumnData::Jsons(variable(offsets, values)?),
            Kind::Decimals => ColumnData::Decimals(variable(offsets, values)?),
            Kind::Binaries => ColumnData::Binaries(variable(offsets, values)?),
        };
        Ok(Column { name: name.to_owned(), validity: validity.map(Bytes::into_vec), data })
    }
}

fn variable(offsets: Option<Bytes<'_>>, data: Bytes<'_>) -> Result<BytesColumn, Garbled> {
    let offsets = offsets.map_or_else(|| Ok(Vec::new()), |offsets| numbers(&offsets))?;
    Ok(BytesColumn { offsets, data: data.into_vec() })
}

fn numbers<T: ArrowNativeType>(bytes: &Bytes<'_>) -> Result<Vec<T>, Garbled> {
    if !bytes.0.len().is_multiple_of(size_of::<T>()) {
        return Err(Garbled("holds a column that is cut"));
    }
    // Copied once to where numbers may stand, and once out of it.
    Ok(Buffer::from_slice_ref(&*bytes.0).typed_data::<T>().to_vec())
}

/// A [`Page`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedPage<'a> {
    #[serde(borrow)]
    parts: Vec<(&'a str, RowOp, PackedPayload<'a>)>,
    rejected: Vec<RejectedRow>,
    #[serde(borrow)]
    state: Option<Bytes<'a>>,
    position: Position,
}

impl<'a> PackedPage<'a> {
    pub(crate) fn of(page: &'a Page) -> Self {
        let parts = page.parts.iter().map(|part| (part.stream.as_str(), part.op, PackedPayload::of(&part.payload)));
        let state = page.state.as_deref().map(Bytes::of);
        Self { parts: parts.collect(), rejected: page.rejected.clone(), state, position: page.position }
    }

    /// # Errors
    /// As [`PackedPayload::unpack`].
    pub(crate) fn unpack(self) -> Result<Page, Garbled> {
        let part = |(stream, op, payload): (&str, RowOp, PackedPayload<'_>)| {
            Ok(Part { stream: stream.to_owned(), op, payload: payload.unpack()? })
        };
        let parts = self.parts.into_iter().map(part).collect::<Result<_, Garbled>>()?;
        Ok(Page { parts, rejected: self.rejected, state: self.state.map(Bytes::into_vec), position: self.position })
    }
}

/// An [`Output`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedOutput<'a> {
    #[serde(borrow)]
    payload: PackedPayload<'a>,
    rejected: Vec<RowError>,
}

impl<'a> PackedOutput<'a> {
    pub(crate) fn of(output: &'a Output) -> Self {
        Self { payload: PackedPayload::of(&output.payload), rejected: output.rejected.clone() }
    }

    /// # Errors
    /// As [`PackedPayload::unpack`].
    pub(crate) fn unpack(self) -> Result<Output, Garbled> {
        Ok(Output { payload: self.payload.unpack()?, rejected: self.rejected })
    }
}

/// A [`Batch`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedBatch<'a> {
    key: &'a str,
    op: RowOp,
    #[serde(borrow)]
    payload: PackedPayload<'a>,
}

impl<'a> PackedBatch<'a> {
    pub(crate) fn of(batch: &'a Batch) -> Self {
        Self { key: &batch.idempotency_key, op: batch.op, payload: PackedPayload::of(&batch.payload) }
    }

    /// # Errors
    /// As [`PackedPayload::unpack`].
    pub(crate) fn unpack(self) -> Result<Batch, Garbled> {
        Ok(Batch { idempotency_key: self.key.to_owned(), op: self.op, payload: self.payload.unpack()? })
    }
}

/// A [`Request`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedRequest<'a> {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    body: Option<Bytes<'a>>,
    auth: Option<String>,
    timeout_ms: Option<u32>,
    cost: Option<u32>,
    retry_safe: bool,
}

impl PackedRequest<'_> {
    pub(crate) fn of(request: Request) -> Self {
        let Request { method, url, headers, body, auth, timeout_ms, cost, retry_safe } = request;
        Self { method, url, headers, body: body.map(Bytes::owned), auth, timeout_ms, cost, retry_safe }
    }

    pub(crate) fn unpack(self) -> Request {
        let Self { method, url, headers, body, auth, timeout_ms, cost, retry_safe } = self;
        Request { method, url, headers, body: body.map(Bytes::into_vec), auth, timeout_ms, cost, retry_safe }
    }
}

/// A [`Response`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PackedResponse<'a> {
    status: u16,
    headers: Vec<(String, String)>,
    #[serde(borrow)]
    body: Bytes<'a>,
}

impl PackedResponse<'_> {
    pub(crate) fn of(answer: Result<Response, HttpError>) -> Result<Self, HttpError> {
        answer.map(|Response { status, headers, body }| Self { status, headers, body: Bytes::owned(body) })
    }

    pub(crate) fn unpack(answer: Result<Self, HttpError>) -> Result<Response, HttpError> {
        answer.map(|Self { status, headers, body }| Response { status, headers, body: body.into_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::frame::{encode, read_waiting};

    fn column(name: &str, data: ColumnData) -> Column {
        Column { name: name.to_owned(), validity: Some(vec![3]), data }
    }

    #[test]
    fn every_kind_of_column_crosses_as_it_is() {
        let bytes = || BytesColumn { offsets: vec![0, 1, 3], data: b"abc".to_vec() };
        let columns = vec![
            column("booleans", ColumnData::Booleans(vec![0, 1])),
            column("ints", ColumnData::Ints(vec![i64::MIN, 7])),
            column("floats", ColumnData::Floats(vec![0.5, -1.0])),
            column("dates", ColumnData::Dates(vec![-1, 20_000])),
            column("timestamps", ColumnData::Timestamps(vec![1, i64::MAX])),
            column("texts", ColumnData::Texts(bytes())),
            column("jsons", ColumnData::Jsons(bytes())),
            column("decimals", ColumnData::Decimals(bytes())),
            column("binaries", ColumnData::Binaries(bytes())),
        ];
        let payload = Payload::Columns(Columns { rows: 2, columns });

        let frame = encode(0, &PackedPayload::of(&payload)).unwrap();
        let frame = read_waiting(&mut frame.as_slice()).unwrap();
        let read = frame.decode::<PackedPayload<'_>>().unwrap().unpack().unwrap();

        assert_eq!(format!("{read:?}"), format!("{payload:?}"));
    }

    #[test]
    fn a_column_that_is_cut_is_refused() {
        let column = |kind, offsets| PackedColumn { name: "a", kind, validity: None, offsets, values: Bytes::of(b"seven b") };

        assert!(column(Kind::Ints, None).unpack().is_err());
        assert!(column(Kind::Texts, Some(Bytes::of(b"ab"))).unpack().is_err());
    }
}
