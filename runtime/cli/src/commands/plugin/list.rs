//! `affluent plugin list`: the plugins at hand, and whether they may run. What was not approved is not run for it: of such
//! a plugin only what is written in its file is told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_host::Host;
use affluent_model::connector::Connectors;
use affluent_model::lock::{Approvals, Candidate, Origin, plain};
use affluent_model::manifest::Manifest;
use affluent_model::plan::{Plan, TransformStep};
use affluent_provenance::{Package, hex_digest, manifest_section};
use serde::Serialize;

use super::add::COMPONENT_BYTES_MAX;
use crate::arguments::Shared;
use crate::failure::{Exit, Outcome};
use crate::render::screen::{Screen, table};
use crate::{project, wire};

/// One plugin.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    version: Option<String>,
    kinds: Vec<String>,
    contract: Option<String>,
    /// `embedded`, `file`, `registry`, `oci`, or `develop`.
    source: &'static str,
    sha256: Option<String>,
    signer: Option<String>,
    /// `process` when its instances run in processes of their own, else `none`.
    isolation: Option<&'static str>,
    /// `approved`, `new` (of the program, pinned by the next run), `develop`, `missing`, or the code of what forbids it.
    state: String,
    /// Why it may not run.
    reason: Option<String>,
    /// Connections and pipelines that name it.
    used_by: Vec<String>,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen) -> Outcome {
    let project = project::load(shared)?;
    let host = wire::host(&project.plan, None, Arc::new(AtomicBool::new(false)))?;
    let policy = wire::policy(&project.plan)?;
    let names: BTreeSet<String> = host.plugins().into_iter().chain(project.plan.lock.plugins.keys().cloned()).collect();
    let mut plugins = Vec::new();
    for name in names {
        plugins.push(listed(&project.plan, &host, policy.as_ref(), &name).await);
    }
    screen.result(&plugins, || text(&plugins))?;
    Ok(Exit::Done)
}

async fn listed(plan: &Plan, host: &Host, policy: &dyn Approvals, name: &str) -> Listed {
    let entry = plan.lock.plugins.get(name);
    let is_developed = plan.project.plugins.develop.contains_key(name);
    let path = host.file_of(name);
    let embedded = wire::EMBEDDED.iter().find(|(known, _)| *known == name).filter(|_| !is_developed);
    let bytes = match (&path, embedded) {
        (Some(path), _) => Package::from_file(path, COMPONENT_BYTES_MAX).ok().map(|package| package.bytes),
        (None, Some((_, bytes))) => Some(bytes.to_vec()),
        (None, None) => None,
    };
    let mut row = Listed {
        name: name.to_owned(),
        version: entry.map(|entry| entry.version.clone()),
        kinds: Vec::new(),
        contract: entry.map(|entry| entry.contract.clone()),
        source: if is_developed {
            "develop"
        } else {
            entry.map_or(if embedded.is_some() { "embedded" } else { "file" }, |entry| entry.source.as_str())
        },
        sha256: None,
        signer: entry.and_then(|entry| entry.signer.clone()),
        isolation: None,
        state: "missing".to_owned(),
        reason: None,
        used_by: used_by(plan, name),
    };
    let Some(bytes) = bytes else { return row };
    let digest = hex_digest(&bytes);
    row.sha256 = Some(digest.clone());
    let origin = match &path {
        Some(path) if is_developed => Origin::Develop(path),
        Some(path) => Origin::File(path),
        None => Origin::Embedded,
    };
    let candidate = Candidate { name, digest: &digest, bytes: &bytes, origin };
    row.isolation = Some(policy.isolation(&candidate).as_str());
    let answer = match policy.admit(&candidate) {
        Ok(()) => host.manifest(name).await.map_err(|failure| failure.error),
        Err(error) => Err(error),
    };
    match answer {
        Ok(manifest) => {
            row.state = if is_developed {
                "develop"
            } else if entry.is_some() {
                "approved"
            } else {
                "new"
            }
            .to_owned();
            row.describe(&manifest);
            if let Ok(inspection) = host.inspect(name).await {
                row.contract = Some(plain(&inspection.contract));
            }
        }
        Err(error) => {
            row.state = error.code.to_owned();
            row.reason = Some(error.message);
            if let Some(claim) = manifest_section(&bytes).and_then(|claim| serde_json::from_str(claim).ok()) {
                row.describe(&claim);
            }
        }
    }
    row
}

impl Listed {
    fn describe(&mut self, manifest: &Manifest) {
        self.version = Some(plain(&manifest.version));
        self.kinds = manifest.kinds.iter().map(|kind| kind.as_str().to_owned()).collect();
    }
}

fn used_by(plan: &Plan, name: &str) -> Vec<String> {
    let connections =
        plan.connections.values().filter(|connection| connection.plugin == name).map(|connection| connection.name.clone());
    let is_step = |step: &TransformStep| matches!(step, TransformStep::Plugin { plugin, .. } if plugin == name);
    let pipelines =
        plan.pipelines.values().filter(|pipeline| pipeline.transforms.iter().any(is_step)).map(|pipeline| pipeline.name.clone());
    connections.chain(pipelines).collect()
}

fn text(plugins: &[Listed]) -> String {
    let mut table =
        table(&["plugin", "version", "kinds", "contract", "source", "sha256", "signer", "isolation", "state", "used by"]);
    let or_dash = |value: Option<&str>| value.unwrap_or("-").to_owned();
    for plugin in plugins {
        let digest = plugin.sha256.as_deref().and_then(|digest| digest.get(..12));
        table.add_row([
            plugin.name.clone(),
            or_dash(plugin.version.as_deref()),
            plugin.kinds.join(", "),
            or_dash(plugin.contract.as_deref()),
            plugin.source.to_owned(),
            or_dash(digest),
            or_dash(plugin.signer.as_deref()),
            or_dash(plugin.isolation),
            plugin.state.clone(),
            plugin.used_by.join(", "),
        ]);
    }
    table.to_string()
}
