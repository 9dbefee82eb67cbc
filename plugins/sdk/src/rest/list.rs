//! One list of a service, as data.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::columns::Columns;
use crate::error::{Error, Result};
use crate::paging::Paging;
use crate::rows::RowsBuilder;
use crate::stream::{Parent, StreamSchema};
use crate::values;

/// How instants are written in a query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-01-31T10:20:30Z`; a fraction only where there is one.
    Rfc3339,
    /// `2026-01-31`: the day of the instant in UTC, for `until` the day after.
    Date,
    /// Whole seconds since the epoch; for `until` rounded up.
    Seconds,
    /// Milliseconds since the epoch.
    Milliseconds,
}

impl TimeFormat {
    fn write(self, us: i64, is_end: bool) -> String {
        let round = |unit_us: i64| us.div_euclid(unit_us) + i64::from(is_end && us.rem_euclid(unit_us) > 0);
        match self {
            Self::Rfc3339 => values::timestamp_text(us),
            Self::Date => values::date_text(i32::try_from(round(86_400_000_000)).unwrap_or(i32::MAX)),
            Self::Seconds => round(1_000_000).to_string(),
            Self::Milliseconds => round(1_000).to_string(),
        }
    }
}

/// How a service is asked for what changed, and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    from: &'static str,
    until: Option<&'static str>,
    format: TimeFormat,
    window_us: Option<i64>,
    beginning_us: Option<i64>,
    is_sorted: bool,
}

impl Since {
    /// A query parameter holds the earliest change, in RFC 3339.
    pub const fn parameter(name: &'static str) -> Self {
        Self { from: name, until: None, format: TimeFormat::Rfc3339, window_us: None, beginning_us: None, is_sorted: false }
    }

    /// Another form of instants.
    #[must_use]
    pub const fn format(self, format: TimeFormat) -> Self {
        Self { format, ..self }
    }

    /// Another query parameter holds the latest change. The read is then bounded by the time at its beginning.
    #[must_use]
    pub const fn until(self, name: &'static str) -> Self {
        Self { until: Some(name), ..self }
    }

    /// Reads in windows of so many days, oldest first, for services that page badly through much; needs [`Since::until`].
    /// The first read of a stream without a beginning is one window.
    #[must_use]
    pub const fn window_days(self, days: u16) -> Self {
        Self { window_us: Some(days as i64 * 86_400_000_000), ..self }
    }

    /// Where everything begins, in microseconds since the epoch, for services that must be told a beginning.
    #[must_use]
    pub const fn beginning(self, us: i64) -> Self {
        Self { beginning_us: Some(us), ..self }
    }

    /// The list is in the order of changes, oldest first: the high-water mark moves with every page.
    #[must_use]
    pub const fn sorted(self) -> Self {
        Self { is_sorted: true, ..self }
    }
}

/// A list of a service: what it holds, where it is, how its pages follow each other.
#[derive(Debug, Clone)]
pub struct List {
    pub(super) stream: StreamSchema,
    pub(super) path: String,
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) records: &'static str,
    pub(super) paging: Paging,
    pub(super) size: Option<(&'static str, u32)>,
    pub(super) more: Option<&'static str>,
    pub(super) is_short_last: bool,
    pub(super) since: Option<Since>,
    pub(super) rows: fn() -> Result<Box<dyn Rows>>,
}

impl List {
    /// A list of records of type `T` at a path (from the base URL of [`crate::rest::Rest::service`], with its slash), until more is said one
    /// answer that is a JSON array.
    ///
    /// # Errors
    /// As [`crate::rows::fields`].
    pub fn of<T: DeserializeOwned + Serialize + JsonSchema + 'static>(stream: &str, path: &str) -> Result<Self> {
        Ok(Self {
            stream: StreamSchema::of::<T>(stream)?,
            path: path.to_owned(),
            parameters: Vec::new(),
            records: "",
            paging: Paging::Single,
            size: None,
            more: None,
            is_short_last: false,
            since: None,
            rows: || Ok(Box::new(RowsBuilder::<T>::new()?)),
        })
    }

    /// The fields that identify a record.
    #[must_use]
    pub fn primary_key<S: Into<String>>(mut self, fields: impl IntoIterator<Item = S>) -> Self {
        self.stream = self.stream.primary_key(fields);
        self
    }

    /// The stream's parent, for lists that are read by themselves: `field` holds the parent's primary key.
    #[must_use]
    pub fn child_of(mut self, stream: &str, field: &str) -> Self {
        self.stream.parent = Some(Parent { stream: stream.to_owned(), field: field.to_owned() });
        self
    }

    /// Where an answer holds the array of records, an RFC 6901 pointer.
    #[must_use]
    pub fn records_at(mut self, pointer: &'static str) -> Self {
        self.records = pointer;
        self
    }

    /// How pages follow each other.
    #[must_use]
    pub fn paging(mut self, paging: Paging) -> Self {
        self.paging = paging;
        self
    }

    /// The query parameter that asks for so many records a page; take the service's maximum.
    #[must_use]
    pub fn size(mut self, parameter: &'static str, records: u32) -> Self {
        self.size = Some((parameter, records));
        self
    }

    /// Where an answer says by `true` or `false` whether there is another page.
    #[must_use]
    pub fn more(mut self, pointer: &'static str) -> Self {
        self.more = Some(pointer);
        self
    }

    /// A page with fewer records than [`List::size`] asks for is the last one, as the service promises.
    #[must_use]
    pub fn short_page_is_last(mut self) -> Self {
        self.is_short_last = true;
        self
    }

    /// A query parameter of every request.
    #[must_use]
    pub fn parameter(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((name, value.into()));
        self
    }

    /// The list can be asked for what changed: `cursor_field` is a timestamp column that says when a record did.
    #[must_use]
    pub fn since(mut self, cursor_field: &str, since: Since) -> Self {
        self.stream = self.stream.incremental(Some(cursor_field));
        self.since = Some(since);
        self
    }

    /// The query parameters of a span of time.
    pub(super) fn span(&self, from_us: Option<i64>, until_us: Option<i64>) -> Vec<(&'static str, String)> {
        let Some(since) = self.since else { return Vec::new() };
        let from = from_us.map(|us| (since.from, since.format.write(us, false)));
        let until = since.until.zip(until_us).map(|(name, us)| (name, since.format.write(us, true)));
        from.into_iter().chain(until).collect()
    }

    /// The end of a span that begins at `from_us`, when the read began at `now_us`; `None` for a list without an end.
    pub(super) fn until_us(&self, from_us: Option<i64>, now_us: i64) -> Option<i64> {
        let since = self.since.filter(|since| since.until.is_some())?;
        let window_end = from_us.zip(since.window_us).map(|(from_us, window_us)| from_us.saturating_add(window_us));
        Some(window_end.map_or(now_us, |end_us| end_us.min(now_us)))
    }

    /// Where a read begins; `None` for everything, or where the list cannot be asked for less.
    pub(super) fn begin_us(&self, wanted_us: Option<i64>) -> Option<i64> {
        self.since.and_then(|since| wanted_us.max(since.beginning_us))
    }

    pub(super) fn is_sorted(&self) -> bool {
        self.since.is_some_and(|since| since.is_sorted)
    }
}

/// Records of a list's type on their way into columns.
pub(super) trait Rows {
    /// Adds a record by its JSON text.
    ///
    /// # Errors
    /// `invalid_data`, naming the field where it is known, never the value.
    fn push(&mut self, text: &str) -> Result<()>;
    fn len(&self) -> usize;
    fn bytes(&self) -> usize;
    fn finish(&mut self) -> Columns;
}

impl<T: DeserializeOwned + Serialize + JsonSchema + 'static> Rows for RowsBuilder<T> {
    fn push(&mut self, text: &str) -> Result<()> {
        let record: T = serde_json::from_str(text).map_err(|error| misread(&error))?;
        Self::push(self, &record)
    }

    fn len(&self) -> usize {
        self.rows()
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn finish(&mut self) -> Columns {
        Self::finish(self)
    }
}

/// serde's words may quote a value; the name of a missing field is all that is taken from them.
fn misread(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    match missing {
        Some(field) => Error::invalid_data(format!("field `{field}` is missing")).code("value_missing"),
        None => {
            let message = format!("the record is not of the expected form (line {}, column {})", error.line(), error.column());
            Error::invalid_data(message).code("value_type")
        }
    }
}
