//! A component on its way to instances in workers. This process never maps its code: a worker tells its imports, asks it
//! for its manifest and looks at the types of its exports.

use std::sync::Arc;

use affluent_model::connector::Failure;
use affluent_model::manifest::Manifest;
use wasmtime::{Engine, Store};

use super::Sealed;
use super::answer::Allowed;
use super::guest::{Remote, Worker, order};
use super::message::{Loaded, Order};
use super::process::WorkerError;
use crate::component::{LoadedPlugin, Seat, check_imports, check_manifest, is_allowed, is_known, misfit};
use crate::contract::Version;
use crate::failure::clean_text;
use crate::instance::{Instance, call_limit, no_manifest, parse_manifest};
use crate::limits::{MEMORY_MIB, MEMORY_MIB_MAX};
use crate::options::{HostOptions, LogEvent, LogLevel};
use crate::state::{Services, State};

/// Names of interfaces that a component may import.
const IMPORTS_MAX: usize = 64;

/// Where instances in workers come from.
pub(crate) struct Distant {
    pub(crate) code: Arc<Sealed>,
    pub(crate) version: Version,
}

/// A compiled component of which nothing is believed yet.
pub(crate) struct Unseen {
    pub(crate) distant: Distant,
    /// SHA-256 of its bytes, hex.
    pub(crate) digest: String,
    pub(crate) engine: Engine,
}

/// As [`crate::component::load`], for a plugin whose instances are in workers; gives what it imports, too.
///
/// # Errors
/// As [`crate::component::load`]; `E0531` and `E0532` about the worker.
pub(crate) async fn load(name: &str, unseen: Unseen, options: &Arc<HostOptions>) -> Result<(LoadedPlugin, Vec<String>), Failure> {
    let Unseen { distant, digest, engine } = unseen;
    let mut instance = Instance::for_manifest(name, &engine, options);
    let limits = (MEMORY_MIB_MAX, options.call_timeout_max.as_secs());
    let loaded = instance.begin()?.run(async |store: &mut Store<State>| admit(store, &distant, limits).await).await;
    let Loaded { mut imports, missing } = instance.settle(loaded)?;
    tell_missing(name, &missing, options);
    imports.truncate(IMPORTS_MAX);
    let imports: Vec<String> = imports.iter().map(|import| clean_text(import, 128)).collect();
    check_imports(name, &imports, is_known, options)?;
    let manifest = instance
        .begin()?
        .run(async |store: &mut Store<State>| Ok(order(store, &Order::Manifest).await?.decode::<Result<String, String>>()?));
    let manifest = manifest.await;
    let manifest = instance.settle(manifest)?.map_err(|what| no_manifest(name, &clean_text(&what, 512)))?;
    let manifest = parse_manifest(name, &manifest)?;
    check_manifest(name, &manifest)?;
    check_imports(name, &imports, |import| is_allowed(import, &manifest), options)?;
    let begun = instance.begin()?.run(async |store: &mut Store<State>| begin(store, &manifest).await).await;
    instance.settle(begun)?.map_err(|what| misfit(name, &what))?;
    let exports = Box::new(Remote { kinds: manifest.kinds.clone() });
    let (name, manifest) = (name.to_owned(), Arc::new(manifest));
    Ok((LoadedPlugin { name, digest, manifest, engine, seat: Seat::Worker(distant), exports }, imports))
}

/// Puts a guest into a worker for the store of an instance.
///
/// # Errors
/// Traps of its start; the end of the worker.
pub(crate) async fn start(store: &mut Store<State>, distant: &Distant, manifest: &Manifest) -> wasmtime::Result<()> {
    let seconds = call_limit(manifest, &store.data().services.options).as_secs();
    admit(store, distant, (manifest.limits.memory_mib.unwrap_or(MEMORY_MIB), seconds)).await?;
    // What does not fit was found when the plugin was loaded.
    begin(store, manifest).await?.map_err(|_| WorkerError::Ended("runs another component".to_owned()).into())
}

async fn admit(store: &mut Store<State>, distant: &Distant, (memory_mib, call_seconds): (u32, u64)) -> wasmtime::Result<Loaded> {
    let command = store.data().services.options.worker.clone();
    let command = command.ok_or_else(|| WorkerError::Unstartable("this host does not know how".to_owned()))?;
    store.data_mut().worker = Some(Worker::start(&command, &distant.code).await?);
    let contract = format!("{}.0", distant.version.major_minor());
    let loaded = order(store, &Order::Load { contract: &contract, memory_mib, call_seconds }).await?;
    Ok(loaded.decode()?)
}

/// Instantiates the component; gives what does not fit.
async fn begin(store: &mut Store<State>, manifest: &Manifest) -> wasmtime::Result<Result<(), String>> {
    if let Some(worker) = &mut store.data_mut().worker {
        worker.allowed = Allowed::of(manifest);
    }
    Ok(order(store, &Order::Start { kinds: manifest.kinds.clone(), memory_mib: manifest.limits.memory_mib }).await?.decode()?)
}

/// Walls that this machine does not have are told once for a plugin.
fn tell_missing(name: &str, missing: &[String], options: &Arc<HostOptions>) {
    if missing.is_empty() {
        return;
    }
    let missing: Vec<String> = missing.iter().take(4).map(|wall| clean_text(wall, 64)).collect();
    let text = format!("its worker process has fewer walls here: {}", missing.join(", "));
    Services::none(options, name).caller().log(LogLevel::Warn, LogEvent::Host { text });
}
