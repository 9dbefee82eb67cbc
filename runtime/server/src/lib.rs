//! What the process tells over HTTP while it serves: whether it is well, and how its pipelines stand; and what it is told:
//! webhooks, which the engine judges. It decides nothing and listens on this machine only, until there is a login.

mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;

use affluent_engine::{Engine, Webhooks};
use affluent_model::{Error, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::webhooks::{Doors, bound, take_in};

/// Runs shown per pipeline.
const RUNS_MAX: usize = 20;

/// Takes the address.
///
/// # Errors
/// `E0850` when it is not of this machine's loopback or cannot be had.
pub async fn listen(address: &str) -> Result<TcpListener> {
    let parsed: SocketAddr = address.parse().map_err(|_| {
        Error::configuration("E0850", format!("`{address}` is no address")).help("write an address and a port: 127.0.0.1:7700")
    })?;
    if !parsed.ip().is_loopback() {
        return Err(Error::configuration(
            "E0850",
            format!("`{address}` can be reached from other machines, and the page has no login"),
        )
        .help("listen on 127.0.0.1"));
    }
    let listener = TcpListener::bind(parsed).await;
    listener.map_err(|error| {
        Error::external("E0850", format!("`{address}` cannot be listened on: {error}")).help("choose another with --listen")
    })
}

/// Answers until the listener is gone.
///
/// # Errors
/// When accepting connections fails for good.
pub async fn serve(listener: TcpListener, engine: Arc<Engine>, webhooks: Webhooks) -> Result<()> {
    let told =
        Router::new().route("/webhooks/{connection}", post(take_in)).layer(bound()).with_state(Arc::new(Doors::new(webhooks)));
    let shown = Router::new().route("/healthz", get(health)).route("/api/v1/runs", get(runs)).route("/", get(runs));
    let router = shown.with_state(engine).merge(told);
    axum::serve(listener, router).await.map_err(|error| Error::external("E0850", format!("the status page ended: {error}")))
}

/// 200 while the ledger can be read.
async fn health(State(engine): State<Arc<Engine>>) -> StatusCode {
    match engine.ledger.is_empty() {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The newest runs with their reports.
async fn runs(State(engine): State<Arc<Engine>>) -> std::result::Result<Json<Value>, StatusCode> {
    let rows = engine.ledger.runs(None, RUNS_MAX).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let shown = rows.into_iter().map(|run| {
        let report: Option<Value> = run.report_json.as_deref().and_then(|text| serde_json::from_str(text).ok());
        json!({ "run": run.run, "pipeline": run.pipeline, "started_at_us": run.started_at_us, "ended_at_us": run.ended_at_us, "outcome": run.outcome, "report": report })
    });
    Ok(Json(Value::Array(shown.collect())))
}
