//! Taking erased persons out of the lake: files that hold records of theirs are written anew without them, and the old ones
//! are removed, with every file that nobody lists and that is older than the erasure, such as former snapshots. Child records
//! go before their parents, by whose keys they are found: a process that is stopped anywhere leaves what the next one needs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use affluent_ledger::{ErasureRow, FileRow, Lease, NewFile};
use affluent_model::Result;
use affluent_model::identity::NodeId;
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

use crate::admit::PARENT_KEY;
use crate::engine::Engine;
use crate::rows;
use crate::streams::table_name;

const NODE: &str = "_node";
const KEY: &str = "_pk";

/// Rewrites what holds records of these persons; safe to repeat. Returns how many files were written anew.
///
/// # Errors
/// What lake and ledger report.
pub(crate) fn forget_in_files(engine: &Engine, lease: &Lease, erased: &[ErasureRow]) -> Result<usize> {
    let Some(requested_at_us) = erased.iter().map(|erasure| erasure.requested_at_us).max() else { return Ok(0) };
    let nodes: HashSet<NodeId> = erased.iter().flat_map(|erasure| erasure.nodes.iter().copied()).collect();
    let (mut children, mut others) = (Vec::new(), Vec::new());
    for table in engine.ledger.tables()? {
        for file in engine.ledger.files(&table)? {
            let place = Place::of(engine, &table, file)?;
            if place.parent.is_some() { children.push(place) } else { others.push(place) }
        }
    }
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for place in others.iter().chain(&children) {
        let gone = place.keys_of(engine, &nodes)?;
        if !gone.is_empty() {
            keys.entry(place.file.table.clone()).or_default().extend(gone);
        }
    }
    let mut rewritten = 0;
    for place in children.iter().chain(&others) {
        rewritten += usize::from(place.rewrite(engine, lease, &Erased { nodes: &nodes, keys: &keys })?);
    }
    engine.lake.sweep(&engine.ledger.file_names()?, requested_at_us)?;
    let detail = format!("{rewritten} files written anew without erased persons");
    engine.ledger.audit(engine.now_us(), "lake.erased", &detail)?;
    Ok(rewritten)
}

/// What is to go: records of these nodes, and child records of records with these keys, by table.
struct Erased<'a> {
    nodes: &'a HashSet<NodeId>,
    keys: &'a BTreeMap<String, BTreeSet<String>>,
}

/// A file of the lake, and where its child records say whose they are.
struct Place {
    file: FileRow,
    /// The parent's table, and the column that holds its key.
    parent: Option<(String, String)>,
}

impl Place {
    fn of(engine: &Engine, table: &str, file: FileRow) -> Result<Self> {
        let schema = engine.lake.file_schema(&file.name)?;
        let connection = table.split_once('.').map_or("", |(connection, _)| connection);
        let parent = schema.fields().iter().find_map(|field| {
            let stream = field.metadata().get(PARENT_KEY)?;
            Some((table_name(connection, stream), field.name().clone()))
        });
        Ok(Self { file, parent })
    }

    /// The keys of the records that are of these nodes.
    fn keys_of(&self, engine: &Engine, nodes: &HashSet<NodeId>) -> Result<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        engine.lake.scan_file(&self.file.name, &[NODE, KEY], &mut |batch| {
            let all = rows::as_text(rows::column(&batch, KEY)?)?;
            let gone = of_nodes(&batch, nodes)?;
            let texts = all.as_string::<i32>().iter().zip(gone).filter_map(|(key, is_gone)| key.filter(|_| is_gone));
            keys.extend(texts.map(str::to_owned));
            Ok(())
        })?;
        Ok(keys)
    }

    /// Writes the file anew where something in it is to go, and lists the new one in its place.
    fn rewrite(&self, engine: &Engine, lease: &Lease, erased: &Erased<'_>) -> Result<bool> {
        let parent = self.parent.as_ref().and_then(|(table, column)| Some((erased.keys.get(table)?, column)));
        let gone_from = |batch: &RecordBatch| -> Result<Vec<bool>> {
            let mut gone = of_nodes(batch, erased.nodes)?;
            if let Some((keys, column)) = parent {
                let owners = rows::as_text(rows::column(batch, column)?)?;
                for (is_gone, owner) in gone.iter_mut().zip(owners.as_string::<i32>()) {
                    *is_gone |= owner.is_some_and(|owner| keys.contains(owner));
                }
            }
            Ok(gone)
        };
        let columns: Vec<&str> = std::iter::once(NODE).chain(parent.map(|(_, column)| column.as_str())).collect();
        let mut is_any = false;
        engine.lake.scan_file(&self.file.name, &columns, &mut |batch| {
            is_any |= gone_from(&batch)?.contains(&true);
            Ok(())
        })?;
        if !is_any {
            return Ok(false);
        }
        let mut keep =
            |batch: &RecordBatch| Ok(gone_from(batch)?.into_iter().map(|is_gone| Some(!is_gone)).collect::<BooleanArray>());
        let written = engine.lake.rewrite_file(&self.file.name, &engine.file_name("records")?, &mut keep)?;
        let FileRow { id, table, sequence, .. } = self.file.clone();
        let new = NewFile { table, name: written.name, rows: written.rows, bytes: written.bytes, sequence };
        engine.ledger.replace_file(lease, id, &new)
    }
}

/// Of each row, whether it is of one of these nodes.
fn of_nodes(batch: &RecordBatch, nodes: &HashSet<NodeId>) -> Result<Vec<bool>> {
    let own = rows::cast_to(rows::column(batch, NODE)?, &DataType::Int64)?;
    let own = own.as_primitive::<Int64Type>();
    Ok((0..own.len()).map(|row| own.is_valid(row) && nodes.contains(&NodeId(own.value(row)))).collect())
}
