//! The table: what plugins do to their host, what it comes to, and how it is done.

use std::sync::Arc;
use std::time::Duration;

use affluent_host::Host;
use affluent_model::batch::{Batch, OutgoingBatch, RowOperation};
use affluent_model::connector::{Connectors, DestinationRequest, Failure, PageLimits, Source, SourceRequest, TransformRequest};
use affluent_model::plan::Connection;
use affluent_model::schema::SyncMode;
use serde_json::json;

use crate::components::{Text, importing, re_entering};
use crate::setting::connection;

pub(crate) const LIMITS: PageLimits = PageLimits { rows_max: 10_000, bytes_max: 1 << 20 };
/// Of a call in the table; short, because those that loop use all of it.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Behaviours of the hostile plugin: (behaviour, call, codes of the error; `ok` where it may also end well).
#[rustfmt::skip]
pub(crate) const BEHAVIOURS: &[(&str, &str, &[&str])] = &[
    ("panic", "check", &["E0510"]), ("panic", "discover", &["E0510"]), ("panic", "open", &["E0510"]),
    ("panic", "next", &["E0510"]), ("panic", "write", &["E0510"]), ("panic", "apply", &["E0510"]),
    ("loop_forever", "check", &["E0512"]), ("loop_forever", "discover", &["E0512"]), ("loop_forever", "open", &["E0512"]),
    ("loop_forever", "next", &["E0512"]), ("loop_forever", "write", &["E0512"]), ("loop_forever", "apply", &["E0512"]),
    ("allocate_forever", "next", &["E0511", "E0512"]), ("recurse_forever", "next", &["E0514"]),
    ("exit", "next", &["E0515"]), ("exit_zero", "next", &["E0515"]), ("exit_zero", "write", &["E0515"]),
    ("sleep_long", "next", &["E0512"]), ("sleep_outside", "next", &["E0512"]),
    ("flood_random", "next", &["E0516"]), ("hoard_handles", "next", &["E0516"]),
    ("flood_logs", "next", &["ok", "E0512"]), ("huge_log", "next", &["ok"]), ("flood_metrics", "next", &["ok", "E0512"]),
    ("flood_stdout", "next", &["ok", "E0512"]), ("flood_stderr", "next", &["ok", "E0512"]),
    ("flood_kv", "next", &["E0408", "E0512"]), ("huge_kv_value", "next", &["E0408", "E0512"]),
    ("huge_error_message", "next", &["E0408"]),
    ("file_not_granted", "next", &["E0403"]), ("output_not_granted", "next", &["E0409"]),
    ("http_not_granted", "next", &["E0409"]), ("http_header_flood", "next", &["E0409", "E0512"]),
    ("http_broken_header", "next", &["E0409"]), ("http_broken_method", "next", &["E0409"]),
    ("http_unknown_slot", "next", &["E0409"]), ("http_get", "next", &["E0409"]), ("http_get", "apply", &["E0409"]),
    ("wrong_row_count", "next", &["E0520"]), ("forged_row_count", "next", &["E0520"]),
    ("too_many_rows", "next", &["E0520", "E0512"]), ("many_parts", "next", &["E0511", "E0512", "E0516", "E0520"]),
    ("many_rejected", "next", &["E0511", "E0512", "E0516", "E0520"]), ("huge_value", "next", &["E0512", "E0520"]),
    ("wrong_type", "next", &["E0520"]), ("extra_column", "next", &["E0520"]), ("offsets_beyond_data", "next", &["E0520"]),
    ("invalid_utf8", "next", &["E0520"]), ("garbage_ndjson", "next", &["E0520"]), ("unknown_stream", "next", &["E0520"]),
    ("huge_state", "next", &["E0512", "E0520"]), ("same_state", "pages", &["E0522"]), ("nothing_forever", "pages", &["E0522"]),
    ("garbage_json", "discover", &["E0507"]), ("deep_json", "discover", &["E0507"]), ("huge_json", "discover", &["E0507"]),
    ("counts_over", "write", &["E0521"]), ("forged_row", "write", &["E0521"]), ("row_twice", "write", &["E0521"]),
    ("huge_token", "write", &["E0521"]), ("many_errors", "write", &["E0512", "E0516", "E0521"]),
];

/// Components that are hostile before any of their calls is made: (name, component, codes).
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let start = |code: &str| format!("(func $start {code}) (start $start)");
    let text = |text: Text| text.build();
    let table = "(table $t 1 funcref) (func $grow (loop (if (i32.eq (i32.const -1) (table.grow $t (ref.null func) \
                 (i32.const 10000))) (then unreachable)) (br 0))) (start $grow)";
    vec![
        ("start_loop", text(Text { inner: start("(loop br 0)"), ..Text::default() }), &["E0512"]),
        ("start_trap", text(Text { inner: start("unreachable"), ..Text::default() }), &["E0510"]),
        (
            "start_divides",
            text(Text { inner: start("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), ..Text::default() }),
            &["E0516"],
        ),
        (
            "start_recurses",
            text(Text { inner: "(func $f call $f call $f) (start $f)".to_owned(), ..Text::default() }),
            &["E0514"],
        ),
        ("manifest_loop", text(Text { manifest: "(loop br 0) unreachable", ..Text::default() }), &["E0512"]),
        (
            "manifest_fills",
            text(Text {
                memory: "1000",
                manifest: "(loop (memory.fill (i32.const 0) (i32.const 1) \
            (i32.const 65536000)) br 0) unreachable",
                ..Text::default()
            }),
            &["E0512"],
        ),
        ("memory_declared", text(Text { memory: "16384", ..Text::default() }), &["E0511"]),
        (
            "memory_grown",
            text(Text { manifest: "(loop (drop (memory.grow (i32.const 100))) br 0) unreachable", ..Text::default() }),
            &["E0511"],
        ),
        ("table_declared", text(Text { inner: "(table 10000000 funcref)".to_owned(), ..Text::default() }), &["E0516"]),
        ("table_grown", text(Text { inner: table.to_owned(), ..Text::default() }), &["E0510"]),
        ("many_tables", text(Text { inner: "(table 1 funcref)".repeat(11), ..Text::default() }), &["E0516"]),
        ("many_memories", text(Text { inner: "(memory 1)".repeat(5), ..Text::default() }), &["E0501", "E0516"]),
        (
            "many_instances",
            text(Text {
                outer: format!("(core module $e) {}", "(core instance (instantiate $e))".repeat(60)),
                ..Text::default()
            }),
            &["E0516"],
        ),
        ("many_functions", text(Text { inner: "(func)".repeat(20_001), ..Text::default() }), &["E0530"]),
        (
            "large_function",
            text(Text { inner: format!("(func {})", "(drop (i32.const 1))".repeat(300_000)), ..Text::default() }),
            &["E0530"],
        ),
        ("other_contract", text(Text { contract: "9.9.9", ..Text::default() }), &["E0502"]),
        ("forged_contract", importing("affluent:plugin/types@0.1.0"), &["E0505"]),
        ("manifest_garbage", text(Text { json: "{", ..Text::default() }), &["E0505"]),
        ("manifest_lies", text(Text::default()), &["E0504"]),
        ("manifest_outside", text(Text { place: Some((1 << 30, 10)), ..Text::default() }), &["E0516"]),
        ("manifest_huge", text(Text { memory: "1024", place: Some((0, 60 << 20)), ..Text::default() }), &["E0505", "E0516"]),
        ("manifest_no_text", text(Text { json: "\\ff", ..Text::default() }), &["E0516"]),
        ("re_entry", re_entering(), &["E0516"]),
        ("imports_files", importing("wasi:filesystem/types@0.2.0"), &["E0503"]),
        ("imports_sockets", importing("wasi:sockets/tcp@0.2.0"), &["E0503"]),
        ("imports_http", importing("wasi:http/outgoing-handler@0.2.0"), &["E0503"]),
        ("imports_other", importing("evil:x/y@1.0.0"), &["E0503"]),
        ("memory_of_64_bits", text(Text { inner: "(memory i64 1)".to_owned(), ..Text::default() }), &["E0501"]),
        ("shared_memory", text(Text { inner: "(memory 1 1 shared)".to_owned(), ..Text::default() }), &["E0501"]),
    ]
}

pub(crate) async fn open(host: &Host, connection: Arc<Connection>, pipeline: &str) -> Result<Box<dyn Source>, Failure> {
    let stream = host.discover_streams(good()).await?.remove(0);
    let (pipeline, sync) = (pipeline.to_owned(), SyncMode::Incremental);
    let request =
        SourceRequest { pipeline, connection, stream, children: Vec::new(), sync, since_us: None, lookback_ms: 0, state: None };
    host.open_source(request).await
}

pub(crate) fn good() -> Arc<Connection> {
    connection("hostile", json!({}))
}

pub(crate) async fn good_records(host: &Host) -> Result<Batch, Failure> {
    Ok(open(host, good(), "good").await?.next(LIMITS).await?.parts.remove(0))
}

/// What a behaviour in a call comes to.
pub(crate) async fn act(host: &Host, behaviour: &str, call: &str) -> Result<(), Failure> {
    let call_name = if call == "pages" { "next" } else { call };
    // A literal, so that nothing is looked up: refused all the same.
    let bad = connection("hostile", json!({"behaviour": behaviour, "call": call_name, "url": "https://127.0.0.1/"}));
    match call {
        "check" => host.check(bad).await.map(drop),
        "discover" => host.discover_streams(bad).await.map(drop),
        "open" => open(host, bad, "bad").await.map(drop),
        "next" => open(host, bad, "bad").await?.next(LIMITS).await.map(drop),
        "pages" => {
            let mut source = open(host, bad, "bad").await?;
            loop {
                source.next(LIMITS).await?;
            }
        }
        "write" => write(host, bad).await,
        "apply" => {
            let stream = host.discover_streams(good()).await?.remove(0);
            let (pipeline, plugin, config) = ("bad".to_owned(), "hostile".to_owned(), bad.config.clone());
            let mut transform = host.open_transform(TransformRequest { pipeline, plugin, config, stream }).await?;
            transform.apply(good_records(host).await?).await.map(drop)
        }
        call => panic!("{call}"),
    }
}

async fn write(host: &Host, connection: Arc<Connection>) -> Result<(), Failure> {
    let request = DestinationRequest {
        pipeline: "bad".to_owned(),
        connection,
        object: "items".to_owned(),
        mode: "upsert".to_owned(),
        match_fields: vec!["id".to_owned()],
        list: None,
        fields: host.discover_streams(good()).await?.remove(0).fields,
        plaintext: Vec::new(),
        run: "run-1".to_owned(),
    };
    let records = good_records(host).await?.records;
    let batch = OutgoingBatch { idempotency_key: "key".to_owned(), operation: RowOperation::Upsert, records };
    host.open_destination(request).await?.write(batch).await.map(drop)
}

/// The code of what happened, if it is none of those that are expected.
pub(crate) fn misses(result: &Result<(), Failure>, codes: &[&str]) -> Option<String> {
    let code = result.as_ref().err().map_or("ok", |failure| failure.error.code);
    let message = result.as_ref().err().map(|failure| failure.error.message.clone()).unwrap_or_default();
    let speaks = message.contains("ada@") || message.contains("the-secret") || message.len() > 5_000;
    (speaks || !codes.contains(&code)).then(|| format!("{code} instead of {}: {message}", codes.join(" or ")))
}
