//! One instance of a plugin and the calls into it. A call runs under its deadline and computing budget; when it does not
//! return, the store is thrown away and the instance refuses every later call (security B-3, B-5).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use affluent_model::connector::Failure;
use affluent_model::manifest::Manifest;
use serde::de::DeserializeOwned;
use wasmtime::component::Linker;
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::bindings::affluent::plugin::types::PluginError;
use crate::component::{LoadedPlugin, Seat, Unchecked};
use crate::contract::Guest;
use crate::deadline::{CallTime, TimedOut, within};
use crate::egress::Egress;
use crate::failure::{cancelled_failure, configuration_failure, contract_failure, reported_failure};
use crate::limits::{CALL_TIMEOUT, GUEST_JSON_BYTES_MAX, LIFT_BYTES_MAX};
use crate::options::HostOptions;
use crate::state::{Services, State};
use crate::trap::{BudgetExceeded, deadline_failure, gone_failure, trap_failure};

/// The manifest call does nothing but write text.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A store with its guest.
pub(crate) struct Instance {
    plugin: String,
    /// `None` once a call did not return.
    store: Option<Store<State>>,
    limit: Duration,
}

/// A call about to be made.
pub(crate) struct Call<'a> {
    store: &'a mut Store<State>,
    limit: Duration,
}

/// What became of a call.
pub(crate) type Called<T> = Result<wasmtime::Result<T>, TimedOut>;

impl<'a> Call<'a> {
    pub(crate) async fn run<T, F>(self, call: impl FnOnce(&'a mut Store<State>) -> F) -> Called<T>
    where
        F: Future<Output = wasmtime::Result<T>>,
    {
        let time = Arc::clone(&self.store.data().time);
        within(&time, self.limit, call(self.store)).await
    }
}

impl Instance {
    /// Instantiates a plugin with its services; `time` is shared with them.
    ///
    /// # Errors
    /// Traps of its start.
    pub(crate) async fn start(plugin: &LoadedPlugin, services: Services, time: Arc<CallTime>) -> Result<(Self, Guest), Failure> {
        let limit = call_limit(&plugin.manifest, &services.options);
        let state = State::new(services, plugin.manifest.limits.memory_mib, time);
        let mut instance = Self::new(&plugin.name, &plugin.engine, state, limit);
        let call = instance.begin()?;
        let started = match &plugin.seat {
            Seat::Here(pre) => call.run(async |store| Ok(Guest::Here(pre.instantiate_async(store).await?))).await,
            Seat::Worker(distant) => {
                let start = async |store: &mut Store<State>| {
                    crate::worker::start(store, distant, &plugin.manifest).await?;
                    Ok(Guest::InWorker)
                };
                call.run(start).await
            }
        };
        let guest = instance.settle(started)?;
        Ok((instance, guest))
    }

    /// For a plugin whose manifest is not known yet: nothing is granted.
    pub(crate) fn for_manifest(name: &str, engine: &Engine, options: &Arc<HostOptions>) -> Self {
        let state = State::new(Services::none(options, name), None, Arc::default());
        Self::new(name, engine, state, MANIFEST_TIMEOUT.min(options.call_timeout_max))
    }

    fn new(plugin: &str, engine: &Engine, state: State, limit: Duration) -> Self {
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(LIFT_BYTES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            if context.data().time.tick() { Ok(UpdateDeadline::Yield(1)) } else { Err(BudgetExceeded.into()) }
        });
        Self { plugin: plugin.to_owned(), store: Some(store), limit }
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.plugin
    }

    /// `None` once a call did not return.
    pub(crate) fn services(&self) -> Option<&Services> {
        self.store.as_ref().map(|store| &store.data().services)
    }

    /// A fresh budget and the store for one call.
    ///
    /// # Errors
    /// `E0517` when an earlier call did not return.
    pub(crate) fn begin(&mut self) -> Result<Call<'_>, Failure> {
        let limit = self.limit;
        let Some(store) = &mut self.store else { return Err(gone_failure(&self.plugin)) };
        store.data().time.start(limit);
        drop(store.data().services.egress.as_ref().and_then(Egress::take_failure));
        Ok(Call { store, limit })
    }

    /// The value of a call that returned; throws the store away when it did not.
    ///
    /// # Errors
    /// The trap, or the deadline.
    pub(crate) fn settle<T>(&mut self, called: Called<T>) -> Result<T, Failure> {
        let failure = match called {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => {
                let stderr = self.store.as_ref().map(|store| store.data().stdio.contents()).unwrap_or_default();
                trap_failure(&self.plugin, &error, &stderr)
            }
            Err(TimedOut) => deadline_failure(&self.plugin, self.limit),
        };
        self.store = None;
        Err(failure)
    }

    /// As [`Instance::settle`], for calls that may report an error.
    ///
    /// # Errors
    /// What the guest reported, too.
    pub(crate) fn settle_reported<T>(&mut self, called: Called<Result<T, PluginError>>) -> Result<T, Failure> {
        self.settle(called)?.map_err(|reported| self.report(reported))
    }

    /// The guest broke the contract: its store is thrown away.
    pub(crate) fn break_off(&mut self, code: &'static str, what: &str) -> Failure {
        self.store = None;
        contract_failure(code, &self.plugin, what)
    }

    /// Reads a JSON answer.
    ///
    /// # Errors
    /// `E0507` with the place of the mistake, never the text.
    pub(crate) fn parse<T: DeserializeOwned>(&mut self, what: &str, json: &str) -> Result<T, Failure> {
        parse_json(json).map_err(|place| self.break_off("E0507", &format!("gave {what} of the wrong form: {place}")))
    }

    fn report(&self, mut reported: PluginError) -> Failure {
        let Some(store) = &self.store else { return gone_failure(&self.plugin) };
        let services = &store.data().services;
        if services.options.cancelled.load(Ordering::Relaxed) {
            return cancelled_failure();
        }
        if let Some(failure) = services.egress.as_ref().and_then(Egress::take_failure) {
            // The host knows better what the guest saw as a refusal or a broken connection.
            return failure;
        }
        reported.message = services.clean(&reported.message);
        reported_failure(&self.plugin, reported)
    }
}

/// Asks for the manifest, with every service trapping.
///
/// # Errors
/// Traps; `E0505` when it is no manifest.
pub(crate) async fn read_manifest(
    name: &str,
    unchecked: &Unchecked,
    wasi: &Linker<State>,
    options: &Arc<HostOptions>,
) -> Result<Manifest, Failure> {
    let invalid = |what: String| no_manifest(name, &what);
    let component = &unchecked.component;
    let mut linker = wasi.clone();
    let linked = linker.define_unknown_imports_as_traps(component).and_then(|()| linker.instantiate_pre(component));
    let pre = linked.map_err(|error| invalid(error.to_string()))?;
    let exports = unchecked.version.exports(&pre, &[]).map_err(|error| invalid(error.to_string()))?;
    let mut instance = Instance::for_manifest(name, component.engine(), options);
    let called = instance.begin()?.run(async |store: &mut Store<State>| {
        let guest = pre.instantiate_async(&mut *store).await?;
        exports.manifest(&mut *store, &Guest::Here(guest)).await
    });
    let called = called.await;
    parse_manifest(name, &instance.settle(called)?)
}

/// # Errors
/// `E0505` when it is no manifest.
pub(crate) fn parse_manifest(name: &str, json: &str) -> Result<Manifest, Failure> {
    parse_json(json).map_err(|what| no_manifest(name, &what))
}

/// The failure of a component that has no manifest.
pub(crate) fn no_manifest(name: &str, what: &str) -> Failure {
    let message = format!("plugin `{name}` has no valid manifest: {what}");
    configuration_failure("E0505", message, "report it to the plugin's author")
}

fn parse_json<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    if json.len() > GUEST_JSON_BYTES_MAX {
        return Err("it is larger than 4 MiB".to_owned());
    }
    let mut json = serde_json::Deserializer::from_str(json);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| error.to_string());
    let whole = parsed.and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()));
    whole.map_err(|what| crate::failure::clean_text(&what, 256))
}

/// The time of one call of a plugin.
pub(crate) fn call_limit(manifest: &Manifest, options: &HostOptions) -> Duration {
    let asked = manifest.limits.call_timeout_s.map_or(CALL_TIMEOUT, |seconds| Duration::from_secs(u64::from(seconds.max(1))));
    asked.min(options.call_timeout_max)
}
