//! The reading of one kind of objects, as a state that says where it stands.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::PageRows;
use super::{Changes, Found, ID, Job, JobPart, Objects, Span};
use crate::error::{Error, ErrorKind, Result};
use crate::paging::{LoopGuard, Progress};
use crate::plugin::{Limits, Page, Position, Source};
use crate::runtime;
use crate::stream::{StreamSchema, StreamSpec};

/// Where an unfinished read stands. `skip` counts the records of the page that were given already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// The list of everything, which began at a time of the service's clock.
    All { after: Option<String>, begun_us: Option<i64>, skip: usize },
    /// The same by a job.
    Job { job: Job, after: Option<String>, skip: usize },
    /// The search; what it began from.
    Changed { from_us: i64, after_id: Option<String>, since_us: i64, skip: usize },
    /// The search that is paged, which began at a time of the service's clock.
    Paged { after: Option<String>, since_us: i64, begun_us: Option<i64>, skip: usize },
    /// What was deleted since the search before the last one.
    Deleted { after: Option<String>, since_us: i64, skip: usize },
}

impl Place {
    const fn all(after: Option<String>, begun_us: Option<i64>) -> Self {
        Self::All { after, begun_us, skip: 0 }
    }

    const fn changed(from_us: i64, after_id: Option<String>, since_us: i64) -> Self {
        Self::Changed { from_us, after_id, since_us, skip: 0 }
    }

    const fn deleted(after: Option<String>, since_us: i64) -> Self {
        Self::Deleted { after, since_us, skip: 0 }
    }

    fn skip(&mut self) -> &mut usize {
        match self {
            Self::All { skip, .. }
            | Self::Job { skip, .. }
            | Self::Changed { skip, .. }
            | Self::Paged { skip, .. }
            | Self::Deleted { skip, .. } => skip,
        }
    }
}

/// The [`Source`] of a [`Changes`] service: export it with `export_source!(Crm, ChangesSource<Api>)`.
///
/// Every page is a safe point. The first read and a full one list everything; the high-water mark is then the time at which the
/// list began, so that what changed meanwhile is found by the next search. A search gives what changed at one instant in one
/// piece, so nothing that changed at the instant where a page ends is passed over, and nothing is given twice in one read.
pub struct ChangesSource<S> {
    service: S,
    objects: Objects,
    spec: StreamSpec,
    progress: Progress<Place>,
    guard: LoopGuard,
    /// An answer that was given in part.
    pending: Option<Found>,
    is_done: bool,
}

impl<S> std::fmt::Debug for ChangesSource<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChangesSource").field("objects", &self.objects).field("progress", &self.progress).finish_non_exhaustive()
    }
}

impl<S: Changes> Source for ChangesSource<S> {
    type Config = S::Config;

    fn discover(config: &S::Config) -> Result<Vec<StreamSchema>> {
        let service = S::connect(config);
        let mut streams = Vec::new();
        for objects in service.objects() {
            match service.fields(&objects) {
                Err(error) if error.kind == ErrorKind::Permission => {
                    runtime::warn(&format!("`{}` cannot be read: {}", objects.stream, error.message));
                }
                fields => streams.extend(objects.schemas(fields?)),
            }
        }
        if streams.is_empty() {
            return Err(Error::permission("the credential reaches none of the objects"));
        }
        Ok(streams)
    }

    fn open(config: S::Config, spec: StreamSpec, state: Option<Vec<u8>>) -> Result<Self> {
        let name = &spec.stream.name;
        let service = S::connect(&config);
        let objects = service.objects().into_iter().find(|objects| objects.cased(objects.stream) == *name);
        let objects = objects.ok_or_else(|| Error::config(format!("stream `{name}` is not read by itself")))?;
        let progress = Progress::resume(state.as_deref())?;
        Ok(Self { service, objects, spec, progress, guard: LoopGuard::default(), pending: None, is_done: false })
    }

    fn next(&mut self, limits: Limits) -> Result<Page> {
        if self.is_done {
            return Ok(Page { parts: Vec::new(), rejected: Vec::new(), state: None, position: Position::End });
        }
        let mut place = self.progress.place.clone().unwrap_or_else(|| self.begin());
        let found = match self.pending.take().map_or_else(|| self.ask(&place), |found| Ok(Asked::Found(found)))? {
            Asked::Found(found) => found,
            Asked::Later(then) => {
                self.progress.place = Some(then);
                return self.page(PageRows::new(self.objects, &self.spec));
            }
        };
        if let Place::All { begun_us, .. } | Place::Paged { begun_us, .. } = &mut place {
            *begun_us = begun_us.or(found.at_us).or_else(|| Some(runtime::now_us()));
        }
        let (usable, then) = self.after(&place, &found)?;
        let mut rows = PageRows::new(self.objects, &self.spec);
        let mut taken = *place.skip();
        for record in found.records.iter().take(usable).skip(taken) {
            if rows.is_full(limits) {
                break;
            }
            taken += 1;
            self.push(&mut rows, &place, record)?;
        }
        if taken < usable {
            *place.skip() = taken;
            self.progress.place = Some(place);
            self.pending = Some(found);
        } else {
            self.go_on(place, then)?;
        }
        self.page(rows)
    }
}

/// What asking came to: records, or where to ask on.
enum Asked {
    Found(Found),
    Later(Place),
}

impl<S: Changes> ChangesSource<S> {
    fn page(&self, rows: PageRows) -> Result<Page> {
        let (parts, rejected) = rows.finish();
        let position = if self.is_done { Position::End } else { Position::More };
        Ok(Page { parts, rejected, state: Some(self.progress.encode()?), position })
    }

    fn begin(&self) -> Place {
        match self.progress.begin_us(&self.spec) {
            None if self.objects.is_only_searched => Place::changed(0, None, 0),
            None => Place::all(None, None),
            Some(us) => {
                let lag_us = i64::try_from(self.objects.lag_ms).unwrap_or(i64::MAX).saturating_mul(1_000);
                let from_us = us.saturating_sub(lag_us);
                match self.objects.is_paged {
                    true => Place::Paged { after: None, since_us: from_us, begun_us: None, skip: 0 },
                    false => Place::changed(from_us, None, from_us),
                }
            }
        }
    }

    fn ask(&self, place: &Place) -> Result<Asked> {
        let own = self.spec.stream.fields.iter().map(|field| field.name.as_str());
        let is_told = |name: &&str| *name != ID && self.objects.firsts().all(|(_, first)| first != *name);
        let fields: Vec<&str> = own.filter(is_told).collect();
        let found = match place {
            Place::All { after: None, begun_us: None, .. } => match self.service.start_job(&self.objects, &fields)? {
                Some(job) => return Ok(Asked::Later(Place::Job { job, after: None, skip: 0 })),
                None => self.service.all(&self.objects, &fields, None),
            },
            Place::All { after, .. } => self.service.all(&self.objects, &fields, after.as_deref()),
            Place::Job { job, after, .. } => return self.ask_job(job, after.as_deref()),
            Place::Paged { after, since_us, .. } => {
                self.service.changed_since(&self.objects, &fields, *since_us, after.as_deref())
            }
            Place::Deleted { after, since_us, .. } => self.service.deleted(&self.objects, *since_us, after.as_deref()),
            Place::Changed { from_us, after_id, .. } => {
                let span = Span { from_us: *from_us, after_id: after_id.as_deref() };
                self.service.changed(&self.objects, &fields, span)
            }
        };
        found.map(Asked::Found)
    }

    fn ask_job(&self, job: &Job, after: Option<&str>) -> Result<Asked> {
        match self.service.job_part(job, after) {
            Ok(JobPart::Ready(found)) => Ok(Asked::Found(found)),
            Ok(JobPart::Running) => {
                let after = after.map(str::to_owned);
                Ok(Asked::Later(Place::Job { job: job.clone().wait(), after, skip: 0 }))
            }
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            Ok(JobPart::Lost) | Err(_) => {
                runtime::warn("the job has no result: everything is listed instead");
                Ok(Asked::Later(Place::all(None, Some(job.begun_us))))
            }
        }
    }

    /// How many records of a page are given, and where the read goes on after them; `None` at its end.
    fn after(&self, place: &Place, found: &Found) -> Result<(usize, Option<Place>)> {
        let all = found.records.len();
        let Place::Changed { from_us, after_id, since_us, .. } = place else {
            let next = found.next.clone();
            let then = next.map(|next| match place {
                Place::Paged { since_us, begun_us, .. } => {
                    Place::Paged { after: Some(next), since_us: *since_us, begun_us: *begun_us, skip: 0 }
                }
                Place::All { begun_us, .. } => Place::all(Some(next), *begun_us),
                Place::Job { job, .. } => Place::Job { job: job.clone(), after: Some(next), skip: 0 },
                Place::Deleted { since_us, .. } | Place::Changed { since_us, .. } => Place::deleted(Some(next), *since_us),
            });
            return Ok((all, then));
        };
        let (last, has_more) = (found.records.last(), found.next.is_some());
        Ok(match (last.filter(|_| has_more), after_id) {
            (None, None) => (all, Some(Place::deleted(None, *since_us))),
            // All that changed at this instant was read by id.
            (None, Some(_)) => (all, Some(Place::changed(from_us.saturating_add(1), None, *since_us))),
            (Some(last), Some(_)) => (all, Some(Place::changed(*from_us, Some(self.objects.id_of(last)?), *since_us))),
            (Some(last), None) => {
                let no_time = || Error::transient("a record does not say when it changed").code("changes.no_time");
                let last_us = self.objects.changed_us(last).ok_or_else(no_time)?;
                let is_last = |record: &Value| self.objects.changed_us(record).is_none_or(|us| us >= last_us);
                let before = found.records.iter().position(is_last).unwrap_or(all);
                // One instant fills the page: it is read by id. Else the last instant comes whole with the next page.
                let by_id = (before == 0).then(String::new);
                (before, Some(Place::changed(last_us, by_id, *since_us)))
            }
        })
    }

    fn push(&mut self, rows: &mut PageRows, place: &Place, record: &Value) -> Result<()> {
        match place {
            Place::Deleted { .. } => rows.push_gone(&self.objects.id_of(record)?),
            Place::All { .. } | Place::Job { .. } => rows.push(record, false),
            Place::Paged { .. } if self.objects.is_gone(record) => rows.push_gone(&self.objects.id_of(record)?),
            Place::Paged { .. } => rows.push(record, true),
            Place::Changed { .. } => {
                self.progress.reach(self.objects.changed_us(record));
                if self.objects.is_gone(record) { rows.push_merged(record) } else { rows.push(record, true) }
            }
        }
    }

    /// Goes to the next page, or the end.
    fn go_on(&mut self, place: Place, then: Option<Place>) -> Result<()> {
        match place {
            Place::All { begun_us, .. } | Place::Paged { begun_us, .. } if then.is_none() => self.progress.reach(begun_us),
            Place::Job { job, .. } if then.is_none() => self.progress.reach(Some(job.begun_us)),
            _ => {}
        }
        if let Some(then) = &then {
            self.guard.enter(&format!("{then:?}"))?;
        }
        self.is_done = then.is_none();
        self.progress.place = then;
        Ok(())
    }
}
