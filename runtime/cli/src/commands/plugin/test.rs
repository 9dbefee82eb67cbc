//! `affluent plugin test [FILE|FOLDER|NAME]`: finds the component and what it is tested with, and runs the contract suite.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use affluent_contract::{Fixture, Subject};
use affluent_host::{ApproveAll, Clock, Exchanges, Host, HostOptions, Recorder, Repeats, Replay};
use affluent_model::Error;
use affluent_model::diagnostic::Location;
use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants};
use affluent_vault::{OsRandom, Random};

use crate::arguments::{Shared, TestArguments};
use crate::credentials::ProjectCredentials;
use crate::failure::{Exit, Failure, Outcome};
use crate::render::contract;
use crate::render::screen::Screen;
use crate::wire::{self, Place};
use crate::{project, secrets};

/// What a plugin is tested with, in the plugin's folder.
const FIXTURES: [&str; 3] = ["contract.yaml", "contract.yml", "contract.json"];
/// Where builds leave a component, below the plugin's folder.
const BUILDS: [&str; 5] =
    ["dist", ".", "target/wasm32-wasip2/plugin", "target/wasm32-wasip2/release", "target/wasm32-wasip2/debug"];

pub(crate) async fn run(shared: &Shared, screen: &Screen, arguments: &TestArguments) -> Outcome {
    let cache = Cache::make()?;
    let found = find(shared, arguments)?;
    let mut place = found.place;
    place.cache_dir = Some(cache.0.clone());
    let mut fixture = found.fixture;
    if arguments.base_url.is_some() {
        fixture.base_url.clone_from(&arguments.base_url);
    }
    let connection = found.connection.map_or_else(|| bare_connection(&found.plugin), |connection| connection.as_ref().clone());
    let has_project = arguments.connection.is_some();
    let root = place.root.clone();
    let tape = Tape::of(arguments)?;
    let (exchanges, undisturbed) = (tape.exchanges(), tape.undisturbed());
    let subject = Subject {
        plugin: found.plugin,
        options: Box::new(move || exchanging(wire::options_at(place.clone(), None, Arc::default(), None), &exchanges)),
        connection,
        fixture,
        secrets: has_project.then(|| -> affluent_host::SecretResolver {
            Arc::new(move |connection, name| secrets::resolve(&root, connection, name))
        }),
        undisturbed,
    };
    let report = affluent_contract::run(subject).await?;
    screen.result(&report, || contract::report(&report))?;
    tape.end()?;
    Ok(if report.failed > 0 { Exit::Refused } else { Exit::Done })
}

/// Whether answers are kept, or come from what was kept.
enum Tape {
    None,
    Record(Arc<Recorder>),
    Replay(Arc<Replay>),
}

impl Tape {
    fn of(arguments: &TestArguments) -> Result<Self, Failure> {
        if let Some(folder) = &arguments.recordings {
            return Ok(Self::Replay(Arc::new(Replay::open(folder, Repeats::LastAnswer)?)));
        }
        let Some(folder) = &arguments.record else { return Ok(Self::None) };
        let random: affluent_host::RandomSource = Arc::new(|bytes: &mut [u8]| drop(OsRandom::new().fill(bytes)));
        OsRandom::new().fill(&mut [0])?;
        let now_us = affluent_host::SystemClock::default().now_us();
        Ok(Self::Record(Arc::new(Recorder::new(folder, now_us, &random))))
    }

    fn exchanges(&self) -> Exchanges {
        match self {
            Self::None => Exchanges::Live,
            Self::Record(recorder) => Exchanges::Record(Arc::clone(recorder)),
            Self::Replay(replay) => Exchanges::Replay(Arc::clone(replay)),
        }
    }

    fn undisturbed(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Record(_) => Some("answers are being recorded, so nothing is disturbed"),
            Self::Replay(_) => Some("answers come from a recording, which is not disturbed"),
        }
    }

    /// Writes what was kept, or tells what was asked for and had not been kept.
    fn end(&self) -> Result<(), Failure> {
        match self {
            Self::None => {}
            Self::Record(recorder) => drop(recorder.write()?),
            Self::Replay(replay) => replay.check()?,
        }
        Ok(())
    }
}

/// A recorder or a replay gives time and chance, too.
fn exchanging(options: HostOptions, exchanges: &Exchanges) -> HostOptions {
    let (clock, random) = match exchanges {
        Exchanges::Live => (Arc::clone(&options.clock), Arc::clone(&options.random)),
        Exchanges::Record(recorder) => (recorder.clock(), recorder.random()),
        Exchanges::Replay(replay) => (replay.clock(), replay.random()),
    };
    HostOptions { exchanges: exchanges.clone(), clock, random, ..options }
}

/// A plugin and what it is tested with.
struct Found {
    plugin: String,
    place: Place,
    fixture: Fixture,
    connection: Option<Arc<Connection>>,
}

fn find(shared: &Shared, arguments: &TestArguments) -> Result<Found, Failure> {
    let path = Path::new(&arguments.plugin);
    let is_file = path.extension().is_some_and(|extension| extension == "wasm");
    let component = if is_file { Some(path.to_owned()) } else { path.is_dir().then(|| built(path)).transpose()? };
    let mut found = match &component {
        Some(component) => at(component, if is_file { None } else { Some(path) })?,
        None => named(shared, &arguments.plugin)?,
    };
    if let Some(name) = &arguments.connection {
        let project = project::load(shared)?;
        let connection = project.plan.connections.get(name).cloned().ok_or_else(|| {
            Error::configuration("E0936", format!("there is no connection `{name}`"))
                .help("write it to connections/ of the project, or test with --config")
        })?;
        found.place.root.clone_from(&project.plan.project.root);
        // What the service gives for the project's credential belongs to the project.
        found.place.credentials = Some(Arc::new(ProjectCredentials::new(&project.plan)));
        found.connection = Some(connection);
        found.fixture.config = serde_json::Value::Null;
    }
    if let Some(file) = &arguments.config {
        found.fixture = read_fixture(file)?;
        found.place.root = folder_of(file);
    }
    Ok(found)
}

/// A component file; what it is tested with stands beside it, or in the plugin's folder.
fn at(component: &Path, folder: Option<&Path>) -> Result<Found, Failure> {
    if !component.is_file() {
        return Err(Error::configuration("E0936", format!("there is no file `{}`", component.display()))
            .help("build the plugin first, or name its folder")
            .into());
    }
    let stem = component.file_stem().unwrap_or_default().to_string_lossy();
    let plugin = stem.strip_prefix("affluent_plugin_").map_or_else(|| stem.to_string(), |name| name.replace('_', "-"));
    let root = folder.map_or_else(|| folder_of(component), Path::to_owned);
    let fixture = FIXTURES.iter().map(|name| root.join(name)).find(|file| file.is_file());
    let fixture = fixture.map(|file| read_fixture(&file)).transpose()?.unwrap_or_default();
    let place = Place {
        root,
        plugin_dirs: vec![folder_of(component)],
        cache_dir: None,
        develop: Default::default(),
        approvals: Arc::new(ApproveAll),
        credentials: None,
    };
    Ok(Found { plugin, place, fixture, connection: None })
}

/// A plugin of the project, or of the program.
fn named(shared: &Shared, name: &str) -> Result<Found, Failure> {
    let cache_dir = None;
    let place = match project::load(shared) {
        Ok(project) => {
            let (approvals, project) = (wire::policy(&project.plan)?, &project.plan.project);
            let (root, plugin_dirs) = (project.root.clone(), project.plugin_dirs.clone());
            Place { root, plugin_dirs, cache_dir, develop: project.plugins.develop.clone(), approvals, credentials: None }
        }
        Err(Failure::Error(error)) if error.code == "E0817" && shared.project.is_none() => {
            let (root, approvals) = (PathBuf::from("."), Arc::new(ApproveAll));
            Place { root, plugin_dirs: Vec::new(), cache_dir, develop: Default::default(), approvals, credentials: None }
        }
        Err(failure) => return Err(failure),
    };
    Host::new(wire::options_at(place.clone(), None, Arc::default(), None))?.known(name)?;
    Ok(Found { plugin: name.to_owned(), place, fixture: Fixture::default(), connection: None })
}

/// The newest component below a plugin's folder.
fn built(folder: &Path) -> Result<PathBuf, Failure> {
    let mut components = Vec::new();
    for place in BUILDS {
        let entries = fs::read_dir(folder.join(place)).into_iter().flatten().flatten();
        let files =
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "wasm"));
        components.extend(files.filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path))));
    }
    components.into_iter().max().map(|(_, path)| path).ok_or_else(|| {
        Error::configuration("E0936", format!("there is no component below `{}`", folder.display()))
            .help("build the plugin first: `cargo build --release --target wasm32-wasip2` in its folder")
            .into()
    })
}

fn folder_of(file: &Path) -> PathBuf {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn read_fixture(file: &Path) -> Result<Fixture, Failure> {
    let bytes = fs::read(file).map_err(|error| {
        Error::configuration("E0935", format!("`{}` cannot be read: {error}", file.display())).help("name another with --config")
    })?;
    let value = affluent_config::plain_yaml(file, &bytes).map_err(Failure::Mistakes)?;
    Ok(serde_json::from_value(value).map_err(|error| {
        Error::configuration("E0935", format!("`{}` is not of the right form: {error}", file.display()))
            .help("see `affluent explain E0935` for the keys of a contract file")
    })?)
}

fn bare_connection(plugin: &str) -> Connection {
    let at = Location { file: "contract.yaml".into(), line: 1, column: 1, length: 1 };
    Connection {
        name: "contract".to_owned(),
        plugin: plugin.to_owned(),
        config: serde_json::Value::Null,
        secrets: BTreeMap::new(),
        limits: ConnectionLimits::default(),
        egress: Egress::default(),
        files: FileGrants::default(),
        at: at.clone(),
        webhook_url: None,
        config_at: at,
    }
}

/// Compiled code for the time of the suite, in a private folder.
struct Cache(PathBuf);

impl Cache {
    fn make() -> Result<Self, Failure> {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let folder = std::env::temp_dir().join(format!("affluent-contract-{}-{started}", std::process::id()));
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| Error::external("E0814", format!("`{}` cannot be made: {error}", folder.display())))?;
        Ok(Self(folder))
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // What stays behind in the temporary folder is the system's to clear.
        drop(fs::remove_dir_all(&self.0));
    }
}
