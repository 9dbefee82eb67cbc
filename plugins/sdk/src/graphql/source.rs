//! The reading of one connection, as a state that says where it stands. A first or full read of much is a bulk operation
//! where the service has them, everything else goes page by page in the order of updates: what changes meanwhile comes again
//! at the end. Either way a stopped run goes on where its last stored page ended.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bulk::{self, Bulk, Ended};
use super::{Connection, Graphql, List};
use crate::error::{Error, Result};
use crate::lines::JsonLines;
use crate::paging::{LoopGuard, Progress};
use crate::plugin::{Limits, Page, Position, Source};
use crate::records::PageBuilder;
use crate::runtime;
use crate::stream::{StreamSchema, StreamSpec, SyncMode};

/// Where an unfinished read of a stream stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Records of this search so far, and the cursor after them.
    Pages { search: String, after: Option<String>, records: usize },
    /// An operation, and the newest update in what was read of it.
    Bulk { bulk: Bulk, newest_us: Option<i64> },
}

/// The [`Source`] of a [`Graphql`] service: export it with `export_source!(Shop, GraphqlSource<Api>)`.
///
/// Every page is a safe point. A page holds whole parents: all children of a record are fetched before it is given. An answer
/// that is no page, a cursor that leads in a circle and a bulk result that breaks off are errors, never an empty page.
#[derive(Debug)]
pub struct GraphqlSource<S> {
    service: S,
    list: List,
    spec: StreamSpec,
    progress: Progress<Place>,
    guard: LoopGuard,
    /// Records per query.
    first: u32,
    /// False after an operation that came to nothing.
    may_bulk: bool,
    /// The result of an operation while it is read, and how many records it holds.
    export: Option<(JsonLines, u64)>,
    is_done: bool,
}

impl<S: Graphql> Source for GraphqlSource<S> {
    type Config = S::Config;

    fn discover(_config: &S::Config) -> Result<Vec<StreamSchema>> {
        Ok(S::LISTS.iter().flat_map(List::schemas).collect())
    }

    fn open(config: S::Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let name = &spec.stream.name;
        let list = S::LISTS.iter().find(|list| list.stream == name).copied();
        let list = list.ok_or_else(|| Error::config(format!("stream `{name}` is not read by itself")))?;
        let (service, progress) = (S::connect(config), Progress::resume(state.as_deref())?);
        let first = service.page_size().unwrap_or(S::BOUNDS.page_records);
        let guard = LoopGuard::default();
        Ok(Self { service, list, spec, progress, guard, first, may_bulk: true, export: None, is_done: false })
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

impl<S: Graphql> GraphqlSource<S> {
    fn begin(&mut self, limits: Limits) -> Result<Page> {
        let is_first = self.spec.sync == SyncMode::FullRefresh || self.progress.high_water_us.is_none();
        let search = self.search(self.progress.begin_us(&self.spec));
        if is_first && self.may_bulk && self.service.is_large(&self.list, &search)? {
            let query = self.list.bulk_query(&self.fields(|child| child.in_bulk()), &search);
            if let Some(bulk) = self.service.start_bulk(&query)? {
                self.progress.place = Some(Place::Bulk { bulk, newest_us: None });
                return self.page(self.rows(), Position::More);
            }
        }
        self.read_page(search, None, 0, limits)
    }

    /// Everything updated at or after an instant, as far as the connection can be searched.
    fn search(&self, from_us: Option<i64>) -> String {
        if self.list.is_searchable() { self.service.search(&self.list, from_us) } else { String::new() }
    }

    /// The child of the list, if it is wanted.
    fn child(&self) -> Option<super::Child> {
        self.list.child.filter(|child| self.spec.children.iter().any(|wanted| wanted.name == child.stream))
    }

    /// What is asked of each record, with its children written by a function.
    fn fields(&self, children: fn(&super::Child) -> String) -> String {
        let own = self.service.selection(&self.list);
        self.child().map_or_else(|| own.clone(), |child| format!("{own} {}", children(&child)))
    }

    fn read_page(&mut self, search: String, after: Option<String>, records: usize, limits: Limits) -> Result<Page> {
        let Connection { nodes, next } = self.ask_page(&search, after.as_deref(), limits)?;
        let mut rows = self.rows();
        let mut newest_us = None;
        let records = records + nodes.len();
        for mut record in nodes {
            let children = self.take_children(&mut record)?;
            newest_us = newest_us.max(self.list.updated_us(&record));
            rows.push(self.list.stream, &record);
            self.push_children(&mut rows, &children);
        }
        if let Some(next) = &next {
            self.guard.enter(next)?;
        }
        self.progress.reach(newest_us);
        let is_reach_over = records + S::BOUNDS.page_records as usize > S::BOUNDS.reach_records;
        let later = self.search(self.progress.high_water_us);
        self.progress.place = match next {
            // Unless so many were updated at one instant that there is no later place to begin at.
            Some(_) if is_reach_over && later != search => {
                self.guard.reset();
                Some(Place::Pages { search: later, after: None, records: 0 })
            }
            Some(cursor) => Some(Place::Pages { search, after: Some(cursor), records }),
            None => None,
        };
        let position = if self.progress.place.is_some() { Position::More } else { Position::End };
        self.page(rows, position)
    }

    fn ask_page(&mut self, search: &str, after: Option<&str>, limits: Limits) -> Result<Connection> {
        let (bounds, child) = (S::BOUNDS, self.child());
        let children = child.map_or(0, |child| child.first);
        let child_points = child.map_or(0, |child| bounds.connection_points + child.first * child.points);
        let points = self.list.points + child_points;
        let affordable = bounds.query_points.saturating_sub(bounds.connection_points).checked_div(points).unwrap_or(u32::MAX);
        let wanted = (limits.max_rows / (1 + children)).min(affordable).max(1);
        let query = self.list.page_query(&self.fields(|child| child.in_page()));
        loop {
            let first = self.first.min(wanted);
            let variables = self.list.variables(first, after, search);
            match self.service.ask(&query, variables, bounds.connection_points + first * points) {
                Ok(mut data) => return Connection::take(&mut data, "/page"),
                Err(error) if error.code == bounds.too_dear && first > 1 => self.first = first / 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// The children of a record, all of them, each with its parent's id.
    fn take_children(&self, record: &mut Value) -> Result<Vec<Value>> {
        let Some(child) = self.child().filter(|child| record.get(child.connection).is_some()) else { return Ok(Vec::new()) };
        let id = record.get("id").cloned().unwrap_or_default();
        let (query, pointer) = (child.more_query(), child.more_pointer());
        let points = S::BOUNDS.object_points + S::BOUNDS.connection_points + child.more * child.points;
        let Connection { nodes: mut children, mut next } = Connection::take(record, &format!("/{}", child.connection))?;
        let mut guard = LoopGuard::default();
        while let Some(cursor) = next {
            guard.enter(&cursor)?;
            let mut data = self.service.ask(&query, json!({ "id": id, "after": cursor }), points)?;
            if data.pointer(&pointer).is_none() {
                break; // deleted meanwhile
            }
            let mut page = Connection::take(&mut data, &pointer)?;
            children.append(&mut page.nodes);
            next = page.next;
        }
        children.iter_mut().filter_map(Value::as_object_mut).for_each(|record| {
            record.insert(child.parent_id.to_owned(), id.clone());
        });
        Ok(children)
    }

    fn push_children(&self, rows: &mut PageBuilder, children: &[Value]) {
        if let Some(child) = self.list.child {
            children.iter().for_each(|record| _ = rows.push(child.stream, record));
        }
    }

    fn read_bulk(&mut self, bulk: &Bulk, mut newest_us: Option<i64>, limits: Limits) -> Result<Page> {
        let mut rows = self.rows();
        let ended = self.export.take().map(|(export, total)| Ended::Ready(export, total));
        let (mut export, total) = match ended.map_or_else(|| bulk::wait(&self.service, bulk), |ended| Ok(Some(ended)))? {
            Some(Ended::Ready(export, total)) => (export, total),
            None => {
                self.progress.place = Some(Place::Bulk { bulk: bulk.waited(), newest_us });
                return self.page(rows, Position::More);
            }
            Some(Ended::Lost) => {
                runtime::warn("the bulk operation has no result: reading page by page instead");
                (self.progress.place, self.may_bulk) = (None, false);
                return self.page(rows, Position::More);
            }
        };
        let position = loop {
            let (_, objects) = export.place();
            match export.peek()? {
                None if objects != total => {
                    return Err(Error::transient("the result of the bulk operation breaks off").code("lines.broken"));
                }
                None => break Position::End,
                Some(record) if self.is_child(record) => self.push_children(&mut rows, &[export.take()]),
                Some(_) if rows.is_full(limits) => break Position::More,
                Some(record) => {
                    newest_us = newest_us.max(self.list.updated_us(record));
                    rows.push(self.list.stream, &export.take());
                }
            }
        };
        if matches!(position, Position::End) {
            // What it did not see was updated after it began.
            self.progress.reach(newest_us.min(bulk.created_us()));
            self.progress.place = None;
        } else {
            self.progress.place = Some(Place::Bulk { bulk: bulk.at(export.place()), newest_us });
        }
        self.export = Some((export, total));
        self.page(rows, position)
    }

    fn is_child(&self, record: &Value) -> bool {
        self.list.child.is_some_and(|child| record.get(child.parent_id).is_some())
    }

    fn rows(&self) -> PageBuilder {
        let own = (self.list.stream, self.list.columns);
        let child = self.list.child.map(|child| (child.stream, child.columns));
        PageBuilder::new(&std::iter::once(own).chain(child).collect::<Vec<_>>())
    }

    fn page(&mut self, rows: PageBuilder, position: Position) -> Result<Page> {
        self.is_done = matches!(position, Position::End);
        Ok(rows.finish(self.progress.encode()?, position))
    }
}
