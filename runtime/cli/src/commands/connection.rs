//! `affluent connection`: tries connections, and shows what they offer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_host::Host;
use affluent_model::connector::{CheckReport, Connectors as _};
use affluent_model::manifest::{PluginKind, TargetSchema};
use affluent_model::plan::Connection;
use affluent_model::schema::StreamSchema;
use affluent_model::{Error, Result};
use futures::future::join_all;
use serde::Serialize;

use crate::arguments::{ConnectionCommand, Shared};
use crate::failure::{Exit, Outcome};
use crate::project::{self, Project};
use crate::render::connection as render;
use crate::render::screen::Screen;
use crate::wire;

/// A connection that was tried.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    pub(crate) connection: String,
    pub(crate) plugin: String,
    /// `ok` or `failed`.
    pub(crate) state: &'static str,
    /// The code of what is wrong.
    pub(crate) code: Option<&'static str>,
    /// What is wrong.
    pub(crate) reason: Option<String>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// What the plugin says of a connection that works.
    pub(crate) notes: Vec<String>,
}

/// What a connection offers.
#[derive(Debug, Serialize)]
pub(crate) struct Offered {
    pub(crate) connection: String,
    pub(crate) plugin: String,
    pub(crate) streams: Vec<StreamSchema>,
    pub(crate) objects: Vec<TargetSchema>,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen, command: &ConnectionCommand) -> Outcome {
    let project = project::load(shared)?;
    let host = wire::host(&project.plan, None, Arc::new(AtomicBool::new(false)))?;
    match command {
        ConnectionCommand::Check { connections } => check(&project, &host, screen, connections).await,
        ConnectionCommand::Discover { connection, name } => {
            discover(&host, screen, &named(&project, connection)?, name.as_deref()).await
        }
    }
}

async fn check(project: &Project, host: &Host, screen: &Screen, asked: &[String]) -> Outcome {
    let connections = match asked {
        [] => project.plan.connections.values().map(Arc::clone).collect(),
        _ => asked.iter().map(|name| named(project, name)).collect::<Result<Vec<_>>>()?,
    };
    let answers = join_all(connections.iter().map(|connection| host.check(Arc::clone(connection)))).await;
    let mut exit = Exit::Done;
    let mut checked = Vec::new();
    for (connection, answer) in connections.iter().zip(answers) {
        let answer = answer.map_err(|failure| failure.error);
        exit = answer.as_ref().err().map_or(exit, |error| exit.and(Exit::of_error(error)));
        checked.push(Checked::new(connection, answer));
    }
    screen.result(&checked, || render::checked(&checked))?;
    Ok(exit)
}

impl Checked {
    fn new(connection: &Connection, answer: Result<CheckReport>) -> Self {
        let (connection, plugin) = (connection.name.clone(), connection.plugin.clone());
        match answer {
            Ok(CheckReport { notes }) => Self { connection, plugin, state: "ok", code: None, reason: None, help: None, notes },
            Err(Error { code, message, help, .. }) => {
                let (reason, help) = (Some(message), Some(help).filter(|help| !help.is_empty()));
                Self { connection, plugin, state: "failed", code: Some(code), reason, help, notes: Vec::new() }
            }
        }
    }
}

async fn discover(host: &Host, screen: &Screen, connection: &Arc<Connection>, name: Option<&str>) -> Outcome {
    let kinds = host.manifest(&connection.plugin).await?.kinds.clone();
    let (mut streams, mut objects) = (Vec::new(), Vec::new());
    if kinds.contains(&PluginKind::Source) {
        streams = host.discover_streams(Arc::clone(connection)).await?;
    }
    if kinds.contains(&PluginKind::Destination) {
        objects = host.discover_targets(Arc::clone(connection)).await?;
    }
    if let Some(name) = name {
        let known: Vec<String> =
            streams.iter().map(|stream| stream.name.clone()).chain(objects.iter().map(|object| object.name.clone())).collect();
        streams.retain(|stream| stream.name == name);
        objects.retain(|object| object.name == name);
        if streams.is_empty() && objects.is_empty() {
            let message = format!("connection `{}` offers no stream and no object `{name}`", connection.name);
            return Err(Error::configuration("E0826", message).help(format!("it offers {}", known.join(", "))).into());
        }
    }
    let offered = Offered { connection: connection.name.clone(), plugin: connection.plugin.clone(), streams, objects };
    screen.result(&offered, || render::offered(&offered, name.is_some()))?;
    Ok(Exit::Done)
}

fn named(project: &Project, name: &str) -> Result<Arc<Connection>> {
    project.plan.connections.get(name).map(Arc::clone).ok_or_else(|| {
        let known: Vec<&str> = project.plan.connections.keys().map(String::as_str).collect();
        Error::configuration("E0826", format!("there is no connection `{name}`")).help(format!("there are: {}", known.join(", ")))
    })
}
