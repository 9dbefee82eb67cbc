//! A destination is written to in batches of all sizes, with rows that are good, odd and bad, and on bad days.

mod erasure;

use std::sync::Arc;

use affluent_model::batch::RowOperation;
use affluent_model::connector::{Destination, DestinationRequest, Failure, FailureKind};
use affluent_model::manifest::{ERASE_MODE, Idempotence, TargetSchema, VERIFY_ERASURE_MODE};
use affluent_model::plan::Connection;
use affluent_model::schema::{Field, FieldType};
use arrow::array::RecordBatch;

use super::{discover, ids};
use crate::bench::Bench;
use crate::fixture::SampleRow;
use crate::proxy::{Fault, Plan};
use crate::reading::{kind_word, told};
use crate::report::{Figures, Findings};
use crate::rows;
use crate::samples::{self, UNICODE};
use crate::writing::{Fate, Sending, Written, write};

/// Rows of a full batch when the destination names no limit, and at most.
const BATCH_ROWS: usize = 50;
const BATCH_ROWS_MAX: usize = 2_000;
const PLACE: &str = "write";

/// What is written to.
struct Target {
    request: DestinationRequest,
    fields: Vec<Field>,
    rows: Vec<SampleRow>,
    can_mirror: bool,
    erases: bool,
    verifies: bool,
}

pub(crate) async fn check(bench: &Bench, findings: &mut Findings, figures: &mut Figures) {
    bench.disturb(None);
    let Some(targets) = discover::targets(bench, findings).await else { return };
    let target = match Target::choose(bench, &targets) {
        Ok(target) => target,
        Err(reason) => return skip_all(findings, &reason),
    };
    let records = match samples::batch(&target.fields, &target.rows) {
        Ok(records) => records,
        Err(reason) => return skip_all(findings, &reason),
    };
    bench.heard(|heard| heard.personal.extend(rows::personal(&records, &target.fields)));
    let started = super::hygiene::processor_ms();
    match sizes(bench, &target, findings).await {
        Ok(rows) => figures.add_rows(rows, started, bench.seen().len()),
        Err(failure) => {
            let rule = if failure.error.code == "E0521" { "write.outcomes" } else { "write.sizes" };
            return findings.fail(rule, told(&failure));
        }
    }
    same_key(bench, &target, &records, findings).await;
    odd_rows(bench, &target, findings).await;
    deletes(bench, &target, findings).await;
    erasure::check(bench, &target, findings).await;
    poison(bench, &target, findings).await;
    faults(bench, &target, &records, findings).await;
    bench.disturb(None);
}

fn skip_all(findings: &mut Findings, reason: &str) {
    findings.skip_all(&ids("write."), reason);
    findings.skip_all(&ids("erase."), reason);
}

impl Target {
    fn choose(bench: &Bench, targets: &[TargetSchema]) -> Result<Self, String> {
        let fixture = bench.fixture.destination.clone().unwrap_or_default();
        let named = |target: &&TargetSchema| fixture.object.as_ref().is_none_or(|object| *object == target.name);
        let schema = targets.iter().find(named).ok_or("the contract file names an object that is not there")?;
        let wanted = fixture.mode.clone().unwrap_or_else(|| "upsert".to_owned());
        let mode = schema.modes.iter().find(|mode| **mode == wanted).or_else(|| schema.modes.first());
        let mode = mode.cloned().unwrap_or(wanted);
        let match_fields = match (fixture.match_fields.is_empty(), schema.match_fields.first()) {
            (false, _) => fixture.match_fields.clone(),
            (true, Some(first)) => vec![first.clone()],
            (true, None) => schema.fields.first().map(|field| vec![field.name.clone()]).unwrap_or_default(),
        };
        let fields = if fixture.fields.is_empty() { schema.fields.clone() } else { fixture.fields.clone() };
        let fields = if fields.is_empty() { default_fields() } else { fields };
        let rows = if fixture.rows.is_empty() { samples::made_up(&fields, 1, 5) } else { fixture.rows.clone() };
        if rows.len() < 2 {
            return Err("the contract file gives fewer than two rows".to_owned());
        }
        let request = DestinationRequest {
            pipeline: "contract".to_owned(),
            connection: Arc::clone(&bench.connection),
            object: schema.name.clone(),
            mode,
            match_fields,
            list: fixture.list.clone(),
            fields: fields.clone(),
            plaintext: schema.plaintext.clone(),
            run: "contract-run".to_owned(),
        };
        let has = |word: &str| schema.modes.iter().any(|mode| mode == word);
        let (can_mirror, erases, verifies) = (has("mirror"), has(ERASE_MODE), has(VERIFY_ERASURE_MODE));
        Ok(Self { request, fields, rows, can_mirror, erases, verifies })
    }

    /// Good rows in any number: those of the contract file, with made-up keys where they are used up.
    fn many(&self, from: usize, count: usize) -> Vec<SampleRow> {
        let made_up = samples::made_up(&self.fields, from, count);
        let pairs = made_up.into_iter().zip(self.rows.iter().cycle());
        let mix = |(fresh, given): (SampleRow, &SampleRow)| {
            let mut row = given.clone();
            for name in &self.request.match_fields {
                if let Some(value) = fresh.get(name) {
                    row.insert(name.clone(), value.clone());
                }
            }
            row
        };
        pairs.map(mix).collect()
    }

    async fn open(&self, bench: &Bench, connection: &Arc<Connection>, run: &str) -> Result<Box<dyn Destination>, Failure> {
        let request = DestinationRequest { connection: Arc::clone(connection), run: run.to_owned(), ..self.request.clone() };
        bench.listen("open", bench.connectors().open_destination(request).await)
    }
}

fn default_fields() -> Vec<Field> {
    vec![Field { nullable: false, ..Field::new("id", FieldType::Text) }, Field::new("name", FieldType::Text)]
}

fn upsert(key: &str, records: RecordBatch) -> Sending<'static> {
    Sending { place: PLACE, key: key.to_owned(), operation: RowOperation::Upsert, records }
}

/// Opens, writes one batch, closes.
async fn once(bench: &Bench, target: &Target, sending: Sending<'_>) -> Result<Written, Failure> {
    let run = format!("contract-{}", sending.key);
    let mut writer = target.open(bench, &bench.connection, &run).await?;
    let written = write(bench, writer.as_mut(), sending).await;
    bench.listen("close", writer.close().await)?;
    written
}

/// One row, as many as a batch may have, and the one after; the rows written.
async fn sizes(bench: &Bench, target: &Target, findings: &mut Findings) -> Result<usize, Failure> {
    let mut writer = target.open(bench, &bench.connection, "contract-sizes").await?;
    let limit = writer.info().max_rows.map_or(BATCH_ROWS, |rows| usize::try_from(rows).unwrap_or(BATCH_ROWS));
    let limit = limit.clamp(1, BATCH_ROWS_MAX);
    let mut rows = 0;
    for (number, count) in [1, limit, 1].into_iter().enumerate() {
        let sample = if number == 0 { target.rows.iter().take(1).cloned().collect() } else { target.many(rows + 100, count) };
        let records = match samples::batch(&target.fields, &sample) {
            Ok(records) => records,
            Err(reason) => {
                findings.skip_all(&["write.sizes", "write.outcomes"], &reason);
                return Ok(0);
            }
        };
        let written = write(bench, writer.as_mut(), upsert(&format!("size-{number}"), records)).await?;
        findings.pass("write.outcomes");
        let refused = written.failed().len() + written.left();
        let evidence = (refused > 0).then(|| format!("{refused} of {count} good rows are not taken"));
        findings.judge("write.sizes", evidence);
        rows += count;
    }
    bench.listen("close", writer.close().await)?;
    Ok(rows)
}

async fn same_key(bench: &Bench, target: &Target, records: &RecordBatch, findings: &mut Findings) {
    let rule = "write.same_key";
    let outcome = async {
        let mut writer = target.open(bench, &bench.connection, "contract-same-key").await?;
        if writer.info().idempotent == Idempotence::No {
            bench.listen("close", writer.close().await)?;
            return Ok(None);
        }
        let first = write(bench, writer.as_mut(), upsert("same", records.clone())).await?;
        let second = write(bench, writer.as_mut(), upsert("same", records.clone())).await?;
        bench.listen("close", writer.close().await)?;
        Ok(Some(first.fates == second.fates))
    };
    match outcome.await {
        Ok(None) => findings.skip(rule, "the destination says that it is not idempotent"),
        Ok(Some(is_same)) => findings.judge(rule, (!is_same).then(|| "the second report differs from the first".to_owned())),
        Err(failure) => findings.fail(rule, Failure::to_string(&failure)),
    }
}

async fn odd_rows(bench: &Bench, target: &Target, findings: &mut Findings) {
    let key = |field: &Field| target.request.match_fields.contains(&field.name);
    let mut nulls = target.many(5_000, 2);
    let mut texts = target.many(6_000, 2);
    for field in target.fields.iter().filter(|field| !key(field)) {
        for row in nulls.iter_mut().filter(|_| field.nullable) {
            row.insert(field.name.clone(), serde_json::Value::Null);
        }
        for row in texts.iter_mut().filter(|_| field.kind == FieldType::Text && is_free(field)) {
            row.insert(field.name.clone(), UNICODE.into());
        }
    }
    for (rule, rows) in [("write.nulls", nulls), ("write.unicode", texts)] {
        let records = match samples::batch(&target.fields, &rows) {
            Ok(records) => records,
            Err(reason) => {
                findings.skip(rule, reason);
                continue;
            }
        };
        let evidence = match once(bench, target, upsert(rule, records)).await {
            Ok(written) if written.left() > 0 => Some(format!("{} of 2 rows are never taken and never refused", written.left())),
            Ok(_) => None,
            Err(failure) => Some(told(&failure)),
        };
        findings.judge(rule, evidence);
    }
}

/// Fields that hold any text, not an address or a number of a certain form.
fn is_free(field: &Field) -> bool {
    use affluent_model::pii::PiiClass;
    matches!(field.pii, None | Some(PiiClass::Name | PiiClass::FreeText | PiiClass::Address))
}

async fn deletes(bench: &Bench, target: &Target, findings: &mut Findings) {
    let rule = "write.deletes";
    if !target.can_mirror {
        return findings.skip(rule, "the object has no mode `mirror`");
    }
    if target.request.mode != "mirror" {
        return findings.skip(rule, "the contract file does not write with mode `mirror`");
    }
    let rows: Vec<SampleRow> = target.rows.iter().take(2).cloned().collect();
    let Ok(records) = samples::batch(&target.fields, &rows) else { return };
    let sending = Sending { operation: RowOperation::Delete, ..upsert("delete", records) };
    let evidence = match once(bench, target, sending).await {
        Ok(written) if written.left() > 0 => Some(format!("{} deletions stay open", written.left())),
        Ok(_) => None,
        Err(failure) => Some(told(&failure)),
    };
    findings.judge(rule, evidence);
}

async fn poison(bench: &Bench, target: &Target, findings: &mut Findings) {
    const RULES: [&str; 2] = ["write.poison", "write.recovers"];
    let Some(bad) = bench.fixture.destination.as_ref().and_then(|fixture| fixture.poison.clone()) else {
        return findings.skip_all(&RULES, "the contract file gives no `poison` row for the destination");
    };
    let mut rows = target.many(7_000, 4);
    rows.insert(2, bad);
    let (bad, good) = (samples::batch(&target.fields, &rows), samples::batch(&target.fields, &target.many(8_000, 3)));
    let (bad, good) = match (bad, good) {
        (Ok(bad), Ok(good)) => (bad, good),
        (Err(reason), _) | (_, Err(reason)) => return findings.skip_all(&RULES, &reason),
    };
    bench.heard(|heard| heard.personal.extend(rows::personal(&bad, &target.fields)));
    let mut writer = match target.open(bench, &bench.connection, "contract-poison").await {
        Ok(writer) => writer,
        Err(failure) => return findings.fail("write.poison", told(&failure)),
    };
    let evidence = match write(bench, writer.as_mut(), upsert("poison", bad)).await {
        Ok(written) => match written.failed().as_slice() {
            [2] => None,
            [] => Some("no row is refused".to_owned()),
            rows => Some(format!("rows {rows:?} are refused instead of row 2 alone")),
        },
        Err(failure) => Some(told(&failure)),
    };
    findings.judge("write.poison", evidence);
    let evidence = match write(bench, writer.as_mut(), upsert("after-poison", good)).await {
        Ok(written) if written.count(|fate| *fate == Fate::Accepted) == 3 => None,
        Ok(written) => Some(format!("{} of 3 good rows are taken", written.count(|fate| *fate == Fate::Accepted))),
        Err(failure) => Some(told(&failure)),
    };
    findings.judge("write.recovers", evidence);
    drop(bench.listen("close", writer.close().await));
}

async fn faults(bench: &Bench, target: &Target, records: &RecordBatch, findings: &mut Findings) {
    const RULES: [&str; 4] = ["write.throttled", "write.server_error", "write.truncated", "write.credential"];
    if bench.proxy.is_none() {
        return findings.skip_all(&RULES, &bench.proxy_reason);
    }
    bench.disturb(None);
    let expected = match once(bench, target, upsert("undisturbed", records.clone())).await {
        Ok(written) if !bench.seen().is_empty() => written.fates,
        Ok(_) => return findings.skip_all(&RULES, "writing sends no request"),
        Err(failure) => return findings.skip_all(&RULES, &format!("the undisturbed batch fails: {}", failure.error.message)),
    };
    for (number, (rule, fault, times)) in [
        ("write.throttled", Fault::Throttled, 1),
        ("write.server_error", Fault::Status(500), 1),
        ("write.server_error", Fault::Status(503), 2),
        ("write.truncated", Fault::Truncated, 1),
    ]
    .into_iter()
    .enumerate()
    {
        bench.disturb(Some(Plan { fault, from: 0, times }));
        let evidence = match once(bench, target, upsert(&format!("fault-{number}"), records.clone())).await {
            Ok(written) if written.fates == expected => None,
            Ok(written) => {
                Some(format!("{fault:?}: {} rows are refused for good, {} stay open", written.failed().len(), written.left()))
            }
            Err(failure) => Some(format!("{fault:?}: {}", told(&failure))),
        };
        findings.judge(rule, evidence);
    }
    for status in [401, 403] {
        bench.disturb(Some(Plan { fault: Fault::Status(status), from: 0, times: usize::MAX }));
        let evidence = match once(bench, target, upsert(&format!("refused-{status}"), records.clone())).await {
            Err(failure) if matches!(failure.kind, FailureKind::Auth | FailureKind::Permission) => None,
            Err(failure) => Some(format!("{status} becomes kind {}", kind_word(failure.kind))),
            Ok(_) => Some(format!("{status} does not stop the writing")),
        };
        findings.judge("write.credential", evidence);
    }
}
