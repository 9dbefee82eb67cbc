//! The reading of one stream, as a state that says where it stands. A first or full read of a large shop is a bulk
//! operation, everything else goes page by page in the order of updates: what changes meanwhile comes again at the end.
//! Either way a stopped run goes on where its last stored page ended.

use affluent_sdk::records::Records;
use affluent_sdk::{Error, Limits, Page, Position, Result, Source, StreamSchema, StreamSpec, SyncMode, runtime, values};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Config;
use crate::api::{Api, QUERY_POINTS_MAX, TOO_DEAR, text};
use crate::bulk::{self, Bulk, Export, Progress};
use crate::streams::{self, LINE_COLUMNS, LINE_POINTS, LINE_SELECTION, LINES, Stream};

/// Records that turning pages reaches; then a new search must begin (shopify.dev, "Paginating results", 2026-11-23).
const PAGED_RECORDS_MAX: usize = 25_000;
/// Records of one page of a connection (same place).
const FIRST_MAX: u32 = 250;
/// Lines that come with their order; more need a query of their own, of this many each.
const LINES_FIRST: u32 = 10;
const LINES_MORE: u32 = 100;

/// Where the reading of a stream stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    version: u32,
    /// Every update before it has been read; microseconds since the epoch.
    high_water_us: Option<i64>,
    /// Present as long as a read is unfinished.
    place: Option<Place>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Records of this search so far, and the cursor after them.
    Pages { search: String, after: Option<String>, records: usize },
    /// An operation, and the newest update in what was read of it.
    Bulk { bulk: Bulk, newest_us: Option<i64> },
}

/// One open stream.
#[derive(Debug)]
pub struct Reader {
    api: Api,
    config: Config,
    stream: &'static Stream,
    spec: StreamSpec,
    state: State,
    /// Records per query.
    first: u32,
    export: Option<Export>,
    is_done: bool,
}

impl Source for Reader {
    type Config = Config;

    fn discover(_config: &Config) -> Result<Vec<StreamSchema>> {
        Ok(streams::schemas())
    }

    fn open(config: Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let name = &spec.stream.name;
        let stream = Stream::find(name).ok_or_else(|| Error::config(format!("stream `{name}` is not read by itself")))?;
        let foreign = |_| Error::config("the state is not of this plugin").code("shopify.state");
        let state = state.map(|state| serde_json::from_slice(&state).map_err(foreign)).transpose()?;
        let first = config.page_size.unwrap_or(FIRST_MAX);
        let state = state.unwrap_or(State { version: 1, ..State::default() });
        Ok(Self { api: Api::new(&config), config, stream, spec, state, first, export: None, is_done: false })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        if self.is_done {
            return Ok(Page { parts: Vec::new(), rejected: Vec::new(), state: None, position: Position::End });
        }
        match self.state.place.clone() {
            None => self.begin(limits),
            Some(Place::Pages { search, after, records }) => self.read_page(search, after, records, limits),
            Some(Place::Bulk { bulk, newest_us }) => self.read_bulk(&bulk, newest_us, limits),
        }
    }
}

impl Reader {
    fn begin(&mut self, limits: Limits) -> Result<Page> {
        let known_us = self.state.high_water_us.filter(|_| self.spec.sync == SyncMode::Incremental);
        let lookback_us = i64::try_from(self.spec.lookback_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
        let search = self.search(known_us.map(|us| us.saturating_sub(lookback_us)).max(self.spec.since_us));
        if known_us.is_none() && self.is_large(&search)? {
            let arguments = if search.is_empty() { String::new() } else { format!("(query:{})", json!(search)) };
            let connection = self.connection(&arguments, "", |fields| format!("{{edges{{node{{{fields}}}}}}}"));
            if let Some(bulk) = bulk::start(&self.api, &format!("{{{connection}}}"))? {
                self.state.place = Some(Place::Bulk { bulk, newest_us: None });
                return self.page(Rows::new(self.stream), Position::More);
            }
        }
        self.read_page(search, None, 0, limits)
    }

    /// Everything updated at or after an instant.
    fn search(&self, from_us: Option<i64>) -> String {
        let from = from_us.map(|us| {
            let mut second = Vec::new();
            values::write_timestamp(us - us.rem_euclid(1_000_000), &mut second);
            format!("updated_at:>='{}'", String::from_utf8_lossy(&second))
        });
        let without_tests = !self.config.include_test_orders && self.stream.name == streams::ORDERS.name;
        let terms = [from, without_tests.then(|| "test:false".to_owned())];
        terms.into_iter().flatten().collect::<Vec<_>>().join(" AND ")
    }

    fn is_large(&self, search: &str) -> Result<bool> {
        if self.config.bulk_from == 0 {
            return Ok(false);
        }
        let query = format!("query($query:String){{found:{}Count(query:$query){{count}}}}", self.stream.name);
        let data = self.api.ask(&query, json!({ "query": search }), 10)?;
        Ok(data.pointer("/found/count").and_then(Value::as_u64) >= Some(self.config.bulk_from.into()))
    }

    fn has_lines(&self) -> bool {
        self.spec.children.iter().any(|child| child.name == LINES)
    }

    /// The text that asks for this stream's connection; `around` puts the fields of a record into their place.
    fn connection(&self, arguments: &str, line_arguments: &str, around: fn(&str) -> String) -> String {
        let mut fields = self.stream.selection(&self.api.version);
        if self.has_lines() {
            fields = format!("{fields} lineItems{line_arguments}{}", around(LINE_SELECTION));
        }
        format!("{}{arguments}{}", self.stream.name, around(&fields))
    }

    fn read_page(&mut self, search: String, after: Option<String>, records: usize, limits: Limits) -> Result<Page> {
        let mut page = self.ask_page(&search, after.as_deref(), limits)?;
        let mut rows = Rows::new(self.stream);
        let mut high_water_us = self.state.high_water_us;
        let found = take_nodes(&mut page)?;
        let records = records + found.len();
        for mut record in found {
            let lines = self.take_lines(&mut record)?;
            high_water_us = high_water_us.max(updated_us(&record));
            rows.records.push(&record);
            lines.iter().for_each(|line| _ = rows.lines.push(line));
        }
        let next = next_cursor(&page)?;
        if next.is_some() && next == after {
            return Err(Error::transient("a page leads to itself").code("shopify.cursor"));
        }
        let is_reach_over = records + FIRST_MAX as usize > PAGED_RECORDS_MAX;
        let later = self.search(high_water_us);
        self.state.high_water_us = high_water_us;
        self.state.place = match next {
            // Unless so many were updated in one second that there is no later place to begin at.
            Some(_) if is_reach_over && later != search => Some(Place::Pages { search: later, after: None, records: 0 }),
            Some(cursor) => Some(Place::Pages { search, after: Some(cursor), records }),
            None => None,
        };
        let position = if self.state.place.is_some() { Position::More } else { Position::End };
        self.page(rows, position)
    }

    fn ask_page(&mut self, search: &str, after: Option<&str>, limits: Limits) -> Result<Value> {
        let lines = if self.has_lines() { LINES_FIRST } else { 0 };
        let points = self.stream.points(lines);
        let wanted = (limits.max_rows / (1 + lines)).min((QUERY_POINTS_MAX - 2) / points).max(1);
        let arguments = "(first:$first,after:$after,query:$query,sortKey:UPDATED_AT)";
        let connection = self.connection(arguments, &format!("(first:{LINES_FIRST})"), in_pages);
        let query = format!("query($first:Int!,$after:String,$query:String){{page:{connection}}}");
        loop {
            let first = self.first.min(wanted);
            let variables = json!({ "first": first, "after": after, "query": Some(search).filter(|search| !search.is_empty()) });
            match self.api.ask(&query, variables, 2 + first * points) {
                Ok(mut data) => return Ok(data.get_mut("page").map(Value::take).unwrap_or_default()),
                Err(error) if error.code == TOO_DEAR && first > 1 => self.first = first / 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// The lines of an order, all of them, each with its order.
    fn take_lines(&self, record: &mut Value) -> Result<Vec<Value>> {
        let Some(mut page) = record.get_mut("lineItems").map(Value::take) else { return Ok(Vec::new()) };
        let id = record.get("id").cloned().unwrap_or_default();
        let more = in_pages(LINE_SELECTION);
        let query = format!("query($id:ID!,$after:String){{order(id:$id){{lineItems(first:{LINES_MORE},after:$after){more}}}}}");
        let mut lines = take_nodes(&mut page)?;
        while let Some(cursor) = next_cursor(&page)? {
            let mut data = self.api.ask(&query, json!({ "id": id, "after": cursor }), 3 + LINES_MORE * LINE_POINTS)?;
            let Some(next) = data.pointer_mut("/order/lineItems") else { break }; // deleted meanwhile
            page = next.take();
            lines.append(&mut take_nodes(&mut page)?);
        }
        lines.iter_mut().filter_map(Value::as_object_mut).for_each(|line| {
            line.insert("__parentId".to_owned(), id.clone());
        });
        Ok(lines)
    }

    fn read_bulk(&mut self, bulk: &Bulk, mut newest_us: Option<i64>, limits: Limits) -> Result<Page> {
        let mut rows = Rows::new(self.stream);
        let progress = self.export.take().map_or_else(|| bulk::wait(&self.api, bulk), |export| Ok(Progress::Ready(export)))?;
        let mut export = match progress {
            Progress::Ready(export) => export,
            Progress::Running => {
                let bulk = Bulk { waits: bulk.waits + 1, ..bulk.clone() };
                self.state.place = Some(Place::Bulk { bulk, newest_us });
                return self.page(rows, Position::More);
            }
            Progress::Lost => {
                runtime::warn("the bulk operation has no result: reading page by page instead");
                (self.state.place, self.config.bulk_from) = (None, 0);
                return self.page(rows, Position::More);
            }
        };
        let position = loop {
            match export.peek()? {
                None => break Position::End,
                Some(record) if record.get("__parentId").is_some() => _ = rows.lines.push(&export.take()),
                Some(_) if rows.is_full(limits) => break Position::More,
                Some(record) => {
                    newest_us = newest_us.max(updated_us(record));
                    rows.records.push(&export.take());
                }
            }
        };
        self.state.place = Some(Place::Bulk { bulk: export.bulk.clone(), newest_us });
        if matches!(position, Position::End) {
            // What it did not see was updated after it began.
            let seen_us = newest_us.min(values::parse_timestamp(&bulk.created_at));
            self.state = State { high_water_us: self.state.high_water_us.max(seen_us), place: None, ..self.state };
        }
        self.export = Some(export);
        self.page(rows, position)
    }

    fn page(&mut self, rows: Rows, position: Position) -> Result<Page> {
        self.is_done = matches!(position, Position::End);
        let state = serde_json::to_vec(&self.state).map_err(|_| Error::internal("a state is always JSON"))?;
        let mut page = Page { parts: Vec::new(), rejected: Vec::new(), state: Some(state), position };
        rows.records.finish(&mut page.parts, &mut page.rejected);
        rows.lines.finish(&mut page.parts, &mut page.rejected);
        Ok(page)
    }
}

fn in_pages(fields: &str) -> String {
    format!("{{nodes{{{fields}}} pageInfo{{hasNextPage endCursor}}}}")
}

fn take_nodes(page: &mut Value) -> Result<Vec<Value>> {
    match page.get_mut("nodes").map(Value::take) {
        Some(Value::Array(nodes)) => Ok(nodes),
        _ => Err(Error::transient("the answer holds no page").code("shopify.no_data")),
    }
}

/// The cursor of the page after this one, if there is one.
fn next_cursor(page: &Value) -> Result<Option<String>> {
    match (page.pointer("/pageInfo/hasNextPage").and_then(Value::as_bool), text(page, "/pageInfo/endCursor")) {
        (Some(false), _) => Ok(None),
        (Some(true), cursor) if !cursor.is_empty() => Ok(Some(cursor.to_owned())),
        _ => Err(Error::transient("the answer does not say how its pages go on").code("shopify.no_data")),
    }
}

fn updated_us(record: &Value) -> Option<i64> {
    values::parse_timestamp(text(record, "/updatedAt"))
}

/// A page being filled.
#[derive(Debug)]
struct Rows {
    records: Records,
    lines: Records,
}

impl Rows {
    fn new(stream: &Stream) -> Self {
        Self { records: Records::new(stream.name, stream.columns), lines: Records::new(LINES, LINE_COLUMNS) }
    }

    fn is_full(&self, limits: Limits) -> bool {
        let (rows, bytes) = (self.records.len() + self.lines.len(), self.records.bytes() + self.lines.bytes());
        rows >= limits.max_rows as usize || bytes >= limits.max_bytes as usize / 2
    }
}
