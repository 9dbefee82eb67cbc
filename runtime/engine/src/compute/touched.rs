//! Which profiles something new is about since the snapshot: those of new records, of the records that these replace or delete,
//! those whose nodes came or left, and those that time changed. Where that does not say everything, or says it of many, all
//! profiles are computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use affluent_lake::{LakeQuery, LakeTable, Lookup};
use affluent_model::Result;
use affluent_model::identity::{NodeId, ProfileId};
use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

use super::basis::{Before, are_by_key};
use super::gather::gather;
use super::time::{changes_at_any_time, is_made_of_others};
use super::{due, void};
use crate::assignments::Assignments;
use crate::engine::Engine;
use crate::inputs::{Inputs, People, Version, Void, take_versions, void_rows};
use crate::key_set::{Hashes, KeySet, short_hash};
use crate::rows;
use crate::tables::{ProfileTable, profile_tables};

/// The function that says whether a key is one of the wanted ones.
const IS_WANTED: &str = "is_wanted";
/// Of a hundred: beyond this share of rows or profiles, computing all costs no more.
const TOUCHED_PERCENT_MAX: u64 = 20;
/// Profiles that are computed at once by themselves: their records are held in memory.
const TOUCHED_PROFILES_MAX: usize = 500_000;
/// Files with rows of a snapshot: queries read the keys of all but the first.
const SNAPSHOT_FILES_MAX: usize = 64;
/// How old a fit over all profiles may be by which some are placed, microseconds.
const FIT_AGE_MAX_US: i64 = 86_400_000_000;

impl Before {
    /// What the touched profiles are computed from; `None` when all are to be computed.
    ///
    /// # Errors
    /// What the stores report.
    pub(super) async fn touched_inputs(&self, engine: &Engine, assignments: &Assignments) -> Result<Option<Inputs>> {
        let is_fit_old = engine.now_us() - self.basis.complete_at_us > FIT_AGE_MAX_US && !self.basis.fits.rfm.is_empty();
        if changes_at_any_time(engine) || is_made_of_others(engine) || is_fit_old {
            return Ok(None);
        }
        if self.table.files.len() > SNAPSHOT_FILES_MAX || is_much(self.rows_later, self.row.rows) {
            return Ok(None);
        }
        let tables = profile_tables(engine).await?;
        if !self.is_of_today(engine, &tables)? {
            return Ok(None);
        }
        let mut profiles = engine.ledger.touched_profiles()?;
        profiles.extend(due::since(engine, self).await?);
        let Some(mut found) = self.found(engine, assignments, (&tables, true), &profiles).await? else { return Ok(None) };
        if !found.1.has_all_at_hand(&found.0) {
            let Some(others) = self.found(engine, assignments, (&tables, false), &profiles).await? else { return Ok(None) };
            found = others;
        }
        let (people, news) = found;
        let known = void::read(engine, self).await?;
        let inputs = gather(engine, &tables, people, news, (self.row.input_sequence, &known)).await?;
        Ok(Some(inputs).filter(|inputs| !self.are_many(&inputs.people)))
    }

    /// What is new and whom it is about, with `profiles`; `None` when that is much.
    async fn found(
        &self,
        engine: &Engine,
        assignments: &Assignments,
        (tables, by_key): (&[ProfileTable], bool),
        profiles: &[ProfileId],
    ) -> Result<Option<(People, News)>> {
        let Some(news) = self.news(engine, tables, by_key).await? else { return Ok(None) };
        let assigned = match assignments.of(&news.nodes, profiles) {
            Some(assigned) => assigned,
            None => engine.ledger.assignments_of(&news.nodes, profiles)?,
        };
        let people = People::of(assigned, profiles.to_vec())?;
        Ok(Some((people, news)).filter(|(people, _)| !self.are_many(people)))
    }

    fn are_many(&self, people: &People) -> bool {
        let count = people.ids.len();
        count > TOUCHED_PROFILES_MAX || is_much(u64::try_from(count).unwrap_or(u64::MAX), self.row.rows)
    }

    /// What is new in the tables; `None` when that is much. Where a record's key says whose it is, all its versions are among the
    /// records of its person: `by_key` they are looked for there, else in the table.
    async fn news(&self, engine: &Engine, tables: &[ProfileTable], by_key: bool) -> Result<Option<News>> {
        let mut asked: BTreeMap<&str, Hashes> = BTreeMap::new();
        let mut news = News::default();
        for ProfileTable { source, table } in children_first(tables) {
            let files = engine.ledger.files(&table.name)?;
            let new: Vec<_> = files.iter().filter(|file| file.sequence > self.row.input_sequence).collect();
            let rows = |files: &mut dyn Iterator<Item = u64>| files.sum::<u64>();
            if is_much(rows(&mut new.iter().map(|file| file.rows)), rows(&mut files.iter().map(|file| file.rows))) {
                return Ok(None);
            }
            let asked_by_children = asked.remove(table.name.as_str()).unwrap_or_default();
            let by_key = by_key && asked_by_children.is_empty() && !source.identifiers.is_empty();
            let by_key = by_key && are_by_key(engine, Some(self), (&table.name, &files))?;
            let mut new_rows = NewRows { keys: asked_by_children, nodes: Vec::new() };
            new.into_iter().try_for_each(|file| new_rows.read(engine, &file.name))?;
            let NewRows { keys, nodes } = new_rows;
            let wanted = Arc::new(KeySet::of(keys));
            if wanted.is_empty() {
                continue;
            }
            if by_key {
                news.nodes.extend(&nodes);
                news.at_hand.insert(table.name.clone(), AtHand { nodes, keys: wanted });
                continue;
            }
            let field = source.parent.as_ref().map(|link| link.field.as_str());
            let mut found = Found {
                wanted: &wanted,
                field,
                nodes: &mut news.nodes,
                nobodys: Vec::new(),
                parents: Hashes::default(),
                versions: Vec::new(),
            };
            let parent = field.map_or_else(String::new, |field| format!(", CAST({} AS VARCHAR) AS \"_parent\"", quoted(field)));
            let query = select(engine, table, &format!("\"_pk\", \"_node\", \"_seq\", \"_deleted\"{parent}"));
            let sql = format!("{} WHERE {IS_WANTED}(\"_pk\") IS NOT NULL", query.sql);
            let keys = Arc::clone(&wanted);
            let lookups = vec![Lookup::texts(IS_WANTED, Arc::new(move |key| keys.has(key).then_some(1)))];
            let query = LakeQuery { sql, lookups, is_selective: true, ..query };
            engine.lake.stream(query, &mut |batch| found.take(&batch)).await?;
            let Found { nobodys, parents, mut versions, .. } = found;
            if !source.consent.is_empty() {
                news.nobodys.insert(table.name.clone(), nobodys);
            }
            if let Some(link) = &source.parent {
                asked.entry(&link.table).or_default().extend(parents);
            }
            versions.sort_unstable();
            news.void.insert(table.name.clone(), void_rows(&versions));
        }
        news.nodes.sort_unstable();
        news.nodes.dedup();
        Ok(Some(news))
    }
}

/// What came since a snapshot.
#[derive(Default)]
pub(super) struct News {
    /// Of new records and of the versions that they stand for, sorted.
    nodes: Vec<NodeId>,
    /// By table that speaks of consent, the sequences of such rows that nobody has: what they say is about identifiers.
    pub(super) nobodys: BTreeMap<String, Vec<i64>>,
    /// Of the records with new versions, all void rows: by table, but for those in `at_hand`.
    pub(super) void: Void,
    /// By table, new records whose other versions are among the records of the same people.
    pub(super) at_hand: BTreeMap<String, AtHand>,
}

impl News {
    /// Whether they are all records of these people.
    fn has_all_at_hand(&self, people: &People) -> bool {
        self.at_hand.values().flat_map(|records| &records.nodes).all(|node| people.number_of(*node).is_some())
    }
}

/// Records of people at hand.
pub(super) struct AtHand {
    nodes: Vec<NodeId>,
    pub(super) keys: Arc<KeySet>,
}

/// Keys of records with new versions, and the nodes of those that have one.
struct NewRows {
    keys: Hashes,
    nodes: Vec<NodeId>,
}

impl NewRows {
    fn read(&mut self, engine: &Engine, file: &str) -> Result<()> {
        engine.lake.scan_file(file, &["_pk", "_node"], &mut |batch| {
            each_key(&batch, |_, key| self.keys.extend([short_hash(key)]))?;
            let nodes = rows::cast_to(rows::column(&batch, "_node")?, &DataType::Int64)?;
            self.nodes.extend(nodes.as_primitive::<Int64Type>().iter().flatten().map(NodeId));
            Ok(())
        })
    }
}

/// A query of all rows of a table.
pub(super) fn select(engine: &Engine, table: &LakeTable, columns: &str) -> LakeQuery {
    let sql = format!("SELECT {columns} FROM {}", quoted(&table.name));
    LakeQuery { with_views: true, ..LakeQuery::new(sql, vec![table.clone()], engine.now_us()) }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Visits the keys of the records of a batch.
pub(super) fn each_key(batch: &RecordBatch, mut visit: impl FnMut(usize, &str)) -> Result<()> {
    let keys = rows::as_views(rows::column(batch, "_pk")?)?;
    keys.iter().enumerate().for_each(|(row, key)| visit(row, key.unwrap_or_default()));
    Ok(())
}

/// True for a large share.
fn is_much(part: u64, all: u64) -> bool {
    part.saturating_mul(100) > all.saturating_mul(TOUCHED_PERCENT_MAX)
}

/// The tables, each before the one that its records belong to.
fn children_first(tables: &[ProfileTable]) -> Vec<&ProfileTable> {
    let mut ordered = parents_first(tables);
    ordered.reverse();
    ordered
}

/// The tables, each after the one that its records belong to.
pub(super) fn parents_first(tables: &[ProfileTable]) -> Vec<&ProfileTable> {
    let parent = |one: &ProfileTable| one.source.parent.as_ref().map(|link| link.table.clone());
    let generation = |one: &&ProfileTable| {
        let mut above = parent(one);
        let mut generation = 0_usize;
        while let Some(name) = above.take().filter(|_| generation < tables.len()) {
            generation += 1;
            above = tables.iter().find(|other| other.table.name == name).and_then(parent);
        }
        generation
    };
    let mut ordered: Vec<&ProfileTable> = tables.iter().collect();
    ordered.sort_by_key(generation);
    ordered
}

/// What is found of the records with wanted keys, in all their versions.
struct Found<'a> {
    wanted: &'a KeySet,
    /// Set where records belong to those of another table.
    field: Option<&'a str>,
    nodes: &'a mut Vec<NodeId>,
    /// Sequences of rows that nobody has.
    nobodys: Vec<i64>,
    /// Keys of the records that they belong to.
    parents: Hashes,
    versions: Vec<Version>,
}

impl Found<'_> {
    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let nodes = rows::cast_to(rows::column(batch, "_node")?, &DataType::Int64)?;
        let nodes = nodes.as_primitive::<Int64Type>();
        let sequences = rows::cast_to(rows::column(batch, "_seq")?, &DataType::Int64)?;
        let sequences = sequences.as_primitive::<Int64Type>();
        let parents = self.field.map(|_| rows::as_text(rows::column(batch, "_parent")?)).transpose()?;
        let parents = parents.as_ref().map(|parents| parents.as_string::<i32>());
        take_versions(batch, |key, _| self.wanted.has(key), &mut self.versions)?;
        each_key(batch, |row, key| {
            if !self.wanted.has(key) {
                return;
            }
            if nodes.is_valid(row) {
                self.nodes.push(NodeId(nodes.value(row)));
            } else {
                self.nobodys.push(sequences.value(row));
            }
            let parent = parents.filter(|parents| parents.is_valid(row)).map(|parents| parents.value(row));
            self.parents.extend(parent.map(short_hash));
        })
    }
}
