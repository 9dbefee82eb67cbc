//! The source: items in pages, with the cursor of the next page as state.

use affluent_sdk::columns::ColumnData;
use affluent_sdk::{
    ColumnsBuilder, Error, Field, FieldType, Limits, Page, PiiClass, Position, Result, Source, StreamSchema, StreamSpec,
    SyncMode, kv, runtime,
};
use serde::{Deserialize, Serialize};

use crate::Config;
use crate::api::Api;

/// A record of the service.
#[derive(Debug, Deserialize)]
struct Item {
    id: i64,
    name: String,
    email: Option<String>,
    updated: i64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    items: Vec<Item>,
    /// The cursor of the next page; absent on the last one.
    next: Option<u64>,
}

/// Where to go on: the cursor of a page, or the newest record seen for the next run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    cursor: u64,
    #[serde(default)]
    since: i64,
    #[serde(default)]
    newest: i64,
    #[serde(default)]
    page: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    note: String,
}

/// The open stream.
#[derive(Debug)]
pub struct Reader {
    config: Config,
    api: Api,
    stream: StreamSchema,
    state: State,
    is_incremental: bool,
}

impl Source for Reader {
    type Config = Config;

    fn discover(config: &Config) -> Result<Vec<StreamSchema>> {
        let email = Field::new("email", FieldType::Text);
        let email = if config.is("email_without_class") { email } else { email.pii(PiiClass::Email) };
        let name = if config.is("odd_names") { "Full Name" } else { "name" };
        let fields = vec![
            Field::new("id", FieldType::Integer).required(),
            Field::new(name, FieldType::Text),
            email,
            Field::new("updated", FieldType::Timestamp),
        ];
        let stream = StreamSchema::new("items", fields).primary_key(["id"]).incremental(Some("updated"));
        if config.is("unstable_discover") {
            let described = format!("{:?}", runtime::random_bytes(4));
            let fields = stream.fields.iter().cloned().map(|field| field.description(described.clone())).collect();
            return Ok(vec![StreamSchema { fields, ..stream }]);
        }
        Ok(vec![stream])
    }

    fn open(config: Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let is_incremental = spec.sync == SyncMode::Incremental;
        let read =
            |state: Vec<u8>| serde_json::from_slice(&state).map_err(|_| Error::internal("the state is not of this plugin"));
        let was_open = state.is_some();
        let mut state: State = state.map(read).transpose()?.unwrap_or_default();
        if was_open && config.is("remembers_pages") {
            let key = format!("opened at {}", state.cursor);
            state.cursor += u64::from(kv::get(&key).is_some());
            kv::put(&key, b"1")?;
        }
        Ok(Self { api: Api::new(&config), config, stream: spec.stream, state, is_incremental })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        let Some(answer) = self.ask(limits)? else {
            let state = self.state_bytes()?;
            return Ok(Page { parts: Vec::new(), rejected: Vec::new(), state: Some(state), position: Position::End });
        };
        if self.config.is("fails_at_the_end") && answer.next.is_none() {
            return Err(Error::internal("nothing comes after this"));
        }
        let mut rows = ColumnsBuilder::new(&self.stream.fields);
        for item in &answer.items {
            self.set(&mut rows, item)?;
            rows.end_row();
            self.state.newest = self.state.newest.max(item.updated);
        }
        let mut columns = rows.finish();
        if self.config.is("wrong_type") {
            let rows = columns.rows as usize;
            let names = columns.columns.iter_mut().filter(|column| column.name == "name");
            names.for_each(|column| column.data = ColumnData::Ints(vec![7; rows]));
        }
        let mut page = Page::of(&self.stream.name, columns);
        let before = self.state.cursor;
        self.state.page += 1;
        let ends_early = self.config.is("ends_at_empty_page") && answer.items.is_empty();
        match answer.next.filter(|_| !ends_early) {
            Some(next) => self.state.cursor = next,
            None => {
                page.position = Position::End;
                self.state = State { since: self.state.newest, newest: self.state.newest, ..State::default() };
            }
        }
        page.state = Some(self.saved(before, &answer)?);
        Ok(page)
    }
}

impl Reader {
    /// The next page; `None` where a mistake takes trouble for the end.
    fn ask(&self, limits: Limits) -> Result<Option<Answer>> {
        let limit = if self.config.is("ignores_limits") { 500 } else { limits.max_rows };
        let since = if self.is_incremental && !self.config.is("reads_everything_again") { self.state.since } else { 0 };
        let cursor = self.state.cursor;
        let request = self.api.get(&format!("/items?cursor={cursor}&limit={limit}&since={since}"));
        let is = |mistake: &str| self.config.is(mistake);
        let request = if is("gives_up_soon") { request.timeout_ms(250) } else { request };
        let answer = match request.retry_safe(!self.handles_trouble()).send() {
            Err(error) if is("gives_up_soon") && error.code == "http.timeout" => return Ok(None),
            answer => answer?,
        };
        match answer.status() {
            429 if is("takes_429_for_the_end") => return Ok(None),
            500..=599 if is("takes_500_for_the_end") => return Ok(None),
            500..=599 if is("takes_500_for_a_bug") => return Err(Error::internal("the service is broken")),
            401 | 403 if is("takes_401_for_data") => return Ok(None),
            _ => {}
        }
        let answer = answer.error_for_status()?;
        if is("takes_half_for_all") {
            return Ok(answer.json().ok());
        }
        if is("unwraps_the_answer") && serde_json::from_slice::<Answer>(answer.body()).is_err() {
            crate::trap();
        }
        answer.json().map(Some)
    }

    /// Mistakes about statuses need to see them.
    fn handles_trouble(&self) -> bool {
        self.config.mistake.starts_with("takes_") || self.config.is("gives_up_soon")
    }

    fn set(&self, rows: &mut ColumnsBuilder, item: &Item) -> Result<()> {
        let is = |mistake: &str| self.config.is(mistake);
        let id = if is("repeats_keys") { item.id / 2 } else { item.id };
        rows.set("id", id)?;
        rows.set(if is("odd_names") { "Full Name" } else { "name" }, item.name.as_str())?;
        rows.set("email", item.email.as_deref())?;
        rows.set("updated", affluent_sdk::Value::Timestamp(item.updated))?;
        if is("logs_too_much") {
            runtime::info("a record");
            runtime::info("was read");
        }
        if is("logs_people") && item.id == 3 {
            runtime::warn(&format!("odd record of {}", item.email.as_deref().unwrap_or_default()));
        }
        Ok(())
    }

    fn state_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.state).map_err(|error| Error::internal(error.to_string()))
    }

    /// The state of a page that began at `before`.
    fn saved(&self, before: u64, answer: &Answer) -> Result<Vec<u8>> {
        let mut state = self.state.clone();
        let is = |mistake: &str| self.config.is(mistake);
        if is("state_of_this_page") && answer.next.is_some() {
            state.cursor = before;
        }
        if is("state_stands_still") && answer.next.is_some() {
            state = State::default();
        }
        if is("state_skips") && answer.next.is_some() {
            state.cursor += 1;
        }
        if is("state_holds_the_secret") {
            state.note.clone_from(&self.config.label);
        }
        if is("state_names_people") {
            state.note = answer.items.first().and_then(|item| item.email.clone()).unwrap_or_default();
        }
        if !is("counts_pages") {
            state.page = 0;
        }
        serde_json::to_vec(&state).map_err(|error| Error::internal(error.to_string()))
    }
}
