//! From a folder to a plan: finds the project, loads its files, and asks plugins and planner whether everything fits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_config::check::{Catalog, ExpressionPlanner, check, check_draft};
use affluent_config::lock::LOCK_FILE;
use affluent_config::{Inputs, Loaded, Sources, find_root, load as load_files};
use affluent_lake::{Expressions, RowStep};
use affluent_model::connector::Connectors;
use affluent_model::diagnostic::{Diagnostic, Severity};
use affluent_model::error::Retry;
use affluent_model::expression::{ExpressionMistake, PlannedExpression, PlannedSegment, SegmentScope};
use affluent_model::manifest::{Manifest, PluginKind, TargetSchema};
use affluent_model::pii::PiiClass;
use affluent_model::plan::{Plan, TransformStep};
use affluent_model::schema::{Field, StreamSchema};
use affluent_model::{Error, Result};
use arrow::datatypes::Schema;
use futures::future::join_all;

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::wire;

/// A project whose files are without mistakes.
pub(crate) struct Project {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sources: Sources,
}

/// Loads the files of the project; plugins are not asked.
pub(crate) fn load(shared: &Shared) -> Result<Project, Failure> {
    let Loaded { plan, diagnostics, sources, .. } = files(shared)?;
    match plan {
        Some(plan) => Ok(Project { plan: Arc::new(plan), sources }),
        None => Err(Failure::Mistakes(diagnostics)),
    }
}

/// As [`load`], for commands that check the project as a whole: when files have mistakes, plugins are asked about the
/// other files, so that everything is told at once.
pub(crate) async fn load_to_check(shared: &Shared) -> Result<Project, Failure> {
    let loaded = files(shared)?;
    let is_about_lock = |one: &Diagnostic| one.at.file == Path::new(LOCK_FILE);
    if let (None, Some(draft)) = (&loaded.plan, &loaded.draft)
        // Without the lock no plugin can be asked, and that is no mistake of theirs.
        && !loaded.diagnostics.iter().any(is_about_lock)
    {
        let host = wire::host(draft, None, Arc::new(AtomicBool::new(false)))?;
        let catalog = PluginCatalog::ask(draft, &host).await;
        return Err(Failure::Mistakes(check_draft(&loaded, &catalog, &LakePlanner(&Expressions::new()))));
    }
    match loaded.plan {
        Some(plan) => Ok(Project { plan: Arc::new(plan), sources: loaded.sources }),
        None => Err(Failure::Mistakes(loaded.diagnostics)),
    }
}

fn files(shared: &Shared) -> Result<Loaded, Failure> {
    let root = root(shared)?;
    let variables = variables(shared)?;
    let environment = |name: &str| std::env::var(name).ok();
    let mut loaded = load_files(&root, &Inputs { variables, environment: &environment });
    let locked = shared.locked || environment("AFFLUENT_LOCKED").is_some_and(|value| !value.is_empty() && value != "0");
    for plan in loaded.plan.iter_mut().chain(loaded.draft.iter_mut()) {
        plan.project.plugins.locked = locked;
    }
    Ok(loaded)
}

fn root(shared: &Shared) -> Result<PathBuf, Failure> {
    let start = match &shared.project {
        Some(folder) => folder.clone(),
        None => std::env::current_dir()
            .map_err(|error| Error::external("E0814", format!("the current folder cannot be read: {error}")))?,
    };
    let found = match &shared.project {
        Some(folder) => folder.join("affluent.yaml").is_file().then(|| folder.clone()),
        None => find_root(&start),
    };
    let found = found.ok_or_else(|| {
        Error::configuration("E0817", format!("there is no affluent.yaml in `{}`", start.display()))
            .help("go into a project, name one with --project, or make one with `affluent init FOLDER`")
    })?;
    let absolute = found
        .canonicalize()
        .map_err(|error| Error::external("E0814", format!("`{}` cannot be read: {error}", found.display())))?;
    Ok(absolute)
}

pub(crate) fn variables(shared: &Shared) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    for given in &shared.variables {
        let (name, value) = given
            .split_once('=')
            .ok_or_else(|| Error::configuration("E0818", format!("`--var {given}` has no `=`")).help("write --var name=value"))?;
        variables.insert(name.to_owned(), value.to_owned());
    }
    Ok(variables)
}

/// What plugins say about the connections of a plan.
#[derive(Default)]
pub(crate) struct PluginCatalog {
    streams: BTreeMap<String, Vec<StreamSchema>>,
    targets: BTreeMap<String, Vec<TargetSchema>>,
    manifests: BTreeMap<String, Arc<Manifest>>,
    plugins: Vec<String>,
    /// Why a plugin that is there could not be asked at all.
    refused: BTreeMap<String, Error>,
    /// Why a connection's plugin could not be asked.
    pub(crate) failures: Vec<(String, Error)>,
}

impl PluginCatalog {
    /// Asks every plugin of the plan what it offers.
    pub(crate) async fn ask(plan: &Plan, connectors: &dyn Connectors) -> Self {
        let mut catalog = Self { plugins: connectors.plugins(), ..Self::default() };
        catalog.load(plan, connectors).await;
        for connection in plan.connections.values() {
            let Some(manifest) = catalog.manifests.get(&connection.plugin).cloned() else { continue };
            if manifest.kinds.contains(&PluginKind::Source) {
                match connectors.discover_streams(Arc::clone(connection)).await {
                    Ok(streams) => drop(catalog.streams.insert(connection.name.clone(), streams)),
                    Err(failure) if is_used_as_source(plan, &connection.name) => {
                        catalog.failures.push((connection.name.clone(), failure.error));
                    }
                    Err(_) => {}
                }
            }
            if manifest.kinds.contains(&PluginKind::Destination) {
                match connectors.discover_targets(Arc::clone(connection)).await {
                    Ok(targets) => drop(catalog.targets.insert(connection.name.clone(), targets)),
                    Err(failure) if !is_used_as_source(plan, &connection.name) => {
                        catalog.failures.push((connection.name.clone(), failure.error));
                    }
                    Err(_) => {}
                }
            }
        }
        catalog
    }

    /// All plugins at the same time: at the first start each of them is compiled.
    async fn load(&mut self, plan: &Plan, connectors: &dyn Connectors) {
        let steps = plan.pipelines.values().flat_map(|pipeline| &pipeline.transforms);
        let transforms = steps.filter_map(|step| match step {
            TransformStep::Plugin { plugin, .. } => Some(plugin.as_str()),
            _ => None,
        });
        let connected = plan.connections.values().map(|connection| connection.plugin.as_str());
        let names: BTreeSet<&str> = transforms.chain(connected).collect();
        let asked = names.into_iter().map(async |name| (name.to_owned(), connectors.manifest(name).await));
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(manifest) => drop(self.manifests.insert(name, manifest)),
                Err(failure) => drop(self.refused.insert(name, failure.error)),
            }
        }
    }
}

fn is_used_as_source(plan: &Plan, connection: &str) -> bool {
    use affluent_model::plan::PipelineSource;
    plan.pipelines
        .values()
        .any(|pipeline| matches!(&pipeline.source, PipelineSource::Connection { connection: name, .. } if name == connection))
}

impl Catalog for PluginCatalog {
    fn streams(&self, connection: &str) -> Option<&[StreamSchema]> {
        self.streams.get(connection).map(Vec::as_slice)
    }

    fn targets(&self, connection: &str) -> Option<&[TargetSchema]> {
        self.targets.get(connection).map(Vec::as_slice)
    }

    fn manifest(&self, plugin: &str) -> Option<&Manifest> {
        self.manifests.get(plugin).map(AsRef::as_ref)
    }

    fn plugins(&self) -> Vec<String> {
        self.plugins.clone()
    }

    fn refusal(&self, plugin: &str) -> Option<&Error> {
        self.refused.get(plugin)
    }
}

/// The lake's planner, as validation asks it.
struct LakePlanner<'a>(&'a Expressions);

impl ExpressionPlanner for LakePlanner<'_> {
    fn row(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        self.0.plan_row(text, schema)
    }

    fn aggregate(&self, text: &str, schema: &Schema) -> Result<PlannedExpression, ExpressionMistake> {
        self.0.plan_aggregate(text, schema)
    }

    fn segment(&self, text: &str, scope: &SegmentScope<'_>) -> Result<PlannedSegment, ExpressionMistake> {
        self.0.plan_segment(text, scope)
    }

    fn class(&self, text: &str, schema: &Schema) -> Option<PiiClass> {
        let set = RowStep::Set(vec![("result".to_owned(), text.to_owned())]);
        let program = self.0.compile(Arc::new(schema.clone()), vec![set]).ok()?;
        let planned = program.output_schema();
        planned.field_with_name("result").ok().and_then(Field::from_arrow).and_then(|field| field.pii)
    }
}

/// Checks the plan against what plugins offer; returns the warnings.
pub(crate) async fn validate(
    project: &Project,
    connectors: &dyn Connectors,
    expressions: &Expressions,
) -> Result<Vec<Diagnostic>, Failure> {
    let (diagnostics, failures) = compare_with_plugins(project, connectors, expressions).await?;
    match failures.into_iter().next() {
        Some((connection, error)) => Err(error.at(format!("connection {connection}")).into()),
        None => Ok(diagnostics),
    }
}

/// As [`validate`], for what begins runs: a connection whose remote's limit is spent is not judged, and its runs end as paused.
pub(crate) async fn validate_to_run(
    project: &Project,
    connectors: &dyn Connectors,
    expressions: &Expressions,
) -> Result<Vec<Diagnostic>, Failure> {
    let (diagnostics, failures) = compare_with_plugins(project, connectors, expressions).await?;
    match failures.into_iter().find(|(_, error)| !matches!(error.retry, Retry::After(_))) {
        Some((connection, error)) => Err(error.at(format!("connection {connection}")).into()),
        None => Ok(diagnostics),
    }
}

/// As [`validate`], where vendors need not be in reach: what depends on a connection that cannot be asked is not judged.
pub(crate) async fn validate_offline(
    project: &Project,
    connectors: &dyn Connectors,
    expressions: &Expressions,
) -> Result<Vec<Diagnostic>, Failure> {
    compare_with_plugins(project, connectors, expressions).await.map(|(diagnostics, _)| diagnostics)
}

type NotAsked = Vec<(String, Error)>;

async fn compare_with_plugins(
    project: &Project,
    connectors: &dyn Connectors,
    expressions: &Expressions,
) -> Result<(Vec<Diagnostic>, NotAsked), Failure> {
    let catalog = PluginCatalog::ask(&project.plan, connectors).await;
    let diagnostics = check(&project.plan, &catalog, &LakePlanner(expressions), &project.sources);
    if diagnostics.iter().any(|one| one.severity == Severity::Error) {
        return Err(Failure::Mistakes(diagnostics));
    }
    Ok((diagnostics, catalog.failures))
}
