//! `affluent plan`: what `run` would do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{Forecast, PersonalPreview, PipelinePreview, PluginSees, RunForecast};
use affluent_host::Host;
use affluent_model::lock::Isolation;
use affluent_model::plan::{Plan, TransformStep};

use crate::arguments::Shared;
use crate::commands::run::chosen;
use crate::failure::{Exit, Outcome};
use crate::project;
use crate::render::plugin::rate;
use crate::render::progress::Progress;
use crate::render::screen::{Screen, duration, number};
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, pipelines: &[String]) -> Outcome {
    let project = project::load_to_check(shared).await?;
    let names = chosen(&project.plan, pipelines)?;
    let progress = Arc::new(Progress::new(screen));
    let wired = wire::open(&project, progress.clone(), Arc::new(AtomicBool::new(false)))?;
    project::validate(&project, &*wired.connectors, &wired.engine.expressions).await?;
    let mut previews = Vec::new();
    for name in names {
        previews.push(wired.engine.preview(&name).await?);
    }
    progress.clear();
    for plugin in isolated(&project.plan, &wired.connectors).await {
        screen.say(&format!("plugin `{plugin}` runs in a process of its own"));
    }
    screen.result(&previews, || previews.iter().map(preview).collect::<Vec<_>>().join("\n\n"))?;
    Ok(Exit::Done)
}

/// The plugins of the project whose instances are in processes of their own.
async fn isolated(plan: &Plan, host: &Host) -> BTreeSet<String> {
    let steps = plan.pipelines.values().flat_map(|pipeline| &pipeline.transforms);
    let steps = steps.filter_map(|step| match step {
        TransformStep::Plugin { plugin, .. } => Some(plugin),
        _ => None,
    });
    let named: BTreeSet<&String> = plan.connections.values().map(|connection| &connection.plugin).chain(steps).collect();
    let mut isolated = BTreeSet::new();
    for plugin in named {
        if host.isolation(plugin).await == Ok(Isolation::Process) {
            isolated.insert(plugin.clone());
        }
    }
    isolated
}

fn preview(preview: &PipelinePreview) -> String {
    let mut lines = vec![preview.pipeline.clone()];
    for stream in &preview.reads {
        lines.push(format!("  reads {}: {}, {} records so far", stream.stream, stream.reads, number(stream.records_before)));
        lines.extend(stream.forecast.as_ref().map(|told| format!("    {}", forecast(told))));
    }
    lines.extend(leaves(&preview.leaves));
    if let Some(sends) = &preview.sends {
        let counts = &sends.counts;
        lines.push(format!(
            "  sends to {} ({}): {} create or update, {} remove, {} unchanged, in {} batches",
            counts.destination,
            counts.object,
            number(counts.upserts),
            number(counts.removes),
            number(counts.unchanged),
            number(sends.batches)
        ));
        lines.push(format!(
            "  leaves out: {} without consent, {} without a value to match by, {} duplicates, {} suppressed",
            number(counts.without_consent),
            number(counts.without_match),
            number(counts.duplicate_match),
            number(counts.suppressed)
        ));
    }
    let place = if preview.sends.is_some() { "   " } else { "  the destination takes" };
    lines.extend(preview.writes.as_ref().map(|told| format!("{place} {}", forecast(told))));
    if let Some(sends) = &preview.sends {
        for (kind, profile) in &sends.sample {
            lines.push(format!("    {kind} {profile}"));
        }
    }
    if let Some(unknown) = &preview.unknown {
        lines.push(format!("  {unknown}"));
    }
    lines.extend(preview.forecast.as_ref().map(in_all));
    lines.extend(preview.warnings.iter().map(|warning| format!("  warning: {warning}")));
    lines.join("\n")
}

/// `≈ 16 requests, ≥ 0.7 s at 90 in 10 s`.
fn forecast(forecast: &Forecast) -> String {
    let Forecast { rows, is_assumed, requests, least_ms, limit, .. } = forecast;
    let time = limit.as_ref().map_or(String::new(), |limit| format!(", ≥ {} at {}", duration(*least_ms), rate(limit)));
    let rows = format!(", for {} records: how many there are is not known yet", number(*rows));
    format!("≈ {} requests{time}{}", number(*requests), if *is_assumed { &rows } else { "" })
}

/// `  in all ≈ 1,040 requests, ≥ 6.2 s`.
fn in_all(run: &RunForecast) -> String {
    let time = if run.least_ms > 0 { format!(", ≥ {}", duration(run.least_ms)) } else { String::new() };
    format!("  in all ≈ {} requests{time}", number(run.requests))
}

/// The personal data that leaves, and how the destination's plugin sees it.
fn leaves(personal: &[PersonalPreview]) -> Vec<String> {
    let names = |sees: PluginSees| {
        let names: Vec<&str> = personal.iter().filter(|one| one.plugin_sees == sees).map(|one| one.name.as_str()).collect();
        names.join(", ")
    };
    let tokens = (names(PluginSees::Token), "as tokens: its plugin does not see them");
    let plaintext = (names(PluginSees::Plaintext), "in the clear: its plugin sees them");
    let groups = [tokens, plaintext].into_iter().filter(|(names, _)| !names.is_empty());
    groups.map(|(names, how)| format!("  personal data to the destination {how}: {names}")).collect()
}
