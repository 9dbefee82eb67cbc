//! From unified nodes to profile rows: attributes survive, traits are counted, segments are decided, all as lake SQL over
//! one consistent list of files; then one ledger transaction makes the new snapshot current.

use affluent_lake::{LakeFile, LakeQuery, LakeTable};
use affluent_ledger::{Lease, NewFile, SnapshotCommit, SnapshotRow};
use affluent_model::plan::Measure;
use affluent_model::report::ProfilesReport;
use affluent_model::{Error, Result};
use affluent_profiles::pass_table::PassTable;
use affluent_profiles::snapshot::{PreparedMeasure, PreparedTrait, SnapshotQuery, TraitPass, snapshot_query};

use crate::changed::changed_profiles;
use crate::decisions::pins::Pins;
use crate::engine::{Engine, Event};
use crate::inputs::{Inputs, MemoryTable};
use crate::purchases::purchase_traits;
use crate::segments::{Moves, PreparedSegments, decide_segments};

/// The table name of the snapshot in lake SQL.
pub(crate) const PROFILES: &str = "profiles";

/// Computes a new snapshot and the segments.
///
/// # Errors
/// What lake, ledger and `profiles` report; the snapshot before stays current.
pub(crate) async fn compute(engine: &Engine, lease: &Lease, report: &mut ProfilesReport) -> Result<()> {
    let input_sequence = engine.ledger.last_sequence()?;
    let inputs = Inputs::read(engine).await?;
    if inputs.sources.is_empty() {
        return Ok(());
    }
    engine.notice(Event::Computing { step: "attributes and traits".to_owned() });
    let pins = Pins::read(engine)?;
    let SnapshotQuery { passes, sql, survivors } =
        snapshot_query(&inputs.sources, &prepared_traits(engine)?, &engine.plan.identity.survivorship, &pins.counts())?;
    let now_us = engine.now_us();
    let (given, cards) = purchase_traits(engine, &inputs).await?.unzip();
    let mut memory: Vec<MemoryTable> = given.into_iter().chain([inputs.people.ids_table()?]).collect();
    for pass in &passes {
        memory.push(trait_table(engine, &inputs, pass).await?);
    }
    let tables = inputs.tables.clone();
    let lookups = inputs.lookups().into_iter().chain(pins.lookups()).collect();
    let query = LakeQuery { sql, tables, memory, lookups, fold: Some(survivors), now_us };
    let file = engine.lake.materialize(query, &engine.file_name("profiles")?).await?;
    let schema = engine.lake.file_schema(&file.name)?;
    let table = LakeTable { name: PROFILES.to_owned(), schema, files: vec![file.name.clone()] };
    report.changed = match current_snapshot(engine) {
        Ok((_, before)) => changed_profiles(engine, &before, &table).await?,
        Err(_) => 0,
    };
    let Moves { entered, left } = decide_segments(engine, &table, &inputs, report).await?;
    let commit = SnapshotCommit {
        rows: file.rows,
        files: vec![new_file(file, input_sequence)],
        definition_hash: definition_hash(engine)?,
        entered,
        left,
        input_sequence,
        cards: cards.unwrap_or_default(),
        now_us,
    };
    engine.ledger.commit_snapshot(lease, &commit)?;
    Ok(())
}

/// Runs a trait pass.
async fn trait_table(engine: &Engine, inputs: &Inputs, pass: &TraitPass) -> Result<MemoryTable> {
    let mut table = PassTable::new(pass, inputs.people.ids.len());
    let (tables, lookups) = (inputs.tables.clone(), inputs.lookups());
    let query = LakeQuery { lookups, ..LakeQuery::new(pass.sql.clone(), tables, engine.now_us()) };
    engine.lake.stream(query, &mut |batch| table.take(batch)).await?;
    let rows = table.finish()?;
    Ok((pass.table.clone(), rows.schema(), vec![rows]))
}

/// The current snapshot as a lake table.
///
/// # Errors
/// `E0807` when nothing was computed yet.
pub(crate) fn current_snapshot(engine: &Engine) -> Result<(SnapshotRow, LakeTable)> {
    let snapshot = engine.ledger.snapshot()?;
    let snapshot = snapshot
        .filter(|snapshot| !snapshot.files.is_empty())
        .ok_or_else(|| Error::external("E0807", "there are no profiles yet").help("run a pipeline into profiles first"))?;
    let newest = snapshot.files.last().ok_or_else(|| Error::bug("a snapshot without files was filtered out"))?;
    let schema = engine.lake.file_schema(newest)?;
    let table = LakeTable { name: PROFILES.to_owned(), schema, files: snapshot.files.clone() };
    Ok((snapshot, table))
}

fn new_file(file: LakeFile, sequence: i64) -> NewFile {
    NewFile { table: PROFILES.to_owned(), name: file.name, rows: file.rows, bytes: file.bytes, sequence }
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

/// True when time alone can change a trait or a membership.
///
/// # Errors
/// `E0300` for a condition that does not parse.
pub(crate) fn depends_on_time(engine: &Engine) -> Result<bool> {
    let reads_clock = |text: &str| ["now(", "current_", "today("].iter().any(|word| text.to_lowercase().contains(word));
    let in_traits = engine.plan.traits.iter().any(|one| {
        let by_itself = match &one.measure {
            Measure::Sql(expression) | Measure::MostFrequent(expression) | Measure::Recommend(expression) => {
                reads_clock(&expression.text)
            }
            Measure::Rfm { .. } | Measure::Predict(_) => true,
        };
        one.window_ms.is_some() || by_itself
    });
    let in_segments = engine.plan.segments.iter().any(|segment| reads_clock(&segment.condition.text));
    let segments = PreparedSegments::of_plan(engine)?;
    // A grant ends by time, and one from a day to come begins by time.
    Ok(in_traits || in_segments || segments.has_window() || segments.asks_consent())
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
