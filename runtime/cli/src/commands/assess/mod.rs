//! `affluent assess`: looks at a connection or a file before it is integrated.

mod file;
mod json_lines;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_engine::{AssessedStream, Engine, SilentObserver, read_for_assessment};
use affluent_model::plan::Connection;
use affluent_model::{Error, Result};
use affluent_profiles::assess::propose::{Proposal, ProposedSource, leads_to_persons, propose};
use affluent_profiles::assess::report::Assessment;

use crate::arguments::{AssessArguments, Shared};
use crate::failure::{Exit, Failure, Outcome};
use crate::project::{self, Project};
use crate::render::screen::Screen;
use crate::render::{assess, assess_page};
use crate::wire;

/// What was read, and how a pipeline would name where it comes from.
struct Read {
    streams: Vec<AssessedStream>,
    source: ProposedSource,
    /// Without directories and endings.
    name: String,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &AssessArguments) -> Outcome {
    let project = match project::load(shared) {
        Ok(project) => Some(project),
        // A file can be assessed anywhere.
        Err(Failure::Error(error)) if error.code == "E0817" && shared.project.is_none() => None,
        Err(failure) => return Err(failure),
    };
    let engine = project.as_ref().filter(|project| has_ledger(project)).map(open).transpose()?;
    let read = match project.as_ref().and_then(|project| connection(project, &arguments.source)) {
        Some((connection, stream)) => {
            read_connection(project.as_ref(), engine.as_deref(), &connection, stream, arguments).await?
        }
        None => read_file(project.as_ref(), engine.is_some(), arguments)?,
    };
    let mut found = Assessment { source: arguments.source.clone(), streams: Vec::new() };
    for AssessedStream { count, is_whole } in &read.streams {
        let mut stream = count.assess(*is_whole);
        if let Some(engine) = &engine {
            engine.forecast(&read.name, count, &mut stream)?;
        }
        found.streams.push(stream);
    }
    let kinds = project.iter().flat_map(|project| &project.plan.identity.identifiers).map(|rule| rule.name.clone());
    let is_led = found.streams.iter().any(leads_to_persons);
    let proposal = is_led.then(|| propose(&read.name, &read.source, &found.streams, &kinds.collect::<Vec<_>>()));
    tell(screen, arguments, &found, proposal.as_ref())
}

fn tell(screen: &Screen, arguments: &AssessArguments, found: &Assessment, proposal: Option<&Proposal>) -> Outcome {
    if let Some(path) = &arguments.html {
        assess_page::page(found).write(path)?;
        screen.say(&format!("wrote {}", path.display()));
    }
    if let Some(path) = &arguments.propose {
        let proposal = proposal.ok_or_else(|| {
            Error::configuration(
                "E0844",
                format!("no field of `{}` points to a person: no pipeline can be proposed", found.source),
            )
            .help("look at its fields with `affluent assess` without --propose")
        })?;
        std::fs::write(path, assess::proposal(proposal))
            .map_err(|error| Error::external("E0814", format!("`{}` cannot be written: {}", path.display(), error.kind())))?;
        screen.say(&format!("wrote {}", path.display()));
    }
    if arguments.html.is_none() {
        let printed = proposal.filter(|_| arguments.propose.is_none());
        screen.result(&assess::json(found, printed), || assess::assessment(found, printed))?;
    }
    Ok(Exit::Done)
}

/// True when the project holds anything to compare with; a look makes no store.
fn has_ledger(project: &Project) -> bool {
    project.plan.project.data_dir.join("ledger.sqlite").exists()
}

fn open(project: &Project) -> Result<Arc<Engine>> {
    Ok(wire::open(project, Arc::new(SilentObserver), Arc::new(AtomicBool::new(false)))?.engine)
}

/// The connection that is meant, and its stream where one is named.
fn connection<'a>(project: &Project, source: &'a str) -> Option<(Arc<Connection>, Option<&'a str>)> {
    let (name, stream) = source.split_once('/').map_or((source, None), |(name, stream)| (name, Some(stream)));
    project.plan.connections.get(name).map(|connection| (Arc::clone(connection), stream))
}

async fn read_connection(
    project: Option<&Project>,
    engine: Option<&Engine>,
    connection: &Arc<Connection>,
    stream: Option<&str>,
    arguments: &AssessArguments,
) -> Result<Read> {
    let streams = match (engine, project) {
        (Some(engine), _) => read_for_assessment(&*engine.connectors, connection, stream, arguments.records).await?,
        (None, Some(project)) => {
            let host = wire::host(&project.plan, None, Arc::new(AtomicBool::new(false)))?;
            read_for_assessment(&host, connection, stream, arguments.records).await?
        }
        (None, None) => return Err(Error::bug("a connection is of a project")),
    };
    let name = connection.name.clone();
    Ok(Read { streams, source: ProposedSource::Connection(name.clone()), name })
}

fn read_file(project: Option<&Project>, compares: bool, arguments: &AssessArguments) -> Result<Read> {
    let path = Path::new(&arguments.source);
    if !path.is_file() {
        let known: Vec<&str> = project.iter().flat_map(|project| project.plan.connections.keys()).map(String::as_str).collect();
        let help = match known.as_slice() {
            [] => "name a file, or go into a project and name one of its connections".to_owned(),
            known => format!("connections are {}", known.join(", ")),
        };
        return Err(
            Error::configuration("E0845", format!("`{}` is neither a connection nor a file", arguments.source)).help(help)
        );
    }
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("records");
    let name = stem.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
    let hold = if compares { arguments.records } else { 0 };
    let counted = file::count_file(path, &name, hold)?;
    let source = match counted.plugin {
        Some(plugin) => {
            ProposedSource::File { plugin: plugin.to_owned(), path: shown_path(project, path), delimiter: counted.delimiter }
        }
        None => ProposedSource::Unreadable,
    };
    Ok(Read { streams: vec![AssessedStream { count: counted.count, is_whole: true }], source, name })
}

/// The path as a file of the project names it: below the project's folder where it is there.
fn shown_path(project: Option<&Project>, path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let inside = project.and_then(|project| whole.strip_prefix(&project.plan.project.root).ok().map(Path::to_owned));
    inside.unwrap_or(whole).display().to_string()
}
