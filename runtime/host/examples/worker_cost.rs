//! What a process of its own costs a plugin: opening and closing a transform, and records per CPU-second of it, inside this
//! process and in workers, in turns; workers' time is counted. Not part of the product.
//!
//! `worker_cost FOLDER`, the folder that holds `affluent_plugin_contacts.wasm`.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use affluent_host::{Host, WorkerCommand};
use affluent_model::Result;
use affluent_model::batch::{Batch, RowOperation};
use affluent_model::connector::{Connectors, Transform, TransformRequest};
use affluent_model::lock::{Approvals, Candidate, Isolation, Said};
use affluent_model::schema::{Field, FieldType, StreamSchema};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use serde_json::json;

use support::{Failed, cpu_seconds, host, options, print};

const ROWS: usize = 2_000;
const ROUNDS: usize = 50;
const TURNS: usize = 3;
const OPENINGS: u32 = 20;

/// Has every plugin run in a worker.
struct Isolate;

impl Approvals for Isolate {
    fn admit(&self, _: &Candidate<'_>) -> Result<()> {
        Ok(())
    }

    fn grant(&self, _: &Candidate<'_>, _: Said<'_>) -> Result<()> {
        Ok(())
    }

    fn isolation(&self, _: &Candidate<'_>) -> Isolation {
        Isolation::Process
    }
}

fn isolating_host(folder: PathBuf) -> Result<Host> {
    let mut options = options(folder);
    options.approvals = Arc::new(Isolate);
    options.worker = Some(WorkerCommand {
        program: "/proc/self/exe".into(),
        arguments: vec!["worker".into()],
        compile_seconds: affluent_host::COMPILE_SECONDS,
    });
    Host::new(options)
}

fn stream() -> Result<StreamSchema, Failed> {
    let fields =
        ["email", "phone", "first_name", "last_name", "city", "country"].map(|name| json!({"name": name, "type": "text"}));
    let id = json!({"name": "id", "type": "integer"});
    let fields: Vec<_> = std::iter::once(id).chain(fields).collect();
    Ok(serde_json::from_value(
        json!({"name": "people", "fields": fields, "primary_key": ["id"], "sync_modes": ["full_refresh"]}),
    )?)
}

fn batch(stream: &StreamSchema) -> Result<Batch, Failed> {
    let array = |field: &Field| -> ArrayRef {
        match field.kind {
            FieldType::Integer => Arc::new((0..i64::try_from(ROWS).unwrap_or(0)).collect::<Int64Array>()),
            _ => Arc::new((0..ROWS).map(|row| Some(format!("Person.{row}@Example{}.org", row % 40))).collect::<StringArray>()),
        }
    };
    let schema = Arc::new(Schema::new(stream.fields.iter().map(Field::to_arrow).collect::<Vec<_>>()));
    let records = RecordBatch::try_new(schema, stream.fields.iter().map(array).collect())?;
    Ok(Batch { stream: stream.name.clone(), operation: RowOperation::Upsert, records })
}

async fn open(host: &Host, stream: &StreamSchema) -> Result<Box<dyn Transform>, Failed> {
    let (pipeline, plugin) = ("bench".to_owned(), "contacts".to_owned());
    let config = json!({"country_calling_code": "33"});
    Ok(host.open_transform(TransformRequest { pipeline, plugin, config, stream: stream.clone() }).await?)
}

/// User and system time of this process and of its running children, seconds.
fn all_cpu_seconds() -> Result<f64, Failed> {
    let own = std::process::id().to_string();
    let mut seconds = cpu_seconds()?;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let rest: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        if rest.get(1).is_some_and(|parent| *parent == own) {
            seconds += rest.iter().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0;
        }
    }
    Ok(seconds)
}

async fn cost(transform: &mut dyn Transform, batch: &Batch) -> Result<f64, Failed> {
    let started = all_cpu_seconds()?;
    for _ in 0..ROUNDS {
        transform.apply(batch.clone()).await?;
    }
    Ok(all_cpu_seconds()? - started)
}

async fn opening_ms(host: &Host, stream: &StreamSchema) -> Result<f64, Failed> {
    drop(open(host, stream).await?);
    let started = Instant::now();
    for _ in 0..OPENINGS {
        drop(open(host, stream).await?);
    }
    Ok(started.elapsed().as_secs_f64() * 1_000.0 / f64::from(OPENINGS))
}

async fn measure(folder: PathBuf) -> Result<(), Failed> {
    let (together, apart) = (host(folder.clone())?, isolating_host(folder)?);
    let stream = stream()?;
    let batch = batch(&stream)?;
    let (inside_ms, worker_ms) = (opening_ms(&together, &stream).await?, opening_ms(&apart, &stream).await?);
    print(&format!("opening and closing: {inside_ms:.2} ms in this process, {worker_ms:.2} ms in a worker"));
    let (mut inside, mut worker) = (open(&together, &stream).await?, open(&apart, &stream).await?);
    let (mut inside_s, mut worker_s) = (f64::MAX, f64::MAX);
    for _ in 0..TURNS {
        inside_s = inside_s.min(cost(inside.as_mut(), &batch).await?);
        worker_s = worker_s.min(cost(worker.as_mut(), &batch).await?);
    }
    let records = f64::from(u32::try_from(ROWS * ROUNDS)?);
    print(&format!(
        "{:.0} k records per CPU-second in this process, {:.0} k in a worker: {:.2}",
        records / inside_s / 1e3,
        records / worker_s / 1e3,
        inside_s / worker_s
    ));
    Ok(())
}

fn main() -> Result<ExitCode, Failed> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next().ok_or("FOLDER")?;
    if first == "worker" {
        return Ok(affluent_host::run_worker(arguments));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(first.into()))?;
    Ok(ExitCode::SUCCESS)
}
