//! Sources over objects whose fields the service itself tells, and which it lets search for what changed: everything is listed
//! once, page by page; from then on only changes are searched for. [`Changes`] says how a page is asked for, [`Objects`] what is
//! in it, [`ChangesSource`] reads.
//!
//! A search goes by time and, within one instant, by id (the *seek method*): each one begins where the last page ended, never at
//! an offset. So records that change meanwhile move nothing, and the number of results that a service lets one page through is
//! never reached, however many changed and however many of them at once.
//!
//! ```
//! use affluent_sdk::changes::{Changes, ChangesSource, Found, Objects, Span};
//! use affluent_sdk::{Account, Field, FieldType, Result, testing};
//! use serde_json::json;
//!
//! struct Crm;
//!
//! impl Account for Crm {
//!     type Config = ();
//!
//!     fn connect(_: &()) -> Self {
//!         Self
//!     }
//! }
//!
//! impl Changes for Crm {
//!     const OBJECTS: &'static [Objects] = &[Objects::new("contacts", "updated_at").values("/properties")];
//!
//!     fn fields(&self, _: &Objects) -> Result<Vec<Field>> {
//!         Ok(vec![Field::new("updated_at", FieldType::Timestamp)])
//!     }
//!
//!     fn all(&self, _: &Objects, _: &[&str], _after: Option<&str>) -> Result<Found> {
//!         let ada = json!({ "id": "7", "properties": { "updated_at": "2026-01-31T10:20:30Z" } });
//!         Ok(Found { records: vec![ada], ..Found::default() })
//!     }
//!
//!     fn changed(&self, _: &Objects, _: &[&str], span: Span<'_>) -> Result<Found> {
//!         assert!(span.from_us > 0);
//!         Ok(Found::default())
//!     }
//! }
//!
//! let read = testing::read_all::<ChangesSource<Crm>>(|| (), "contacts")?;
//! assert_eq!(read.rows("contacts"), 1);
//! # Ok::<(), affluent_sdk::Error>(())
//! ```

mod job;
mod offsets;
mod rows;
mod source;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::http::Response;
use crate::plugin::Account;
use crate::records::{Column, fields};
use crate::stream::{Field, FieldType, StreamSchema};
use crate::{json, values};

pub use job::{Job, JobPart};
pub use offsets::Seconds;
pub use source::ChangesSource;

/// The primary key of every stream.
const ID: &str = "id";
/// The stream of [`Objects::aliases`], but for its name.
const ALIASES: Child = Child {
    stream: "",
    list: "",
    columns: &[
        Column::new(ID, FieldType::Text, "/id").required(),
        Column::new("record_id", FieldType::Text, "/record_id").required(),
    ],
    primary_key: &[ID],
    parent: "record_id",
    first: None,
};

/// One kind of object, read as a stream whose primary key is the text column `id`.
#[derive(Debug, Clone, Copy)]
pub struct Objects {
    stream: &'static str,
    changed: &'static str,
    id: &'static str,
    is_any_case: bool,
    values: &'static str,
    lag_ms: u64,
    replaced: Option<&'static str>,
    gone: Option<&'static str>,
    merged: Option<&'static str>,
    aliases: Option<&'static str>,
    children: &'static [Child],
    is_only_searched: bool,
    is_paged: bool,
}

/// A list inside each record that is a stream of its own.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    /// The child stream.
    pub stream: &'static str,
    /// Where a record holds the list of its objects (RFC 6901).
    pub list: &'static str,
    /// Its columns, the one that holds the parent's id among them.
    pub columns: &'static [Column],
    /// The columns that identify a row.
    pub primary_key: &'static [&'static str],
    /// The column that holds the parent's id.
    pub parent: &'static str,
    /// A text column whose value in the first object of a list is a column of the record, too.
    pub first: Option<&'static str>,
}

impl Objects {
    /// A stream and the timestamp field that says when a record changed. Records hold `id` and the values of their fields, until
    /// more is said.
    pub const fn new(stream: &'static str, changed: &'static str) -> Self {
        Self {
            stream,
            changed,
            id: "/id",
            is_any_case: false,
            values: "",
            lag_ms: 0,
            replaced: None,
            gone: None,
            merged: None,
            aliases: None,
            children: &[],
            is_only_searched: false,
            is_paged: false,
        }
    }

    /// The same for a stream that the configuration names; see [`Changes::objects`]. What was said of [`Objects::aliases`] is the
    /// beginning of the child stream's name then. Names are kept for as long as the instance lives: a configuration names few.
    #[must_use]
    pub fn named(self, stream: &str) -> Self {
        let aliases = self.aliases.map(|before| &*(before.to_owned() + &self.cased(stream)).leak());
        Self { stream: String::from(stream).leak(), aliases, ..self }
    }

    /// Where a record holds its id (RFC 6901), `/id` unless it is said.
    #[must_use]
    pub const fn id_at(self, pointer: &'static str) -> Self {
        Self { id: pointer, ..self }
    }

    /// Names of the service are the same in every case; those of the stream and its fields are in lower case then, as all streams'.
    #[must_use]
    pub const fn any_case(self) -> Self {
        Self { is_any_case: true, ..self }
    }

    /// Where a record holds its fields (RFC 6901); its id stands in the record itself.
    #[must_use]
    pub const fn values(self, pointer: &'static str) -> Self {
        Self { values: pointer, ..self }
    }

    /// How long a change may take to be found, in milliseconds: every search begins so much earlier.
    #[must_use]
    pub const fn lag_ms(self, ms: u64) -> Self {
        Self { lag_ms: ms, ..self }
    }

    /// Where a record names the ids of records that it took in (RFC 6901), in a list or in a text with semicolons: they are gone
    /// without being told otherwise.
    #[must_use]
    pub const fn replaces(self, pointer: &'static str) -> Self {
        Self { replaced: Some(pointer), ..self }
    }

    /// Where `true` says that a record is gone (RFC 6901), for a search that finds those that were deleted, too.
    #[must_use]
    pub const fn gone_where(self, pointer: &'static str) -> Self {
        Self { gone: Some(pointer), ..self }
    }

    /// Where a record that is gone names the record that took it in (RFC 6901). Objects whose fields lack it have no
    /// [`Objects::aliases`].
    #[must_use]
    pub const fn merged_into(self, pointer: &'static str) -> Self {
        Self { merged: Some(pointer), ..self }
    }

    /// A child stream with a row for each id that was taken in, `id`, and the `record_id` of who has it now: both are the same
    /// person's. Needs [`Objects::replaces`] or [`Objects::merged_into`].
    #[must_use]
    pub const fn aliases(self, stream: &'static str) -> Self {
        Self { aliases: Some(stream), ..self }
    }

    /// Lists inside each record that are streams.
    #[must_use]
    pub const fn children(self, children: &'static [Child]) -> Self {
        Self { children, ..self }
    }

    /// The service lists them in no order that changes leave alone: everything is searched for from the beginning of time, and
    /// [`Changes::all`] is never asked.
    #[must_use]
    pub const fn only_searched(self) -> Self {
        Self { is_only_searched: true, ..self }
    }

    /// A search cannot go on from an instant: it is paged by what [`Found::next`] leads to, in any order. Until when everything is known
    /// is the time at which it began. Records that change meanwhile may move others to a page that was read, so the lag is to be so
    /// long that every change is looked for by several searches.
    #[must_use]
    pub const fn paged(self) -> Self {
        Self { is_paged: true, ..self }
    }

    /// Its name at the service, which is the stream's but for the case.
    pub const fn name(&self) -> &'static str {
        self.stream
    }

    /// The field that says when a record changed.
    pub const fn changed(&self) -> &'static str {
        self.changed
    }

    fn cased(&self, name: &str) -> String {
        if self.is_any_case { name.to_lowercase() } else { name.to_owned() }
    }

    /// A value of a record by the name of its field.
    fn value<'a>(&self, values: &'a Value, name: &str) -> Option<&'a Value> {
        let in_any_case = || values.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        values.get(name).or_else(|| in_any_case().filter(|_| self.is_any_case))
    }

    /// The stream with its children.
    fn schemas(&self, own: Vec<Field>) -> Vec<StreamSchema> {
        let id = Field::new(ID, FieldType::Text).required();
        let firsts = self.firsts().map(|(_, name)| Field::new(name, FieldType::Text));
        let merges = self.merged.is_none_or(|pointer| own.iter().any(|field| format!("/{}", field.name) == pointer));
        let own = own.into_iter().map(|field| Field { name: self.cased(&field.name), ..field });
        let stream = StreamSchema::new(self.cased(self.stream), std::iter::once(id).chain(own).chain(firsts).collect());
        let child = |child: &Child| {
            let stream = StreamSchema::new(child.stream, fields(child.columns)).primary_key(child.primary_key.iter().copied());
            stream.incremental(None).child_of(self.cased(self.stream), child.parent)
        };
        let stream = stream.primary_key([ID]).incremental(Some(&self.cased(self.changed)));
        let children = self.all_children().filter(|child| merges || self.aliases != Some(child.stream));
        std::iter::once(stream).chain(children.map(|of| child(&of))).collect()
    }

    /// Columns that stand in the first object of a list, and the lists.
    fn firsts(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.children.iter().filter_map(|child| Some((child.list, child.first?)))
    }

    fn all_children(&self) -> impl Iterator<Item = Child> {
        let aliases = self.aliases.map(|stream| Child { stream, ..ALIASES });
        self.children.iter().copied().chain(aliases)
    }

    /// The ids of records that a record took in.
    fn replaced<'a>(&self, record: &'a Value) -> Vec<&'a str> {
        let Some(found) = self.replaced.and_then(|pointer| record.pointer(pointer)) else { return Vec::new() };
        let listed = json::list(found, "").iter().filter_map(Value::as_str);
        let written = found.as_str().unwrap_or_default().split(';').map(str::trim).filter(|id| !id.is_empty());
        listed.chain(written).collect()
    }

    fn id_of(&self, record: &Value) -> Result<String> {
        json::required_text(record, self.id)
    }

    /// The id of the record that took in one that is gone.
    fn merged<'a>(&self, record: &'a Value) -> Option<&'a str> {
        self.merged.map(|pointer| json::text(record, pointer)).filter(|id| !id.is_empty())
    }

    fn is_gone(&self, record: &Value) -> bool {
        self.gone.and_then(|pointer| record.pointer(pointer)).and_then(Value::as_bool).unwrap_or(false)
    }

    /// When a record changed, as it says.
    fn changed_us(&self, record: &Value) -> Option<i64> {
        values::parse_timestamp(json::text(record.pointer(self.values)?, &format!("/{}", self.changed)))
    }
}

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'a> {
    /// Microseconds since the epoch. A service that counts in larger units rounds it up.
    pub from_us: i64,
    /// `None`: what changed at this instant or later, the oldest change first. Otherwise: what changed at exactly this instant
    /// and has a greater id (empty before the first one), the smallest id first.
    pub after_id: Option<&'a str>,
}

/// One page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The records, each with its `id`.
    pub records: Vec<Value>,
    /// What leads to the page after this one; in a search anything, where more was found than is in the page.
    pub next: Option<String>,
    /// When the service answered, by its own clock ([`crate::http::Response::date_us`]); the host's clock counts without it.
    pub at_us: Option<i64>,
}

impl Found {
    /// The page that an answer holds: its records, and what leads to the next page (RFC 6901).
    ///
    /// # Errors
    /// `transient` (`page.no_list`) for an answer that holds no records: never an empty page.
    pub fn read(answer: &Response, records: &str, next: &str) -> Result<Self> {
        let body: Value = answer.json()?;
        let found = body.pointer(records).and_then(Value::as_array).cloned();
        let no_list = || Error::transient(format!("the answer holds no list at `{records}`")).code("page.no_list");
        let next = Some(json::text(&body, next).to_owned()).filter(|next| !next.is_empty());
        Ok(Self { records: found.ok_or_else(no_list)?, next, at_us: answer.date_us() })
    }

    /// The same, leading to what comes after its last record, by the id that records hold at a pointer, where more was told or the
    /// page has all that were asked for: for a service that is asked for ids greater than that.
    #[must_use]
    pub fn then_after_id(mut self, id: &str, asked: usize) -> Self {
        let has_more = self.next.is_some() || self.records.len() >= asked;
        self.next = self.records.last().filter(|_| has_more).map(|last| json::text(last, id).to_owned());
        self
    }
}

/// A service whose objects are listed, and searched by when they changed.
pub trait Changes: Account {
    /// The kinds of objects that every account has.
    const OBJECTS: &'static [Objects] = &[];

    /// The kinds of objects of this account, where its configuration names them.
    fn objects(&self) -> Vec<Objects> {
        Self::OBJECTS.to_vec()
    }

    /// The fields that objects of a kind have, beside `id`, [`Objects::changed`] among them.
    ///
    /// # Errors
    /// Any kind; `permission` where the credential does not reach them: then there is no such stream.
    fn fields(&self, objects: &Objects) -> Result<Vec<Field>>;

    /// A page of all objects, with these fields, in an order that changes do not disturb (by id, by creation). A service that has
    /// none says [`Objects::only_searched`].
    ///
    /// # Errors
    /// Any kind; see [`crate::Source::next`].
    fn all(&self, objects: &Objects, _fields: &[&str], _after: Option<&str>) -> Result<Found> {
        Err(Error::unsupported(format!("`{}` is not listed", objects.stream)))
    }

    /// Begins a job that gives all objects, with these fields, in any order; `None` where they are few, or there are no jobs. It is
    /// kept in the stream's state before anything is asked of it, so that a later run goes on with it.
    ///
    /// # Errors
    /// As [`Changes::all`].
    fn start_job(&self, _objects: &Objects, _fields: &[&str]) -> Result<Option<Job>> {
        Ok(None)
    }

    /// A part of what a job gives: the first one, or the one that [`Found::next`] of another leads to.
    ///
    /// # Errors
    /// As [`Changes::all`]; `not_found` where the job or its result is not there any more.
    fn job_part(&self, _job: &Job, _after: Option<&str>) -> Result<JobPart> {
        Ok(JobPart::Lost)
    }

    /// A page of what a span holds; every service has it but one of [`Objects::paged`].
    ///
    /// # Errors
    /// As [`Changes::all`].
    fn changed(&self, objects: &Objects, _fields: &[&str], _span: Span<'_>) -> Result<Found> {
        Err(Error::unsupported(format!("`{}` is not searched by spans", objects.stream)))
    }

    /// A page of what changed since an instant, in microseconds since the epoch, or earlier, for [`Objects::paged`].
    ///
    /// # Errors
    /// As [`Changes::all`].
    fn changed_since(&self, objects: &Objects, _fields: &[&str], _since_us: i64, _after: Option<&str>) -> Result<Found> {
        Err(Error::unsupported(format!("searches for `{}` are not paged", objects.stream)))
    }

    /// A page of what was deleted, asked for after each search for changes. Those deleted before `since_us` are known and may be
    /// left out.
    ///
    /// # Errors
    /// As [`Changes::all`].
    fn deleted(&self, _objects: &Objects, _since_us: i64, _after: Option<&str>) -> Result<Found> {
        Ok(Found::default())
    }
}
