//! A transform is given the same rows in other portions, in both forms and again; the result must be the same.

use affluent_model::batch::{Batch, RowOperation};
use affluent_model::connector::{Connectors, Failure, FailureKind, Transform, TransformRequest};
use affluent_model::manifest::Manifest;
use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType, StreamSchema, SyncMode};
use arrow::array::RecordBatch;

use super::ids;
use crate::bench::Bench;
use crate::reading::told;
use crate::report::{Figures, Findings};
use crate::rows::{self, RowText};
use crate::samples;

const PLACE: &str = "transform";

/// The stream, its rows, and the rows' request.
struct Given {
    request: TransformRequest,
    records: RecordBatch,
    drops_rows: bool,
}

/// What came out.
#[derive(Debug, PartialEq, Eq)]
struct Output {
    rows: Vec<RowText>,
    rejected: Vec<String>,
}

pub(crate) async fn check(bench: &Bench, manifest: &Manifest, findings: &mut Findings, figures: &mut Figures) {
    let given = match Given::choose(bench) {
        Ok(given) => given,
        Err(reason) => return findings.skip_all(&ids("transform."), &reason),
    };
    let fields = &given.request.stream.fields;
    bench.heard(|heard| heard.personal.extend(rows::personal(&given.records, fields)));
    let count = given.records.num_rows();
    let started = super::hygiene::processor_ms();
    let whole = match run(bench, &bench.host, &given, &[count]).await {
        Ok(whole) => whole,
        Err(failure) if failure.error.code == "E0520" => return findings.fail("transform.schema", failure.error.message),
        Err(failure) if failure.kind == FailureKind::Config && bench.fixture.transform.is_none() => {
            let reason = format!("the made-up stream does not fit, give one in the contract file: {}", failure.error.message);
            return findings.skip_all(&ids("transform."), &reason);
        }
        Err(failure) => return findings.fail("transform.opens", told(&failure)),
    };
    figures.add_rows(count, started, 0);
    findings.pass("transform.opens");
    findings.pass("transform.schema");
    let accounted = whole.rows.len() + whole.rejected.len();
    let is_short = accounted < count && !given.drops_rows;
    findings.judge("transform.counts", is_short.then(|| format!("{accounted} of {count} rows are accounted for")));
    if same(bench, &given, &whole, findings).await {
        formats(bench, manifest, (&given, &whole), findings).await;
    } else {
        findings.skip_all(&["transform.split", "transform.formats"], "the result differs from run to run");
    }
    poison(bench, &given, findings).await;
}

impl Given {
    fn choose(bench: &Bench) -> Result<Self, String> {
        let fixture = bench.fixture.transform.clone().unwrap_or_default();
        let stream = fixture.stream.unwrap_or_else(default_stream);
        let rows = if fixture.rows.is_empty() { samples::made_up(&stream.fields, 1, 20) } else { fixture.rows };
        if rows.len() < 2 {
            return Err("the contract file gives fewer than two rows".to_owned());
        }
        let records = samples::batch(&stream.fields, &rows)?;
        let request = TransformRequest {
            pipeline: "contract".to_owned(),
            plugin: bench.plugin.clone(),
            config: bench.connection.config.clone(),
            stream,
        };
        Ok(Self { request, records, drops_rows: fixture.drops_rows })
    }
}

fn default_stream() -> StreamSchema {
    let id = Field { nullable: false, ..Field::new("id", FieldType::Integer) };
    let fields = vec![
        id,
        Field::new("email", FieldType::Text).with_pii(PiiClass::Email),
        Field::new("phone", FieldType::Text).with_pii(PiiClass::Phone),
        Field::new("name", FieldType::Text).with_pii(PiiClass::Name),
        Field::new("total", FieldType::Decimal),
        Field::new("updated_at", FieldType::Timestamp),
    ];
    let (primary_key, sync_modes) = (vec!["id".to_owned()], vec![SyncMode::FullRefresh]);
    StreamSchema { name: "items".to_owned(), fields, primary_key, cursor_field: None, sync_modes, parent: None }
}

/// Opens, applies the rows in these portions, ends.
async fn run(bench: &Bench, host: &dyn Connectors, given: &Given, portions: &[usize]) -> Result<Output, Failure> {
    let mut transform = bench.listen(PLACE, host.open_transform(given.request.clone()).await)?;
    let mut result = Output { rows: Vec::new(), rejected: Vec::new() };
    let mut from = 0;
    for portion in portions {
        let records = given.records.slice(from, *portion);
        result.take(bench, apply(bench, transform.as_mut(), &given.request.stream.name, records).await?, from);
        from += portion;
    }
    if let Some(rest) = bench.listen(PLACE, transform.finish().await)? {
        result.take(bench, rest, from);
    }
    Ok(result)
}

type Transformed = (Batch, Vec<affluent_model::batch::Rejected>);

async fn apply(bench: &Bench, transform: &mut dyn Transform, stream: &str, records: RecordBatch) -> Result<Transformed, Failure> {
    let batch = Batch { stream: stream.to_owned(), operation: RowOperation::Upsert, records };
    bench.listen(PLACE, transform.apply(batch).await)
}

impl Output {
    fn take(&mut self, bench: &Bench, (batch, rejected): Transformed, from: usize) {
        self.rows.extend(rows::record_texts(&batch.records));
        for row in rejected {
            bench.heard(|heard| heard.say("a rejected row".to_owned(), &format!("{} {}", row.code, row.message)));
            self.rejected.push(format!("{} {}", row_number(&row.place).map_or(usize::MAX, |number| from + number), row.code));
        }
    }
}

/// `row 4 of the batch` → 4.
fn row_number(place: &str) -> Option<usize> {
    place.split_whitespace().nth(1)?.parse().ok()
}

/// Whether the result is the same again; then it must be so in other portions, too.
async fn same(bench: &Bench, given: &Given, whole: &Output, findings: &mut Findings) -> bool {
    let count = given.records.num_rows();
    let evidence = match run(bench, &bench.host, given, &[count]).await {
        Ok(again) if again == *whole => None,
        Ok(_) => Some("the second instance gives other rows".to_owned()),
        Err(failure) => Some(told(&failure)),
    };
    let is_deterministic = evidence.is_none();
    findings.judge("transform.deterministic", evidence);
    if !is_deterministic {
        return false;
    }
    let half = count / 2;
    for (portions, words) in [(vec![1; count], "one by one"), (vec![half, count - half], "in two halves")] {
        let evidence = match run(bench, &bench.host, given, &portions).await {
            Ok(again) if again == *whole => None,
            Ok(again) => Some(format!("{words}: {} rows, at once: {}; or others", again.rows.len(), whole.rows.len())),
            Err(failure) => Some(format!("{words}: {}", told(&failure))),
        };
        findings.judge("transform.split", evidence);
    }
    true
}

async fn formats(bench: &Bench, manifest: &Manifest, (given, whole): (&Given, &Output), findings: &mut Findings) {
    let rule = "transform.formats";
    let accepts = &manifest.formats.accepts;
    if !["columns", "ndjson"].iter().all(|format| accepts.iter().any(|known| known == format)) {
        return findings.skip(rule, "it takes one form only");
    }
    let evidence = match run(bench, &bench.ndjson_host, given, &[given.records.num_rows()]).await {
        Ok(again) if again == *whole => None,
        Ok(_) => Some("ndjson gives other rows than columns".to_owned()),
        Err(failure) => Some(format!("ndjson: {}", told(&failure))),
    };
    findings.judge(rule, evidence);
}

async fn poison(bench: &Bench, given: &Given, findings: &mut Findings) {
    let rule = "transform.poison";
    let fixture = bench.fixture.transform.as_ref();
    let Some(bad) = fixture.and_then(|fixture| fixture.poison.clone()) else {
        return findings.skip(rule, "the contract file gives no `poison` row for the transform");
    };
    let fields = &given.request.stream.fields;
    let records = samples::batch(fields, &[bad]).and_then(|bad| {
        let schema = given.records.schema();
        bench.heard(|heard| heard.personal.extend(rows::personal(&bad, fields)));
        arrow::compute::concat_batches(&schema, &[given.records.slice(0, 1), bad, given.records.slice(1, 1)])
            .map_err(|error| error.to_string())
    });
    let records = match records {
        Ok(records) => records,
        Err(reason) => return findings.skip(rule, reason),
    };
    let with_bad = Given { request: given.request.clone(), records, drops_rows: false };
    let evidence = match run(bench, &bench.host, &with_bad, &[3]).await {
        Ok(result) if result.rejected.len() == 1 && result.rejected.iter().all(|row| row.starts_with("1 ")) => None,
        Ok(result) if result.rejected.is_empty() => Some("no row is rejected".to_owned()),
        Ok(_) => Some("another row, or more than the bad one, is rejected".to_owned()),
        Err(failure) => Some(told(&failure)),
    };
    findings.judge(rule, evidence);
}
