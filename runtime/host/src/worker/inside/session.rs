//! A worker that runs a guest: takes the component, locks itself in, and does what it is ordered until the program closes
//! the socket.

use affluent_model::manifest::PluginKind;
use tokio::runtime::Runtime;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Store};

use super::imports::Proxy;
use super::line::Line;
use super::{Broken, confine};
use crate::contract::{DestinationGuest, Exports, Guest, SourceGuest, TransformGuest, Version};
use crate::limits::{LIFT_BYTES_MAX, MEMORY_MIB_MAX};
use crate::linker::{proxy_linker, wasi_linker};
use crate::trap::Stop;
use crate::worker::frame::{Garbled, encode};
use crate::worker::message::{Loaded, Order, RETURNED, STOPPED, Stopped};
use crate::worker::payload::{PackedOutput, PackedPage};

/// Ticks that never come: the kernel counts the processor time of a worker.
const NO_TICKS: u64 = 1 << 62;

/// A component that is linked, and what it exports.
type Linked = (InstancePre<Proxy>, Box<dyn Exports<Proxy>>);
/// What a call came to, as a message.
type Told = wasmtime::Result<Vec<u8>>;

/// Runs the guest of the component that is the standard output.
///
/// # Errors
/// When the program is gone, or broke the protocol.
pub(super) fn run() -> Result<(), Broken> {
    let line = Line::open()?;
    let first = line.order()?;
    let Order::Load { contract, memory_mib, call_seconds } = first.decode()? else {
        return Err(Garbled("comes before the component").into());
    };
    confine::limit_to_guest(memory_mib.min(MEMORY_MIB_MAX))?;
    let version = Version::of(contract).ok_or(Garbled("names another contract"))?;
    let engine = Engine::new(&crate::engine::config())?;
    let component = crate::cache::take_over(&engine)?;
    component.initialize_copy_on_write_image()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    // Once before there are no files: where the clock is stands in one.
    confine::limit_call(call_seconds)?;
    let mut missing = confine::lock_in_thread();
    line.watch()?;
    confine::limit_to_itself()?;
    missing.extend(confine::lock_in_calls(confine::Confinement::Guest));
    line.say(RETURNED, &Loaded { imports: crate::component::imports(&component), missing })?;
    let mut session = Session { line, engine, component, version, started: None };
    loop {
        let frame = session.line.order()?;
        confine::limit_call(call_seconds)?;
        session.follow(&runtime, frame.decode()?)?;
    }
}

/// A component and its guest.
struct Session {
    line: Line,
    engine: Engine,
    component: Component,
    version: Version,
    started: Option<Started>,
}

/// A guest with its interfaces.
struct Started {
    store: Store<Proxy>,
    guest: Guest,
    exports: Box<dyn Exports<Proxy>>,
    source: Option<Box<dyn SourceGuest<Proxy>>>,
    transform: Option<Box<dyn TransformGuest<Proxy>>>,
    destination: Option<Box<dyn DestinationGuest<Proxy>>>,
}

impl Session {
    fn follow(&mut self, runtime: &Runtime, order: Order<'_>) -> Result<(), Broken> {
        match order {
            Order::Manifest => {
                let mut store = self.store(None);
                let told = runtime.block_on(self.manifest(&mut store));
                self.tell(told, &store)
            }
            Order::Start { kinds, memory_mib } => {
                let mut store = self.store(memory_mib);
                match runtime.block_on(self.start(&mut store, &kinds)) {
                    Ok(Ok((guest, exports))) => self.hold(store, guest, exports),
                    Ok(Err(misfit)) => self.line.say(RETURNED, &Err::<(), String>(format!("{misfit:#}"))),
                    Err(error) => self.tell(Err(error), &store),
                }
            }
            order => {
                let mut started = self.started.take().ok_or(Garbled("comes before the guest"))?;
                let told = runtime.block_on(call(&mut started, order));
                self.tell(told, &started.store)?;
                self.started = Some(started);
                Ok(())
            }
        }
    }

    fn store(&self, memory_mib: Option<u32>) -> Store<Proxy> {
        let mut store = Store::new(&self.engine, Proxy::new(self.line.clone(), memory_mib));
        store.limiter(|proxy| &mut proxy.limiter);
        store.set_hostcall_fuel(LIFT_BYTES_MAX);
        store.set_epoch_deadline(NO_TICKS);
        store
    }

    /// The manifest's text, with every service trapping.
    async fn manifest(&self, store: &mut Store<Proxy>) -> Told {
        let (pre, exports) = match self.link_manifest() {
            Ok(linked) => linked,
            Err(misfit) => return give(&Err::<String, String>(misfit.to_string())),
        };
        let guest = Guest::Here(pre.instantiate_async(&mut *store).await?);
        give(&Ok::<String, String>(exports.manifest(&mut *store, &guest).await?))
    }

    fn link_manifest(&self) -> wasmtime::Result<Linked> {
        let mut linker = wasi_linker(&self.engine).map_err(|error| wasmtime::Error::msg(error.message))?;
        linker.define_unknown_imports_as_traps(&self.component)?;
        let pre = linker.instantiate_pre(&self.component)?;
        let exports = self.version.exports_of_proxy(&pre, &[])?;
        Ok((pre, exports))
    }

    /// An instance, or what of the component does not fit.
    async fn start(
        &self,
        store: &mut Store<Proxy>,
        kinds: &[PluginKind],
    ) -> wasmtime::Result<wasmtime::Result<(Guest, Box<dyn Exports<Proxy>>)>> {
        let linked = || -> wasmtime::Result<Linked> {
            let linker = proxy_linker(&self.engine).map_err(|error| wasmtime::Error::msg(error.message))?;
            let pre = linker.instantiate_pre(&self.component)?;
            let exports = self.version.exports_of_proxy(&pre, kinds)?;
            Ok((pre, exports))
        };
        let (pre, exports) = match linked() {
            Ok(linked) => linked,
            Err(misfit) => return Ok(Err(misfit)),
        };
        let guest = Guest::Here(pre.instantiate_async(&mut *store).await?);
        Ok(exports.check_types(store, &guest).map(|()| (guest, exports)))
    }

    fn hold(&mut self, mut store: Store<Proxy>, guest: Guest, exports: Box<dyn Exports<Proxy>>) -> Result<(), Broken> {
        let source = exports.source().map(|source| source.open(&mut store, &guest)).transpose()?;
        let transform = exports.transform().map(|transform| transform.open(&mut store, &guest)).transpose()?;
        let destination = exports.destination().map(|destination| destination.open(&mut store, &guest)).transpose()?;
        self.started = Some(Started { store, guest, exports, source, transform, destination });
        self.line.say(RETURNED, &Ok::<(), String>(()))
    }

    /// Sends what a call came to.
    fn tell(&self, told: Told, store: &Store<Proxy>) -> Result<(), Broken> {
        match told {
            Ok(frame) => self.line.write(&frame),
            Err(error) => {
                let stopped = Stopped { stop: Stop::of(&error), stderr: store.data().stdio.contents() };
                self.line.say(STOPPED, &stopped)
            }
        }
    }
}

fn give(value: &impl serde::Serialize) -> Told {
    Ok(encode(RETURNED, value)?)
}

async fn call(started: &mut Started, order: Order<'_>) -> Told {
    let Started { store, guest, exports, source, transform, destination } = started;
    match order {
        Order::Check { config } => give(&exports.check(store, guest, &config.to_owned()).await?),
        order @ (Order::DiscoverStreams { .. } | Order::OpenSource { .. } | Order::Next { .. } | Order::CloseSource) => {
            let source = source.as_deref().ok_or(Garbled("is for a source"))?;
            read(store, source, order).await
        }
        order @ (Order::OpenTransform { .. } | Order::Apply { .. } | Order::Finish) => {
            let transform = transform.as_deref().ok_or(Garbled("is for a transform"))?;
            change(store, transform, order).await
        }
        order => {
            let destination = destination.as_deref().ok_or(Garbled("is for a destination"))?;
            write(store, destination, order).await
        }
    }
}

async fn read(store: &mut Store<Proxy>, source: &dyn SourceGuest<Proxy>, order: Order<'_>) -> Told {
    match order {
        Order::DiscoverStreams { config } => give(&source.call_discover(store, &config.to_owned()).await?),
        Order::OpenSource { config, spec, state } => {
            let state = state.as_ref().map(|state| &*state.0);
            give(&source.call_open(store, &config.to_owned(), &spec.to_owned(), state).await?)
        }
        Order::Next { limits } => {
            let page = source.call_next(store, limits).await?;
            give(&page.as_ref().map(PackedPage::of))
        }
        _ => give(&source.call_close(store).await?),
    }
}

async fn change(store: &mut Store<Proxy>, transform: &dyn TransformGuest<Proxy>, order: Order<'_>) -> Told {
    match order {
        Order::OpenTransform { config, input } => give(&transform.call_open(store, &config.to_owned(), &input.to_owned()).await?),
        Order::Apply { batch } => {
            let output = transform.call_apply(store, &batch.unpack()?).await?;
            give(&output.as_ref().map(PackedOutput::of))
        }
        _ => {
            let output = transform.call_finish(store).await?;
            give(&output.as_ref().map(|output| output.as_ref().map(PackedOutput::of)))
        }
    }
}

async fn write(store: &mut Store<Proxy>, destination: &dyn DestinationGuest<Proxy>, order: Order<'_>) -> Told {
    match order {
        Order::DiscoverTargets { config } => give(&destination.call_discover(store, &config.to_owned()).await?),
        Order::OpenDestination { config, target } => {
            give(&destination.call_open(store, &config.to_owned(), &target.to_owned()).await?)
        }
        Order::Write { batch } => give(&destination.call_write(store, &batch.unpack()?).await?),
        Order::Poll { token } => give(&destination.call_poll(store, token).await?),
        Order::CloseDestination => give(&destination.call_close(store).await?),
        _ => Err(Garbled("is unknown").into()),
    }
}
