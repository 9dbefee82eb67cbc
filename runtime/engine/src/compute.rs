//! From unified nodes to profile rows: attributes survive, traits are counted, segments are decided, all as lake SQL over
//! one consistent list of files; then one ledger transaction makes the new snapshot current.

mod basis;
mod due;
mod gather;
pub(crate) mod time;
mod touched;
mod void;

use std::sync::Arc;

use affluent_lake::{LakeFile, LakeQuery, LakeTable, Replaces};
use affluent_ledger::{Lease, NewFile, SnapshotCommit, SnapshotRow};
use affluent_model::plan::Measure;
use affluent_model::report::{ProfilesReport, SegmentReport};
use affluent_model::{Error, Result};
use affluent_profiles::expiries::Expiries;
use affluent_profiles::pass_table::PassTable;
use affluent_profiles::snapshot::{GONE, PreparedMeasure, PreparedTrait, SnapshotQuery, TraitPass, snapshot_query};
use arrow::array::AsArray as _;
use arrow::datatypes::{DataType, FieldRef, Int64Type, SchemaRef};

use crate::assignments::Assignments;
use crate::changed::changed_profiles;
use crate::decisions::pins::Pins;
use crate::engine::{Engine, Event};
use crate::inputs::{Inputs, MemoryTable};
use crate::purchases::{Fits, purchase_traits};
use crate::rows;
use crate::segments::{Moves, decide_segments};
use crate::tables::profile_tables;
use basis::{Basis, Before, inputs_hash, tables_by_key};

/// The table name of the snapshot in lake SQL.
pub(crate) const PROFILES: &str = "profiles";

/// The table of the times at which time alone changes profiles.
const DUE: &str = "due";

/// The table of void rows.
const VOID: &str = "void";

/// Computes a new snapshot and the segments: of the profiles that something new is about where that says everything, else of
/// all, which `is_whole` asks for. `assignments` tell whose nodes are, of those that were resolved before.
///
/// # Errors
/// What lake, ledger and `profiles` report; the snapshot before stays current.
pub(crate) async fn compute(
    engine: &Engine,
    lease: &Lease,
    (is_whole, assignments): (bool, &Assignments),
    report: &mut ProfilesReport,
) -> Result<()> {
    let start = Start { as_of_us: engine.now_us(), input_sequence: engine.ledger.last_sequence()? };
    let before = Before::read(engine)?;
    if !is_whole
        && let Some(before) = &before
        && let Some(inputs) = before.touched_inputs(engine, assignments).await?
    {
        if inputs.people.ids.is_empty() {
            return commit_unchanged(engine, lease, (&inputs, before, start), report).await;
        }
        if let Some(made) = Made::of_touched(engine, &inputs, before).await? {
            return made.commit(engine, lease, (&inputs, Some(before), start), true, report).await;
        }
    }
    let inputs = Inputs::read(engine).await?;
    if inputs.sources.is_empty() {
        return Ok(());
    }
    let made = Made::new(engine, &inputs, None).await?;
    made.commit(engine, lease, (&inputs, before.as_ref(), start), false, report).await
}

/// What a computation knows when it begins; it may see more.
#[derive(Clone, Copy)]
struct Start {
    as_of_us: i64,
    input_sequence: i64,
}

/// Rows of a snapshot, in a file that nobody sees yet.
struct Made {
    file: LakeFile,
    /// Of this file alone.
    table: LakeTable,
    cards: Vec<(String, String)>,
    fits: Fits,
    expiries: Expiries,
}

impl Made {
    /// `None` when the rows have other columns than the snapshot before.
    async fn of_touched(engine: &Engine, inputs: &Inputs, before: &Before) -> Result<Option<Self>> {
        let mut made = Self::new(engine, inputs, Some(&before.basis.fits)).await?;
        let columns = |schema: &SchemaRef| {
            let shown = schema.fields().iter().filter(|field| field.name() != GONE);
            let described = |field: &FieldRef| (field.name().clone(), field.data_type().clone(), field.metadata().clone());
            shown.map(described).collect::<Vec<_>>()
        };
        let is_alike = columns(&made.table.schema) == columns(&before.table.schema);
        made.table.schema = Arc::clone(&before.table.schema);
        made.table.replaces = Some(replaces());
        Ok(is_alike.then_some(made))
    }

    async fn new(engine: &Engine, inputs: &Inputs, fitted: Option<&Fits>) -> Result<Self> {
        engine.notice(Event::Computing { step: "attributes and traits".to_owned() });
        let (pins, survivorship) = (Pins::read(engine)?, &engine.plan.identity.survivorship);
        let mut snapshot = snapshot_query(&inputs.sources, &prepared_traits(engine)?, survivorship, &pins.counts())?;
        let mut memory = inputs.memory.clone();
        if fitted.is_some() {
            snapshot = snapshot.with_gone();
            memory.push(inputs.people.gone_table()?);
        }
        let SnapshotQuery { passes, sql, survivors } = snapshot;
        let (mut cards, mut fits) = (Vec::new(), Fits::default());
        if let Some(found) = purchase_traits(engine, inputs, fitted).await? {
            (cards, fits) = (found.cards, found.fits);
            memory.push(found.values);
        }
        memory.push(inputs.people.ids_table()?);
        let mut expiries = Expiries::new(inputs.people.ids.len());
        for pass in &passes {
            memory.push(trait_table(engine, inputs, pass, &mut expiries).await?);
        }
        let lookups = inputs.lookups().into_iter().chain(pins.lookups()).collect();
        let query = LakeQuery { memory, lookups, fold: Some(survivors), ..inputs.query(engine, sql) };
        let file = engine.lake.materialize(query, &engine.file_name(PROFILES)?).await?;
        let schema = engine.lake.file_schema(&file.name)?;
        let table = LakeTable::new(PROFILES.to_owned(), schema, vec![file.name.clone()]);
        Ok(Self { file, table, cards, fits, expiries })
    }

    /// Decides the segments and makes the rows current, in the place of those before or, where `goes_on`, beside them.
    async fn commit(
        mut self,
        engine: &Engine,
        lease: &Lease,
        (inputs, before, start): (&Inputs, Option<&Before>, Start),
        goes_on: bool,
        report: &mut ProfilesReport,
    ) -> Result<()> {
        let only = goes_on.then_some(&inputs.people);
        report.computed = u64::try_from(inputs.people.ids.len()).unwrap_or(u64::MAX);
        if let (Some(before), None) = (before, only) {
            report.changed = Some(changed_profiles(engine, &before.table, &self.table).await?);
        }
        let Moves { entered, left } = decide_segments(engine, &self.table, (inputs, only), &mut self.expiries, report).await?;
        let due = due::write(engine, &inputs.people, &self.expiries)?;
        let void = void::write(engine, &inputs.void)?;
        let rows = self.file.rows;
        let basis = basis_of(engine, before.filter(|_| goes_on), start, self.fits).await?;
        let files = [Some((PROFILES, self.file)), due.map(|file| (DUE, file)), void.map(|file| (VOID, file))];
        let files: Vec<NewFile> = files.into_iter().flatten().map(|(table, file)| new_file(table, file, start)).collect();
        let commit = SnapshotCommit {
            rows: if goes_on { engine.ledger.profile_count()? } else { rows },
            files,
            goes_on,
            definition_hash: definition_hash(engine)?,
            entered,
            left,
            input_sequence: start.input_sequence,
            cards: self.cards,
            basis: basis.to_text()?,
            now_us: engine.now_us(),
        };
        engine.ledger.commit_snapshot(lease, &commit)?;
        Ok(())
    }
}

/// Moves the snapshot on to what it has seen now, where that is about nobody.
async fn commit_unchanged(
    engine: &Engine,
    lease: &Lease,
    (inputs, before, start): (&Inputs, &Before, Start),
    report: &mut ProfilesReport,
) -> Result<()> {
    let sizes = engine.ledger.segment_sizes()?;
    for segment in &engine.plan.segments {
        let members = sizes.iter().find(|size| size.segment == segment.name).map_or(0, |size| size.members);
        report.segments.insert(segment.name.clone(), SegmentReport { members, ..SegmentReport::default() });
    }
    let commit = SnapshotCommit {
        rows: before.row.rows,
        files: void::write(engine, &inputs.void)?.map(|file| new_file(VOID, file, start)).into_iter().collect(),
        goes_on: true,
        definition_hash: definition_hash(engine)?,
        input_sequence: start.input_sequence,
        basis: basis_of(engine, Some(before), start, before.basis.fits.clone()).await?.to_text()?,
        now_us: engine.now_us(),
        ..SnapshotCommit::default()
    };
    engine.ledger.commit_snapshot(lease, &commit)?;
    Ok(())
}

/// What the next snapshot goes on from; `before` where this one goes on.
async fn basis_of(engine: &Engine, before: Option<&Before>, start: Start, fits: Fits) -> Result<Basis> {
    let Start { as_of_us, input_sequence } = start;
    let complete_at_us = before.map_or(as_of_us, |before| before.basis.complete_at_us);
    let tables = profile_tables(engine).await?;
    let inputs = inputs_hash(engine, &tables, input_sequence)?;
    Ok(Basis { inputs, as_of_us, complete_at_us, fits, by_key: tables_by_key(engine, &tables, (before, input_sequence))? })
}

fn new_file(table: &str, file: LakeFile, start: Start) -> NewFile {
    NewFile { table: table.to_owned(), name: file.name, rows: file.rows, bytes: file.bytes, sequence: start.input_sequence }
}

/// Runs a trait pass.
async fn trait_table(engine: &Engine, inputs: &Inputs, pass: &TraitPass, expiries: &mut Expiries) -> Result<MemoryTable> {
    let mut table = PassTable::new(pass, inputs.people.ids.len());
    engine.lake.stream(inputs.query(engine, pass.sql.clone()), &mut |batch| table.take(batch)).await?;
    let rows = table.finish()?;
    if let Some((column, window_ms)) = &pass.oldest {
        let oldest = rows::cast_to(rows::column(&rows, column)?, &DataType::Int64)?;
        let oldest = oldest.as_primitive::<Int64Type>().iter().enumerate();
        oldest.for_each(|(place, at_us)| at_us.into_iter().for_each(|at_us| expiries.note_window(place, at_us, *window_ms)));
    }
    Ok((pass.table.clone(), rows.schema(), vec![rows]))
}

/// How the files of a snapshot stand to each other.
fn replaces() -> Replaces {
    Replaces { key: "profile".to_owned(), gone: GONE.to_owned() }
}

/// The current snapshot as a lake table.
///
/// # Errors
/// `E0807` when nothing was computed yet.
pub(crate) fn current_snapshot(engine: &Engine) -> Result<(SnapshotRow, LakeTable)> {
    let nothing = || Error::external("E0807", "there are no profiles yet").help("run a pipeline into profiles first");
    let snapshot = engine.ledger.snapshot()?.ok_or_else(nothing)?;
    let table = snapshot_table(engine, &snapshot)?.ok_or_else(nothing)?;
    Ok((snapshot, table))
}

/// The rows of a snapshot; `None` when it has no files.
fn snapshot_table(engine: &Engine, snapshot: &SnapshotRow) -> Result<Option<LakeTable>> {
    let files: Vec<String> = snapshot.files.iter().filter(|file| file.table == PROFILES).map(|file| file.name.clone()).collect();
    let Some(first) = files.first() else { return Ok(None) };
    let schema = engine.lake.file_schema(first)?;
    let replaces = (files.len() > 1).then(replaces);
    Ok(Some(LakeTable { replaces, ..LakeTable::new(PROFILES.to_owned(), schema, files) }))
}

/// Of everything a snapshot is computed by: rules, traits, segments, mappings, and what people decided about profiles.
pub(crate) fn definition_hash(engine: &Engine) -> Result<String> {
    let plan = &engine.plan;
    let mappings = plan.pipelines.values().map(|pipeline| &pipeline.destination).collect::<Vec<_>>();
    let decided = engine.ledger.decision_changes()?;
    let text = format!("{:?}{:?}{:?}{:?}{mappings:?}{decided}", plan.identity, plan.traits, plan.segments, plan.project.money);
    let hash = engine.vault.blind_indexer("definition")?.index(text.as_bytes());
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn prepared_traits(engine: &Engine) -> Result<Vec<PreparedTrait>> {
    let mut prepared = Vec::new();
    for one in &engine.plan.traits {
        let measure = match &one.measure {
            Measure::Sql(expression) => {
                let text = normalised(engine, &expression.text)?;
                PreparedMeasure::Aggregate { is_count: is_count(&text), expression: text }
            }
            Measure::MostFrequent(expression) => {
                PreparedMeasure::MostFrequent { expression: normalised(engine, &expression.text)? }
            }
            Measure::Rfm { .. } | Measure::Predict(_) | Measure::Recommend(_) => PreparedMeasure::Given,
        };
        let from = if measure == PreparedMeasure::Given { String::new() } else { one.from.clone() };
        prepared.push(PreparedTrait { name: one.name.clone(), from, measure, window_ms: one.window_ms });
    }
    Ok(prepared)
}

/// True for `count(…)` and nothing around it: it is 0 for a profile without records, where anything else is null.
fn is_count(text: &str) -> bool {
    let Some(rest) = text.get(..6).filter(|start| start.eq_ignore_ascii_case("count(")).and_then(|_| text.get(6..)) else {
        return false;
    };
    let mut depth = 1_u32;
    let end = rest.char_indices().find(|(_, letter)| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.is_some_and(|(place, _)| place + 1 == rest.len())
}

/// The expression parsed and printed again: safe to stand inside larger SQL.
pub(crate) fn normalised(engine: &Engine, text: &str) -> Result<String> {
    engine.expressions.normalise_sql(text).map_err(|mistake| {
        Error::configuration("E0300", format!("an expression does not parse: {}", mistake.message))
            .help("run `affluent validate`")
    })
}

#[cfg(test)]
mod tests {
    use super::is_count;

    #[test]
    fn only_a_bare_count_is_a_count() {
        let cases = [
            ("count(*)", true),
            ("COUNT(DISTINCT abs(id))", true),
            ("count(*) - sum(x)", false),
            ("sum(x)", false),
            ("count", false),
        ];
        for (text, expected) in cases {
            assert_eq!(is_count(text), expected, "{text}");
        }
    }
}
