//! `affluent validate`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_lake::Expressions;
use serde_json::json;

use crate::arguments::Shared;
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::diagnostics;
use crate::render::screen::{Screen, complain};
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen) -> Outcome {
    let project = project::load_to_check(shared).await?;
    let host = wire::host(&project.plan, None, Arc::new(AtomicBool::new(false)))?;
    let warnings = project::validate(&project, &host, &Expressions::new()).await?;
    if !warnings.is_empty() {
        complain(&diagnostics::mistakes(screen, &warnings));
    }
    let plan = &project.plan;
    let counts = json!({
        "project": plan.project.name,
        "connections": plan.connections.len(),
        "pipelines": plan.pipelines.len(),
        "traits": plan.traits.len(),
        "segments": plan.segments.len(),
        "warnings": warnings.len(),
    });
    screen.result(&counts, || {
        let (connections, pipelines) = (plan.connections.len(), plan.pipelines.len());
        let (traits, segments) = (plan.traits.len(), plan.segments.len());
        format!(
            "{} is valid: {connections} connections, {pipelines} pipelines, {traits} traits, {segments} segments",
            plan.project.name
        )
    })?;
    Ok(Exit::Done)
}
