//! The reading of one stream, as a state that says where it stands. A first or full read of a large shop is a bulk
//! operation, everything else goes page by page in the order of updates: what changes meanwhile comes again at the end.
//! Either way a stopped run goes on where its last stored page ended.

use affluent_sdk::graphql::Connection;
use affluent_sdk::json::text;
use affluent_sdk::lines::JsonLines;
use affluent_sdk::paging::Progress;
use affluent_sdk::records::PageBuilder;
use affluent_sdk::{Error, Limits, Page, Position, Result, Source, StreamSchema, StreamSpec, SyncMode, runtime, values};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Config;
use crate::api::{Api, QUERY_POINTS_MAX, TOO_DEAR};
use crate::bulk::{self, Bulk, Ended};
use crate::streams::{self, LINE_COLUMNS, LINE_POINTS, LINE_SELECTION, LINES, Stream};

/// Records that turning pages reaches; then a new search must begin (shopify.dev, "Paginating results", 2026-11-23).
const PAGED_RECORDS_MAX: usize = 25_000;
/// Records of one page of a connection (same place).
const FIRST_MAX: u32 = 250;
/// Lines that come with their order; more need a query of their own, of this many each.
const LINES_FIRST: u32 = 10;
const LINES_MORE: u32 = 100;

/// Where an unfinished read of a stream stands.
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
    progress: Progress<Place>,
    /// Records per query.
    first: u32,
    /// The result of an operation while it is read, and how many objects it holds.
    export: Option<(JsonLines, u64)>,
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
        let (first, progress) = (config.page_size.unwrap_or(FIRST_MAX), Progress::resume(state.as_deref())?);
        Ok(Self { api: Api::new(&config), config, stream, spec, progress, first, export: None, is_done: false })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        if self.is_done {
            return Ok(Page { parts: Vec::new(), rejected: Vec::new(), state: None, position: Position::End });
        }
        match self.progress.place.clone() {
            None => self.begin(limits),
            Some(Place::Pages { search, after, records }) => self.read_page(search, after, records, limits),
            Some(Place::Bulk { bulk, newest_us }) => self.read_bulk(&bulk, newest_us, limits),
        }
    }
}

impl Reader {
    fn begin(&mut self, limits: Limits) -> Result<Page> {
        let is_first = self.spec.sync == SyncMode::FullRefresh || self.progress.high_water_us.is_none();
        let search = self.search(self.progress.begin_us(&self.spec));
        if is_first && self.is_large(&search)? {
            let arguments = if search.is_empty() { String::new() } else { format!("(query:{})", json!(search)) };
            let connection = self.connection(&arguments, "", |fields| format!("{{edges{{node{{{fields}}}}}}}"));
            if let Some(bulk) = bulk::start(&self.api, &format!("{{{connection}}}"))? {
                self.progress.place = Some(Place::Bulk { bulk, newest_us: None });
                return self.page(self.rows(), Position::More);
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
        let Connection { nodes, next } = self.ask_page(&search, after.as_deref(), limits)?;
        if next.is_some() && next == after {
            return Err(Error::transient("a page leads to itself").code("shopify.cursor"));
        }
        let mut rows = self.rows();
        let mut newest_us = None;
        let records = records + nodes.len();
        for mut record in nodes {
            let lines = self.take_lines(&mut record)?;
            newest_us = newest_us.max(updated_us(&record));
            rows.push(self.stream.name, &record);
            lines.iter().for_each(|line| _ = rows.push(LINES, line));
        }
        self.progress.reach(newest_us);
        let is_reach_over = records + FIRST_MAX as usize > PAGED_RECORDS_MAX;
        let later = self.search(self.progress.high_water_us);
        self.progress.place = match next {
            // Unless so many were updated in one second that there is no later place to begin at.
            Some(_) if is_reach_over && later != search => Some(Place::Pages { search: later, after: None, records: 0 }),
            Some(cursor) => Some(Place::Pages { search, after: Some(cursor), records }),
            None => None,
        };
        let position = if self.progress.place.is_some() { Position::More } else { Position::End };
        self.page(rows, position)
    }

    fn ask_page(&mut self, search: &str, after: Option<&str>, limits: Limits) -> Result<Connection> {
        let lines = if self.has_lines() { LINES_FIRST } else { 0 };
        let points = self.stream.points(lines);
        let wanted = (limits.max_rows / (1 + lines)).min((QUERY_POINTS_MAX - 2) / points).max(1);
        let arguments = "(first:$first,after:$after,query:$query,sortKey:UPDATED_AT)";
        let connection = self.connection(arguments, &format!("(first:{LINES_FIRST})"), Connection::of);
        let query = format!("query($first:Int!,$after:String,$query:String){{page:{connection}}}");
        loop {
            let first = self.first.min(wanted);
            let variables = json!({ "first": first, "after": after, "query": Some(search).filter(|search| !search.is_empty()) });
            match self.api.ask(&query, variables, 2 + first * points) {
                Ok(mut data) => return Connection::take(&mut data, "/page"),
                Err(error) if error.code == TOO_DEAR && first > 1 => self.first = first / 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// The lines of an order, all of them, each with its order.
    fn take_lines(&self, record: &mut Value) -> Result<Vec<Value>> {
        if record.get("lineItems").is_none() {
            return Ok(Vec::new());
        }
        let id = record.get("id").cloned().unwrap_or_default();
        let more = Connection::of(LINE_SELECTION);
        let query = format!("query($id:ID!,$after:String){{order(id:$id){{lineItems(first:{LINES_MORE},after:$after){more}}}}}");
        let Connection { nodes: mut lines, mut next } = Connection::take(record, "/lineItems")?;
        while let Some(cursor) = next {
            let mut data = self.api.ask(&query, json!({ "id": id, "after": cursor }), 3 + LINES_MORE * LINE_POINTS)?;
            if data.pointer("/order/lineItems").is_none() {
                break; // deleted meanwhile
            }
            let mut page = Connection::take(&mut data, "/order/lineItems")?;
            lines.append(&mut page.nodes);
            next = page.next;
        }
        lines.iter_mut().filter_map(Value::as_object_mut).for_each(|line| {
            line.insert("__parentId".to_owned(), id.clone());
        });
        Ok(lines)
    }

    fn read_bulk(&mut self, bulk: &Bulk, mut newest_us: Option<i64>, limits: Limits) -> Result<Page> {
        let mut rows = self.rows();
        let ended = self.export.take().map(|(export, total)| Ended::Ready(export, total));
        let (mut export, total) = match ended.map_or_else(|| bulk::wait(&self.api, bulk), |ended| Ok(Some(ended)))? {
            Some(Ended::Ready(export, total)) => (export, total),
            None => {
                let bulk = Bulk { waits: bulk.waits + 1, ..bulk.clone() };
                self.progress.place = Some(Place::Bulk { bulk, newest_us });
                return self.page(rows, Position::More);
            }
            Some(Ended::Lost) => {
                runtime::warn("the bulk operation has no result: reading page by page instead");
                (self.progress.place, self.config.bulk_from) = (None, 0);
                return self.page(rows, Position::More);
            }
        };
        let position = loop {
            let (_, objects) = export.place();
            match export.peek()? {
                None if objects != total => {
                    let message = "the result of the bulk operation breaks off";
                    return Err(Error::transient(message).code("shopify.bulk_result"));
                }
                None => break Position::End,
                Some(record) if record.get("__parentId").is_some() => _ = rows.push(LINES, &export.take()),
                Some(_) if rows.is_full(limits) => break Position::More,
                Some(record) => {
                    newest_us = newest_us.max(updated_us(record));
                    rows.push(self.stream.name, &export.take());
                }
            }
        };
        if matches!(position, Position::End) {
            // What it did not see was updated after it began.
            self.progress.reach(newest_us.min(values::parse_timestamp(&bulk.created_at)));
            self.progress.place = None;
        } else {
            let (offset, objects) = export.place();
            self.progress.place = Some(Place::Bulk { bulk: Bulk { offset, objects, ..bulk.clone() }, newest_us });
        }
        self.export = Some((export, total));
        self.page(rows, position)
    }

    fn rows(&self) -> PageBuilder {
        PageBuilder::new(&[(self.stream.name, self.stream.columns), (LINES, LINE_COLUMNS)])
    }

    fn page(&mut self, rows: PageBuilder, position: Position) -> Result<Page> {
        self.is_done = matches!(position, Position::End);
        Ok(rows.finish(self.progress.encode()?, position))
    }
}

fn updated_us(record: &Value) -> Option<i64> {
    values::parse_timestamp(text(record, "/updatedAt"))
}
